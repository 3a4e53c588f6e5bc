//! What the writers send: batches whose every sample says which batch it belongs to.

use tsq_core::{Histogram, Labels, Span};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, encode_v1};

/// Float series of a batch; a histogram series comes on top.
pub const FLOATS: u64 = 5;

/// Samples of a batch.
pub const PARTS: u64 = FLOATS + 1;

/// All samples of a batch, one bit each.
pub const WHOLE: u8 = (1 << PARTS) - 1;

/// Batches after which a writer goes on with new series.
pub const ERA: u64 = 256;

/// Names of the metrics.
pub const METRICS: [&str; 2] = ["kill_value", "kill_histogram"];

const START_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// When queries are evaluated: after all samples.
pub const QUERY_TIME_S: i64 = (START_MS + 20 * DAY_MS) / 1000;
/// How far queries look back: before all samples.
pub const QUERY_RANGE: &str = "60d";

/// When batch `number` was measured. Every seventh one comes very late.
pub fn time_of(number: u64) -> i64 {
    let late_ms = if number % 7 == 3 { 30 * DAY_MS } else { 0 };
    START_MS + number as i64 * 250 - late_ms
}

/// The value of one sample; histograms carry it as their sum.
pub fn value_of(writer: u64, number: u64, part: u64) -> f64 {
    ((writer << 40) + number * PARTS + part) as f64
}

/// The batch number in a value of this writer and part, if it is one.
pub fn number_of(value: f64, writer: u64, part: u64) -> Option<u64> {
    let number = (value as u64).checked_sub((writer << 40) + part)? / PARTS;
    (value_of(writer, number, part) == value).then_some(number)
}

/// Batch `number` of a writer, encoded.
pub fn encoded(writer: u64, number: u64) -> Vec<u8> {
    let time_ms = time_of(number);
    let mut series: Vec<TimeSeries> = (0..FLOATS)
        .map(|part| TimeSeries {
            labels: labels(METRICS[0], writer, number, part),
            samples: vec![(time_ms, value_of(writer, number, part))],
            ..TimeSeries::default()
        })
        .collect();
    series.push(TimeSeries {
        labels: labels(METRICS[1], writer, number, FLOATS),
        histograms: vec![(time_ms, histogram(value_of(writer, number, FLOATS)))],
        ..TimeSeries::default()
    });
    encode_v1(&WriteRequest { series, ..WriteRequest::default() })
}

fn labels(metric: &str, writer: u64, number: u64, part: u64) -> Labels {
    let [writer, era, part] = [writer, number / ERA, part].map(|number| number.to_string());
    let pairs = [("__name__", metric), ("writer", &writer), ("era", &era), ("part", &part)];
    Labels::from_pairs(pairs).expect("the labels are good")
}

fn histogram(sum: f64) -> Histogram {
    Histogram {
        schema: 2,
        integer: true,
        zero_threshold: 0.001,
        count: 6.0,
        sum,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive: vec![1.0, 2.0, 3.0],
        ..Histogram::default()
    }
}
