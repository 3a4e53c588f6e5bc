//! Classic histograms: cumulative counts by upper bound (`le`).

use super::note::ForcedMonotonicity;

/// Relative difference of neighbouring counts that is taken for a rounding error.
const SMALL_DELTA: f64 = 1e-12;

/// A bucket: observations at or below a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassicBucket {
    /// The value of `le`.
    pub upper_bound: f64,
    /// Observations at or below it.
    pub count: f64,
}

/// A quantile, and what was wrong with the buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassicQuantile {
    /// The value.
    pub value: f64,
    /// Counts that fell from one bucket to the next were raised.
    pub forced: Option<ForcedMonotonicity>,
}

/// The value below which the share `phi` of the observations lies, interpolated linearly. Sorts and repairs `buckets`.
///
/// NaN without observations, without a bucket up to +Inf, or with that one only; -Inf for `phi` below 0, +Inf for one
/// above 1. In the highest bucket it is the bound below; a lowest bucket that ends above 0 begins at 0, else the quantile in
/// it is its bound. `time_ms` is the evaluation time, for the note.
pub(crate) fn bucket_quantile(phi: f64, buckets: &mut Vec<ClassicBucket>, time_ms: i64) -> ClassicQuantile {
    let unforced = |value| ClassicQuantile { value, forced: None };
    if phi.is_nan() {
        return unforced(f64::NAN);
    }
    if phi < 0.0 {
        return unforced(f64::NEG_INFINITY);
    }
    if phi > 1.0 {
        return unforced(f64::INFINITY);
    }
    if !sort_and_merge(buckets) {
        return unforced(f64::NAN);
    }
    let forced = force_monotonicity(buckets, time_ms);
    ClassicQuantile { value: quantile_of_monotonic(phi, buckets), forced }
}

/// The share of the observations between two bounds, interpolated linearly. Sorts `buckets`.
///
/// NaN without observations, without a bucket up to +Inf or for NaN bounds.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !sort_and_merge(buckets) {
        return f64::NAN;
    }
    let total = buckets.last().map_or(0.0, |bucket| bucket.count);
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let below = |value| match rank_of(value, buckets) {
        Some(rank) if rank <= total => rank,
        _ => total,
    };
    (below(upper) - below(lower)) / total
}

/// Sorts by bound and adds up buckets of one bound; whether there is a bucket up to +Inf.
fn sort_and_merge(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    buckets.dedup_by(|bucket, kept| {
        let equal = bucket.upper_bound == kept.upper_bound;
        if equal {
            kept.count += bucket.count;
        }
        equal
    });
    buckets.last().is_some_and(|bucket| bucket.upper_bound == f64::INFINITY)
}

/// Raises counts that are lower than the one before. Differences that are likely rounding errors are evened out without
/// a word.
fn force_monotonicity(buckets: &mut [ClassicBucket], time_ms: i64) -> Option<ForcedMonotonicity> {
    let mut forced: Option<ForcedMonotonicity> = None;
    let mut previous = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if nearly_equal(previous, bucket.count) {
            bucket.count = previous;
        } else if bucket.count < previous {
            let change = ForcedMonotonicity {
                bucket_min: bucket.upper_bound,
                bucket_max: bucket.upper_bound,
                diff_max: previous - bucket.count,
                time_min_ms: time_ms,
                time_max_ms: time_ms,
                samples: 1,
            };
            bucket.count = previous;
            let first = forced.get_or_insert(change);
            first.bucket_max = change.bucket_max;
            first.diff_max = first.diff_max.max(change.diff_max);
        } else {
            previous = bucket.count;
        }
    }
    forced
}

fn quantile_of_monotonic(phi: f64, buckets: &[ClassicBucket]) -> f64 {
    let [.., second_last, last] = buckets else { return f64::NAN };
    if last.count == 0.0 {
        return f64::NAN;
    }
    let rank = phi * last.count;
    let finite = &buckets[..buckets.len() - 1];
    let index = finite.partition_point(|bucket| bucket.count < rank);
    let Some(bucket) = finite.get(index) else { return second_last.upper_bound };
    if index == 0 && bucket.upper_bound <= 0.0 {
        return bucket.upper_bound;
    }
    let below = index.checked_sub(1).map_or(ClassicBucket { upper_bound: 0.0, count: 0.0 }, |below| finite[below]);
    let share = (rank - below.count) / (bucket.count - below.count);
    below.upper_bound + (bucket.upper_bound - below.upper_bound) * share
}

/// Observations below `value`; `None` if it lies above all buckets.
fn rank_of(value: f64, buckets: &[ClassicBucket]) -> Option<f64> {
    let positive = buckets.first().is_some_and(|bucket| bucket.upper_bound > 0.0);
    let mut lower = if positive { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    for bucket in buckets {
        if lower >= value {
            return Some(rank);
        }
        if bucket.upper_bound > value {
            if lower == f64::NEG_INFINITY {
                return Some(bucket.count);
            }
            return Some(rank + (bucket.count - rank) * (value - lower) / (bucket.upper_bound - lower));
        }
        rank = bucket.count;
        lower = bucket.upper_bound;
    }
    None
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (size, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        difference < SMALL_DELTA * f64::MIN_POSITIVE
    } else {
        difference / size.min(f64::MAX) < SMALL_DELTA
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INF: f64 = f64::INFINITY;

    fn buckets(list: &[(f64, f64)]) -> Vec<ClassicBucket> {
        list.iter().map(|&(upper_bound, count)| ClassicBucket { upper_bound, count }).collect()
    }

    fn quantile(phi: f64, list: &[(f64, f64)]) -> f64 {
        bucket_quantile(phi, &mut buckets(list), 0).value
    }

    #[test]
    fn quantiles_are_interpolated() {
        let list = [(4.0, 8.0), (1.0, 2.0), (2.0, 4.0), (INF, 10.0)];
        assert_eq!(quantile(0.1, &list), 0.5);
        assert_eq!(quantile(0.3, &list), 1.5);
        assert_eq!(quantile(0.6, &list), 3.0);
        assert_eq!(quantile(0.9, &list), 4.0);
        assert_eq!(quantile(0.0, &list), 0.0);
        assert_eq!(quantile(1.0, &list), 4.0);
        assert_eq!(quantile(0.1, &[(-1.0, 5.0), (INF, 10.0)]), -1.0);
    }

    #[test]
    fn quantiles_that_do_not_exist() {
        let list = [(1.0, 2.0), (INF, 4.0)];
        assert_eq!(quantile(-0.1, &list), -INF);
        assert_eq!(quantile(1.1, &list), INF);
        for (phi, list) in [
            (f64::NAN, &list[..]),
            (0.5, &[(1.0, 2.0), (2.0, 4.0)]),
            (0.5, &[(INF, 4.0)]),
            (0.5, &[]),
            (0.5, &[(1.0, 0.0), (INF, 0.0)]),
        ] {
            assert!(quantile(phi, list).is_nan(), "{phi} {list:?}");
        }
    }

    #[test]
    fn falling_counts_are_raised_and_reported() {
        let mut list = buckets(&[(1.0, 10.0), (2.0, 8.0), (3.0, 12.0), (4.0, 11.5), (INF, 20.0)]);
        let got = bucket_quantile(0.75, &mut list, 5000);
        let forced = got.forced.expect("two counts fell");
        assert_eq!((forced.bucket_min, forced.bucket_max, forced.diff_max), (2.0, 4.0, 2.0));
        assert_eq!((forced.time_min_ms, forced.samples), (5000, 1));
        assert_eq!(got.value, 4.0);
        assert_eq!(list.iter().map(|b| b.count).collect::<Vec<_>>(), [10.0, 10.0, 12.0, 12.0, 20.0]);
    }

    #[test]
    fn rounding_errors_are_not_reported() {
        let mut list = buckets(&[(1.0, 1e13), (2.0, 1e13 - 1.0), (INF, 1e13 + 1.0)]);
        let got = bucket_quantile(0.5, &mut list, 0);
        assert!(got.forced.is_none());
        assert_eq!(list[2].count, 1e13);
    }

    #[test]
    fn fractions_are_interpolated() {
        let list = [(1.0, 2.0), (2.0, 4.0), (INF, 8.0)];
        let fraction = |lower, upper| bucket_fraction(lower, upper, &mut buckets(&list));
        assert_eq!(fraction(-INF, INF), 1.0);
        assert_eq!(fraction(0.5, 1.5), 0.25);
        assert_eq!(fraction(2.0, INF), 0.5);
        // Nothing of the open bucket counts as below a finite value.
        assert_eq!(fraction(0.0, 100.0), 0.5);
        assert_eq!(fraction(3.0, 1.0), 0.0);
        assert!(fraction(f64::NAN, 1.0).is_nan());
        assert!(bucket_fraction(0.0, 1.0, &mut buckets(&[(1.0, 2.0)])).is_nan());
        assert!(bucket_fraction(0.0, 1.0, &mut Vec::new()).is_nan());
        assert_eq!(bucket_fraction(-INF, -1.5, &mut buckets(&[(-1.0, 2.0), (INF, 4.0)])), 0.5);
    }

    proptest! {
        #[test]
        fn quantiles_rise_with_phi(
            counts in prop::collection::vec(0_u32..50, 1..8),
            a in 0.0..1.0_f64,
            b in 0.0..1.0_f64,
        ) {
            let mut total = 0.0;
            let mut list: Vec<ClassicBucket> = counts.iter().enumerate().map(|(i, &count)| {
                total += f64::from(count);
                ClassicBucket { upper_bound: i as f64 - 2.0, count: total }
            }).collect();
            list.push(ClassicBucket { upper_bound: INF, count: total });
            let low = bucket_quantile(a.min(b), &mut list.clone(), 0).value;
            let high = bucket_quantile(a.max(b), &mut list, 0).value;
            prop_assert!(low <= high || total == 0.0, "{low} {high}");
        }

        #[test]
        fn any_buckets_are_survived(list in prop::collection::vec((any::<f64>(), any::<f64>()), 0..6), phi in any::<f64>()) {
            let _ = bucket_quantile(phi, &mut buckets(&list), 0);
            let _ = bucket_fraction(phi, 1.0, &mut buckets(&list));
        }
    }
}
