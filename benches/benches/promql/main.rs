//! Queries of dashboards and alerts over an hour of 10,000 series, and over 1 M series.
//!
//! The large database takes about a minute to build, so its queries are measured only when `TSQ_BENCH_1M` is set:
//! `TSQ_BENCH_1M=1 cargo bench -p tsq-benches --bench promql -- "1M series"`.

mod data;

use std::cell::OnceCell;

use criterion::{Criterion, criterion_group, criterion_main};
use data::{Data, START_MS};
use tsq_promql::{Engine, QueryOptions};

/// The last evaluation time of all queries, in minutes after the first sample.
const END_MINUTES: i64 = 59;

/// Over `requests_total`: instant and aggregated, selective and not.
const REQUESTS: [(&str, &str); 14] = [
    ("selective instant", r#"requests_total{instance="host-7",code="200"}"#),
    ("selective rate", r#"rate(requests_total{instance="host-7"}[5m])"#),
    ("selective regex", r#"rate(requests_total{instance=~"host-(7|77|777)"}[5m])"#),
    ("count all", "count(requests_total)"),
    ("sum of rates", "sum(rate(requests_total[5m]))"),
    ("sum of long rates", "sum(rate(requests_total[30m]))"),
    ("sum by", "sum by (code) (rate(requests_total[5m]))"),
    ("sum without", "sum without (code) (rate(requests_total[5m]))"),
    ("top", "topk(10, increase(requests_total[10m]))"),
    ("error ratio", r#"sum(rate(requests_total{code="500"}[5m])) / sum(rate(requests_total[5m]))"#),
    ("average over time", "avg_over_time(requests_total[30m])"),
    ("quantile of series", "quantile(0.95, rate(requests_total[5m]))"),
    ("deviation of series", "stddev by (code) (requests_total)"),
    ("subquery", "max_over_time(sum(rate(requests_total[5m]))[30m:1m])"),
];

/// Over a training and inference cluster.
const CLUSTER: [(&str, &str); 24] = [
    ("smoothed loss", "avg_over_time(train_loss[10m])"),
    ("sum of losses", "sum_over_time(train_loss[30m])"),
    ("best loss", "min_over_time(train_loss[30m])"),
    ("time of best loss", "ts_of_min_over_time(train_loss[30m])"),
    ("spread of loss", "stddev_over_time(train_loss[30m])"),
    ("p90 of loss", "quantile_over_time(0.9, train_loss[30m])"),
    ("deviation from median loss", "mad_over_time(train_loss[10m])"),
    ("slope of loss", "deriv(train_loss[10m])"),
    ("steps that moved", "changes(train_loss[30m])"),
    ("best runs", "bottomk(5, min_over_time(train_loss[30m]))"),
    ("loss above the best", "train_loss - scalar(min(train_loss))"),
    ("idle GPUs", "count by (node) (gpu_utilization_ratio < 0.1)"),
    ("hottest GPU", "max by (node) (max_over_time(gpu_utilization_ratio[15m]))"),
    ("memory per utilization", "gpu_memory_used_bytes / gpu_utilization_ratio"),
    ("share of the node", "gpu_memory_used_bytes / on (node) group_left sum by (node) (gpu_memory_used_bytes)"),
    ("token rate", "sum by (model) (rate(inference_tokens_total[5m]))"),
    ("slow token rate", "sum by (model) (rate(inference_tokens_total[30m]))"),
    (
        "failures per request",
        r#"sum by (model) (rate(inference_requests_total{status!="ok"}[5m])) / sum by (model) (rate(inference_requests_total[5m]))"#,
    ),
    (
        "p99 latency by model",
        "histogram_quantile(0.99, sum by (model, le) (rate(inference_latency_seconds_bucket[5m])))",
    ),
    ("p99 latency by replica", "histogram_quantile(0.99, rate(inference_latency_seconds_bucket[5m]))"),
    ("restarts", "sum by (model) (resets(inference_tokens_total[30m]))"),
    (
        "token rate by family",
        r#"sum by (family) (label_replace(rate(inference_tokens_total[5m]), "family", "$1", "model", "([a-z]+)-.*"))"#,
    ),
    ("peak token rate", "max_over_time(sum by (model) (rate(inference_tokens_total[5m]))[30m:1m])"),
    ("replicas by load", r#"count_values("load", round(gpu_utilization_ratio, 0.1))"#),
];

/// Over 1 M series of one hour.
const MILLION: [(&str, &str); 6] = [
    ("selective instant", r#"requests_total{instance="host-7",code="200"}"#),
    ("count all", "count(requests_total)"),
    ("sum of rates", "sum(rate(requests_total[5m]))"),
    ("sum by", "sum by (code) (rate(requests_total[5m]))"),
    ("top", "topk(10, rate(requests_total[5m]))"),
    ("few", "limitk(3, requests_total)"),
];

/// Measures range queries that end `END_MINUTES` after the first sample. The database is built by the first query that
/// a filter of the command line lets through.
fn measure(c: &mut Criterion, name: &str, build: impl Fn() -> Data, queries: &[(&str, &str)], steps: i64) {
    let data = OnceCell::new();
    let engine = Engine::default();
    let options = QueryOptions::default();
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    let end_ms = START_MS + END_MINUTES * 60_000;
    let start_ms = end_ms - (steps - 1) * 60_000;
    for (name, query) in queries {
        group.bench_function(*name, |bencher| {
            let snapshot = data.get_or_init(&build).db.snapshot().expect("it is open");
            let run = || engine.range(&snapshot, query, start_ms, end_ms, 60_000, &options).expect("the query is good");
            bencher.iter(run);
        });
    }
    group.finish();
}

fn requests(c: &mut Criterion) {
    measure(c, "promql 10k series", || data::requests(2_500, 60), &REQUESTS, 31);
}

fn cluster(c: &mut Criterion) {
    measure(c, "promql cluster", data::cluster, &CLUSTER, 31);
}

fn million(c: &mut Criterion) {
    if std::env::var_os("TSQ_BENCH_1M").is_some() {
        measure(c, "promql 1M series", || data::requests(250_000, 60), &MILLION, 60);
    }
}

criterion_group!(benches, requests, cluster, million);
criterion_main!(benches);
