//! Queries evaluated here, over what a data directory holds.

use std::time::Duration;

use tsq::Snapshot;
use tsq::promql::{CancelFlag, Engine, EngineOptions, QueryOptions};

use super::{Request, When};
use crate::failure::Result;

/// The answer over a snapshot, as JSON of the API.
pub(crate) fn query(snapshot: &Snapshot, request: &Request<'_>, cancel: &CancelFlag) -> Result<Vec<u8>> {
    let milliseconds = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let mut limits = EngineOptions::default();
    if let Some(timeout_ms) = request.limits.timeout_ms {
        limits.timeout = milliseconds(timeout_ms);
    }
    let options = QueryOptions {
        lookback: request.limits.lookback_ms.map(milliseconds),
        cancel: cancel.clone(),
        explain: request.explain,
        ..QueryOptions::default()
    };
    let engine = Engine::new(limits);
    let answer = match request.when {
        When::At(time_ms) => engine.instant(snapshot, request.expr, time_ms, &options)?,
        When::Over { start_ms, end_ms, step_ms } => {
            engine.range(snapshot, request.expr, start_ms, end_ms, step_ms, &options)?
        }
    };
    Ok(tsq_server::query_json(answer, request.limits.limit))
}
