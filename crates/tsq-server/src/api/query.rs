//! `query` and `query_range`.

use std::time::{Duration, Instant};

use serde::Serialize;
use tsq::promql::{self, QueryOptions, SampleValue, Value};

use super::call::Call;
use super::{Cost, Endpoint, Methods, explain};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/api/v1/query", methods: Methods::GetPost, cost: Cost::Reads, run: instant },
    Endpoint { path: "/api/v1/query_range", methods: Methods::GetPost, cost: Cost::Reads, run: range },
];

fn instant(call: &Call) -> Result<Answer, ApiError> {
    let limit = call.params.limit("limit")?;
    let time_ms = call.params.time_or("time", call.app.now_ms())?;
    let options = query_options(call)?;
    let text = call.params.query_text("query")?;
    let source = call.source()?;
    evaluate(call, limit, || call.app.engine.instant(&source, text, time_ms, &options))
}

fn range(call: &Call) -> Result<Answer, ApiError> {
    let limit = call.params.limit("limit")?;
    let (start_ms, end_ms) = (call.params.time("start")?, call.params.time("end")?);
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = call.params.duration_ms("step")?;
    if step_ms <= 0 {
        let message = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", message));
    }
    let points_max = call.app.config.engine.points_max;
    if ((end_ms - start_ms) / step_ms).unsigned_abs() > points_max {
        let points = with_thousands(points_max);
        return Err(ApiError::bad_data(format!(
            "exceeded maximum resolution of {points} points per timeseries. \
             Try decreasing the query resolution (?step=XX)"
        )));
    }
    let options = query_options(call)?;
    let text = call.params.query_text("query")?;
    let source = call.source()?;
    evaluate(call, limit, || call.app.engine.range(&source, text, start_ms, end_ms, step_ms, &options))
}

fn query_options(call: &Call) -> Result<QueryOptions, ApiError> {
    let timeout = Some(call.deadline.saturating_duration_since(Instant::now()));
    let (lookback, explain) = (call.params.lookback()?, explain::is_wanted(&call.params)?);
    Ok(QueryOptions { lookback, timeout, cancel: call.cancel.clone(), explain })
}

/// `11000` -> `11,000`
fn with_thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn evaluate(
    call: &Call,
    limit: Option<usize>,
    query: impl FnOnce() -> Result<promql::Answer, promql::QueryError>,
) -> Result<Answer, ApiError> {
    let started = Instant::now();
    let metrics = &call.app.metrics;
    metrics.queries.add(1);
    let found = query().map_err(ApiError::query).inspect_err(|error| metrics.query_failed(error))?;
    let evaluated = started.elapsed();
    metrics.query_samples.add(found.stats.samples);
    let mut answer = Answer::new();
    answer.warnings = found.warnings;
    answer.infos = found.infos;
    let stats = call.params.get("stats").map(|_| QueryStats::new(found.stats, call.queued, evaluated));
    write_value(&mut answer, found.value, limit, stats, found.explain.as_ref());
    Ok(answer)
}

/// The JSON that the API answers a query with: `{"status":"success","data":{"resultType":..,"result":..}}`, with at most
/// `limit` series, and the notes if there are any.
pub fn query_json(found: promql::Answer, limit: Option<usize>) -> Vec<u8> {
    let mut answer = Answer::new();
    answer.warnings = found.warnings;
    answer.infos = found.infos;
    write_value(&mut answer, found.value, limit, None, found.explain.as_ref());
    answer.finish()
}

/// `{"resultType":"vector","result":[..]}`, and `stats` and `explain` when asked for. Frees the value while it is
/// written.
fn write_value(
    answer: &mut Answer,
    mut value: Value,
    limit: Option<usize>,
    stats: Option<QueryStats>,
    plan: Option<&promql::Explain>,
) {
    if limit.is_some_and(|limit| truncate(&mut value, limit)) {
        answer.truncated();
    }
    let kind = match value {
        Value::Scalar { .. } => "scalar",
        Value::String { .. } => "string",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
    };
    let out = &mut answer.data;
    out.reserve(likely_bytes(&value));
    out.extend_from_slice(format!(r#"{{"resultType":"{kind}","result":"#).as_bytes());
    match value {
        Value::Scalar { time_ms, value } => json::scalar(out, time_ms, value),
        Value::String { time_ms, value } => json::text_sample(out, time_ms, &value),
        Value::Vector(elements) => json::list(out, elements, |out, element| write_element(out, &element)),
        Value::Matrix(series) => json::list(out, series, |out, series| write_series(out, &series)),
    }
    if let Some(stats) = stats {
        answer.data.extend_from_slice(b",\"stats\":");
        answer.serialize(&stats);
    }
    if let Some(plan) = plan {
        answer.data.extend_from_slice(b",\"explain\":");
        explain::write(answer, plan);
    }
    answer.data.push(b'}');
}

/// About as many bytes as a value takes in JSON, so that most answers are written without moving them; at most 64 MiB.
fn likely_bytes(value: &Value) -> usize {
    const FRAME: usize = 64;
    const SAMPLE: usize = 36;
    let labels = |labels: &tsq::Labels| FRAME + 2 * labels.as_bytes().len();
    let bytes: usize = match value {
        Value::Scalar { .. } | Value::String { .. } => 0,
        Value::Vector(elements) => elements.iter().map(|element| labels(&element.labels) + SAMPLE).sum(),
        Value::Matrix(series) => {
            series.iter().map(|series| labels(&series.labels) + SAMPLE * series.floats.len()).sum()
        }
    };
    (2 * FRAME + bytes).min(64 << 20)
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    let before = match value {
        Value::Vector(elements) => elements.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar { .. } | Value::String { .. } => return false,
    };
    match value {
        Value::Vector(elements) => elements.truncate(limit),
        Value::Matrix(series) => series.truncate(limit),
        Value::Scalar { .. } | Value::String { .. } => {}
    }
    before > limit
}

fn write_element(out: &mut Vec<u8>, element: &promql::VectorElement) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &element.labels);
    match &element.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            json::sample(out, element.time_ms, *value);
        }
        SampleValue::Histogram(value) => {
            out.extend_from_slice(b",\"histogram\":");
            json::histogram_sample(out, element.time_ms, value);
        }
    }
    out.push(b'}');
}

fn write_series(out: &mut Vec<u8>, series: &promql::MatrixSeries) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.extend_from_slice(b",\"values\":");
        json::list(out, &series.floats, |out, (time_ms, value)| json::sample(out, *time_ms, *value));
    }
    if !series.histograms.is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        json::list(out, &series.histograms, |out, (time_ms, value)| json::histogram_sample(out, *time_ms, value));
    }
    out.push(b'}');
}

/// What a query cost, in the shape of Prometheus. Times are seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryStats {
    timings: Timings,
    samples: SampleStats,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    eval_total_time: f64,
    /// Zero: what sorts is a part of evaluating.
    result_sort_time: f64,
    /// Zero: selecting and evaluating go on together.
    query_preparation_time: f64,
    inner_eval_time: f64,
    exec_queue_time: f64,
    exec_total_time: f64,
}

/// Bytes of query memory that stand for one sample held: those of a time and a float.
const SAMPLE_BYTES: u64 = 16;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SampleStats {
    /// Samples decoded.
    total_queryable_samples: u64,
    /// Most memory held at once, in samples.
    peak_samples: u64,
}

impl QueryStats {
    fn new(stats: promql::Stats, queued: Duration, evaluated: Duration) -> Self {
        let timings = Timings {
            eval_total_time: evaluated.as_secs_f64(),
            result_sort_time: 0.0,
            query_preparation_time: 0.0,
            inner_eval_time: evaluated.as_secs_f64(),
            exec_queue_time: queued.as_secs_f64(),
            exec_total_time: (queued + evaluated).as_secs_f64(),
        };
        let peak_samples = stats.peak_bytes.div_ceil(SAMPLE_BYTES);
        Self { timings, samples: SampleStats { total_queryable_samples: stats.samples, peak_samples } }
    }
}

#[cfg(test)]
mod tests {
    use tsq::{Histogram, Labels, Span};

    use super::*;

    fn shown(value: Value, limit: Option<usize>) -> String {
        let mut answer = Answer::new();
        write_value(&mut answer, value, limit, None, None);
        String::from_utf8(answer.finish()).unwrap()
    }

    fn element(run: &str, value: SampleValue) -> promql::VectorElement {
        let labels = Labels::from_pairs([("__name__", "loss"), ("run", run)]).unwrap();
        promql::VectorElement { labels, time_ms: 1_700_000_000_123, value }
    }

    fn histogram() -> Histogram {
        Histogram {
            count: 3.0,
            sum: 4.5,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive: vec![1.0, 2.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn scalars_and_strings() {
        assert_eq!(
            shown(Value::Scalar { time_ms: 4000, value: 2.0 }, None),
            r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
        );
        assert_eq!(
            shown(Value::String { time_ms: 1500, value: "a\"b".to_owned() }, Some(1)),
            r#"{"status":"success","data":{"resultType":"string","result":[1.5,"a\"b"]}}"#
        );
    }

    #[test]
    fn vectors_have_metric_before_value() {
        let vector = vec![
            element("1", SampleValue::Float(f64::NAN)),
            element("2", SampleValue::Histogram(Box::new(histogram()))),
        ];
        let first = r#"{"metric":{"__name__":"loss","run":"1"},"value":[1700000000.123,"NaN"]}"#;
        let second = concat!(
            r#"{"metric":{"__name__":"loss","run":"2"},"histogram":[1700000000.123,"#,
            r#"{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"]]}]}"#
        );
        let head = r#"{"status":"success","data":{"resultType":"vector","result":["#;
        assert_eq!(shown(Value::Vector(vector.clone()), None), format!("{head}{first},{second}]}}}}"));
        assert_eq!(
            shown(Value::Vector(vector), Some(1)),
            format!(r#"{head}{first}]}},"warnings":["results truncated due to limit"]}}"#)
        );
        assert_eq!(shown(Value::Vector(Vec::new()), Some(1)), format!("{head}]}}}}"));
    }

    #[test]
    fn matrices_have_values_then_histograms() {
        let series = promql::MatrixSeries {
            labels: Labels::from_pairs([("run", "1")]).unwrap(),
            floats: vec![(0, 1.0), (500, f64::INFINITY)],
            histograms: vec![(1000, Histogram::default())],
        };
        let want = concat!(
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"run":"1"},"#,
            r#""values":[[0,"1"],[0.500,"+Inf"]],"histograms":[[1,{"count":"0","sum":"0"}]]}]}}"#
        );
        assert_eq!(shown(Value::Matrix(vec![series]), Some(1)), want);
        let empty = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(shown(Value::Matrix(Vec::new()), None), empty);
    }

    #[test]
    fn costs_follow_the_result() {
        let mut answer = Answer::new();
        let cost = promql::Stats { series: 1, samples: 2, peak_bytes: 33 };
        let stats = QueryStats::new(cost, Duration::from_millis(500), Duration::from_millis(250));
        write_value(&mut answer, Value::Scalar { time_ms: 0, value: 1.0 }, None, Some(stats), None);
        let want = concat!(
            r#"{"status":"success","data":{"resultType":"scalar","result":[0,"1"],"stats":{"#,
            r#""timings":{"evalTotalTime":0.25,"resultSortTime":0.0,"queryPreparationTime":0.0,"innerEvalTime":0.25,"#,
            r#""execQueueTime":0.5,"execTotalTime":0.75},"samples":{"totalQueryableSamples":2,"peakSamples":3}}}}"#
        );
        assert_eq!(String::from_utf8(answer.finish()).unwrap(), want);
    }

    #[test]
    fn limits_are_named_with_thousands() {
        for (count, want) in [(7, "7"), (999, "999"), (11_000, "11,000"), (1_234_567, "1,234,567")] {
            assert_eq!(with_thousands(count), want);
        }
    }
}
