//! `POST /api/v1/otlp/v1/metrics` and `/v1/metrics`: OpenTelemetry metrics over HTTP, in protobuf or JSON.
//!
//! | case | answer |
//! |---|---|
//! | everything is stored, repetitions included | 200, an empty `ExportMetricsServiceResponse` |
//! | some data points can never be accepted | the others are stored; 200 with `partial_success`: how many, and why |
//! | another media type or encoding | 415 and what is accepted |
//! | no protobuf or JSON, not compressed as announced | 400 |
//! | larger than a request may be | 413 |
//! | too much in flight, disk full, read-only, stopping, too slow | 503 with Retry-After: exporters send it again |
//! | traces and logs | 404 |
//!
//! All but 200 carry a `google.rpc.Status`, in the form of the request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use tsq::{Appended, Batch, Db};
use tsq_ingest::otlp::{self, Decoded, Form, decode, json_to_protobuf};
use tsq_ingest::{DecodeError, DecodeErrorKind};

use super::call::{not_finished, refuse_foreign_pages};
use super::write::{RETRY_AFTER_S, storage_refusal};
use crate::app::App;
use crate::http::body::{BodyError, read_body};
use crate::http::encoding::{DecompressError, Encoding, decompress};
use crate::metrics::Refusal;
use crate::work::Lease;

/// Paths of metrics: Prometheus's, and that of an OpenTelemetry collector.
pub(super) const METRICS: [&str; 2] = ["/api/v1/otlp/v1/metrics", "/v1/metrics"];

/// Paths of what is not taken.
pub(super) const OTHERS: [&str; 4] = ["/api/v1/otlp/v1/traces", "/v1/traces", "/api/v1/otlp/v1/logs", "/v1/logs"];

/// A refused request.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    code: otlp::StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::FORBIDDEN => otlp::StatusCode::PermissionDenied,
            StatusCode::PAYLOAD_TOO_LARGE => otlp::StatusCode::ResourceExhausted,
            StatusCode::NOT_FOUND => otlp::StatusCode::Unimplemented,
            StatusCode::SERVICE_UNAVAILABLE => otlp::StatusCode::Unavailable,
            _ => otlp::StatusCode::InvalidArgument,
        };
        Self { status, code, message: message.into() }
    }

    fn later(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    fn response(self, form: Form) -> Response {
        if self.status.is_server_error() {
            tracing::warn!("OTLP: {}: {}", self.status, self.message);
        } else {
            tracing::debug!("OTLP: {}: {}", self.status, self.message);
        }
        let mut response = respond(self.status, form, form.status(self.code, &self.message));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }
}

fn respond(status: StatusCode, form: Form, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    response
}

/// The form that the headers announce.
fn announced_form(headers: &HeaderMap) -> Result<Form, String> {
    let content_type = headers.get(CONTENT_TYPE).map_or(Ok(""), HeaderValue::to_str);
    let content_type = content_type.unwrap_or("of an unreadable name");
    Form::of_media_type(content_type).ok_or_else(|| {
        let [one, two] = [Form::Protobuf, Form::Json].map(Form::media_type);
        match content_type {
            "" => format!("there is no content type: {one} and {two} are accepted"),
            _ => format!("content type {content_type} is not accepted: {one} and {two} are"),
        }
    })
}

pub(super) async fn not_taken(request: Request) -> Response {
    let form = announced_form(request.headers()).unwrap_or(Form::Json);
    let what = if request.uri().path().ends_with("logs") { "logs" } else { "traces" };
    let message = format!("tsq takes metrics, no {what}: send metrics to {}", METRICS[0]);
    Refused::new(StatusCode::NOT_FOUND, message).response(form)
}

pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response {
    let headers = request.headers();
    let (form, encoding) = match (announced_form(headers), Encoding::announced(headers)) {
        (Ok(form), Ok(encoding)) => (form, encoding),
        (form, encoding) => {
            app.metrics.refused(Refusal::Format);
            let answer_form = form.as_ref().copied().unwrap_or(Form::Json);
            let message = form.err().or(encoding.err()).unwrap_or_default();
            return Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).response(answer_form);
        }
    };
    match receive(&app, form, encoding, request).await {
        Ok(answer) => respond(StatusCode::OK, form, answer),
        Err(refused) => refused.response(form),
    }
}

/// Reads, decodes and stores a request. Returns the body of the answer.
async fn receive(app: &Arc<App>, form: Form, encoding: Encoding, request: Request) -> Result<Vec<u8>, Refused> {
    let Some(db) = app.db().cloned() else { return Err(Refused::later("the database is not open yet")) };
    refuse_foreign_pages(request.headers()).map_err(|error| Refused::new(StatusCode::FORBIDDEN, error.message))?;
    let limits = &app.config.limits;
    let mut lease = app.request_bytes.lease();
    let body = read_body(app, request.into_body(), limits.request_bytes, &mut lease).await;
    let body = body.map_err(|error| refused_body(app, &error))?;
    app.metrics.received_bytes.add(body.len() as u64);
    // What a body becomes is known when it is decompressed; until then the turns are those of a usual one.
    let expected = if encoding == Encoding::Identity { body.len() } else { body.len().saturating_mul(10) };
    let turns = app.write_turns(expected.min(limits.request_bytes));
    let Ok(turn) = tokio::time::timeout(limits.turn_wait, app.writes.clone().acquire_many_owned(turns)).await else {
        app.metrics.refused(Refusal::Busy);
        return Err(Refused::later("too many write requests are waiting"));
    };
    let app_there = app.clone();
    let work = move || {
        let _turn = turn;
        store(&app_there, &db, form, encoding, &body, lease)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refused::later(not_finished(app, METRICS[0], &error).message))?
}

/// The answer to a request whose body could not be taken. One that came too slowly may be sent again.
fn refused_body(app: &App, error: &BodyError) -> Refused {
    let (why, status) = match error {
        BodyError::TooLarge(_) => (Refusal::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        BodyError::Busy(_) => (Refusal::Busy, StatusCode::SERVICE_UNAVAILABLE),
        BodyError::Late(_) => (Refusal::Malformed, StatusCode::SERVICE_UNAVAILABLE),
        BodyError::Broken(_) => (Refusal::Malformed, StatusCode::BAD_REQUEST),
    };
    app.metrics.refused(why);
    Refused::new(status, error.to_string())
}

fn not_decompressed(app: &App, error: DecompressError) -> Refused {
    match error {
        DecompressError::TooLarge(limit) => refused_body(app, &BodyError::TooLarge(limit)),
        DecompressError::Busy => refused_body(app, &BodyError::Busy(app.request_bytes.total())),
        DecompressError::Malformed(message) => refused_body(app, &BodyError::Broken(message)),
    }
}

fn not_decoded(app: &App, error: &DecodeError) -> Refused {
    let (why, status) = match error.kind() {
        DecodeErrorKind::TooLarge => (Refusal::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        _ => (Refusal::Malformed, StatusCode::BAD_REQUEST),
    };
    app.metrics.refused(why);
    Refused::new(status, error.to_string())
}

/// Decodes and appends. Blocks until the samples are durable.
fn store(
    app: &App,
    db: &Db,
    form: Form,
    encoding: Encoding,
    body: &[u8],
    mut lease: Lease,
) -> Result<Vec<u8>, Refused> {
    let mut buffers = app.write_buffers.take(db);
    let (decoded, batch) = buffers.parts();
    let answer = unpack(app, form, encoding, body, &mut lease, decoded)
        .and_then(|()| decode_and_append(app, db, form, decoded, batch));
    app.write_buffers.give_back(buffers, app.config.limits.writes_running);
    answer
}

/// The protobuf message of a body.
fn unpack(
    app: &App,
    form: Form,
    encoding: Encoding,
    body: &[u8],
    lease: &mut Lease,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let bytes_max = app.config.limits.request_bytes;
    decompress(encoding, body, bytes_max, lease, out).map_err(|error| not_decompressed(app, error))?;
    app.metrics.decoded_bytes.add(out.len() as u64);
    if form == Form::Json {
        let json = std::mem::take(out);
        // Numbers of one digit become eight bytes, but much of JSON is names.
        if !lease.grow(2 * json.len()) {
            return Err(refused_body(app, &BodyError::Busy(app.request_bytes.total())));
        }
        json_to_protobuf(&json, bytes_max, out).map_err(|error| not_decoded(app, &error))?;
    }
    Ok(())
}

fn decode_and_append(app: &App, db: &Db, form: Form, body: &[u8], batch: &mut Batch) -> Result<Vec<u8>, Refused> {
    let Decoded { labels, mut report, changes } =
        decode(body, &app.config.otlp, &app.deltas, batch).map_err(|error| not_decoded(app, &error))?;
    let appended = if batch.is_empty() { Ok(Appended::default()) } else { db.append_with(batch, &labels) };
    let mut appended = appended.map_err(|error| {
        app.deltas.take_back(changes);
        let (why, status) = storage_refusal(&error);
        app.metrics.refused(why);
        Refused::new(status, error.to_string())
    })?;
    let (refused, rejections) = (report.rejected, report.rejections.clone());
    report.appended(&appended);
    appended.rejected += refused;
    appended.rejections.extend(rejections);
    app.metrics.stored(&appended);
    if let Some(message) = report.message() {
        tracing::debug!("OTLP: {message}");
    }
    Ok(form.response(&report))
}
