//! The model registry: registered models, their versions, aliases, tags and stages.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::search::{Page, search_page};
use super::tags::TagTable;
use super::{Catalog, Pair};
use crate::error::{Error, Result};
use crate::filter::{Filter, MODEL_VERSIONS, REGISTERED_MODELS};
use crate::names::{NAME_CHARS, REGISTRY_TAG_CHARS, check_key, check_length, shortened};

const TAGS: TagTable = TagTable("registered_model_tags");
const VERSION_TAGS: TagTable = TagTable("model_version_tags");

/// Stages of a version.
pub const STAGES: [&str; 4] = ["None", "Staging", "Production", "Archived"];

const COLUMNS: &str = "g.id, g.name, g.description, g.created_ms, g.updated_ms";
const VERSION_COLUMNS: &str = "v.id, g.name, v.version, v.description, v.user_id, v.stage, v.source, v.run_id, \
                               v.run_link, v.model_id, v.created_ms, v.updated_ms, v.owner";
const VERSIONS: &str = "model_versions v JOIN registered_models g ON g.id = v.owner";

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredModel {
    id: i64,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
    /// By key.
    pub tags: Vec<Pair>,
    /// Names of versions, by alias.
    pub aliases: Vec<(String, i64)>,
    /// The newest version of each stage.
    pub latest: Vec<ModelVersion>,
}

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    id: i64,
    owner: i64,
    /// Name of the registered model.
    pub name: String,
    /// Its number, from 1.
    pub version: i64,
    /// What it is.
    pub description: Option<String>,
    /// Who made it.
    pub user_id: Option<String>,
    /// One of [`STAGES`].
    pub stage: String,
    /// Where its files are.
    pub source: String,
    /// The run that wrote it.
    pub run_id: Option<String>,
    /// Address of that run elsewhere.
    pub run_link: Option<String>,
    /// The logged model it was made from.
    pub model_id: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
    /// By key.
    pub tags: Vec<Pair>,
    /// Aliases that name it.
    pub aliases: Vec<String>,
}

/// What a version is created from.
#[derive(Clone, Debug, Default)]
pub struct NewModelVersion<'a> {
    /// Name of the registered model.
    pub name: &'a str,
    /// Where its files are.
    pub source: &'a str,
    /// The run that wrote it.
    pub run_id: Option<&'a str>,
    /// Address of that run elsewhere.
    pub run_link: Option<&'a str>,
    /// The logged model it is made from.
    pub model_id: Option<&'a str>,
    /// What it is.
    pub description: Option<&'a str>,
    /// Its tags.
    pub tags: &'a [Pair],
}

impl ModelVersion {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            version: row.get(2)?,
            description: row.get(3)?,
            user_id: row.get(4)?,
            stage: row.get(5)?,
            source: row.get(6)?,
            run_id: row.get(7)?,
            run_link: row.get(8)?,
            model_id: row.get(9)?,
            created_ms: row.get(10)?,
            updated_ms: row.get(11)?,
            owner: row.get(12)?,
            tags: Vec::new(),
            aliases: Vec::new(),
        })
    }
}

fn check_name(name: &str) -> Result<()> {
    check_length("Registered model name", "name", name, NAME_CHARS)?;
    if name.is_empty() || name.contains(['/', ':']) {
        return Err(Error::invalid(format!(
            "Invalid name: {name:?}. Registered model names must not be empty or contain '/' or ':'"
        )));
    }
    Ok(())
}

fn check_tags(tags: &[Pair]) -> Result<()> {
    for (key, value) in tags {
        check_key("tag", key)?;
        check_length("Tag", key, value, REGISTRY_TAG_CHARS)?;
    }
    Ok(())
}

fn check_alias(alias: &str) -> Result<()> {
    check_length("Model alias", "alias", alias, NAME_CHARS)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_version = alias.strip_prefix(['v', 'V']).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    if alias.is_empty() || !alias.chars().all(is_word) || is_version || alias.eq_ignore_ascii_case("latest") {
        return Err(Error::invalid(format!(
            "Invalid alias name: {alias:?}. It must consist of letters, digits, '_' and '-', and be neither 'latest' \
             nor 'v' with a number"
        )));
    }
    Ok(())
}

fn model(connection: &Connection, name: &str) -> Result<RegisteredModel> {
    let sql = format!("SELECT {COLUMNS} FROM registered_models g WHERE g.name = ?1");
    let id = connection.prepare_cached(&sql)?.query_row([name], |row| row.get(0)).optional()?;
    let id = id.ok_or_else(|| Error::not_found(format!("Registered Model with name={} not found", shortened(name))))?;
    whole_model(connection, id)
}

fn whole_model(connection: &Connection, id: i64) -> Result<RegisteredModel> {
    let sql = format!("SELECT {COLUMNS} FROM registered_models g WHERE g.id = ?1");
    let mut found = connection.prepare_cached(&sql)?.query_row([id], |row| {
        Ok(RegisteredModel {
            id: row.get(0)?,
            name: row.get(1)?,
            description: row.get(2)?,
            created_ms: row.get(3)?,
            updated_ms: row.get(4)?,
            tags: Vec::new(),
            aliases: Vec::new(),
            latest: Vec::new(),
        })
    })?;
    found.tags = TAGS.of(connection, id)?;
    let sql = "SELECT alias, version FROM registered_model_aliases WHERE owner = ?1 ORDER BY alias";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.aliases = rows.collect::<Result<_, _>>()?;
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM {VERSIONS} WHERE v.owner = ?1 AND v.version = \
         (SELECT max(w.version) FROM model_versions w WHERE w.owner = v.owner AND w.stage = v.stage) ORDER BY v.version"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([id], ModelVersion::from_row)?;
    for row in rows {
        found.latest.push(whole_version(connection, row?)?);
    }
    Ok(found)
}

fn version(connection: &Connection, name: &str, version: i64) -> Result<ModelVersion> {
    let sql = format!("SELECT {VERSION_COLUMNS} FROM {VERSIONS} WHERE g.name = ?1 AND v.version = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row(params![name, version], ModelVersion::from_row).optional()?;
    let found = found.ok_or_else(|| {
        Error::not_found(format!("Model Version (name={}, version={version}) not found", shortened(name)))
    })?;
    whole_version(connection, found)
}

fn whole_version(connection: &Connection, mut found: ModelVersion) -> Result<ModelVersion> {
    found.tags = VERSION_TAGS.of(connection, found.id)?;
    let sql = "SELECT alias FROM registered_model_aliases WHERE owner = ?1 AND version = ?2 ORDER BY alias";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([found.owner, found.version], |row| row.get(0))?;
    found.aliases = rows.collect::<Result<_, _>>()?;
    Ok(found)
}

fn check_free(connection: &Connection, name: &str) -> Result<()> {
    if model(connection, name).is_ok() {
        return Err(Error::exists(format!("Registered Model (name={name}) already exists.")));
    }
    Ok(())
}

fn touch(transaction: &Transaction<'_>, id: i64, now_ms: i64) -> Result<()> {
    transaction.prepare_cached("UPDATE registered_models SET updated_ms = ?2 WHERE id = ?1")?.execute([id, now_ms])?;
    Ok(())
}

fn remove_version(transaction: &Transaction<'_>, found: &ModelVersion) -> Result<()> {
    VERSION_TAGS.clear(transaction, found.id)?;
    let sql = "DELETE FROM registered_model_aliases WHERE owner = ?1 AND version = ?2";
    transaction.prepare_cached(sql)?.execute([found.owner, found.version])?;
    transaction.prepare_cached("DELETE FROM model_versions WHERE id = ?1")?.execute([found.id])?;
    Ok(())
}

impl Catalog {
    /// Creates a registered model.
    ///
    /// # Errors
    /// `Exists`, `Invalid`.
    pub fn create_registered_model(
        &self,
        name: &str,
        description: Option<&str>,
        tags: &[Pair],
        now_ms: i64,
    ) -> Result<RegisteredModel> {
        check_name(name)?;
        check_tags(tags)?;
        self.write(|tx| {
            check_free(tx, name)?;
            let sql =
                "INSERT INTO registered_models (name, description, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?3)";
            tx.prepare_cached(sql)?.execute(params![name, description, now_ms])?;
            TAGS.set(tx, tx.last_insert_rowid(), tags)?;
            model(tx, name)
        })
    }

    /// A registered model.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn registered_model(&self, name: &str) -> Result<RegisteredModel> {
        self.read(|connection| model(connection, name))
    }

    /// Changes the description of a registered model.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn describe_registered_model(&self, name: &str, description: &str, now_ms: i64) -> Result<RegisteredModel> {
        self.write(|tx| {
            let sql = "UPDATE registered_models SET description = ?2, updated_ms = ?3 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![model(tx, name)?.id, description, now_ms])?;
            model(tx, name)
        })
    }

    /// Renames a registered model.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `Invalid`.
    pub fn rename_registered_model(&self, name: &str, new_name: &str, now_ms: i64) -> Result<RegisteredModel> {
        check_name(new_name)?;
        self.write(|tx| {
            let found = model(tx, name)?;
            if name != new_name {
                check_free(tx, new_name)?;
            }
            let sql = "UPDATE registered_models SET name = ?2, updated_ms = ?3 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![found.id, new_name, now_ms])?;
            model(tx, new_name)
        })
    }

    /// Removes a registered model with all its versions.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete_registered_model(&self, name: &str) -> Result<()> {
        self.write(|tx| {
            let found = model(tx, name)?;
            let sql = format!("SELECT {VERSION_COLUMNS} FROM {VERSIONS} WHERE v.owner = ?1");
            let mut statement = tx.prepare_cached(&sql)?;
            let versions = statement.query_map([found.id], ModelVersion::from_row)?;
            for version in versions {
                remove_version(tx, &version?)?;
            }
            TAGS.clear(tx, found.id)?;
            tx.prepare_cached("DELETE FROM registered_models WHERE id = ?1")?.execute([found.id])?;
            Ok(())
        })
    }

    /// Sets a tag of a registered model, or of one of its versions.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn set_registry_tag(&self, name: &str, version_of: Option<i64>, key: &str, value: &str) -> Result<()> {
        let tag = [(key.to_owned(), value.to_owned())];
        check_tags(&tag)?;
        self.write(|tx| match version_of {
            None => TAGS.set(tx, model(tx, name)?.id, &tag),
            Some(number) => VERSION_TAGS.set(tx, version(tx, name, number)?.id, &tag),
        })
    }

    /// Removes a tag of a registered model, or of one of its versions; nothing happens when it is not there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete_registry_tag(&self, name: &str, version_of: Option<i64>, key: &str) -> Result<()> {
        self.write(|tx| {
            match version_of {
                None => TAGS.remove(tx, model(tx, name)?.id, key)?,
                Some(number) => VERSION_TAGS.remove(tx, version(tx, name, number)?.id, key)?,
            };
            Ok(())
        })
    }

    /// Lets an alias name a version.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn set_alias(&self, name: &str, alias: &str, number: i64) -> Result<()> {
        check_alias(alias)?;
        self.write(|tx| {
            let owner = version(tx, name, number)?.owner;
            let sql = "INSERT OR REPLACE INTO registered_model_aliases VALUES (?1, ?2, ?3)";
            tx.prepare_cached(sql)?.execute(params![owner, alias, number])?;
            Ok(())
        })
    }

    /// Removes an alias; nothing happens when it is not there.
    ///
    /// # Errors
    /// `NotFound` for the model.
    pub fn delete_alias(&self, name: &str, alias: &str) -> Result<()> {
        self.write(|tx| {
            let sql = "DELETE FROM registered_model_aliases WHERE owner = ?1 AND alias = ?2";
            tx.prepare_cached(sql)?.execute(params![model(tx, name)?.id, alias])?;
            Ok(())
        })
    }

    /// The version that an alias names.
    ///
    /// # Errors
    /// `NotFound` for the model; `Invalid` for the alias, as in MLflow.
    pub fn version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion> {
        self.read(|connection| {
            let found = model(connection, name)?;
            let Some((_, number)) = found.aliases.iter().find(|(known, _)| known == alias) else {
                return Err(Error::invalid(format!("Registered model alias {alias} not found.")));
            };
            version(connection, name, *number)
        })
    }

    /// Creates the next version of a registered model.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn create_model_version(&self, new: &NewModelVersion<'_>, now_ms: i64) -> Result<ModelVersion> {
        check_tags(new.tags)?;
        self.write(|tx| {
            let owner = model(tx, new.name)?.id;
            let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
            tx.prepare_cached(
                "INSERT INTO model_versions (owner, version, description, stage, source, run_id, run_link, model_id, \
                 created_ms, updated_ms) SELECT ?1, coalesce(max(version), 0) + 1, ?2, 'None', ?3, ?4, ?5, ?6, ?7, ?7 \
                 FROM model_versions WHERE owner = ?1",
            )?
            .execute(params![
                owner,
                given(new.description),
                new.source,
                given(new.run_id),
                given(new.run_link),
                given(new.model_id),
                now_ms
            ])?;
            let id = tx.last_insert_rowid();
            VERSION_TAGS.set(tx, id, new.tags)?;
            touch(tx, owner, now_ms)?;
            let number = "SELECT version FROM model_versions WHERE id = ?1";
            let number = tx.prepare_cached(number)?.query_row([id], |row| row.get(0))?;
            version(tx, new.name, number)
        })
    }

    /// A version of a registered model.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn model_version(&self, name: &str, number: i64) -> Result<ModelVersion> {
        self.read(|connection| version(connection, name, number))
    }

    /// The newest version of each of these stages, or of all.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn latest_versions(&self, name: &str, stages: &[String]) -> Result<Vec<ModelVersion>> {
        for stage in stages {
            stage_of(stage)?;
        }
        let mut found = self.registered_model(name)?.latest;
        let wanted = |stage: &str| stages.is_empty() || stages.iter().any(|asked| asked.eq_ignore_ascii_case(stage));
        found.retain(|version| wanted(&version.stage));
        Ok(found)
    }

    /// Changes the description of a version.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn describe_model_version(&self, name: &str, number: i64, text: &str, now_ms: i64) -> Result<ModelVersion> {
        self.write(|tx| {
            let found = version(tx, name, number)?;
            let sql = "UPDATE model_versions SET description = ?2, updated_ms = ?3 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![found.id, text, now_ms])?;
            version(tx, name, number)
        })
    }

    /// Moves a version to a stage; `archive` moves the others of that stage to the archive.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for an unknown stage.
    pub fn transition(&self, name: &str, number: i64, stage: &str, archive: bool, now_ms: i64) -> Result<ModelVersion> {
        let stage = stage_of(stage)?;
        self.write(|tx| {
            let found = version(tx, name, number)?;
            if archive && ["Staging", "Production"].contains(&stage) {
                let sql = "UPDATE model_versions SET stage = 'Archived', updated_ms = ?4 \
                           WHERE owner = ?1 AND stage = ?2 AND id != ?3";
                tx.prepare_cached(sql)?.execute(params![found.owner, stage, found.id, now_ms])?;
            }
            let sql = "UPDATE model_versions SET stage = ?2, updated_ms = ?3 WHERE id = ?1";
            tx.prepare_cached(sql)?.execute(params![found.id, stage, now_ms])?;
            touch(tx, found.owner, now_ms)?;
            version(tx, name, number)
        })
    }

    /// Removes a version.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete_model_version(&self, name: &str, number: i64, now_ms: i64) -> Result<()> {
        self.write(|tx| {
            let found = version(tx, name, number)?;
            remove_version(tx, &found)?;
            touch(tx, found.owner, now_ms)
        })
    }

    /// A page of the registered models that pass a filter.
    ///
    /// # Errors
    /// `Invalid` for a filter or an order that cannot be understood.
    pub fn search_registered_models(
        &self,
        filter: &str,
        order_by: &[String],
        page: &Page,
    ) -> Result<(Vec<RegisteredModel>, Option<u64>)> {
        let filter = Filter::parse(filter, order_by, &REGISTERED_MODELS)?;
        self.read(|connection| {
            let (ids, next) = search_page(connection, &filter.compile(connection)?, page)?;
            let found = ids.into_iter().map(|id| whole_model(connection, id));
            Ok((found.collect::<Result<_>>()?, next))
        })
    }

    /// A page of the versions of registered models that pass a filter.
    ///
    /// # Errors
    /// `Invalid` for a filter or an order that cannot be understood.
    pub fn search_model_versions(
        &self,
        filter: &str,
        order_by: &[String],
        page: &Page,
    ) -> Result<(Vec<ModelVersion>, Option<u64>)> {
        let filter = Filter::parse(filter, order_by, &MODEL_VERSIONS)?;
        self.read(|connection| {
            let (ids, next) = search_page(connection, &filter.compile(connection)?, page)?;
            let sql = format!("SELECT {VERSION_COLUMNS} FROM {VERSIONS} WHERE v.id = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let found = ids.into_iter().map(|id| {
                let version = statement.query_row([id], ModelVersion::from_row)?;
                whole_version(connection, version)
            });
            Ok((found.collect::<Result<_>>()?, next))
        })
    }
}

fn stage_of(stage: &str) -> Result<&'static str> {
    let known = STAGES.into_iter().find(|known| known.eq_ignore_ascii_case(stage));
    known.ok_or_else(|| {
        Error::invalid(format!("Invalid Model Version stage: {stage}. Value must be one of {STAGES:?}."))
    })
}
