//! What a query gives back.

#![allow(missing_docs, reason = "fields say what they hold")]

use std::fmt;

use tsq_core::{Histogram, Labels};

use crate::explain::Explain;

/// A sample value.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Box<Histogram>),
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorElement {
    /// Labels.
    pub labels: Labels,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// Value.
    pub value: SampleValue,
}

/// One series of a matrix. Floats and histograms are both in time order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatrixSeries {
    /// Labels.
    pub labels: Labels,
    /// Times in milliseconds since 1970, and values.
    pub floats: Vec<(i64, f64)>,
    /// Times in milliseconds since 1970, and values.
    pub histograms: Vec<(i64, Histogram)>,
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number at a time.
    Scalar { time_ms: i64, value: f64 },
    /// A string at a time.
    String { time_ms: i64, value: String },
    /// Elements at one time; sorted by labels unless the query orders them.
    Vector(Vec<VectorElement>),
    /// Series over time, sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// An answer with what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Prometheus's "PromQL warning: ..." texts with positions, sorted, without repetitions.
    pub warnings: Vec<String>,
    /// Prometheus's "PromQL info: ..." texts with positions, sorted, without repetitions.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: Stats,
    /// How it was evaluated, if [`QueryOptions::explain`](crate::QueryOptions) asked for it.
    pub explain: Option<Explain>,
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series selected.
    pub series: u64,
    /// Samples decoded.
    pub samples: u64,
    /// Most bytes of query memory held at once.
    pub peak_bytes: u64,
}

/// What a caller does about a failed query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryErrorKind {
    /// The query or a parameter is wrong (HTTP 400, `bad_data`).
    BadData,
    /// It failed while running, or a limit was hit (HTTP 422, `execution`).
    Execution,
    /// It took too long (HTTP 503, `timeout`).
    Timeout,
    /// The caller gave up (HTTP 499, `canceled`).
    Canceled,
    /// Stored data could not be read (HTTP 500, `internal`).
    Storage,
}

/// A failed query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// What to do about it.
    pub kind: QueryErrorKind,
    /// Whole message, Prometheus's text where there is one; parse errors begin with `line:column: parse error: `.
    pub message: String,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for QueryError {}
