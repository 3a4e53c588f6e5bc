//! The answer to a query, wherever it came from: evaluated here or parsed from a server's JSON.

use tsq::Labels;
use tsq::promql::{Answer, SampleValue, Value};

/// What a query gave back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    /// A number at a time.
    Scalar(i64, f64),
    /// A string at a time.
    Text(i64, String),
    /// Series at one time.
    Vector(Vec<Row>),
    /// Series over time.
    Matrix(Vec<Line>),
}

/// One element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub labels: Labels,
    pub time_ms: i64,
    pub point: Point,
}

/// One series of a matrix, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub labels: Labels,
    pub points: Vec<(i64, Point)>,
}

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Point {
    Float(f64),
    Histogram(Box<Distribution>),
}

/// A native histogram as the API shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    pub count: f64,
    pub sum: f64,
}

/// An answer and what the evaluation had to say.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub shown: Shown,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Point {
    /// The float, or NaN for what is none.
    pub(crate) fn float(&self) -> f64 {
        match self {
            Self::Float(value) => *value,
            Self::Histogram(_) => f64::NAN,
        }
    }

    fn of(value: &SampleValue) -> Self {
        match value {
            SampleValue::Float(value) => Self::Float(*value),
            SampleValue::Histogram(histogram) => Self::Histogram(Box::new(Distribution::of(histogram))),
        }
    }
}

impl Distribution {
    pub(crate) fn of(histogram: &tsq::Histogram) -> Self {
        Self { count: histogram.count, sum: histogram.sum }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        let shown = match answer.value {
            Value::Scalar { time_ms, value } => Shown::Scalar(time_ms, value),
            Value::String { time_ms, value } => Shown::Text(time_ms, value),
            Value::Vector(elements) => Shown::Vector(
                elements
                    .into_iter()
                    .map(|e| Row { point: Point::of(&e.value), labels: e.labels, time_ms: e.time_ms })
                    .collect(),
            ),
            Value::Matrix(series) => Shown::Matrix(
                series
                    .into_iter()
                    .map(|s| Line { points: merge(&s.floats, &s.histograms), labels: s.labels })
                    .collect(),
            ),
        };
        Self { shown, warnings: answer.warnings, infos: answer.infos }
    }
}

/// Floats and histograms of a series in one order of time.
fn merge(floats: &[(i64, f64)], histograms: &[(i64, tsq::Histogram)]) -> Vec<(i64, Point)> {
    let mut points: Vec<_> = floats.iter().map(|&(time_ms, value)| (time_ms, Point::Float(value))).collect();
    points.extend(histograms.iter().map(|(time_ms, h)| (*time_ms, Point::Histogram(Box::new(Distribution::of(h))))));
    points.sort_by_key(|(time_ms, _)| *time_ms);
    points
}
