//! Experiments.

use serde_json::{Value, json};
use tsq_runs::View;

use super::call::Call;
use super::error::Failure;
use super::input::{Input, page_token};
use super::output::{self, list, object};
use super::{Route, Verbs, route};

type Answer = Result<Value, Failure>;

/// Experiments of one page at most.
const PAGE_MAX: u32 = 50_000;

pub(super) static ROUTES: &[Route] = &[
    route(Verbs::Post, "experiments/create", create),
    route(Verbs::Get, "experiments/get", get),
    route(Verbs::Get, "experiments/get-by-name", get_by_name),
    route(Verbs::GetPost, "experiments/search", search),
    route(Verbs::GetPost, "experiments/list", search),
    route(Verbs::Post, "experiments/update", update),
    route(Verbs::Post, "experiments/delete", delete),
    route(Verbs::Post, "experiments/restore", restore),
    route(Verbs::Post, "experiments/set-experiment-tag", set_tag),
    route(Verbs::Post, "experiments/delete-experiment-tag", delete_tag),
    route(Verbs::Post, "experiments/search-datasets", datasets),
];

fn create(call: &Call) -> Answer {
    let input = call.input()?;
    let (name, location) = (input.required("name")?, input.text("artifact_location")?);
    let id = call.runs.catalog().create_experiment(name, location, &input.pairs("tags")?, call.now_ms())?;
    Ok(json!({"experiment_id": id.to_string()}))
}

fn get(call: &Call) -> Answer {
    let found = call.runs.catalog().experiment(call.input()?.experiment_id()?)?;
    Ok(json!({"experiment": output::experiment(&found)}))
}

fn get_by_name(call: &Call) -> Answer {
    let input = call.input()?;
    let name = input.required("experiment_name")?;
    let found = call.runs.catalog().experiment_by_name(name)?;
    let found = found.ok_or_else(|| Failure::not_found(format!("Could not find experiment with name '{name}'")))?;
    Ok(json!({"experiment": output::experiment(&found)}))
}

/// Which ones are asked for, by the names of MLflow's enumeration.
pub(super) fn view(input: &Input, name: &str) -> Result<View, Failure> {
    match input.text(name)? {
        None | Some("" | "ACTIVE_ONLY") => Ok(View::Active),
        Some("DELETED_ONLY") => Ok(View::Deleted),
        Some("ALL") => Ok(View::All),
        Some(other) => Err(Failure::invalid(format!("Invalid value {other:?} for parameter '{name}'"))),
    }
}

fn search(call: &Call) -> Answer {
    let input = call.input()?;
    let filter = input.text("filter")?.unwrap_or_default();
    let (page, view) = (input.page(1000, PAGE_MAX)?, view(&input, "view_type")?);
    let catalog = call.runs.catalog();
    let (found, next) = catalog.search_experiments(filter, &input.texts("order_by")?, view, &page)?;
    Ok(object([("experiments", list(&found, output::experiment)), ("next_page_token", next.map(page_token).into())]))
}

fn update(call: &Call) -> Answer {
    let input = call.input()?;
    if let Some(name) = input.text("new_name")? {
        call.runs.catalog().rename_experiment(input.experiment_id()?, name, call.now_ms())?;
    }
    Ok(json!({}))
}

fn delete(call: &Call) -> Answer {
    call.runs.delete_experiment(call.input()?.experiment_id()?, call.now_ms())?;
    Ok(json!({}))
}

fn restore(call: &Call) -> Answer {
    call.runs.restore_experiment(call.input()?.experiment_id()?, call.now_ms())?;
    Ok(json!({}))
}

fn set_tag(call: &Call) -> Answer {
    let input = call.input()?;
    let value = input.text("value")?.unwrap_or_default();
    let catalog = call.runs.catalog();
    catalog.set_experiment_tag(input.experiment_id()?, input.required("key")?, value, call.now_ms())?;
    Ok(json!({}))
}

fn delete_tag(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().delete_experiment_tag(input.experiment_id()?, input.required("key")?)?;
    Ok(json!({}))
}

fn datasets(call: &Call) -> Answer {
    let found = call.runs.catalog().datasets(&call.input()?.experiments("experiment_ids")?)?;
    let summary = |dataset: &tsq_runs::DatasetSummary| {
        object([
            ("experiment_id", dataset.experiment.to_string().into()),
            ("name", dataset.name.as_str().into()),
            ("digest", dataset.digest.as_str().into()),
            ("context", dataset.context.clone().into()),
        ])
    };
    Ok(object([("dataset_summaries", list(&found, summary))]))
}
