//! From a request to a blocking handler and back.

use std::sync::Arc;

use axum::extract::{RawPathParams, Request};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::Value;
use tsq_runs::Runs;

use super::Route;
use super::error::{Code, Failure};
use super::input::{Input, missing};
use crate::api::not_finished;
use crate::app::App;
use crate::http::answer::{accepts_gzip, respond};
use crate::http::body::read_body;
use crate::http::params::decode;
use crate::work::Lease;

/// What a handler is given.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) runs: Runs,
    pub(crate) body: Vec<u8>,
    query: Vec<u8>,
    segments: Vec<(String, String)>,
    /// Bytes of the body, of the budget of all.
    _lease: Lease,
}

impl Call {
    /// The fields of the request: those of the body and those of the query string.
    pub(crate) fn input(&self) -> Result<Input, Failure> {
        let mut input = Input::from_body(&self.body)?;
        add_query(&mut input, &self.query)?;
        Ok(input)
    }

    /// The part of the path that stands for `{name}`.
    pub(crate) fn segment(&self, name: &str) -> Result<&str, Failure> {
        let found = self.segments.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| missing(name))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.app.now_ms()
    }
}

/// Adds the parameters of a query string.
pub(crate) fn add_query(input: &mut Input, query: &[u8]) -> Result<(), Failure> {
    for pair in query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let text = |bytes: &[u8]| {
            let bytes = decode(bytes, true).map_err(Failure::invalid)?;
            String::from_utf8(bytes).map_err(|_| Failure::invalid("a parameter is no UTF-8"))
        };
        let value = pair.get(at + 1..).unwrap_or_default();
        input.add(&text(&pair[..at])?, text(value)?);
    }
    Ok(())
}

/// Serves a request by a route's handler, off the sockets' threads.
pub(super) async fn serve(app: Arc<App>, route: &'static Route, segments: RawPathParams, request: Request) -> Response {
    let gzip = accepts_gzip(request.headers());
    match receive(app, route, &segments, request, gzip).await {
        Ok(response) => response,
        Err(failure) => refuse(&failure),
    }
}

async fn receive(
    app: Arc<App>,
    route: &'static Route,
    segments: &RawPathParams,
    request: Request,
    gzip: bool,
) -> Result<Response, Failure> {
    let runs = ready(&app)?;
    if request.method() != Method::GET {
        check_origin(request.headers())?;
    }
    let segments = segments.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let query = request.uri().query().unwrap_or_default().as_bytes().to_vec();
    let mut lease = app.request_bytes.lease();
    let body = read_body(&app, request.into_body(), app.config.limits.request_bytes, &mut lease).await;
    let body = body.map_err(|error| {
        let is_later = error.status() == StatusCode::SERVICE_UNAVAILABLE;
        Failure::new(
            if is_later { Code::TemporarilyUnavailable } else { Code::InvalidParameterValue },
            error.to_string(),
        )
    })?;
    let turn = tokio::time::timeout(app.config.limits.turn_wait, app.writes.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Failure::new(Code::TemporarilyUnavailable, "too many requests are waiting"));
    };
    let call = Call { app: app.clone(), runs, body, query, segments, _lease: lease };
    let work = move || {
        let _turn = turn;
        (route.run)(&call).map(|value| json_response(StatusCode::OK, &value, gzip))
    };
    finish(&app, route.path, tokio::task::spawn_blocking(work).await)
}

/// What a blocking handler made, or that it did not come to its end.
pub(super) fn finish<T>(
    app: &App,
    path: &str,
    done: Result<Result<T, Failure>, tokio::task::JoinError>,
) -> Result<T, Failure> {
    done.map_err(|error| {
        let code = if error.is_cancelled() { Code::TemporarilyUnavailable } else { Code::InternalError };
        Failure::new(code, not_finished(app, path, &error).message)
    })?
}

/// The runs of the database, once it is open.
pub(super) fn ready(app: &App) -> Result<Runs, Failure> {
    app.runs().cloned().ok_or_else(|| Failure::new(Code::TemporarilyUnavailable, "the database is not open yet"))
}

pub(super) fn json_response(status: StatusCode, value: &Value, gzip: bool) -> Response {
    let body = serde_json::to_vec(value).expect("JSON values are written to memory");
    respond(status, HeaderValue::from_static("application/json"), body, gzip)
}

/// The answer to a request that failed.
pub(super) fn refuse(failure: &Failure) -> Response {
    let mut response = json_response(failure.code.status(), &failure.json(), false);
    if failure.code == Code::TemporarilyUnavailable {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Browsers let any page send requests here and name its origin. Pages of this machine may: MLflow's own ones are often
/// served by a small server beside this one.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let from = origin.split_once("://").map_or("", |(_, from)| from);
    let name = from.rsplit_once(':').map_or(from, |(name, _)| name);
    if from.eq_ignore_ascii_case(host) || ["localhost", "127.0.0.1", "[::1]"].contains(&name) {
        return Ok(());
    }
    Err(Failure::new(Code::PermissionDenied, format!("pages of {origin} may not change anything here")))
}

/// Whether the body of a request is JSON, by its content type; one without a type is taken as it is.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_none_or(|media| media.trim_start().to_ascii_lowercase().starts_with("application/json"))
}
