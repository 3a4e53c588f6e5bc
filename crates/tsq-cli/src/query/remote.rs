//! Queries that a server evaluates, asked through Prometheus's HTTP API.

use super::When;
use crate::answer::Answer;
use crate::client::{self, seconds};
use crate::failure::{Failure, Result};

/// The JSON of the answer of the server at `url`.
pub(super) fn query(url: &str, expr: &str, when: When) -> Result<Vec<u8>> {
    let (path, mut form) = match when {
        When::At(time_ms) => ("query", vec![("time", seconds(time_ms))]),
        When::Over { start_ms, end_ms, step_ms } => {
            let times = vec![("start", seconds(start_ms)), ("end", seconds(end_ms)), ("step", seconds(step_ms))];
            ("query_range", times)
        }
    };
    form.push(("query", expr.to_owned()));
    let url = format!("{}/api/v1/{path}", url.trim_end_matches('/'));
    let answer = client::post_form(&url, &form)?;
    if Answer::parse(&answer.body).is_some() {
        return Ok(answer.body.into());
    }
    let text = String::from_utf8_lossy(&answer.body);
    let start: String = text.lines().next().unwrap_or("").chars().take(200).collect();
    Err(Failure::failed(format!("{url} answered {} and no Prometheus JSON: {start}", answer.status)))
}
