//! Logged models.

use serde_json::{Value, json};
use tsq_runs::{ModelSort, NewLoggedModel};

use super::artifacts::files;
use super::call::Call;
use super::error::Failure;
use super::input::{Input, page_token};
use super::output::{self, list, object};
use super::paths::{of_uri, resolve};
use super::{Route, Verbs, route};

type Answer = Result<Value, Failure>;

pub(super) static ROUTES: &[Route] = &[
    route(Verbs::Post, "logged-models", create),
    route(Verbs::Post, "logged-models/search", search),
    route(Verbs::Get, "logged-models/{model_id}", get),
    route(Verbs::Patch, "logged-models/{model_id}", finalize),
    route(Verbs::Delete, "logged-models/{model_id}", delete),
    route(Verbs::Post, "logged-models/{model_id}/params", log_params),
    route(Verbs::Patch, "logged-models/{model_id}/tags", set_tags),
    route(Verbs::Delete, "logged-models/{model_id}/tags/{key}", delete_tag),
    route(Verbs::Get, "logged-models/{model_id}/artifacts/directories", artifacts),
];

fn create(call: &Call) -> Answer {
    let input = call.input()?;
    let new = NewLoggedModel {
        experiment: input.experiment_id()?,
        name: input.text("name")?,
        model_type: input.text("model_type")?,
        source_run_id: input.text("source_run_id")?,
        params: &input.pairs("params")?,
        tags: &input.pairs("tags")?,
    };
    let model = call.runs.catalog().create_logged_model(&new, call.now_ms())?;
    Ok(json!({"model": output::logged_model(&model)}))
}

fn get(call: &Call) -> Answer {
    let model = call.runs.catalog().logged_model(call.segment("model_id")?)?;
    Ok(json!({"model": output::logged_model(&model)}))
}

fn finalize(call: &Call) -> Answer {
    let input = call.input()?;
    let status = input.required("status")?;
    let model = call.runs.catalog().finish_logged_model(call.segment("model_id")?, status, call.now_ms())?;
    Ok(json!({"model": output::logged_model(&model)}))
}

fn delete(call: &Call) -> Answer {
    call.runs.catalog().delete_logged_model(call.segment("model_id")?, call.now_ms())?;
    Ok(json!({}))
}

fn log_params(call: &Call) -> Answer {
    let params = call.input()?.pairs("params")?;
    call.runs.catalog().log_logged_model_params(call.segment("model_id")?, &params, call.now_ms())?;
    Ok(json!({}))
}

fn set_tags(call: &Call) -> Answer {
    let (tags, id) = (call.input()?.pairs("tags")?, call.segment("model_id")?);
    call.runs.catalog().set_logged_model_tags(id, &tags, call.now_ms())?;
    Ok(json!({"model": output::logged_model(&call.runs.catalog().logged_model(id)?)}))
}

fn delete_tag(call: &Call) -> Answer {
    call.runs.catalog().delete_logged_model_tag(call.segment("model_id")?, call.segment("key")?)?;
    Ok(json!({}))
}

fn search(call: &Call) -> Answer {
    let input = call.input()?;
    let key = |key: &Input| {
        let field = key.required("field_name")?.to_owned();
        Ok(ModelSort { field, ascending: key.flag_or("ascending", true)? })
    };
    let order: Vec<_> = input.objects("order_by")?.iter().map(key).collect::<Result<_, Failure>>()?;
    let filter = input.text("filter")?.unwrap_or_default();
    let (experiments, page) = (input.experiments("experiment_ids")?, input.page(100, 1000)?);
    let (found, next) = call.runs.catalog().search_logged_models(&experiments, filter, &order, &page)?;
    Ok(object([("models", list(&found, output::logged_model)), ("next_page_token", next.map(page_token).into())]))
}

fn artifacts(call: &Call) -> Answer {
    let input = call.input()?;
    let model = call.runs.catalog().logged_model(call.segment("model_id")?)?;
    let folder = input.text("artifact_directory_path")?.unwrap_or_default();
    let root = resolve(call.runs.artifacts(), of_uri(&model.artifact_uri)?)?;
    let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
    let found = files(&resolve(&root, folder)?, &prefix)?;
    Ok(object([("root_uri", model.artifact_uri.into()), ("files", found.into())]))
}
