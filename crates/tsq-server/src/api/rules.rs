//! Rules, alerts and targets: tsq evaluates and scrapes none, so the lists are empty, in the shape clients parse.

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    list("/api/v1/rules", |call| {
        one_of(call, "type", &["alert", "record"])?;
        fixed(r#"{"groups":[]}"#)
    }),
    list("/api/v1/alerts", |_| fixed(r#"{"alerts":[]}"#)),
    list("/api/v1/alertmanagers", |_| fixed(r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#)),
    list("/api/v1/targets", |call| {
        one_of(call, "state", &["active", "dropped", "any"])?;
        fixed(r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#)
    }),
    list("/api/v1/targets/metadata", |_| fixed("[]")),
    list("/api/v1/scrape_pools", |_| fixed(r#"{"scrapePools":[]}"#)),
];

const fn list(path: &'static str, run: fn(&Call) -> Result<Answer, ApiError>) -> Endpoint {
    Endpoint { path, methods: Methods::Get, cost: Cost::Small, run }
}

fn fixed(data: &str) -> Result<Answer, ApiError> {
    let mut answer = Answer::new();
    answer.data.extend_from_slice(data.as_bytes());
    Ok(answer)
}

fn one_of(call: &Call, name: &str, known: &[&str]) -> Result<(), ApiError> {
    match call.params.get(name).map(str::to_lowercase) {
        Some(value) if !known.contains(&value.as_str()) => {
            Err(ApiError::parameter(name, format!("not supported value {value:?}")))
        }
        _ => Ok(()),
    }
}
