//! `POST /api/v1/read`: Prometheus remote read.
//!
//! | case | answer |
//! |---|---|
//! | samples are asked for | 200, `prometheus.ReadResponse`, snappy |
//! | chunks are asked for | 200, frames of `prometheus.ChunkedReadResponse`, sent as they are read |
//! | no snappy block, no protobuf message, an unknown form of answer, a bad pattern | 400 |
//! | more samples than an answer may have | 400 |
//! | larger than a request may be | 413 |
//! | too many reads | 503 with Retry-After |
//!
//! Refusals are plain text, as in Prometheus. A failure after the first frame breaks the connection: a reader must not
//! take half of an answer for all of it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tsq::promql::{CancelFlag, PatternBudget};
use tsq::{Db, MatchOp, Matcher, Series, Source, TimeRange};
use tsq_ingest::remote_read::{
    MatchType, Query, ResponseType, STREAMED_CONTENT_TYPE, SamplesWriter, SeriesFrames, decode_request, encode_chunks,
};
use tsq_ingest::{DecodeError, DecodeErrorKind};

use super::call::not_finished;
use crate::app::App;
use crate::columns::Columns;
use crate::http::answer::text;
use crate::http::body::{BodyError, read_body};
use crate::http::error::{ApiError, ErrorType};
use crate::work::{CancelOnDrop, Lease};

const PATH: &str = "/api/v1/read";

/// Series that are taken from a selection at once.
const BATCH: usize = 16;

/// Samples of a series that are decoded at once.
const PIECE_SAMPLES: usize = 32 << 10;

/// Frames that wait for a slow reader.
const FRAMES_WAITING: usize = 1;

/// Why there is no answer.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    message: String,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { status: error.error_type.status(), message: error.message }
    }
}

impl From<tsq::Error> for Refused {
    fn from(error: tsq::Error) -> Self {
        ApiError::from(error).into()
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        Self { status: error.status(), message: error.to_string() }
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        let status = match error.kind() {
            DecodeErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, message: error.to_string() }
    }
}

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    fn response(self) -> Response {
        let mut response = text(self.status, self.message + "\n");
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

pub(super) async fn read(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request).await.unwrap_or_else(|refused| {
        app.metrics.read_failures.add(1);
        tracing::debug!("remote read: {}: {}", refused.status, refused.message);
        refused.response()
    })
}

/// A query with its matchers compiled.
#[derive(Debug)]
struct Wanted {
    matchers: Vec<Matcher>,
    range: TimeRange,
    only_labels: bool,
}

async fn answer(app: &Arc<App>, request: Request) -> Result<Response, Refused> {
    let Some(db) = app.db().cloned() else {
        return Err(ApiError::new(ErrorType::Unavailable, "the database is not open yet").into());
    };
    check_encoding(request.headers())?;
    let bytes_max = app.config.limits.form_bytes;
    let mut lease = app.request_bytes.lease();
    let body = read_body(app, request.into_body(), bytes_max, &mut lease).await?;
    let read = decode_request(&body, bytes_max)?;
    let Some(response_type) = read.response_type() else {
        let accepted = &read.accepted;
        return Err(Refused::bad(format!(
            "server does not support any of the requested response types: {accepted:?}; \
             supported: SAMPLES, STREAMED_XOR_CHUNKS"
        )));
    };
    let queries = compile(read.queries)?;
    drop(body);
    let turn = app.reads.enter(Instant::now() + app.config.limits.turn_wait).await?;
    let (to_work, app) = (app.clone(), app.clone());
    let cancel = CancelOnDrop(CancelFlag::default());
    match response_type {
        ResponseType::StreamedChunks => {
            app.metrics.read_queries[1].add(queries.len() as u64);
            let (start, started) = oneshot::channel();
            let frames = Frames { start: Some(start), sender: None, handle: Handle::current() };
            let work = move || {
                let _held = (turn, lease);
                stream(&to_work, &db, &queries, frames);
            };
            let working = tokio::task::spawn_blocking(work);
            match (started.await, working) {
                (Ok(answer), _) => answer,
                // It ended without a word.
                (Err(_), working) => Err(working.await.err().map_or_else(
                    || ApiError::new(ErrorType::Internal, "the answer was not begun"),
                    |error| not_finished(&app, PATH, &error),
                ))?,
            }
        }
        _ => {
            app.metrics.read_queries[0].add(queries.len() as u64);
            let flag = cancel.0.clone();
            let work = move || {
                let _held = (turn, lease);
                samples(&to_work, &db, &queries, &flag)
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.map_err(|error| not_finished(&app, PATH, &error))?
        }
    }
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Refused> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"snappy") => {
            let message = format!("content encoding {encoding:?} is not accepted: only snappy is");
            Err(Refused { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, message })
        }
        _ => Ok(()),
    }
}

fn compile(queries: Vec<Query>) -> Result<Vec<Wanted>, Refused> {
    let mut patterns = PatternBudget::default();
    let mut wanted = Vec::with_capacity(queries.len());
    for query in queries {
        let mut matchers = Vec::with_capacity(query.matchers.len());
        for matcher in query.matchers {
            let mut pattern = |source: &str| patterns.compile(source).map_err(Refused::bad);
            let op = match matcher.match_type {
                MatchType::Equal => MatchOp::Equal(matcher.value),
                MatchType::NotEqual => MatchOp::NotEqual(matcher.value),
                MatchType::Match => MatchOp::Match(pattern(&matcher.value)?),
                MatchType::NotMatch => MatchOp::NotMatch(pattern(&matcher.value)?),
            };
            matchers.push(Matcher { name: matcher.name, op });
        }
        let (first, last) = query.hinted_ms.unwrap_or((i64::MIN, i64::MAX));
        let range = TimeRange::new(query.start_ms.max(first), query.end_ms.min(last));
        wanted.push(Wanted { matchers, range, only_labels: query.function == "series" });
    }
    Ok(wanted)
}

/// What takes the series of an answer.
trait Sink {
    fn query(&mut self, index: usize);
    /// One series, which has samples in the range.
    fn series(&mut self, series: &Series, wanted: &Wanted) -> Result<(), Refused>;
}

/// Goes through the series of all queries.
fn read_all(db: &Db, queries: &[Wanted], sink: &mut impl Sink) -> Result<(), Refused> {
    let snapshot = db.snapshot()?;
    for (index, wanted) in queries.iter().enumerate() {
        sink.query(index);
        if wanted.range.min_ms > wanted.range.max_ms {
            continue;
        }
        let mut selected = snapshot.select(&wanted.matchers, wanted.range)?;
        loop {
            let batch = selected.next_batch(BATCH)?;
            if batch.is_empty() {
                break;
            }
            for series in batch {
                sink.series(&series, wanted)?;
            }
        }
    }
    Ok(())
}

/// The samples of a series, a piece at a time.
fn each_piece(
    columns: &mut Columns,
    series: &Series,
    range: TimeRange,
    mut take: impl FnMut(&Columns) -> Result<(), Refused>,
) -> Result<(), Refused> {
    for piece in series.pieces(range, PIECE_SAMPLES) {
        columns.read(series, piece)?;
        if columns.len() > 0 {
            take(columns)?;
        }
    }
    Ok(())
}

/// An answer with every sample.
struct Whole<'a> {
    app: &'a App,
    cancel: &'a CancelFlag,
    /// The answer's share of the bytes of all answers.
    lease: Lease,
    out: SamplesWriter,
    leased: usize,
    samples: usize,
    columns: Columns,
}

fn samples(app: &App, db: &Db, queries: &[Wanted], cancel: &CancelFlag) -> Result<Response, Refused> {
    let (lease, (out, columns)) = (app.read_bytes.lease(), Default::default());
    let mut sink = Whole { app, cancel, lease, out, leased: 0, samples: 0, columns };
    read_all(db, queries, &mut sink)?;
    sink.check()?;
    app.metrics.read_samples.add(sink.samples as u64);
    let body = sink.out.finish().ok_or_else(|| Refused::bad("the answer is too large for snappy"))?;
    app.metrics.read_bytes.add(body.len() as u64);
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

impl Whole<'_> {
    fn check(&mut self) -> Result<(), Refused> {
        let limits = &self.app.config.limits;
        if self.cancel.is_canceled() {
            return Err(ApiError::new(ErrorType::Canceled, "the client closed the connection").into());
        }
        if self.samples > limits.read_samples {
            return Err(Refused::bad(format!("exceeded sample limit ({})", limits.read_samples)));
        }
        let bytes = self.out.bytes();
        if bytes > limits.answer_bytes {
            let message =
                format!("the answer is larger than {} bytes: ask for less, or for chunks", limits.answer_bytes);
            return Err(Refused::bad(message));
        }
        if !self.lease.grow(bytes - self.leased) {
            let total = self.app.read_bytes.total();
            let message = format!("answers in flight would take more than {total} bytes");
            return Err(ApiError::new(ErrorType::Unavailable, message).into());
        }
        self.leased = bytes;
        Ok(())
    }
}

impl Sink for Whole<'_> {
    fn query(&mut self, _: usize) {
        self.out.query();
    }

    fn series(&mut self, series: &Series, wanted: &Wanted) -> Result<(), Refused> {
        let mut columns = std::mem::take(&mut self.columns);
        let mut begun = wanted.only_labels;
        if wanted.only_labels {
            self.out.series(series.labels());
        } else {
            each_piece(&mut columns, series, wanted.range, |columns| {
                if !begun {
                    self.out.series(series.labels());
                    begun = true;
                }
                self.out.samples(&columns.floats, &columns.histograms);
                self.samples += columns.len();
                self.check()
            })?;
        }
        self.columns = columns;
        self.app.metrics.read_series.add(u64::from(begun));
        self.check()
    }
}

/// The way of frames to the client. Dropped before the end it breaks the connection.
struct Frames {
    /// Waits for the answer to begin.
    start: Option<oneshot::Sender<Result<Response, Refused>>>,
    sender: Option<Sender<Bytes, io::Error>>,
    handle: Handle,
}

impl Frames {
    /// Waits while the client has enough to read.
    fn send(&mut self, frame: Vec<u8>) -> Result<(), Refused> {
        self.begin();
        let sender = self.sender.as_mut().expect("it was begun");
        let gone = |_| ApiError::new(ErrorType::Canceled, "the client closed the connection").into();
        self.handle.block_on(sender.send_data(frame.into())).map_err(gone)
    }

    fn begin(&mut self) {
        let Some(start) = self.start.take() else { return };
        let (sender, body) = Channel::new(FRAMES_WAITING);
        self.sender = Some(sender);
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAMED_CONTENT_TYPE));
        // A client that is gone is noticed when a frame is sent.
        let _ = start.send(Ok(response));
    }

    fn is_unwanted(&self) -> bool {
        self.start.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Ends the answer.
    fn finish(mut self, result: Result<(), Refused>) {
        match (result, self.start.take()) {
            (Ok(()), start) => {
                self.start = start;
                self.begin();
                // Without this the end would look like a failure.
                self.sender = None;
            }
            (Err(refused), Some(start)) => drop(start.send(Err(refused))),
            (Err(refused), None) => tracing::warn!("remote read: broken off: {}", refused.message),
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.abort(io::Error::other("the answer could not be finished"));
        }
    }
}

/// An answer in chunks.
struct Chunked<'a> {
    app: &'a App,
    frames: Frames,
    query: usize,
    columns: Columns,
}

fn stream(app: &App, db: &Db, queries: &[Wanted], frames: Frames) {
    let mut sink = Chunked { app, frames, query: 0, columns: Columns::default() };
    let result = read_all(db, queries, &mut sink);
    sink.frames.finish(result);
}

impl Chunked<'_> {
    fn send(&mut self, frame: Option<Vec<u8>>) -> Result<(), Refused> {
        let Some(frame) = frame else { return Ok(()) };
        self.app.metrics.read_bytes.add(frame.len() as u64);
        self.frames.send(frame)
    }
}

impl Sink for Chunked<'_> {
    fn query(&mut self, index: usize) {
        self.query = index;
    }

    fn series(&mut self, series: &Series, wanted: &Wanted) -> Result<(), Refused> {
        if self.frames.is_unwanted() {
            return Err(ApiError::new(ErrorType::Canceled, "the client closed the connection").into());
        }
        let mut columns = std::mem::take(&mut self.columns);
        let mut frames = SeriesFrames::new(self.query, series.labels());
        let mut samples = 0;
        if !wanted.only_labels {
            each_piece(&mut columns, series, wanted.range, |columns| {
                samples += columns.len();
                encode_chunks(&columns.floats, &columns.histograms, |chunk| self.send(frames.push(&chunk)))
            })?;
        }
        self.columns = columns;
        if samples == 0 && !wanted.only_labels {
            return Ok(());
        }
        self.app.metrics.read_series.add(1);
        self.app.metrics.read_samples.add(samples as u64);
        self.send(frames.finish())
    }
}
