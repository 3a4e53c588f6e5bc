//! Extended ranges: `anchored` counts from the last sample before the range, `smoothed` interpolates at its edges.
//!
//! Nothing is extrapolated. Windows of these kernels hold more than the range, see [`Window`].

use std::sync::Arc;

use tsq_core::{Histogram, ResetHint};

use super::binary::note_reconciled;
use super::histogram::{self, HistogramSum, IncompatibleSchemas, detect_reset, uses_custom_buckets};
use super::over_time::note_mixed;
use super::rate::{self, Move};
use super::{HistogramOperation, Note, Notes, Out, Window};

/// `rate(m[r] anchored)`
pub(crate) fn anchored_rate(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extended(window, Move::Rate, false, notes)
}

/// `increase(m[r] anchored)`
pub(crate) fn anchored_increase(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extended(window, Move::Increase, false, notes)
}

/// `delta(m[r] anchored)`
pub(crate) fn anchored_delta(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extended(window, Move::Delta, false, notes)
}

/// `rate(m[r] smoothed)`
pub(crate) fn smoothed_rate(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extended(window, Move::Rate, true, notes)
}

/// `increase(m[r] smoothed)`
pub(crate) fn smoothed_increase(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extended(window, Move::Increase, true, notes)
}

/// `delta(m[r] smoothed)`
pub(crate) fn smoothed_delta(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extended(window, Move::Delta, true, notes)
}

/// `resets(m[r] anchored)`
pub(crate) fn anchored_resets(window: &Window<'_>, args: &[f64], notes: &mut Notes) -> Out {
    from_anchor(window).map_or(Out::None, |window| rate::resets(&window, args, notes))
}

/// `changes(m[r] anchored)`
pub(crate) fn anchored_changes(window: &Window<'_>, args: &[f64], notes: &mut Notes) -> Out {
    from_anchor(window).map_or(Out::None, |window| rate::changes(&window, args, notes))
}

/// `m smoothed`: the value at `window.end_ms`, on the line from the sample before to the one after; without one after,
/// the one before. The window reaches one lookback to both sides of that time.
pub(crate) fn smoothed_instant(window: &Window<'_>, notes: &mut Notes) -> Out {
    if note_mixed(window, notes) {
        return Out::None;
    }
    let at_ms = window.end_ms;
    if window.histograms.is_empty() {
        let (times, values) = (window.times, window.values);
        let next = times.partition_point(|&time| time < at_ms);
        return match (next.checked_sub(1), times.get(next)) {
            (_, Some(&time)) if time == at_ms => Out::Float(values[next]),
            (Some(before), Some(_)) => Out::Float(interpolate(times, values, before, at_ms, false)),
            (Some(before), None) => Out::Float(values[before]),
            (None, _) => Out::None,
        };
    }
    let points = Points { times: window.histogram_times, histograms: window.histograms };
    let next = points.times.partition_point(|&time| time < at_ms);
    let result = match (next.checked_sub(1), points.times.get(next)) {
        (_, Some(&time)) if time == at_ms => Some((*points.histograms[next]).clone()),
        (Some(before), Some(_)) => {
            let gauge = |at: usize| points.histograms[at].reset_hint == ResetHint::Gauge;
            let counter = !gauge(before) || !gauge(next);
            noted(points.interpolate(before, at_ms, counter, notes).map(Some), notes)
        }
        (Some(before), None) => {
            Some(Histogram { reset_hint: ResetHint::Unknown, ..(*points.histograms[before]).clone() })
        }
        (None, _) => None,
    };
    result.map_or(Out::None, |h| Out::Histogram(Box::new(h)))
}

/// `m[r] anchored` or `m[r] smoothed` by itself: the floats of the range with one at each edge. Empty if no sample lies
/// after the start of the range.
pub(crate) fn extended_floats(window: &Window<'_>, smoothed: bool) -> (Vec<i64>, Vec<f64>) {
    let Some(edges) = Edges::find(window.times, window, smoothed) else { return Default::default() };
    let (left, right) = edges.values(window, smoothed, false);
    let inside = edges.inside(window.times, window);
    let times = [window.start_ms].into_iter().chain(window.times[inside.clone()].iter().copied());
    let values = [left].into_iter().chain(window.values[inside].iter().copied());
    (times.chain([window.end_ms]).collect(), values.chain([right]).collect())
}

/// The samples that stand for the edges of the range.
#[derive(Clone, Copy, Debug)]
struct Edges {
    /// The last sample at or before the start, or the first of all.
    first: usize,
    /// The last sample; if smoothed, the first one at or after the end, or the last of all.
    last: usize,
}

impl Edges {
    /// `None` if there is nothing in the range to measure.
    fn find(times: &[i64], window: &Window<'_>, smoothed: bool) -> Option<Self> {
        let last = times.len().checked_sub(1)?;
        let first = times[..last].partition_point(|&time| time <= window.start_ms).saturating_sub(1);
        let last = if smoothed { times[..last].partition_point(|&time| time < window.end_ms) } else { last };
        let nothing = times[last] <= window.start_ms || (smoothed && times[first] > window.end_ms);
        (!nothing).then_some(Self { first, last: last.max(first) })
    }

    /// Whether the left edge lies between two samples and is interpolated.
    fn cuts_left(self, times: &[i64], window: &Window<'_>, smoothed: bool) -> bool {
        smoothed && times[self.first] < window.start_ms
    }

    /// Whether the right edge lies between two samples and is interpolated.
    fn cuts_right(self, times: &[i64], window: &Window<'_>, smoothed: bool) -> bool {
        smoothed && self.last > 0 && times[self.last] > window.end_ms
    }

    /// Values at the edges of the range.
    fn values(self, window: &Window<'_>, smoothed: bool, counter: bool) -> (f64, f64) {
        let (times, values) = (window.times, window.values);
        let left = if self.cuts_left(times, window, smoothed) {
            interpolate(times, values, self.first, window.start_ms, counter)
        } else {
            values[self.first]
        };
        let right = if self.cuts_right(times, window, smoothed) {
            interpolate(times, values, self.last - 1, window.end_ms, counter)
        } else {
            values[self.last]
        };
        (left, right)
    }

    /// The samples between the edges.
    fn inside(self, times: &[i64], window: &Window<'_>) -> std::ops::Range<usize> {
        let from = self.first + usize::from(times[self.first] <= window.start_ms);
        let to = self.last + usize::from(times[self.last] < window.end_ms);
        from..to.max(from)
    }
}

fn extended(window: &Window<'_>, what: Move, smoothed: bool, notes: &mut Notes) -> Out {
    if note_mixed(window, notes) {
        return Out::None;
    }
    let divisor = if what == Move::Rate { window.range_s() } else { 1.0 };
    if window.histograms.is_empty() {
        float_move(window, what.is_counter(), smoothed).map_or(Out::None, |change| Out::Float(change / divisor))
    } else {
        let change = histogram_move(window, what.is_counter(), smoothed, notes);
        noted(change, notes).map_or(Out::None, |mut change| {
            histogram::divide(&mut change, divisor);
            Out::Histogram(Box::new(change))
        })
    }
}

fn float_move(window: &Window<'_>, counter: bool, smoothed: bool) -> Option<f64> {
    let edges = Edges::find(window.times, window, smoothed)?;
    let (left, right) = edges.values(window, smoothed, counter);
    let mut change = right - left;
    if counter {
        let mut before = left;
        for &value in window.values[edges.inside(window.times, window)].iter().chain([&right]) {
            if value < before {
                change += before;
            }
            before = value;
        }
    }
    Some(change)
}

/// The value at a time between sample `at` and the next one. A counter that was reset in between rose from zero.
fn interpolate(times: &[i64], values: &[f64], at: usize, time_ms: i64, counter: bool) -> f64 {
    let [from, to] = [values[at], values[at + 1]];
    let from = if counter && to < from { 0.0 } else { from };
    from + (to - from) * share_of(times, at, time_ms)
}

/// How much of the way from time `at` to the next one lies before `time_ms`.
fn share_of(times: &[i64], at: usize, time_ms: i64) -> f64 {
    time_ms.saturating_sub(times[at]) as f64 / times[at + 1].saturating_sub(times[at]) as f64
}

/// Notes what keeps histograms from being combined.
fn noted<T>(result: Result<Option<T>, IncompatibleSchemas>, notes: &mut Notes) -> Option<T> {
    result.unwrap_or_else(|IncompatibleSchemas| {
        notes.add(Note::MixedExponentialCustom);
        None
    })
}

/// Histograms and their times.
#[derive(Clone, Copy)]
struct Points<'a> {
    times: &'a [i64],
    histograms: &'a [Arc<Histogram>],
}

impl Points<'_> {
    /// The histogram at a time between point `at` and the next one. A counter that was reset in between rose from zero.
    fn interpolate(
        &self,
        at: usize,
        time_ms: i64,
        counter: bool,
        notes: &mut Notes,
    ) -> Result<Histogram, IncompatibleSchemas> {
        let [from, to] = [&*self.histograms[at], &*self.histograms[at + 1]];
        if uses_custom_buckets(from) != uses_custom_buckets(to) {
            return Err(IncompatibleSchemas);
        }
        if time_ms == self.times[at] {
            return Ok(from.clone());
        }
        if time_ms == self.times[at + 1] {
            return Ok(to.clone());
        }
        let share = share_of(self.times, at, time_ms);
        let mut result = HistogramSum::new(to);
        if counter && detect_reset(to, from) {
            result.scale(share);
            return Ok(result.finish());
        }
        note_reconciled(result.sub(from)?, HistogramOperation::Subtraction, notes);
        result.scale(share);
        note_reconciled(result.add(from)?, HistogramOperation::Addition, notes);
        Ok(result.finish())
    }
}

fn histogram_move(
    window: &Window<'_>,
    counter: bool,
    smoothed: bool,
    notes: &mut Notes,
) -> Result<Option<Histogram>, IncompatibleSchemas> {
    let points = Points { times: window.histogram_times, histograms: window.histograms };
    let Some(edges) = Edges::find(points.times, window, smoothed) else { return Ok(None) };
    let Edges { first, last } = edges;
    let used = &points.histograms[first..=last];
    if counter && used.iter().any(|h| h.reset_hint == ResetHint::Gauge) {
        notes.add(Note::NativeHistogramNotCounter);
    }
    if used.iter().any(|h| uses_custom_buckets(h) != uses_custom_buckets(&used[0])) {
        return Err(IncompatibleSchemas);
    }
    let cuts_left = edges.cuts_left(points.times, window, smoothed);
    let left = if cuts_left {
        points.interpolate(first, window.start_ms, counter, notes)?
    } else {
        (*points.histograms[first]).clone()
    };
    let right = if edges.cuts_right(points.times, window, smoothed) {
        points.interpolate(last - 1, window.end_ms, counter, notes)?
    } else {
        (*points.histograms[last]).clone()
    };
    if !counter && (left.reset_hint != ResetHint::Gauge || right.reset_hint != ResetHint::Gauge) {
        notes.add(Note::NativeHistogramNotGauge);
    }
    let mut total = HistogramSum::new(&right);
    note_reconciled(total.sub(&left)?, HistogramOperation::Subtraction, notes);
    if counter {
        make_up_for_resets(&mut total, &points, edges, cuts_left, [&left, &right], notes)?;
    }
    total.set_reset_hint(ResetHint::Gauge);
    Ok(Some(total.finish_compact()))
}

/// Adds what the counter had reached before each reset between the edges.
fn make_up_for_resets(
    total: &mut HistogramSum,
    points: &Points<'_>,
    edges: Edges,
    cuts_left: bool,
    [left, right]: [&Histogram; 2],
    notes: &mut Notes,
) -> Result<(), IncompatibleSchemas> {
    let Edges { first, last } = edges;
    let mut before = left;
    let mut next = first + 1;
    if cuts_left && detect_reset(&points.histograms[next], &points.histograms[first]) {
        // The reset right after the left edge is part of the value interpolated there.
        before = &points.histograms[next];
        next += 1;
    }
    // The last sample stands for the right edge: it is `right` or gave it its hint.
    if next > last {
        return Ok(());
    }
    let between = points.histograms[next..last].iter().map(AsRef::as_ref);
    for histogram in between.chain([right]) {
        if detect_reset(histogram, before) {
            note_reconciled(total.add(before)?, HistogramOperation::Addition, notes);
        }
        before = histogram;
    }
    Ok(())
}

/// The window from its anchor on: the last sample of any kind at or before the start of the range. `None` if nothing
/// lies after the start.
fn from_anchor<'a>(window: &Window<'a>) -> Option<Window<'a>> {
    let before = |times: &[i64]| times.partition_point(|&time| time <= window.start_ms);
    let (floats, histograms) = (before(window.times), before(window.histogram_times));
    if floats == window.times.len() && histograms == window.histogram_times.len() {
        return None;
    }
    let time_before = |times: &[i64], count: usize| count.checked_sub(1).map(|last| times[last]);
    let (float_ms, histogram_ms) = (time_before(window.times, floats), time_before(window.histogram_times, histograms));
    let anchor_is_float = float_ms.is_some() && float_ms >= histogram_ms;
    let from_float = floats - usize::from(anchor_is_float);
    let from_histogram = histograms - usize::from(histogram_ms.is_some() && !anchor_is_float);
    Some(Window {
        times: &window.times[from_float..],
        values: &window.values[from_float..],
        histogram_times: &window.histogram_times[from_histogram..],
        histograms: &window.histograms[from_histogram..],
        starts: window.starts.get(from_float..).unwrap_or(&[]),
        histogram_starts: window.histogram_starts.get(from_histogram..).unwrap_or(&[]),
        ..*window
    })
}
