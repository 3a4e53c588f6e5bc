//! The answer to a query, read from the JSON of the HTTP API: a server sent it, or tsq evaluated the query itself and
//! wrote the same.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tsq::Labels;

use crate::failure::{Exit, Failure, Result};

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
    /// A native histogram.
    Histogram {
        count: f64,
        sum: f64,
        buckets: Vec<Bucket>,
    },
}

/// Observations between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub low: f64,
    pub high: f64,
    pub count: f64,
}

impl Shown {
    /// Whether there is no series in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Vector(rows) => rows.is_empty(),
            Self::Matrix(lines) => lines.is_empty(),
            Self::Scalar(..) | Self::Text(..) => false,
        }
    }
}

impl Point {
    /// The float, or NaN for what is none.
    pub(crate) fn float(&self) -> f64 {
        match self {
            Self::Float(value) => *value,
            Self::Histogram { .. } => f64::NAN,
        }
    }
}

/// An answer of the API, its result still as JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub infos: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
    #[serde(borrow)]
    explain: Option<Explain<'a>>,
}

/// The plan of a query and what it cost.
#[derive(Debug, Deserialize)]
pub(crate) struct Explain<'a> {
    pub seconds: f64,
    #[serde(borrow)]
    pub plan: Vec<PlanPart<'a>>,
}

/// A part of a plan, before the parts it takes series from; these have one `depth` more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanPart<'a> {
    pub depth: usize,
    #[serde(borrow)]
    pub operator: Cow<'a, str>,
    pub steps: u64,
    pub series: u64,
    pub samples: u64,
    pub head_samples: u64,
    pub chunks: u64,
    pub chunk_bytes: u64,
    pub seconds: f64,
    pub self_seconds: f64,
    pub peak_bytes: u64,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow)]
    metric: Pairs<'a>,
    value: Option<Sample>,
    histogram: Option<(f64, Histogram)>,
    #[serde(default)]
    values: Vec<Sample>,
    #[serde(default)]
    histograms: Vec<(f64, Histogram)>,
}

type Pairs<'a> = std::collections::BTreeMap<Cow<'a, str>, Cow<'a, str>>;

type Sample = (f64, String);

#[derive(Deserialize)]
struct Histogram {
    count: String,
    sum: String,
    /// Which bounds belong to the bucket, its bounds, its count.
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

impl<'a> Answer<'a> {
    /// Reads the body of an answer. None: it is no answer of this API.
    pub(crate) fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(json).ok().filter(|answer| answer.data.is_some() || !answer.error.is_empty())
    }

    fn data(&self) -> Result<&Data<'a>> {
        let exit = match self.error_type.as_str() {
            "bad_data" | "execution" | "timeout" | "canceled" => Exit::Query,
            _ => Exit::Failed,
        };
        self.data.as_ref().ok_or_else(|| Failure::Message(exit, self.error.clone()))
    }

    /// The failure that it reports, if it does.
    pub(crate) fn check(&self) -> Result<()> {
        self.data().map(|_| ())
    }

    /// The result.
    pub(crate) fn shown(&self) -> Result<Shown> {
        self.data()?.shown().map_err(|what| strange(&what))
    }

    /// The plan of the query, which it was asked to explain.
    pub(crate) fn explain(&self) -> Result<&Explain<'a>> {
        let other = || Failure::failed("the server does not explain queries: it is no tsq server, or an older one");
        self.data()?.explain.as_ref().ok_or_else(other)
    }

    /// The result as JSON, one piece for each series.
    pub(crate) fn pieces(&self) -> Result<Vec<&'a RawValue>> {
        let data = self.data()?;
        match data.result_type.as_str() {
            "vector" | "matrix" => serde_json::from_str(data.result.get()).map_err(|error| strange(&error.to_string())),
            _ => Ok(vec![data.result]),
        }
    }
}

fn strange(what: &str) -> Failure {
    Failure::failed(format!("the server gave an answer that tsq cannot read: {what}"))
}

impl Data<'_> {
    fn read<'b, T: Deserialize<'b>>(&'b self) -> Result<T, String> {
        serde_json::from_str(self.result.get()).map_err(|error| error.to_string())
    }

    fn shown(&self) -> Result<Shown, String> {
        match self.result_type.as_str() {
            "scalar" => {
                let (time, text): Sample = self.read()?;
                Ok(Shown::Scalar(milliseconds(time), number(&text)?))
            }
            "string" => {
                let (time, text): Sample = self.read()?;
                Ok(Shown::Text(milliseconds(time), text))
            }
            "vector" => {
                let elements: Vec<Element<'_>> = self.read()?;
                elements.into_iter().map(Element::row).collect::<Result<_, _>>().map(Shown::Vector)
            }
            "matrix" => {
                let elements: Vec<Element<'_>> = self.read()?;
                elements.into_iter().map(Element::line).collect::<Result<_, _>>().map(Shown::Matrix)
            }
            other => Err(format!("a result of type {other:?}")),
        }
    }
}

impl Element<'_> {
    fn labels(&self) -> Result<Labels, String> {
        Labels::from_pairs(&self.metric).map_err(|error| error.to_string())
    }

    fn row(self) -> Result<Row, String> {
        let labels = self.labels()?;
        let (time_ms, point) = match (self.value, self.histogram) {
            (Some(value), _) => float(&value)?,
            (None, Some(value)) => histogram(&value)?,
            (None, None) => return Err(format!("no value for {labels}")),
        };
        Ok(Row { labels, time_ms, point })
    }

    fn line(self) -> Result<Line, String> {
        let labels = self.labels()?;
        let floats = self.values.iter().map(float);
        let mut points = floats.chain(self.histograms.iter().map(histogram)).collect::<Result<Vec<_>, _>>()?;
        points.sort_by_key(|(time_ms, _)| *time_ms);
        Ok(Line { labels, points })
    }
}

fn float((time, text): &Sample) -> Result<(i64, Point), String> {
    Ok((milliseconds(*time), Point::Float(number(text)?)))
}

fn histogram((time, value): &(f64, Histogram)) -> Result<(i64, Point), String> {
    let bucket = |(_, low, high, count): &(u8, String, String, String)| {
        Ok(Bucket { low: number(low)?, high: number(high)?, count: number(count)? })
    };
    let buckets = value.buckets.iter().map(bucket).collect::<Result<_, String>>()?;
    Ok((milliseconds(*time), Point::Histogram { count: number(&value.count)?, sum: number(&value.sum)?, buckets }))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} where a number should be"))
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> Result<Shown> {
        Answer::parse(json.as_bytes()).expect("it is an answer").shown()
    }

    #[test]
    fn all_types_are_read() {
        let answer = |kind: &str, result: &str| {
            shown(&format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)).unwrap()
        };
        assert_eq!(answer("scalar", r#"[1.5,"-Inf"]"#), Shown::Scalar(1500, f64::NEG_INFINITY));
        assert_eq!(answer("string", r#"[1,"a\"b"]"#), Shown::Text(1000, "a\"b".into()));
        let labels = Labels::from_pairs([("a", "\"x\"")]).unwrap();
        let rows = answer("vector", r#"[{"metric":{"a":"\"x\""},"value":[1.001,"1e-07"]}]"#);
        assert_eq!(rows, Shown::Vector(vec![Row { labels: labels.clone(), time_ms: 1001, point: Point::Float(1e-7) }]));
        let histogram = r#"{"count":"3","sum":"4","buckets":[[0,"1","2","3"]]}"#;
        let text = format!(r#"[{{"metric":{{"a":"\"x\""}},"values":[[2,"1"]],"histograms":[[1,{histogram}]]}}]"#);
        let buckets = vec![Bucket { low: 1.0, high: 2.0, count: 3.0 }];
        let points = vec![(1000, Point::Histogram { count: 3.0, sum: 4.0, buckets }), (2000, Point::Float(1.0))];
        assert_eq!(answer("matrix", &text), Shown::Matrix(vec![Line { labels, points }]));
    }

    #[test]
    fn failures_and_other_servers_are_told_apart() {
        let refused = r#"{"status":"error","errorType":"bad_data","error":"1:1: parse error: x"}"#;
        assert!(matches!(shown(refused), Err(Failure::Message(Exit::Query, _))));
        let broken = r#"{"status":"error","errorType":"internal","error":"x"}"#;
        assert!(matches!(shown(broken), Err(Failure::Message(Exit::Failed, _))));
        for other in ["", "<html>", "{}", "[]", r#"{"detail":"not found"}"#] {
            assert!(Answer::parse(other.as_bytes()).is_none(), "{other}");
        }
        for strange in
            [r#""table","result":[]"#, r#""vector","result":[{"metric":{}}]"#, r#""scalar","result":[1,"x"]"#]
        {
            let json = format!(r#"{{"data":{{"resultType":{strange}}}}}"#);
            assert!(matches!(shown(&json), Err(Failure::Message(Exit::Failed, _))), "{json}");
        }
    }
}
