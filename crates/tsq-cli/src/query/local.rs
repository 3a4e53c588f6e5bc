//! Queries evaluated here, over a data directory.

use std::path::Path;

use tsq::promql::{Engine, EngineOptions, QueryOptions};

use super::When;
use crate::answer::Outcome;
use crate::failure::Result;
use crate::store;

/// Evaluates an expression over what the directory holds.
pub(super) fn query(dir: &Path, expr: &str, when: When) -> Result<Outcome> {
    let snapshot = store::read(dir)?;
    let engine = Engine::new(EngineOptions::default());
    let options = QueryOptions::default();
    let answer = match when {
        When::At(time_ms) => engine.instant(&snapshot, expr, time_ms, &options)?,
        When::Over { start_ms, end_ms, step_ms } => {
            engine.range(&snapshot, expr, start_ms, end_ms, step_ms, &options)?
        }
    };
    Ok(answer.into())
}
