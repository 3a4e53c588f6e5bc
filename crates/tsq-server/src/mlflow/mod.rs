//! MLflow's tracking API, for its unmodified clients and its own web pages.
//!
//! Spoken as by MLflow 3.17. Every route is served under `/api` and `/ajax-api`, versions 2.0 and 3.0. Metrics go to the
//! engine as series of kind `Run`, everything else to the catalog of runs.
//!
//! | MLflow | here |
//! |---|---|
//! | a metric of a run | series `{__name__="<key>",run_id="<id>",source="mlflow"}` |
//! | timestamp, step, value | time, step and value of a sample; equal triples are one |
//! | latest value of a metric | the sample with the greatest (step, time, value) |
//! | experiments, runs, params, tags, datasets, models, registry | the catalog |
//! | artifacts | files beneath `runs/artifacts` of the data directory |

mod artifacts;
mod call;
mod error;
mod experiments;
mod graphql;
mod input;
mod log_batch;
mod metrics;
mod models;
mod output;
mod pages;
mod paths;
mod registry;
mod runs;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, get, on, post, put};
use serde_json::Value;

use crate::app::App;
use call::Call;
use error::Failure;

pub(crate) use pages::find_pages;

/// Version of MLflow that is spoken.
const VERSION: &str = "3.17.2";

/// A route whose handler is ordinary blocking code.
pub(crate) struct Route {
    /// Path behind `/api/2.0/mlflow/`.
    path: &'static str,
    methods: Verbs,
    run: fn(&Call) -> Result<Value, Failure>,
}

/// Methods of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbs {
    Get,
    Post,
    Patch,
    Delete,
    GetPost,
}

const fn route(methods: Verbs, path: &'static str, run: fn(&Call) -> Result<Value, Failure>) -> Route {
    Route { path, methods, run }
}

/// All routes that answer with one JSON object.
static ROUTES: &[&[Route]] = &[
    experiments::ROUTES,
    runs::ROUTES,
    log_batch::ROUTES,
    metrics::ROUTES,
    models::ROUTES,
    registry::ROUTES,
    pages::ROUTES,
];

/// Where each route is served.
const PREFIXES: [&str; 4] = ["/api/2.0/mlflow", "/api/3.0/mlflow", "/ajax-api/2.0/mlflow", "/ajax-api/3.0/mlflow"];

/// Where artifacts are served.
const ARTIFACT_PREFIXES: [&str; 2] = ["/api/2.0/mlflow-artifacts", "/ajax-api/2.0/mlflow-artifacts"];

/// Adds the routes of MLflow.
pub(crate) fn add_routes(mut router: Router<Arc<App>>, app: &App) -> Router<Arc<App>> {
    for prefix in PREFIXES {
        for route in ROUTES.iter().copied().flatten() {
            let filter = match route.methods {
                Verbs::Get => MethodFilter::GET,
                Verbs::Post => MethodFilter::POST,
                Verbs::Patch => MethodFilter::PATCH,
                Verbs::Delete => MethodFilter::DELETE,
                Verbs::GetPost => MethodFilter::GET.or(MethodFilter::POST),
            };
            let handler =
                move |State(app), segments: RawPathParams, request: Request| call::serve(app, route, segments, request);
            router = router.route(&format!("{prefix}/{}", route.path), on(filter, handler));
        }
        router = router.route(&format!("{prefix}/metrics/get-history"), get(metrics::history));
    }
    for prefix in ARTIFACT_PREFIXES {
        router = router.route(&format!("{prefix}/artifacts"), get(artifacts::list)).route(
            &format!("{prefix}/artifacts/{{*path}}"),
            put(artifacts::upload).get(artifacts::download).delete(artifacts::delete),
        );
    }
    router = router
        .route("/health", get(async || "OK"))
        .route("/version", get(async || VERSION))
        .route("/get-artifact", get(artifacts::of_run))
        .route("/ajax-api/2.0/mlflow/get-artifact", get(artifacts::of_run))
        .route("/graphql", post(graphql::serve))
        .route("/ajax-api/graphql", post(graphql::serve));
    match &app.config.mlflow_ui {
        None => router,
        Some(dir) => pages::add_files(router, dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page for users lists what is served.
    #[test]
    fn every_route_is_documented() {
        let page = include_str!("../../../../docs/ml-runs.md");
        for route in ROUTES.iter().copied().flatten() {
            assert!(page.contains(&format!("`{}`", route.path)), "{} is not in docs/ml-runs.md", route.path);
        }
    }
}
