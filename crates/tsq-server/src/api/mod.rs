//! The paths that are served. Each API is a list of [`Endpoint`]s; a new one is a line in [`APIS`].

mod admin;
mod call;
mod cardinality;
mod exemplars;
mod explain;
mod features;
mod federate;
mod format;
mod health;
mod methods;
mod observe;
mod otlp;
mod own_metrics;
mod query;
mod read;
mod rules;
mod series;
mod status;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, any, get, on, post};

use crate::app::App;
use crate::http::answer::{Answer, text};
use crate::http::error::ApiError;
use call::Call;

pub(crate) use call::not_finished;
pub use query::query_json;
pub(crate) use write::BufferPool;

/// One path of `/api/v1` whose handler is ordinary blocking code.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Path pattern; `{name}` stands for one segment.
    pub(crate) path: &'static str,
    pub(crate) methods: Methods,
    pub(crate) cost: Cost,
    pub(crate) run: fn(&Call) -> Result<Answer, ApiError>,
}

/// Methods of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    Get,
    /// Parameters by query string or by form.
    GetPost,
    /// Changes something: POST or PUT, and not from a page of another origin.
    Change,
}

/// What an endpoint asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Answers from memory at once.
    Small,
    /// Reads series: takes a turn among the queries.
    Reads,
    /// Rewrites files: one at a time.
    Maintenance,
}

/// All APIs.
static APIS: &[&[Endpoint]] = &[
    query::ENDPOINTS,
    exemplars::ENDPOINTS,
    series::ENDPOINTS,
    format::ENDPOINTS,
    features::ENDPOINTS,
    rules::ENDPOINTS,
    status::ENDPOINTS,
    cardinality::ENDPOINTS,
    admin::ENDPOINTS,
];

const PATH_FEDERATE: &str = "/federate";

/// All paths.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/-/quit", any(health::quit))
        .route("/-/reload", any(health::reload))
        .route("/metrics", get(own_metrics::metrics))
        .route(PATH_FEDERATE, get(federate::federate))
        .route("/api/v1/status/walreplay", get(health::replay))
        .route("/api/v1/write", post(write::write))
        .route("/api/v1/read", post(read::read));
    for path in otlp::METRICS {
        router = router.route(path, post(otlp::metrics));
    }
    for path in otlp::OTHERS {
        router = router.route(path, post(otlp::not_taken));
    }
    for endpoint in APIS.iter().copied().flatten() {
        let filter = match endpoint.methods {
            Methods::Get => MethodFilter::GET,
            Methods::GetPost => MethodFilter::GET.or(MethodFilter::POST),
            Methods::Change => MethodFilter::POST.or(MethodFilter::PUT),
        };
        let handler = move |State(app), request: Request| call::serve(app, endpoint, request);
        router = router.route(endpoint.path, on(filter, handler));
    }
    let router = crate::mlflow::add_routes(router, &app)
        .fallback(|| async { text(StatusCode::NOT_FOUND, "404 page not found\n") })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app);
    methods::as_prometheus(router)
}

async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page for users lists what is served.
    #[test]
    fn every_path_is_documented() {
        let page = include_str!("../../../../docs/http-api.md");
        let paths = APIS.iter().copied().flatten().map(|endpoint| endpoint.path).chain(otlp::METRICS);
        for path in paths {
            assert!(page.contains(&format!("`{path}`")), "{path} is not in docs/http-api.md");
        }
    }
}
