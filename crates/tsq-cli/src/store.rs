//! Opening data directories to look at them.

use std::path::Path;
use std::sync::Arc;

use tsq::promql::EngineOptions;
use tsq::{Db, Options, Snapshot};
use tsq_runs::{AxisName, RunSource, Runs};

use crate::console::Console;
use crate::failure::{Failure, Result};

/// A directory as it is now, also while a server writes to it. Changes nothing in it. Damage is reported on standard
/// error: what can be read is still worth an answer.
pub(crate) fn open(dir: &Path, console: &mut Console) -> Result<Db> {
    check_exists(dir)?;
    let db = Db::open_read_only(dir, Options::default())?;
    for damage in db.damage() {
        console.say(format_args!("warning: damaged: {damage}"));
    }
    Ok(db)
}

/// What a directory holds now.
pub(crate) fn read(dir: &Path, console: &mut Console) -> Result<Snapshot> {
    Ok(open(dir, console)?.snapshot()?)
}

/// What a directory holds now, with the labels of runs.
pub(crate) fn source(dir: &Path, console: &mut Console) -> Result<RunSource> {
    let snapshot = read(dir, console)?;
    let catalog = Runs::read_catalog(dir)?;
    Ok(RunSource::new(snapshot, catalog.map(Arc::new), AxisName::default(), lookback_ms(None)))
}

/// The lookback of a query that asks for this one.
pub(crate) fn lookback_ms(asked_ms: Option<i64>) -> i64 {
    asked_ms.unwrap_or_else(|| i64::try_from(EngineOptions::default().lookback.as_millis()).unwrap_or(i64::MAX))
}

/// A directory that a command only looks at must be there: a typing error creates no database.
pub(crate) fn check_exists(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let what = if dir.exists() { "is no directory" } else { "does not exist" };
    Err(Failure::failed(format!("data directory {} {what}; name another with -d", dir.display())))
}
