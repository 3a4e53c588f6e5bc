//! The catalog: experiments, runs and what is known about them, in one SQLite file of the data directory.
//!
//! One connection writes, a few read beside it. A write is durable when its call returns. The catalog holds no metrics
//! but the latest value of each, as a cache of what the engine owns.

mod datasets;
mod experiments;
mod latest;
mod models;
mod registry;
mod rich;
mod runs;
pub(crate) mod schema;
mod search;
mod tags;

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::{Error, ErrorKind, Result};
use crate::filter::like;

pub use datasets::{Dataset, DatasetInput, DatasetSummary};
pub use experiments::Experiment;
pub use latest::Latest;
pub(crate) use latest::{LatestUpdate, Ordered, is_later};
pub use models::{LoggedModel, ModelMetric, ModelSort, NewLoggedModel};
pub use registry::{ModelVersion, NewModelVersion, RegisteredModel, STAGES};
pub use rich::RichValue;
pub(crate) use runs::{CatalogPart, RunNames, check_params, check_tags, not_active};
pub use runs::{ModelLink, NewRun, Run, RunChange, RunInfo, STATUSES};
pub use search::{Page, RunSearch, View};

/// Connections that are kept for reading.
const READERS_KEPT: usize = 8;

/// Prepared statements that each connection keeps.
const STATEMENTS_KEPT: usize = 128;

/// How long a connection waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key and a value of a tag or param.
pub type Pair = (String, String);

/// The catalog of a data directory. `Send` and `Sync`.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    /// Beneath it lie the artifacts of experiments that do not say where.
    artifact_root: String,
    /// None in a catalog that was opened for reading.
    writer: Option<Mutex<Connection>>,
    readers: Mutex<Vec<Connection>>,
}

impl Catalog {
    /// Opens or creates the catalog in a file. Artifacts of experiments that do not say where go to a place beneath
    /// `artifact_root`; a new catalog has the experiment 0, `Default`.
    ///
    /// # Errors
    /// `UnsupportedFormat` for a newer catalog, `Storage`, `Unavailable`.
    pub fn open(path: &Path, artifact_root: &str, now_ms: i64) -> Result<Self> {
        let mut writer = Connection::open(path)?;
        prepare(&writer)?;
        writer.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        schema::migrate(&mut writer)?;
        let catalog = Self {
            path: path.to_path_buf(),
            artifact_root: artifact_root.to_owned(),
            writer: Some(Mutex::new(writer)),
            readers: Mutex::new(Vec::new()),
        };
        catalog.write(|tx| experiments::create_default(tx, artifact_root, now_ms))?;
        Ok(catalog)
    }

    /// Opens a catalog for reading, also while a server writes to it; `None` where there is none.
    ///
    /// # Errors
    /// `UnsupportedFormat` for a newer catalog, `Storage`.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let (path, readers) = (path.to_path_buf(), Mutex::new(Vec::new()));
        let catalog = Self { path, artifact_root: String::new(), writer: None, readers };
        let found = catalog.read(schema::version)?;
        schema::check_version(found)?;
        // Older tables than this code reads: only a writer may change them.
        Ok((found == schema::VERSION).then_some(catalog))
    }

    /// Whether it was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.writer.is_none()
    }

    /// Writes a copy of the catalog as it is now into a new file. All runs are marked in it: their latest values are read
    /// again from the engine it is opened with.
    ///
    /// # Errors
    /// `Storage` when the file exists or cannot be written.
    pub fn backup(&self, target: &Path) -> Result<()> {
        let target = target.to_str().ok_or_else(|| Error::invalid("the path of the copy is no UTF-8"))?;
        // Not within a transaction: SQLite refuses that.
        self.open_reader()?.execute("VACUUM INTO ?1", [target])?;
        Ok(Connection::open(target)?.execute("UPDATE runs SET unsettled = 1", []).map(drop)?)
    }

    /// Random lower-case hexadecimal digits, twice as many as bytes.
    pub(crate) fn random_hex(&self, bytes: u32) -> Result<String> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT lower(hex(randomblob(?1)))")?;
            Ok(statement.query_row([bytes], |row| row.get(0))?)
        })
    }

    /// Reads in one consistent view.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let spare = self.readers.lock().pop();
        let connection = spare.map_or_else(|| self.open_reader(), Ok)?;
        let transaction = connection.unchecked_transaction()?;
        let result = read(&transaction);
        drop(transaction);
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }

    /// Writes all or nothing; what is written is durable on return.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let read_only = || Error::new(ErrorKind::Unavailable, "the catalog of runs was opened for reading");
        let mut writer = self.writer.as_ref().ok_or_else(read_only)?.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = write(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    fn open_reader(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        prepare(&connection)?;
        // Without a writer there may be no shared memory of the log, and no right to make it: then nobody writes.
        if self.writer.is_none() && schema::version(&connection).is_err() {
            let path = self.path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let connection = Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?;
            prepare(&connection)?;
            return Ok(connection);
        }
        Ok(connection)
    }
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "cache_size", -32_768)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("text_like", 2, flags, |context| is_like(context, false))?;
    connection.create_scalar_function("text_ilike", 2, flags, |context| is_like(context, true))?;
    Ok(())
}

/// `text_like(pattern, value)`: NULL where either is.
fn is_like(context: &rusqlite::functions::Context<'_>, ignore_case: bool) -> rusqlite::Result<Option<bool>> {
    let (pattern, value) = (context.get_raw(0).as_str_or_null()?, context.get_raw(1).as_str_or_null()?);
    Ok(pattern.zip(value).map(|(pattern, value)| like(pattern, value, ignore_case)))
}

/// The number of a key, if any run has it.
pub(crate) fn key_of(connection: &Connection, name: &str) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM keys WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// The number of a key, which is made if it is new.
pub(crate) fn key(transaction: &Transaction<'_>, name: &str) -> Result<i64> {
    if let Some(id) = key_of(transaction, name)? {
        return Ok(id);
    }
    transaction.prepare_cached("INSERT INTO keys (name) VALUES (?1)")?.execute(params![name])?;
    Ok(transaction.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_catalog_is_refused_and_a_copy_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        assert!(Catalog::open_read_only(&path).unwrap().is_none());
        let catalog = Catalog::open(&path, "a:", 5).unwrap();
        catalog.create_experiment("x", None, &[], 6).unwrap();
        let copy = dir.path().join("copy.db");
        catalog.backup(&copy).unwrap();
        let copied = Catalog::open_read_only(&copy).unwrap().unwrap();
        assert_eq!(copied.experiment_by_name("x").unwrap().unwrap().created_ms, 6);
        assert_eq!(copied.write(|_| Ok(())).unwrap_err().kind(), ErrorKind::Unavailable);
        catalog.write(|tx| Ok(tx.execute("UPDATE schema_version SET version = 99", [])?)).unwrap();
        drop(catalog);
        assert_eq!(Catalog::open(&path, "a:", 5).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
        assert_eq!(Catalog::open_read_only(&path).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
    }
}
