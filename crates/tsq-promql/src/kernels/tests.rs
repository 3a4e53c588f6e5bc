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
