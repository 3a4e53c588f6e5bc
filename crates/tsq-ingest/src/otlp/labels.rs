//! Labels of the series of a request: what resource, scope, metric and data point say, put together only for series
//! that the engine does not know yet.

use std::fmt::Write as _;

use tsq_core::{CanonicalLabels, Error, LabelSource, LabelsBuilder, METRIC_NAME};

use super::names::push_label_name;
use super::options::{OtlpOptions, Translation};
use super::value::{Attribute, attributes};
use crate::protobuf::Reader;

/// Label names and values.
pub(super) type Pairs = Vec<(String, String)>;

/// What a resource, and a scope of it, give to all their series.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// Labels that win over attributes of the data point: `job`, `instance`, and those of the scope.
    pub(super) fixed: Pairs,
    /// Promoted resource attributes, which attributes of the data point win over.
    pub(super) promoted: Pairs,
}

/// Which series of a data point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// The series of the metric's own name.
    Whole,
    Sum,
    Count,
    /// A classic bucket up to this bound.
    Bucket(f64),
    /// A quantile of a summary.
    Quantile(f64),
}

impl Part {
    /// A number for each kind, and the bound.
    pub(super) fn to_bytes(self) -> [u8; 9] {
        let (kind, bound) = match self {
            Self::Whole => (0, 0.0),
            Self::Sum => (1, 0.0),
            Self::Count => (2, 0.0),
            Self::Bucket(bound) => (3, bound),
            Self::Quantile(quantile) => (4, quantile),
        };
        let mut bytes = [kind; 9];
        bytes[1..].copy_from_slice(&bound.to_bits().to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; 9]) -> Self {
        let [kind, bound @ ..] = bytes;
        let bound = f64::from_bits(u64::from_le_bytes(bound));
        match kind {
            0 => Self::Whole,
            1 => Self::Sum,
            2 => Self::Count,
            3 => Self::Bucket(bound),
            _ => Self::Quantile(bound),
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Whole | Self::Quantile(_) => "",
            Self::Sum => "_sum",
            Self::Count => "_count",
            Self::Bucket(_) => "_bucket",
        }
    }

    /// The label that only this part has.
    fn label(self) -> Option<(&'static str, String)> {
        match self {
            Self::Whole | Self::Sum | Self::Count => None,
            Self::Bucket(bound) => Some(("le", bound_text(bound))),
            Self::Quantile(quantile) => Some(("quantile", bound_text(quantile))),
        }
    }
}

fn bound_text(bound: f64) -> String {
    match bound {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        bound => bound.to_string(),
    }
}

/// Where the attributes of a data point stand: in one piece in the body, else collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AttributesAt {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) collected: bool,
}

/// A series of the request: as label bytes the numbers below, 27 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesAt {
    pub(super) metric: u32,
    pub(super) attributes: AttributesAt,
    /// Number of the field that holds the attributes.
    pub(super) field: u8,
    pub(super) part: Part,
}

/// First byte of label bytes that refer to the tables of the request.
const REFERENCE: u8 = 0;
/// First byte of label bytes that are canonical labels.
const CANONICAL: u8 = 1;

/// Length of label bytes that refer.
pub(super) const REFERENCE_LEN: usize = 24;

impl SeriesAt {
    pub(super) fn to_bytes(self) -> [u8; REFERENCE_LEN] {
        let mut bytes = [REFERENCE; REFERENCE_LEN];
        bytes[1..5].copy_from_slice(&self.metric.to_le_bytes());
        bytes[5..9].copy_from_slice(&self.attributes.start.to_le_bytes());
        bytes[9..13].copy_from_slice(&self.attributes.len.to_le_bytes());
        bytes[13] = u8::from(self.attributes.collected);
        bytes[14] = self.field;
        bytes[15..].copy_from_slice(&self.part.to_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; REFERENCE_LEN]) -> Self {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut part = [0; 9];
        part.copy_from_slice(&bytes[15..]);
        Self {
            metric: number(1),
            attributes: AttributesAt { start: number(5), len: number(9), collected: bytes[13] != 0 },
            field: bytes[14],
            part: Part::from_bytes(part),
        }
    }
}

/// Label bytes that are canonical labels.
pub(super) fn canonical_bytes(canonical: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(CANONICAL);
    out.extend_from_slice(canonical);
}

/// A metric of the request.
#[derive(Clone, Debug)]
pub(super) struct MetricAt {
    /// The translated name.
    pub(super) name: String,
    /// Index of its context.
    pub(super) context: u32,
}

/// Reads the label bytes of a batch that [`decode()`](super::decode()) filled. Borrows the body.
#[derive(Debug)]
pub struct OtlpLabels<'a> {
    body: &'a [u8],
    translation: Translation,
    /// Attributes of data points that do not have them in one piece.
    pub(super) collected: Vec<u8>,
    pub(super) contexts: Vec<Context>,
    pub(super) metrics: Vec<MetricAt>,
}

impl<'a> OtlpLabels<'a> {
    pub(super) fn new(body: &'a [u8], options: &OtlpOptions) -> Self {
        let (collected, contexts, metrics) = Default::default();
        Self { body, translation: options.translation, collected, contexts, metrics }
    }

    /// The bytes of a data point's attributes, if they are there.
    pub(super) fn attribute_bytes(&self, at: AttributesAt) -> &[u8] {
        let bytes = if at.collected { &self.collected } else { self.body };
        let (start, len) = (at.start as usize, at.len as usize);
        bytes.get(start..).and_then(|bytes| bytes.get(..len)).unwrap_or_default()
    }

    /// Pushes the labels of a series.
    pub(super) fn push(&self, series: SeriesAt, out: &mut LabelsBuilder) -> Result<(), String> {
        let metric = self.metrics.get(series.metric as usize).ok_or("the label bytes are of another request")?;
        let context = self.contexts.get(metric.context as usize).ok_or("the label bytes are of another request")?;
        let mut name = metric.name.clone();
        name.push_str(series.part.suffix());
        let part = series.part.label();
        let own = [(METRIC_NAME, name.as_str())]
            .into_iter()
            .chain(part.as_ref().map(|(name, value)| (*name, value.as_str())));
        let own: Vec<_> = own.collect();
        let is_own = |name: &str| own.iter().any(|(known, _)| *known == name);
        let fixed = context.fixed.iter().filter(|(name, _)| !is_own(name));
        let is_taken = |name: &str| is_own(name) || context.fixed.iter().any(|(known, _)| known == name);
        let reader = Reader::new(self.attribute_bytes(series.attributes));
        let attributes = label_pairs(reader, u32::from(series.field), self.translation)?;
        let is_attribute = |name: &String| attributes.binary_search_by(|(known, _)| known.cmp(name)).is_ok();
        let promoted = context.promoted.iter().filter(|(name, _)| !is_attribute(name));
        let free = attributes.iter().chain(promoted).filter(|(name, _)| !is_taken(name));
        own.iter().for_each(|(name, value)| out.push(name, value));
        fixed.chain(free).for_each(|(name, value)| out.push(name, value));
        Ok(())
    }

    /// A series for a message: at most 300 characters of it.
    pub(super) fn show(&self, series: SeriesAt) -> String {
        let mut builder = LabelsBuilder::default();
        let pushed = self.push(series, &mut builder).map(|()| builder.build());
        let mut text = match pushed {
            Ok(Ok(labels)) => labels.to_string(),
            Ok(Err(_)) | Err(_) => {
                let metric = self.metrics.get(series.metric as usize).map_or("", |metric| &metric.name);
                format!("{metric}{} with invalid labels", series.part.suffix())
            }
        };
        if let Some((end, _)) = text.char_indices().nth(300) {
            text.truncate(end);
            text.push_str("...");
        }
        text
    }
}

impl LabelSource for OtlpLabels<'_> {
    fn labels(&self, bytes: &[u8], out: &mut LabelsBuilder) -> tsq_core::Result<()> {
        if let Some((&CANONICAL, canonical)) = bytes.split_first() {
            return CanonicalLabels.labels(canonical, out);
        }
        let reference = bytes.try_into().map_err(|_| Error::invalid("the label bytes are not of this form"))?;
        let series = SeriesAt::from_bytes(reference);
        self.push(series, out).map_err(|fault| {
            let metric = self.metrics.get(series.metric as usize).map_or("", |metric| &metric.name);
            Error::invalid(format!("metric {metric:?}: {fault}"))
        })
    }
}

/// Attributes as labels, sorted by name. Values of attributes whose names become the same are joined with `;`, in order
/// of the attributes' own names.
pub(super) fn label_pairs(message: Reader<'_>, field: u32, translation: Translation) -> Result<Pairs, String> {
    let mut attributes = attributes(message, field, 0)?;
    joined(&mut attributes, translation)
}

/// As [`label_pairs`], of attributes that were read.
pub(super) fn joined(attributes: &mut [Attribute<'_>], translation: Translation) -> Result<Pairs, String> {
    attributes.sort_by_key(|attribute| attribute.key);
    let mut pairs = Pairs::with_capacity(attributes.len());
    for attribute in attributes {
        let (mut name, mut value) = (String::new(), String::new());
        push_label_name(attribute.key, translation, &mut name)?;
        attribute.push_value(&mut value)?;
        pairs.push((name, value));
    }
    pairs.sort_by(|one, two| one.0.cmp(&two.0));
    pairs.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            write!(kept.1, ";{}", next.1).expect("writing to memory does not fail");
        }
        same
    });
    Ok(pairs)
}
