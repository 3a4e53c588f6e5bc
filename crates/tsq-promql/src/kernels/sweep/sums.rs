//! Sums, means and deviations of windows, without ever taking a term away again.
//!
//! A window is cut at some sample. For each sample before the cut there is a total from it up to the cut, and there is
//! one total of all samples behind the cut. The window's total is one of the former and the latter put together. When
//! the window has moved past the cut, its end becomes the new cut. So each sample is added up twice, nothing is ever
//! subtracted, and an infinity or a NaN is gone once it has left the window.

use super::super::aggregate::{self, FloatMean, Moments};
use super::super::kahan::Kahan;
use super::{Frame, Notes, Sweep};

/// Windows that overlap less are summed up one by one.
const OVERLAP_MIN: usize = 4;

/// Sums of larger numbers might overflow on the way, depending on their order.
const TERM_MAX: f64 = 1e290;

/// As `TERM_MAX`, for sums of squares.
const SQUARE_TERM_MAX: f64 = 1e140;

/// `sum_over_time`
pub(crate) fn sum(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    if slides(sweep, TERM_MAX) {
        totals(sweep, |step, _, total: Kahan| out[step] = total.value());
        return;
    }
    sweep.one_by_one(|step, _, values| out[step] = values.iter().copied().collect::<Kahan>().value());
}

/// `avg_over_time`
pub(crate) fn avg(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    if slides(sweep, TERM_MAX) {
        totals(sweep, |step, frame, total: Kahan| {
            let count = frame.len() as f64;
            out[step] = total.sum / count + total.rest / count;
        });
        return;
    }
    sweep.one_by_one(|step, _, values| {
        let mut mean = FloatMean::default();
        values.iter().for_each(|&value| mean.add(value));
        out[step] = mean.finish();
    });
}

/// `stddev_over_time`
pub(crate) fn stddev(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    variances(sweep, |step, variance| out[step] = variance.sqrt());
}

/// `stdvar_over_time`
pub(crate) fn stdvar(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    variances(sweep, |step, variance| out[step] = variance);
}

fn variances(sweep: &Sweep<'_>, mut found: impl FnMut(usize, f64)) {
    if slides(sweep, SQUARE_TERM_MAX) {
        totals(sweep, |step, _, total: Moments| found(step, total.variance()));
        return;
    }
    sweep.one_by_one(|step, _, values| found(step, aggregate::variance(values)));
}

/// Whether sums over overlapping windows are worth keeping, and the order of terms does not matter to them.
fn slides(sweep: &Sweep<'_>, term_max: f64) -> bool {
    sweep.overlaps(OVERLAP_MIN) && sweep.is_below(term_max)
}

/// What samples add up to.
trait Total: Copy + Default {
    fn push(&mut self, value: f64);
    fn merge(&mut self, other: Self);
}

impl Total for Kahan {
    fn push(&mut self, value: f64) {
        self.add(value);
    }

    fn merge(&mut self, other: Self) {
        Self::merge(self, other);
    }
}

impl Total for Moments {
    fn push(&mut self, value: f64) {
        self.add(value);
    }

    fn merge(&mut self, other: Self) {
        Self::merge(self, other);
    }
}

/// Calls `found` with the total of each window.
fn totals<T: Total>(sweep: &Sweep<'_>, mut found: impl FnMut(usize, &Frame, T)) {
    // Totals of the samples from `cut - 1`, `cut - 2`, ... up to the cut.
    let mut before: Vec<T> = Vec::new();
    let (mut cut, mut end) = (0, 0);
    let mut behind = T::default();
    for (step, frame) in sweep.filled() {
        if frame.first >= cut {
            before.clear();
            let mut total = T::default();
            before.extend(sweep.values_of(frame).iter().rev().map(|&value| {
                total.push(value);
                total
            }));
            (cut, end, behind) = (frame.end, frame.end, T::default());
        }
        sweep.values[end..frame.end.max(end)].iter().for_each(|&value| behind.push(value));
        end = frame.end.max(end);
        let mut total = before[cut - 1 - frame.first];
        total.merge(behind);
        found(step, frame, total);
    }
}
