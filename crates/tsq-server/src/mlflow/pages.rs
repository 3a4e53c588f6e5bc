//! What MLflow's own web pages need: a few routes, and their files out of an installed package.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::RawPathParams;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::artifacts::files;
use super::call::Call;
use super::error::Failure;
use super::output::object;
use super::paths::{of_uri, resolve};
use super::{Route, Verbs, route};
use crate::app::App;
use crate::http::answer::text;

type Answer = Result<Value, Failure>;

pub(super) static ROUTES: &[Route] = &[
    route(Verbs::Get, "server-info", server_info),
    route(Verbs::Get, "ui-telemetry", telemetry),
    route(Verbs::Get, "artifacts/list", list_artifacts),
];

/// All switches are off: artifacts go through the simple routes.
fn server_info(_: &Call) -> Answer {
    Ok(json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": false,
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "features_enabled": {},
    }))
}

fn telemetry(_: &Call) -> Answer {
    Ok(json!({"disable_ui_telemetry": true, "disable_ui_events": [], "ui_rollout_percentage": 0}))
}

fn list_artifacts(call: &Call) -> Answer {
    let input = call.input()?;
    let info = call.runs.catalog().run_info(input.run_id()?)?;
    let folder = input.text("path")?.unwrap_or_default();
    let root = resolve(call.runs.artifacts(), of_uri(&info.artifact_uri)?)?;
    let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
    let found = files(&resolve(&root, folder)?, &prefix)?;
    Ok(object([("root_uri", info.artifact_uri.into()), ("files", found.into())]))
}

/// The folder with the built pages in a folder that a user names: it, or where an installed package has them.
pub(crate) fn find_pages(named: &Path) -> Option<PathBuf> {
    let inside = ["", "server/js/build", "mlflow/server/js/build"];
    inside.iter().map(|inside| named.join(inside)).find(|dir| dir.join("index.html").is_file())
}

/// Serves the pages.
pub(super) fn add_files(router: Router<Arc<App>>, dir: &Path) -> Router<Arc<App>> {
    let (index, folder) = (dir.join("index.html"), dir.to_path_buf());
    router.route("/", get(move || send(Ok(index.clone())))).route(
        "/static-files/{*path}",
        get(move |segments: RawPathParams| {
            let path = segments.iter().next().map_or("", |(_, path)| path);
            send(resolve(&folder, path))
        }),
    )
}

async fn send(path: Result<PathBuf, Failure>) -> Response {
    let Ok(path) = path else { return text(StatusCode::NOT_FOUND, "404 page not found\n") };
    let media = media_type(&path);
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let Ok(Ok(content)) = read else { return text(StatusCode::NOT_FOUND, "404 page not found\n") };
    let mut response = Response::new(content.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_in_packages() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find_pages(dir.path()), None);
        let build = dir.path().join("mlflow/server/js/build");
        std::fs::create_dir_all(&build).unwrap();
        std::fs::write(build.join("index.html"), "x").unwrap();
        for named in [dir.path().to_path_buf(), dir.path().join("mlflow"), build.clone()] {
            assert_eq!(find_pages(&named).unwrap(), build);
        }
        assert_eq!(media_type(Path::new("a/main.1234.js")), "text/javascript; charset=utf-8");
    }
}
