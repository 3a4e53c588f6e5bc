//! What every request gets: a count, a line in the log, headers against sniffing, and CORS for reading.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;

/// Counted when it is dropped: a client that leaves before the answer counts as 499.
struct Observed {
    app: Arc<App>,
    path: Arc<str>,
    method: Method,
    code: u16,
    started: Instant,
}

impl Drop for Observed {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.app.metrics.request(&self.path, self.code, duration);
        let (method, path, code) = (&self.method, &self.path, self.code);
        if code >= 500 {
            tracing::warn!("{method} {path}: {code} after {duration:?}");
        } else {
            tracing::debug!("{method} {path}: {code} after {duration:?}");
        }
    }
}

pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    let (path, method, started) = (Arc::from(path), request.method().clone(), Instant::now());
    let mut observed = Observed { app, path, method: method.clone(), code: 499, started };
    let origin = request.headers().get(ORIGIN).cloned();
    let in_api = request.uri().path().starts_with("/api/v1/");
    let mut response = if in_api && method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let unknown = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&response.status());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin.filter(|_| in_api && !unknown) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
    }
    if in_api && !unknown {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    observed.code = response.status().as_u16();
    response
}
