//! The plan of a query as JSON: `explain` of `query` and `query_range`, an extension of tsq.

use serde::Serialize;
use tsq::promql;

use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::params::Params;

/// Whether `explain` asks for the plan.
pub(super) fn is_wanted(params: &Params) -> Result<bool, ApiError> {
    match params.get("explain") {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(ApiError::parameter("explain", format!("{other:?} is neither true nor false"))),
    }
}

/// Appends the plan. It is a flat list with depths: no client needs to parse deep nesting.
pub(super) fn write(answer: &mut Answer, explain: &promql::Explain) {
    let plan = explain.parts.iter().map(Part::new).collect();
    answer.serialize(&Explain { seconds: explain.time.as_secs_f64(), plan });
}

#[derive(Debug, Serialize)]
struct Explain<'a> {
    seconds: f64,
    plan: Vec<Part<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    depth: usize,
    kind: &'static str,
    operator: &'a str,
    start: usize,
    end: usize,
    steps: u64,
    series: u64,
    samples: u64,
    head_samples: u64,
    chunks: u64,
    chunk_bytes: u64,
    seconds: f64,
    self_seconds: f64,
    peak_bytes: u64,
}

impl<'a> Part<'a> {
    fn new(part: &'a promql::PlanPart) -> Self {
        Self {
            depth: part.depth,
            kind: part.kind.name(),
            operator: &part.operator,
            start: part.range.start,
            end: part.range.end,
            steps: part.steps,
            series: part.series,
            samples: part.samples,
            head_samples: part.head_samples,
            chunks: part.chunks,
            chunk_bytes: part.chunk_bytes,
            seconds: part.time.as_secs_f64(),
            self_seconds: part.self_time.as_secs_f64(),
            peak_bytes: part.peak_bytes,
        }
    }
}
