//! Runs, their params and tags, inputs and outputs.

use serde_json::{Value, json};
use tsq_runs::names::{PARAM_CHARS, TAG_CHARS, truncated};
use tsq_runs::{Dataset, DatasetInput, Logged, ModelLink, NewRun, Pair, RunChange, RunSearch};

use super::call::Call;
use super::error::Failure;
use super::experiments::view;
use super::input::{Input, missing, page_token};
use super::output::{self, list, object};
use super::{Route, Verbs, route};

type Answer = Result<Value, Failure>;

/// Runs of one page at most.
const PAGE_MAX: u32 = 50_000;

/// Label `source` of what MLflow's clients log.
pub(super) const SOURCE: &str = "mlflow";

pub(super) static ROUTES: &[Route] = &[
    route(Verbs::Post, "runs/create", create),
    route(Verbs::Get, "runs/get", get),
    route(Verbs::Post, "runs/update", update),
    route(Verbs::Post, "runs/delete", delete),
    route(Verbs::Post, "runs/restore", restore),
    route(Verbs::Post, "runs/search", search),
    route(Verbs::Post, "runs/log-parameter", log_param),
    route(Verbs::Post, "runs/set-tag", set_tag),
    route(Verbs::Post, "runs/delete-tag", delete_tag),
    route(Verbs::Post, "runs/log-inputs", log_inputs),
    route(Verbs::Post, "runs/outputs", log_outputs),
];

/// Tags of a request, with values cut to their length as MLflow does.
fn tags(input: &Input) -> Result<Vec<Pair>, Failure> {
    let cut = |(key, value): Pair| (key, truncated(value, TAG_CHARS));
    Ok(input.pairs("tags")?.into_iter().map(cut).collect())
}

fn create(call: &Call) -> Answer {
    let input = call.input()?;
    let run = call.runs.catalog().create_run(&NewRun {
        experiment: input.experiment("experiment_id")?.unwrap_or(0),
        run_id: None,
        name: input.text("run_name")?,
        user_id: input.text("user_id")?.unwrap_or_default(),
        start_ms: Some(input.int("start_time")?.filter(|&time| time != 0).unwrap_or_else(|| call.now_ms())),
        tags: &tags(&input)?,
        source: SOURCE,
    })?;
    Ok(json!({"run": output::run(&run)}))
}

fn get(call: &Call) -> Answer {
    let input = call.input()?;
    Ok(json!({"run": output::run(&call.runs.run(input.run_id()?)?)}))
}

fn update(call: &Call) -> Answer {
    let input = call.input()?;
    // The statuses have numbers in MLflow's files; its clients send names.
    let change = RunChange {
        status: input.text("status")?.filter(|status| !status.is_empty()),
        end_ms: input.int("end_time")?,
        name: input.text("run_name")?,
    };
    let info = call.runs.catalog().update_run(input.run_id()?, &change)?;
    Ok(json!({"run_info": output::run_info(&info)}))
}

fn delete(call: &Call) -> Answer {
    call.runs.delete_run(call.input()?.run_id()?, call.now_ms())?;
    Ok(json!({}))
}

fn restore(call: &Call) -> Answer {
    call.runs.restore_run(call.input()?.run_id()?)?;
    Ok(json!({}))
}

fn search(call: &Call) -> Answer {
    let input = call.input()?;
    let (experiments, order_by) = (input.experiments("experiment_ids")?, input.texts("order_by")?);
    let search = RunSearch {
        experiments: &experiments,
        filter: input.text("filter")?.unwrap_or_default(),
        order_by: &order_by,
        view: view(&input, "run_view_type")?,
    };
    let (found, next) = call.runs.search(&search, &input.page(1000, PAGE_MAX)?)?;
    Ok(object([("runs", list(&found, output::run)), ("next_page_token", next.map(page_token).into())]))
}

fn log_param(call: &Call) -> Answer {
    let input = call.input()?;
    let value = truncated(input.text("value")?.unwrap_or_default().to_owned(), PARAM_CHARS);
    let params = [(input.required("key")?.to_owned(), value)];
    call.runs.log(input.run_id()?, &Logged { params: &params, ..Logged::default() })?;
    Ok(json!({}))
}

fn set_tag(call: &Call) -> Answer {
    let input = call.input()?;
    let value = truncated(input.text("value")?.unwrap_or_default().to_owned(), TAG_CHARS);
    let tags = [(input.required("key")?.to_owned(), value)];
    call.runs.log(input.run_id()?, &Logged { tags: &tags, ..Logged::default() })?;
    Ok(json!({}))
}

fn delete_tag(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().delete_tag(input.run_id()?, input.required("key")?)?;
    Ok(json!({}))
}

fn links(input: &Input) -> Result<Vec<ModelLink>, Failure> {
    let link = |model: &Input| {
        Ok(ModelLink { model_id: model.required("model_id")?.to_owned(), step: model.int("step")?.unwrap_or(0) })
    };
    input.objects("models")?.iter().map(link).collect()
}

fn log_inputs(call: &Call) -> Answer {
    let input = call.input()?;
    let dataset = |entry: &Input| {
        let dataset = entry.object("dataset")?.ok_or_else(|| missing("dataset"))?;
        let optional = |name| Ok::<_, Failure>(dataset.text(name)?.map(str::to_owned));
        Ok(DatasetInput {
            dataset: Dataset {
                name: dataset.required("name")?.to_owned(),
                digest: dataset.required("digest")?.to_owned(),
                source_type: dataset.required("source_type")?.to_owned(),
                source: dataset.required("source")?.to_owned(),
                schema: optional("schema")?,
                profile: optional("profile")?,
            },
            tags: entry.pairs("tags")?,
        })
    };
    let datasets: Vec<_> = input.objects("datasets")?.iter().map(dataset).collect::<Result<_, Failure>>()?;
    call.runs.catalog().log_inputs(input.run_id()?, &datasets, &links(&input)?)?;
    Ok(json!({}))
}

fn log_outputs(call: &Call) -> Answer {
    let input = call.input()?;
    call.runs.catalog().link_models(input.run_id()?, true, &links(&input)?)?;
    Ok(json!({}))
}
