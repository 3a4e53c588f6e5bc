//! The tables of the catalog and the steps from older versions of them to this one.
//!
//! | version | what changed |
//! |---|---|
//! | 1 | the first one |
//!
//! Keys of metrics, params and tags are numbers of the table `keys`. What a run has lies together: a page of a search shows
//! all of it, and a filter looks at one key of each run in the order of the runs. `latest` caches what the engine owns: a run
//! whose column `unsettled` is set may have newer samples in the engine than here. A value that SQLite cannot hold (it has
//! no NaN and no -0.0) has its bits in `special`, and NULL as value if it is NaN.

use rusqlite::{Connection, OptionalExtension};

use crate::error::{Error, ErrorKind, Result};

/// Version that this code reads and writes.
pub(crate) const VERSION: i64 = 1;

/// The statements that lead from version `index` to the next.
const MIGRATIONS: [&str; VERSION as usize] = [V1];

const V1: &str = r"
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    artifact_location TEXT NOT NULL,
    deleted_ms INTEGER,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
CREATE TABLE experiment_tags (
    owner INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    experiment INTEGER NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    start_ms INTEGER,
    end_ms INTEGER,
    deleted_ms INTEGER,
    artifact_uri TEXT NOT NULL,
    source TEXT NOT NULL,
    unsettled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_experiment ON runs (experiment, start_ms DESC, run_id);
CREATE INDEX runs_unsettled ON runs (unsettled) WHERE unsettled = 1;

CREATE TABLE keys (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE params (
    key INTEGER NOT NULL, run INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE tags (
    key INTEGER NOT NULL, run INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE latest (
    key INTEGER NOT NULL, run INTEGER NOT NULL, value REAL, special INTEGER,
    time_ms INTEGER NOT NULL, step INTEGER NOT NULL, PRIMARY KEY (run, key)
) WITHOUT ROWID;

-- What a run logged that is no float: texts, truth values, integers beyond 2^53, media. `kind` says how to read `value`.
CREATE TABLE rich_values (
    run INTEGER NOT NULL, key INTEGER NOT NULL, step INTEGER NOT NULL, time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (run, key, step, time_ms)
) WITHOUT ROWID;

CREATE TABLE datasets (
    id INTEGER PRIMARY KEY,
    experiment INTEGER NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    schema TEXT,
    profile TEXT,
    UNIQUE (experiment, name, digest)
);
CREATE TABLE inputs (run INTEGER NOT NULL, dataset INTEGER NOT NULL, PRIMARY KEY (run, dataset)) WITHOUT ROWID;
CREATE INDEX inputs_of_dataset ON inputs (dataset);
CREATE TABLE input_tags (
    run INTEGER NOT NULL, dataset INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (run, dataset, key)
) WITHOUT ROWID;
CREATE TABLE run_models (
    run INTEGER NOT NULL, output INTEGER NOT NULL, model_id TEXT NOT NULL, step INTEGER NOT NULL,
    PRIMARY KEY (run, output, model_id)
) WITHOUT ROWID;

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    model_id TEXT NOT NULL UNIQUE,
    experiment INTEGER NOT NULL,
    name TEXT NOT NULL,
    model_type TEXT,
    source_run_id TEXT,
    status TEXT NOT NULL,
    status_message TEXT,
    artifact_uri TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    deleted_ms INTEGER
);
CREATE INDEX models_by_experiment ON models (experiment, created_ms DESC, model_id);
CREATE TABLE model_tags (
    owner INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE model_params (
    owner INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE model_metrics (
    owner INTEGER NOT NULL, key TEXT NOT NULL, run_id TEXT NOT NULL, dataset_name TEXT NOT NULL,
    dataset_digest TEXT NOT NULL, step INTEGER NOT NULL, time_ms INTEGER NOT NULL, value REAL, special INTEGER,
    PRIMARY KEY (owner, key, run_id, dataset_name, dataset_digest, step, time_ms)
) WITHOUT ROWID;

CREATE TABLE registered_models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
CREATE TABLE registered_model_tags (
    owner INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE registered_model_aliases (
    owner INTEGER NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (owner, alias)
) WITHOUT ROWID;
CREATE TABLE model_versions (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL,
    version INTEGER NOT NULL,
    description TEXT,
    user_id TEXT,
    stage TEXT NOT NULL,
    source TEXT NOT NULL,
    run_id TEXT,
    run_link TEXT,
    model_id TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (owner, version)
);
CREATE TABLE model_version_tags (
    owner INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;
";

/// Brings a catalog to the current version.
///
/// # Errors
/// `UnsupportedFormat` when a newer tsq wrote it.
pub(crate) fn migrate(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")?;
    let found = version(&transaction)?;
    check_version(found)?;
    for statements in &MIGRATIONS[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(statements)?;
    }
    if found != VERSION {
        transaction.execute("DELETE FROM schema_version", [])?;
        transaction.execute("INSERT INTO schema_version VALUES (?1)", [VERSION])?;
    }
    Ok(transaction.commit()?)
}

/// The version of a catalog, 0 for an empty one.
pub(crate) fn version(connection: &Connection) -> Result<i64> {
    let found = connection.query_row("SELECT version FROM schema_version", [], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

/// Refuses versions that this code does not know.
pub(crate) fn check_version(found: i64) -> Result<()> {
    if (0..=VERSION).contains(&found) {
        return Ok(());
    }
    let message = format!("the catalog of runs has version {found}, this tsq reads up to {VERSION}");
    Err(Error::new(ErrorKind::UnsupportedFormat, message))
}
