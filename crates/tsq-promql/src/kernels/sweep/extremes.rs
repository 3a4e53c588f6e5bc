//! The smallest and largest value of each window: a queue of the samples that may still become one.

use std::collections::VecDeque;

use super::super::aggregate;
use super::super::over_time::time_of_extreme;
use super::{Notes, Sweep};

/// Windows that overlap less are looked at one by one.
const OVERLAP_MIN: usize = 4;

/// `min_over_time`
pub(crate) fn min(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    if sweep.overlaps(OVERLAP_MIN) {
        best(sweep, |value, other| value < other, |step, at| out[step] = sweep.values[at]);
    } else {
        fold(sweep, aggregate::min, out);
    }
}

/// `max_over_time`
pub(crate) fn max(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    if sweep.overlaps(OVERLAP_MIN) {
        best(sweep, |value, other| value > other, |step, at| out[step] = sweep.values[at]);
    } else {
        fold(sweep, aggregate::max, out);
    }
}

/// `ts_of_min_over_time`
pub(crate) fn ts_of_min(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    times(sweep, |value, best| value <= best, out);
}

/// `ts_of_max_over_time`
pub(crate) fn ts_of_max(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    times(sweep, |value, best| value >= best, out);
}

fn times(sweep: &Sweep<'_>, is_better: fn(f64, f64) -> bool, out: &mut [f64]) {
    if sweep.overlaps(OVERLAP_MIN) {
        best(sweep, is_better, |step, at| out[step] = sweep.times[at] as f64 / 1000.0);
        return;
    }
    sweep.one_by_one(|step, times, values| out[step] = time_of_extreme(times, values, is_better));
}

fn fold(sweep: &Sweep<'_>, better_of: fn(f64, f64) -> f64, out: &mut [f64]) {
    sweep.one_by_one(|step, _, values| out[step] = values.iter().copied().fold(f64::NAN, better_of));
}

/// Calls `found` with the index of the best number of each window; of the last sample if there is no number.
///
/// The queue holds, in order of time, the numbers that none after them beats. Each sample enters and leaves it once.
fn best(sweep: &Sweep<'_>, beats: impl Fn(f64, f64) -> bool, mut found: impl FnMut(usize, usize)) {
    let values = sweep.values;
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut entered = 0;
    for (step, frame) in sweep.filled() {
        for at in entered.max(frame.first)..frame.end {
            if values[at].is_nan() {
                continue;
            }
            while queue.back().is_some_and(|&last| beats(values[at], values[last])) {
                queue.pop_back();
            }
            queue.push_back(at);
        }
        entered = entered.max(frame.end);
        while queue.front().is_some_and(|&at| at < frame.first) {
            queue.pop_front();
        }
        found(step, queue.front().copied().unwrap_or(frame.end - 1));
    }
}
