//! Numbers, durations and strings.

use super::{Parse, Parser, fail};
use crate::ast::TextRange;
use crate::go_text::{quote, quote_bytes};
use crate::lexer::{Kind, Token};

impl Parser<'_> {
    /// The value of a number or duration token; durations are seconds.
    pub(super) fn number(&self, token: Token) -> Parse<f64> {
        let text = self.text_of(token.range);
        let value = if token.kind == Kind::Duration { duration_seconds(text) } else { number(text) };
        value.or_else(|message| fail(token.range, message))
    }

    /// The value of a string token.
    pub(super) fn string(&self, token: Token) -> Parse<String> {
        let text = self.text_of(token.range);
        let inner = &text[1..text.len() - 1];
        if text.starts_with('`') || !inner.contains('\\') {
            return Ok(inner.to_owned());
        }
        String::from_utf8(unescape(inner)).or_else(|error| not_utf8(token.range, error.as_bytes()))
    }
}

fn not_utf8<T>(range: TextRange, bytes: &[u8]) -> Parse<T> {
    fail(range, format!("string is not valid UTF-8: {}", quote_bytes(bytes)))
}

/// A number as Go reads it with base 0, else as a float: hexadecimal, octal with a leading zero, underscores.
fn number(text: &str) -> Result<f64, String> {
    let digits = text.replace('_', "");
    let refused = |why: &str| format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", quote(text));
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).map(|value| value as f64).map_err(|_| refused("invalid syntax"));
    }
    if digits.len() > 1
        && digits.starts_with('0')
        && let Ok(value) = i64::from_str_radix(&digits, 8)
    {
        return Ok(value as f64);
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_infinite() && !digits.eq_ignore_ascii_case("inf") => Err(refused("value out of range")),
        Ok(value) => Ok(value),
        Err(_) => Err(refused("invalid syntax")),
    }
}

/// Units in the order they must have, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Milliseconds that fit into 63 bits of nanoseconds.
const DURATION_MAX_MS: u64 = i64::MAX as u64 / 1_000_000;

fn duration_seconds(text: &str) -> Result<f64, String> {
    let invalid = || format!("not a valid duration string: {}", quote(text));
    let out_of_range = || "duration out of range".to_owned();
    let (mut rest, mut total, mut units) = (text, 0u64, &UNITS[..]);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (count, after) = rest.split_at(digits);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        if count.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let count: u64 = count.parse().map_err(|_| invalid())?;
        total = count
            .checked_mul(units[at].1)
            .and_then(|ms| ms.checked_add(total))
            .filter(|&ms| ms <= DURATION_MAX_MS)
            .ok_or_else(out_of_range)?;
        units = &units[at + 1..];
        rest = after;
    }
    Ok(total as f64 / 1000.0)
}

/// Resolves escapes; the lexer has checked them.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let c = rest.chars().next().expect("a backslash is never last in a string token");
        let (digits, base) = match c {
            '0'..='7' => (0..3, 8),
            'x' => (1..3, 16),
            'u' => (1..5, 16),
            'U' => (1..9, 16),
            _ => (0..0, 0),
        };
        if base == 0 {
            out.push(simple_escape(c));
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let code = u32::from_str_radix(&rest[digits.clone()], base).expect("the lexer accepts valid digits only");
        if matches!(c, 'u' | 'U') {
            let c = char::from_u32(code).expect("the lexer accepts code points only");
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(code).expect("the lexer accepts single bytes only"));
        }
        rest = &rest[digits.end..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn simple_escape(c: char) -> u8 {
    match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        other => u8::try_from(other).expect("a backslash or the quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            ("0x1F", 31.0),
            ("0X_1f", 31.0),
            ("0755", 493.0),
            ("089", 89.0),
            ("1_000_000", 1e6),
            ("1_0.5e0_1", 105.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("Inf", f64::INFINITY),
        ];
        for (text, want) in cases {
            assert_eq!(number(text), Ok(want), "{text}");
        }
        assert!(number("nAn").unwrap().is_nan());
        let error = "error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range";
        assert_eq!(number("1e999").unwrap_err(), error);
    }

    #[test]
    fn durations() {
        let cases = [("5m", 300.0), ("1h30m", 5400.0), ("1y2w3d4h5m6s7ms", 33_019_506.007), ("0s", 0.0)];
        for (text, want) in cases {
            assert_eq!(duration_seconds(text), Ok(want), "{text}");
        }
        let refused = [
            ("5m1h", "not a valid duration string: \"5m1h\""),
            ("5m1m", "not a valid duration string: \"5m1m\""),
            ("5y1hs", "unknown unit \"hs\" in duration \"5y1hs\""),
            ("1.5h", "unknown unit \".\" in duration \"1.5h\""),
            ("300y", "duration out of range"),
        ];
        for (text, want) in refused {
            assert_eq!(duration_seconds(text).unwrap_err(), want, "{text}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r#"a\n\t\\\"\101\x41é\u00e9\U0001F600\'"#), "a\n\t\\\"AAéé😀'".as_bytes());
        assert_eq!(unescape(r"\xc5"), [0xc5]);
    }
}
