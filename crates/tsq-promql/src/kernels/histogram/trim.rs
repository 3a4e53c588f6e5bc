//! `h </ x` and `h >/ x`: the observations below or above a value.

use tsq_core::Histogram;

use super::buckets::{HistogramBucket, custom_bucket, negative_bucket, positive_bucket, zero_bucket};
use super::side::Side;
use super::uses_custom_buckets;

/// Which observations to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Those below the value: `</`.
    Below,
    /// Those above the value: `>/`.
    Above,
}

/// Keeps the observations on one side of `at`. The bucket it falls into is divided as its observations are taken to be
/// spread; the sum is estimated from the middles of what is left. A histogram that loses nothing stays as it is.
pub(crate) fn trim(histogram: &mut Histogram, at: f64, keep: Keep) {
    let custom = uses_custom_buckets(histogram);
    let schema = histogram.schema;
    let mut positive = Side::read(&histogram.positive_spans, &histogram.positive);
    let mut negative = Side::read(&histogram.negative_spans, &histogram.negative);
    let mut total = Total::default();

    let bounds = std::mem::take(&mut histogram.custom_values);
    let has_positive = total.trim_side(&mut positive, |index, count| {
        let bucket = if custom { custom_bucket(index, count, &bounds) } else { positive_bucket(index, count, schema) };
        kept_of_bucket(&bucket, at, keep, custom, 1.0)
    });
    histogram.custom_values = bounds;
    let has_negative = total.trim_side(&mut negative, |index, count| {
        kept_of_bucket(&negative_bucket(index, count, schema), at, keep, custom, -1.0)
    });
    if histogram.zero_count > 0.0 && !custom {
        let mut zero = zero_bucket(histogram);
        if has_negative && !has_positive {
            zero.upper = 0.0;
        }
        if has_positive && !has_negative {
            zero.lower = 0.0;
        }
        let kept = kept_of_zero_bucket(&zero, at, keep);
        total.add(histogram.zero_count, kept);
        histogram.zero_count = kept.count;
    }
    if total.changed {
        histogram.count = total.count;
        histogram.sum = total.sum;
        histogram.integer = false;
        for side in [&mut positive, &mut negative] {
            side.0.retain(|(_, count)| count.value() != 0.0);
        }
        (histogram.positive_spans, histogram.positive) = positive.write();
        (histogram.negative_spans, histogram.negative) = negative.write();
    }
}

/// What is left of a bucket: observations, and where they lie on average.
#[derive(Clone, Copy)]
struct Kept {
    count: f64,
    middle: f64,
}

#[derive(Default)]
struct Total {
    count: f64,
    sum: f64,
    changed: bool,
}

impl Total {
    fn add(&mut self, count_before: f64, kept: Kept) {
        self.count += kept.count;
        self.sum += kept.middle * kept.count;
        self.changed |= kept.count != count_before;
    }

    /// Trims the filled buckets of a side; whether there were any.
    fn trim_side(&mut self, side: &mut Side, kept_of: impl Fn(i32, f64) -> Kept) -> bool {
        let mut any = false;
        for (index, count) in side.0.iter_mut().filter(|(_, count)| count.sum != 0.0) {
            any = true;
            let kept = kept_of(*index, count.sum);
            self.add(count.sum, kept);
            count.sum = kept.count;
        }
        any
    }
}

fn kept_of_bucket(bucket: &HistogramBucket, at: f64, keep: Keep, linear: bool, sign: f64) -> Kept {
    let HistogramBucket { lower, upper, count, .. } = *bucket;
    let (whole, cut) = match keep {
        Keep::Below => (upper <= at, lower < at),
        Keep::Above => (lower >= at, upper > at),
    };
    if whole {
        return Kept { count, middle: middle(lower, upper, linear, sign) };
    }
    if !cut {
        return Kept { count: 0.0, middle: 0.0 };
    }
    if lower.is_infinite() || upper.is_infinite() {
        return kept_of_open_bucket(bucket, at, keep);
    }
    let below = count * bucket.fraction_below(at, linear);
    match keep {
        Keep::Below => Kept { count: below, middle: middle(lower, at, linear, sign) },
        Keep::Above => Kept { count: count - below, middle: middle(at, upper, linear, sign) },
    }
}

/// A cut bucket without a lower or upper end. One that ends above 0 is taken to begin at 0; of the others it is not known
/// where the observations lie, and they are kept only where that errs on the safe side.
fn kept_of_open_bucket(bucket: &HistogramBucket, at: f64, keep: Keep) -> Kept {
    let HistogramBucket { lower, upper, count, .. } = *bucket;
    let nothing = Kept { count: 0.0, middle: 0.0 };
    if lower == f64::NEG_INFINITY {
        let from_zero = upper > 0.0 && upper.is_finite();
        return match keep {
            Keep::Below if at > 0.0 && from_zero => Kept { count: count * at / upper, middle: at / 2.0 },
            Keep::Below if upper <= 0.0 => Kept { count, middle: at },
            Keep::Above if at >= 0.0 && from_zero => {
                Kept { count: count * (1.0 - at / upper), middle: f64::midpoint(at, upper) }
            }
            _ => nothing,
        };
    }
    match keep {
        Keep::Above if at >= lower => Kept { count, middle: at },
        _ => nothing,
    }
}

fn kept_of_zero_bucket(bucket: &HistogramBucket, at: f64, keep: Keep) -> Kept {
    let HistogramBucket { lower, upper, count, .. } = *bucket;
    let whole = Kept { count, middle: f64::midpoint(lower, upper) };
    let nothing = Kept { count: 0.0, middle: 0.0 };
    let width = upper - lower;
    match keep {
        Keep::Below if at <= lower => nothing,
        Keep::Below if at >= upper => whole,
        Keep::Below => Kept { count: count * ((at - lower) / width), middle: f64::midpoint(lower, at) },
        Keep::Above if at <= lower => whole,
        Keep::Above if at >= upper => nothing,
        Keep::Above => Kept { count: count * ((upper - at) / width), middle: f64::midpoint(at, upper) },
    }
}

/// Where the observations between two bounds lie on average.
fn middle(lower: f64, upper: f64, linear: bool, sign: f64) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) => sign * (lower * upper).abs().sqrt(),
    }
}
