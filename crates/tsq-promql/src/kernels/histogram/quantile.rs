//! What a histogram says about its observations: quantiles, fractions, moments.
//!
//! Within a bucket observations are taken as evenly spread, on a logarithmic scale in exponential buckets; in the zero
//! bucket and in custom buckets on a linear one. A histogram without negative buckets has no negative observations in
//! its zero bucket, and the other way round. NaN observations are in `count` but in no bucket, and make `sum` NaN.

use tsq_core::Histogram;

use super::buckets::{HistogramBucket, histogram_buckets};
use super::uses_custom_buckets;
use crate::kernels::kahan::Kahan;
use crate::kernels::{Note, Notes};

/// A function of one histogram.
pub(crate) type HistogramFunction = fn(&Histogram) -> f64;

/// The functions of one histogram, by name.
pub(crate) static HISTOGRAM_FUNCTIONS: &[(&str, HistogramFunction)] = &[
    ("histogram_avg", |h| h.sum / h.count),
    ("histogram_count", |h| h.count),
    ("histogram_stddev", |h| variance(h).sqrt()),
    ("histogram_stdvar", variance),
    ("histogram_sum", |h| h.sum),
];

/// The value below which the share `phi` of the observations lies: -Inf for `phi` below 0, +Inf above 1, NaN for a NaN
/// `phi` or no observations. NaN observations count as larger than all others.
pub(crate) fn quantile(phi: f64, histogram: &Histogram, notes: &mut Notes) -> f64 {
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || phi.is_nan() {
        return f64::NAN;
    }
    let buckets = histogram_buckets(histogram);
    // From the nearer end, which loses less to rounding. With NaN observations the upper end is out of reach.
    let from_below = histogram.sum.is_nan() || phi < 0.5;
    let share = if from_below { phi } else { 1.0 - phi };
    let rank = share * histogram.count;
    let found =
        if from_below { bucket_of_rank(buckets.iter(), rank) } else { bucket_of_rank(buckets.iter().rev(), rank) };
    if uses_custom_buckets(histogram)
        && let Some(value) = quantile_in_open_bucket(&found.bucket)
    {
        return value;
    }
    let bucket = fit_to_signs(found.bucket, histogram);
    let cumulative = if found.cumulative > histogram.count { histogram.count } else { found.cumulative };
    if cumulative < rank {
        if histogram.sum.is_nan() {
            notes.add(Note::QuantileNanResult);
            return f64::NAN;
        }
        return bucket.upper;
    }
    if histogram.sum.is_nan() && buckets.iter().map(|bucket| bucket.count).sum::<f64>() < histogram.count {
        notes.add(Note::QuantileNanSkewed);
    }
    let rank_in_bucket = if from_below { rank - (cumulative - bucket.count) } else { cumulative - rank };
    value_at(&bucket, rank_in_bucket / bucket.count, uses_custom_buckets(histogram))
}

/// The share of the observations between two bounds. NaN for NaN bounds or no observations.
pub(crate) fn fraction(lower: f64, upper: f64, histogram: &Histogram, notes: &mut Notes) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let buckets = histogram_buckets(histogram);
    let mut count = histogram.count;
    if histogram.sum.is_nan() {
        count = buckets.iter().map(|bucket| bucket.count).sum();
        if count < histogram.count {
            notes.add(Note::FractionNans);
        }
    }
    let below = |value| match rank_of(value, &buckets, histogram) {
        Some(rank) if rank <= count => rank,
        _ => count,
    };
    (below(upper) - below(lower)) / histogram.count
}

/// A bucket and the observations up to its far end.
struct Found {
    bucket: HistogramBucket,
    cumulative: f64,
}

/// The first filled bucket with which `rank` observations are reached, or the last bucket of all.
fn bucket_of_rank<'a>(buckets: impl Iterator<Item = &'a HistogramBucket>, rank: f64) -> Found {
    let none = HistogramBucket { lower: 0.0, upper: 0.0, lower_inclusive: true, upper_inclusive: true, count: 0.0 };
    let mut found = Found { bucket: none, cumulative: 0.0 };
    for bucket in buckets {
        found.bucket = *bucket;
        found.cumulative += bucket.count;
        if bucket.count != 0.0 && found.cumulative >= rank {
            break;
        }
    }
    found
}

/// Cuts the zero bucket at 0 if all observations have one sign, and a first custom bucket that ends above 0 at 0.
fn fit_to_signs(mut bucket: HistogramBucket, histogram: &Histogram) -> HistogramBucket {
    if !uses_custom_buckets(histogram) && bucket.lower < 0.0 && bucket.upper > 0.0 {
        if histogram.negative.is_empty() && !histogram.positive.is_empty() {
            bucket.lower = 0.0;
        } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
            bucket.upper = 0.0;
        }
    } else if uses_custom_buckets(histogram) && bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
        bucket.lower = 0.0;
    }
    bucket
}

/// The quantile in the first custom bucket if that ends at or below 0, and in the last one: the finite bound.
fn quantile_in_open_bucket(bucket: &HistogramBucket) -> Option<f64> {
    if bucket.lower == f64::NEG_INFINITY {
        (bucket.upper <= 0.0).then_some(bucket.upper)
    } else {
        (bucket.upper == f64::INFINITY).then_some(bucket.lower)
    }
}

fn value_at(bucket: &HistogramBucket, fraction: f64, linear: bool) -> f64 {
    let HistogramBucket { lower, upper, .. } = *bucket;
    if linear || (lower <= 0.0 && upper >= 0.0) {
        return lower + (upper - lower) * fraction;
    }
    let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        (log_lower + (log_upper - log_lower) * fraction).exp2()
    } else {
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    }
}

/// Observations below `value`; `None` if no bucket reaches up to it.
fn rank_of(value: f64, buckets: &[HistogramBucket], histogram: &Histogram) -> Option<f64> {
    let custom = uses_custom_buckets(histogram);
    let mut rank = 0.0;
    for bucket in buckets {
        let is_zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        let bucket = if is_zero_bucket { fit_zero_bucket(*bucket, histogram) } else { *bucket };
        if bucket.lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            // Where in a bucket without lower end the observations lie is not known: all of them count as below.
            let open = bucket.lower == f64::NEG_INFINITY;
            let inside = if open { 1.0 } else { bucket.fraction_below(value, custom || is_zero_bucket) };
            return Some(rank + bucket.count * inside);
        }
        rank += bucket.count;
    }
    None
}

/// Like [`fit_to_signs`], for any bucket around zero: what `histogram_fraction` does.
fn fit_zero_bucket(mut bucket: HistogramBucket, histogram: &Histogram) -> HistogramBucket {
    if histogram.negative.is_empty() && !histogram.positive.is_empty() {
        bucket.lower = 0.0;
    } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
        bucket.upper = 0.0;
    }
    bucket
}

/// The variance, each observation taken to lie at the middle of its bucket: the geometric mean of the bounds, 0 in the
/// zero bucket, the arithmetic mean in custom buckets.
fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let custom = uses_custom_buckets(histogram);
    let middle = |bucket: &HistogramBucket| {
        if custom {
            f64::midpoint(bucket.upper, bucket.lower)
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        }
    };
    let buckets = histogram_buckets(histogram);
    let filled = buckets.iter().filter(|bucket| bucket.count != 0.0);
    let squares: Kahan = filled.map(|bucket| bucket.count * (middle(bucket) - mean).powi(2)).collect();
    squares.value() / histogram.count
}
