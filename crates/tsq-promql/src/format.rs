//! Numbers and strings as Prometheus writes them.

use crate::kernels::calendar::Civil;

/// A sample value of a vector or matrix as the HTTP API writes it: the shortest digits that read back as the same
/// number, with an exponent below 1e-6 and from 1e21; `NaN`, `+Inf` and `-Inf` for the rest.
pub fn format_value(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size) {
        with_exponent(value)
    } else {
        format_plain(value)
    }
}

/// A scalar as the HTTP API writes it, and the label values of `count_values`: like [`format_value`], but never with an
/// exponent.
pub fn format_plain(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// A number in messages: the shortest digits, with an exponent below 1e-4 and from 1e6 (with six or more digits before
/// the point, Go's `%g`).
pub(crate) fn format_short(value: f64) -> String {
    if special(value).is_some() {
        return format_plain(value);
    }
    let (_, exponent) = digits(value);
    if (-4..6).contains(&exponent) { format_plain(value) } else { with_exponent(value) }
}

/// A number as label value of `quantile` or `le` (OpenMetrics): like [`format_short`], whole numbers with `.0`.
#[allow(dead_code)] // used by the evaluator
pub(crate) fn format_label(value: f64) -> String {
    let mut text = format_short(value);
    if value.is_finite() && !text.contains(['e', '.']) {
        text.push_str(".0");
    }
    text
}

/// A time in seconds since 1970 in UTC, like `2026-11-05T12:00:00Z`.
pub(crate) fn format_time_s(time_s: i64) -> String {
    let c = Civil::from_unix_s(time_s);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// A string in double quotes with the escapes of Go.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// Shortest digits like `-1.25` and the power of ten they are multiplied with; for finite values.
fn digits(value: f64) -> (String, i32) {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("the e format has an exponent");
    (digits.to_owned(), exponent.parse().expect("the exponent is a small integer"))
}

fn with_exponent(value: f64) -> String {
    let (digits, exponent) = digits(value);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_switch_to_an_exponent_at_the_api_bounds() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (9.5e-7, "9.5e-07"),
            (-1e-300, "-1e-300"),
            (123456789.0, "123456789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (2.0_f64.sqrt(), "1.4142135623730951"),
        ] {
            assert_eq!(format_value(value), want);
        }
    }

    #[test]
    fn scalars_never_have_an_exponent() {
        assert_eq!(format_plain(1.5e-9), "0.0000000015");
        assert_eq!(format_plain(1e22), "10000000000000000000000");
    }

    #[test]
    fn messages_use_six_digits_before_an_exponent() {
        for (value, want) in
            [(100000.0, "100000"), (1e6, "1e+06"), (0.0001, "0.0001"), (0.00001, "1e-05"), (-1.1, "-1.1")]
        {
            assert_eq!(format_short(value), want);
        }
        assert_eq!(format_label(1.0), "1.0");
        assert_eq!(format_label(0.9), "0.9");
        assert_eq!(format_label(1e6), "1e+06");
        assert_eq!(format_label(f64::INFINITY), "+Inf");
    }

    #[test]
    fn times_and_strings() {
        assert_eq!(format_time_s(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_time_s(951_782_400 - 1), "2000-02-28T23:59:59Z");
        assert_eq!(quote("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
    }
}
