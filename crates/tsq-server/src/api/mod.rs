//! The paths that are served.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::app::App;

/// All paths.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/-/healthy", get(|| async { "tsq is healthy.\n" }))
        .route("/-/ready", get(ready))
        .with_state(app)
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    match app.db() {
        Some(_) => (StatusCode::OK, "tsq is ready.\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}
