//! Whether the server lives and is ready. These answer before the database is open.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tsq::Db;

use crate::app::App;
use crate::http::answer::{Answer, api_response, text};

/// 200 while the server lives; the text says whether it takes writes.
pub(super) async fn healthy(State(app): State<Arc<App>>) -> Response {
    match app.db().and_then(Db::read_only_reason) {
        Some(reason) => text(StatusCode::OK, format!("tsq answers queries and takes no writes: {reason}\n")),
        None => text(StatusCode::OK, "tsq is healthy.\n"),
    }
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.db() {
        Some(_) => text(StatusCode::OK, "tsq is ready.\n"),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

/// Progress of the log's replay, in steps: one, opening the database.
pub(super) async fn replay(State(app): State<Arc<App>>) -> Response {
    let mut answer = Answer::new();
    let current = u8::from(app.db().is_some());
    answer.data.extend_from_slice(format!(r#"{{"min":0,"max":1,"current":{current}}}"#).as_bytes());
    api_response(Ok(answer), false)
}
