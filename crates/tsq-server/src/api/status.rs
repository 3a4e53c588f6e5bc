//! `status/...`: what runs here, with which settings, holding what.

use std::collections::BTreeMap;

use serde::Serialize;

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::time::format_rfc3339;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    small("/api/v1/status/buildinfo", build_info),
    small("/api/v1/status/config", config),
    small("/api/v1/status/flags", flags),
    small("/api/v1/status/runtimeinfo", runtime_info),
    small("/api/v1/status/tsdb/blocks", blocks),
];

const fn small(path: &'static str, run: fn(&Call) -> Result<Answer, ApiError>) -> Endpoint {
    Endpoint { path, methods: Methods::Get, cost: Cost::Small, run }
}

/// The version of Prometheus whose query API and language this one follows. Clients choose features by it.
const COMPATIBLE_VERSION: &str = "3.14.0";

fn serialized(value: &impl Serialize) -> Result<Answer, ApiError> {
    let mut answer = Answer::new();
    answer.serialize(value);
    Ok(answer)
}

/// Without `features`: a server that lists some is taken for Mimir.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    application: &'static str,
    application_version: &'static str,
}

fn build_info(_: &Call) -> Result<Answer, ApiError> {
    serialized(&BuildInfo {
        version: COMPATIBLE_VERSION,
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
        application: "tsq",
        application_version: env!("CARGO_PKG_VERSION"),
    })
}

fn config(_: &Call) -> Result<Answer, ApiError> {
    serialized(&BTreeMap::from([("yaml", "")]))
}

/// The settings in force, as text.
fn flags(call: &Call) -> Result<Answer, ApiError> {
    let config = &call.app.config;
    let (options, engine, limits) = (&config.options, &config.engine, &config.limits);
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    serialized(&BTreeMap::from([
        ("data", config.data.display().to_string()),
        ("listen", config.listen.to_string()),
        ("insecure", config.insecure.to_string()),
        ("lifecycle", config.lifecycle.to_string()),
        ("durability", text(&options.durability)),
        ("flush_bytes", options.flush_bytes.to_string()),
        ("flush_interval", text(&options.flush_interval)),
        ("log_bytes_max", options.log_bytes_max.to_string()),
        ("retention", text(&options.retention)),
        ("retention_filter", options.retention_rules.iter().map(retention_rule).collect::<Vec<_>>().join("; ")),
        ("retention_bytes", text(&options.retention_bytes)),
        ("head_series", options.limits.head_series.to_string()),
        ("query_lookback", text(&engine.lookback)),
        ("query_timeout", text(&engine.timeout)),
        ("query_bytes", engine.query_bytes.to_string()),
        ("query_points_max", engine.points_max.to_string()),
        ("request_bytes", limits.request_bytes.to_string()),
        ("decoded_total_bytes", limits.decoded_total_bytes.to_string()),
        ("connections", limits.connections.to_string()),
        ("otlp_translation", config.otlp.translation.name().to_owned()),
        ("otlp_promote", text(&config.otlp.promoted)),
        ("otlp_histograms", text(&config.otlp.explicit_histograms)),
        ("otlp_delta_bytes", limits.delta_bytes.to_string()),
        ("queries_running", limits.queries_running.to_string()),
        ("queries_waiting", limits.queries_waiting.to_string()),
    ]))
}

/// The fields have the names of Go's runtime where clients expect them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    start_time: String,
    #[serde(rename = "CWD")]
    working_dir: String,
    hostname: String,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: u64,
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    workers: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: i64,
    #[serde(rename = "GOGC")]
    gc: &'static str,
    #[serde(rename = "GODEBUG")]
    debug: &'static str,
    storage_retention: String,
}

fn runtime_info(call: &Call) -> Result<Answer, ApiError> {
    let app = &call.app;
    let started = format_rfc3339(app.started_ms);
    let runtime = tokio::runtime::Handle::current();
    serialized(&RuntimeInfo {
        start_time: started.clone(),
        working_dir: app.working_dir.display().to_string(),
        hostname: app.hostname.clone(),
        server_time: format_rfc3339(app.now_ms()),
        reload_config_success: true,
        last_config_time: started,
        corruption_count: call.db.stats().damaged,
        goroutine_count: runtime.metrics().num_alive_tasks(),
        workers: runtime.metrics().num_workers(),
        memory_limit: i64::MAX,
        gc: "",
        debug: "",
        storage_retention: retention(&call.db),
    })
}

/// A block in the shape of Prometheus. Times are milliseconds since 1970; the identity is 16 hexadecimal digits.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    ulid: String,
    min_time: i64,
    max_time: i64,
    stats: BlockStats,
    compaction: Compaction,
    version: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockStats {
    num_samples: u64,
    num_series: u64,
    num_chunks: u64,
}

#[derive(Serialize)]
struct Compaction {
    /// 1 for what was flushed from memory.
    level: u16,
    sources: Vec<String>,
}

fn blocks(call: &Call) -> Result<Answer, ApiError> {
    let mut metas = call.db.blocks();
    metas.sort_unstable_by_key(|meta| (meta.min_ms, meta.id));
    let id = |id: &tsq::BlockId| format!("{:016x}", id.0);
    let shown = |meta: &tsq::BlockMeta| Block {
        ulid: id(&meta.id),
        min_time: meta.min_ms,
        // As in Prometheus the end does not belong to the block.
        max_time: meta.max_ms.saturating_add(1),
        stats: BlockStats { num_samples: meta.samples, num_series: meta.series, num_chunks: meta.chunks },
        compaction: Compaction {
            level: u16::from(meta.level) + 1,
            sources: if meta.replaces.is_empty() { vec![id(&meta.id)] } else { meta.replaces.iter().map(id).collect() },
        },
        version: 1,
    };
    serialized(&BTreeMap::from([("blocks", metas.iter().map(shown).collect::<Vec<_>>())]))
}

fn retention_rule(rule: &tsq::RetentionRule) -> String {
    let matchers: Vec<String> = rule.matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}:{}", matchers.join(","), rule.keep.map_or("none".to_owned(), |keep| format!("{keep:?}")))
}

fn retention(db: &tsq::Db) -> String {
    let options = db.options();
    match (options.retention, options.retention_bytes) {
        (None, None) => "unlimited".to_owned(),
        (Some(age), None) => format!("{age:?}"),
        (None, Some(bytes)) => format!("{bytes}B"),
        (Some(age), Some(bytes)) => format!("{age:?} or {bytes}B"),
    }
}
