//! Comparing an answer with what a script expects, within the tolerance of Prometheus's own runner.

use std::collections::{BTreeMap, BTreeSet};

use tsq_core::{Histogram, Labels};
use tsq_promql::{HistogramBucket, MatrixSeries, SampleValue, Value, VectorElement, histogram_buckets};

use crate::script::Eval;
use crate::series::Item;

pub(crate) type Compared = Result<(), String>;

/// Relative 1e-6 of both sizes together; exact next to zero.
pub(crate) fn almost(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    if !a.is_finite() || !b.is_finite() {
        return false;
    }
    let size = (a.abs() + b.abs()).min(f64::MAX);
    let size = if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { size };
    (a - b).abs() < 1e-6 * size
}

fn same_bound(a: f64, b: f64) -> bool {
    a == b || (a.is_finite() && b.is_finite() && (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
}

/// Compares one sample.
pub(crate) fn sample(want: &Item, got: &SampleValue) -> Compared {
    match (want, got) {
        (Item::Float(want), SampleValue::Float(got)) if almost(*want, *got) => Ok(()),
        (Item::Histogram(want), SampleValue::Histogram(got)) => histogram(&want.to_histogram(), got),
        (want, got) => Err(format!("expected {want:?}, got {got:?}")),
    }
}

fn histogram(want: &Histogram, got: &Histogram) -> Compared {
    if !almost(want.count, got.count) || !almost(want.sum, got.sum) {
        return Err(format!("expected count {} sum {}, got {} and {}", want.count, want.sum, got.count, got.sum));
    }
    let listed = |histogram: &Histogram| -> Vec<HistogramBucket> {
        histogram_buckets(histogram).into_iter().filter(|bucket| bucket.count != 0.0).collect()
    };
    let (want, got) = (listed(want), listed(got));
    let same = |a: &HistogramBucket, b: &HistogramBucket| {
        (a.lower_inclusive, a.upper_inclusive) == (b.lower_inclusive, b.upper_inclusive)
            && same_bound(a.lower, b.lower)
            && same_bound(a.upper, b.upper)
            && almost(a.count, b.count)
    };
    if want.len() == got.len() && want.iter().zip(&got).all(|(want, got)| same(want, got)) {
        Ok(())
    } else {
        Err(format!("expected buckets {want:?}, got {got:?}"))
    }
}

/// Compares the answer to an instant query.
pub(crate) fn instant(eval: &Eval, value: &Value) -> Compared {
    match (value, eval.scalar, &eval.string) {
        (Value::String { value, .. }, _, Some(want)) if value == want => Ok(()),
        (Value::Scalar { value, .. }, Some(want), None) if almost(*value, want) => Ok(()),
        (Value::Vector(elements), None, None) if !eval.is_range_vector => vector(eval, elements),
        (Value::Matrix(series), None, None) if eval.is_range_vector => matrix(eval, series),
        (value, scalar, string) => Err(format!("expected {scalar:?} {string:?}, got {value:?}")),
    }
}

/// Compares elements with the first values of the expected series.
pub(crate) fn vector(eval: &Eval, elements: &[VectorElement]) -> Compared {
    let want: BTreeMap<&Labels, (usize, &Vec<Item>)> =
        eval.expected.iter().enumerate().map(|(at, (labels, items))| (labels, (at, items))).collect();
    let mut seen = BTreeSet::new();
    for (at, element) in elements.iter().enumerate() {
        let labels = &element.labels;
        let &(place, items) = want.get(labels).ok_or_else(|| format!("unexpected {labels} = {:?}", element.value))?;
        if !seen.insert(labels) {
            return Err(format!("{labels} twice"));
        }
        if eval.ordered && place != at {
            return Err(format!("{labels} expected at place {place}, was at {at}"));
        }
        if let Some(item) = items.first() {
            sample(item, &element.value).map_err(|error| format!("{labels}: {error}"))?;
        }
    }
    missing(want.keys().copied(), &seen)
}

fn missing<'l>(mut want: impl Iterator<Item = &'l Labels>, seen: &BTreeSet<&Labels>) -> Compared {
    match want.find(|labels| !seen.contains(labels)) {
        Some(labels) => Err(format!("{labels} is missing")),
        None => Ok(()),
    }
}

/// Compares a matrix: sorted, and each series point by point.
pub(crate) fn matrix(eval: &Eval, all: &[MatrixSeries]) -> Compared {
    let want: BTreeMap<&Labels, &Vec<Item>> = eval.expected.iter().map(|(labels, items)| (labels, items)).collect();
    let mut seen = BTreeSet::new();
    if !all.is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("the matrix is not sorted by labels".to_owned());
    }
    for series in all {
        let labels = &series.labels;
        let items = want.get(labels).ok_or_else(|| format!("unexpected {series:?}"))?;
        points(eval, items, series).map_err(|error| format!("{labels}: {error}"))?;
        seen.insert(labels);
    }
    missing(want.keys().copied(), &seen)
}

fn points(eval: &Eval, items: &[Item], series: &MatrixSeries) -> Compared {
    let time = |index: usize| eval.start_ms + index as i64 * eval.step_ms;
    let floats = series.floats.iter().map(|&(time, value)| (time, SampleValue::Float(value)));
    let histograms =
        series.histograms.iter().map(|(time, value)| (*time, SampleValue::Histogram(Box::new(value.clone()))));
    let got: BTreeMap<i64, SampleValue> = floats.chain(histograms).collect();
    let want: BTreeMap<i64, &Item> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| !matches!(item, Item::Omitted))
        .map(|(index, item)| (time(index), item))
        .collect();
    if got.len() != series.floats.len() + series.histograms.len() || !got.keys().eq(want.keys()) {
        return Err(format!("expected {want:?}, got {got:?}"));
    }
    for (time, item) in want {
        sample(item, &got[&time]).map_err(|error| format!("at {time} ms: {error}"))?;
    }
    Ok(())
}
