//! Text as Go's formatting verbs write it: error messages and printed queries quote the way Prometheus does.

use std::fmt::Write;

use tsq_core::Labels;

/// A double-quoted string (`%q`).
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        escape(c, '"', &mut out);
    }
    out.push('"');
    out
}

/// A label set as Prometheus writes it in messages: `{__name__="up", job="a"}`.
pub(crate) fn labels_text(labels: &Labels) -> String {
    let plain = |name: &str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let name_text = |name: &str| {
        let bare = plain(name) && !name.starts_with(|c: char| c.is_ascii_digit());
        if bare { name.to_owned() } else { quote(name) }
    };
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{}={}", name_text(name), quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A double-quoted string of bytes that need not be UTF-8 (`%q`).
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| escape(c, '"', &mut out));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// A single-quoted character (`%q`).
pub(crate) fn quote_char(c: char) -> String {
    let mut out = String::from("'");
    escape(c, '\'', &mut out);
    out.push('\'');
    out
}

/// A code point and, if it can be shown, the character (`%#U`).
pub(crate) fn code_point(c: char) -> String {
    let mut out = format!("U+{:04X}", u32::from(c));
    if is_printable(c) {
        let _ = write!(out, " '{c}'");
    }
    out
}

/// A float in plain decimal notation, shortest form (`'f', -1`).
pub(crate) fn decimal(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    }
}

/// A float in shortest form, with an exponent below 1e-4 and from 1e6 (`%v`, `%g`).
pub(crate) fn shortest(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || value == 0.0 || (1e-4..1e6).contains(&size) { decimal(value) } else { scientific(value) }
}

/// A finite float with an exponent of at least two digits, shortest form (`'e', -1`).
pub(crate) fn scientific(value: f64) -> String {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("`{:e}` always writes an exponent");
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn escape(c: char, quote: char, out: &mut String) {
    match c {
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\\' => out.push_str("\\\\"),
        c if c == quote => out.extend(['\\', c]),
        c if is_printable(c) => out.push(c),
        c => {
            let code = u32::from(c);
            let _ = match code {
                0..0x80 => write!(out, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // After a first character, `str::escape_debug` escapes exactly what cannot be shown.
    let text = String::from_iter(['a', c]);
    text.escape_debug().nth(1) != Some('\\') && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets() {
        let labels = Labels::from_pairs([("__name__", "up"), ("a.b", "\"x\""), ("job", "é")]).unwrap();
        assert_eq!(labels_text(&labels), r#"{__name__="up", "a.b"="\"x\"", job="é"}"#);
        assert_eq!(labels_text(&Labels::empty()), "{}");
    }

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote("a\"b\\\n\u{1}é\u{200b}"), r#""a\"b\\\n\x01é\u200b""#);
        assert_eq!(quote_bytes(b"a\xc5z"), r#""a\xc5z""#);
        assert_eq!(quote_char('\''), r"'\''");
        assert_eq!(quote_char('"'), "'\"'");
        assert_eq!(code_point('c'), "U+0063 'c'");
        assert_eq!(code_point('\u{1}'), "U+0001");
        assert_eq!(quote("e\u{301} \u{a0}"), "\"e\u{301} \\u00a0\"");
    }

    #[test]
    fn floats_as_go_writes_them() {
        assert_eq!(decimal(1e21), "1000000000000000000000");
        assert_eq!(decimal(-0.0), "-0");
        assert_eq!(shortest(1e6), "1e+06");
        assert_eq!(shortest(123456.0), "123456");
        assert_eq!(shortest(1234567.0), "1.234567e+06");
        assert_eq!(shortest(-1.5e-7), "-1.5e-07");
        assert_eq!(shortest(0.0001), "0.0001");
        assert_eq!(shortest(f64::INFINITY), "+Inf");
        assert_eq!(shortest(2.5), "2.5");
    }
}
