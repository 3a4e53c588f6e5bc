//! Functions over ranges that sweep along a series: all windows of a series in one go, at a cost that follows its
//! samples rather than its samples times the steps.
//!
//! A sweep gives what the kernel of its function gives window by window, bit by bit. The exceptions are sums, means and
//! deviations over windows that overlap much: their terms are added up in another order (compensated, so that the last
//! digit may differ). Functions without a sweep (`deriv` and its like) look at each window by itself, since their
//! results amplify the rounding of their sums.

mod extremes;
mod moves;
mod order;
mod picks;
mod sums;

#[cfg(test)]
mod tests;

use super::Notes;

pub(super) use extremes::{max, min, ts_of_max, ts_of_min};
pub(super) use moves::{changes, delta, idelta, increase, irate, rate, resets};
pub(super) use order::{mad, quantile};
pub(super) use picks::{count, first, last, present, ts_of_first, ts_of_last};
pub(super) use sums::{avg, stddev, stdvar, sum};

/// The window of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Index of its first sample.
    pub first: usize,
    /// Index behind its last sample.
    pub end: usize,
    /// Start of the range (outside of it), milliseconds since 1970.
    pub start_ms: i64,
    /// End of the range (inside of it).
    pub end_ms: i64,
}

impl Frame {
    fn len(&self) -> usize {
        self.end - self.first
    }
}

/// The floats of a series, which has nothing else, and the windows over them.
#[derive(Clone, Copy)]
pub(crate) struct Sweep<'a> {
    /// Times of `values`, milliseconds since 1970, ascending.
    pub times: &'a [i64],
    /// Float samples.
    pub values: &'a [f64],
    /// One window a step. Neither of their ends ever falls.
    pub frames: &'a [Frame],
    /// The scalar argument of the function at a step.
    pub arg: &'a dyn Fn(usize) -> f64,
    /// Whether the query is to stop: further results are of no use then.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// Samples in windows after which a sweep asks whether to stop.
const CHECK_AFTER: usize = 1 << 20;

/// Computes a function for each window. Writes to `out`, which has an element a step, where there is a result.
pub(crate) type SweepKernel = fn(&Sweep<'_>, &mut Notes, out: &mut [f64]);

impl<'a> Sweep<'a> {
    /// The windows that hold samples, with their steps.
    fn filled(&self) -> impl Iterator<Item = (usize, &'a Frame)> {
        self.frames.iter().enumerate().filter(|(_, frame)| frame.first < frame.end)
    }

    fn values_of(&self, frame: &Frame) -> &'a [f64] {
        &self.values[frame.first..frame.end]
    }

    /// Looks at each window that holds samples by itself: calls `look` with its step, times and values.
    fn one_by_one(&self, mut look: impl FnMut(usize, &[i64], &[f64])) {
        let mut looked_at = 0;
        for (step, frame) in self.filled() {
            looked_at += frame.len();
            if looked_at > CHECK_AFTER {
                looked_at = 0;
                if (self.is_stopped)() {
                    return;
                }
            }
            look(step, &self.times[frame.first..frame.end], self.values_of(frame));
        }
    }

    /// Whether the windows together hold more than `factor` times the samples that they touch.
    fn overlaps(&self, factor: usize) -> bool {
        let looked_at: usize = self.frames.iter().map(Frame::len).sum();
        let touched = self.frames.last().map_or(0, |frame| frame.end) - self.frames.first().map_or(0, |f| f.first);
        looked_at > factor * touched
    }

    /// Whether no number is so large that sums of several could overflow at `limit`.
    fn is_below(&self, limit: f64) -> bool {
        self.values.iter().all(|value| !(value.abs() > limit && value.is_finite()))
    }
}
