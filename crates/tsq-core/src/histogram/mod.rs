//! Native histograms as samples: exponential and custom buckets, counts as floats.
//!
//! Specification: "Native Histograms" of the Prometheus project. Arithmetic and quantiles live in tsq-promql.

use xxhash_rust::xxh3::Xxh3;

/// Schema of histograms whose bounds are listed in `custom_values`.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;

/// What a sender says about counter resets between this histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResetHint {
    /// Compare counts to find out.
    #[default]
    Unknown = 0,
    /// A reset happened.
    Reset = 1,
    /// No reset happened.
    NotReset = 2,
    /// A gauge histogram: counts may go down.
    Gauge = 3,
}

impl ResetHint {
    /// The hint with this number on disk and on the wire.
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Unknown, Self::Reset, Self::NotReset, Self::Gauge].get(usize::from(number)).copied()
    }
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the end of the span before it; for the first span its start index.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// A native histogram sample. Counts are absolute per bucket (no deltas) and not cumulative.
///
/// A staleness marker of a histogram series is a histogram whose `sum` is the stale NaN.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// -4 to 8: bucket bounds grow by 2^(2^-schema); [`CUSTOM_BUCKETS_SCHEMA`]: bounds are `custom_values`.
    pub schema: i8,
    /// What the sender says about resets.
    pub reset_hint: ResetHint,
    /// Whether the sender counted in integers (exact, below 2^53).
    pub integer: bool,
    /// Width of the zero bucket: values in [-threshold, threshold] fall into it.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN observations included.
    pub count: f64,
    /// Sum of the observations.
    pub sum: f64,
    /// Layout of `positive`.
    pub positive_spans: Vec<Span>,
    /// Layout of `negative`.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive (or custom) buckets, as many as the spans have.
    pub positive: Vec<f64>,
    /// Counts of the negative buckets, as many as the spans have.
    pub negative: Vec<f64>,
    /// Upper bounds of custom buckets, ascending, without +Inf.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// Whether this is a staleness marker.
    pub fn is_stale(&self) -> bool {
        crate::sample::is_stale(self.sum)
    }

    /// A hash of every bit.
    pub(crate) fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&[self.schema as u8, self.reset_hint as u8, u8::from(self.integer)]);
        for value in [self.zero_threshold, self.zero_count, self.count, self.sum] {
            hash.update(&value.to_le_bytes());
        }
        for spans in [&self.positive_spans, &self.negative_spans] {
            hash.update(&(spans.len() as u64).to_le_bytes());
            for span in spans {
                hash.update(&span.offset.to_le_bytes());
                hash.update(&span.length.to_le_bytes());
            }
        }
        for values in [&self.positive, &self.negative, &self.custom_values] {
            hash.update(&(values.len() as u64).to_le_bytes());
            for value in values {
                hash.update(&value.to_le_bytes());
            }
        }
        hash.digest()
    }

    /// Bytes held, the struct itself included.
    pub(crate) fn memory(&self) -> usize {
        let spans = self.positive_spans.capacity() + self.negative_spans.capacity();
        let values = self.positive.capacity() + self.negative.capacity() + self.custom_values.capacity();
        size_of::<Self>() + 8 * (spans + values)
    }

    /// Checks the rules of the specification: a known schema, as many counts as the spans have buckets, spans that do
    /// not overlap, ascending finite bounds, no negative count, at most `buckets_max` buckets.
    ///
    /// # Errors
    /// What is wrong, as text.
    pub fn validate(&self, buckets_max: usize) -> Result<(), String> {
        if self.is_stale() {
            return Ok(());
        }
        let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        if !custom && !(-4..=8).contains(&self.schema) {
            return Err(format!("histogram schema {} is none of -53, -4 to 8", self.schema));
        }
        let buckets = self.positive.len() + self.negative.len() + self.custom_values.len();
        if buckets > buckets_max {
            return Err(format!(
                "histogram has {buckets} buckets, {buckets_max} are allowed (limits.histogram_buckets)"
            ));
        }
        check_spans("positive", &self.positive_spans, self.positive.len())?;
        check_spans("negative", &self.negative_spans, self.negative.len())?;
        if custom {
            self.check_custom()?;
        } else if !self.custom_values.is_empty() {
            return Err("histogram with an exponential schema has custom bounds".to_owned());
        }
        let counts = || self.positive.iter().chain(&self.negative).chain([&self.zero_count, &self.count]);
        match counts().find(|count| **count < 0.0) {
            Some(count) => Err(format!("histogram has the negative count {count}")),
            None => Ok(()),
        }
    }

    fn check_custom(&self) -> Result<(), String> {
        let bounds = &self.custom_values;
        if !bounds.iter().all(|bound| bound.is_finite()) || !bounds.is_sorted_by(|left, right| left < right) {
            return Err("histogram has custom bounds that are not finite and ascending".to_owned());
        }
        if !self.negative.is_empty() || self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return Err("histogram with custom buckets has negative or zero buckets".to_owned());
        }
        let mut end = 0_i64;
        for span in &self.positive_spans {
            end += i64::from(span.offset) + i64::from(span.length);
        }
        if self.positive_spans.first().is_some_and(|span| span.offset < 0) || end > bounds.len() as i64 + 1 {
            return Err(format!("histogram spans reach bucket {end}, there are {} custom bounds", bounds.len()));
        }
        Ok(())
    }

    /// A staleness marker.
    pub fn stale() -> Self {
        Self { sum: crate::sample::stale_nan(), ..Self::default() }
    }
}

fn check_spans(sign: &str, spans: &[Span], counts: usize) -> Result<(), String> {
    let mut buckets = 0_u64;
    let mut end = 0_i64;
    for (number, span) in spans.iter().enumerate() {
        if number > 0 && span.offset < 0 {
            return Err(format!("{sign} span {number} has the negative offset {}", span.offset));
        }
        buckets += u64::from(span.length);
        end += i64::from(span.offset) + i64::from(span.length);
    }
    if buckets != counts as u64 {
        return Err(format!("{sign} spans have {buckets} buckets, there are {counts} counts"));
    }
    if end > i64::from(i32::MAX) {
        return Err(format!("{sign} spans reach bucket {end}, past the last index"));
    }
    Ok(())
}

/// Equality of every bit, NaN payloads included.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        let same =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        let head = |h: &Self| [h.zero_threshold, h.zero_count, h.count, h.sum];
        self.schema == other.schema
            && self.reset_hint == other.reset_hint
            && self.integer == other.integer
            && same(&head(self), &head(other))
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && same(&self.positive, &other.positive)
            && same(&self.negative, &other.negative)
            && same(&self.custom_values, &other.custom_values)
    }
}
