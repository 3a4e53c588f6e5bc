//! How a counter or gauge moves: `rate` and its like, and counts of what happens between neighbours.

use super::super::Window;
use super::super::rate::{Move, extrapolate, has_changed};
use super::{Frame, Notes, Sweep};

/// `rate`
pub(crate) fn rate(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    extrapolated(sweep, Move::Rate, out);
}

/// `increase`
pub(crate) fn increase(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    extrapolated(sweep, Move::Increase, out);
}

/// `delta`
pub(crate) fn delta(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    extrapolated(sweep, Move::Delta, out);
}

/// The few samples before which a counter was reset are found once. Each window adds up its own ones in order, as
/// their sum is to have the same bits whichever way it is computed.
fn extrapolated(sweep: &Sweep<'_>, what: Move, out: &mut [f64]) {
    let mut resets = Vec::new();
    if what.is_counter() {
        resets.extend((1..sweep.values.len()).filter(|&at| sweep.values[at] < sweep.values[at - 1]));
    }
    let mut next_reset = 0;
    for (step, frame) in sweep.frames.iter().enumerate().filter(|(_, frame)| frame.len() > 1) {
        while resets.get(next_reset).is_some_and(|&at| at <= frame.first) {
            next_reset += 1;
        }
        let inside = resets[next_reset..].iter().take_while(|&&at| at < frame.end);
        let difference = sweep.values[frame.end - 1] - sweep.values[frame.first];
        let change = inside.fold(difference, |change, &at| change + sweep.values[at - 1]);
        out[step] = extrapolate(&window_of(sweep, frame), change, what);
    }
}

fn window_of<'a>(sweep: &Sweep<'a>, frame: &Frame) -> Window<'a> {
    Window {
        times: &sweep.times[frame.first..frame.end],
        values: &sweep.values[frame.first..frame.end],
        histogram_times: &[],
        histograms: &[],
        starts: &[],
        histogram_starts: &[],
        start_ms: frame.start_ms,
        end_ms: frame.end_ms,
        time_ms: frame.end_ms,
    }
}

/// `irate`
pub(crate) fn irate(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    of_last_two(sweep, out, |before, after, interval_s| {
        (if after < before { after } else { after - before }) / interval_s
    });
}

/// `idelta`
pub(crate) fn idelta(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    of_last_two(sweep, out, |before, after, _| after - before);
}

fn of_last_two(sweep: &Sweep<'_>, out: &mut [f64], change: impl Fn(f64, f64, f64) -> f64) {
    for (step, frame) in sweep.frames.iter().enumerate().filter(|(_, frame)| frame.len() > 1) {
        let (before, after) = (frame.end - 2, frame.end - 1);
        let interval_ms = sweep.times[after].saturating_sub(sweep.times[before]);
        out[step] = change(sweep.values[before], sweep.values[after], interval_ms as f64 / 1000.0);
    }
}

/// `resets`
pub(crate) fn resets(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    count_pairs(sweep, out, |before, after| after < before);
}

/// `changes`
pub(crate) fn changes(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    count_pairs(sweep, out, has_changed);
}

/// Counts neighbours: those that enter are added, those that leave are subtracted.
fn count_pairs(sweep: &Sweep<'_>, out: &mut [f64], counts: impl Fn(f64, f64) -> bool) {
    let pair = |at: usize| u64::from(counts(sweep.values[at - 1], sweep.values[at]));
    // The pairs in the window are those that end at a sample in `from..to`.
    let (mut from, mut to, mut count) = (0, 0, 0_u64);
    for (step, frame) in sweep.filled() {
        if frame.first + 1 >= to {
            (from, to, count) = (frame.first + 1, frame.first + 1, 0);
        }
        count -= (from..frame.first + 1).map(pair).sum::<u64>();
        count += (to..frame.end).map(pair).sum::<u64>();
        (from, to) = (frame.first + 1, frame.end.max(to));
        out[step] = count as f64;
    }
}
