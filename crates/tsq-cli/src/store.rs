//! Opening data directories.

use std::path::Path;

use tsq::{Db, Options, Snapshot};

use crate::failure::{Failure, Result};

/// What a directory holds now. Changes nothing in it.
pub(crate) fn read(dir: &Path) -> Result<Snapshot> {
    check_exists(dir)?;
    Ok(Db::open(dir, Options::default())?.snapshot()?)
}

/// A directory that a command only looks at must be there: a typing error creates no database.
pub(crate) fn check_exists(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let what = if dir.exists() { "is no directory" } else { "does not exist" };
    Err(Failure::failed(format!("data directory {} {what}; name another with -d", dir.display())))
}
