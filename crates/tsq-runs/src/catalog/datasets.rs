//! Datasets that runs read.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::runs::active;
use super::{Catalog, ModelLink, Pair};
use crate::error::Result;
use crate::names::check_length;

/// Datasets of one list.
const SUMMARIES: u32 = 1000;

/// A dataset, identified within an experiment by name and digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Digest of its content.
    pub digest: String,
    /// What kind of place it is from.
    pub source_type: String,
    /// Where it is from.
    pub source: String,
    /// Its columns, as text.
    pub schema: Option<String>,
    /// Its statistics, as text.
    pub profile: Option<String>,
}

/// A dataset that a run read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetInput {
    /// The dataset.
    pub dataset: Dataset,
    /// What it was read for, by key.
    pub tags: Vec<Pair>,
}

/// A dataset of an experiment, as lists of datasets show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSummary {
    /// Number of the experiment.
    pub experiment: i64,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// What runs read it for.
    pub context: Option<String>,
}

/// The tag of an input that says what it was read for.
const CONTEXT_TAG: &str = "mlflow.data.context";

fn check(input: &DatasetInput) -> Result<()> {
    let dataset = &input.dataset;
    check_length("Dataset name", "name", &dataset.name, 500)?;
    check_length("Dataset digest", "digest", &dataset.digest, 36)?;
    check_length("Dataset source", "source", &dataset.source, 65_535)?;
    check_length("Dataset schema", "schema", dataset.schema.as_deref().unwrap_or_default(), 1_048_575)?;
    check_length("Dataset profile", "profile", dataset.profile.as_deref().unwrap_or_default(), 16_777_215)?;
    for (key, value) in &input.tags {
        check_length("Input tag key", key, key, 255)?;
        check_length("Input tag", key, value, 500)?;
    }
    Ok(())
}

fn dataset_id(transaction: &Transaction<'_>, experiment: i64, dataset: &Dataset) -> Result<i64> {
    let sql = "SELECT id FROM datasets WHERE experiment = ?1 AND name = ?2 AND digest = ?3";
    let known: Option<i64> = transaction
        .prepare_cached(sql)?
        .query_row(params![experiment, dataset.name, dataset.digest], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let Dataset { name, digest, source_type, source, schema, profile } = dataset;
    let sql = "INSERT INTO datasets (experiment, name, digest, source_type, source, schema, profile) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction.prepare_cached(sql)?.execute(params![
        experiment,
        name,
        digest,
        source_type,
        source,
        schema,
        profile
    ])?;
    Ok(transaction.last_insert_rowid())
}

/// The datasets that a run read.
pub(super) fn of_run(connection: &Connection, run: i64) -> Result<Vec<DatasetInput>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.id, d.name, d.digest, d.source_type, d.source, d.schema, d.profile FROM inputs i \
         JOIN datasets d ON d.id = i.dataset WHERE i.run = ?1 ORDER BY d.id",
    )?;
    let rows = statement.query_map([run], |row| {
        let dataset = Dataset {
            name: row.get(1)?,
            digest: row.get(2)?,
            source_type: row.get(3)?,
            source: row.get(4)?,
            schema: row.get(5)?,
            profile: row.get(6)?,
        };
        Ok((row.get::<_, i64>(0)?, dataset))
    })?;
    let mut inputs = Vec::new();
    for row in rows {
        let (id, dataset) = row?;
        let sql = "SELECT key, value FROM input_tags WHERE run = ?1 AND dataset = ?2 ORDER BY key";
        let mut statement = connection.prepare_cached(sql)?;
        let tags = statement.query_map([run, id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        inputs.push(DatasetInput { dataset, tags: tags.collect::<Result<_, _>>()? });
    }
    Ok(inputs)
}

impl Catalog {
    /// Notes datasets and models that a run read. The same dataset twice is kept once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a deleted run or a text that is too long.
    pub fn log_inputs(&self, run_id: &str, inputs: &[DatasetInput], models: &[ModelLink]) -> Result<()> {
        inputs.iter().try_for_each(check)?;
        self.write(|tx| {
            let run = active(tx, run_id)?;
            for input in inputs {
                let dataset = dataset_id(tx, run.experiment, &input.dataset)?;
                tx.prepare_cached("INSERT OR IGNORE INTO inputs VALUES (?1, ?2)")?.execute([run.id, dataset])?;
                for (key, value) in &input.tags {
                    let sql = "INSERT OR REPLACE INTO input_tags VALUES (?1, ?2, ?3, ?4)";
                    tx.prepare_cached(sql)?.execute(params![run.id, dataset, key, value])?;
                }
            }
            for model in models {
                let sql = "INSERT OR REPLACE INTO run_models VALUES (?1, 0, ?2, ?3)";
                tx.prepare_cached(sql)?.execute(params![run.id, model.model_id, model.step])?;
            }
            Ok(())
        })
    }

    /// The datasets of experiments, at most a thousand.
    ///
    /// # Errors
    /// `Storage`.
    pub fn datasets(&self, experiments: &[i64]) -> Result<Vec<DatasetSummary>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT d.name, d.digest, t.value FROM datasets d JOIN inputs i ON i.dataset = d.id \
                 LEFT JOIN input_tags t ON t.run = i.run AND t.dataset = d.id AND t.key = ?2 \
                 WHERE d.experiment = ?1 ORDER BY d.name, d.digest, t.value LIMIT ?3",
            )?;
            let mut found = Vec::new();
            for experiment in experiments {
                let rows = statement.query_map(params![experiment, CONTEXT_TAG, SUMMARIES], |row| {
                    Ok(DatasetSummary {
                        experiment: *experiment,
                        name: row.get(0)?,
                        digest: row.get(1)?,
                        context: row.get(2)?,
                    })
                })?;
                for row in rows.take((SUMMARIES as usize).saturating_sub(found.len())) {
                    found.push(row?);
                }
            }
            Ok(found)
        })
    }
}
