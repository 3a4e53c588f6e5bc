//! Histories of metrics, from the engine.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde_json::Value;
use tokio::runtime::Handle;
use tsq::Samples;
use tsq_runs::{Cursor, History};

use super::call::{Call, add_query, finish, ready, refuse};
use super::error::{Code, Failure};
use super::input::Input;
use super::output::{float, object};
use super::{Route, Verbs, route};
use crate::app::App;
use crate::http::json;

/// Points of one answer about many runs.
const BULK_MAX: usize = 25_000;
/// Runs of one question.
const BULK_RUNS: usize = 100;
/// Points of one curve.
const CURVE_MAX: i64 = 2500;
/// Points of a curve when nobody says.
const CURVE: i64 = 320;
/// Pieces of an answer that wait for the client.
const FRAMES_WAITING: usize = 2;

pub(super) static ROUTES: &[Route] = &[
    route(Verbs::Get, "metrics/get-history-bulk", bulk),
    route(Verbs::Get, "metrics/get-history-bulk-interval", interval),
];

/// What is asked about one metric.
struct Wanted {
    run_id: String,
    key: String,
    from: Cursor,
    count: usize,
}

/// `metrics/get-history`: whole, or a page of it. Written while it is read, so that it takes little memory.
pub(super) async fn history(State(app): State<Arc<App>>, request: Request) -> Response {
    stream(app, request).await.unwrap_or_else(|failure| refuse(&failure))
}

async fn stream(app: Arc<App>, request: Request) -> Result<Response, Failure> {
    let runs = ready(&app)?;
    let mut input = Input::default();
    add_query(&mut input, request.uri().query().unwrap_or_default().as_bytes())?;
    let wanted = wanted(&input)?;
    let deadline = Instant::now() + app.config.limits.turn_wait;
    let turn = app.reads.enter(deadline).await;
    let turn = turn.map_err(|error| Failure::new(Code::TemporarilyUnavailable, error.message))?;
    let (sender, body) = Channel::<Bytes, io::Error>::new(FRAMES_WAITING);
    let begin = move || {
        let info = runs.catalog().run_info(&wanted.run_id)?;
        let snapshot = runs.db().snapshot()?;
        let history = History::new(&snapshot, &info.run_id, &wanted.key, wanted.from)?;
        Ok((wanted, history))
    };
    let begun = finish(&app, "metrics/get-history", tokio::task::spawn_blocking(begin).await)?;
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let (wanted, mut history) = begun;
        write_history(&wanted, &mut history, sender, &handle);
    });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn wanted(input: &Input) -> Result<Wanted, Failure> {
    let count = match input.int("max_results")? {
        None => usize::MAX,
        Some(count) => usize::try_from(count).ok().filter(|&count| count > 0).ok_or_else(|| {
            Failure::invalid(format!("Invalid value {count} for parameter 'max_results': it must be positive"))
        })?,
    };
    let token = input.text("page_token")?.filter(|token| !token.is_empty());
    let from = token.map_or(Ok(Cursor::default()), cursor)?;
    Ok(Wanted { run_id: input.run_id()?.to_owned(), key: input.required("metric_key")?.to_owned(), from, count })
}

fn cursor(token: &str) -> Result<Cursor, Failure> {
    let parts = token.strip_prefix('t').and_then(|rest| rest.split_once('.'));
    let parsed = parts.and_then(|(time, skip)| Some((time.parse().ok()?, skip.parse().ok()?)));
    let (time_ms, skip) = parsed.ok_or_else(|| Failure::invalid(format!("Invalid page token {token:?}")))?;
    Ok(Cursor { time_ms, skip })
}

/// Writes points until the client is gone or all are written; one that fails breaks the connection.
fn write_history(wanted: &Wanted, history: &mut History, mut sender: Sender<Bytes, io::Error>, handle: &Handle) {
    let mut key = Vec::new();
    json::string(&mut key, &wanted.key);
    let mut frame = b"{".to_vec();
    let (mut written, mut page) = (0_usize, Page { from: wanted.from, last_ms: i64::MIN, same: 0 });
    loop {
        let piece = match history.next_piece() {
            Ok(piece) => piece,
            Err(error) => {
                tracing::warn!("the history of {:?} broke off: {error}", wanted.key);
                sender.abort(io::Error::other("the answer could not be finished"));
                return;
            }
        };
        let Some(piece) = piece else { break };
        let taken = piece.len().min(wanted.count - written);
        for at in 0..taken {
            frame.extend_from_slice(if written == 0 { b"\"metrics\":[" } else { b"," });
            write_point(&mut frame, &key, piece, at);
            page.add(piece.times[at]);
            written += 1;
        }
        if taken < piece.len() {
            let Cursor { time_ms, skip } = page.next(piece.times[taken]);
            frame.extend_from_slice(format!("],\"next_page_token\":\"t{time_ms}.{skip}\"}}").as_bytes());
            // A client that is gone needs no end.
            let _ = handle.block_on(sender.send_data(frame.into()));
            return;
        }
        if handle.block_on(sender.send_data(std::mem::take(&mut frame).into())).is_err() {
            return;
        }
    }
    frame.extend_from_slice(if written == 0 { b"}" } else { b"]}" });
    let _ = handle.block_on(sender.send_data(frame.into()));
}

/// Where the next page begins.
struct Page {
    from: Cursor,
    last_ms: i64,
    /// Points of this page with that time.
    same: u64,
}

impl Page {
    fn add(&mut self, time_ms: i64) {
        if time_ms != self.last_ms {
            (self.last_ms, self.same) = (time_ms, 0);
        }
        self.same += 1;
    }

    fn next(&self, time_ms: i64) -> Cursor {
        let same = if time_ms == self.last_ms { self.same } else { 0 };
        let earlier = if time_ms == self.from.time_ms { self.from.skip } else { 0 };
        Cursor { time_ms, skip: same + earlier }
    }
}

fn write_point(out: &mut Vec<u8>, key: &[u8], samples: &Samples, at: usize) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(key);
    out.extend_from_slice(b",\"value\":");
    write_float(out, samples.values[at]);
    out.extend_from_slice(b",\"timestamp\":");
    out.extend_from_slice(itoa::Buffer::new().format(samples.times[at]).as_bytes());
    out.extend_from_slice(b",\"step\":");
    out.extend_from_slice(itoa::Buffer::new().format(samples.steps[at]).as_bytes());
    out.push(b'}');
}

fn write_float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        let text = if value.is_nan() {
            "\"NaN\""
        } else if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        };
        out.extend_from_slice(text.as_bytes());
    }
}

fn points(run_id: &str, key: &str, samples: &Samples) -> Vec<Value> {
    let point = |at: usize| {
        object([
            ("key", key.into()),
            ("value", float(samples.values[at])),
            ("timestamp", samples.times[at].into()),
            ("step", samples.steps[at].into()),
            ("run_id", run_id.into()),
        ])
    };
    (0..samples.len()).map(point).collect()
}

fn run_ids(input: &Input, name: &str) -> Result<Vec<String>, Failure> {
    let found = input.texts(name)?;
    if found.is_empty() || found.len() > BULK_RUNS {
        let count = found.len();
        return Err(Failure::invalid(format!("parameter '{name}' must name 1 to {BULK_RUNS} runs, it names {count}")));
    }
    Ok(found)
}

fn bulk(call: &Call) -> Result<Value, Failure> {
    let input = call.input()?;
    let (ids, key) = (run_ids(&input, "run_id")?, input.required("metric_key")?);
    let count = match input.int("max_results")? {
        None => BULK_MAX,
        Some(count) => usize::try_from(count).ok().filter(|&count| count > 0).unwrap_or(BULK_MAX).min(BULK_MAX),
    };
    let snapshot = call.runs.db().snapshot()?;
    let mut found = Vec::new();
    for run_id in &ids {
        call.runs.catalog().run_info(run_id)?;
        let (samples, _) = History::page(&snapshot, run_id, key, Cursor::default(), count - found.len())?;
        found.extend(points(run_id, key, &samples));
        if found.len() == count {
            break;
        }
    }
    Ok(object([("metrics", found.into())]))
}

fn interval(call: &Call) -> Result<Value, Failure> {
    let input = call.input()?;
    let (ids, key) = (run_ids(&input, "run_ids")?, input.required("metric_key")?);
    let count = input.int("max_results")?.unwrap_or(CURVE);
    if !(1..=CURVE_MAX).contains(&count) {
        return Err(Failure::invalid(format!("max_results must be between 1 and {CURVE_MAX}, it is {count}")));
    }
    let steps = match (input.int("start_step")?, input.int("end_step")?) {
        (None, None) => (i64::MIN, i64::MAX),
        (Some(start), Some(end)) if start <= end => (start, end),
        (Some(start), Some(end)) => {
            return Err(Failure::invalid(format!("end_step {end} must not be less than start_step {start}")));
        }
        _ => return Err(Failure::invalid("If either start step or end step are specified, both must be specified.")),
    };
    let snapshot = call.runs.db().snapshot()?;
    let mut found = Vec::new();
    for run_id in &ids {
        call.runs.catalog().run_info(run_id)?;
        let samples = History::sampled(&snapshot, run_id, key, steps, usize::try_from(count).unwrap_or(1))?;
        found.extend(points(run_id, key, &samples));
    }
    Ok(object([("metrics", found.into())]))
}
