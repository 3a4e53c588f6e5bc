//! What both servers hold: the kinds of series and values that answers have to show.

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Exemplar, Histogram, Labels, Span};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest};

/// Seconds since 1970 of the first samples; requests.txt speaks of the times after it.
pub(crate) const START_S: i64 = 1_700_000_000;

/// Everything, as one request. All within 20 minutes: Prometheus takes nothing much older than its newest sample.
pub(crate) fn request() -> WriteRequest {
    let mut series = vec![
        floats(&[("__name__", "up"), ("job", "api"), ("instance", "a:1")], every(15, 81, |_| 1.0)),
        floats(&[("__name__", "up"), ("job", "api"), ("instance", "b:1")], every(15, 81, |i| f64::from(i % 7 != 3))),
        floats(&[("__name__", "up"), ("job", "db"), ("instance", "c:2")], every(15, 20, |_| 1.0)),
        floats(
            &[("__name__", "http.requests"), ("größe", "5 µm"), ("a.b", "\"q\"\\\n\t<&>\u{7f}")],
            every(30, 40, f64::from),
        ),
        floats(&[("__name__", "odd"), ("kind", "values")], odd_values()),
        floats(
            &[("__name__", "short"), ("run", "7")],
            vec![(START_S * 1000 + 1, 0.1), (START_S * 1000 + 20_050, -0.0)],
        ),
        floats(&[("__name__", "gone")], vec![(START_S * 1000, 3.0), (START_S * 1000 + 15_000, tsq_core::stale_nan())]),
        with_histograms(&[("__name__", "latency"), ("job", "api")], exponential),
        with_histograms(&[("__name__", "payload"), ("job", "api")], custom),
    ];
    for code in ["200", "404", "500"] {
        let labels = [("__name__", "requests_total"), ("code", code), ("job", "api")];
        let rate: f64 = code.parse().expect("a number");
        let mut one = floats(&labels, every(15, 81, |i| f64::from(i) * rate));
        one.exemplars = (1..4).map(|i| exemplar(i, rate)).collect();
        series.push(one);
    }
    for (le, share) in [("0.1", 0.25), ("1", 0.5), ("10", 0.75), ("+Inf", 1.0)] {
        let labels = [("__name__", "wait_seconds_bucket"), ("le", le)];
        series.push(floats(&labels, every(15, 81, |i| (f64::from(i) * share).floor())));
    }
    WriteRequest { series, metadata: Vec::new() }
}

fn floats(labels: &[(&str, &str)], samples: Vec<(i64, f64)>) -> TimeSeries {
    let labels = Labels::from_pairs(labels.iter().copied()).expect("valid labels");
    TimeSeries { labels, samples, ..TimeSeries::default() }
}

fn every(seconds: i64, count: i32, value: impl Fn(i32) -> f64) -> Vec<(i64, f64)> {
    (0..count).map(|i| ((START_S + seconds * i64::from(i)) * 1000, value(i))).collect()
}

/// Values at the edges of how numbers are written.
fn odd_values() -> Vec<(i64, f64)> {
    let values = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        1e-6,
        9.999e-7,
        1e20,
        1e21,
        1.5e300,
        5e-324,
        f64::MAX,
        0.1,
        123_456_789.123_456_79,
        -1e-7,
    ];
    values.iter().enumerate().map(|(i, value)| (START_S * 1000 + 10_000 * i as i64 + 7 * i as i64, *value)).collect()
}

fn with_histograms(labels: &[(&str, &str)], make: impl Fn(u32) -> Histogram) -> TimeSeries {
    let mut series = floats(labels, Vec::new());
    series.histograms = (0..41).map(|i| ((START_S + 30 * i64::from(i)) * 1000, make(i))).collect();
    series
}

fn exponential(step: u32) -> Histogram {
    let n = f64::from(step);
    Histogram {
        schema: 1,
        zero_threshold: 0.75,
        zero_count: n,
        count: 10.0 * n + 3.0,
        sum: 7.5 * n - 1.0,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 3, length: 1 }],
        positive: vec![3.0 * n + 1.0, 0.0, n],
        negative_spans: vec![Span { offset: -1, length: 2 }],
        negative: vec![2.0 * n + 2.0, 3.0 * n],
        ..Histogram::default()
    }
}

fn custom(step: u32) -> Histogram {
    let n = f64::from(step);
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 6.0 * n + 1.0,
        sum: 9.5 * n,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive: vec![n, 2.0 * n + 1.0, 3.0 * n],
        custom_values: vec![0.5, 2.0],
        ..Histogram::default()
    }
}

fn exemplar(step: i32, value: f64) -> Exemplar {
    let id = format!("{step:04x}");
    let labels = Labels::from_pairs([("trace_id", id.as_str()), ("span", "a\"b")]).expect("valid labels");
    Exemplar { labels, value: value / 7.0 * 1e-6, time_ms: (START_S + 60 * i64::from(step)) * 1000 + 3 }
}
