//! Queries evaluated here, over a data directory.

use std::path::Path;

use tsq::promql::{Engine, EngineOptions, QueryOptions};

use super::When;
use crate::console::Console;
use crate::failure::Result;
use crate::store;

/// The answer over what the directory holds, as JSON of the API.
pub(super) fn query(dir: &Path, expr: &str, when: When, console: &mut Console) -> Result<Vec<u8>> {
    let snapshot = store::read(dir, console)?;
    let engine = Engine::new(EngineOptions::default());
    let options = QueryOptions::default();
    let answer = match when {
        When::At(time_ms) => engine.instant(&snapshot, expr, time_ms, &options)?,
        When::Over { start_ms, end_ms, step_ms } => {
            engine.range(&snapshot, expr, start_ms, end_ms, step_ms, &options)?
        }
    };
    Ok(tsq_server::query_json(answer))
}
