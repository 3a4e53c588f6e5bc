//! Native histograms as samples: exponential and custom buckets, counts as floats.
//!
//! Specification: "Native Histograms" of the Prometheus project. Arithmetic and quantiles live in tsq-promql.

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

    /// A staleness marker.
    pub fn stale() -> Self {
        Self { sum: crate::sample::stale_nan(), ..Self::default() }
    }
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
