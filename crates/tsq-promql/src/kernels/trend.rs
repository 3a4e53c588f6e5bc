//! Trends of a gauge: linear regression and double exponential smoothing.

use super::kahan::Kahan;
use super::over_time::of_floats;
use super::{Note, Notes, Out, Window};

/// `deriv`: slope per second of the regression line.
pub(crate) fn deriv(window: &Window<'_>, _: &[f64], notes: &mut Notes) -> Out {
    of_two_floats(window, notes, |values| {
        // Times are counted from one near the samples, which loses less to rounding.
        regression(window.times, values, window.times[0]).slope
    })
}

/// `predict_linear(range, seconds)`: value of the regression line that long after the evaluation time.
pub(crate) fn predict_linear(window: &Window<'_>, args: &[f64], notes: &mut Notes) -> Out {
    let after_s = args.first().copied().unwrap_or(f64::NAN);
    of_two_floats(window, notes, |values| {
        let line = regression(window.times, values, window.time_ms);
        line.slope * after_s + line.intercept
    })
}

/// `double_exponential_smoothing(range, smoothing, trend)`: the smoothed value at the last sample. Both factors must have
/// passed [`check_smoothing_factors`].
pub(crate) fn double_exponential_smoothing(window: &Window<'_>, args: &[f64], notes: &mut Notes) -> Out {
    let &[smoothing, trend, ..] = args else { return Out::None };
    of_two_floats(window, notes, |values| {
        let mut level = values[0];
        let mut slope = values[1] - values[0];
        let mut level_before = None;
        for &value in &values[1..] {
            if let Some(before) = level_before {
                slope = trend * (level - before) + (1.0 - trend) * slope;
            }
            level_before = Some(level);
            level = smoothing * value + (1.0 - smoothing) * (level + slope);
        }
        level
    })
}

/// Whether the factors of [`double_exponential_smoothing`] lie in (0, 1).
///
/// # Errors
/// The message says which one does not.
pub(crate) fn check_smoothing_factors(smoothing: f64, trend: f64) -> Result<(), String> {
    for (name, short, factor) in [("smoothing", "sf", smoothing), ("trend", "tf", trend)] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}"));
        }
    }
    Ok(())
}

/// A function that needs two floats. A single one beside histograms is noted as well.
fn of_two_floats(window: &Window<'_>, notes: &mut Notes, function: impl FnOnce(&[f64]) -> f64) -> Out {
    if window.values.len() < 2 {
        if window.is_mixed() {
            notes.add(Note::HistogramIgnoredInMixedRange);
        }
        return Out::None;
    }
    of_floats(window, notes, function)
}

struct Line {
    slope: f64,
    intercept: f64,
}

/// Least squares; `intercept` is the value at `origin_ms`, the slope is per second.
fn regression(times: &[i64], values: &[f64], origin_ms: i64) -> Line {
    if values.iter().all(|value| *value == values[0]) {
        let level = values[0];
        return if level.is_infinite() {
            Line { slope: f64::NAN, intercept: f64::NAN }
        } else {
            Line { slope: 0.0, intercept: level }
        };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    for (&time, &y) in times.iter().zip(values) {
        let x = time.saturating_sub(origin_ms) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let count = values.len() as f64;
    let (x_sum, y_sum) = (x_sum.value(), y_sum.value());
    let covariance = xy_sum.value() - x_sum * y_sum / count;
    let variance = xx_sum.value() - x_sum * x_sum / count;
    let slope = covariance / variance;
    Line { slope, intercept: y_sum / count - slope * x_sum / count }
}
