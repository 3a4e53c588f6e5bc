//! The model registry.

use serde_json::{Value, json};
use tsq_runs::NewModelVersion;

use super::call::Call;
use super::error::Failure;
use super::input::{Input, page_token};
use super::output::{self, list, object};
use super::{Route, Verbs, route};

type Answer = Result<Value, Failure>;

pub(super) static ROUTES: &[Route] = &[
    route(Verbs::Post, "registered-models/create", create),
    route(Verbs::Get, "registered-models/get", get),
    route(Verbs::GetPost, "registered-models/search", search),
    route(Verbs::GetPost, "registered-models/list", search),
    route(Verbs::Post, "registered-models/rename", rename),
    route(Verbs::Patch, "registered-models/update", update),
    route(Verbs::Delete, "registered-models/delete", delete),
    route(Verbs::GetPost, "registered-models/get-latest-versions", latest),
    route(Verbs::Post, "registered-models/set-tag", set_tag),
    route(Verbs::Delete, "registered-models/delete-tag", delete_tag),
    route(Verbs::Post, "registered-models/alias", set_alias),
    route(Verbs::Get, "registered-models/alias", get_alias),
    route(Verbs::Delete, "registered-models/alias", delete_alias),
    route(Verbs::Post, "model-versions/create", create_version),
    route(Verbs::Get, "model-versions/get", get_version),
    route(Verbs::GetPost, "model-versions/search", search_versions),
    route(Verbs::Patch, "model-versions/update", update_version),
    route(Verbs::Post, "model-versions/transition-stage", transition),
    route(Verbs::Delete, "model-versions/delete", delete_version),
    route(Verbs::Get, "model-versions/get-download-uri", download_uri),
    route(Verbs::Post, "model-versions/set-tag", set_version_tag),
    route(Verbs::Delete, "model-versions/delete-tag", delete_version_tag),
];

fn named(name: &str, value: Value) -> Value {
    object([(name, value)])
}

fn version_of(input: &Input) -> Result<i64, Failure> {
    let text = input.int("version")?;
    text.ok_or_else(|| super::input::missing("version"))
}

fn create(call: &Call) -> Answer {
    let input = call.input()?;
    let (name, tags) = (input.required("name")?, input.pairs("tags")?);
    let catalog = call.runs.catalog();
    let model = catalog.create_registered_model(name, input.text("description")?, &tags, call.now_ms())?;
    Ok(named("registered_model", output::registered_model(&model)))
}

fn get(call: &Call) -> Answer {
    let model = call.runs.catalog().registered_model(call.input()?.required("name")?)?;
    Ok(named("registered_model", output::registered_model(&model)))
}

fn search(call: &Call) -> Answer {
    let input = call.input()?;
    let (filter, page) = (input.text("filter")?.unwrap_or_default(), input.page(100, 1000)?);
    let (found, next) = call.runs.catalog().search_registered_models(filter, &input.texts("order_by")?, &page)?;
    let found = list(&found, output::registered_model);
    Ok(object([("registered_models", found), ("next_page_token", next.map(page_token).into())]))
}

fn rename(call: &Call) -> Answer {
    let input = call.input()?;
    let (name, new_name) = (input.required("name")?, input.text("new_name")?.unwrap_or_default());
    let model = call.runs.catalog().rename_registered_model(name, new_name, call.now_ms())?;
    Ok(named("registered_model", output::registered_model(&model)))
}

fn update(call: &Call) -> Answer {
    let input = call.input()?;
    let (name, text) = (input.required("name")?, input.text("description")?.unwrap_or_default());
    let model = call.runs.catalog().describe_registered_model(name, text, call.now_ms())?;
    Ok(named("registered_model", output::registered_model(&model)))
}

fn delete(call: &Call) -> Answer {
    call.runs.catalog().delete_registered_model(call.input()?.required("name")?)?;
    Ok(json!({}))
}

fn latest(call: &Call) -> Answer {
    let input = call.input()?;
    let found = call.runs.catalog().latest_versions(input.required("name")?, &input.texts("stages")?)?;
    Ok(object([("model_versions", list(&found, output::model_version))]))
}

fn set_tag(call: &Call) -> Answer {
    let input = call.input()?;
    let value = input.text("value")?.unwrap_or_default();
    call.runs.catalog().set_registry_tag(input.required("name")?, None, input.required("key")?, value)?;
    Ok(json!({}))
}

fn delete_tag(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().delete_registry_tag(input.required("name")?, None, input.required("key")?)?;
    Ok(json!({}))
}

fn set_alias(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().set_alias(input.required("name")?, input.required("alias")?, version_of(&input)?)?;
    Ok(json!({}))
}

fn get_alias(call: &Call) -> Answer {
    let input = call.input()?;
    let version = call.runs.catalog().version_by_alias(input.required("name")?, input.required("alias")?)?;
    Ok(named("model_version", output::model_version(&version)))
}

fn delete_alias(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().delete_alias(input.required("name")?, input.required("alias")?)?;
    Ok(json!({}))
}

fn create_version(call: &Call) -> Answer {
    let input = call.input()?;
    let tags = input.pairs("tags")?;
    let (run_id, model_id) = (input.text("run_id")?, input.text("model_id")?);
    // A version that is made from a logged model belongs to the run of that.
    let model = model_id.filter(|id| !id.is_empty()).map(|id| call.runs.catalog().logged_model(id)).transpose()?;
    let run_id = run_id.filter(|id| !id.is_empty()).or_else(|| model.as_ref()?.source_run_id.as_deref());
    let new = NewModelVersion {
        name: input.required("name")?,
        source: input.required("source")?,
        run_id,
        run_link: input.text("run_link")?,
        model_id,
        description: input.text("description")?,
        tags: &tags,
    };
    let version = call.runs.catalog().create_model_version(&new, call.now_ms())?;
    Ok(named("model_version", output::model_version(&version)))
}

fn get_version(call: &Call) -> Answer {
    let input = call.input()?;
    let version = call.runs.catalog().model_version(input.required("name")?, version_of(&input)?)?;
    Ok(named("model_version", output::model_version(&version)))
}

fn search_versions(call: &Call) -> Answer {
    let input = call.input()?;
    let (filter, page) = (input.text("filter")?.unwrap_or_default(), input.page(10_000, 200_000)?);
    let (found, next) = call.runs.catalog().search_model_versions(filter, &input.texts("order_by")?, &page)?;
    let found = list(&found, output::model_version);
    Ok(object([("model_versions", found), ("next_page_token", next.map(page_token).into())]))
}

fn update_version(call: &Call) -> Answer {
    let input = call.input()?;
    let (name, text) = (input.required("name")?, input.text("description")?.unwrap_or_default());
    let version = call.runs.catalog().describe_model_version(name, version_of(&input)?, text, call.now_ms())?;
    Ok(named("model_version", output::model_version(&version)))
}

fn transition(call: &Call) -> Answer {
    let input = call.input()?;
    let (name, stage) = (input.required("name")?, input.required("stage")?);
    let archive = input.flag("archive_existing_versions")?;
    let version = call.runs.catalog().transition(name, version_of(&input)?, stage, archive, call.now_ms())?;
    Ok(named("model_version", output::model_version(&version)))
}

fn delete_version(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().delete_model_version(input.required("name")?, version_of(&input)?, call.now_ms())?;
    Ok(json!({}))
}

/// Where the files of a version are: those of a logged model are where the model keeps them.
fn download_uri(call: &Call) -> Answer {
    let input = call.input()?;
    let catalog = call.runs.catalog();
    let version = catalog.model_version(input.required("name")?, version_of(&input)?)?;
    let model = version.source.strip_prefix("models:/").and_then(|id| catalog.logged_model(id).ok());
    Ok(named("artifact_uri", model.map_or(version.source, |model| model.artifact_uri).into()))
}

fn set_version_tag(call: &Call) -> Answer {
    let input = call.input()?;
    let (version, value) = (version_of(&input)?, input.text("value")?.unwrap_or_default());
    call.runs.catalog().set_registry_tag(input.required("name")?, Some(version), input.required("key")?, value)?;
    Ok(json!({}))
}

fn delete_version_tag(call: &Call) -> Answer {
    let input = call.input()?;
    let version = Some(version_of(&input)?);
    call.runs.catalog().delete_registry_tag(input.required("name")?, version, input.required("key")?)?;
    Ok(json!({}))
}
