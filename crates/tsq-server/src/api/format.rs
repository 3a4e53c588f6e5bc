//! `format_query`.

use tsq::promql;

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json;

pub(super) static ENDPOINTS: &[Endpoint] =
    &[Endpoint { path: "/api/v1/format_query", methods: Methods::GetPost, cost: Cost::Small, run: format_query }];

/// The parsed `query`.
pub(super) fn parsed(call: &Call) -> Result<promql::ast::Expr, ApiError> {
    let text = call.params.get("query").unwrap_or_default();
    let bytes_max = call.app.config.engine.text_bytes;
    if text.len() > bytes_max {
        let message = format!("the text has {} bytes, the limit is {bytes_max}", text.len());
        return Err(ApiError::parameter("query", message));
    }
    promql::parse(text).map_err(|error| ApiError::parameter("query", error))
}

fn format_query(call: &Call) -> Result<Answer, ApiError> {
    let mut answer = Answer::new();
    json::string(&mut answer.data, &promql::format(&parsed(call)?));
    Ok(answer)
}
