//! Counter resets between two histograms of a series.

use tsq_core::{Histogram, ResetHint};

use super::side::Side;
use super::sum::{bounds_mapper, common_bounds, widened_threshold};
use super::uses_custom_buckets;
use crate::kernels::histogram::bounds::exponential_bound;

/// Whether the counter was reset between `previous` and `current`: its hint says so, or a count is lower than before, or
/// the layout changed in a way that only a reset allows. The sum of observations does not matter.
pub(crate) fn detect_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.reset_hint {
        ResetHint::Reset => return true,
        ResetHint::NotReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if current.count < previous.count || uses_custom_buckets(current) != uses_custom_buckets(previous) {
        return true;
    }
    if uses_custom_buckets(current) {
        return custom_counts_fell(current, previous);
    }
    if current.schema > previous.schema || current.zero_threshold < previous.zero_threshold {
        return true;
    }
    if has_same_layout(current, previous) {
        return current.zero_count < previous.zero_count
            || any_fell(&current.positive, &previous.positive)
            || any_fell(&current.negative, &previous.negative);
    }
    exponential_counts_fell(current, previous)
}

fn has_same_layout(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive.len() == b.positive.len()
        && a.negative.len() == b.negative.len()
}

fn any_fell(current: &[f64], previous: &[f64]) -> bool {
    current.iter().zip(previous).any(|(current, previous)| current < previous)
}

fn exponential_counts_fell(current: &Histogram, previous: &Histogram) -> bool {
    let sides =
        |h: &Histogram| [Side::read(&h.positive_spans, &h.positive), Side::read(&h.negative_spans, &h.negative)];
    let (mut now, mut before) = (sides(current), sides(previous));
    let threshold = current.zero_threshold;
    let mut zero_before = previous.zero_count;
    if threshold != previous.zero_threshold {
        if widened_threshold([&before[0], &before[1]], previous.schema, threshold) != threshold {
            return true;
        }
        let inside = |side: &Side| -> f64 {
            let starts_inside = |index| exponential_bound(index - 1, previous.schema) < threshold;
            side.counts().take_while(|&(index, _)| starts_inside(index)).map(|(_, count)| count).sum()
        };
        zero_before += before.iter().map(inside).sum::<f64>();
        before.iter_mut().for_each(|side| side.drop_inside(threshold, previous.schema));
    }
    if current.zero_count < zero_before {
        return true;
    }
    now.iter_mut().zip(&mut before).any(|(now, before)| {
        now.drop_below(threshold, current.schema);
        before.coarsen(previous.schema, current.schema);
        before.drop_below(threshold, current.schema);
        side_fell(now, before)
    })
}

fn custom_counts_fell(current: &Histogram, previous: &Histogram) -> bool {
    let mut now = Side::read(&current.positive_spans, &current.positive);
    let mut before = Side::read(&previous.positive_spans, &previous.positive);
    if current.custom_values != previous.custom_values {
        let common = common_bounds(&current.custom_values, &previous.custom_values);
        now.map_indexes(bounds_mapper(&current.custom_values, &common));
        before.map_indexes(bounds_mapper(&previous.custom_values, &common));
    }
    side_fell(&now, &before)
}

/// Whether a bucket holds less than before; a missing bucket holds nothing.
fn side_fell(now: &Side, before: &Side) -> bool {
    let mut now = now.counts().peekable();
    before.counts().any(|(index, count)| {
        while now.next_if(|bucket| bucket.0 < index).is_some() {}
        match now.next_if(|bucket| bucket.0 == index) {
            Some((_, current)) => current < count,
            None => count != 0.0,
        }
    })
}
