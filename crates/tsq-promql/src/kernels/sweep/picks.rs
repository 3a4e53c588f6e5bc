//! Functions that only look at the ends of a window.

use super::{Frame, Notes, Sweep};

/// `count_over_time`
pub(crate) fn count(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    each(sweep, out, |frame| frame.len() as f64);
}

/// `present_over_time`
pub(crate) fn present(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    each(sweep, out, |_| 1.0);
}

/// `first_over_time`
pub(crate) fn first(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    each(sweep, out, |frame| sweep.values[frame.first]);
}

/// `last_over_time`
pub(crate) fn last(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    each(sweep, out, |frame| sweep.values[frame.end - 1]);
}

/// `ts_of_first_over_time`
pub(crate) fn ts_of_first(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    each(sweep, out, |frame| sweep.times[frame.first] as f64 / 1000.0);
}

/// `ts_of_last_over_time`
pub(crate) fn ts_of_last(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    each(sweep, out, |frame| sweep.times[frame.end - 1] as f64 / 1000.0);
}

fn each(sweep: &Sweep<'_>, out: &mut [f64], pick: impl Fn(&Frame) -> f64) {
    for (step, frame) in sweep.filled() {
        out[step] = pick(frame);
    }
}
