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

#[test]
fn sums_widen_the_zero_bucket_to_a_bucket_bound() {
    // A zero bucket up to 0.75 cuts the filled bucket (0.5, 1] of the other one: both take it in.
    let a = with_zero(0.75, 3.0, positive(0, 1, &[5.0]));
    let b = with_zero(0.25, 1.0, positive(0, -1, &[1.0, 2.0, 4.0]));
    for total in [sum(&a, &b), sum(&b, &a)] {
        assert_eq!((total.zero_threshold, total.zero_count), (1.0, 7.0));
        assert_eq!((&total.positive_spans[..], &total.positive[..]), (&[span(1, 1)][..], &[9.0][..]));
        assert_eq!(total.count, 16.0);
    }
    // The same on the other side of zero.
    let total = sum(&mirrored(a), &mirrored(b));
    assert_eq!((total.zero_threshold, total.zero_count, &total.negative[..]), (1.0, 7.0, &[9.0][..]));
}

#[test]
fn an_empty_bucket_does_not_widen_the_zero_bucket() {
    let total = sum(&with_zero(0.75, 3.0, positive(0, 1, &[5.0])), &positive(0, 0, &[0.0, 4.0]));
    assert_eq!((total.zero_threshold, total.zero_count), (0.75, 3.0));
    assert_eq!(total.positive, [9.0]);
}

#[test]
fn sums_of_custom_buckets_keep_the_common_bounds() {
    let a = custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0]);
    let mut total = HistogramSum::new(&a);
    let combined = total.add(&custom(&[2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0]));
    assert_eq!(combined, Ok(Combined { reset_collision: false, bounds_reconciled: true }));
    let total = total.finish();
    assert_eq!(total.custom_values, [2.0, 4.0]);
    assert_eq!(total.positive, [13.0, 53.0, 44.0]);
    // Nothing in common: one bucket is left.
    let total = sum(&a, &custom(&[7.0], &[1.0, 1.0]));
    assert_eq!((total.custom_values.len(), &total.positive[..]), (0, &[12.0][..]));
}

#[test]
fn exponential_and_custom_buckets_do_not_mix() {
    let mut total = HistogramSum::new(&positive(0, 0, &[1.0]));
    assert_eq!(total.add(&custom(&[1.0], &[1.0])), Err(IncompatibleSchemas));
    assert_eq!(total.finish(), positive(0, 0, &[1.0]));
}

#[test]
fn hints_of_sums() {
    use ResetHint::{Gauge, NotReset, Reset, Unknown};
    for (a, b, want, collision) in [
        (Reset, Reset, Reset, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
        (Unknown, Reset, Unknown, false),
        (NotReset, Unknown, Unknown, false),
    ] {
        let with = |hint| Histogram { reset_hint: hint, ..positive(0, 0, &[1.0]) };
        let mut total = HistogramSum::new(&with(a));
        let combined = total.add(&with(b)).expect("both are exponential");
        assert_eq!((total.finish().reset_hint, combined.reset_collision), (want, collision), "{a:?} {b:?}");
    }
}

#[test]
fn factors() {
    let mut histogram = with_zero(0.5, 2.0, positive(0, 1, &[4.0]));
    scale(&mut histogram, -0.5);
    assert_eq!((histogram.count, histogram.zero_count, histogram.positive[0]), (-3.0, -1.0, -2.0));
    assert_eq!(histogram.reset_hint, ResetHint::Gauge);
    divide(&mut histogram, -0.5);
    assert_eq!(histogram.positive, [4.0]);
    divide(&mut histogram, 0.0);
    assert_eq!((histogram.count, histogram.positive.len(), histogram.positive_spans.len()), (f64::INFINITY, 0, 0));
}

#[test]
fn compacting_drops_empty_buckets() {
    let mut histogram = positive(0, -2, &[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]);
    compact(&mut histogram);
    assert_eq!(
        (&histogram.positive_spans[..], &histogram.positive[..]),
        (&[span(-1, 1), span(2, 1)][..], &[1.0, 2.0][..])
    );
    let mut touching = positive(0, 1, &[1.0, 2.0]);
    touching.positive_spans = vec![span(1, 1), span(0, 0), span(0, 1)];
    assert!(equal(&touching, &positive(0, 1, &[1.0, 2.0])));
    compact(&mut touching);
    assert_eq!(touching.positive_spans, [span(1, 2)]);
}

#[test]
fn equality_is_about_data() {
    let a = positive(0, 0, &[1.0]);
    assert!(equal(&a, &Histogram { reset_hint: ResetHint::Gauge, integer: true, ..a.clone() }));
    assert!(!equal(&a, &positive(0, 1, &[1.0])));
    assert!(!equal(&a, &positive(1, 0, &[1.0])));
    assert!(!equal(&a, &positive(0, 0, &[1.0, 0.0])));
    assert!(!equal(&custom(&[1.0], &[1.0]), &custom(&[2.0], &[1.0])));
    let nan = Histogram { sum: f64::NAN, ..a };
    assert!(equal(&nan, &nan));
}

#[test]
fn resets_between_histograms() {
    let before = with_zero(0.25, 2.0, positive(1, 1, &[1.0, 2.0, 3.0, 4.0]));
    let reset = |now: &Histogram| detect_reset(now, &before);
    assert!(!reset(&before));
    assert!(!reset(&with_zero(0.25, 2.0, positive(1, 0, &[1.0, 1.0, 2.0, 3.0, 4.0, 5.0]))));
    // A bucket fell, a bucket vanished, the zero bucket fell; the count rose.
    assert!(reset(&with_zero(0.25, 2.0, positive(1, 1, &[9.0, 1.0, 3.0, 4.0]))));
    assert!(reset(&with_zero(0.25, 2.0, positive(1, 1, &[9.0, 9.0, 9.0]))));
    assert!(reset(&with_zero(0.25, 1.0, positive(1, 1, &[9.0, 9.0, 9.0, 9.0]))));
    // The count fell, though no bucket did.
    assert!(reset(&Histogram { count: 1.0, ..before.clone() }));
    // A coarser schema holds the same counts; a finer one cannot come without a reset.
    assert!(!reset(&with_zero(0.25, 2.0, positive(0, 1, &[3.0, 7.0]))));
    assert!(reset(&with_zero(0.25, 2.0, positive(0, 1, &[2.0, 8.0]))));
    assert!(reset(&with_zero(0.25, 2.0, positive(2, 1, &[9.0; 8]))));
    // A wider zero bucket holds the buckets it swallowed, whole ones only; a narrower one cannot come without a reset.
    let wide = |threshold, zero| with_zero(threshold, zero, positive(1, 3, &[3.0, 4.0]));
    assert!(!reset(&wide(2.0, 5.0)));
    assert!(reset(&wide(2.0, 4.0)));
    assert!(reset(&wide(1.7, 50.0)));
    assert!(reset(&with_zero(0.125, 2.0, positive(1, 1, &[9.0; 4]))));
    // The sender knows best.
    assert!(!reset(&Histogram { reset_hint: ResetHint::NotReset, ..positive(0, 0, &[1.0]) }));
    assert!(reset(&Histogram { reset_hint: ResetHint::Reset, ..before.clone() }));
}

#[test]
fn resets_between_custom_buckets() {
    let before = custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0]);
    assert!(!detect_reset(&custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 5.0]), &before));
    assert!(detect_reset(&custom(&[1.0, 2.0, 4.0], &[0.0, 3.0, 3.0, 5.0]), &before));
    assert!(!detect_reset(&custom(&[2.0, 3.0], &[3.0, 1.0, 6.0]), &before));
    assert!(detect_reset(&custom(&[2.0, 3.0], &[2.0, 8.0, 8.0]), &before));
    assert!(detect_reset(&positive(0, 0, &[100.0]), &before));
    assert!(detect_reset(&custom(&[1.0], &[100.0]), &positive(0, 0, &[1.0])));
}

#[test]
fn buckets_are_cut_at_the_zero_threshold() {
    let mut histogram = with_zero(0.75, 3.0, positive(0, 0, &[1.0, 2.0]));
    histogram.negative_spans = vec![span(0, 1)];
    histogram.negative = vec![4.0];
    let bounds: Vec<_> = histogram_buckets(&histogram).iter().map(|b| (b.lower, b.upper, b.count)).collect();
    assert_eq!(bounds, [(-1.0, -0.75, 4.0), (-0.75, 0.75, 3.0), (0.75, 1.0, 1.0), (1.0, 2.0, 2.0)]);
    let closed: Vec<_> = histogram_buckets(&histogram).iter().map(|b| (b.lower_inclusive, b.upper_inclusive)).collect();
    assert_eq!(closed, [(true, false), (true, true), (false, true), (false, true)]);
    let custom = histogram_buckets(&custom(&[1.0], &[1.0, 2.0]));
    assert_eq!((custom[0].lower, custom[0].upper, custom[0].lower_inclusive), (f64::NEG_INFINITY, 1.0, true));
    assert_eq!((custom[1].lower, custom[1].upper, custom[1].lower_inclusive), (1.0, f64::INFINITY, false));
}

#[test]
fn quantiles_of_exponential_buckets() {
    let histogram = positive(0, 1, &[4.0, 4.0]);
    // The middle of (1, 2] on a logarithmic scale is the root of 2.
    assert!(close(quantile_of(0.25, &histogram), 2f64.sqrt()));
    assert!(close(quantile_of(0.5, &histogram), 2.0));
    assert!(close(quantile_of(0.75, &histogram), 8f64.sqrt()));
    assert!(close(quantile_of(1.0, &histogram), 4.0));
    assert!(close(quantile_of(0.0, &histogram), 1.0));
    assert!(close(quantile_of(0.25, &mirrored(histogram.clone())), -8f64.sqrt()));
    assert_eq!(quantile_of(-0.1, &histogram), f64::NEG_INFINITY);
    assert_eq!(quantile_of(1.1, &histogram), f64::INFINITY);
    assert!(quantile_of(f64::NAN, &histogram).is_nan());
    assert!(quantile_of(0.5, &Histogram::default()).is_nan());
}

#[test]
fn quantiles_in_the_zero_bucket() {
    let histogram = with_zero(0.5, 8.0, positive(0, 1, &[2.0]));
    // Nothing is negative, so the zero bucket begins at 0.
    assert!(close(quantile_of(0.4, &histogram), 0.25));
    assert!(close(quantile_of(0.6, &mirrored(histogram.clone())), -0.25));
    let mut both = histogram;
    both.negative_spans = vec![span(1, 1)];
    both.negative = vec![2.0];
    both.count = 12.0;
    assert!(close(quantile_of(0.5, &both), 0.0));
    assert!(close(quantile_of(4.0 / 12.0, &both), -0.25));
}

#[test]
fn quantiles_of_custom_buckets() {
    let histogram = custom(&[2.0, 4.0], &[4.0, 4.0, 2.0]);
    assert!(close(quantile_of(0.2, &histogram), 1.0));
    assert!(close(quantile_of(0.6, &histogram), 3.0));
    assert_eq!(quantile_of(0.95, &histogram), 4.0);
    assert_eq!(quantile_of(0.1, &custom(&[-2.0, 4.0], &[4.0, 4.0])), -2.0);
}

#[test]
fn nan_observations() {
    // Two of ten observations are NaN: they count as larger than all others.
    let histogram = Histogram { count: 10.0, sum: f64::NAN, ..positive(0, 1, &[4.0, 4.0]) };
    let mut notes = Notes::default();
    assert!(close(quantile(0.2, &histogram, &mut notes), 2f64.sqrt()));
    assert!(matches!(notes.drain().collect::<Vec<_>>()[..], [Note::QuantileNanSkewed]));
    assert!(quantile(0.9, &histogram, &mut notes).is_nan());
    assert!(matches!(notes.drain().collect::<Vec<_>>()[..], [Note::QuantileNanResult]));
    assert!(close(fraction(f64::NEG_INFINITY, f64::INFINITY, &histogram, &mut notes), 0.8));
    assert!(matches!(notes.drain().collect::<Vec<_>>()[..], [Note::FractionNans]));
    // A NaN sum of observations of both infinities: no NaN among them, nothing to say.
    let infinities = Histogram { sum: f64::NAN, ..positive(0, 1, &[4.0, 4.0]) };
    assert!(close(quantile(0.25, &infinities, &mut notes), 2f64.sqrt()));
    assert!(notes.is_empty());
}

#[test]
fn fractions() {
    let histogram = positive(0, 1, &[4.0, 4.0]);
    assert!(close(fraction_of(1.0, 2.0, &histogram), 0.5));
    assert!(close(fraction_of(2f64.sqrt(), 8f64.sqrt(), &histogram), 0.5));
    assert_eq!(fraction_of(f64::NEG_INFINITY, f64::INFINITY, &histogram), 1.0);
    assert_eq!(fraction_of(2.0, 1.0, &histogram), 0.0);
    assert!(fraction_of(f64::NAN, 1.0, &histogram).is_nan());
    assert!(fraction_of(0.0, 1.0, &Histogram::default()).is_nan());
    let negative = mirrored(histogram.clone());
    assert!(close(fraction_of(-8f64.sqrt(), -2f64.sqrt(), &negative), 0.5));
    assert!(close(fraction_of(0.0, 0.25, &with_zero(0.5, 8.0, histogram)), 0.25));
    let custom = custom(&[2.0, 4.0], &[4.0, 4.0, 2.0]);
    assert!(close(fraction_of(1.0, 3.0, &custom), 0.4));
    assert!(close(fraction_of(4.0, f64::INFINITY, &custom), 0.2));
}

#[test]
fn moments() {
    let call = |name: &str, histogram: &Histogram| {
        let (_, function) = HISTOGRAM_FUNCTIONS.iter().find(|(n, _)| *n == name).expect("a known name");
        function(histogram)
    };
    let histogram = custom(&[0.0, 2.0, 4.0], &[0.0, 2.0, 2.0]);
    let histogram = Histogram { sum: 8.0, ..histogram };
    assert_eq!(call("histogram_avg", &histogram), 2.0);
    assert_eq!(call("histogram_count", &histogram), 4.0);
    assert_eq!(call("histogram_sum", &histogram), 8.0);
    // Observations at 1 and 3, two each.
    assert_eq!(call("histogram_stdvar", &histogram), 1.0);
    assert_eq!(call("histogram_stddev", &histogram), 1.0);
    // Observations at 0 and at the root of 8; the sum says that the mean is 1.
    let histogram = Histogram { sum: 2.0, ..with_zero(0.1, 1.0, positive(0, 2, &[1.0])) };
    assert!(close(call("histogram_stdvar", &histogram), (1.0 + (8f64.sqrt() - 1.0).powi(2)) / 2.0));
}

#[test]
fn trims_divide_buckets() {
    let trimmed = |histogram: &Histogram, at, keep| {
        let mut trimmed = histogram.clone();
        trim(&mut trimmed, at, keep);
        trimmed
    };
    let histogram = positive(0, 1, &[4.0, 8.0]);
    let below = trimmed(&histogram, 8f64.sqrt(), Keep::Below);
    assert!(close(below.count, 8.0) && close(below.positive[1], 4.0), "{below:?}");
    assert!(close(below.sum, 4.0 * 2f64.sqrt() + 4.0 * (2.0 * 8f64.sqrt()).sqrt()));
    let above = trimmed(&histogram, 2.0, Keep::Above);
    assert_eq!((above.count, &above.positive_spans[..], &above.positive[..]), (8.0, &[span(2, 1)][..], &[8.0][..]));
    // Nothing is lost: nothing is estimated.
    assert_eq!(trimmed(&histogram, 4.0, Keep::Below), histogram);
    assert_eq!(trimmed(&histogram, 0.0, Keep::Below).count, 0.0);

    let zero = with_zero(1.0, 4.0, positive(0, 1, &[4.0]));
    let below = trimmed(&zero, 0.25, Keep::Below);
    assert_eq!((below.zero_count, below.count, below.sum), (1.0, 1.0, 0.125));
    let above = trimmed(&zero, 0.25, Keep::Above);
    assert_eq!((above.zero_count, above.count), (3.0, 7.0));

    let negative = mirrored(positive(0, 1, &[4.0, 8.0]));
    assert!(close(trimmed(&negative, -8f64.sqrt(), Keep::Below).count, 4.0));

    let custom = custom(&[2.0, 4.0], &[4.0, 4.0, 2.0]);
    let below = trimmed(&custom, 1.0, Keep::Below);
    assert_eq!((below.count, below.sum), (2.0, 1.0));
    let above = trimmed(&custom, 5.0, Keep::Above);
    assert_eq!((above.count, above.sum), (2.0, 10.0));
    assert_eq!(trimmed(&custom, 5.0, Keep::Below).count, 8.0);
}

prop_compose! {
    fn exponential()(
        schema in -2_i8..4,
        offset in -6..6,
        counts in prop::collection::vec(0_u32..50, 1..8),
        negative_offset in -6..6,
        negative in prop::collection::vec(0_u32..50, 0..4),
        zero_threshold in prop_oneof![Just(0.0), Just(1e-8), Just(0.7)],
        zero in 0_u32..20,
    ) -> Histogram {
        // No bucket lies within the zero bucket, though one may reach into it.
        let outside = |offset: i32| if zero_threshold == 0.7 { offset.max(0) } else { offset };
        let numbers = |counts: &[u32]| counts.iter().map(|&count| f64::from(count)).collect::<Vec<_>>();
        let mut histogram = with_zero(zero_threshold, f64::from(zero), positive(schema, outside(offset), &numbers(&counts)));
        histogram.negative_spans = vec![span(outside(negative_offset), negative.len() as u32)];
        histogram.negative = numbers(&negative);
        histogram.count += histogram.negative.iter().sum::<f64>();
        histogram
    }
}

fn observations(histogram: &Histogram) -> f64 {
    histogram.zero_count + histogram.positive.iter().chain(&histogram.negative).sum::<f64>()
}

proptest! {
    #[test]
    fn sums_keep_every_observation(a in exponential(), b in exponential()) {
        let total = sum(&a, &b);
        prop_assert_eq!(total.count, a.count + b.count);
        prop_assert_eq!(observations(&total), observations(&a) + observations(&b));
        prop_assert!(equal(&total, &sum(&b, &a)));
    }

    #[test]
    fn subtracting_undoes_adding(a in exponential(), b in exponential()) {
        let total = sum(&a, &b);
        let rest = difference(&total, &b);
        // In the layout of the sum, what is left is `a`.
        let nothing = difference(&rest, &a);
        prop_assert_eq!((nothing.count, observations(&nothing)), (0.0, 0.0));
        prop_assert!(nothing.positive.is_empty() && nothing.negative.is_empty(), "{:?}", nothing);
    }

    #[test]
    fn growing_is_no_reset(a in exponential(), more in exponential()) {
        let mut grown = sum(&a, &more);
        grown.reset_hint = ResetHint::Unknown;
        prop_assert!(!detect_reset(&grown, &a));
        let shrunk = Histogram { count: a.count - 1.0, ..a.clone() };
        prop_assert!(detect_reset(&shrunk, &a));
    }

    #[test]
    fn quantiles_rise_with_phi(histogram in exponential(), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
        prop_assume!(histogram.count > 0.0);
        let (low, high) = (quantile_of(a.min(b), &histogram), quantile_of(a.max(b), &histogram));
        prop_assert!(low <= high + 1e-9 * high.abs(), "{} {}", low, high);
    }

    #[test]
    fn fractions_invert_quantiles(histogram in exponential(), phi in 0.001..0.999_f64) {
        let mut histogram = histogram;
        histogram.count -= histogram.zero_count;
        (histogram.zero_count, histogram.zero_threshold) = (0.0, 0.0);
        prop_assume!(histogram.count > 0.0);
        let value = quantile_of(phi, &histogram);
        let back = fraction_of(f64::NEG_INFINITY, value, &histogram);
        prop_assert!((back - phi).abs() < 1e-6, "{} {} {}", phi, value, back);
    }

    #[test]
    fn trims_share_the_observations(histogram in exponential(), at in -30.0..30.0_f64) {
        let mut histogram = histogram;
        histogram.zero_threshold = 0.0;
        let (mut below, mut above) = (histogram.clone(), histogram.clone());
        trim(&mut below, at, Keep::Below);
        trim(&mut above, at, Keep::Above);
        // The zero bucket has no width: at exactly 0 it belongs to both.
        prop_assert!(close(observations(&below) + observations(&above), observations(&histogram)) || at == 0.0);
    }
}
