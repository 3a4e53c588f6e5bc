//! Deleting from a data directory.

use std::path::{Path, PathBuf};

use tsq::promql::parse_any_selector;
use tsq::{Db, Deleted, ErrorKind, Matcher, Options, Source, TimeRange};

use super::Place;
use crate::failure::{Exit, Failure, Result};
use crate::store;
use crate::units::{format_bytes, format_count};

/// Series that are read at once.
const BATCH: usize = 256;

/// A data directory that is open for writing.
pub(super) struct Directory {
    db: Db,
    path: PathBuf,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        store::check_exists(path)?;
        // Only what was asked for is done: nothing is merged in the background.
        let options = Options { background: false, ..Options::default() };
        let db = Db::open(path, options).map_err(|error| match error.kind() {
            ErrorKind::Locked => Failure::failed(format!("{error}; delete through that server: --url, or stop it")),
            _ => error.into(),
        })?;
        if let Some(reason) = db.read_only_reason() {
            return Err(Failure::Message(Exit::Damaged, format!("{} takes no deletes: {reason}", path.display())));
        }
        Ok(Self { db, path: path.to_path_buf() })
    }
}

fn matchers(selector: &str) -> Result<Vec<Matcher>> {
    parse_any_selector(selector).map_err(|error| Failure::Message(Exit::Query, format!("{selector}: {error}")))
}

impl Place for Directory {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn series(&self, selector: &str, range: TimeRange, max: usize) -> Result<Vec<String>> {
        let snapshot = self.db.snapshot()?;
        let mut stream = snapshot.select(&matchers(selector)?, range)?;
        let mut found = Vec::new();
        while found.len() < max {
            let batch = stream.next_batch(BATCH.min(max - found.len()))?;
            if batch.is_empty() {
                break;
            }
            found.extend(batch.iter().map(|series| series.labels().to_string()));
        }
        Ok(found)
    }

    fn delete(&self, selector: &str, range: TimeRange) -> Result<Option<Deleted>> {
        Ok(Some(self.db.delete(&matchers(selector)?, range)?))
    }

    fn purge(&self) -> Result<String> {
        let cleaned = self.db.clean_tombstones()?;
        if cleaned.blocks == 0 {
            return Ok("nothing to purge: no block holds deleted samples".to_owned());
        }
        let (blocks, samples) = (format_count(cleaned.blocks), format_count(cleaned.samples));
        let (before, after) = (format_bytes(cleaned.bytes_before), format_bytes(cleaned.bytes_after));
        Ok(format!("purged {samples} samples: {blocks} blocks of {before} are now {after}"))
    }

    fn untouched(&self) -> Vec<String> {
        let holds_files = |path: &PathBuf| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        let beside = ["snapshots", "quarantine"].map(|name| self.path.join(name));
        beside.iter().filter(|path| holds_files(path)).map(|path| path.display().to_string()).collect()
    }

    fn close(&self) -> Result<()> {
        Ok(self.db.close()?)
    }
}
