//! Rules, alerts and targets: tsq evaluates and scrapes none, so the lists are empty, in the shape clients parse.

use tsq::promql::parse_selector;

use super::call::Call;
use super::series::matcher_sets;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::time::{parse_bool, parse_int};

pub(super) static ENDPOINTS: &[Endpoint] = &[
    list("/api/v1/rules", rules),
    list("/api/v1/alerts", |_| fixed(r#"{"alerts":[]}"#)),
    list("/api/v1/alertmanagers", |_| fixed(r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#)),
    list("/api/v1/notifications", |_| fixed("[]")),
    list("/api/v1/targets", targets),
    list("/api/v1/targets/metadata", targets_metadata),
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

/// No groups; parameters are checked as if there were some.
fn rules(call: &Call) -> Result<Answer, ApiError> {
    let params = &call.params;
    params.check_form()?;
    matcher_sets(call, ApiError::bad_data)?;
    let kind = params.get("type").map(str::to_lowercase).unwrap_or_default();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return Err(ApiError::parameter("type", format!("not supported value {kind:?}")));
    }
    if let Some(text) = params.get("exclude_alerts") {
        let failure =
            |error| ApiError::parameter("exclude_alerts", format!("error converting exclude_alerts: {error}"));
        parse_bool(text).map_err(failure)?;
    }
    page(call)?;
    fixed(r#"{"groups":[]}"#)
}

/// Checks the parameters that ask for a part of the groups.
fn page(call: &Call) -> Result<(), ApiError> {
    let token = call.params.get("group_next_token");
    let Some(text) = call.params.get("group_limit") else {
        let message = "group_limit needs to be present in order to paginate over the groups";
        return token.map_or(Ok(()), |_| Err(ApiError::parameter("group_next_token", message)));
    };
    let failure = |message| Err(ApiError::parameter("group_limit", message));
    match parse_int(text, "ParseInt") {
        Err(error) => return failure(format!("group_limit needs to be a valid number: {error}")),
        Ok(..=0) => return failure("group_limit needs to be greater than 0".to_owned()),
        Ok(_) => {}
    }
    let changed = |token| format!("invalid group_next_token '{token}'. were rule groups changed?");
    token.map_or(Ok(()), |token| Err(ApiError::parameter("group_next_token", changed(token))))
}

fn targets(call: &Call) -> Result<Answer, ApiError> {
    let state = call.params.get("state").map(str::to_lowercase).unwrap_or_default();
    let with_counts = ["", "any", "dropped"].contains(&state.as_str());
    fixed(if with_counts {
        r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#
    } else {
        r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":null}"#
    })
}

fn targets_metadata(call: &Call) -> Result<Answer, ApiError> {
    if call.params.get("limit").is_some_and(|text| parse_int(text, "Atoi").is_err()) {
        return Err(ApiError::bad_data("limit must be a number"));
    }
    let selector = call.params.query_text("match_target")?;
    if !selector.is_empty() {
        parse_selector(selector).map_err(|error| ApiError::parameter("match_target", error))?;
    }
    fixed("[]")
}
