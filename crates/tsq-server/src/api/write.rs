//! `POST /api/v1/write`: Prometheus remote write 1.0 and 2.0.
//!
//! | case | answer |
//! |---|---|
//! | everything is stored, repetitions included | 204 |
//! | some samples can never be accepted | the others are stored; 400 and what was refused |
//! | some series are over the series limit | the others are stored; 429 and the limit |
//! | another media type, message or encoding | 415 and what is accepted |
//! | no snappy block, no protobuf message | 400 |
//! | larger than a request may be | 413 |
//! | too much in flight, disk full, read-only, stopping | 503 with Retry-After |
//!
//! Answers to 2.0 always say in headers what was stored.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use tsq::{Appended, Batch, Db, LabelSource, RejectReason, Rejection};
use tsq_ingest::remote_write::{Counts, V1Labels, decode_v1, decode_v2, decompress};
use tsq_ingest::{DecodeError, DecodeErrorKind};

use super::call::{not_finished, refuse_foreign_pages};
use crate::app::App;
use crate::http::answer::text;
use crate::http::body::{BodyError, read_body};
use crate::metrics::Refusal;
use crate::work::Lease;

/// Seconds after which a refused sender should try again.
pub(super) const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// Buffers above this size are not kept for the next request.
const KEPT_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What is answered, in text.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: StatusCode,
    text: String,
    /// Floats, histograms and exemplars that were stored.
    written: [u64; 3],
}

impl Reply {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), written: [0; 3] }
    }

    fn later(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn response(self, version: Version) -> Response {
        let mut response = match self.status {
            StatusCode::NO_CONTENT => Response::default(),
            status => text(status, self.text + "\n"),
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        if version == Version::V2 {
            let [floats, histograms, exemplars] = self.written;
            headers.insert("x-prometheus-remote-write-samples-written", floats.into());
            headers.insert("x-prometheus-remote-write-histograms-written", histograms.into());
            headers.insert("x-prometheus-remote-write-exemplars-written", exemplars.into());
        }
        response
    }
}

pub(super) async fn write(State(app): State<Arc<App>>, request: Request) -> Response {
    let version = match negotiate(request.headers()) {
        Ok(version) => version,
        Err(message) => {
            app.metrics.refused(Refusal::Format);
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, message + "\n");
        }
    };
    let reply = receive(&app, version, request).await.unwrap_or_else(|refused| refused);
    if reply.status.is_server_error() {
        tracing::warn!("remote write: {}: {}", reply.status, reply.text);
    } else if !reply.status.is_success() {
        tracing::debug!("remote write: {}: {}", reply.status, reply.text);
    }
    reply.response(version)
}

/// The message that the headers announce.
fn negotiate(headers: &HeaderMap) -> Result<Version, String> {
    const ACCEPTED: &str = "accepted are application/x-protobuf with proto=prometheus.WriteRequest (1.0, the default) \
                            or proto=io.prometheus.write.v2.Request (2.0)";
    let header = |name| headers.get(name).map_or(Ok(""), HeaderValue::to_str);
    let encoding = header(CONTENT_ENCODING).unwrap_or("of an unreadable name").trim();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(format!("content encoding {encoding} is not accepted: only snappy is"));
    }
    let content_type = header(CONTENT_TYPE).unwrap_or("of an unreadable name").trim();
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !media.is_empty() && !media.eq_ignore_ascii_case("application/x-protobuf") {
        return Err(format!("content type {media} is not accepted: {ACCEPTED}"));
    }
    let mut version = Version::V1;
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let Some((name, value)) = parameter.split_once('=') else {
            return Err(format!("content type {content_type}: expected name=value, found {parameter:?}"));
        };
        if name.trim().eq_ignore_ascii_case("proto") {
            version = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Version::V1,
                "io.prometheus.write.v2.Request" => Version::V2,
                unknown => return Err(format!("protobuf message {unknown} is not accepted: {ACCEPTED}")),
            };
        }
    }
    Ok(version)
}

/// Reads, decodes and stores a request. A refusal is an `Err`, so that `?` ends the work.
async fn receive(app: &Arc<App>, version: Version, request: Request) -> Result<Reply, Reply> {
    let Some(db) = app.db().cloned() else { return Err(Reply::later("the database is not open yet")) };
    refuse_foreign_pages(request.headers()).map_err(|error| Reply::new(StatusCode::FORBIDDEN, error.message))?;
    let mut lease = app.request_bytes.lease();
    // What snappy makes of a request that it cannot shrink.
    let received_max = app.config.limits.request_bytes + app.config.limits.request_bytes / 6 + 32;
    let body = read_body(app, request.into_body(), received_max, &mut lease).await;
    let body = body.map_err(|error| refused_body(app, &error))?;
    app.metrics.received_bytes.add(body.len() as u64);
    let declared = declared_len(&body).unwrap_or(0).min(app.config.limits.request_bytes);
    take(app, &mut lease, declared)?;
    let turns = app.write_turns(declared);
    let Ok(turn) =
        tokio::time::timeout(app.config.limits.turn_wait, app.writes.clone().acquire_many_owned(turns)).await
    else {
        app.metrics.refused(Refusal::Busy);
        return Err(Reply::later("too many write requests are waiting"));
    };
    let app_there = app.clone();
    let work = move || {
        let _held = (turn, lease);
        store(&app_there, &db, version, &body)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Reply::later(not_finished(app, "/api/v1/write", &error).message))
}

fn take(app: &App, lease: &mut Lease, bytes: usize) -> Result<(), Reply> {
    if lease.grow(bytes) { Ok(()) } else { Err(refused_body(app, &BodyError::Busy(app.request_bytes.total()))) }
}

/// The answer to a request whose body could not be taken.
fn refused_body(app: &App, error: &BodyError) -> Reply {
    app.metrics.refused(match error {
        BodyError::TooLarge(_) => Refusal::TooLarge,
        BodyError::Busy(_) => Refusal::Busy,
        BodyError::Late(_) | BodyError::Broken(_) => Refusal::Malformed,
    });
    Reply::new(error.status(), error.to_string())
}

/// The decoded length that a snappy block declares in its first bytes.
fn declared_len(body: &[u8]) -> Option<usize> {
    let mut len = 0_u64;
    for (index, &byte) in body.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return usize::try_from(len).ok();
        }
    }
    None
}

/// Buffers of one request, used again by the next.
#[derive(Debug)]
pub(super) struct Buffers {
    decoded: Vec<u8>,
    batch: Batch,
}

impl Buffers {
    /// For the decompressed body, and for what is decoded from it.
    pub(super) fn parts(&mut self) -> (&mut Vec<u8>, &mut Batch) {
        (&mut self.decoded, &mut self.batch)
    }
}

/// Buffers that no request uses now.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<Buffers>>);

impl BufferPool {
    pub(super) fn take(&self, db: &Db) -> Buffers {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Buffers { decoded: Vec::new(), batch: db.batch() })
    }

    pub(super) fn give_back(&self, mut buffers: Buffers, kept_max: usize) {
        buffers.batch.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.decoded.capacity() <= KEPT_BYTES && spare.len() < kept_max {
            spare.push(buffers);
        }
    }
}

/// Decodes and appends. Blocks until the samples are durable.
fn store(app: &App, db: &Db, version: Version, body: &[u8]) -> Reply {
    let mut buffers = app.write_buffers.take(db);
    let reply = decode_and_append(app, db, version, body, &mut buffers).unwrap_or_else(|error| {
        let (why, status) = match error.kind() {
            DecodeErrorKind::TooLarge => (Refusal::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
            _ => (Refusal::Malformed, StatusCode::BAD_REQUEST),
        };
        app.metrics.refused(why);
        Reply::new(status, error.to_string())
    });
    app.write_buffers.give_back(buffers, app.config.limits.writes_running);
    reply
}

fn decode_and_append(
    app: &App,
    db: &Db,
    version: Version,
    body: &[u8],
    buffers: &mut Buffers,
) -> Result<Reply, DecodeError> {
    let Buffers { decoded, batch } = buffers;
    decompress(body, app.config.limits.request_bytes, decoded)?;
    app.metrics.decoded_bytes.add(decoded.len() as u64);
    Ok(match version {
        Version::V1 => {
            let counts = decode_v1(decoded, batch)?;
            append(app, db, batch, &V1Labels, counts)
        }
        Version::V2 => {
            let (counts, labels) = decode_v2(decoded, batch)?;
            append(app, db, batch, &labels, counts)
        }
    })
}

fn append(app: &App, db: &Db, batch: &Batch, labels: &dyn LabelSource, counts: Counts) -> Reply {
    let appended = if batch.is_empty() { Ok(Appended::default()) } else { db.append_with(batch, labels) };
    let mut appended = match appended {
        Ok(appended) => appended,
        Err(error) => {
            let (why, status) = storage_refusal(&error);
            app.metrics.refused(why);
            return Reply::new(status, error.to_string());
        }
    };
    appended.rejected += counts.rejected;
    appended.rejections.extend(counts.rejections);
    app.metrics.stored(&appended);
    reply_to(&appended)
}

/// What a request that was not stored is counted as, and the status of its answer.
pub(super) fn storage_refusal(error: &tsq::Error) -> (Refusal, StatusCode) {
    match error.kind() {
        tsq::ErrorKind::InvalidArgument => (Refusal::Malformed, StatusCode::BAD_REQUEST),
        tsq::ErrorKind::LimitExceeded => (Refusal::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        // Whatever else keeps a store from writing can be mended there; senders keep the data until then.
        _ => (Refusal::Storage, StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// The answer to a request of which this was stored and refused.
fn reply_to(appended: &Appended) -> Reply {
    let written = [appended.floats, appended.histograms, appended.exemplars];
    if appended.rejected == 0 && appended.rejections.is_empty() {
        return Reply { status: StatusCode::NO_CONTENT, text: String::new(), written };
    }
    let over_limit = |rejection: &Rejection| rejection.reason == RejectReason::SeriesLimit;
    let status = match appended.rejections.iter().any(over_limit) {
        true => StatusCode::TOO_MANY_REQUESTS,
        false => StatusCode::BAD_REQUEST,
    };
    let listed: Vec<_> = appended.rejections.iter().map(|rejection| rejection.message.as_str()).collect();
    let (refused, stored) = (appended.rejected, appended.floats + appended.histograms);
    let text = format!("{refused} samples refused, {stored} stored: {}", listed.join("; "));
    Reply { status, text, written }
}
