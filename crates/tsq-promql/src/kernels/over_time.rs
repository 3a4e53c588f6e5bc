//! Aggregations over the samples of a range: the `*_over_time` functions.

use super::aggregate::{self, FloatMean};
use super::kahan::Kahan;
use super::{Note, Notes, Out, Window};

/// `avg_over_time`
pub(crate) fn avg(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    if note_mixed(window, notes) {
        return Out::None;
    }
    if window.values.is_empty() {
        return histogram(aggregate::histogram_mean(window.histograms.iter().map(AsRef::as_ref), notes));
    }
    let mut mean = FloatMean::default();
    window.values.iter().for_each(|&value| mean.add(value));
    Out::Float(mean.finish())
}

/// `sum_over_time`
pub(crate) fn sum(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    if note_mixed(window, notes) {
        return Out::None;
    }
    if window.values.is_empty() {
        return histogram(aggregate::histogram_sum(window.histograms.iter().map(AsRef::as_ref), notes));
    }
    Out::Float(window.values.iter().copied().collect::<Kahan>().value())
}

/// `count_over_time`
pub(crate) fn count(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    let count = window.values.len() + window.histograms.len();
    if count == 0 { Out::None } else { Out::Float(count as f64) }
}

/// `present_over_time`, and `absent_over_time` before the evaluator turns it around.
pub(crate) fn present(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    if window.values.is_empty() && window.histograms.is_empty() { Out::None } else { Out::Float(1.0) }
}

/// `first_over_time`
pub(crate) fn first(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    let float_time = window.times.first();
    match (window.histogram_times.first(), window.histograms.first(), window.values.first()) {
        (Some(time), Some(first), _) if float_time.is_none_or(|float_time| float_time >= time) => {
            Out::Histogram(Box::new((**first).clone()))
        }
        (_, _, value) => value.map_or(Out::None, |&value| Out::Float(value)),
    }
}

/// `last_over_time`
pub(crate) fn last(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    let float_time = window.times.last();
    match (window.histogram_times.last(), window.histograms.last(), window.values.last()) {
        (Some(time), Some(last), _) if float_time.is_none_or(|float_time| float_time <= time) => {
            Out::Histogram(Box::new((**last).clone()))
        }
        (_, _, value) => value.map_or(Out::None, |&value| Out::Float(value)),
    }
}

/// `ts_of_first_over_time`
pub(crate) fn ts_of_first(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    seconds(window.times.first().into_iter().chain(window.histogram_times.first()).min())
}

/// `ts_of_last_over_time`
pub(crate) fn ts_of_last(window: &Window<'_>, _: &[f64], _: &mut Notes) -> Out {
    seconds(window.times.last().into_iter().chain(window.histogram_times.last()).max())
}

/// `min_over_time`
pub(crate) fn min(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, |values| values.iter().copied().fold(f64::NAN, aggregate::min))
}

/// `max_over_time`
pub(crate) fn max(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, |values| values.iter().copied().fold(f64::NAN, aggregate::max))
}

/// `ts_of_min_over_time`: the last time the minimum was seen.
pub(crate) fn ts_of_min(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, |values| time_of_extreme(window.times, values, |value, best| value <= best))
}

/// `ts_of_max_over_time`: the last time the maximum was seen.
pub(crate) fn ts_of_max(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, |values| time_of_extreme(window.times, values, |value, best| value >= best))
}

/// `stddev_over_time`
pub(crate) fn stddev(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, |values| aggregate::variance(values).sqrt())
}

/// `stdvar_over_time`
pub(crate) fn stdvar(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, aggregate::variance)
}

/// `quantile_over_time(phi, range)`
pub(crate) fn quantile(window: &Window<'_>, args: &[f64], notes: &mut Notes) -> Out {
    let phi = args.first().copied().unwrap_or(f64::NAN);
    if !window.values.is_empty() && !(0.0..=1.0).contains(&phi) {
        notes.add(Note::InvalidQuantile(phi));
    }
    of_floats(window, notes, |values| aggregate::quantile(phi, &mut values.to_vec()))
}

/// `mad_over_time`: the median of the distances to the median. NaN if a value is.
pub(crate) fn mad(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_floats(window, notes, median_distance)
}

/// The median of the distances to the median. NaN if a value is.
pub(super) fn median_distance(values: &[f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut values = values.to_vec();
    let median = aggregate::quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    aggregate::quantile(0.5, &mut values)
}

/// A function that leaves out histograms, and says so if there are floats too.
pub(super) fn of_floats(window: &Window<'_>, notes: &mut Notes, function: impl FnOnce(&[f64]) -> f64) -> Out {
    if window.values.is_empty() {
        return Out::None;
    }
    if !window.histograms.is_empty() {
        notes.add(Note::HistogramIgnoredInMixedRange);
    }
    Out::Float(function(window.values))
}

/// Notes a mixed range, of which some functions make nothing.
pub(super) fn note_mixed(window: &Window<'_>, notes: &mut Notes) -> bool {
    if window.is_mixed() {
        notes.add(Note::MixedFloatsHistograms);
    }
    window.is_mixed()
}

/// When the best of some values was seen last, in seconds.
pub(super) fn time_of_extreme(times: &[i64], values: &[f64], is_better: fn(f64, f64) -> bool) -> f64 {
    let mut best = (values[0], times[0]);
    for (&value, &time) in values.iter().zip(times) {
        if is_better(value, best.0) || best.0.is_nan() {
            best = (value, time);
        }
    }
    best.1 as f64 / 1000.0
}

fn seconds(time_ms: Option<&i64>) -> Out {
    time_ms.map_or(Out::None, |&time_ms| Out::Float(time_ms as f64 / 1000.0))
}

fn histogram(result: Option<tsq_core::Histogram>) -> Out {
    result.map_or(Out::None, |result| Out::Histogram(Box::new(result)))
}
