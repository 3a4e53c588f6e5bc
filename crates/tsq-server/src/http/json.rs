//! JSON of samples, series and answers, written straight into a byte buffer.
//!
//! Key order and number forms are what clients parse while they read: labels before values, times as numbers of seconds
//! with at most three decimals, values as strings.

use std::io::Write as _;

use tsq::promql::{HistogramBucket, histogram_buckets};
use tsq::{Exemplar, Histogram, Labels};

/// A quoted string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    let must_escape = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    out.push(b'"');
    // Nearly no text needs an escape, and to find out goes many bytes at a time.
    if text.bytes().fold(false, |found, byte| found | must_escape(byte)) {
        escaped(out, text, must_escape);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &str, must_escape: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut start = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate().filter(|(_, byte)| must_escape(**byte)) {
        out.extend_from_slice(&text.as_bytes()[start..at]);
        start = at + 1;
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[start..]);
}

/// A quoted string as Go writes it for HTML: `<`, `>`, `&` and the line ends of Unicode are escaped. Prometheus writes
/// everything so but label sets.
pub(crate) fn html_string(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    string(out, text);
    escape_html(out, start);
}

/// Escapes what [`html_string`] does in the JSON from `start` on, where such bytes can only stand in strings.
pub(crate) fn escape_html(out: &mut Vec<u8>, start: usize) {
    // Nearly no text has one of these bytes, and to find out goes many bytes at a time.
    let may_be_special = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
    if !out[start..].iter().fold(false, |found, byte| found | may_be_special(*byte)) {
        return;
    }
    let special = |bytes: &[u8]| match bytes {
        [b'<', ..] => Some(("\\u003c", 1)),
        [b'>', ..] => Some(("\\u003e", 1)),
        [b'&', ..] => Some(("\\u0026", 1)),
        [0xe2, 0x80, 0xa8, ..] => Some(("\\u2028", 3)),
        [0xe2, 0x80, 0xa9, ..] => Some(("\\u2029", 3)),
        _ => None,
    };
    let Some(first) = (start..out.len()).find(|&at| special(&out[at..]).is_some()) else { return };
    let tail = out.split_off(first);
    let mut at = 0;
    while at < tail.len() {
        match special(&tail[at..]) {
            Some((escaped, len)) => {
                out.extend_from_slice(escaped.as_bytes());
                at += len;
            }
            None => {
                out.push(tail[at]);
                at += 1;
            }
        }
    }
}

/// `[item,item]`; `item` writes one.
pub(crate) fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, one) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(b']');
}

/// `["a","b"]`
pub(crate) fn strings<S: AsRef<str>>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = S>) {
    list(out, texts, |out, text| html_string(out, text.as_ref()));
}

/// `{"name":"value"}`
pub(crate) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Seconds with three decimals, or none for whole seconds: `1.500`.
pub(crate) fn time(out: &mut Vec<u8>, time_ms: i64) {
    if time_ms < 0 {
        out.push(b'-');
    }
    let ms = time_ms.unsigned_abs();
    integer(out, ms / 1000);
    let ms = (ms % 1000) as u16;
    if ms != 0 {
        let digit = |of: u16| b'0' + (of % 10) as u8;
        out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms)]);
    }
}

/// Seconds in the shortest form: `1.5`. Scalars and strings have it.
fn short_time(out: &mut Vec<u8>, time_ms: i64) {
    let start = out.len();
    time(out, time_ms);
    if out[start..].contains(&b'.') {
        let kept =
            out[start..].iter().rposition(|&byte| byte != b'0').expect("a fraction has a digit that is not zero");
        out.truncate(start + kept + 1);
    }
}

/// The shortest decimal form that reads back as the same float, never with an exponent.
fn plain_float(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if size < 1e15 && value as i64 as f64 == value && (value != 0.0 || value.is_sign_positive()) {
        integer(out, value as i64);
    } else if (1e-4..1e15).contains(&size) {
        // Here it writes no exponent, nor `.0`: whole numbers are done.
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        write!(out, "{value}").expect("writing to memory does not fail");
    }
}

/// As [`plain_float`], but with an exponent below 1e-6 and from 1e21: `1e-07`, `1e+21`.
pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if value.is_nan() || value.is_infinite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return plain_float(out, value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("the form has an exponent");
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    write!(out, "{digits}e{sign}{exponent:0>2}").expect("writing to memory does not fail");
}

fn quoted_float(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    float(out, value);
    out.push(b'"');
}

/// `[1.500,"2"]`
pub(crate) fn sample(out: &mut Vec<u8>, time_ms: i64, value: f64) {
    out.push(b'[');
    time(out, time_ms);
    out.push(b',');
    quoted_float(out, value);
    out.push(b']');
}

/// `[1.5,"0.0000001"]`: never an exponent.
pub(crate) fn scalar(out: &mut Vec<u8>, time_ms: i64, value: f64) {
    out.push(b'[');
    short_time(out, time_ms);
    out.extend_from_slice(b",\"");
    plain_float(out, value);
    out.extend_from_slice(b"\"]");
}

/// `[1.5,"text"]`
pub(crate) fn text_sample(out: &mut Vec<u8>, time_ms: i64, text: &str) {
    out.push(b'[');
    short_time(out, time_ms);
    out.push(b',');
    html_string(out, text);
    out.push(b']');
}

/// `[1.500,{"count":"2","sum":"3","buckets":[[0,"1","2","2"]]}]`
pub(crate) fn histogram_sample(out: &mut Vec<u8>, time_ms: i64, value: &Histogram) {
    out.push(b'[');
    time(out, time_ms);
    out.push(b',');
    histogram(out, value);
    out.push(b']');
}

fn histogram(out: &mut Vec<u8>, value: &Histogram) {
    out.extend_from_slice(b"{\"count\":");
    quoted_float(out, value.count);
    out.extend_from_slice(b",\"sum\":");
    quoted_float(out, value.sum);
    let mut separator: &[u8] = b",\"buckets\":[";
    for bucket in histogram_buckets(value).iter().filter(|bucket| bucket.count != 0.0) {
        out.extend_from_slice(separator);
        write_bucket(out, bucket);
        separator = b",";
    }
    if separator == b"," {
        out.push(b']');
    }
    out.push(b'}');
}

/// `[0,"1","2","3"]`: which ends belong to it (0 = (low, high], 1 = [low, high), 2 = open, 3 = closed), ends, count.
fn write_bucket(out: &mut Vec<u8>, bucket: &HistogramBucket) {
    let rule = match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    };
    out.extend_from_slice(&[b'[', rule]);
    for number in [bucket.lower, bucket.upper, bucket.count] {
        out.push(b',');
        quoted_float(out, number);
    }
    out.push(b']');
}

/// `{"labels":{...},"value":"1","timestamp":1.500}`
pub(crate) fn exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    out.extend_from_slice(b"{\"labels\":");
    labels(out, &exemplar.labels);
    out.extend_from_slice(b",\"value\":");
    quoted_float(out, exemplar.value);
    out.extend_from_slice(b",\"timestamp\":");
    time(out, exemplar.time_ms);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use tsq::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-07"),
            (1e-100, "1e-100"),
            (123_456_789_012_345_680.0, "123456789012345680"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e300, "-2.5e+300"),
            (5e-324, "5e-324"),
            (f64::from(3.628_334_f32), "3.6283340454101562"),
            (f64::NAN, "NaN"),
            (tsq::stale_nan(), "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(shown(|out| float(out, value)), want);
        }
    }

    #[test]
    fn floats_of_all_sizes_are_as_short_as_can_be() {
        let mut bits = 0x1234_5678_9abc_def1_u64;
        for exponent in -1074..1024 {
            for _ in 0..8 {
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mantissa = 1.0 + (bits >> 12) as f64 / (1_u64 << 52) as f64;
                for value in [mantissa * 2_f64.powi(exponent), (mantissa * 100.0).round() * 2_f64.powi(exponent)] {
                    if value.is_finite() {
                        let text = shown(|out| plain_float(out, value));
                        // Of two decimals at the same distance either may be meant.
                        assert_eq!((text.len(), text.parse()), (value.to_string().len(), Ok(value)));
                        assert_eq!(shown(|out| plain_float(out, -value)), format!("-{text}"));
                        assert_eq!(shown(|out| float(out, value)).parse(), Ok(value));
                    }
                }
            }
        }
    }

    #[test]
    fn scalars_have_no_exponent_and_short_times() {
        assert_eq!(shown(|out| scalar(out, 4000, 1e-7)), r#"[4,"0.0000001"]"#);
        assert_eq!(shown(|out| scalar(out, 1500, 1e21)), r#"[1.5,"1000000000000000000000"]"#);
        assert_eq!(shown(|out| scalar(out, -1050, f64::NAN)), r#"[-1.05,"NaN"]"#);
        assert_eq!(shown(|out| text_sample(out, 10_000, "a\"b")), r#"[10,"a\"b"]"#);
    }

    #[test]
    fn samples_have_three_decimals_or_none() {
        assert_eq!(shown(|out| sample(out, 1_700_000_000_000, 0.5)), r#"[1700000000,"0.5"]"#);
        assert_eq!(shown(|out| sample(out, 1_700_000_000_050, 2.0)), r#"[1700000000.050,"2"]"#);
        assert_eq!(shown(|out| sample(out, -1, 2.0)), r#"[-0.001,"2"]"#);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(
            shown(|out| string(out, "a\"b\\c\nd\te\rf\u{1}é\u{7f}")),
            "\"a\\\"b\\\\c\\nd\\te\\rf\\u0001é\u{7f}\""
        );
        let set = Labels::from_pairs([("__name__", "up"), ("b", "x\"<y")]).unwrap();
        assert_eq!(shown(|out| labels(out, &set)), r#"{"__name__":"up","b":"x\"<y"}"#);
        assert_eq!(
            shown(|out| strings(out, ["plain", "a<b>&\u{2028}\u{2029}é\u{2027}"])),
            "[\"plain\",\"a\\u003cb\\u003e\\u0026\\u2028\\u2029é\u{2027}\"]"
        );
        assert_eq!(shown(|out| labels(out, &Labels::empty())), "{}");
    }

    #[test]
    fn exponential_buckets_run_from_negative_to_positive() {
        let value = Histogram {
            schema: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            count: 10.0,
            sum: 1e-7,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
            positive: vec![1.0, 0.0, 3.0],
            negative_spans: vec![Span { offset: 0, length: 2 }],
            negative: vec![4.0, 0.5],
            ..Histogram::default()
        };
        let want = concat!(
            r#"[1,{"count":"10","sum":"1e-07","buckets":[[1,"-2","-1","0.5"],[1,"-1","-0.5","4"],"#,
            r#"[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"4","8","3"]]}]"#
        );
        assert_eq!(shown(|out| histogram_sample(out, 1000, &value)), want);
    }

    #[test]
    fn the_zero_bucket_cuts_its_neighbours() {
        let value = Histogram {
            zero_threshold: 0.75,
            zero_count: 1.0,
            count: 3.0,
            sum: 0.0,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive: vec![2.0],
            ..Histogram::default()
        };
        let want = r#"{"count":"3","sum":"0","buckets":[[3,"-0.75","0.75","1"],[0,"0.75","1","2"]]}"#;
        assert_eq!(shown(|out| histogram(out, &value)), want);
    }

    #[test]
    fn custom_buckets_begin_at_minus_infinity() {
        let value = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 6.0,
            sum: 9.5,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive: vec![1.0, 2.0, 3.0],
            custom_values: vec![0.5, 2.0],
            ..Histogram::default()
        };
        let want = r#"{"count":"6","sum":"9.5","buckets":[[3,"-Inf","0.5","1"],[0,"0.5","2","2"],[0,"2","+Inf","3"]]}"#;
        assert_eq!(shown(|out| histogram(out, &value)), want);
    }

    #[test]
    fn an_empty_histogram_has_no_buckets() {
        assert_eq!(shown(|out| histogram(out, &Histogram::default())), r#"{"count":"0","sum":"0"}"#);
    }

    #[test]
    fn exemplars_have_labels_first() {
        let one = Exemplar { labels: Labels::from_pairs([("trace_id", "7")]).unwrap(), value: 0.25, time_ms: 1500 };
        assert_eq!(shown(|out| exemplar(out, &one)), r#"{"labels":{"trace_id":"7"},"value":"0.25","timestamp":1.500}"#);
    }
}
