//! Numbers and times as text, exact in both directions.

use std::io::{self, Write};

use tsq_core::{NORMAL_NAN_BITS, STALE_NAN_BITS};

/// A float as the text formats write it: decimal with or without exponent, hexadecimal (`0x1.8p3`), infinities and NaN
/// in any case. A decimal that is too large for a float is no number.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match digits.as_bytes().first()? {
        b'0' if digits.len() > 1 && digits.as_bytes()[1] | 0x20 == b'x' => Some(sign * parse_hex(&digits[2..])?),
        b'0'..=b'9' | b'.' => text.parse().ok().filter(|value: &f64| value.is_finite()),
        b'i' | b'I' if is_one_of(digits, &["inf", "infinity"]) => Some(sign * f64::INFINITY),
        b'n' | b'N' if is_one_of(digits, &["nan"]) => Some(f64::from_bits(NORMAL_NAN_BITS)),
        _ => None,
    }
}

fn is_one_of(text: &str, names: &[&str]) -> bool {
    names.iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// A hexadecimal float after its `0x`: `h.hhp±d`, the exponent obligatory. At most 13 hex digits after the first one,
/// so that no rounding is needed; trailing zeros aside.
fn parse_hex(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if whole.len() + fraction.len() == 0 || !all_hex(whole) || !all_hex(fraction) || digits.is_empty() {
        return None;
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    if whole.len() + fraction.len() > 15 {
        return None;
    }
    let bits = u64::from_str_radix(&format!("0{whole}{fraction}"), 16).ok()?;
    let scale = exponent.parse::<i32>().ok()?.checked_sub(4 * fraction.len() as i32)?;
    let exact = bits < 1 << 53;
    let value = scale_by_power_of_two(bits as f64, scale);
    (exact && value.is_finite()).then_some(value)
}

/// `value` (an integer below 2^53) times 2^exponent. The first step is exact, so that the result is rounded once.
fn scale_by_power_of_two(value: f64, exponent: i32) -> f64 {
    let first = exponent.clamp(-900, 900);
    let second = exponent.saturating_sub(first).clamp(-1000, 1000);
    value * 2_f64.powi(first) * 2_f64.powi(second)
}

/// A value in files of our own: a float, or the bits of a NaN as `NaN:7ff0000000000002`.
pub(crate) fn parse_value(text: &str) -> Option<f64> {
    match text.split_once(':') {
        Some((nan, bits)) if nan.eq_ignore_ascii_case("nan") && bits.len() == 16 => {
            let value = f64::from_bits(u64::from_str_radix(bits, 16).ok()?);
            value.is_nan().then_some(value)
        }
        Some(_) => None,
        None => parse_float(text),
    }
}

/// The shortest text that [`parse_float`] reads as the same value. All NaNs look alike.
pub(crate) fn write_float(out: &mut dyn Write, value: f64) -> io::Result<()> {
    if value.is_nan() {
        return out.write_all(b"NaN");
    }
    if value.is_infinite() {
        return out.write_all(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    if value == value.trunc() && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
        return write!(out, "{}", value as i64);
    }
    // Debug switches to an exponent where Display would write hundreds of zeros.
    write!(out, "{value:?}")
}

/// A value that [`parse_value`] reads back bit for bit.
pub(crate) fn write_value(out: &mut dyn Write, value: f64) -> io::Result<()> {
    if value.is_nan() && value.to_bits() != NORMAL_NAN_BITS {
        return write!(out, "NaN:{:016x}", value.to_bits());
    }
    write_float(out, value)
}

/// Whether text formats would turn this value into an ordinary NaN that means something else.
pub(crate) fn is_marker(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Decimal seconds as milliseconds, rounded to the nearest (halves away from zero). `None` when it is no finite
/// number or outside of i64.
pub(crate) fn parse_seconds(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    if !all_digits(whole) || !all_digits(fraction) {
        return seconds_from_float(text);
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digit = |index: usize| fraction.as_bytes().get(index).map_or(0, |byte| i128::from(byte - b'0'));
    let round = i128::from(digit(3) >= 5);
    let ms = whole.checked_mul(1000)? + digit(0) * 100 + digit(1) * 10 + digit(2) + round;
    i64::try_from(if negative { -ms } else { ms }).ok()
}

fn seconds_from_float(text: &str) -> Option<i64> {
    let ms = (parse_float(text)? * 1000.0).round();
    // The bounds are powers of two, so the comparison is exact.
    (ms >= -(2_f64.powi(63)) && ms < 2_f64.powi(63)).then_some(ms as i64)
}

/// Milliseconds as decimal seconds, exactly.
pub(crate) fn write_seconds(out: &mut dyn Write, time_ms: i64) -> io::Result<()> {
    let (sign, ms) = (if time_ms < 0 { "-" } else { "" }, time_ms.unsigned_abs());
    match ms % 1000 {
        0 => write!(out, "{sign}{}", ms / 1000),
        rest => write!(out, "{sign}{}.{rest:03}", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_are_read_as_go_reads_them() {
        for (text, want) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+Inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("0x1.8p3", Some(12.0)),
            ("-0X1P-2", Some(-0.25)),
            ("0x.8p1", Some(1.0)),
            ("0x1p-1074", Some(f64::from_bits(1))),
            ("0x1.fffffffffffffp+1023", Some(f64::MAX)),
            ("0x0p0", Some(0.0)),
            ("0x1p1024", None),
            ("0x1", None),
            ("0xp1", None),
            ("0x1p", None),
            ("1e400", None),
            ("", None),
            ("-", None),
            ("1e", None),
            ("1_000", None),
            ("infinite", None),
            ("NaNa", None),
            (" 1", None),
        ] {
            assert_eq!(parse_float(text), want, "{text:?}");
        }
        assert_eq!(parse_float("nan").unwrap().to_bits(), NORMAL_NAN_BITS);
        assert_eq!(parse_float("-0").unwrap().to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn seconds_become_exact_milliseconds() {
        for (text, want) in [
            ("1.001", Some(1001)),
            ("-1.001", Some(-1001)),
            ("1700000000.1235", Some(1_700_000_000_124)),
            ("0.0004", Some(0)),
            ("1e3", Some(1_000_000)),
            ("1.5e-1", Some(150)),
            (".25", Some(250)),
            ("7", Some(7000)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("-9223372036854775.808", Some(i64::MIN)),
            ("9223372036854775.808", None),
            ("1e30", None),
            ("NaN", None),
            ("+Inf", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse_seconds(text), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(bits in any::<u64>()) {
            let mut text = Vec::new();
            write_value(&mut text, f64::from_bits(bits)).unwrap();
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(parse_value(&text).map(f64::to_bits), Some(bits), "{}", text);
            prop_assert!(text.len() < 30, "{}", text);
        }

        #[test]
        fn times_come_back_exactly(time_ms in any::<i64>()) {
            let mut text = Vec::new();
            write_seconds(&mut text, time_ms).unwrap();
            prop_assert_eq!(parse_seconds(std::str::from_utf8(&text).unwrap()), Some(time_ms));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = (parse_value(&text), parse_seconds(&text));
        }
    }
}
