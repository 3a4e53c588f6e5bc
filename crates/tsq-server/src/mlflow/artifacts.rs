//! Artifacts: files beneath the data directory, streamed in and out.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tsq_runs::Runs;

use super::call::{add_query, check_origin, finish, json_response, ready, refuse};
use super::error::{Code, Failure};
use super::input::Input;
use super::output::object;
use super::paths::{of_uri, resolve};
use crate::app::App;

/// Bytes that are written or read at once.
const PIECE: usize = 1 << 20;
/// Pieces of a file that wait for the client.
const FRAMES_WAITING: usize = 2;
/// Files of one list.
const LIST_MAX: usize = 100_000;

/// Tells uploads of this process apart.
static UPLOADS: AtomicU64 = AtomicU64::new(0);

type Answer = Result<Response, Failure>;

fn path_of(segments: &RawPathParams) -> &str {
    segments.iter().next().map_or("", |(_, path)| path)
}

fn failed(what: &str, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::ResourceDoesNotExist,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
            Code::TemporarilyUnavailable
        }
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::DirectoryNotEmpty => Code::InvalidParameterValue,
        _ => Code::InternalError,
    };
    Failure::new(code, format!("cannot {what}: {error}"))
}

/// `PUT artifacts/{path}`: the body becomes the file.
pub(super) async fn upload(State(app): State<Arc<App>>, segments: RawPathParams, request: Request) -> Response {
    let stored = async {
        check_origin(request.headers())?;
        let runs = ready(&app)?;
        let target = resolve(runs.artifacts(), path_of(&segments))?;
        receive(&app, &runs, target, request.into_body()).await
    };
    stored.await.unwrap_or_else(|failure| refuse(&failure))
}

/// A file under a temporary name, which is removed unless it gets its proper one.
struct Upload {
    file: File,
    path: PathBuf,
    is_done: bool,
}

impl Upload {
    fn create(artifacts: &Path) -> io::Result<Self> {
        let dir = artifacts.with_file_name("uploads");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}-{}", std::process::id(), UPLOADS.fetch_add(1, Ordering::Relaxed)));
        Ok(Self { file: File::create(&path)?, path, is_done: false })
    }

    fn write(mut self, pieces: Vec<Bytes>) -> io::Result<Self> {
        for piece in pieces {
            self.file.write_all(&piece)?;
        }
        Ok(self)
    }

    /// Makes the file durable under its name.
    fn publish(mut self, root: &Path, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let parent = target.parent().expect("a file beneath the root has a folder");
        fs::create_dir_all(parent)?;
        fs::rename(&self.path, target)?;
        self.is_done = true;
        for folder in parent.ancestors().take_while(|folder| folder.starts_with(root)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_done {
            // What stays is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn receive(app: &App, runs: &Runs, target: PathBuf, mut body: Body) -> Answer {
    const WHAT: &str = "store the artifact";
    let root = runs.artifacts().to_path_buf();
    if target == root {
        return Err(Failure::invalid("the path names no file"));
    }
    let artifacts = root.clone();
    let create = tokio::task::spawn_blocking(move || Upload::create(&artifacts).map_err(|error| failed(WHAT, &error)));
    let mut upload = finish(app, WHAT, create.await)?;
    let (mut pieces, mut len, mut is_end) = (Vec::new(), 0, false);
    while !is_end {
        match body.frame().await {
            None => is_end = true,
            Some(Err(error)) => return Err(Failure::new(Code::BadRequest, format!("cannot read the body: {error}"))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    len += data.len();
                    pieces.push(data);
                }
            }
        }
        if len >= PIECE || is_end {
            let ready = std::mem::take(&mut pieces);
            len = 0;
            let write = tokio::task::spawn_blocking(move || upload.write(ready).map_err(|error| failed(WHAT, &error)));
            upload = finish(app, WHAT, write.await)?;
        }
    }
    let publish =
        tokio::task::spawn_blocking(move || upload.publish(&root, &target).map_err(|error| failed(WHAT, &error)));
    finish(app, WHAT, publish.await)?;
    Ok(json_response(StatusCode::OK, &json!({}), false))
}

/// `GET artifacts/{path}`: the bytes of the file.
pub(super) async fn download(State(app): State<Arc<App>>, segments: RawPathParams) -> Response {
    let sent = async move {
        let file = resolve(ready(&app)?.artifacts(), path_of(&segments))?;
        send(&app, file).await
    };
    sent.await.unwrap_or_else(|failure| refuse(&failure))
}

/// `GET get-artifact?run_id=..&path=..`, or `model_id` in the place of the run: the bytes of the file.
pub(super) async fn of_run(State(app): State<Arc<App>>, request: Request) -> Response {
    let sent = async move {
        let mut input = Input::default();
        add_query(&mut input, request.uri().query().unwrap_or_default().as_bytes())?;
        let runs = ready(&app)?;
        let find = move || {
            let uri = match input.text("model_id")? {
                Some(id) => runs.catalog().logged_model(id)?.artifact_uri,
                None => runs.catalog().run_info(input.run_id()?)?.artifact_uri,
            };
            resolve(&resolve(runs.artifacts(), of_uri(&uri)?)?, input.required("path")?)
        };
        let file = finish(&app, "get-artifact", tokio::task::spawn_blocking(find).await)?;
        send(&app, file).await
    };
    sent.await.unwrap_or_else(|failure| refuse(&failure))
}

async fn send(app: &App, path: PathBuf) -> Answer {
    const WHAT: &str = "read the artifact";
    let open = move || {
        let open = || {
            let file = File::open(&path)?;
            let meta = file.metadata()?;
            if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::NotFound.into()) }
        };
        open().map_err(|error: io::Error| failed(WHAT, &error))
    };
    let (file, len) = finish(app, WHAT, tokio::task::spawn_blocking(open).await)?;
    let (sender, body) = Channel::<Bytes, io::Error>::new(FRAMES_WAITING);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || copy(file, len, sender, &handle));
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_LENGTH, len.into());
    Ok(response)
}

/// Sends a file until the client is gone; one that fails breaks the connection.
fn copy(file: File, len: u64, mut sender: Sender<Bytes, io::Error>, handle: &Handle) {
    let mut left = file.take(len);
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        match left.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
            Ok(0) => return,
            Ok(_) => {
                if handle.block_on(sender.send_data(piece.into())).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("an artifact broke off: {error}");
                sender.abort(error);
                return;
            }
        }
    }
}

/// `DELETE artifacts/{path}`: removes a file or a folder.
pub(super) async fn delete(State(app): State<Arc<App>>, segments: RawPathParams, request: Request) -> Response {
    let deleted = async move {
        check_origin(request.headers())?;
        let runs = ready(&app)?;
        let path = resolve(runs.artifacts(), path_of(&segments))?;
        let remove = move || {
            let is_folder = path.metadata().is_ok_and(|meta| meta.is_dir());
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| failed("delete the artifact", &error))
        };
        finish(&app, "artifacts", tokio::task::spawn_blocking(remove).await)?;
        Ok(json_response(StatusCode::OK, &json!({}), false))
    };
    deleted.await.unwrap_or_else(|failure: Failure| refuse(&failure))
}

/// `GET artifacts?path=..`: what is in a folder, by paths relative to it.
pub(super) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    let listed = async move {
        let mut input = Input::default();
        add_query(&mut input, request.uri().query().unwrap_or_default().as_bytes())?;
        let folder = resolve(ready(&app)?.artifacts(), input.text("path")?.unwrap_or_default())?;
        let found = tokio::task::spawn_blocking(move || files(&folder, "")).await;
        let found = finish(&app, "artifacts", found)?;
        Ok(json_response(StatusCode::OK, &object([("files", found.into())]), false))
    };
    listed.await.unwrap_or_else(|failure: Failure| refuse(&failure))
}

/// What is in a folder, sorted by name, with a prefix before each name. A file and what does not exist have nothing.
pub(super) fn files(folder: &Path, prefix: &str) -> Result<Vec<Value>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed("list the artifacts", &error)),
    };
    let mut found = Vec::new();
    for entry in entries.take(LIST_MAX) {
        let entry = entry.map_err(|error| failed("list the artifacts", &error))?;
        // A file that was deleted meanwhile is left out.
        let Ok(meta) = entry.metadata() else { continue };
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let size = if meta.is_file() { meta.len().into() } else { Value::Null };
        found.push((
            path.clone(),
            object([("path", path.into()), ("is_dir", meta.is_dir().into()), ("file_size", size)]),
        ));
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found.into_iter().map(|(_, file)| file).collect())
}
