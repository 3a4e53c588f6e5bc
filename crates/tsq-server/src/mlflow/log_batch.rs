//! Points of metrics: `log-metric`, and `log-batch`, which is decoded straight into what the engine takes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::{Value, json};
use tsq_runs::names::{PARAM_CHARS, TAG_CHARS, truncated};
use tsq_runs::{Logged, ModelMetric, Pair, Point};

use super::call::Call;
use super::error::{Code, Failure};
use super::input::missing;
use super::{Route, Verbs, route};

/// Bytes of a `log-batch`.
const BYTES_MAX: usize = 1 << 20;
/// Points of a `log-batch`, and everything in it.
const POINTS_MAX: usize = 1000;
/// Params, and tags, of a `log-batch`.
const TEXTS_MAX: usize = 100;

pub(super) static ROUTES: &[Route] =
    &[route(Verbs::Post, "runs/log-batch", log_batch), route(Verbs::Post, "runs/log-metric", log_metric)];

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    run_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    run_uuid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    metrics: Option<Vec<Metric<'a>>>,
    #[serde(borrow, default)]
    params: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    tags: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Metric<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    value: Float,
    timestamp: Int,
    #[serde(default)]
    step: Option<Int>,
    #[serde(borrow, default)]
    run_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    run_uuid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dataset_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dataset_digest: Option<Cow<'a, str>>,
}

/// A float: a number, `"NaN"`, `"Infinity"`, `"-Infinity"`, a number in quotes, or a truth value.
#[derive(Clone, Copy)]
struct Float(f64);

/// A 64-bit integer: a number, also with a fraction of nothing, or a number in quotes.
#[derive(Clone, Copy)]
struct Int(i64);

struct FloatVisitor;
struct IntVisitor;

impl Visitor<'_> for FloatVisitor {
    type Value = Float;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Float, E> {
        Ok(Float(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Float, E> {
        Ok(Float(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Float, E> {
        Ok(Float(value as f64))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Float, E> {
        Ok(Float(f64::from(u8::from(value))))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Float, E> {
        match text {
            "NaN" => Ok(Float(f64::NAN)),
            "Infinity" => Ok(Float(f64::INFINITY)),
            "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
            _ => text.parse().map(Float).map_err(|_| E::custom(format_args!("{text:?} is no number"))),
        }
    }
}

impl Visitor<'_> for IntVisitor {
    type Value = Int;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit integer")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Int, E> {
        Ok(Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Int, E> {
        i64::try_from(value).map(Int).map_err(|_| E::custom("an integer is larger than 64 bits"))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Int, E> {
        if value.fract() == 0.0 && value.abs() < 9.0e15 {
            return Ok(Int(value as i64));
        }
        Err(E::custom(format_args!("{value} is no 64-bit integer")))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Int, E> {
        text.parse().map(Int).map_err(|_| E::custom(format_args!("{text:?} is no 64-bit integer")))
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FloatVisitor)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntVisitor)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    // UTF-8 is checked once here, not again for each string.
    let text = std::str::from_utf8(body).map_err(serde_json::Error::custom);
    text.and_then(serde_json::from_str).map_err(|error| {
        let code = if error.is_data() { Code::InvalidParameterValue } else { Code::BadRequest };
        Failure::new(code, format!("Invalid request: {error}"))
    })
}

fn run_id<'a>(one: Option<&'a str>, other: Option<&'a str>) -> Result<&'a str, Failure> {
    let given = |id: Option<&'a str>| id.filter(|id| !id.is_empty());
    given(one).or(given(other)).ok_or_else(|| missing("run_id"))
}

fn points<'a>(metrics: &'a [Metric<'_>]) -> Vec<Point<'a>> {
    let point = |metric: &'a Metric<'_>| Point {
        key: &metric.key,
        time_ms: metric.timestamp.0,
        step: metric.step.map_or(0, |step| step.0),
        value: metric.value.0,
    };
    metrics.iter().map(point).collect()
}

/// Those of the metrics that belong to logged models too.
fn model_metrics(run_id: &str, metrics: &[Metric<'_>]) -> Vec<(String, ModelMetric)> {
    let mut found = Vec::new();
    for metric in metrics {
        let Some(model_id) = metric.model_id.as_deref().filter(|id| !id.is_empty()) else { continue };
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        let metric = ModelMetric {
            key: metric.key.clone().into_owned(),
            value: metric.value.0,
            time_ms: metric.timestamp.0,
            step: metric.step.map_or(0, |step| step.0),
            run_id: run_id.to_owned(),
            dataset_name: owned(&metric.dataset_name),
            dataset_digest: owned(&metric.dataset_digest),
        };
        found.push((model_id.to_owned(), metric));
    }
    found
}

fn texts(texts: Vec<Text<'_>>, chars_max: usize) -> Vec<Pair> {
    texts.into_iter().map(|text| (text.key.into_owned(), truncated(text.value.into_owned(), chars_max))).collect()
}

fn check_count(what: &str, count: usize, most: usize) -> Result<(), Failure> {
    if count <= most {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "A batch logging request can contain at most {most} {what}. Got {count} {what}. Please split up {what} across \
         multiple requests and try again."
    )))
}

fn log_batch(call: &Call) -> Result<Value, Failure> {
    if call.body.len() > BYTES_MAX {
        return Err(Failure::invalid(format!(
            "Batched logging API requests must be at most {BYTES_MAX} bytes, got a request of size {}.",
            call.body.len()
        )));
    }
    let body: Body<'_> = parse(&call.body)?;
    let run_id = run_id(body.run_id.as_deref(), body.run_uuid.as_deref())?;
    let metrics = body.metrics.unwrap_or_default();
    let (params, tags) = (body.params.unwrap_or_default(), body.tags.unwrap_or_default());
    check_count("metrics", metrics.len(), POINTS_MAX)?;
    check_count("params", params.len(), TEXTS_MAX)?;
    check_count("tags", tags.len(), TEXTS_MAX)?;
    check_count("metrics, params, and tags", metrics.len() + params.len() + tags.len(), POINTS_MAX)?;
    let (params, tags) = (texts(params, PARAM_CHARS), texts(tags, TAG_CHARS));
    store(call, run_id, &metrics, &params, &tags)
}

fn log_metric(call: &Call) -> Result<Value, Failure> {
    let metric: Metric<'_> = parse(&call.body)?;
    let run_id = run_id(metric.run_id.as_deref(), metric.run_uuid.as_deref())?;
    store(call, run_id, std::slice::from_ref(&metric), &[], &[])
}

fn store(call: &Call, run_id: &str, metrics: &[Metric<'_>], params: &[Pair], tags: &[Pair]) -> Result<Value, Failure> {
    let (points, model_metrics) = (points(metrics), model_metrics(run_id, metrics));
    call.runs.log(run_id, &Logged { points: &points, params, tags, model_metrics: &model_metrics })?;
    call.app.metrics.floats.add(points.len() as u64);
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_many_forms() {
        let parsed = |value: &str| {
            let text = format!(r#"{{"key":"k","value":{value},"timestamp":"17","step":-2.0}}"#);
            parse::<Metric<'_>>(text.as_bytes())
                .map(|metric| (metric.value.0, metric.timestamp.0, metric.step.unwrap().0))
        };
        for (text, want) in [
            ("1.5", 1.5),
            ("-3", -3.0),
            ("true", 1.0),
            (r#""1e3""#, 1000.0),
            (r#""Infinity""#, f64::INFINITY),
            ("-0.0", -0.0),
            ("0.1", 0.1),
        ] {
            let (value, time, step) = parsed(text).unwrap();
            assert_eq!((value.to_bits(), time, step), (want.to_bits(), 17, -2), "{text}");
        }
        assert!(parsed(r#""NaN""#).unwrap().0.is_nan());
        for wrong in [r#""x""#, "null", "[]", "{}"] {
            assert_eq!(parsed(wrong).unwrap_err().code, Code::InvalidParameterValue, "{wrong}");
        }
        assert_eq!(parsed("1.").unwrap_err().code, Code::BadRequest);
        let no_value = br#"{"key":"k","timestamp":1}"#;
        assert_eq!(parse::<Metric<'_>>(no_value).err().unwrap().code, Code::InvalidParameterValue);
        let no_key = br#"{"key":5,"value":1,"timestamp":1}"#;
        assert_eq!(parse::<Metric<'_>>(no_key).err().unwrap().code, Code::InvalidParameterValue);
    }
}
