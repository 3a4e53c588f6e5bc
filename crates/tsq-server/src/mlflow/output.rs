//! What is answered, as JSON. Empty lists and fields that are not set are left out.

use serde_json::{Map, Value, json};
use tsq_runs::{
    DatasetInput, Experiment, Latest, LoggedModel, ModelLink, ModelVersion, Pair, RegisteredModel, Run, RunInfo,
};

/// A float: those that JSON has no numbers for are strings.
pub(crate) fn float(value: f64) -> Value {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    value.into()
}

/// An object without the fields that are null or empty lists.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let is_set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let fields = fields.into_iter().filter(|(_, value)| is_set(value));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// A list of what a function makes of each.
pub(crate) fn list<T>(items: &[T], make: impl FnMut(&T) -> Value) -> Value {
    Value::Array(items.iter().map(make).collect())
}

pub(crate) fn pairs(pairs: &[Pair]) -> Value {
    list(pairs, |(key, value)| json!({"key": key, "value": value}))
}

fn stage(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

pub(crate) fn experiment(found: &Experiment) -> Value {
    object([
        ("experiment_id", found.id.to_string().into()),
        ("name", found.name.as_str().into()),
        ("artifact_location", found.artifact_location.as_str().into()),
        ("lifecycle_stage", stage(found.deleted).into()),
        ("last_update_time", found.updated_ms.into()),
        ("creation_time", found.created_ms.into()),
        ("tags", pairs(&found.tags)),
    ])
}

pub(crate) fn run_info(info: &RunInfo) -> Value {
    object([
        ("run_id", info.run_id.as_str().into()),
        ("run_uuid", info.run_id.as_str().into()),
        ("run_name", info.name.as_str().into()),
        ("experiment_id", info.experiment.to_string().into()),
        ("user_id", info.user_id.as_str().into()),
        ("status", info.status.as_str().into()),
        ("start_time", info.start_ms.into()),
        ("end_time", info.end_ms.into()),
        ("artifact_uri", info.artifact_uri.as_str().into()),
        ("lifecycle_stage", stage(info.deleted).into()),
    ])
}

fn metric(latest: &Latest) -> Value {
    json!({"key": latest.key, "value": float(latest.value), "timestamp": latest.time_ms, "step": latest.step})
}

pub(crate) fn dataset_input(input: &DatasetInput) -> Value {
    let dataset = &input.dataset;
    let dataset = object([
        ("name", dataset.name.as_str().into()),
        ("digest", dataset.digest.as_str().into()),
        ("source_type", dataset.source_type.as_str().into()),
        ("source", dataset.source.as_str().into()),
        ("schema", dataset.schema.clone().into()),
        ("profile", dataset.profile.clone().into()),
    ]);
    object([("tags", pairs(&input.tags)), ("dataset", dataset)])
}

fn model_output(link: &ModelLink) -> Value {
    json!({"model_id": link.model_id, "step": link.step})
}

fn model_input(link: &ModelLink) -> Value {
    json!({"model_id": link.model_id})
}

pub(crate) fn run(run: &Run) -> Value {
    let data =
        object([("metrics", list(&run.metrics, metric)), ("params", pairs(&run.params)), ("tags", pairs(&run.tags))]);
    let inputs = object([
        ("dataset_inputs", list(&run.inputs, dataset_input)),
        ("model_inputs", list(&run.model_inputs, model_input)),
    ]);
    let outputs = object([("model_outputs", list(&run.model_outputs, model_output))]);
    json!({"info": run_info(&run.info), "data": data, "inputs": inputs, "outputs": outputs})
}

pub(crate) fn logged_model(model: &LoggedModel) -> Value {
    let info = object([
        ("model_id", model.model_id.as_str().into()),
        ("experiment_id", model.experiment.to_string().into()),
        ("name", model.name.as_str().into()),
        ("creation_timestamp_ms", model.created_ms.into()),
        ("last_updated_timestamp_ms", model.updated_ms.into()),
        ("artifact_uri", model.artifact_uri.as_str().into()),
        ("status", model.status.as_str().into()),
        ("model_type", model.model_type.clone().into()),
        ("source_run_id", model.source_run_id.clone().into()),
        ("status_message", model.status_message.clone().into()),
        ("tags", pairs(&model.tags)),
    ]);
    let metrics = list(&model.metrics, |metric| {
        object([
            ("key", metric.key.as_str().into()),
            ("value", float(metric.value)),
            ("timestamp", metric.time_ms.into()),
            ("step", metric.step.into()),
            ("model_id", model.model_id.as_str().into()),
            ("run_id", metric.run_id.as_str().into()),
            ("dataset_name", optional(&metric.dataset_name)),
            ("dataset_digest", optional(&metric.dataset_digest)),
        ])
    });
    let data = object([("params", pairs(&model.params)), ("metrics", metrics)]);
    json!({"info": info, "data": data})
}

fn optional(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

pub(crate) fn registered_model(model: &RegisteredModel) -> Value {
    object([
        ("name", model.name.as_str().into()),
        ("creation_timestamp", model.created_ms.into()),
        ("last_updated_timestamp", model.updated_ms.into()),
        ("description", model.description.clone().into()),
        ("latest_versions", list(&model.latest, model_version)),
        ("tags", pairs(&model.tags)),
        ("aliases", list(&model.aliases, |(alias, version)| json!({"alias": alias, "version": version.to_string()}))),
    ])
}

pub(crate) fn model_version(version: &ModelVersion) -> Value {
    object([
        ("name", version.name.as_str().into()),
        ("version", version.version.to_string().into()),
        ("creation_timestamp", version.created_ms.into()),
        ("last_updated_timestamp", version.updated_ms.into()),
        ("user_id", version.user_id.clone().into()),
        ("current_stage", version.stage.as_str().into()),
        ("description", version.description.clone().into()),
        ("source", version.source.as_str().into()),
        ("run_id", version.run_id.clone().into()),
        ("run_link", version.run_link.clone().into()),
        ("model_id", version.model_id.clone().into()),
        ("status", "READY".into()),
        ("tags", pairs(&version.tags)),
        ("aliases", list(&version.aliases, |alias| alias.as_str().into())),
    ])
}
