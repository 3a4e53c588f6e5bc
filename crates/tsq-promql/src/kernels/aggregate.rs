//! Accumulators of aggregations over series and over time.
//!
//! Sums are compensated. Means are a sum divided by the count as long as the sum does not overflow, and are updated
//! value by value from then on. A group of floats and histograms has no sum and no mean.

use tsq_core::{Histogram, ResetHint};

use super::histogram::{Combined, HistogramSum, IncompatibleSchemas};
use super::kahan::Kahan;
use super::{HistogramOperation, Note, Notes};

/// Mean of floats.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FloatMean {
    /// The sum, or the mean once `incremental`.
    total: Kahan,
    count: f64,
    incremental: bool,
}

impl FloatMean {
    /// The mean of `count` values, at least one, that have a finite sum.
    pub(crate) fn of_sum(total: Kahan, count: f64) -> Self {
        Self { total, count, incremental: false }
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(self) -> bool {
        self.count == 0.0
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.total = Kahan::new(value);
            return;
        }
        if !self.incremental {
            let mut sum = self.total;
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.total = sum;
                return;
            }
            self.incremental = true;
            self.total.divide(self.count - 1.0);
        }
        self.total.scale((self.count - 1.0) / self.count);
        self.total.add(value / self.count);
    }

    /// The mean; NaN of nothing.
    pub(crate) fn finish(self) -> f64 {
        if self.count == 0.0 {
            f64::NAN
        } else if self.incremental {
            self.total.value()
        } else {
            self.total.sum / self.count + self.total.rest / self.count
        }
    }
}

/// Mean of histograms.
#[derive(Clone, Debug)]
struct HistogramMean {
    /// The sum, or the mean once `incremental`.
    total: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    fn new(histogram: &Histogram) -> Self {
        Self { total: HistogramSum::new(histogram), count: 1.0, incremental: false }
    }

    fn add(&mut self, histogram: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        let mut added = HistogramSum::new(histogram);
        let mut first_try = Combined::default();
        if !self.incremental {
            // Two numbers below a quarter of the largest float have a sum that is not infinite.
            if self.total.largest().max(added.largest()) < f64::MAX / 4.0 {
                self.count += 1.0;
                return self.total.merge(added);
            }
            let mut sum = self.total.clone();
            first_try = sum.merge(added.clone())?;
            if !sum.has_overflow() {
                self.count += 1.0;
                self.total = sum;
                return Ok(first_try);
            }
            self.incremental = true;
            self.total.divide(self.count);
        }
        self.count += 1.0;
        self.total.scale((self.count - 1.0) / self.count);
        added.divide(self.count);
        let combined = self.total.merge(added)?;
        Ok(Combined { bounds_reconciled: combined.bounds_reconciled | first_try.bounds_reconciled, ..combined })
    }

    fn finish(mut self) -> HistogramSum {
        if !self.incremental {
            self.total.divide(self.count);
        }
        self.total
    }
}

/// What histograms said about resets, and whether they fit together.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    reset: bool,
    not_reset: bool,
    reconciled: bool,
    incompatible: bool,
}

impl Trouble {
    fn see_hint(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.not_reset |= hint == ResetHint::NotReset;
    }

    fn see(&mut self, combined: Result<Combined, IncompatibleSchemas>) {
        match combined {
            Ok(combined) => self.reconciled |= combined.bounds_reconciled,
            Err(IncompatibleSchemas) => self.incompatible = true,
        }
    }

    fn note(self, notes: &mut Notes) {
        if self.reset && self.not_reset {
            notes.add(Note::CounterResetCollision(HistogramOperation::Aggregation));
        }
        if self.reconciled {
            notes.add(Note::MismatchedCustomBuckets(HistogramOperation::Aggregation));
        }
    }
}

/// How histograms are added up.
trait HistogramTotal {
    fn start(histogram: &Histogram) -> Self;
    fn add(&mut self, histogram: &Histogram) -> Result<Combined, IncompatibleSchemas>;
    fn into_sum(self) -> HistogramSum;
}

impl HistogramTotal for HistogramSum {
    fn start(histogram: &Histogram) -> Self {
        Self::new(histogram)
    }

    fn add(&mut self, histogram: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        Self::add(self, histogram)
    }

    fn into_sum(self) -> HistogramSum {
        self
    }
}

impl HistogramTotal for HistogramMean {
    fn start(histogram: &Histogram) -> Self {
        Self::new(histogram)
    }

    fn add(&mut self, histogram: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        Self::add(self, histogram)
    }

    fn into_sum(self) -> HistogramSum {
        self.finish()
    }
}

/// The histograms of a group.
#[derive(Clone, Debug)]
struct Histograms<T> {
    /// `None` before the first.
    total: Option<T>,
    trouble: Trouble,
}

impl<T> Default for Histograms<T> {
    fn default() -> Self {
        Self { total: None, trouble: Trouble::default() }
    }
}

impl<T: HistogramTotal> Histograms<T> {
    /// Adds a histogram; notes it if it does not fit, and takes no further ones then.
    fn add(&mut self, histogram: &Histogram, notes: &mut Notes) {
        if self.trouble.incompatible {
            return;
        }
        self.trouble.see_hint(histogram.reset_hint);
        match &mut self.total {
            None => self.total = Some(T::start(histogram)),
            Some(total) => {
                self.trouble.see(total.add(histogram));
                if self.trouble.incompatible {
                    notes.add(Note::MixedExponentialCustom);
                }
            }
        }
    }

    /// The total; `None` if there was no histogram or they did not fit together.
    fn finish(self, notes: &mut Notes) -> Option<HistogramSum> {
        if !self.trouble.incompatible {
            self.trouble.note(notes);
        }
        self.total.filter(|_| !self.trouble.incompatible).map(T::into_sum)
    }
}

/// The total of histograms of one series, for `sum_over_time`; empty buckets stay. `None` if they do not fit together.
pub(crate) fn histogram_sum<'a>(all: impl Iterator<Item = &'a Histogram>, notes: &mut Notes) -> Option<Histogram> {
    histogram_total::<HistogramSum>(all, notes)
}

/// The mean of histograms of one series, for `avg_over_time`; empty buckets stay. `None` if they do not fit together.
pub(crate) fn histogram_mean<'a>(all: impl Iterator<Item = &'a Histogram>, notes: &mut Notes) -> Option<Histogram> {
    histogram_total::<HistogramMean>(all, notes)
}

fn histogram_total<'a, T: HistogramTotal>(
    all: impl Iterator<Item = &'a Histogram>,
    notes: &mut Notes,
) -> Option<Histogram> {
    let mut histograms = Histograms::<T>::default();
    for histogram in all {
        histograms.add(histogram, notes);
        if histograms.trouble.incompatible {
            return None;
        }
    }
    histograms.finish(notes).map(HistogramSum::finish)
}

/// The histograms of a group at one time, for `sum` and `avg`.
#[derive(Clone, Debug)]
pub(crate) struct GroupHistograms(Totals);

#[derive(Clone, Debug)]
enum Totals {
    Sum(Histograms<HistogramSum>),
    Mean(Histograms<HistogramMean>),
}

impl GroupHistograms {
    /// To be summed up.
    pub(crate) fn sum() -> Self {
        Self(Totals::Sum(Histograms::default()))
    }

    /// To be averaged.
    pub(crate) fn mean() -> Self {
        Self(Totals::Mean(Histograms::default()))
    }

    /// Whether there was no histogram yet.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.0 {
            Totals::Sum(sum) => sum.total.is_none(),
            Totals::Mean(mean) => mean.total.is_none(),
        }
    }

    /// Whether histograms did not fit together.
    pub(crate) fn is_misfit(&self) -> bool {
        match &self.0 {
            Totals::Sum(sum) => sum.trouble.incompatible,
            Totals::Mean(mean) => mean.trouble.incompatible,
        }
    }

    /// Adds a histogram. A note names what makes it impossible; the group has no total then.
    pub(crate) fn add(&mut self, histogram: &Histogram, notes: &mut Notes) {
        match &mut self.0 {
            Totals::Sum(sum) => sum.add(histogram, notes),
            Totals::Mean(mean) => mean.add(histogram, notes),
        }
    }

    /// The sum or the mean without empty buckets; `None` if the histograms did not fit together.
    pub(crate) fn finish(self, notes: &mut Notes) -> Option<Histogram> {
        let total = match self.0 {
            Totals::Sum(sum) => sum.finish(notes),
            Totals::Mean(mean) => mean.finish(notes),
        };
        total.map(HistogramSum::finish_compact)
    }
}

/// `stdvar` and `stddev` of a group at one time (Welford's method).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StdVar {
    count: f64,
    mean: f64,
    squares: f64,
}

impl StdVar {
    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// The variance of all values (not of a sample); `None` of nothing.
    pub(crate) fn finish(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.squares / self.count)
    }
}

/// Count, mean and squared distances of values of one series, compensated, for `stdvar_over_time`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: Kahan,
    squares: Kahan,
}

impl Moments {
    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean.value();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - self.mean.value()));
    }

    /// Adds what others add up to. The mean is left as it is: it is of no use afterwards.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.count == 0.0 || other.count == 0.0 {
            *self = if self.count == 0.0 { other } else { *self };
            return;
        }
        let count = self.count + other.count;
        let delta = (other.mean.sum - self.mean.sum) + (other.mean.rest - self.mean.rest);
        self.squares.merge(other.squares);
        self.squares.add(delta * delta * (self.count * other.count / count));
        self.count = count;
    }

    /// The variance of all values. NaN of nothing.
    pub(crate) fn variance(self) -> f64 {
        self.squares.value() / self.count
    }
}

/// The variance of the values of one series, compensated. NaN of nothing.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut moments = Moments::default();
    values.iter().for_each(|&value| moments.add(value));
    moments.variance()
}

/// The `phi`-quantile, interpolated between the two nearest values; reorders `values`. NaN values are the smallest. -Inf
/// for `phi` below 0, +Inf above 1; NaN for a NaN `phi` or no values.
pub(crate) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    quantile_of(phi, values.len(), |lower| {
        let (_, &mut low, above) = values.select_nth_unstable_by(lower, nan_first);
        (low, above.iter().copied().min_by(nan_first).unwrap_or(low))
    })
}

/// The `phi`-quantile of `count` values. `neighbours` gives the value with so many others below it and the next one,
/// which is not looked at where there is none.
pub(crate) fn quantile_of(phi: f64, count: usize, neighbours: impl FnOnce(usize) -> (f64, f64)) -> f64 {
    if count == 0 || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let last = count - 1;
    let rank = phi * last as f64;
    let weight = rank - rank.floor();
    let lower = (rank.floor() as usize).min(last);
    let (low, high) = neighbours(lower);
    let high = if lower == last { low } else { high };
    low * (1.0 - weight) + high * weight
}

/// Order of floats with NaN before everything.
pub(crate) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The smaller of a group's value so far and another: NaN only if all are.
pub(crate) fn min(so_far: f64, value: f64) -> f64 {
    if so_far > value || so_far.is_nan() { value } else { so_far }
}

/// The larger of a group's value so far and another: NaN only if all are.
pub(crate) fn max(so_far: f64, value: f64) -> f64 {
    if so_far < value || so_far.is_nan() { value } else { so_far }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::*;

    fn mean_of(values: &[f64]) -> f64 {
        let mut mean = FloatMean::default();
        values.iter().for_each(|&value| mean.add(value));
        mean.finish()
    }

    fn hist(count: f64, hint: ResetHint) -> Histogram {
        Histogram {
            count,
            sum: count,
            reset_hint: hint,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive: vec![count],
            ..Histogram::default()
        }
    }

    fn custom(bounds: &[f64]) -> Histogram {
        Histogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: bounds.to_vec(), ..hist(1.0, ResetHint::Unknown) }
    }

    fn texts(notes: &Notes) -> Vec<String> {
        notes.iter().map(|note| note.text("m")).collect()
    }

    #[test]
    fn means_do_not_overflow() {
        assert_eq!(mean_of(&[1.0, 2.0, 6.0]), 3.0);
        assert!((mean_of(&[f64::MAX, f64::MAX, f64::MAX]) / f64::MAX - 1.0).abs() < 1e-15);
        assert_eq!(mean_of(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(mean_of(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(mean_of(&[]).is_nan());
    }

    fn total(mut group: GroupHistograms, all: &[Histogram]) -> (Option<Histogram>, Vec<String>) {
        let mut notes = Notes::default();
        all.iter().for_each(|histogram| group.add(histogram, &mut notes));
        let total = group.finish(&mut notes);
        (total, texts(&notes))
    }

    #[test]
    fn sums_of_histograms() {
        let (sum, said) =
            total(GroupHistograms::sum(), &[hist(1.0, ResetHint::Unknown), hist(2.0, ResetHint::Unknown)]);
        let sum = sum.expect("they fit together");
        assert_eq!((sum.count, &sum.positive[..]), (3.0, &[3.0][..]));
        assert!(said.is_empty());
        assert_eq!(total(GroupHistograms::sum(), &[]).0, None);
    }

    #[test]
    fn what_does_not_fit_together_has_no_total() {
        let all = [hist(1.0, ResetHint::Unknown), custom(&[1.0]), hist(1.0, ResetHint::Unknown)];
        let (mean, said) = total(GroupHistograms::mean(), &all);
        assert_eq!(mean, None);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("mix of histograms with exponential and custom buckets"));
    }

    #[test]
    fn contradictions_and_reconciled_bounds_are_noted() {
        let (sum, said) = total(GroupHistograms::sum(), &[hist(1.0, ResetHint::Reset), hist(1.0, ResetHint::NotReset)]);
        assert!(sum.is_some());
        assert_eq!(said, ["PromQL warning: conflicting counter resets during histogram aggregation"]);

        let (mean, said) = total(GroupHistograms::mean(), &[custom(&[1.0, 2.0]), custom(&[2.0])]);
        let mean = mean.expect("they share a bound");
        assert_eq!((&mean.custom_values[..], &mean.positive[..]), (&[2.0][..], &[1.0][..]));
        assert_eq!(said, ["PromQL info: mismatched custom buckets were reconciled during aggregation"]);
    }

    #[test]
    fn means_of_histograms_do_not_overflow() {
        let all = [1.5e308; 5].map(|count| hist(count, ResetHint::Unknown));
        let mean = total(GroupHistograms::mean(), &all).0.expect("they fit together");
        assert!((mean.count / 1.5e308 - 1.0).abs() < 1e-12, "{mean:?}");
        assert!((mean.positive[0] / 1.5e308 - 1.0).abs() < 1e-12, "{mean:?}");
    }

    #[test]
    fn deviations() {
        let mut var = StdVar::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| var.add(value));
        assert_eq!(var.finish(), Some(4.0));
        assert_eq!(variance(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
        let mut var = StdVar::default();
        var.add(f64::INFINITY);
        assert!(var.finish().is_some_and(f64::is_nan));
        assert_eq!(StdVar::default().finish(), None);
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(0.25, &mut [3.0, 1.0]), 1.5);
        assert_eq!(quantile(1.0, &mut [3.0, 1.0]), 3.0);
        assert!(quantile(0.0, &mut [3.0, f64::NAN, 1.0]).is_nan());
        assert_eq!(quantile(1.0, &mut [3.0, f64::NAN, 1.0]), 3.0);
        assert_eq!(quantile(-1.0, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan());
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn extremes_ignore_nan() {
        assert_eq!(min(f64::NAN, 1.0), 1.0);
        assert_eq!(min(1.0, f64::NAN), 1.0);
        assert_eq!(max(f64::NAN, -1.0), -1.0);
        assert!(max(f64::NAN, f64::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn selection_equals_sorting(mut values in prop::collection::vec(any::<f64>(), 1..30), phi in 0.0..=1.0_f64) {
            let got = quantile(phi, &mut values.clone());
            values.sort_by(nan_first);
            let rank = phi * (values.len() - 1) as f64;
            let (low, high) = (values[rank.floor() as usize], values[(rank.floor() as usize + 1).min(values.len() - 1)]);
            let want = low * (1.0 - rank.fract()) + high * rank.fract();
            prop_assert!(got == want || (got.is_nan() && want.is_nan()), "{got} {want}");
        }
    }
}
