//! Accumulators of aggregations over series and over time.
//!
//! Sums are compensated. Means are a sum divided by the count as long as the sum does not overflow, and are updated
//! value by value from then on. A group of floats and histograms has no sum and no mean.

use tsq_core::{Histogram, ResetHint};

use super::histogram::{Combined, HistogramSum, IncompatibleSchemas};
use super::kahan::Kahan;
use super::{HistogramOperation, Note, Notes, Out};

/// Mean of floats.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FloatMean {
    /// The sum, or the mean once `incremental`.
    total: Kahan,
    count: f64,
    incremental: bool,
}

impl FloatMean {
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

    /// Adds the values of another mean.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.count == 0.0 || other.count == 0.0 {
            if self.count == 0.0 {
                *self = other;
            }
            return;
        }
        let count = self.count + other.count;
        if !self.incremental && !other.incremental {
            let mut sum = self.total;
            sum.merge(other.total);
            if !sum.sum.is_infinite() {
                *self = Self { total: sum, count, incremental: false };
                return;
            }
        }
        let weighted = |mean: Self| {
            let mut total = mean.total;
            if !mean.incremental {
                total.divide(mean.count);
            }
            total.scale(mean.count / count);
            total
        };
        let mut total = weighted(*self);
        total.merge(weighted(other));
        *self = Self { total, count, incremental: true };
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
    /// Adds a histogram; notes it if it does not fit.
    fn add(&mut self, histogram: &Histogram, notes: &mut Notes) {
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

/// `sum` of a group at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    floats: Option<Kahan>,
    histograms: Histograms<HistogramSum>,
}

impl Sum {
    /// Adds a float.
    pub(crate) fn add(&mut self, value: f64) {
        match &mut self.floats {
            Some(sum) => sum.add(value),
            None => self.floats = Some(Kahan::new(value)),
        }
    }

    /// Adds a histogram. A note names what makes it impossible; the group has no sum then.
    pub(crate) fn add_histogram(&mut self, histogram: &Histogram, notes: &mut Notes) {
        if !self.histograms.trouble.incompatible {
            self.histograms.add(histogram, notes);
        }
    }

    /// Adds what another accumulator of the group has seen.
    pub(crate) fn merge(&mut self, other: Self, notes: &mut Notes) {
        match (&mut self.floats, other.floats) {
            (Some(sum), Some(more)) => sum.merge(more),
            (floats, more) => *floats = floats.or(more),
        }
        merge_trouble(&mut self.histograms.trouble, other.histograms.trouble);
        match (&mut self.histograms.total, other.histograms.total) {
            (Some(sum), Some(more)) => {
                self.histograms.trouble.see(sum.merge(more));
                if self.histograms.trouble.incompatible {
                    notes.add(Note::MixedExponentialCustom);
                }
            }
            (total, more) => *total = total.take().or(more),
        }
    }

    /// The sum.
    pub(crate) fn finish(self, notes: &mut Notes) -> Out {
        finish_group(self.floats.map(Kahan::value), self.histograms, notes)
    }
}

/// `avg` of a group at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Avg {
    floats: FloatMean,
    histograms: Histograms<HistogramMean>,
}

impl Avg {
    /// Adds a float.
    pub(crate) fn add(&mut self, value: f64) {
        self.floats.add(value);
    }

    /// Adds a histogram. A note names what makes it impossible; the group has no mean then.
    pub(crate) fn add_histogram(&mut self, histogram: &Histogram, notes: &mut Notes) {
        if !self.histograms.trouble.incompatible {
            self.histograms.add(histogram, notes);
        }
    }

    /// Adds what another accumulator of the group has seen.
    pub(crate) fn merge(&mut self, other: Self, notes: &mut Notes) {
        self.floats.merge(other.floats);
        merge_trouble(&mut self.histograms.trouble, other.histograms.trouble);
        let Some(mut more) = other.histograms.total else { return };
        let Some(mean) = &mut self.histograms.total else {
            self.histograms.total = Some(more);
            return;
        };
        let count = mean.count + more.count;
        if mean.incremental || more.incremental || mean.total.largest().max(more.total.largest()) > f64::MAX / 4.0 {
            for part in [&mut *mean, &mut more] {
                if !part.incremental {
                    part.total.divide(part.count);
                    part.incremental = true;
                }
                part.total.scale(part.count / count);
            }
        }
        mean.count = count;
        self.histograms.trouble.see(mean.total.merge(more.total));
        if self.histograms.trouble.incompatible {
            notes.add(Note::MixedExponentialCustom);
        }
    }

    /// The mean.
    pub(crate) fn finish(self, notes: &mut Notes) -> Out {
        let floats = (self.floats.count > 0.0).then(|| self.floats.finish());
        finish_group(floats, self.histograms, notes)
    }
}

fn merge_trouble(trouble: &mut Trouble, other: Trouble) {
    trouble.reset |= other.reset;
    trouble.not_reset |= other.not_reset;
    trouble.reconciled |= other.reconciled;
    trouble.incompatible |= other.incompatible;
}

fn finish_group<T: HistogramTotal>(floats: Option<f64>, histograms: Histograms<T>, notes: &mut Notes) -> Out {
    match (floats, histograms.total.is_some()) {
        (Some(_), true) => {
            notes.add(Note::MixedFloatsHistogramsAggregation);
            Out::None
        }
        (Some(value), false) => Out::Float(value),
        (None, _) => match histograms.finish(notes) {
            Some(total) => Out::Histogram(Box::new(total.finish_compact())),
            None => Out::None,
        },
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

    /// Adds the values of another accumulator.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.count == 0.0 {
            *self = other;
        } else if other.count > 0.0 {
            let count = self.count + other.count;
            let delta = other.mean - self.mean;
            self.squares += other.squares + delta * delta * self.count * other.count / count;
            self.mean += delta * other.count / count;
            self.count = count;
        }
    }

    /// The variance of all values (not of a sample); `None` of nothing.
    pub(crate) fn finish(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.squares / self.count)
    }
}

/// The variance of the values of one series, compensated, for `stdvar_over_time`. NaN of nothing.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for &value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}

/// The `phi`-quantile, interpolated between the two nearest values; reorders `values`. NaN values are the smallest. -Inf
/// for `phi` below 0, +Inf above 1; NaN for a NaN `phi` or no values.
pub(crate) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let last = values.len() - 1;
    let rank = phi * last as f64;
    let weight = rank - rank.floor();
    let lower = (rank.floor() as usize).min(last);
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, nan_first);
    let high = above.iter().copied().min_by(nan_first).unwrap_or(low);
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

    #[test]
    fn sums_of_floats_and_of_histograms() {
        let mut notes = Notes::default();
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.finish(&mut notes), Out::Float(2.0));

        let mut sum = Sum::default();
        sum.add_histogram(&hist(1.0, ResetHint::Unknown), &mut notes);
        sum.add_histogram(&hist(2.0, ResetHint::Unknown), &mut notes);
        let Out::Histogram(total) = sum.finish(&mut notes) else { panic!("a sum of histograms is a histogram") };
        assert_eq!((total.count, &total.positive[..]), (3.0, &[3.0][..]));
        assert!(notes.is_empty());
        assert_eq!(Sum::default().finish(&mut notes), Out::None);
    }

    #[test]
    fn mixed_groups_have_no_sum() {
        let mut notes = Notes::default();
        let mut sum = Sum::default();
        sum.add(1.0);
        sum.add_histogram(&hist(1.0, ResetHint::Unknown), &mut notes);
        assert_eq!(sum.finish(&mut notes), Out::None);
        assert_eq!(texts(&notes), ["PromQL warning: encountered a mix of histograms and floats for aggregation"]);

        let mut notes = Notes::default();
        let mut avg = Avg::default();
        avg.add_histogram(&hist(1.0, ResetHint::Unknown), &mut notes);
        avg.add_histogram(&custom(&[1.0]), &mut notes);
        avg.add_histogram(&hist(1.0, ResetHint::Unknown), &mut notes);
        assert_eq!(avg.finish(&mut notes), Out::None);
        assert_eq!(texts(&notes).len(), 1);
        assert!(texts(&notes)[0].contains("mix of histograms with exponential and custom buckets"));
    }

    #[test]
    fn contradictions_and_reconciled_bounds_are_noted() {
        let mut notes = Notes::default();
        let mut sum = Sum::default();
        sum.add_histogram(&hist(1.0, ResetHint::Reset), &mut notes);
        sum.add_histogram(&hist(1.0, ResetHint::NotReset), &mut notes);
        assert!(matches!(sum.finish(&mut notes), Out::Histogram(_)));
        assert_eq!(texts(&notes), ["PromQL warning: conflicting counter resets during histogram aggregation"]);

        let mut notes = Notes::default();
        let mut avg = Avg::default();
        avg.add_histogram(&custom(&[1.0, 2.0]), &mut notes);
        avg.add_histogram(&custom(&[2.0]), &mut notes);
        let Out::Histogram(mean) = avg.finish(&mut notes) else { panic!("a mean of histograms is a histogram") };
        assert_eq!((&mean.custom_values[..], &mean.positive[..]), (&[2.0][..], &[1.0][..]));
        assert_eq!(texts(&notes), ["PromQL info: mismatched custom buckets were reconciled during aggregation"]);
    }

    #[test]
    fn means_of_histograms_do_not_overflow() {
        let mut notes = Notes::default();
        let mut avg = Avg::default();
        for _ in 0..5 {
            avg.add_histogram(&hist(1.5e308, ResetHint::Unknown), &mut notes);
        }
        let Out::Histogram(mean) = avg.finish(&mut notes) else { panic!("a mean of histograms is a histogram") };
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
        fn parts_add_up_to_the_whole(values in prop::collection::vec(-1e6..1e6_f64, 1..40), cut in 0_usize..40) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let var = |values: &[f64]| {
                let mut var = StdVar::default();
                values.iter().for_each(|&value| var.add(value));
                var
            };
            let mean = |values: &[f64]| {
                let mut mean = FloatMean::default();
                values.iter().for_each(|&value| mean.add(value));
                mean
            };
            let (mut merged_var, mut merged_mean) = (var(left), mean(left));
            merged_var.merge(var(right));
            merged_mean.merge(mean(right));
            let want = variance(&values);
            prop_assert!((merged_var.finish().unwrap() - want).abs() <= 1e-6 * (1.0 + want));
            prop_assert!((merged_mean.finish() - mean_of(&values)).abs() <= 1e-6);
        }

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
