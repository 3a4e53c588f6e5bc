//! Axes of runs: what stands for the time of a sample that has a step.

use std::cmp::Ordering;

use crate::merge::{clip, ordered_bits, pick_rows};
use crate::sample::{Samples, TimeRange};

/// Milliseconds that stand for one step.
const STEP_MS: i64 = 1000;

/// What stands for the time of the samples of a run. Of several samples with one such time the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Their time.
    Wall,
    /// Their step, a second each.
    Step,
    /// The time since the run began.
    Elapsed {
        /// When it began, in milliseconds since 1970.
        start_ms: i64,
    },
    /// Their time, of those samples alone that were the latest of their series when they came: that have a greater
    /// (step, time, value) than all before.
    Latest,
}

impl Axis {
    /// The times that have to be read to know the samples in a range of this axis.
    pub(crate) fn times(self, range: TimeRange) -> TimeRange {
        match self {
            Self::Wall => range,
            Self::Step => TimeRange::ALL,
            Self::Elapsed { start_ms } => {
                let shifted = |bound: i64| match bound {
                    i64::MIN | i64::MAX => bound,
                    _ => bound.saturating_add(start_ms),
                };
                TimeRange::new(shifted(range.min_ms), shifted(range.max_ms))
            }
            Self::Latest => TimeRange::new(i64::MIN, range.max_ms),
        }
    }

    /// Lays samples in the order of the merge rule out on this axis: one a time, those in the range.
    pub(crate) fn lay_out(self, samples: &mut Samples, range: TimeRange) {
        samples.starts.clear();
        match self {
            Self::Wall => keep_last(samples, |samples, at| samples.times[at]),
            Self::Elapsed { start_ms } => {
                keep_last(samples, |samples, at| samples.times[at]);
                samples.times.iter_mut().for_each(|time| *time = time.saturating_sub(start_ms));
            }
            Self::Step => {
                if !samples.steps.is_sorted() {
                    let mut order: Vec<usize> = (0..samples.len()).collect();
                    // Stable: samples of one step stay in the order of their times and values.
                    order.sort_by_key(|&at| samples.steps[at]);
                    pick_rows(samples, &order);
                }
                keep_last(samples, |samples, at| samples.steps[at]);
                let steps = samples.steps.iter();
                samples.times.clear();
                samples.times.extend(steps.map(|step| step.saturating_mul(STEP_MS)));
            }
            Self::Latest => {
                keep_records(samples);
                keep_last(samples, |samples, at| samples.times[at]);
            }
        }
        clip(samples, range);
    }
}

/// Compares the values of two samples: of floats NaN is the least.
fn compare_values(samples: &Samples, left: usize, right: usize) -> Ordering {
    let rank = |at: usize| samples.values.get(at).map(|value| (!value.is_nan(), ordered_bits(*value)));
    rank(left).cmp(&rank(right))
}

/// Keeps one sample of each key, by which they are ordered: the one with the greatest (step, time, value).
fn keep_last(samples: &mut Samples, key: impl Fn(&Samples, usize) -> i64) {
    if (1..samples.len()).all(|at| key(samples, at - 1) < key(samples, at)) {
        return;
    }
    let mut kept: Vec<usize> = Vec::with_capacity(samples.len());
    for at in 0..samples.len() {
        match kept.last_mut() {
            Some(last) if key(samples, *last) == key(samples, at) => {
                if compare(samples, *last, at) != Ordering::Greater {
                    *last = at;
                }
            }
            _ => kept.push(at),
        }
    }
    pick_rows(samples, &kept);
}

/// Keeps the samples that have a greater (step, time, value) than all before.
fn keep_records(samples: &mut Samples) {
    let mut kept: Vec<usize> = Vec::new();
    for at in 0..samples.len() {
        if kept.last().is_none_or(|&last| compare(samples, last, at) == Ordering::Less) {
            kept.push(at);
        }
    }
    pick_rows(samples, &kept);
}

fn compare(samples: &Samples, left: usize, right: usize) -> Ordering {
    let key = |at: usize| (samples.steps[at], samples.times[at]);
    key(left).cmp(&key(right)).then_with(|| compare_values(samples, left, right))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (time, step, value)
    fn samples(points: &[(i64, i64, f64)]) -> Samples {
        Samples {
            times: points.iter().map(|point| point.0).collect(),
            steps: points.iter().map(|point| point.1).collect(),
            values: points.iter().map(|point| point.2).collect(),
            ..Samples::default()
        }
    }

    fn laid_out(axis: Axis, points: &[(i64, i64, f64)], range: TimeRange) -> Vec<(i64, f64)> {
        let mut samples = samples(points);
        axis.lay_out(&mut samples, range);
        samples.times.into_iter().zip(samples.values).collect()
    }

    #[test]
    fn axes() {
        let points = [(100, 3, 0.3), (200, 1, 0.1), (200, 2, 0.2), (300, 2, 0.25), (300, 4, 0.4)];
        let all = TimeRange::ALL;
        assert_eq!(laid_out(Axis::Wall, &points, all), [(100, 0.3), (200, 0.2), (300, 0.4)]);
        let elapsed = Axis::Elapsed { start_ms: 100 };
        assert_eq!(laid_out(elapsed, &points, TimeRange::new(50, 200)), [(100, 0.2), (200, 0.4)]);
        assert_eq!(elapsed.times(TimeRange::new(50, i64::MAX)), TimeRange::new(150, i64::MAX));
        let by_step = [(1000, 0.1), (2000, 0.25), (3000, 0.3), (4000, 0.4)];
        assert_eq!(laid_out(Axis::Step, &points, all), by_step);
        assert_eq!(laid_out(Axis::Step, &points, TimeRange::new(2000, 3000)), by_step[1..3]);
        assert_eq!(laid_out(Axis::Latest, &points, all), [(100, 0.3), (300, 0.4)]);
    }

    #[test]
    fn a_number_comes_after_nan() {
        let points = [(100, 1, -1.0), (100, 1, f64::NAN)];
        assert_eq!(laid_out(Axis::Wall, &points, TimeRange::ALL), [(100, -1.0)]);
        assert_eq!(laid_out(Axis::Step, &points, TimeRange::ALL), [(1000, -1.0)]);
        let later = laid_out(Axis::Wall, &[(100, 1, -1.0), (100, 2, f64::NAN)], TimeRange::ALL);
        assert!(later[0].1.is_nan());
    }

    #[test]
    fn steps_that_are_too_large_stay_ordered() {
        let points = [(1, i64::MIN, 0.0), (2, i64::MAX - 1, 1.0), (3, i64::MAX, 2.0)];
        let found = laid_out(Axis::Step, &points, TimeRange::ALL);
        assert_eq!((found[0].0, found.len()), (i64::MIN, 3));
    }
}
