//! Arithmetic of whole histograms.

use proptest::prelude::*;
use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Span};

use super::*;
use crate::kernels::{Note, Notes};

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

/// Positive buckets from index `offset` on; the sum is `count` as well.
fn positive(schema: i8, offset: i32, counts: &[f64]) -> Histogram {
    let count = counts.iter().sum();
    Histogram {
        schema,
        count,
        sum: count,
        positive_spans: vec![span(offset, counts.len() as u32)],
        positive: counts.to_vec(),
        ..Histogram::default()
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    Histogram { custom_values: bounds.to_vec(), ..positive(CUSTOM_BUCKETS_SCHEMA, 0, counts) }
}

fn with_zero(threshold: f64, count: f64, mut histogram: Histogram) -> Histogram {
    histogram.zero_threshold = threshold;
    histogram.zero_count = count;
    histogram.count += count;
    histogram
}

/// The mirror image: negative buckets instead of positive ones.
fn mirrored(mut histogram: Histogram) -> Histogram {
    histogram.negative_spans = std::mem::take(&mut histogram.positive_spans);
    histogram.negative = std::mem::take(&mut histogram.positive);
    histogram.sum = -histogram.sum;
    histogram
}

fn sum(a: &Histogram, b: &Histogram) -> Histogram {
    let mut sum = HistogramSum::new(a);
    sum.add(b).expect("both have one kind of buckets");
    sum.finish_compact()
}

fn difference(a: &Histogram, b: &Histogram) -> Histogram {
    let mut sum = HistogramSum::new(a);
    sum.sub(b).expect("both have one kind of buckets");
    sum.finish_compact()
}

fn quantile_of(phi: f64, histogram: &Histogram) -> f64 {
    quantile(phi, histogram, &mut Notes::default())
}

fn fraction_of(lower: f64, upper: f64, histogram: &Histogram) -> f64 {
    fraction(lower, upper, histogram, &mut Notes::default())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * (a.abs() + b.abs()) || a == b
}

#[test]
fn sums_take_the_coarser_schema() {
    // Schema 1 has two buckets where schema 0 has one: (1, 1.41] and (1.41, 2].
    let total = sum(&positive(1, 1, &[1.0, 2.0, 4.0]), &positive(0, 1, &[8.0]));
    assert_eq!(total.schema, 0);
    assert_eq!((&total.positive_spans[..], &total.positive[..]), (&[span(1, 2)][..], &[11.0, 4.0][..]));
    assert_eq!((total.count, total.sum), (15.0, 15.0));
}
