//! Experiments: named groups of runs.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::search::{Page, View, search_page};
use super::tags::TagTable;
use super::{Catalog, Pair};
use crate::error::{Error, Result};
use crate::filter::{EXPERIMENTS, Filter};
use crate::names::{EXPERIMENT_NAME_CHARS, EXPERIMENT_TAG_CHARS, check_key, check_length};

const TAGS: TagTable = TagTable("experiment_tags");

const COLUMNS: &str = "e.id, e.name, e.artifact_location, e.deleted_ms, e.created_ms, e.updated_ms";

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its number; 0 is the default one.
    pub id: i64,
    /// Its name, unique among all, deleted ones included.
    pub name: String,
    /// Where the artifacts of its runs go.
    pub artifact_location: String,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
    /// Sorted by key.
    pub tags: Vec<Pair>,
}

impl Experiment {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            artifact_location: row.get(2)?,
            deleted: row.get::<_, Option<i64>>(3)?.is_some(),
            created_ms: row.get(4)?,
            updated_ms: row.get(5)?,
            tags: Vec::new(),
        })
    }
}

/// Creates the experiment that every catalog has.
pub(super) fn create_default(transaction: &Transaction<'_>, artifacts: &str, now_ms: i64) -> Result<()> {
    transaction.execute(
        "INSERT OR IGNORE INTO experiments (id, name, artifact_location, created_ms, updated_ms) \
         SELECT 0, 'Default', ?1, ?2, ?2 WHERE NOT EXISTS (SELECT 1 FROM experiments)",
        params![format!("{artifacts}/0"), now_ms],
    )?;
    Ok(())
}

/// The experiment with this number, without tags.
pub(super) fn bare(connection: &Connection, id: i64) -> Result<Experiment> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM experiments e WHERE e.id = ?1"))?;
    let found = statement.query_row([id], Experiment::from_row).optional()?;
    found.ok_or_else(|| Error::not_found(format!("No Experiment with id={id} exists")))
}

/// The experiment with this number, which must not be deleted.
pub(super) fn active(connection: &Connection, id: i64) -> Result<Experiment> {
    let found = bare(connection, id)?;
    if found.deleted {
        let message = format!("The experiment {id} must be in the 'active' state. Current state is deleted.");
        return Err(Error::invalid(message));
    }
    Ok(found)
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid("Invalid experiment name: it must not be empty"));
    }
    check_length("Experiment name", "name", name, EXPERIMENT_NAME_CHARS)
}

fn check_tags(tags: &[Pair]) -> Result<()> {
    for (key, value) in tags {
        check_key("tag", key)?;
        check_length("Tag", key, value, EXPERIMENT_TAG_CHARS)?;
    }
    Ok(())
}

impl Catalog {
    /// Creates an experiment and gives its number. Without a location its artifacts lie beneath the default one.
    ///
    /// # Errors
    /// `Exists` when the name is taken, by a deleted one too; `Invalid`.
    pub fn create_experiment(
        &self,
        name: &str,
        artifact_location: Option<&str>,
        tags: &[Pair],
        now_ms: i64,
    ) -> Result<i64> {
        check_name(name)?;
        check_tags(tags)?;
        self.write(|tx| {
            let taken = tx.prepare_cached("SELECT deleted_ms FROM experiments WHERE name = ?1")?;
            check_free(taken, name)?;
            let insert =
                "INSERT INTO experiments (name, artifact_location, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?3)";
            tx.prepare_cached(insert)?.execute(params![name, artifact_location.unwrap_or_default(), now_ms])?;
            let id = tx.last_insert_rowid();
            if artifact_location.is_none_or(str::is_empty) {
                let location = format!("{}/{id}", self.artifact_root);
                let update = "UPDATE experiments SET artifact_location = ?2 WHERE id = ?1";
                tx.prepare_cached(update)?.execute(params![id, location])?;
            }
            TAGS.set(tx, id, tags)?;
            Ok(id)
        })
    }

    /// The experiment with this number, deleted or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn experiment(&self, id: i64) -> Result<Experiment> {
        self.read(|connection| {
            let mut found = bare(connection, id)?;
            found.tags = TAGS.of(connection, id)?;
            Ok(found)
        })
    }

    /// The experiment with this name, deleted or not.
    ///
    /// # Errors
    /// `Storage`.
    pub fn experiment_by_name(&self, name: &str) -> Result<Option<Experiment>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM experiments e WHERE e.name = ?1");
            let found = connection.prepare_cached(&sql)?.query_row([name], Experiment::from_row).optional()?;
            let Some(mut found) = found else { return Ok(None) };
            found.tags = TAGS.of(connection, found.id)?;
            Ok(Some(found))
        })
    }

    /// Renames an experiment that is not deleted.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `Invalid`.
    pub fn rename_experiment(&self, id: i64, name: &str, now_ms: i64) -> Result<()> {
        check_name(name)?;
        self.write(|tx| {
            if active(tx, id)?.name == name {
                return Ok(());
            }
            check_free(tx.prepare_cached("SELECT deleted_ms FROM experiments WHERE name = ?1")?, name)?;
            let sql = "UPDATE experiments SET name = ?2, updated_ms = ?3 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![id, name, now_ms])?;
            Ok(())
        })
    }

    /// Marks an experiment and its runs as deleted.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is deleted already or the default one.
    pub fn delete_experiment(&self, id: i64, now_ms: i64) -> Result<()> {
        self.write(|tx| {
            active(tx, id)?;
            let sql = "UPDATE experiments SET deleted_ms = ?2, updated_ms = ?2 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute([id, now_ms])?;
            let sql = "UPDATE runs SET deleted_ms = ?2 WHERE experiment = ?1 AND deleted_ms IS NULL";
            tx.prepare_cached(sql)?.execute([id, now_ms])?;
            Ok(())
        })
    }

    /// Takes an experiment back that is deleted, with the runs that were deleted with it.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is not deleted.
    pub fn restore_experiment(&self, id: i64, now_ms: i64) -> Result<()> {
        self.write(|tx| {
            if !bare(tx, id)?.deleted {
                let message = format!("The experiment {id} must be in the 'deleted' state. Current state is active.");
                return Err(Error::invalid(message));
            }
            let sql = "UPDATE runs SET deleted_ms = NULL WHERE experiment = ?1 \
                       AND deleted_ms = (SELECT deleted_ms FROM experiments WHERE id = ?1)";
            tx.prepare_cached(sql)?.execute([id])?;
            let sql = "UPDATE experiments SET deleted_ms = NULL, updated_ms = ?2 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute([id, now_ms])?;
            Ok(())
        })
    }

    /// Sets a tag of an experiment that is not deleted.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn set_experiment_tag(&self, id: i64, key: &str, value: &str, now_ms: i64) -> Result<()> {
        let tag = [(key.to_owned(), value.to_owned())];
        check_tags(&tag)?;
        self.write(|tx| {
            active(tx, id)?;
            TAGS.set(tx, id, &tag)?;
            tx.prepare_cached("UPDATE experiments SET updated_ms = ?2 WHERE id = ?1")?.execute([id, now_ms])?;
            Ok(())
        })
    }

    /// Removes a tag of an experiment that is not deleted.
    ///
    /// # Errors
    /// `NotFound` for the experiment and for the tag.
    pub fn delete_experiment_tag(&self, id: i64, key: &str) -> Result<()> {
        self.write(|tx| {
            active(tx, id)?;
            if TAGS.remove(tx, id, key)? {
                return Ok(());
            }
            Err(Error::not_found(format!("No tag with name: {key} in experiment with id {id}")))
        })
    }

    /// A page of the experiments that pass a filter.
    ///
    /// # Errors
    /// `Invalid` for a filter or an order that cannot be understood.
    pub fn search_experiments(
        &self,
        filter: &str,
        order_by: &[String],
        view: View,
        page: &Page,
    ) -> Result<(Vec<Experiment>, Option<u64>)> {
        let filter = Filter::parse(filter, order_by, &EXPERIMENTS)?;
        self.read(|connection| {
            let mut query = filter.compile(connection)?;
            query.and(view.condition("e.deleted_ms"));
            let (ids, next) = search_page(connection, &query, page)?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let mut experiment = bare(connection, id)?;
                experiment.tags = TAGS.of(connection, id)?;
                found.push(experiment);
            }
            Ok((found, next))
        })
    }
}

fn check_free(mut by_name: rusqlite::CachedStatement<'_>, name: &str) -> Result<()> {
    match by_name.query_row([name], |row| row.get::<_, Option<i64>>(0)).optional()? {
        None => Ok(()),
        Some(None) => Err(Error::exists(format!("Experiment(name={name}) already exists."))),
        Some(Some(_)) => Err(Error::exists(format!(
            "Experiment {name:?} already exists in deleted state. You can restore the experiment, or permanently \
             delete it to create a new one."
        ))),
    }
}
