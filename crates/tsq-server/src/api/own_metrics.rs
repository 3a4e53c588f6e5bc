//! `/metrics`: tsq's own counters in the text format.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use tsq::RejectReason;

use crate::app::App;
use crate::http::answer::{accepts_gzip, respond};
use crate::metrics::{DURATION_BOUNDS_S, PathStats, Refusal};

pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response {
    let mut page = Page::default();
    server(&mut page, &app);
    requests(&mut page, &app);
    writes(&mut page, &app);
    let gzip = accepts_gzip(request.headers());
    respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page.0.into_bytes(), gzip)
}

/// A page of families, each with its help and type before its samples.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// `labels` are written as they stand, braces included.
    fn sample(&mut self, name: &str, labels: impl Display, value: impl Display) {
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("writing to memory does not fail");
    }
}

fn server(page: &mut Page, app: &App) {
    let version = env!("CARGO_PKG_VERSION");
    page.family("tsq_build_info", "gauge", "Version of tsq.");
    page.sample("tsq_build_info", format_args!("{{version=\"{version}\"}}"), 1);
    let started_s = app.started_ms as f64 / 1000.0;
    page.one("process_start_time_seconds", "gauge", "Start of the process, seconds since 1970.", started_s);
    page.one("tsq_ready", "gauge", "Whether the database is open.", u8::from(app.db().is_some()));
    let metrics = &app.metrics;
    page.one("tsq_connections_total", "counter", "Connections accepted.", metrics.connections.get());
    page.one("tsq_handler_panics_total", "counter", "Requests that a bug in tsq ended.", metrics.panics.get());
    page.one("tsq_queries_total", "counter", "Queries evaluated.", metrics.queries.get());
    page.one("tsq_query_failures_total", "counter", "Queries that failed.", metrics.query_failures.get());
    page.one("tsq_query_samples_total", "counter", "Samples decoded for queries.", metrics.query_samples.get());
    page.one("tsq_queries_running", "gauge", "Queries and reads that run now.", app.queries.running());
    page.one("tsq_queries_waiting", "gauge", "Queries and reads that wait for their turn.", app.queries.waiting());
}

fn requests(page: &mut Page, app: &App) {
    let paths = app.metrics.paths();
    page.family("tsq_http_requests_total", "counter", "Requests by path and code; 499 left before the answer.");
    for (path, stats) in &paths {
        for (code, count) in &stats.codes {
            page.sample("tsq_http_requests_total", format_args!("{{path=\"{path}\",code=\"{code}\"}}"), count);
        }
    }
    page.family("tsq_http_request_duration_seconds", "histogram", "Time from the head of a request to its answer.");
    for (path, stats) in &paths {
        durations(page, path, stats);
    }
}

fn durations(page: &mut Page, path: &str, stats: &PathStats) {
    const NAME: &str = "tsq_http_request_duration_seconds";
    let mut count = 0;
    for (index, in_bucket) in stats.durations.iter().enumerate() {
        count += in_bucket;
        let bound = DURATION_BOUNDS_S.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
        page.sample(&format!("{NAME}_bucket"), format_args!("{{path=\"{path}\",le=\"{bound}\"}}"), count);
    }
    page.sample(&format!("{NAME}_sum"), format_args!("{{path=\"{path}\"}}"), stats.seconds);
    page.sample(&format!("{NAME}_count"), format_args!("{{path=\"{path}\"}}"), count);
}

fn writes(page: &mut Page, app: &App) {
    let metrics = &app.metrics;
    page.family("tsq_write_samples_total", "counter", "Samples stored by write requests, repetitions included.");
    page.sample("tsq_write_samples_total", "{kind=\"float\"}", metrics.floats.get());
    page.sample("tsq_write_samples_total", "{kind=\"histogram\"}", metrics.histograms.get());
    page.one("tsq_write_exemplars_total", "counter", "Exemplars stored by write requests.", metrics.exemplars.get());
    page.family("tsq_write_rejected_samples_total", "counter", "Samples of write requests that were refused.");
    for (reason, count) in RejectReason::ALL.iter().zip(&metrics.rejected) {
        let labels = format!("{{reason=\"{}\"}}", reason.name());
        page.sample("tsq_write_rejected_samples_total", labels, count.get());
    }
    page.sample("tsq_write_rejected_samples_total", "{reason=\"unlisted\"}", metrics.rejected_unlisted.get());
    page.family("tsq_write_refused_requests_total", "counter", "Write requests refused as a whole.");
    for (refusal, count) in Refusal::ALL.iter().zip(&metrics.write_refusals) {
        page.sample("tsq_write_refused_requests_total", format_args!("{{reason=\"{}\"}}", refusal.name()), count.get());
    }
    page.one(
        "tsq_write_received_bytes_total",
        "counter",
        "Bytes of write requests as sent.",
        metrics.received_bytes.get(),
    );
    page.one(
        "tsq_write_decoded_bytes_total",
        "counter",
        "Bytes of write requests decoded.",
        metrics.decoded_bytes.get(),
    );
    page.one("tsq_write_bytes_in_flight", "gauge", "Bytes that write requests take now.", app.request_bytes.used());
}
