//! Numbers and times as Prometheus writes them.

use crate::go_text::{decimal, scientific, shortest};
use crate::kernels::calendar::Civil;

/// A sample value of a vector or matrix as the HTTP API writes it: the shortest digits that read back as the same
/// number, with an exponent below 1e-6 and from 1e21; `NaN`, `+Inf` and `-Inf` for the rest.
pub fn format_value(value: f64) -> String {
    let size = value.abs();
    let plain = size == 0.0 || !size.is_finite() || (1e-6..1e21).contains(&size);
    if plain { decimal(value) } else { scientific(value) }
}

/// A scalar as the HTTP API writes it, and the label values of `count_values`: like [`format_value`], but never with an
/// exponent.
pub fn format_plain(value: f64) -> String {
    decimal(value)
}

/// A number as label value of `quantile` or `le` (OpenMetrics): whole numbers with `.0`, an exponent below 1e-4 and from
/// 1e6.
#[allow(dead_code)] // used by the evaluator
pub(crate) fn format_label(value: f64) -> String {
    let mut text = shortest(value);
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
    fn labels_show_that_they_are_floats() {
        assert_eq!(format_label(1.0), "1.0");
        assert_eq!(format_label(0.9), "0.9");
        assert_eq!(format_label(1e6), "1e+06");
        assert_eq!(format_label(f64::INFINITY), "+Inf");
    }

    #[test]
    fn times() {
        assert_eq!(format_time_s(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_time_s(951_782_400 - 1), "2000-02-28T23:59:59Z");
    }
}
