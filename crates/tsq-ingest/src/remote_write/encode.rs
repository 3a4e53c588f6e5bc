//! Encoding of requests, for tests, benches and generated workloads.

use std::collections::HashMap;

use tsq_core::{Exemplar, Histogram, Labels, Metadata, Span};

use super::decode::METRIC_TYPES;
use crate::protobuf::{VARINT, Writer, key, zigzag};
use crate::remote_read::has_integer_counts;

/// A request to encode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteRequest {
    /// The series, in order.
    pub series: Vec<TimeSeries>,
    /// What is known about metrics. 2.0 sends it with the series of that name or family.
    pub metadata: Vec<Metadata>,
}

/// One series of a [`WriteRequest`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeSeries {
    /// The labels, metric name among them.
    pub labels: Labels,
    /// Times in milliseconds and values.
    pub samples: Vec<(i64, f64)>,
    /// Times in milliseconds and histograms.
    pub histograms: Vec<(i64, Histogram)>,
    /// Start times of the first samples, for 2.0; 0 is unknown.
    pub starts: Vec<i64>,
    /// Start times of the first histograms, for 2.0; 0 is unknown.
    pub histogram_starts: Vec<i64>,
    /// Exemplars.
    pub exemplars: Vec<Exemplar>,
}

/// Encodes a `prometheus.WriteRequest`, snappy-compressed.
pub fn encode_v1(request: &WriteRequest) -> Vec<u8> {
    let mut body = Writer::default();
    for series in &request.series {
        body.message(1, |out| {
            put_labels(out, &series.labels);
            put_samples(out, 2, series, &[]);
            for exemplar in &series.exemplars {
                out.message(3, |out| {
                    put_labels(out, &exemplar.labels);
                    put_exemplar(out, exemplar);
                });
            }
            put_histograms(out, 4, series, &[]);
        });
    }
    for metadata in &request.metadata {
        body.message(3, |out| {
            out.varint(1, metric_type(metadata));
            out.bytes(2, metadata.metric.as_bytes());
            out.bytes(4, metadata.help.as_bytes());
            out.bytes(5, metadata.unit.as_bytes());
        });
    }
    compress(&body.0)
}

/// Encodes an `io.prometheus.write.v2.Request`, snappy-compressed.
pub fn encode_v2(request: &WriteRequest) -> Vec<u8> {
    let mut symbols = Symbols::default();
    symbols.reference("");
    let mut all = Writer::default();
    for series in &request.series {
        all.message(5, |out| {
            put_references(out, &series.labels, &mut symbols);
            put_samples(out, 2, series, &series.starts);
            put_histograms(out, 3, series, &series.histogram_starts);
            for exemplar in &series.exemplars {
                out.message(4, |out| {
                    put_references(out, &exemplar.labels, &mut symbols);
                    put_exemplar(out, exemplar);
                });
            }
            if let Some(metadata) = metadata_of(&series.labels, &request.metadata) {
                out.message(5, |out| {
                    out.varint(1, metric_type(metadata));
                    out.varint(3, u64::from(symbols.reference(&metadata.help)));
                    out.varint(4, u64::from(symbols.reference(&metadata.unit)));
                });
            }
        });
    }
    let mut body = Writer::default();
    for symbol in &symbols.list {
        body.bytes(4, symbol.as_bytes());
    }
    body.0.extend_from_slice(&all.0);
    compress(&body.0)
}

fn compress(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("a request to encode is below 4 GiB")
}

/// The metadata of a series: by its name, or by the family that a histogram or summary series belongs to.
fn metadata_of<'a>(labels: &Labels, all: &'a [Metadata]) -> Option<&'a Metadata> {
    let name = labels.metric_name();
    let parts = ["", "_bucket", "_sum", "_count", "_gsum", "_gcount"];
    let families = parts.iter().filter_map(|part| name.strip_suffix(part));
    families.filter_map(|family| all.iter().find(|metadata| metadata.metric == family)).next()
}

fn metric_type(metadata: &Metadata) -> u64 {
    METRIC_TYPES.iter().position(|name| *name == metadata.metric_type).unwrap_or(0) as u64
}

pub(crate) fn put_labels(out: &mut Writer, labels: &Labels) {
    for (name, value) in labels.iter() {
        out.message(1, |out| {
            out.bytes(1, name.as_bytes());
            out.bytes(2, value.as_bytes());
        });
    }
}

fn put_references(out: &mut Writer, labels: &Labels, symbols: &mut Symbols) {
    out.message(1, |out| {
        for (name, value) in labels.iter() {
            out.raw_varint(u64::from(symbols.reference(name)));
            out.raw_varint(u64::from(symbols.reference(value)));
        }
    });
}

fn put_samples(out: &mut Writer, field: u32, series: &TimeSeries, starts: &[i64]) {
    for (index, &(time_ms, value)) in series.samples.iter().enumerate() {
        out.message(field, |out| {
            put_sample(out, time_ms, value);
            out.varint(3, starts.get(index).map_or(0, |start| *start as u64));
        });
    }
}

pub(crate) fn put_sample(out: &mut Writer, time_ms: i64, value: f64) {
    out.double(1, value);
    out.varint(2, time_ms as u64);
}

/// The value and the time, which have the same numbers in both versions.
fn put_exemplar(out: &mut Writer, exemplar: &Exemplar) {
    out.double(2, exemplar.value);
    out.varint(3, exemplar.time_ms as u64);
}

fn put_histograms(out: &mut Writer, field: u32, series: &TimeSeries, starts: &[i64]) {
    for (index, (time_ms, histogram)) in series.histograms.iter().enumerate() {
        out.message(field, |out| {
            put_histogram(out, *time_ms, histogram);
            out.varint(17, starts.get(index).map_or(0, |start| *start as u64));
        });
    }
}

pub(crate) fn put_histogram(out: &mut Writer, time_ms: i64, h: &Histogram) {
    let integer = has_integer_counts(h);
    if integer {
        // Zero too: the count's type is what says that this is an integer histogram.
        out.raw_varint(u64::from(key(1, VARINT)));
        out.raw_varint(h.count as u64);
        out.varint(6, h.zero_count as u64);
    } else {
        out.raw_double(2, h.count);
        out.raw_double(7, h.zero_count);
    }
    out.double(3, h.sum);
    out.varint(4, zigzag(i64::from(h.schema)));
    out.double(5, h.zero_threshold);
    put_side(out, 8, &h.negative_spans, &h.negative, integer);
    put_side(out, 11, &h.positive_spans, &h.positive, integer);
    out.varint(14, h.reset_hint as u64);
    out.varint(15, time_ms as u64);
    if !h.custom_values.is_empty() {
        out.message(16, |out| out.doubles(&h.custom_values));
    }
}

fn put_side(out: &mut Writer, field: u32, spans: &[Span], counts: &[f64], integer: bool) {
    for span in spans {
        out.message(field, |out| {
            out.varint(1, zigzag(i64::from(span.offset)));
            out.varint(2, u64::from(span.length));
        });
    }
    if counts.is_empty() {
        return;
    }
    if !integer {
        out.message(field + 2, |out| out.doubles(counts));
        return;
    }
    out.message(field + 1, |out| {
        let mut last = 0;
        for &count in counts {
            out.raw_varint(zigzag(count as i64 - last));
            last = count as i64;
        }
    });
}

/// Strings of a 2.0 request, each once.
#[derive(Debug, Default)]
struct Symbols {
    list: Vec<String>,
    index: HashMap<String, u32>,
}

impl Symbols {
    fn reference(&mut self, symbol: &str) -> u32 {
        if let Some(&reference) = self.index.get(symbol) {
            return reference;
        }
        let reference = self.list.len() as u32;
        self.list.push(symbol.to_owned());
        self.index.insert(symbol.to_owned(), reference);
        reference
    }
}
