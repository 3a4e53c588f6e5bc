//! Queries evaluated here, over what a data directory holds.

use std::time::Duration;

use tsq::promql::{CancelFlag, Engine, EngineOptions, QueryOptions};
use tsq_runs::RunSource;

use super::{Request, When};
use crate::failure::Result;
use crate::store::lookback_ms;

/// The answer over what a directory holds, as JSON of the API.
pub(crate) fn query(source: &RunSource, request: &Request<'_>, cancel: &CancelFlag) -> Result<Vec<u8>> {
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
    let source = source.on(request.axis.unwrap_or_default(), lookback_ms(request.limits.lookback_ms));
    let engine = Engine::new(limits);
    let answer = match request.when {
        When::At(time_ms) => engine.instant(&source, request.expr, time_ms, &options)?,
        When::Over { start_ms, end_ms, step_ms } => {
            engine.range(&source, request.expr, start_ms, end_ms, step_ms, &options)?
        }
    };
    Ok(tsq_server::query_json(answer, request.limits.limit))
}
