//! Queries that a server evaluates, asked through Prometheus's HTTP API.

use tsq::promql::CancelFlag;

use super::{Request, When};
use crate::answer::Answer;
use crate::client::{self, seconds};
use crate::failure::{Failure, Result};

/// The JSON of the answer of the server at `url`.
pub(crate) fn query(url: &str, request: &Request<'_>, cancel: &CancelFlag) -> Result<Vec<u8>> {
    let (path, mut form) = match request.when {
        When::At(time_ms) => ("query", vec![("time", seconds(time_ms))]),
        When::Over { start_ms, end_ms, step_ms } => {
            let times = vec![("start", seconds(start_ms)), ("end", seconds(end_ms)), ("step", seconds(step_ms))];
            ("query_range", times)
        }
    };
    form.push(("query", request.expr.to_owned()));
    let limits = &request.limits;
    form.extend(limits.timeout_ms.map(|ms| ("timeout", seconds(ms))));
    form.extend(limits.lookback_ms.map(|ms| ("lookback_delta", seconds(ms))));
    form.extend(limits.limit.map(|limit| ("limit", limit.to_string())));
    form.extend(request.axis.map(|axis| ("axis", axis.name().to_owned())));
    form.extend(request.explain.then(|| ("explain", "true".to_owned())));
    let url = format!("{}/api/v1/{path}", url.trim_end_matches('/'));
    let answer =
        client::Request { url: &url, form: Some(&form), timeout: client::TIMEOUT, cancel: cancel.clone() }.send()?;
    if Answer::parse(&answer.body).is_some() {
        return Ok(answer.body.into());
    }
    let text = String::from_utf8_lossy(&answer.body);
    let start: String = text.lines().next().unwrap_or("").chars().take(200).collect();
    Err(Failure::failed(format!("{url} answered {} and no Prometheus JSON: {start}", answer.status)))
}
