//! `/metrics`: tsq's own counters in the text format.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use tsq::{RejectReason, Stats};

use crate::app::App;
use crate::http::answer::{accepts_gzip, respond};
use crate::http::error::ErrorType;
use crate::metrics::{DURATION_BOUNDS_S, PathStats, Refusal};

pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response {
    let mut page = Page::default();
    server(&mut page, &app);
    requests(&mut page, &app);
    writes(&mut page, &app);
    reads(&mut page, &app);
    if let Some(db) = app.db() {
        engine(&mut page, &db.stats());
    }
    process(&mut page);
    let gzip = accepts_gzip(request.headers());
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    respond(StatusCode::OK, content_type, page.0.into_bytes(), gzip)
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
    page.family("tsq_query_failures_total", "counter", "Queries that failed, by the type of the error.");
    for (error_type, count) in ErrorType::ALL.iter().zip(&metrics.query_failures) {
        page.sample("tsq_query_failures_total", format_args!("{{type=\"{}\"}}", error_type.name()), count.get());
    }
    page.one("tsq_query_samples_total", "counter", "Samples decoded for queries.", metrics.query_samples.get());
    page.one("tsq_queries_running", "gauge", "Queries and reads that run now.", app.queries.running());
    page.one("tsq_queries_waiting", "gauge", "Queries and reads that wait for their turn.", app.queries.waiting());
    page.one("tsq_queries_refused_total", "counter", "Queries refused: too many waited.", app.queries.refused());
    page.one("tsq_queries_wait_seconds_total", "counter", "Time that queries waited.", app.queries.waited_s());
    page.one("tsq_query_memory_bytes", "gauge", "Memory of all running queries.", app.engine.memory_bytes());
    let limit = app.engine.options().total_bytes;
    page.one("tsq_query_memory_limit_bytes", "gauge", "Memory that all queries may take together.", limit);
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
    page.family("tsq_write_rejected_samples_total", "counter", "Samples and OTLP data points that were refused.");
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
    let (streams, bytes) = app.deltas.held();
    page.one("tsq_otlp_delta_streams", "gauge", "OTLP streams with delta temporality that are summed up.", streams);
    page.one("tsq_otlp_delta_bytes", "gauge", "Bytes of their running totals.", bytes);
}

fn reads(page: &mut Page, app: &App) {
    let metrics = &app.metrics;
    page.family("tsq_read_queries_total", "counter", "Queries of remote reads, by the form of their answer.");
    for (form, count) in ["samples", "chunks"].iter().zip(&metrics.read_queries) {
        page.sample("tsq_read_queries_total", format_args!("{{form=\"{form}\"}}"), count.get());
    }
    for (name, help, count) in [
        ("tsq_read_failures_total", "Remote reads that failed or were refused.", &metrics.read_failures),
        ("tsq_read_series_total", "Series sent to remote readers.", &metrics.read_series),
        ("tsq_read_samples_total", "Samples sent to remote readers.", &metrics.read_samples),
        ("tsq_read_sent_bytes_total", "Bytes of answers to remote readers.", &metrics.read_bytes),
    ] {
        page.one(name, "counter", help, count.get());
    }
    page.one("tsq_reads_running", "gauge", "Remote reads that run now.", app.reads.running());
    page.one("tsq_reads_waiting", "gauge", "Remote reads that wait for their turn.", app.reads.waiting());
}

fn engine(page: &mut Page, stats: &Stats) {
    for (name, help, value) in [
        ("tsq_head_series", "Series in the head, kinds apart.", stats.head_series),
        ("tsq_head_sample_bytes", "Bytes of the head's samples, roughly.", stats.head_sample_bytes),
        ("tsq_head_index_bytes", "Bytes of the head's labels, lookup and postings, roughly.", stats.head_index_bytes),
        ("tsq_blocks", "Blocks.", stats.blocks),
        ("tsq_block_bytes", "Bytes of all block files.", stats.block_bytes),
        ("tsq_block_samples", "Samples in blocks, before merging.", stats.block_samples),
        ("tsq_deleted_samples", "Deleted samples whose bytes are still in blocks.", stats.deleted_samples),
        ("tsq_tombstone_blocks", "Blocks that hold deleted samples.", stats.tombstone_blocks),
        ("tsq_log_bytes", "Bytes of all log segments.", stats.log_bytes),
        ("tsq_torn_tail_bytes", "Bytes of a torn log tail that were cut at opening.", stats.torn_tail_bytes),
        ("tsq_damaged", "Damaged things found at opening.", stats.damaged),
        ("tsq_read_only", "Whether writes are refused until the database is opened again.", u64::from(stats.read_only)),
    ] {
        page.one(name, "gauge", help, value);
    }
    for (name, help, value) in [
        ("tsq_batches_total", "Batches stored.", stats.batches),
        ("tsq_samples_total", "Samples stored, exact repetitions among them.", stats.samples),
        ("tsq_repeated_samples_total", "Exact repetitions of the newest sample.", stats.repeated),
        ("tsq_storage_full_total", "Writes refused for lack of space.", stats.storage_full),
        ("tsq_flushes_total", "Flushes.", stats.flushes),
        ("tsq_flush_failures_total", "Flushes that failed and are tried again.", stats.flush_failures),
        ("tsq_deletes_total", "Deletes that deleted something.", stats.deletes),
        ("tsq_compactions_total", "Merges of blocks.", stats.compactions),
        ("tsq_compaction_failures_total", "Merges that failed and are tried again.", stats.compaction_failures),
        ("tsq_compaction_read_bytes_total", "Bytes of the blocks that merges replaced.", stats.compaction_read_bytes),
        (
            "tsq_compaction_written_bytes_total",
            "Bytes of the blocks that merges wrote.",
            stats.compaction_written_bytes,
        ),
        (
            "tsq_blocks_written_bytes_total",
            "Bytes of blocks written by flushes, imports and merges.",
            stats.blocks_written_bytes,
        ),
    ] {
        page.one(name, "counter", help, value);
    }
    if let Some(amplification) = stats.write_amplification() {
        let help = "Bytes of blocks written since the start by those that were written for the first time.";
        page.one("tsq_write_amplification", "gauge", help, amplification);
    }
    page.family("tsq_rejected_samples_total", "counter", "Samples that the engine refused, from all writers.");
    for (reason, count) in &stats.rejected {
        page.sample("tsq_rejected_samples_total", format_args!("{{reason=\"{}\"}}", reason.name()), count);
    }
}

/// Memory of the process, where the system tells it.
fn process(page: &mut Page) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    if let Some(resident) = bytes("VmRSS:") {
        page.one("process_resident_memory_bytes", "gauge", "Resident memory, mapped files included.", resident);
    }
    if let Some(anonymous) = bytes("RssAnon:") {
        page.one("process_anonymous_memory_bytes", "gauge", "Resident memory without mapped files.", anonymous);
    }
}
