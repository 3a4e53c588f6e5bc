//! Runs, their params and tags, and what links them to models.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::datasets::{self, DatasetInput};
use super::latest::{self, Latest};
use super::search::{Page, RunSearch, run_query, search_page};
use super::{Catalog, ModelMetric, Pair, experiments, key, key_of, models};
use crate::error::{Error, ErrorKind, Result};
use crate::names::{NAME_CHARS, PARAM_CHARS, TAG_CHARS, check_key, check_length, check_run_id, shortened};
use crate::random_name::random_name;

/// States of a run.
pub const STATUSES: [&str; 5] = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];

/// The tag that mirrors a run's name.
const NAME_TAG: &str = "mlflow.runName";

pub(super) const COLUMNS: &str = "r.id, r.run_id, r.experiment, r.name, r.user_id, r.status, r.start_ms, r.end_ms, \
                                  r.deleted_ms, r.artifact_uri, r.source";

/// A run without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its number in the catalog.
    pub id: i64,
    /// Its id, unique in the catalog.
    pub run_id: String,
    /// Number of its experiment.
    pub experiment: i64,
    /// Its name.
    pub name: String,
    /// Who ran it.
    pub user_id: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// Milliseconds since 1970.
    pub start_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub end_ms: Option<i64>,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where its artifacts are.
    pub artifact_uri: String,
    /// Label `source` of its metrics: the protocol that wrote it.
    pub source: String,
}

impl RunInfo {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            run_id: row.get(1)?,
            experiment: row.get(2)?,
            name: row.get(3)?,
            user_id: row.get(4)?,
            status: row.get(5)?,
            start_ms: row.get(6)?,
            end_ms: row.get(7)?,
            deleted: row.get::<_, Option<i64>>(8)?.is_some(),
            artifact_uri: row.get(9)?,
            source: row.get(10)?,
        })
    }
}

/// What is joined to the labels of a run's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunNames {
    pub(crate) run_id: String,
    pub(crate) name: String,
    pub(crate) experiment: String,
    pub(crate) start_ms: Option<i64>,
}

/// A model that a run read or wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLink {
    /// Id of the model.
    pub model_id: String,
    /// Training step.
    pub step: i64,
}

/// A run with its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The run itself.
    pub info: RunInfo,
    /// Latest values, by key.
    pub metrics: Vec<Latest>,
    /// By key.
    pub params: Vec<Pair>,
    /// By key.
    pub tags: Vec<Pair>,
    /// Datasets it read.
    pub inputs: Vec<DatasetInput>,
    /// Models it read.
    pub model_inputs: Vec<ModelLink>,
    /// Models it wrote.
    pub model_outputs: Vec<ModelLink>,
}

/// What a run is created from.
#[derive(Clone, Debug, Default)]
pub struct NewRun<'a> {
    /// Number of its experiment, which must not be deleted.
    pub experiment: i64,
    /// Its id; none: a random one of 32 hexadecimal digits.
    pub run_id: Option<&'a str>,
    /// Its name; none: that of the tag `mlflow.runName`, or one that is made up.
    pub name: Option<&'a str>,
    /// Who runs it.
    pub user_id: &'a str,
    /// Milliseconds since 1970.
    pub start_ms: Option<i64>,
    /// Its tags.
    pub tags: &'a [Pair],
    /// Label `source` of its metrics.
    pub source: &'a str,
}

/// What changes in a run; none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct RunChange<'a> {
    /// One of [`STATUSES`].
    pub status: Option<&'a str>,
    /// Milliseconds since 1970.
    pub end_ms: Option<i64>,
    /// The new name.
    pub name: Option<&'a str>,
}

pub(super) fn info(connection: &Connection, run_id: &str) -> Result<RunInfo> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM runs r WHERE r.run_id = ?1"))?;
    let found = statement.query_row([run_id], RunInfo::from_row).optional()?;
    found.ok_or_else(|| Error::not_found(format!("Run with id={} not found", shortened(run_id))))
}

/// A run that is not deleted.
pub(super) fn active(connection: &Connection, run_id: &str) -> Result<RunInfo> {
    let found = info(connection, run_id)?;
    if found.deleted { Err(not_active(run_id)) } else { Ok(found) }
}

pub(crate) fn not_active(run_id: &str) -> Error {
    Error::invalid(format!("The run {run_id} must be in the 'active' state. Current state is deleted."))
}

/// Texts of a run by key, of the table `params` or `tags`.
fn texts(connection: &Connection, table: &str, run: i64) -> Result<Vec<Pair>> {
    let sql =
        format!("SELECT k.name, t.value FROM {table} t JOIN keys k ON k.id = t.key WHERE t.run = ?1 ORDER BY k.name");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn links(connection: &Connection, run: i64, output: bool) -> Result<Vec<ModelLink>> {
    let sql = "SELECT model_id, step FROM run_models WHERE run = ?1 AND output = ?2 ORDER BY step, model_id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows =
        statement.query_map(params![run, output], |row| Ok(ModelLink { model_id: row.get(0)?, step: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn whole(connection: &Connection, info: RunInfo) -> Result<Run> {
    let id = info.id;
    Ok(Run {
        metrics: latest::of_run(connection, id)?,
        params: texts(connection, "params", id)?,
        tags: texts(connection, "tags", id)?,
        inputs: datasets::of_run(connection, id)?,
        model_inputs: links(connection, id, false)?,
        model_outputs: links(connection, id, true)?,
        info,
    })
}

/// Checks keys and lengths of params before anything is written.
pub(crate) fn check_params(params: &[Pair]) -> Result<()> {
    for (key, value) in params {
        check_key("parameter", key)?;
        check_length("Param", key, value, PARAM_CHARS)?;
    }
    Ok(())
}

/// Checks keys and lengths of tags before anything is written.
pub(crate) fn check_tags(tags: &[Pair]) -> Result<()> {
    for (key, value) in tags {
        check_key("tag", key)?;
        check_length("Tag", key, value, TAG_CHARS)?;
        if key == NAME_TAG {
            check_length("Tag", key, value, NAME_CHARS)?;
        }
    }
    Ok(())
}

fn put_params(transaction: &Transaction<'_>, info: &RunInfo, params: &[Pair]) -> Result<()> {
    for (name, value) in params {
        let key = key(transaction, name)?;
        let mut known = transaction.prepare_cached("SELECT value FROM params WHERE key = ?1 AND run = ?2")?;
        let known: Option<String> = known.query_row([key, info.id], |row| row.get(0)).optional()?;
        match known {
            Some(known) if known == *value => {}
            Some(known) => {
                return Err(Error::invalid(format!(
                    "Changing param values is not allowed. Param with key='{name}' was already logged with \
                     value='{known}' for run ID='{}'. Attempted logging new value '{value}'.",
                    info.run_id
                )));
            }
            None => {
                let sql = "INSERT INTO params VALUES (?1, ?2, ?3)";
                transaction.prepare_cached(sql)?.execute(params![key, info.id, value])?;
            }
        }
    }
    Ok(())
}

fn put_tags(transaction: &Transaction<'_>, run: i64, tags: &[Pair]) -> Result<()> {
    for (name, value) in tags {
        let key = key(transaction, name)?;
        let sql = "INSERT OR REPLACE INTO tags VALUES (?1, ?2, ?3)";
        transaction.prepare_cached(sql)?.execute(params![key, run, value])?;
        if name == NAME_TAG {
            transaction.prepare_cached("UPDATE runs SET name = ?2 WHERE id = ?1")?.execute(params![run, value])?;
        }
    }
    Ok(())
}

/// The catalog's part of what a client logs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CatalogPart<'a> {
    pub(crate) params: &'a [Pair],
    pub(crate) tags: &'a [Pair],
    /// Metrics of logged models, by the models' ids.
    pub(crate) model_metrics: &'a [(String, ModelMetric)],
    /// Samples follow: until the cache is written the engine may hold newer ones.
    pub(crate) unsettle: bool,
}

impl Catalog {
    /// Creates a run.
    ///
    /// # Errors
    /// `NotFound` for the experiment; `Invalid` when it is deleted or a tag is not allowed; `Exists` for a taken id.
    pub fn create_run(&self, new: &NewRun<'_>) -> Result<Run> {
        check_tags(new.tags)?;
        let run_id = match new.run_id {
            Some(id) => id.to_owned(),
            None => self.random_hex(16)?,
        };
        check_run_id(&run_id)?;
        let tagged = new.tags.iter().find(|(key, _)| key == NAME_TAG).map(|(_, value)| value.as_str());
        let given = new.name.filter(|name| !name.is_empty()).or(tagged.filter(|name| !name.is_empty()));
        let name = given.map_or_else(|| random_name(&run_id), str::to_owned);
        check_length("Run name", "run_name", &name, NAME_CHARS)?;
        self.write(|tx| {
            let experiment = experiments::active(tx, new.experiment)?;
            if info(tx, &run_id).is_ok() {
                return Err(Error::exists(format!("Run with id={run_id} already exists")));
            }
            let artifact_uri = format!("{}/{run_id}/artifacts", experiment.artifact_location);
            tx.prepare_cached(
                "INSERT INTO runs (run_id, experiment, name, user_id, status, start_ms, artifact_uri, source) \
                 VALUES (?1, ?2, ?3, ?4, 'RUNNING', ?5, ?6, ?7)",
            )?
            .execute(params![
                run_id,
                new.experiment,
                name,
                new.user_id,
                new.start_ms,
                artifact_uri,
                new.source
            ])?;
            let run = tx.last_insert_rowid();
            put_tags(tx, run, new.tags)?;
            put_tags(tx, run, &[(NAME_TAG.to_owned(), name.clone())])?;
            let info = info(tx, &run_id)?;
            whole(tx, info)
        })
    }

    /// A run without its data, deleted or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn run_info(&self, run_id: &str) -> Result<RunInfo> {
        self.read(|connection| info(connection, run_id))
    }

    /// A run with its data, deleted or not; latest values as far as they are cached.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn run(&self, run_id: &str) -> Result<Run> {
        self.read(|connection| {
            let info = info(connection, run_id)?;
            whole(connection, info)
        })
    }

    /// Changes a run that is not deleted.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a deleted run or an unknown status.
    pub fn update_run(&self, run_id: &str, change: &RunChange<'_>) -> Result<RunInfo> {
        if let Some(status) = change.status.filter(|status| !STATUSES.contains(status)) {
            return Err(Error::invalid(format!("Invalid run status {status:?}: it must be one of {STATUSES:?}")));
        }
        let name = change.name.filter(|name| !name.is_empty());
        if let Some(name) = name {
            check_length("Run name", "run_name", name, NAME_CHARS)?;
        }
        self.write(|tx| {
            let run = active(tx, run_id)?;
            let sql = "UPDATE runs SET status = coalesce(?2, status), end_ms = coalesce(?3, end_ms) WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![run.id, change.status, change.end_ms])?;
            if let Some(name) = name {
                put_tags(tx, run.id, &[(NAME_TAG.to_owned(), name.to_owned())])?;
            }
            info(tx, run_id)
        })
    }

    /// Marks a run as deleted; nothing happens when it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete_run(&self, run_id: &str, now_ms: i64) -> Result<()> {
        self.set_deleted(run_id, Some(now_ms))
    }

    /// Takes a run back that is deleted; nothing happens when it is not.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn restore_run(&self, run_id: &str) -> Result<()> {
        self.set_deleted(run_id, None)
    }

    fn set_deleted(&self, run_id: &str, deleted_ms: Option<i64>) -> Result<()> {
        self.write(|tx| {
            let run = info(tx, run_id)?;
            if run.deleted != deleted_ms.is_some() {
                tx.prepare_cached("UPDATE runs SET deleted_ms = ?2 WHERE id = ?1")?
                    .execute(params![run.id, deleted_ms])?;
            }
            Ok(())
        })
    }

    /// Writes the catalog's part of what a client logs. Nothing is written when any of it is refused.
    pub(crate) fn put_logged(&self, run_id: &str, logged: CatalogPart<'_>) -> Result<()> {
        self.write(|tx| {
            let run = active(tx, run_id)?;
            put_params(tx, &run, logged.params)?;
            put_tags(tx, run.id, logged.tags)?;
            models::put_metrics(tx, logged.model_metrics)?;
            if logged.unsettle {
                tx.prepare_cached("UPDATE runs SET unsettled = 1 WHERE id = ?1")?.execute([run.id])?;
            }
            Ok(())
        })
    }

    /// Removes a tag of a run that is not deleted.
    ///
    /// # Errors
    /// `NotFound` for the run and for the tag; `Invalid` for a deleted run.
    pub fn delete_tag(&self, run_id: &str, name: &str) -> Result<()> {
        self.write(|tx| {
            let run = active(tx, run_id)?;
            let removed = match key_of(tx, name)? {
                None => 0,
                Some(key) => {
                    tx.prepare_cached("DELETE FROM tags WHERE key = ?1 AND run = ?2")?.execute([key, run.id])?
                }
            };
            if removed > 0 {
                return Ok(());
            }
            Err(Error::not_found(format!("No tag with name: {name} in run with id {run_id}")))
        })
    }

    /// Links a run that is not deleted to models it read or wrote. The same link twice is kept once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a deleted run.
    pub fn link_models(&self, run_id: &str, outputs: bool, models: &[ModelLink]) -> Result<()> {
        self.write(|tx| {
            let run = active(tx, run_id)?;
            let sql = "INSERT OR REPLACE INTO run_models VALUES (?1, ?2, ?3, ?4)";
            let mut statement = tx.prepare_cached(sql)?;
            for model in models {
                statement.execute(params![run.id, outputs, model.model_id, model.step])?;
            }
            Ok(())
        })
    }

    /// A page of the runs that pass a search.
    ///
    /// # Errors
    /// `Invalid` for a filter or an order that cannot be understood.
    pub fn search_runs(&self, search: &RunSearch<'_>, page: &Page) -> Result<(Vec<Run>, Option<u64>)> {
        let filter = search.parse()?;
        self.read(|connection| {
            let query = run_query(connection, search, &filter)?;
            let (ids, next) = search_page(connection, &query, page)?;
            let sql = format!("SELECT {COLUMNS} FROM runs r WHERE r.id = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let runs = ids.into_iter().map(|id| whole(connection, statement.query_row([id], RunInfo::from_row)?));
            Ok((runs.collect::<Result<_>>()?, next))
        })
    }

    /// Those of these ids that runs have, with what is joined to the labels of their metrics.
    pub(crate) fn names(&self, ids: &[String]) -> Result<Vec<RunNames>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT r.run_id, r.name, e.name, r.start_ms FROM runs r JOIN experiments e ON e.id = r.experiment \
                 WHERE r.run_id = ?1",
            )?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let row = statement.query_row([id], |row| {
                    Ok(RunNames {
                        run_id: row.get(0)?,
                        name: row.get(1)?,
                        experiment: row.get(2)?,
                        start_ms: row.get(3)?,
                    })
                });
                found.extend(row.optional()?);
            }
            Ok(found)
        })
    }

    /// Runs that are not deleted, with their data and the names of their experiments: those of these ids, or all.
    ///
    /// # Errors
    /// `Invalid` when there are more than `most`.
    pub(crate) fn known_runs(&self, ids: Option<&[String]>, most: usize) -> Result<Vec<(Run, String)>> {
        self.read(|connection| {
            let all = "SELECT run_id FROM runs WHERE deleted_ms IS NULL LIMIT ?1";
            let ids: Vec<String> = match ids {
                Some(ids) => ids.to_vec(),
                None => {
                    let mut statement = connection.prepare_cached(all)?;
                    let rows = statement
                        .query_map([u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1)], |row| row.get(0))?;
                    rows.collect::<Result<_, _>>()?
                }
            };
            if ids.len() > most {
                return Err(Error::invalid(format!("more than {most} runs: name some of them by run_id")));
            }
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                match info(connection, id) {
                    Ok(info) if !info.deleted => {
                        let name = experiments::bare(connection, info.experiment)?.name;
                        found.push((whole(connection, info)?, name));
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(found)
        })
    }

    /// Whether there is any run.
    pub(crate) fn has_runs(&self) -> Result<bool> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM runs)")?;
            Ok(statement.query_row([], |row| row.get(0))?)
        })
    }
}
