//! The shape of a line, for serde.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use tsq_core::{Exemplar, Histogram, LabelsBuilder, Metadata, NORMAL_NAN_BITS, ResetHint, Span};

use crate::number::parse_value;

/// Names of the reset hints, in the order of their numbers.
pub(super) const RESET_HINTS: [&str; 4] = ["unknown", "reset", "not_reset", "gauge"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) metric: Option<LabelPairs>,
    pub(super) kind: Option<String>,
    pub(super) values: Option<Vec<Value>>,
    pub(super) histograms: Option<Vec<HistogramModel>>,
    pub(super) steps: Option<Vec<i64>>,
    pub(super) timestamps: Option<Vec<i64>>,
    pub(super) starts: Option<Vec<i64>>,
    #[serde(default)]
    pub(super) exemplars: Vec<ExemplarModel>,
    pub(super) metadata: Option<MetadataModel>,
}

/// A JSON object of strings, as it stands: a name that is given twice is still there twice.
#[derive(Debug, Default)]
pub(crate) struct LabelPairs(Vec<(String, String)>);

impl LabelPairs {
    pub(crate) fn push(&self, builder: &mut LabelsBuilder) {
        self.0.iter().for_each(|(name, value)| builder.push(name, value));
    }
}

impl<'de> Deserialize<'de> for LabelPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = LabelPairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of label names and string values")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<LabelPairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(LabelPairs(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A sample value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Value(pub(super) f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or \"NaN\", \"+Inf\", \"-Inf\" or a NaN by its bits")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
                Ok(Value(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
                Ok(Value(value as f64))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
                Ok(Value(value as f64))
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                Ok(Value(f64::from_bits(NORMAL_NAN_BITS)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                parse_value(text).map(Value).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

fn floats(values: Vec<Value>) -> Vec<f64> {
    values.into_iter().map(|value| value.0).collect()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HistogramModel {
    schema: i8,
    reset: Option<String>,
    integer: bool,
    zero_threshold: Value,
    zero_count: Value,
    count: Value,
    sum: Value,
    positive_spans: Vec<(i32, u32)>,
    negative_spans: Vec<(i32, u32)>,
    positive: Vec<Value>,
    negative: Vec<Value>,
    custom_values: Vec<Value>,
}

impl HistogramModel {
    pub(super) fn build(self) -> Result<Histogram, String> {
        let hint = match &self.reset {
            None => ResetHint::Unknown,
            Some(name) => RESET_HINTS
                .iter()
                .position(|known| known == name)
                .and_then(|number| ResetHint::from_u8(number as u8))
                .ok_or_else(|| format!("{name:?} is no reset hint"))?,
        };
        let spans =
            |pairs: Vec<(i32, u32)>| pairs.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        Ok(Histogram {
            schema: self.schema,
            reset_hint: hint,
            integer: self.integer,
            zero_threshold: self.zero_threshold.0,
            zero_count: self.zero_count.0,
            count: self.count.0,
            sum: self.sum.0,
            positive_spans: spans(self.positive_spans),
            negative_spans: spans(self.negative_spans),
            positive: floats(self.positive),
            negative: floats(self.negative),
            custom_values: floats(self.custom_values),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExemplarModel {
    #[serde(default)]
    labels: LabelPairs,
    value: Value,
    timestamp: i64,
}

impl ExemplarModel {
    pub(super) fn build(&self, builder: &mut LabelsBuilder) -> Result<Exemplar, String> {
        builder.clear();
        self.labels.push(builder);
        let labels = builder.build().map_err(|error| format!("exemplar: {error}"))?;
        Ok(Exemplar { labels, value: self.value.0, time_ms: self.timestamp })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetadataModel {
    metric: String,
    #[serde(rename = "type", default)]
    metric_type: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    help: String,
}

impl MetadataModel {
    pub(super) fn build(self) -> Metadata {
        Metadata { metric: self.metric, metric_type: self.metric_type, unit: self.unit, help: self.help }
    }
}
