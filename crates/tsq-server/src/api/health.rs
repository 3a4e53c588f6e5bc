//! Whether the server lives and is ready. These answer before the database is open.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tsq::Db;

use super::call::refuse_foreign_pages;
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

/// Ends the process as SIGTERM does, where that is allowed.
pub(super) async fn quit(State(app): State<Arc<App>>, request: Request) -> Response {
    lifecycle(&app, &request).unwrap_or_else(|| {
        app.quit.notify_one();
        text(StatusCode::OK, "Requesting termination... Goodbye!")
    })
}

/// Settings are given at the start and there is no file of them: nothing to reload.
pub(super) async fn reload(State(app): State<Arc<App>>, request: Request) -> Response {
    lifecycle(&app, &request).unwrap_or_else(|| StatusCode::OK.into_response())
}

/// The answer to a request about the process that may not be carried out.
fn lifecycle(app: &App, request: &Request) -> Option<Response> {
    if ![Method::POST, Method::PUT].contains(request.method()) {
        return Some(text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed"));
    }
    if !app.config.lifecycle {
        return Some(text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled."));
    }
    refuse_foreign_pages(request.headers()).err().map(|error| text(StatusCode::FORBIDDEN, error.message))
}
