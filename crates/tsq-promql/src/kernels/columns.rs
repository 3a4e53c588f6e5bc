//! The floats of a group at all steps: for each number that an aggregation keeps, a column of them.
//!
//! Columns of values hold staleness markers where there is no value. Rows without any are added by plain loops over
//! whole columns, which the compiler turns into vector instructions.

use tsq_core::{STALE_NAN_BITS, is_stale};

use super::aggregate::{self, FloatMean, StdVar};
use super::kahan::{Kahan, add_compensated};
use crate::ast::AggregateOp;

const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// The floats of one group.
#[derive(Debug)]
pub(crate) enum Columns {
    /// `sum`
    Sum(Sums),
    /// `avg`: sums and counts as long as no sum is infinite.
    Mean(Sums, Vec<f64>),
    /// `avg` of what has no finite sum.
    Means(Vec<FloatMean>),
    /// `count` and `group`
    Count(Vec<f64>),
    /// `min` and `max`
    Extreme(Extremes),
    /// `stdvar` and `stddev`
    Variance(Vec<StdVar>),
}

/// A compensated sum a step.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    sum: Vec<f64>,
    rest: Vec<f64>,
    /// Whether each step has a sum.
    full: bool,
}

/// The best value a step.
#[derive(Debug)]
pub(crate) struct Extremes {
    best: Vec<f64>,
    full: bool,
    better_of: BetterOf,
}

#[derive(Clone, Copy, Debug)]
enum BetterOf {
    Smaller,
    Larger,
}

/// Whether each step has a value.
fn is_dense(values: &[f64]) -> bool {
    values.iter().map(|&value| u32::from(is_stale(value))).sum::<u32>() == 0
}

/// Bytes a step of the columns of an aggregation.
pub(crate) fn bytes_per_step(op: AggregateOp) -> usize {
    match op {
        AggregateOp::Sum => 2 * size_of::<f64>(),
        // Sums and counts, or what they turn into.
        AggregateOp::Avg => 3 * size_of::<f64>() + size_of::<FloatMean>(),
        AggregateOp::Stddev | AggregateOp::Stdvar => size_of::<StdVar>(),
        _ => size_of::<f64>(),
    }
}

impl Columns {
    /// Columns without values.
    pub(crate) fn new(op: AggregateOp, steps: usize) -> Self {
        match op {
            AggregateOp::Sum => Self::Sum(Sums::default()),
            AggregateOp::Avg => Self::Mean(Sums::default(), vec![0.0; steps]),
            AggregateOp::Min => Self::Extreme(Extremes { best: Vec::new(), full: false, better_of: BetterOf::Smaller }),
            AggregateOp::Max => Self::Extreme(Extremes { best: Vec::new(), full: false, better_of: BetterOf::Larger }),
            AggregateOp::Stddev | AggregateOp::Stdvar => Self::Variance(vec![StdVar::default(); steps]),
            _ => Self::Count(vec![0.0; steps]),
        }
    }

    /// Adds the value of each step that has one.
    pub(crate) fn add(&mut self, values: &[f64]) {
        let dense = is_dense(values);
        match self {
            Self::Sum(sums) => sums.add(values, dense),
            Self::Mean(sums, counts) if !sums.overflows(values) => {
                sums.add(values, dense);
                count(counts, values, dense);
            }
            Self::Mean(sums, counts) => {
                let mut means = sums.means(counts);
                add_each(&mut means, values, FloatMean::add);
                *self = Self::Means(means);
            }
            Self::Means(means) => add_each(means, values, FloatMean::add),
            Self::Count(counts) => count(counts, values, dense),
            Self::Extreme(extremes) => extremes.add(values, dense),
            Self::Variance(variances) => add_each(variances, values, StdVar::add),
        }
    }

    /// Whether a sum or mean of this step has a value.
    pub(crate) fn is_total_at(&self, step: usize) -> bool {
        match self {
            Self::Sum(sums) => sums.sum.get(step).is_some_and(|sum| !is_stale(*sum)),
            Self::Mean(_, counts) => counts[step] > 0.0,
            Self::Means(means) => !means[step].is_empty(),
            Self::Count(_) | Self::Extreme(_) | Self::Variance(_) => false,
        }
    }

    /// Counts something that is no float.
    pub(crate) fn count_at(&mut self, step: usize) {
        if let Self::Count(counts) = self {
            counts[step] += 1.0;
        }
    }

    /// The result of each step, or staleness markers where there is none.
    pub(crate) fn finish(self, op: AggregateOp, steps: usize) -> Vec<f64> {
        let values: Vec<f64> = match self {
            Self::Sum(Sums { mut sum, rest, .. }) => {
                for (sum, rest) in sum.iter_mut().zip(rest).filter(|(sum, _)| !is_stale(**sum)) {
                    *sum += rest;
                }
                sum
            }
            Self::Mean(sums, counts) => sums.means(&counts).into_iter().map(mean_of).collect(),
            Self::Means(means) => means.into_iter().map(mean_of).collect(),
            Self::Count(counts) => {
                let result = |count: f64| if op == AggregateOp::Group { 1.0 } else { count };
                counts.into_iter().map(|count| if count == 0.0 { ABSENT } else { result(count) }).collect()
            }
            Self::Extreme(extremes) => extremes.best,
            Self::Variance(variances) => {
                let result = |variance: f64| if op == AggregateOp::Stddev { variance.sqrt() } else { variance };
                variances.into_iter().map(|variance| variance.finish().map_or(ABSENT, result)).collect()
            }
        };
        if values.is_empty() { vec![ABSENT; steps] } else { values }
    }
}

fn mean_of(mean: FloatMean) -> f64 {
    if mean.is_empty() { ABSENT } else { mean.finish() }
}

fn add_each<T>(cells: &mut [T], values: &[f64], add: impl Fn(&mut T, f64)) {
    for (cell, &value) in cells.iter_mut().zip(values).filter(|(_, value)| !is_stale(**value)) {
        add(cell, value);
    }
}

fn count(counts: &mut [f64], values: &[f64], dense: bool) {
    if dense {
        counts.iter_mut().for_each(|count| *count += 1.0);
    } else {
        add_each(counts, values, |count, _| *count += 1.0);
    }
}

impl Sums {
    fn add(&mut self, values: &[f64], dense: bool) {
        if self.sum.is_empty() {
            self.sum.extend_from_slice(values);
            self.rest.resize(values.len(), 0.0);
            self.full = dense;
            return;
        }
        let sums = self.sum.iter_mut().zip(&mut self.rest).zip(values);
        if dense && self.full {
            for ((sum, rest), &value) in sums {
                add_compensated(sum, rest, value);
            }
            return;
        }
        for ((sum, rest), &value) in sums.filter(|(_, value)| !is_stale(**value)) {
            if is_stale(*sum) {
                *sum = value;
            } else {
                add_compensated(sum, rest, value);
            }
        }
        self.full |= dense;
    }

    /// Whether a sum would become infinite.
    fn overflows(&self, values: &[f64]) -> bool {
        let first = self.sum.is_empty();
        let infinite = |(sum, value): (&f64, &f64)| u32::from((sum + value).is_infinite());
        !first && self.sum.iter().zip(values).map(infinite).sum::<u32>() > 0
    }

    fn means(&self, counts: &[f64]) -> Vec<FloatMean> {
        if self.sum.is_empty() {
            return vec![FloatMean::default(); counts.len()];
        }
        let mean = |((&sum, &rest), &count): ((&f64, &f64), &f64)| {
            if count == 0.0 { FloatMean::default() } else { FloatMean::of_sum(Kahan { sum, rest }, count) }
        };
        self.sum.iter().zip(&self.rest).zip(counts).map(mean).collect()
    }
}

impl Extremes {
    fn add(&mut self, values: &[f64], dense: bool) {
        if self.best.is_empty() {
            self.best.extend_from_slice(values);
            self.full = dense;
            return;
        }
        match self.better_of {
            BetterOf::Smaller => self.fold(values, dense, aggregate::min),
            BetterOf::Larger => self.fold(values, dense, aggregate::max),
        }
        self.full |= dense;
    }

    fn fold(&mut self, values: &[f64], dense: bool, better_of: impl Fn(f64, f64) -> f64) {
        let pairs = self.best.iter_mut().zip(values);
        if dense {
            // What is absent is no number, to which any value is preferred.
            pairs.for_each(|(best, &value)| *best = better_of(*best, value));
        } else {
            add_each(&mut self.best, values, |best, value| *best = better_of(*best, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(op: AggregateOp, values: &[f64]) -> f64 {
        let mut columns = Columns::new(op, 1);
        values.iter().for_each(|&value| columns.add(&[value]));
        columns.finish(op, 1)[0]
    }

    #[test]
    fn sums_and_means_are_compensated_and_do_not_overflow() {
        assert_eq!(folded(AggregateOp::Sum, &[2.0, 8.0, 1e100, -1e100]), 10.0);
        assert_eq!(folded(AggregateOp::Avg, &[2.0, 8.0, 1e100, -1e100]), 2.5);
        assert_eq!(folded(AggregateOp::Avg, &[f64::MAX, f64::MAX]), f64::MAX);
        assert!(folded(AggregateOp::Avg, &[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(folded(AggregateOp::Avg, &[52.0; 11]), 52.0);
    }

    #[test]
    fn extremes_prefer_numbers_to_nan() {
        assert_eq!(folded(AggregateOp::Max, &[f64::NAN, 1.0, f64::NAN, 3.0, 2.0]), 3.0);
        assert_eq!(folded(AggregateOp::Min, &[f64::NAN, 2.0, 1.0, f64::NAN]), 1.0);
        assert!(folded(AggregateOp::Max, &[f64::NAN]).is_nan());
        assert!(!is_stale(folded(AggregateOp::Max, &[f64::NAN, f64::NAN])));
    }

    #[test]
    fn deviations_of_what_is_not_finite_are_nan() {
        assert_eq!(folded(AggregateOp::Stdvar, &[1.0, 3.0]), 1.0);
        assert_eq!(folded(AggregateOp::Stddev, &[1.0, 5.0]), 2.0);
        assert!(folded(AggregateOp::Stddev, &[f64::INFINITY]).is_nan());
        assert_eq!(folded(AggregateOp::Group, &[7.0, 8.0]), 1.0);
        assert_eq!(folded(AggregateOp::Count, &[7.0, 8.0]), 2.0);
    }

    /// What the values of one step add up to, one by one.
    fn one_by_one(op: AggregateOp, values: &[f64]) -> f64 {
        let present = values.iter().copied().filter(|&value| !is_stale(value));
        if present.clone().count() == 0 {
            return ABSENT;
        }
        match op {
            AggregateOp::Sum => present.collect::<Kahan>().value(),
            AggregateOp::Avg => {
                let mut mean = FloatMean::default();
                present.for_each(|value| mean.add(value));
                mean.finish()
            }
            AggregateOp::Min => present.fold(f64::NAN, aggregate::min),
            AggregateOp::Max => present.fold(f64::NAN, aggregate::max),
            _ => present.count() as f64,
        }
    }

    proptest! {
        #[test]
        fn columns_give_what_their_values_give_one_by_one(
            rows in prop::collection::vec(prop::collection::vec(prop_oneof![
                2 => Just(ABSENT), 6 => -1e3..1e3_f64, 1 => any::<f64>(),
                1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -0.0]),
            ], 3), 0..12),
        ) {
            use AggregateOp::{Avg, Count, Max, Min, Sum};
            for op in [Sum, Avg, Min, Max, Count] {
                let mut columns = Columns::new(op, 3);
                rows.iter().for_each(|row| columns.add(row));
                for (step, got) in columns.finish(op, 3).into_iter().enumerate() {
                    let values: Vec<f64> = rows.iter().map(|row| row[step]).collect();
                    let want = one_by_one(op, &values);
                    prop_assert_eq!(is_stale(want), is_stale(got));
                    prop_assert!(want == got || (want.is_nan() && got.is_nan()), "{op:?}: {want} and {got}");
                }
            }
        }
    }
}
