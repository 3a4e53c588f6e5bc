//! The buckets of a histogram with their bounds, as queries and the HTTP API see them.

use tsq_core::Histogram;

use super::bounds::{custom_bound, exponential_bound};
use super::side::Side;
use super::uses_custom_buckets;

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistogramBucket {
    /// Lower bound, -Inf for the first custom bucket.
    pub lower: f64,
    /// Upper bound, +Inf for the last custom bucket.
    pub upper: f64,
    /// Whether a value equal to `lower` is counted.
    pub lower_inclusive: bool,
    /// Whether a value equal to `upper` is counted.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

/// The buckets by ascending bounds: negative ones, the zero bucket if anything is in it, positive ones. Buckets that are
/// listed but empty are among them. A bucket that reaches into the zero bucket is cut at the zero threshold.
pub fn histogram_buckets(histogram: &Histogram) -> Vec<HistogramBucket> {
    let mut buckets = listed_buckets(histogram);
    buckets.iter_mut().for_each(|bucket| cut_at_threshold(bucket, histogram.zero_threshold));
    buckets
}

/// The same buckets with the bounds that they have by their schema: none is cut at the zero threshold.
pub(crate) fn listed_buckets(histogram: &Histogram) -> Vec<HistogramBucket> {
    let positive = Side::read(&histogram.positive_spans, &histogram.positive);
    if uses_custom_buckets(histogram) {
        return positive.counts().map(|(index, count)| custom_bucket(index, count, &histogram.custom_values)).collect();
    }
    let negative = Side::read(&histogram.negative_spans, &histogram.negative);
    let schema = histogram.schema;
    let mut buckets = Vec::with_capacity(histogram.negative.len() + histogram.positive.len() + 1);
    buckets.extend(negative.counts().rev().map(|(index, count)| negative_bucket(index, count, schema)));
    buckets.extend((histogram.zero_count > 0.0).then(|| zero_bucket(histogram)));
    buckets.extend(positive.counts().map(|(index, count)| positive_bucket(index, count, schema)));
    buckets
}

/// The zero bucket.
pub(super) fn zero_bucket(histogram: &Histogram) -> HistogramBucket {
    HistogramBucket {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        lower_inclusive: true,
        upper_inclusive: true,
        count: histogram.zero_count,
    }
}

/// The positive bucket with this index.
pub(super) fn positive_bucket(index: i32, count: f64, schema: i8) -> HistogramBucket {
    HistogramBucket {
        lower: exponential_bound(index - 1, schema),
        upper: exponential_bound(index, schema),
        lower_inclusive: false,
        upper_inclusive: true,
        count,
    }
}

/// The negative bucket with this index.
pub(super) fn negative_bucket(index: i32, count: f64, schema: i8) -> HistogramBucket {
    HistogramBucket {
        lower: -exponential_bound(index, schema),
        upper: -exponential_bound(index - 1, schema),
        lower_inclusive: true,
        upper_inclusive: false,
        count,
    }
}

/// The custom bucket with this index.
pub(super) fn custom_bucket(index: i32, count: f64, bounds: &[f64]) -> HistogramBucket {
    HistogramBucket {
        lower: custom_bound(index - 1, bounds),
        upper: custom_bound(index, bounds),
        lower_inclusive: index == 0,
        upper_inclusive: true,
        count,
    }
}

fn cut_at_threshold(bucket: &mut HistogramBucket, threshold: f64) {
    if bucket.lower > 0.0 && bucket.lower < threshold {
        bucket.lower = threshold;
    } else if bucket.upper < 0.0 && bucket.upper > -threshold {
        bucket.upper = -threshold;
    }
}

impl HistogramBucket {
    /// Share of the bucket's width at or below `value`, which lies between its finite bounds. Exponential buckets are
    /// taken as evenly filled on a logarithmic scale, others as evenly filled.
    pub(super) fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, at) = (self.lower.abs().log2(), self.upper.abs().log2(), value.abs().log2());
        if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}
