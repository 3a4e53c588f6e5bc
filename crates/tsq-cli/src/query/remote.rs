//! Queries that a server evaluates, asked through Prometheus's HTTP API.

use serde::Deserialize;
use serde_json::value::RawValue;
use tsq::Labels;

use super::When;
use crate::answer::{Distribution, Line, Outcome, Point, Row, Shown};
use crate::client;
use crate::failure::{Exit, Failure, Result};

/// Evaluates an expression on the server at `url`.
pub(super) fn query(url: &str, expr: &str, when: When) -> Result<Outcome> {
    let (path, mut form) = match when {
        When::At(time_ms) => ("query", vec![("time", seconds(time_ms))]),
        When::Over { start_ms, end_ms, step_ms } => {
            ("query_range", vec![("start", seconds(start_ms)), ("end", seconds(end_ms)), ("step", seconds(step_ms))])
        }
    };
    form.push(("query", expr.to_owned()));
    let url = format!("{}/api/v1/{path}", url.trim_end_matches('/'));
    let answer = client::post_form(&url, &form)?;
    let Ok(body) = serde_json::from_slice::<Body<'_>>(&answer.body) else {
        let text = String::from_utf8_lossy(&answer.body);
        let start = text.lines().next().unwrap_or("").chars().take(200).collect::<String>();
        return Err(Failure::failed(format!("{url} answered {}: {start}", answer.status)));
    };
    body.outcome(&url)
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct Element {
    metric: Pairs,
    value: Option<Sample>,
    histogram: Option<(f64, Histogram)>,
    #[serde(default)]
    values: Vec<Sample>,
    #[serde(default)]
    histograms: Vec<(f64, Histogram)>,
}

/// Label pairs as they come, so that a name given twice is an error and not lost.
type Pairs = serde_json::Map<String, serde_json::Value>;

type Sample = (f64, String);

#[derive(Deserialize)]
struct Histogram {
    count: String,
    sum: String,
}

impl Body<'_> {
    fn outcome(self, url: &str) -> Result<Outcome> {
        let Some(data) = self.data else {
            let exit = match self.error_type.as_str() {
                "bad_data" | "execution" | "timeout" | "canceled" => Exit::Query,
                _ => Exit::Failed,
            };
            return Err(Failure::Message(exit, self.error));
        };
        let strange = |what: String| Failure::failed(format!("{url} gave an answer that tsq cannot read: {what}"));
        let shown = data.shown().map_err(strange)?;
        Ok(Outcome { shown, warnings: self.warnings, infos: self.infos })
    }
}

impl Data<'_> {
    fn shown(&self) -> Result<Shown, String> {
        let elements = || serde_json::from_str::<Vec<Element>>(self.result.get()).map_err(|e| e.to_string());
        match self.result_type.as_str() {
            "scalar" => {
                let (time, text): Sample = serde_json::from_str(self.result.get()).map_err(|e| e.to_string())?;
                Ok(Shown::Scalar(milliseconds(time), number(&text)?))
            }
            "string" => {
                let (time, text): Sample = serde_json::from_str(self.result.get()).map_err(|e| e.to_string())?;
                Ok(Shown::Text(milliseconds(time), text))
            }
            "vector" => elements()?.into_iter().map(Element::row).collect::<Result<_, _>>().map(Shown::Vector),
            "matrix" => elements()?.into_iter().map(Element::line).collect::<Result<_, _>>().map(Shown::Matrix),
            other => Err(format!("a result of type {other:?}")),
        }
    }
}

impl Element {
    fn labels(&self) -> Result<Labels, String> {
        let pairs = self.metric.iter().map(|(name, value)| (name, value.as_str().unwrap_or_default()));
        Labels::from_pairs(pairs).map_err(|error| error.to_string())
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
    let shown = Distribution { count: number(&value.count)?, sum: number(&value.sum)? };
    Ok((milliseconds(*time), Point::Histogram(Box::new(shown))))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} where a number should be"))
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}
