//! Answers to federating servers: the newest sample of each series, as text or as `io.prometheus.client.MetricFamily`
//! messages, each with its length before it.
//!
//! | sample | text | messages |
//! |---|---|---|
//! | float | `untyped`, time in milliseconds | `UNTYPED` |
//! | native histogram, exponential | left out: the format has none | `HISTOGRAM` or `GAUGE_HISTOGRAM`, float counts |
//! | native histogram, custom buckets | left out | left out |
//! | staleness marker, series without a name | left out | left out |
//!
//! A series without the label `instance` gets an empty one, which keeps a scraping server from adding its own.

use std::collections::BTreeMap;
use std::fmt::Write;

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, Labels, METRIC_NAME, ResetHint, Span, is_stale};

use crate::number::write_float;
use crate::protobuf::{VARINT, Writer, key, zigzag};
use crate::text::{is_bare, quote};

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FederationFormat {
    /// `text/plain; version=0.0.4`.
    Text,
    /// `application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`.
    Protobuf,
}

/// What becomes of names that are more than letters, digits, underscores and, in metric names, colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// They stay as they are, in quotes.
    AllowUtf8,
    /// Every other character becomes an underscore.
    Underscores,
    /// Dots become `_dot_`, every other character and underscores two underscores.
    Dots,
    /// `U__` before the name; underscores are doubled, every other character becomes its number: `_2e_`.
    Values,
}

impl Escaping {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Underscores, Self::AllowUtf8, Self::Dots, Self::Values];

    /// The name in content types.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    fn escape(self, name: &str, colons: bool) -> String {
        let plain = |at: usize, c: char| {
            c == '_' || c.is_ascii_alphabetic() || c.is_ascii_digit() && at > 0 || c == ':' && colons
        };
        if self == Self::AllowUtf8 || self != Self::Dots && is_bare(name, colons) {
            return name.to_owned();
        }
        let mut out = if self == Self::Values { "U__".to_owned() } else { String::new() };
        for (at, c) in name.chars().enumerate() {
            match (self, c) {
                (Self::Dots, '.') => out.push_str("_dot_"),
                (Self::Dots | Self::Values, '_') => out.push_str("__"),
                _ if plain(at, c) => out.push(c),
                (Self::Dots, _) => out.push_str("__"),
                (Self::Values, _) => write!(out, "_{:x}_", u32::from(c)).expect("memory takes it"),
                _ => out.push('_'),
            }
        }
        out
    }
}

/// Types of families, in the order in which those of one name are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    Untyped = 3,
    Histogram = 4,
    GaugeHistogram = 5,
}

/// Collects samples and writes them by metric name.
#[derive(Debug)]
pub struct Federation {
    format: FederationFormat,
    escaping: Escaping,
    /// The samples of each family, encoded.
    families: BTreeMap<(String, Type), Vec<u8>>,
    bytes: usize,
}

impl Federation {
    /// An answer without samples.
    pub fn new(format: FederationFormat, escaping: Escaping) -> Self {
        Self { format, escaping, families: BTreeMap::new(), bytes: 0 }
    }

    /// Bytes that the samples take so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a float, unless it is a staleness marker.
    pub fn float(&mut self, labels: &Labels, time_ms: i64, value: f64) {
        if is_stale(value) {
            return;
        }
        match self.format {
            FederationFormat::Text => self.text(labels, time_ms, value),
            FederationFormat::Protobuf => self.metric(labels, Type::Untyped, |metric| {
                metric.message(5, |out| out.raw_double(1, value));
                put_time(metric, time_ms);
            }),
        }
    }

    /// Adds a native histogram, if the format has such.
    pub fn histogram(&mut self, labels: &Labels, time_ms: i64, h: &Histogram) {
        if self.format == FederationFormat::Text || h.is_stale() || h.schema == CUSTOM_BUCKETS_SCHEMA {
            return;
        }
        let family_type = if h.reset_hint == ResetHint::Gauge { Type::GaugeHistogram } else { Type::Histogram };
        self.metric(labels, family_type, |metric| {
            put_time(metric, time_ms);
            metric.message(7, |out| put_histogram(out, h));
        });
    }

    /// The samples of the family that a series belongs to; `None` for a series without a name.
    fn family(&mut self, labels: &Labels, family_type: Type) -> Option<&mut Vec<u8>> {
        let name = labels.metric_name();
        if name.is_empty() {
            return None;
        }
        let key = (self.escaping.escape(name, true), family_type);
        Some(self.families.entry(key).or_default())
    }

    fn text(&mut self, labels: &Labels, time_ms: i64, value: f64) {
        let escaping = self.escaping;
        let Some(out) = self.family(labels, Type::Untyped) else { return };
        let before = out.len();
        let name = escaping.escape(labels.metric_name(), true);
        let mut line = if is_bare(&name, true) { format!("{name}{{") } else { format!("{{{},", quote(&name)) };
        for (name, value) in labels_of(labels) {
            let name = escaping.escape(name, false);
            let name = if is_bare(&name, false) { name } else { quote(&name) };
            write!(line, "{name}={},", quote(value)).expect("memory takes it");
        }
        // There is at least the label `instance`.
        line.pop();
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"} ");
        write_float(out, value).expect("memory takes it");
        out.extend_from_slice(format!(" {time_ms}\n").as_bytes());
        self.bytes += out.len() - before;
    }

    fn metric(&mut self, labels: &Labels, family_type: Type, fill: impl FnOnce(&mut Writer)) {
        let escaping = self.escaping;
        let Some(family) = self.family(labels, family_type) else { return };
        let before = family.len();
        let mut out = Writer(std::mem::take(family));
        out.message(4, |out| {
            for (name, value) in labels_of(labels) {
                out.message(1, |out| {
                    out.bytes(1, escaping.escape(name, false).as_bytes());
                    out.bytes(2, value.as_bytes());
                });
            }
            fill(out);
        });
        *family = out.0;
        self.bytes += family.len() - before;
    }

    /// The whole answer, families by name.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(self.bytes + 64 * self.families.len()));
        for ((name, family_type), samples) in self.families {
            match self.format {
                FederationFormat::Text => {
                    let name = if is_bare(&name, true) { name } else { quote(&name) };
                    out.0.extend_from_slice(format!("# TYPE {name} untyped\n").as_bytes());
                    out.0.extend_from_slice(&samples);
                }
                FederationFormat::Protobuf => {
                    let mut family = Writer::default();
                    family.bytes(1, name.as_bytes());
                    family.varint(3, family_type as u64);
                    out.raw_varint((family.0.len() + samples.len()) as u64);
                    out.0.append(&mut family.0);
                    out.0.extend_from_slice(&samples);
                }
            }
        }
        out.0
    }
}

/// The labels but for the name, and an empty `instance` where there is none.
fn labels_of(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    let instance = labels.get("instance").is_none().then_some(("instance", ""));
    labels.iter().filter(|(name, _)| *name != METRIC_NAME).chain(instance)
}

fn put_time(out: &mut Writer, time_ms: i64) {
    out.raw_varint(u64::from(key(6, VARINT)));
    out.raw_varint(time_ms as u64);
}

fn put_histogram(out: &mut Writer, h: &Histogram) {
    out.raw_double(2, h.sum);
    out.raw_double(4, h.count);
    out.raw_varint(u64::from(key(5, VARINT)));
    out.raw_varint(zigzag(i64::from(h.schema)));
    out.raw_double(6, h.zero_threshold);
    out.raw_double(8, h.zero_count);
    // Readers take a histogram without any span for a classic one.
    let nothing = [Span::default()];
    let is_empty = h.positive_spans.is_empty() && h.negative_spans.is_empty();
    let positive_spans = if is_empty { &nothing[..] } else { &h.positive_spans };
    for (field, spans, counts) in [(9, &h.negative_spans[..], &h.negative), (12, positive_spans, &h.positive)] {
        for span in spans {
            out.message(field, |out| {
                out.varint(1, zigzag(i64::from(span.offset)));
                out.varint(2, u64::from(span.length));
            });
        }
        for &count in counts {
            out.raw_double(field + 2, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use tsq_core::stale_nan;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    fn text(escaping: Escaping) -> String {
        let mut federation = Federation::new(FederationFormat::Text, escaping);
        federation.float(&labels(&[("__name__", "up"), ("Z", "1"), ("instance", "i")]), 5, 1.0);
        federation.float(&labels(&[("__name__", "up"), ("a", "x\"\\\ny")]), -5, f64::NAN);
        federation.float(&labels(&[("__name__", "gone")]), 5, stale_nan());
        federation.float(&labels(&[("nameless", "1")]), 5, 1.0);
        federation.float(&labels(&[("__name__", "my.x_1"), ("é:", "1")]), 5, f64::NEG_INFINITY);
        federation.histogram(&labels(&[("__name__", "h")]), 5, &Histogram::default());
        assert!(federation.bytes() > 0);
        String::from_utf8(federation.finish()).unwrap()
    }

    #[test]
    fn text_is_sorted_by_name_and_escaped_as_asked() {
        let up = "# TYPE up untyped\nup{Z=\"1\",instance=\"i\"} 1 5\nup{a=\"x\\\"\\\\\\ny\",instance=\"\"} NaN -5\n";
        for (escaping, name, label) in [
            (Escaping::AllowUtf8, None, "\"é:\""),
            (Escaping::Underscores, Some("my_x_1"), "__"),
            (Escaping::Dots, Some("my_dot_x__1"), "____"),
            (Escaping::Values, Some("U__my_2e_x__1"), "U___e9__3a_"),
        ] {
            let line = match name {
                Some(name) => format!("# TYPE {name} untyped\n{name}{{{label}=\"1\",instance=\"\"}} -Inf 5\n"),
                None => format!("# TYPE \"my.x_1\" untyped\n{{\"my.x_1\",{label}=\"1\",instance=\"\"}} -Inf 5\n"),
            };
            assert_eq!(text(escaping), line + up, "{escaping:?}");
        }
    }

    /// Bytes that a Prometheus 3.5 sends for the same sample.
    #[test]
    fn messages() {
        let mut federation = Federation::new(FederationFormat::Protobuf, Escaping::Underscores);
        federation.float(&labels(&[("__name__", "odd3"), ("dc", "x")]), 1_795_563_465_425, 1e-7);
        let want = b"\x33\x0a\x04odd3\x18\x03\x22\x29\x0a\x07\x0a\x02dc\x12\x01x\x0a\x0c\x0a\x08instance\x12\x00\
                     \x2a\x09\x09\x48\xaf\xbc\x9a\xf2\xd7\x7a\x3e\x30\xd1\xd5\xb0\xff\xa0\x34";
        assert_eq!(federation.finish(), want);
        let mut federation = Federation::new(FederationFormat::Protobuf, Escaping::Underscores);
        federation.histogram(&labels(&[("__name__", "h")]), 5, &Histogram::default());
        federation.histogram(&labels(&[("__name__", "h")]), 5, &Histogram { schema: -53, ..Histogram::default() });
        federation.histogram(&labels(&[("__name__", "h")]), 5, &Histogram::stale());
        assert_eq!(federation.families.len(), 1);
    }
}
