//! Logged models: what runs produced, with params, tags and metrics of their own.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::latest::{from_columns, to_columns};
use super::search::{Page, search_page};
use super::tags::TagTable;
use super::{Catalog, Pair, experiments};
use crate::error::{Error, Result};
use crate::filter::{Filter, LOGGED_MODELS};
use crate::names::{NAME_CHARS, PARAM_CHARS, TAG_CHARS, check_key, check_length, shortened};
use crate::random_name::random_name;

const TAGS: TagTable = TagTable("model_tags");
const PARAMS: TagTable = TagTable("model_params");

/// States of a logged model.
const STATUSES: [&str; 3] = ["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"];

/// Metrics that a model keeps; those of the smallest steps go first.
const METRICS_KEPT: i64 = 10_000;

const COLUMNS: &str = "m.id, m.model_id, m.experiment, m.name, m.model_type, m.source_run_id, m.status, \
                       m.status_message, m.artifact_uri, m.created_ms, m.updated_ms";

/// A logged model.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedModel {
    id: i64,
    /// Its id.
    pub model_id: String,
    /// Number of its experiment.
    pub experiment: i64,
    /// Its name.
    pub name: String,
    /// What kind of model it is, if that was said.
    pub model_type: Option<String>,
    /// The run that wrote it.
    pub source_run_id: Option<String>,
    /// Whether it is ready.
    pub status: String,
    /// More about the state.
    pub status_message: Option<String>,
    /// Where its files are.
    pub artifact_uri: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
    /// By key.
    pub tags: Vec<Pair>,
    /// By key.
    pub params: Vec<Pair>,
    /// By key, step and time.
    pub metrics: Vec<ModelMetric>,
}

/// A metric of a logged model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelMetric {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: f64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// Training step.
    pub step: i64,
    /// The run that logged it.
    pub run_id: String,
    /// Name of the dataset it was measured on; empty for none.
    pub dataset_name: String,
    /// Digest of that dataset.
    pub dataset_digest: String,
}

/// What a logged model is created from.
#[derive(Clone, Debug, Default)]
pub struct NewLoggedModel<'a> {
    /// Number of its experiment, which must not be deleted.
    pub experiment: i64,
    /// Its name; none: one that is made up.
    pub name: Option<&'a str>,
    /// What kind of model it is.
    pub model_type: Option<&'a str>,
    /// The run that writes it.
    pub source_run_id: Option<&'a str>,
    /// Its params.
    pub params: &'a [Pair],
    /// Its tags.
    pub tags: &'a [Pair],
}

/// A key of an order of logged models: a field as in filters, such as `metrics.loss`, and its direction.
#[derive(Clone, Debug)]
pub struct ModelSort {
    /// The field.
    pub field: String,
    /// Smallest first.
    pub ascending: bool,
}

impl LoggedModel {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            model_id: row.get(1)?,
            experiment: row.get(2)?,
            name: row.get(3)?,
            model_type: row.get(4)?,
            source_run_id: row.get(5)?,
            status: row.get(6)?,
            status_message: row.get(7)?,
            artifact_uri: row.get(8)?,
            created_ms: row.get(9)?,
            updated_ms: row.get(10)?,
            tags: Vec::new(),
            params: Vec::new(),
            metrics: Vec::new(),
        })
    }
}

fn bare(connection: &Connection, model_id: &str) -> Result<LoggedModel> {
    let sql = format!("SELECT {COLUMNS} FROM models m WHERE m.model_id = ?1 AND m.deleted_ms IS NULL");
    let found = connection.prepare_cached(&sql)?.query_row([model_id], LoggedModel::from_row).optional()?;
    found.ok_or_else(|| Error::not_found(format!("Logged model with ID '{}' not found.", shortened(model_id))))
}

fn whole(connection: &Connection, mut model: LoggedModel) -> Result<LoggedModel> {
    model.tags = TAGS.of(connection, model.id)?;
    model.params = PARAMS.of(connection, model.id)?;
    let mut statement = connection.prepare_cached(
        "SELECT key, value, special, time_ms, step, run_id, dataset_name, dataset_digest FROM model_metrics \
         WHERE owner = ?1 ORDER BY key, step, time_ms",
    )?;
    let rows = statement.query_map([model.id], |row| {
        Ok(ModelMetric {
            key: row.get(0)?,
            value: from_columns(row.get(1)?, row.get(2)?),
            time_ms: row.get(3)?,
            step: row.get(4)?,
            run_id: row.get(5)?,
            dataset_name: row.get(6)?,
            dataset_digest: row.get(7)?,
        })
    })?;
    model.metrics = rows.collect::<Result<_, _>>()?;
    Ok(model)
}

fn check_pairs(what: &str, pairs: &[Pair], chars_max: usize) -> Result<()> {
    for (key, value) in pairs {
        check_key(what, key)?;
        check_length(what, key, value, chars_max)?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    check_length("Model name", "name", name, NAME_CHARS)?;
    // What stands in the addresses of models cannot stand in their names.
    if name.is_empty() || name.contains(['/', ':', '.', '%', '"', '\'']) {
        let message = format!(
            "Invalid model name ({name:?}) provided. Model name must be a non-empty string and cannot contain the \
             following characters: ('/', ':', '.', '%', '\"', \"'\")"
        );
        return Err(Error::invalid(message));
    }
    Ok(())
}

fn touch(transaction: &Transaction<'_>, id: i64, now_ms: i64) -> Result<()> {
    transaction.prepare_cached("UPDATE models SET updated_ms = ?2 WHERE id = ?1")?.execute([id, now_ms])?;
    Ok(())
}

impl Catalog {
    /// Creates a logged model, which is pending until its state is set.
    ///
    /// # Errors
    /// `NotFound` for the experiment; `Invalid`.
    pub fn create_logged_model(&self, new: &NewLoggedModel<'_>, now_ms: i64) -> Result<LoggedModel> {
        check_pairs("Param", new.params, PARAM_CHARS)?;
        check_pairs("Tag", new.tags, TAG_CHARS)?;
        let model_id = format!("m-{}", self.random_hex(16)?);
        let name = new.name.filter(|name| !name.is_empty()).map_or_else(|| random_name(&model_id), str::to_owned);
        check_name(&name)?;
        self.write(|tx| {
            let experiment = experiments::active(tx, new.experiment)?;
            let artifact_uri = format!("{}/models/{model_id}/artifacts", experiment.artifact_location);
            tx.prepare_cached(
                "INSERT INTO models (model_id, experiment, name, model_type, source_run_id, status, artifact_uri, \
                 created_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
            )?
            .execute(params![
                model_id,
                new.experiment,
                name,
                new.model_type.filter(|text| !text.is_empty()),
                new.source_run_id.filter(|text| !text.is_empty()),
                STATUSES[0],
                artifact_uri,
                now_ms
            ])?;
            let id = tx.last_insert_rowid();
            PARAMS.set(tx, id, new.params)?;
            TAGS.set(tx, id, new.tags)?;
            whole(tx, bare(tx, &model_id)?)
        })
    }

    /// A logged model that is not deleted.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn logged_model(&self, model_id: &str) -> Result<LoggedModel> {
        self.read(|connection| whole(connection, bare(connection, model_id)?))
    }

    /// Sets the state of a logged model.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for an unknown state.
    pub fn finish_logged_model(&self, model_id: &str, status: &str, now_ms: i64) -> Result<LoggedModel> {
        if !STATUSES.contains(&status) {
            return Err(Error::invalid(format!("Invalid model status {status:?}: it must be one of {STATUSES:?}")));
        }
        self.write(|tx| {
            let model = bare(tx, model_id)?;
            let sql = "UPDATE models SET status = ?2, updated_ms = ?3 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![model.id, status, now_ms])?;
            whole(tx, bare(tx, model_id)?)
        })
    }

    /// Sets tags of a logged model, over earlier values.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn set_logged_model_tags(&self, model_id: &str, tags: &[Pair], now_ms: i64) -> Result<()> {
        check_pairs("Tag", tags, TAG_CHARS)?;
        self.write(|tx| {
            let model = bare(tx, model_id)?;
            TAGS.set(tx, model.id, tags)?;
            touch(tx, model.id, now_ms)
        })
    }

    /// Removes a tag of a logged model.
    ///
    /// # Errors
    /// `NotFound` for the model and for the tag.
    pub fn delete_logged_model_tag(&self, model_id: &str, key: &str) -> Result<()> {
        self.write(|tx| {
            let model = bare(tx, model_id)?;
            if TAGS.remove(tx, model.id, key)? {
                return Ok(());
            }
            Err(Error::not_found(format!("No tag with key {key:?} found for model with ID {model_id:?}.")))
        })
    }

    /// Adds params to a logged model.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn log_logged_model_params(&self, model_id: &str, params: &[Pair], now_ms: i64) -> Result<()> {
        check_pairs("Param", params, PARAM_CHARS)?;
        self.write(|tx| {
            let model = bare(tx, model_id)?;
            PARAMS.set(tx, model.id, params)?;
            touch(tx, model.id, now_ms)
        })
    }

    /// Marks a logged model as deleted.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete_logged_model(&self, model_id: &str, now_ms: i64) -> Result<()> {
        self.write(|tx| {
            let model = bare(tx, model_id)?;
            tx.prepare_cached("UPDATE models SET deleted_ms = ?2 WHERE id = ?1")?.execute([model.id, now_ms])?;
            Ok(())
        })
    }

    /// A page of the logged models of experiments that pass a filter, newest first where the order leaves it open.
    ///
    /// # Errors
    /// `Invalid` for a filter or an order that cannot be understood.
    pub fn search_logged_models(
        &self,
        experiments: &[i64],
        filter: &str,
        order: &[ModelSort],
        page: &Page,
    ) -> Result<(Vec<LoggedModel>, Option<u64>)> {
        let direction = |ascending: bool| if ascending { "ASC" } else { "DESC" };
        let order: Vec<_> = order.iter().map(|key| format!("{} {}", key.field, direction(key.ascending))).collect();
        let filter = Filter::parse(filter, &order, &LOGGED_MODELS)?;
        self.read(|connection| {
            let mut query = filter.compile(connection)?;
            let args: Vec<_> = experiments.iter().map(|&id| query.arg(id)).collect();
            query.and(format!("m.experiment IN ({})", args.join(", ")));
            query.and("m.deleted_ms IS NULL");
            let (ids, next) = search_page(connection, &query, page)?;
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM models m WHERE m.id = ?1"))?;
            let models = ids.into_iter().map(|id| whole(connection, statement.query_row([id], LoggedModel::from_row)?));
            Ok((models.collect::<Result<_>>()?, next))
        })
    }
}

/// Adds metrics to logged models by their ids; a point that is known stays as it is.
pub(super) fn put_metrics(transaction: &Transaction<'_>, metrics: &[(String, ModelMetric)]) -> Result<()> {
    for (model_id, metric) in metrics {
        let model = bare(transaction, model_id)?;
        let (value, special) = to_columns(metric.value);
        let ModelMetric { key, run_id, dataset_name, dataset_digest, step, time_ms, .. } = metric;
        let sql = "INSERT OR IGNORE INTO model_metrics (owner, key, run_id, dataset_name, dataset_digest, step, time_ms, \
                   value, special) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        transaction.prepare_cached(sql)?.execute(params![
            model.id,
            key,
            run_id,
            dataset_name,
            dataset_digest,
            step,
            time_ms,
            value,
            special
        ])?;
    }
    let mut models: Vec<&str> = metrics.iter().map(|(model_id, _)| model_id.as_str()).collect();
    models.sort_unstable();
    models.dedup();
    models.into_iter().try_for_each(|model_id| forget_oldest(transaction, bare(transaction, model_id)?.id))
}

/// Keeps the metrics of a model within their bound.
fn forget_oldest(transaction: &Transaction<'_>, model: i64) -> Result<()> {
    let count = "SELECT count(*) FROM model_metrics WHERE owner = ?1";
    let count: i64 = transaction.prepare_cached(count)?.query_row([model], |row| row.get(0))?;
    if count <= METRICS_KEPT {
        return Ok(());
    }
    let sql = "DELETE FROM model_metrics WHERE owner = ?1 AND (key, run_id, dataset_name, dataset_digest, step, time_ms) \
               IN (SELECT key, run_id, dataset_name, dataset_digest, step, time_ms FROM model_metrics WHERE owner = ?1 \
               ORDER BY step, time_ms LIMIT ?2)";
    transaction.prepare_cached(sql)?.execute([model, count - METRICS_KEPT])?;
    Ok(())
}
