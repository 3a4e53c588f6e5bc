//! How a counter or gauge moves within a range: `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`.

use std::sync::Arc;

use tsq_core::{Histogram, ResetHint};

use super::binary::note_reconciled;
use super::histogram::{self, HistogramSum, detect_reset, uses_custom_buckets};
use super::over_time::note_mixed;
use super::starts::{Since, Starts};
use super::{HistogramOperation, Note, Notes, Out, Window};

/// What to make of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Per second, of a counter.
    Rate,
    /// Of a counter.
    Increase,
    /// Of a gauge.
    Delta,
}

impl Move {
    pub(super) fn is_counter(self) -> bool {
        self != Self::Delta
    }
}

/// `rate`
pub(crate) fn rate(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extrapolated(window, Move::Rate, notes)
}

/// `increase`
pub(crate) fn increase(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extrapolated(window, Move::Increase, notes)
}

/// `delta`
pub(crate) fn delta(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    extrapolated(window, Move::Delta, notes)
}

/// `irate`
pub(crate) fn irate(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_last_two(window, true, notes)
}

/// `idelta`
pub(crate) fn idelta(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_last_two(window, false, notes)
}

/// `resets`: from one sample to the next, a change between float and histogram among them.
pub(crate) fn resets(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    count_pairs(window, |before, after| {
        after.since.is_reset_after(before.since)
            || match (before.sample, after.sample) {
                (Sample::Float(before), Sample::Float(after)) => after < before,
                (Sample::Histogram(before), Sample::Histogram(after)) => detect_reset(after, before),
                _ => true,
            }
    })
}

/// `changes`: from one sample to the next; NaN equals NaN.
pub(crate) fn changes(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    count_pairs(window, |before, after| match (before.sample, after.sample) {
        (Sample::Float(before), Sample::Float(after)) => has_changed(before, after),
        (Sample::Histogram(before), Sample::Histogram(after)) => !histogram::equal(before, after),
        _ => true,
    })
}

/// Whether two floats differ; NaN equals NaN.
pub(super) fn has_changed(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

/// The difference between the last and the first sample, resets made up for, extended to the whole range.
fn extrapolated(window: &Window<'_>, what: Move, notes: &mut Notes) -> Out {
    if note_mixed(window, notes) {
        return Out::None;
    }
    let of_histograms = window.values.is_empty();
    let times = if of_histograms { window.histogram_times } else { window.times };
    let [first_ms, .., last_ms] = *times else { return Out::None };
    let span = Span { first_ms, last_ms, intervals: (times.len() - 1) as f64 };
    if what.is_counter() && !(window.starts.is_empty() && window.histogram_starts.is_empty()) {
        return from_starts(window, what, span, notes);
    }
    if of_histograms {
        let counter = what.is_counter().then(|| Counter { starts: Starts::of_histograms(window), from_zero: false });
        let Some(mut result) = histogram_move(window.histograms, counter, notes) else { return Out::None };
        let start = what.is_counter().then(|| Start { value: window.histograms[0].count, increase: result.count });
        histogram::scale(&mut result, span.factor(window, start.as_ref(), what));
        Out::Histogram(Box::new(result))
    } else {
        Out::Float(extrapolate(window, float_move(window.values, what.is_counter()), what))
    }
}

/// The change between the first and the last of at least two floats, extended to the whole range.
pub(super) fn extrapolate(window: &Window<'_>, change: f64, what: Move) -> f64 {
    let &[first_ms, .., last_ms] = window.times else { return f64::NAN };
    let span = Span { first_ms, last_ms, intervals: (window.times.len() - 1) as f64 };
    let start = what.is_counter().then_some(Start { value: window.values[0], increase: change });
    change * span.factor(window, start.as_ref(), what)
}

/// As [`extrapolated`], of a counter whose samples have start times. One that began within the range counts from there
/// on, and from zero.
fn from_starts(window: &Window<'_>, what: Move, mut span: Span, notes: &mut Notes) -> Out {
    let of_histograms = window.values.is_empty();
    let starts = if of_histograms { Starts::of_histograms(window) } else { Starts::of_floats(window) };
    starts.note_overlaps(notes);
    let first_start = starts.first_start(window.start_ms);
    let from_zero = first_start.is_some();
    if let Some(start_ms) = first_start {
        span.begin_at(start_ms);
    }
    let first = |value: f64| if from_zero { 0.0 } else { value };
    if of_histograms {
        let counter = Some(Counter { starts, from_zero });
        let Some(mut result) = histogram_move(window.histograms, counter, notes) else { return Out::None };
        let start = Start { value: first(window.histograms[0].count), increase: result.count };
        histogram::scale(&mut result, span.factor(window, Some(&start), what));
        return Out::Histogram(Box::new(result));
    }
    let values = window.values;
    let resets = (1..values.len()).filter(|&at| values[at] < values[at - 1] || starts.is_reset(at));
    let difference = values[values.len() - 1] - first(values[0]);
    let increase = resets.fold(difference, |total, at| total + values[at - 1]);
    let start = Start { value: first(values[0]), increase };
    Out::Float(increase * span.factor(window, Some(&start), what))
}

/// The time between the first and the last sample.
struct Span {
    first_ms: i64,
    last_ms: i64,
    intervals: f64,
}

/// Where a counter started in the range, and by how much it rose.
struct Start {
    value: f64,
    increase: f64,
}

impl Span {
    /// Begins before the first sample; the mean interval stays that of the samples.
    fn begin_at(&mut self, start_ms: i64) {
        let length = |from_ms: i64| self.last_ms.saturating_sub(from_ms) as f64;
        self.intervals *= length(start_ms) / length(self.first_ms);
        self.first_ms = start_ms;
    }

    /// What a difference over the span is multiplied with to become one over the range.
    ///
    /// The span is extended to an edge of the range if that is nearer than 1.1 mean intervals, else by half an interval,
    /// as the series then seems to begin or end within the range. A counter is not extended to where it would be
    /// negative.
    fn factor(&self, window: &Window<'_>, counter: Option<&Start>, what: Move) -> f64 {
        let seconds = |from_ms: i64, to_ms: i64| to_ms.saturating_sub(from_ms) as f64 / 1000.0;
        let sampled_s = seconds(self.first_ms, self.last_ms);
        let interval_s = sampled_s / self.intervals;
        let near_s = interval_s * 1.1;
        let extend = |edge_s: f64| if edge_s >= near_s { interval_s / 2.0 } else { edge_s };
        let mut before_s = extend(seconds(window.start_ms, self.first_ms));
        if let Some(&Start { value, increase }) = counter
            && increase > 0.0
            && value >= 0.0
        {
            before_s = before_s.min(sampled_s * (value / increase));
        }
        let after_s = extend(seconds(self.last_ms, window.end_ms));
        let factor = if sampled_s == 0.0 { 1.0 } else { (sampled_s + before_s + after_s) / sampled_s };
        if what == Move::Rate { factor / window.range_s() } else { factor }
    }
}

fn float_move(values: &[f64], counter: bool) -> f64 {
    let [first, .., last] = *values else { return 0.0 };
    let resets = values.windows(2).filter(|pair| counter && pair[1] < pair[0]);
    resets.fold(last - first, |total, pair| total + pair[0])
}

/// How histograms count up.
#[derive(Clone, Copy)]
struct Counter<'a> {
    starts: Starts<'a>,
    /// Whether the first one has counted from zero within the range.
    from_zero: bool,
}

/// The difference of the last and the first of at least two histograms. `None` if they do not fit together.
fn histogram_move(all: &[Arc<Histogram>], counter: Option<Counter<'_>>, notes: &mut Notes) -> Option<Histogram> {
    let [first, second, ..] = all else { return None };
    let last = all.last()?;
    let starts = counter.map(|counter| counter.starts);
    let from_zero = counter.is_some_and(|counter| counter.from_zero);
    let is_reset = |at: usize| starts.is_some_and(|starts| detect_reset(&all[at], &all[at - 1]) || starts.is_reset(at));
    let counter = starts.is_some();
    if counter && all.iter().any(|h| h.reset_hint == ResetHint::Gauge) {
        notes.add(Note::NativeHistogramNotCounter);
    }
    // A first sample that ends in a reset counts for nothing: its buckets may be of any kind.
    let reset_at_once = !from_zero && is_reset(1);
    let custom = uses_custom_buckets(if reset_at_once { second } else { first });
    let rest = if counter { &all[1..] } else { std::slice::from_ref(last) };
    if rest.iter().any(|h| uses_custom_buckets(h) != custom) {
        notes.add(Note::MixedExponentialCustom);
        return None;
    }
    let mut total = HistogramSum::new(last);
    let nothing =
        Histogram { schema: second.schema, custom_values: second.custom_values.clone(), ..Histogram::default() };
    let base = if reset_at_once || from_zero { &nothing } else { &**first };
    total.coarsen(rest.iter().map(|h| h.schema).fold(base.schema, i8::min));
    note_reconciled(total.sub(base).ok()?, HistogramOperation::Subtraction, notes);
    if counter {
        let skipped = usize::from(reset_at_once);
        for at in (skipped + 1..all.len()).filter(|&at| is_reset(at)) {
            note_reconciled(total.add(&all[at - 1]).ok()?, HistogramOperation::Addition, notes);
        }
    } else if first.reset_hint != ResetHint::Gauge || last.reset_hint != ResetHint::Gauge {
        notes.add(Note::NativeHistogramNotGauge);
    }
    total.set_reset_hint(ResetHint::Gauge);
    Some(total.finish_compact())
}

/// A sample of either kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

/// A sample with its times.
#[derive(Clone, Copy, Debug)]
struct Placed<'a> {
    since: Since,
    sample: Sample<'a>,
}

/// All samples by time; at equal times the float comes first.
fn merged<'a>(window: &Window<'a>) -> impl Iterator<Item = Placed<'a>> + use<'a> {
    let (float_starts, histogram_starts) = (Starts::of_floats(window), Starts::of_histograms(window));
    let place = |since, sample| Placed { since, sample };
    let floats = window.values.iter().enumerate();
    let mut floats = floats.map(move |(at, &value)| place(float_starts.since(at), Sample::Float(value))).peekable();
    let histograms = window.histograms.iter().enumerate();
    let histograms = histograms.map(move |(at, h)| place(histogram_starts.since(at), Sample::Histogram(h)));
    let mut histograms = histograms.peekable();
    std::iter::from_fn(move || match (floats.peek(), histograms.peek()) {
        (Some(float), Some(histogram)) if histogram.since.time_ms < float.since.time_ms => histograms.next(),
        (None, _) => histograms.next(),
        _ => floats.next(),
    })
}

fn count_pairs(window: &Window<'_>, counts: impl Fn(Placed<'_>, Placed<'_>) -> bool) -> Out {
    let mut samples = merged(window);
    let Some(mut before) = samples.next() else { return Out::None };
    let mut count = 0_u64;
    for sample in samples {
        count += u64::from(counts(before, sample));
        before = sample;
    }
    Out::Float(count as f64)
}

/// The last two samples of any kind.
fn last_two<'a>(window: &Window<'a>) -> Option<[Placed<'a>; 2]> {
    let float = |back: usize| {
        let at = window.values.len().checked_sub(back)?;
        Some(Placed { since: Starts::of_floats(window).since(at), sample: Sample::Float(*window.values.get(at)?) })
    };
    let histogram = |back: usize| {
        let at = window.histograms.len().checked_sub(back)?;
        let sample = Sample::Histogram(window.histograms.get(at)?);
        Some(Placed { since: Starts::of_histograms(window).since(at), sample })
    };
    let mut all: Vec<_> = [float(2), float(1), histogram(2), histogram(1)].into_iter().flatten().collect();
    all.sort_by_key(|placed| placed.since.time_ms);
    all.last_chunk().copied()
}

fn of_last_two(window: &Window<'_>, counter: bool, notes: &mut Notes) -> Out {
    let Some([before, after]) = last_two(window) else { return Out::None };
    let (since_before, since) = (before.since, after.since);
    if since_before.time_ms == since.time_ms {
        return Out::None;
    }
    let interval_s = since.time_ms.saturating_sub(since_before.time_ms) as f64 / 1000.0;
    let is_reset = counter && since.is_reset_after(since_before);
    if counter && since.overlaps(since_before) {
        notes.add(Note::StartOverlap);
    }
    match (before.sample, after.sample) {
        (Sample::Float(before), Sample::Float(after)) => {
            let change = if is_reset || counter && after < before { after } else { after - before };
            Out::Float(if counter { change / interval_s } else { change })
        }
        (Sample::Histogram(before), Sample::Histogram(after)) => {
            let Some(mut change) = histogram_change(before, after, counter, is_reset, notes) else {
                return Out::None;
            };
            if counter {
                histogram::divide(&mut change, interval_s);
            }
            Out::Histogram(Box::new(change))
        }
        _ => {
            notes.add(Note::MixedFloatsHistograms);
            Out::None
        }
    }
}

fn histogram_change(
    before: &Histogram,
    after: &Histogram,
    counter: bool,
    is_reset: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let gauges = [before, after].map(|h| h.reset_hint == ResetHint::Gauge);
    if counter && gauges.contains(&true) {
        notes.add(Note::NativeHistogramNotCounter);
    }
    if !counter && gauges.contains(&false) {
        notes.add(Note::NativeHistogramNotGauge);
    }
    let mut change = HistogramSum::new(after);
    if !counter || !(is_reset || detect_reset(after, before)) {
        let Ok(combined) = change.sub(before) else {
            notes.add(Note::MixedExponentialCustom);
            return None;
        };
        note_reconciled(combined, HistogramOperation::Subtraction, notes);
    }
    change.set_reset_hint(ResetHint::Gauge);
    Some(change.finish_compact())
}
