//! Native histograms: arithmetic, resets, quantiles.

mod bounds;
mod buckets;
mod quantile;
mod reset;
mod side;
mod sum;
mod trim;

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint};

pub(crate) use buckets::listed_buckets;
pub use buckets::{HistogramBucket, histogram_buckets};
pub(crate) use quantile::{HISTOGRAM_FUNCTIONS, fraction, quantile};
pub(crate) use reset::detect_reset;
pub(crate) use sum::{Combined, HistogramSum, IncompatibleSchemas};
pub(crate) use trim::{Keep, trim};

use side::Side;

/// Whether the buckets have listed bounds.
pub(crate) fn uses_custom_buckets(histogram: &Histogram) -> bool {
    histogram.schema == CUSTOM_BUCKETS_SCHEMA
}

/// Multiplies counts and sum. A negative factor makes it a gauge.
pub(crate) fn scale(histogram: &mut Histogram, factor: f64) {
    each_number(histogram, |number| number * factor);
    if factor < 0.0 {
        histogram.reset_hint = ResetHint::Gauge;
    }
}

/// Divides counts and sum. A negative divisor makes it a gauge; a division by zero leaves no buckets.
pub(crate) fn divide(histogram: &mut Histogram, divisor: f64) {
    each_number(histogram, |number| number / divisor);
    if divisor == 0.0 {
        histogram.positive_spans.clear();
        histogram.positive.clear();
        histogram.negative_spans.clear();
        histogram.negative.clear();
    } else if divisor < 0.0 {
        histogram.reset_hint = ResetHint::Gauge;
    }
}

/// Drops empty buckets and joins spans that touch.
pub(crate) fn compact(histogram: &mut Histogram) {
    for (spans, counts) in [
        (&mut histogram.positive_spans, &mut histogram.positive),
        (&mut histogram.negative_spans, &mut histogram.negative),
    ] {
        let touching = spans.iter().skip(1).any(|span| span.offset <= 0) || spans.iter().any(|span| span.length == 0);
        if touching || counts.contains(&0.0) {
            let mut side = Side::read(spans, counts);
            side.0.retain(|(_, count)| count.value() != 0.0);
            (*spans, *counts) = side.write();
        }
    }
}

/// Whether two histograms hold the same data: equal layout and equal bits of every number. What they say about resets
/// and the kind of their counts do not matter.
pub(crate) fn equal(a: &Histogram, b: &Histogram) -> bool {
    let bits = |h: &Histogram| [h.count, h.sum, h.zero_count].map(f64::to_bits);
    a.schema == b.schema
        && bits(a) == bits(b)
        && a.zero_threshold == b.zero_threshold
        && (!uses_custom_buckets(a) || a.custom_values == b.custom_values)
        && same_buckets(&Side::read(&a.positive_spans, &a.positive), &Side::read(&b.positive_spans, &b.positive))
        && same_buckets(&Side::read(&a.negative_spans, &a.negative), &Side::read(&b.negative_spans, &b.negative))
}

fn same_buckets(a: &Side, b: &Side) -> bool {
    a.0.len() == b.0.len() && a.counts().zip(b.counts()).all(|(a, b)| a.0 == b.0 && a.1.to_bits() == b.1.to_bits())
}

fn each_number(histogram: &mut Histogram, change: impl Fn(f64) -> f64) {
    let heads = [&mut histogram.zero_count, &mut histogram.count, &mut histogram.sum];
    let counts = histogram.positive.iter_mut().chain(&mut histogram.negative);
    heads.into_iter().chain(counts).for_each(|number| *number = change(*number));
    histogram.integer = false;
}

#[cfg(test)]
mod tests;
