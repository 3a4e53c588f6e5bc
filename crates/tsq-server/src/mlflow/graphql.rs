//! `POST /graphql`: the two questions that MLflow's pages ask so. 64-bit integers are strings here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use tsq_runs::{Experiment, Pair, Run, Runs};

use super::call::{check_origin, finish, is_json, json_response, ready, refuse};
use super::error::{Code, Failure};
use super::output::{float, list};
use crate::app::App;
use crate::http::body::read_body;

mod selection;

use selection::Selection;

/// Bytes of a question.
const BYTES_MAX: usize = 256 << 10;

pub(super) async fn serve(State(app): State<Arc<App>>, request: Request) -> Response {
    let answered = async move {
        let runs = ready(&app)?;
        check_origin(request.headers())?;
        if !is_json(request.headers()) {
            return Err(Failure::new(Code::BadRequest, "the content type must be application/json"));
        }
        let mut lease = app.request_bytes.lease();
        let body = read_body(&app, request.into_body(), BYTES_MAX, &mut lease).await;
        let body = body.map_err(|error| Failure::new(Code::BadRequest, error.to_string()))?;
        let answer = move || answer(&runs, &body);
        finish(&app, "/graphql", tokio::task::spawn_blocking(answer).await)
    };
    match answered.await {
        Ok(value) => json_response(StatusCode::OK, &value, false),
        Err(failure) => refuse(&failure),
    }
}

fn answer(runs: &Runs, body: &[u8]) -> Result<Value, Failure> {
    let wrong = |error: String| Failure::new(Code::BadRequest, error);
    let body: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    let text = body["query"].as_str().ok_or_else(|| wrong("the field query is missing".to_owned()))?;
    let fields = match selection::parse(text) {
        Ok(fields) => fields,
        Err(message) => return Ok(json!({"errors": [{"message": message}]})),
    };
    let mut data = Map::new();
    let mut errors = Vec::new();
    for field in &fields {
        match resolve(runs, field, &body["variables"]) {
            Ok(value) => _ = data.insert(field.alias.clone(), field.project(&value)),
            Err(message) => {
                data.insert(field.alias.clone(), Value::Null);
                errors.push(json!({"message": message, "path": [field.alias]}));
            }
        }
    }
    if errors.is_empty() {
        return Ok(json!({"data": data}));
    }
    Ok(json!({"data": data, "errors": errors}))
}

/// Everything that can be asked about a field of the question's top.
fn resolve(runs: &Runs, field: &Selection, variables: &Value) -> Result<Value, String> {
    let input = field.argument("input", variables);
    let id =
        |name: &str| input[name].as_str().map(str::to_owned).or_else(|| input[name].as_i64().map(|id| id.to_string()));
    match field.name.as_str() {
        "mlflowGetExperiment" => {
            let id = id("experimentId").ok_or("the argument input.experimentId is missing")?;
            let found = id.parse().map_err(|_| Failure::invalid(format!("Invalid experiment ID {id:?}")));
            let found = found.and_then(|id| Ok(experiment(&runs.catalog().experiment(id)?)));
            Ok(response("MlflowGetExperimentResponse", "experiment", found))
        }
        "mlflowGetRun" => {
            let id = id("runId").or_else(|| id("runUuid")).ok_or("the argument input.runId is missing")?;
            Ok(response("MlflowGetRunResponse", "run", whole_run(runs, &id)))
        }
        "__typename" => Ok("Query".into()),
        other => Err(format!("Cannot query field '{other}' on type 'Query'.")),
    }
}

fn response(kind: &str, name: &str, found: Result<Value, Failure>) -> Value {
    match found {
        Ok(value) => json!({"__typename": kind, name: value, "apiError": null}),
        Err(failure) => json!({"__typename": kind, name: null, "apiError": {
            "__typename": "ApiError", "code": failure.code.name(), "message": failure.message, "helpUrl": null}}),
    }
}

fn stage(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

fn tags(kind: &str, pairs: &[Pair]) -> Value {
    list(pairs, |(key, value)| json!({"__typename": kind, "key": key, "value": value}))
}

fn experiment(found: &Experiment) -> Value {
    json!({
        "__typename": "MlflowExperiment",
        "experimentId": found.id.to_string(),
        "name": found.name,
        "artifactLocation": found.artifact_location,
        "lifecycleStage": stage(found.deleted),
        "creationTime": found.created_ms.to_string(),
        "lastUpdateTime": found.updated_ms.to_string(),
        "tags": tags("MlflowExperimentTag", &found.tags),
    })
}

fn whole_run(runs: &Runs, id: &str) -> Result<Value, Failure> {
    let run = runs.run(id)?;
    let of = runs.catalog().experiment(run.info.experiment)?;
    let filter = format!("run_id = '{}'", run.info.run_id);
    let page = tsq_runs::Page { limit: 1000, offset: 0 };
    let (versions, _) = runs.catalog().search_model_versions(&filter, &[], &page)?;
    let version = |version: &tsq_runs::ModelVersion| {
        json!({"__typename": "MlflowModelVersion", "name": version.name, "version": version.version.to_string(),
            "status": "READY", "source": version.source})
    };
    Ok(json!({
        "__typename": "MlflowRunExtension",
        "info": info(&run),
        "experiment": experiment(&of),
        "modelVersions": list(&versions, version),
        "data": data(&run),
        "inputs": inputs(&run),
        "outputs": outputs(&run),
    }))
}

fn info(run: &Run) -> Value {
    let info = &run.info;
    json!({
        "__typename": "MlflowRunInfo",
        "runId": info.run_id,
        "runUuid": info.run_id,
        "runName": info.name,
        "experimentId": info.experiment.to_string(),
        "userId": info.user_id,
        "status": info.status,
        "startTime": info.start_ms.map(|time| time.to_string()),
        "endTime": info.end_ms.map(|time| time.to_string()),
        "artifactUri": info.artifact_uri,
        "lifecycleStage": stage(info.deleted),
    })
}

fn data(run: &Run) -> Value {
    let metric = |metric: &tsq_runs::Latest| {
        json!({"__typename": "MlflowMetric", "key": metric.key, "value": float(metric.value),
            "step": metric.step.to_string(), "timestamp": metric.time_ms.to_string()})
    };
    json!({
        "__typename": "MlflowRunData",
        "metrics": list(&run.metrics, metric),
        "params": tags("MlflowParam", &run.params),
        "tags": tags("MlflowRunTag", &run.tags),
    })
}

fn inputs(run: &Run) -> Value {
    let dataset = |input: &tsq_runs::DatasetInput| {
        let dataset = &input.dataset;
        json!({"__typename": "MlflowDatasetInput", "tags": tags("MlflowInputTag", &input.tags), "dataset": {
            "__typename": "MlflowDataset", "digest": dataset.digest, "name": dataset.name,
            "profile": dataset.profile, "schema": dataset.schema, "source": dataset.source,
            "sourceType": dataset.source_type}})
    };
    let model = |link: &tsq_runs::ModelLink| json!({"__typename": "MlflowModelInput", "modelId": link.model_id});
    json!({
        "__typename": "MlflowRunInputs",
        "datasetInputs": list(&run.inputs, dataset),
        "modelInputs": list(&run.model_inputs, model),
    })
}

fn outputs(run: &Run) -> Value {
    let model = |link: &tsq_runs::ModelLink| json!({"__typename": "MlflowModelOutput", "modelId": link.model_id, "step": link.step.to_string()});
    json!({"__typename": "MlflowRunOutputs", "modelOutputs": list(&run.model_outputs, model)})
}
