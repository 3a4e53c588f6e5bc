//! Functions over ranges.

use std::sync::Arc;

use proptest::prelude::*;
use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Span};

use super::*;

/// A range and its samples, in seconds for brevity.
struct Range {
    times: Vec<i64>,
    values: Vec<f64>,
    histogram_times: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
    start_ms: i64,
    end_ms: i64,
}

impl Range {
    fn new(start_s: i64, end_s: i64) -> Self {
        Self {
            times: Vec::new(),
            values: Vec::new(),
            histogram_times: Vec::new(),
            histograms: Vec::new(),
            start_ms: start_s * 1000,
            end_ms: end_s * 1000,
        }
    }

    fn floats(mut self, samples: &[(i64, f64)]) -> Self {
        self.times.extend(samples.iter().map(|(time_s, _)| time_s * 1000));
        self.values.extend(samples.iter().map(|(_, value)| value));
        self
    }

    fn histograms(mut self, samples: &[(i64, Histogram)]) -> Self {
        self.histogram_times.extend(samples.iter().map(|(time_s, _)| time_s * 1000));
        self.histograms.extend(samples.iter().map(|(_, histogram)| Arc::new(histogram.clone())));
        self
    }

    fn window(&self) -> Window<'_> {
        Window {
            times: &self.times,
            values: &self.values,
            histogram_times: &self.histogram_times,
            histograms: &self.histograms,
            starts: &[],
            histogram_starts: &[],
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            time_ms: self.end_ms,
        }
    }

    fn call_with(&self, name: &str, args: &[f64]) -> (Out, Vec<String>) {
        let mut notes = Notes::default();
        let out = (function(name).kernel)(&self.window(), args, &mut notes);
        (out, notes.iter().map(|note| note.text("m")).collect())
    }

    /// The float that a function makes of it without any note.
    fn float(&self, name: &str) -> f64 {
        let (out, notes) = self.call_with(name, &[]);
        assert_eq!(notes, Vec::<String>::new(), "{name}");
        float(&out)
    }
}

fn function(name: &str) -> &'static WindowFunction {
    WINDOW_FUNCTIONS.iter().find(|function| function.name == name).expect("a known name")
}

fn float(out: &Out) -> f64 {
    let Out::Float(value) = out else { panic!("{out:?} is no float") };
    *value
}

fn histogram(out: Out) -> Histogram {
    let Out::Histogram(histogram) = out else { panic!("{out:?} is no histogram") };
    *histogram
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs() + b.abs())
}

#[test]
fn rates_are_extrapolated_to_the_edges() {
    // 15 s apart, edges 10 s and 5 s away: nearer than 1.1 intervals, so 45 s stand for 60.
    let range = Range::new(0, 60).floats(&[(10, 100.0), (25, 103.0), (40, 106.0), (55, 109.0)]);
    assert!(close(range.float("increase"), 12.0));
    assert!(close(range.float("rate"), 0.2));
    assert!(close(range.float("delta"), 12.0));
}

#[test]
fn far_edges_are_approached_by_half_an_interval() {
    // The series begins 100 s after the start of the range and ends 100 s before its end.
    let range = Range::new(0, 240).floats(&[(100, 100.0), (120, 102.0), (140, 104.0)]);
    assert!(close(range.float("increase"), 4.0 * 60.0 / 40.0));
    assert!(close(range.float("rate"), 6.0 / 240.0));
}

#[test]
fn counters_are_not_extended_below_zero() {
    // At 0.1 per second the counter was zero 5 s before its first sample; a gauge may have been anything.
    let range = Range::new(0, 60).floats(&[(20, 0.5), (40, 2.5), (60, 4.5)]);
    assert!(close(range.float("increase"), 4.0 * 45.0 / 40.0));
    assert!(close(range.float("delta"), 4.0 * 60.0 / 40.0));
}

#[test]
fn resets_of_counters_are_made_up_for() {
    let range = Range::new(0, 40).floats(&[(10, 8.0), (20, 10.0), (30, 1.0), (40, 3.0)]);
    // 2 before the reset, 3 after it, over 30 s; extended by 10 s to the left.
    assert!(close(range.float("increase"), 5.0 * 40.0 / 30.0));
    assert!(close(range.float("delta"), -5.0 * 40.0 / 30.0));
    assert_eq!(range.float("resets"), 1.0);
    assert_eq!(range.float("changes"), 3.0);
    assert!(close(range.float("irate"), 0.2));
    assert!(close(range.float("idelta"), 2.0));
    let at_end = Range::new(0, 40).floats(&[(20, 10.0), (30, 1.0)]);
    assert!(close(at_end.float("irate"), 0.1));
    assert!(close(at_end.float("idelta"), -9.0));
}

#[test]
fn single_samples_do_not_move() {
    let range = Range::new(0, 60).floats(&[(30, 1.0)]);
    for name in ["rate", "increase", "delta", "irate", "idelta", "deriv", "predict_linear"] {
        assert_eq!(range.call_with(name, &[1.0]), (Out::None, vec![]), "{name}");
    }
    assert_eq!(range.float("resets"), 0.0);
}

#[test]
fn empty_ranges_have_no_result() {
    let range = Range::new(0, 60);
    for function in WINDOW_FUNCTIONS {
        for kernel in [Some(function.kernel), function.anchored, function.smoothed].into_iter().flatten() {
            let mut notes = Notes::default();
            assert_eq!(kernel(&range.window(), &[0.5, 0.5], &mut notes), Out::None, "{}", function.name);
            assert!(notes.is_empty(), "{}", function.name);
        }
    }
}

#[test]
fn changes_take_nan_for_equal() {
    let nan = f64::NAN;
    let range = Range::new(0, 60).floats(&[(1, 1.0), (2, nan), (3, nan), (4, 1.0), (5, 1.0)]);
    assert_eq!(range.float("changes"), 2.0);
}

#[test]
fn aggregations_over_floats() {
    let range = Range::new(0, 60).floats(&[(10, 4.0), (20, 1.0), (30, 4.0), (40, 1.0), (50, 5.0)]);
    for (name, want) in [
        ("absent_over_time", 1.0),
        ("avg_over_time", 3.0),
        ("count_over_time", 5.0),
        ("first_over_time", 4.0),
        ("last_over_time", 5.0),
        ("mad_over_time", 1.0),
        ("max_over_time", 5.0),
        ("min_over_time", 1.0),
        ("present_over_time", 1.0),
        ("stdvar_over_time", 2.8),
        ("stddev_over_time", 2.8_f64.sqrt()),
        ("sum_over_time", 15.0),
        ("ts_of_first_over_time", 10.0),
        ("ts_of_last_over_time", 50.0),
        ("ts_of_max_over_time", 50.0),
        // The later of two equal minima.
        ("ts_of_min_over_time", 40.0),
    ] {
        assert!(close(range.float(name), want), "{name} {}", range.float(name));
    }
    assert!(WINDOW_FUNCTIONS.is_sorted_by_key(|function| function.name));
}

#[test]
fn quantiles_over_time() {
    let range = Range::new(0, 60).floats(&[(10, 4.0), (20, 1.0), (30, 2.0)]);
    assert_eq!(range.call_with("quantile_over_time", &[0.75]), (Out::Float(3.0), vec![]));
    assert_eq!(
        range.call_with("quantile_over_time", &[1.5]),
        (
            Out::Float(f64::INFINITY),
            vec!["PromQL warning: quantile value should be between 0 and 1, got 1.5".to_owned()]
        )
    );
    let nan = range.call_with("mad_over_time", &[]);
    assert_eq!(nan, (Out::Float(1.0), vec![]));
    let nan = Range::new(0, 60).floats(&[(10, f64::NAN), (20, 1.0)]).call_with("mad_over_time", &[]);
    assert!(float(&nan.0).is_nan());
}

#[test]
fn trends() {
    // 3 per 10 s, exactly; the line is at 1 at time 0.
    let range = Range::new(0, 60).floats(&[(10, 4.0), (20, 7.0), (30, 10.0), (50, 16.0)]);
    assert!(close(range.float("deriv"), 0.3));
    assert!(close(float(&range.call_with("predict_linear", &[40.0]).0), 31.0));
    let constant = Range::new(0, 60).floats(&[(10, 4.0), (20, 4.0)]);
    assert_eq!(constant.float("deriv"), 0.0);
    assert_eq!(float(&constant.call_with("predict_linear", &[1e9]).0), 4.0);
    let infinite = Range::new(0, 60).floats(&[(10, f64::INFINITY), (20, f64::INFINITY)]);
    assert!(infinite.float("deriv").is_nan());
}

#[test]
fn predictions_start_at_the_evaluation_time() {
    let range = Range::new(0, 60).floats(&[(10, 1.0), (20, 2.0)]);
    // `offset 40s`: the range ends 40 s before the evaluation.
    let window = Window { time_ms: 100_000, ..range.window() };
    let out = (function("predict_linear").kernel)(&window, &[10.0], &mut Notes::default());
    assert!(close(float(&out), 11.0));
}

#[test]
fn smoothing_follows_level_and_slope() {
    let range = Range::new(0, 60).floats(&[(10, 1.0), (20, 2.0), (30, 4.0)]);
    // Level 1, slope 1; then 0.5 * 2 + 0.5 * (1 + 1) = 2; slope 0.5 * (2 - 1) + 0.5 * 1 = 1; 0.5 * 4 + 0.5 * 3 = 3.5.
    assert_eq!(float(&range.call_with("double_exponential_smoothing", &[0.5, 0.5]).0), 3.5);
    assert_eq!(check_smoothing_factors(0.5, 0.5), Ok(()));
    assert_eq!(
        check_smoothing_factors(0.5, 1.0).unwrap_err(),
        "invalid trend factor. Expected: 0 < tf < 1, got: 1.000000"
    );
    assert!(check_smoothing_factors(0.0, 0.5).unwrap_err().starts_with("invalid smoothing factor"));
}

/// A histogram with one bucket, (0.5, 1].
fn counter(count: f64) -> Histogram {
    Histogram {
        count,
        sum: count / 2.0,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive: vec![count],
        ..Histogram::default()
    }
}

fn gauge(count: f64) -> Histogram {
    Histogram { reset_hint: ResetHint::Gauge, ..counter(count) }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: counts.iter().sum(),
        custom_values: bounds.to_vec(),
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive: counts.to_vec(),
        ..Histogram::default()
    }
}

#[test]
fn rates_of_histograms() {
    let range = Range::new(0, 40).histograms(&[
        (10, counter(8.0)),
        (20, counter(10.0)),
        (30, counter(1.0)),
        (40, counter(3.0)),
    ]);
    let (out, notes) = range.call_with("increase", &[]);
    let increase = histogram(out);
    assert_eq!(notes, Vec::<String>::new());
    assert!(close(increase.count, 5.0 * 40.0 / 30.0));
    assert!(close(increase.positive[0], increase.count));
    assert!(close(increase.sum, increase.count / 2.0));
    assert_eq!(increase.reset_hint, ResetHint::Gauge);
    let rate = histogram(range.call_with("rate", &[]).0);
    assert!(close(rate.count, increase.count / 40.0));
    assert_eq!(range.float("resets"), 1.0);
    assert_eq!(range.float("changes"), 3.0);
    let (out, notes) = range.call_with("delta", &[]);
    assert!(close(histogram(out).count, -5.0 * 40.0 / 30.0));
    assert_eq!(notes, ["PromQL warning: this native histogram metric is not a gauge: \"m\""]);
    let irate = histogram(range.call_with("irate", &[]).0);
    assert!(close(irate.count, 0.2));
}

#[test]
fn rates_of_gauge_histograms_are_noted() {
    let range = Range::new(0, 40).histograms(&[(10, gauge(1.0)), (40, gauge(7.0))]);
    for name in ["rate", "increase", "irate"] {
        let (out, notes) = range.call_with(name, &[]);
        assert!(histogram(out).count > 0.0);
        assert_eq!(notes, ["PromQL warning: this native histogram metric is not a counter: \"m\""], "{name}");
    }
    for name in ["delta", "idelta"] {
        assert_eq!(range.call_with(name, &[]).1, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_reset_after_the_first_histogram_hides_its_kind() {
    let range = Range::new(0, 30).histograms(&[
        (10, counter(8.0)),
        (20, custom(&[1.0], &[2.0, 0.0])),
        (30, custom(&[1.0], &[5.0, 1.0])),
    ]);
    let (out, notes) = range.call_with("increase", &[]);
    assert_eq!(notes, Vec::<String>::new());
    let increase = histogram(out);
    assert_eq!((increase.schema, increase.positive.len()), (CUSTOM_BUCKETS_SCHEMA, 2));
    let range = Range::new(0, 30).histograms(&[(20, custom(&[1.0], &[2.0, 0.0])), (30, counter(8.0))]);
    let (out, notes) = range.call_with("delta", &[]);
    assert_eq!(out, Out::None);
    assert!(notes[0].contains("exponential and custom buckets"), "{notes:?}");
}

#[test]
fn rates_reconcile_custom_bounds() {
    let range = Range::new(0, 20)
        .histograms(&[(10, custom(&[1.0, 2.0, 4.0], &[1.0, 1.0, 1.0])), (20, custom(&[2.0, 4.0], &[5.0, 6.0]))]);
    let (out, notes) = range.call_with("increase", &[]);
    let increase = histogram(out);
    assert_eq!(increase.custom_values, [2.0, 4.0]);
    assert!(close(increase.positive[0] / increase.positive[1], 3.0 / 5.0));
    assert_eq!(notes, ["PromQL info: mismatched custom buckets were reconciled during subtraction"]);
}

#[test]
fn mixed_ranges() {
    let range = Range::new(0, 60).floats(&[(10, 1.0), (30, 3.0)]).histograms(&[(20, counter(2.0)), (40, counter(4.0))]);
    let mixed = ["PromQL warning: encountered a mix of histograms and floats for metric name \"m\""];
    for name in ["rate", "increase", "delta", "irate", "idelta", "avg_over_time", "sum_over_time"] {
        assert_eq!(range.call_with(name, &[]), (Out::None, mixed.map(str::to_owned).to_vec()), "{name}");
    }
    let ignored =
        "PromQL info: ignored histograms in a range containing both floats and histograms for metric name \"m\"";
    for (name, want) in [("max_over_time", 3.0), ("stdvar_over_time", 1.0), ("deriv", 0.1)] {
        let (out, notes) = range.call_with(name, &[]);
        assert!(close(float(&out), want), "{name}");
        assert_eq!(notes, [ignored], "{name}");
    }
    assert_eq!(range.float("count_over_time"), 4.0);
    assert_eq!(range.float("resets"), 3.0);
    assert_eq!(range.float("changes"), 3.0);
    assert_eq!(range.float("first_over_time"), 1.0);
    assert_eq!(histogram(range.call_with("last_over_time", &[]).0), counter(4.0));
    assert_eq!(range.float("ts_of_last_over_time"), 40.0);
}

#[test]
fn sums_and_means_of_histograms_over_time() {
    let range = Range::new(0, 60).histograms(&[(10, counter(1.0)), (20, counter(5.0)), (30, counter(6.0))]);
    let sum = histogram(range.call_with("sum_over_time", &[]).0);
    assert_eq!((sum.count, sum.sum, &sum.positive[..]), (12.0, 6.0, &[12.0][..]));
    let mean = histogram(range.call_with("avg_over_time", &[]).0);
    assert_eq!((mean.count, mean.sum, &mean.positive[..]), (4.0, 2.0, &[4.0][..]));
    for name in ["min_over_time", "quantile_over_time", "stddev_over_time"] {
        assert_eq!(range.call_with(name, &[2.0]), (Out::None, vec![]), "{name}");
    }
}

/// Calls the variant of a function for an extended range.
fn extended(range: &Range, name: &str, smoothed: bool) -> (Out, Notes) {
    let mut notes = Notes::default();
    let variants = function(name);
    let kernel = if smoothed { variants.smoothed } else { variants.anchored };
    let out = kernel.expect("a variant for this range")(&range.window(), &[], &mut notes);
    (out, notes)
}

#[test]
fn anchored_ranges_count_from_the_sample_before() {
    let range = Range::new(30, 60).floats(&[(5, 1.0), (20, 10.0), (40, 12.0), (50, 2.0)]);
    assert_eq!(extended(&range, "increase", false).0, Out::Float(4.0));
    assert_eq!(extended(&range, "rate", false).0, Out::Float(4.0 / 30.0));
    assert_eq!(extended(&range, "delta", false).0, Out::Float(-8.0));
    assert_eq!(extended(&range, "resets", false).0, Out::Float(1.0));
    assert_eq!(extended(&range, "changes", false).0, Out::Float(2.0));
    let before = Range::new(30, 60).floats(&[(5, 1.0), (30, 10.0)]);
    for name in ["increase", "resets", "changes"] {
        assert_eq!(extended(&before, name, false).0, Out::None, "{name}");
    }
    assert_eq!(
        extended_floats(&range.window(), false),
        (vec![30_000, 40_000, 50_000, 60_000], vec![10.0, 12.0, 2.0, 2.0])
    );
}

#[test]
fn the_anchor_is_the_last_sample_of_any_kind() {
    let range = Range::new(30, 60).floats(&[(20, 10.0), (40, 10.0)]).histograms(&[(25, counter(1.0))]);
    // Histogram to float; the float at 20 s is left out.
    assert_eq!(extended(&range, "changes", false).0, Out::Float(1.0));
    let range = Range::new(30, 60).floats(&[(27, 10.0), (40, 10.0)]).histograms(&[(25, counter(1.0))]);
    assert_eq!(extended(&range, "changes", false).0, Out::Float(0.0));
}

#[test]
fn smoothed_ranges_interpolate_at_the_edges() {
    let range = Range::new(30, 60).floats(&[(20, 10.0), (40, 12.0), (50, 20.0), (70, 22.0)]);
    // 11 at 30 s, 21 at 60 s.
    assert_eq!(extended(&range, "increase", true).0, Out::Float(10.0));
    assert_eq!(extended_floats(&range.window(), true).1, [11.0, 12.0, 20.0, 21.0]);
    // The counter rose from 0 to 4 between 50 s and 70 s, and had 20 before.
    let reset = Range::new(30, 60).floats(&[(20, 10.0), (40, 12.0), (50, 20.0), (70, 4.0)]);
    assert_eq!(extended(&reset, "increase", true).0, Out::Float(2.0 - 11.0 + 20.0));
    assert_eq!(extended(&reset, "delta", true).0, Out::Float(12.0 - 11.0));
    let after = Range::new(30, 60).floats(&[(70, 1.0), (80, 2.0)]);
    assert_eq!(extended(&after, "increase", true).0, Out::None);
}

#[test]
fn extended_ranges_of_histograms() {
    let samples = [(20, counter(10.0)), (40, counter(12.0)), (50, counter(20.0)), (70, counter(4.0))];
    let range = Range::new(30, 60).histograms(&samples);
    let smoothed = histogram(extended(&range, "increase", true).0);
    assert!(close(smoothed.count, 11.0), "{}", smoothed.count);
    assert!(close(smoothed.positive[0], 11.0));
    let anchored = Range::new(30, 60).histograms(&samples[..3]);
    assert!(close(histogram(extended(&anchored, "increase", false).0).count, 10.0));
    let (out, notes) = extended(&anchored, "delta", false);
    assert!(close(histogram(out).count, 10.0));
    assert_eq!(notes.iter().count(), 1);
    let mixed = Range::new(30, 60).histograms(&[(20, counter(1.0)), (40, custom(&[1.0], &[1.0]))]);
    assert_eq!(extended(&mixed, "increase", false).0, Out::None);
}

#[test]
fn smoothed_instants() {
    let mut notes = Notes::default();
    let mut at = |range: &Range| smoothed_instant(&range.window(), &mut notes);
    let samples = [(10, 4.0), (30, 8.0)];
    assert_eq!(at(&Range::new(0, 15).floats(&samples)), Out::Float(5.0));
    assert_eq!(at(&Range::new(0, 30).floats(&samples)), Out::Float(8.0));
    assert_eq!(at(&Range::new(0, 31).floats(&samples)), Out::Float(8.0));
    assert_eq!(at(&Range::new(0, 9).floats(&samples)), Out::None);
    let samples = [(10, counter(4.0)), (30, counter(8.0))];
    assert_eq!(histogram(at(&Range::new(0, 15).histograms(&samples))).count, 5.0);
    assert_eq!(histogram(at(&Range::new(0, 40).histograms(&samples))).count, 8.0);
    let fell = [(10, counter(8.0)), (30, counter(4.0))];
    assert_eq!(histogram(at(&Range::new(0, 15).histograms(&fell))).count, 1.0);
    let gauges = [(10, gauge(8.0)), (30, gauge(4.0))];
    assert_eq!(histogram(at(&Range::new(0, 15).histograms(&gauges))).count, 7.0);
    assert!(notes.is_empty());
}

fn any_span() -> impl Strategy<Value = Span> {
    let offset = prop_oneof![8 => -5..5, 1 => any::<i32>()];
    let length = prop_oneof![8 => 0_u32..4, 1 => any::<u32>()];
    (offset, length).prop_map(|(offset, length)| Span { offset, length })
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![6 => (0_u32..20).prop_map(f64::from), 2 => -3.0..3.0_f64, 1 => any::<f64>(), 1 => Just(f64::NAN)]
}

prop_compose! {
    fn any_histogram()(
        schema in prop_oneof![6 => -4_i8..=8, 3 => Just(CUSTOM_BUCKETS_SCHEMA), 1 => any::<i8>()],
        hint in 0_u8..4,
        heads in prop::array::uniform4(any_number()),
        positive_spans in prop::collection::vec(any_span(), 0..4),
        negative_spans in prop::collection::vec(any_span(), 0..3),
        positive in prop::collection::vec(any_number(), 0..8),
        negative in prop::collection::vec(any_number(), 0..5),
        custom_values in prop::collection::vec(any_number(), 0..4),
    ) -> Histogram {
        let [zero_threshold, zero_count, count, sum] = heads;
        Histogram {
            schema,
            reset_hint: ResetHint::from_u8(hint).unwrap(),
            zero_threshold, zero_count, count, sum,
            positive_spans, negative_spans, positive, negative, custom_values,
            integer: false,
        }
    }
}

proptest! {
    /// Stored histograms are checked when they come in, but a damaged or foreign file must not bring a query down.
    #[test]
    fn kernels_survive_any_window(
        floats in prop::collection::btree_map(-50_i64..150, any_number(), 0..6),
        histograms in prop::collection::btree_map(-50_i64..150, any_histogram(), 0..6),
        args in prop::array::uniform2(any_number()),
    ) {
        let floats: Vec<_> = floats.into_iter().collect();
        let histograms: Vec<_> = histograms.into_iter().collect();
        for range in [
            Range::new(0, 100).floats(&floats),
            Range::new(0, 100).histograms(&histograms),
            Range::new(0, 100).floats(&floats).histograms(&histograms),
        ] {
            let window = range.window();
            let mut notes = Notes::default();
            for function in WINDOW_FUNCTIONS {
                for kernel in [Some(function.kernel), function.anchored, function.smoothed].into_iter().flatten() {
                    let out = kernel(&window, &args, &mut notes);
                    // Kernels do not make up samples.
                    prop_assert!(out == Out::None || !(range.times.is_empty() && range.histogram_times.is_empty()));
                }
            }
            smoothed_instant(&window, &mut notes);
            extended_floats(&window, true);
            prop_assert!(notes.iter().all(|note| note.text("m").starts_with("PromQL ")));
        }
    }

    #[test]
    fn histograms_of_any_shape_are_survived(
        a in any_histogram(), b in any_histogram(), x in any_number(), y in any_number(),
    ) {
        use crate::ast::BinaryOp;
        use binary::Operand;
        let mut notes = Notes::default();
        for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::TrimLower, BinaryOp::TrimUpper] {
            binary::arithmetic(op, Operand::Histogram(&a), Operand::Histogram(&b), &mut notes);
            binary::arithmetic(op, Operand::Histogram(&a), Operand::Float(x), &mut notes);
            binary::arithmetic(op, Operand::Float(x), Operand::Histogram(&a), &mut notes);
        }
        prop_assert!(histogram::equal(&a, &a) || a.zero_threshold.is_nan() || a.custom_values.iter().any(|v| v.is_nan()));
        histogram::detect_reset(&a, &b);
        histogram::quantile(x, &a, &mut notes);
        histogram::fraction(x, y, &a, &mut notes);
        for (_, function) in histogram::HISTOGRAM_FUNCTIONS {
            function(&a);
        }
        let mut compacted = a;
        histogram::compact(&mut compacted);
        prop_assert!(!compacted.positive.contains(&0.0));
    }

    /// Without resets and with samples on both edges, an increase is what the counter rose by.
    #[test]
    fn increases_add_up(steps in prop::collection::vec(0_u32..100, 1..20)) {
        let mut value = 1e6;
        let mut samples = vec![(0, value)];
        for (index, step) in steps.iter().enumerate() {
            value += f64::from(*step);
            samples.push((index as i64 + 1, value));
        }
        let range = Range::new(0, steps.len() as i64).floats(&samples);
        let want = f64::from(steps.iter().sum::<u32>());
        for smoothed in [false, true] {
            prop_assert!(close(float(&extended(&range, "increase", smoothed).0), want));
        }
        prop_assert!(close(range.float("increase"), want));
    }
}
