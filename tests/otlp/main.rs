//! A Python application with the real OpenTelemetry SDK (client.py) sends metrics over HTTP, and PromQL finds them
//! under the names that Prometheus gives them.
//!
//! Needs the environment variable `TSQ_TEST_PYTHON` (a Python that has `opentelemetry-exporter-otlp-proto-http`).
//! Without it the test says so and passes, unless `TSQ_TEST_REQUIRE` is 1.

use std::path::Path;
use std::process::Command;

use tsq::Db;
use tsq_server::{Server, ServerConfig};
use tsq_tests::http::data;
use tsq_tests::process::program;

/// What each query gives: its one value.
const WANTED: &[(&str, f64)] = &[
    (r#"predictions_total{job="shop/ml-inference", instance="cumulative", model="bert", gpu_ids="[0,1]"}"#, 40.0),
    (
        r#"sum(predictions_total * on (job, instance) group_left (service_version) target_info{service_version="1.2.3"})"#,
        40.0,
    ),
    (r#"count(target_info{job="shop/ml-inference", telemetry_sdk_language="python", service_name=""})"#, 4.0),
    (r#"prediction_latency_count"#, 40.0),
    (r#"prediction_latency_sum"#, 5304.0),
    (r#"count(prediction_latency_bucket)"#, 16.0),
    (r#"prediction_latency_bucket{le="75"}"#, 24.0),
    (r#"prediction_latency_bucket{le="+Inf"}"#, 40.0),
    (r#"histogram_quantile(0.5, prediction_latency_bucket)"#, 62.5),
    (r#"rpc_server_duration_seconds_bucket{le="0.1"}"#, 24.0),
    (r#"queue_depth"#, 6.0),
    (r#"gpu_utilization_ratio"#, 0.5),
    (r#"gpu_memory_bytes"#, 30e9),
    (r#"disk_io_bytes_per_second_total"#, 200.0),
    (r#"histogram_count(size_bytes)"#, 101.0),
    (r#"histogram_quantile(0.5, size_bytes) > bool 48"#, 1.0),
    (r#"histogram_quantile(0.5, size_bytes) < bool 59"#, 1.0),
    (r#"batches_total{instance="delta"}"#, 24.0),
    (r#"batch_size_count{instance="delta"}"#, 12.0),
    (r#"batch_size_sum{instance="delta"}"#, 6153.0),
    (r#"histogram_count(batch_size{instance="delta-exponential"})"#, 12.0),
    (r#"histogram_sum(batch_size{instance="delta-exponential"})"#, 6153.0),
    // The time since when a counter counts is stored beside its samples.
    (r#"count(start_timestamp(predictions_total) > 0)"#, 1.0),
];

#[test]
fn metrics_of_the_real_sdk_are_found_by_promql() {
    let Some(python) = program("TSQ_TEST_PYTHON") else {
        assert!(std::env::var("TSQ_TEST_REQUIRE").as_deref() != Ok("1"), "TSQ_TEST_PYTHON names no file");
        eprintln!("nothing is tested: TSQ_TEST_PYTHON names no Python");
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = ServerConfig {
        data: dir.path().join("data"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        ..ServerConfig::default()
    };
    let db = Db::open(&config.data, config.options.clone()).expect("a new database");
    let server = Server::start(config, db).expect("a server");
    let address = server.local_addr();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("otlp/client.py");
    let url = format!("http://{address}/api/v1/otlp/v1/metrics");
    let sent = Command::new(python).arg(script).arg(url).output().expect("Python starts");
    let (said, complained) = (String::from_utf8_lossy(&sent.stdout), String::from_utf8_lossy(&sent.stderr));
    assert!(sent.status.success() && complained.is_empty(), "{said}\n{complained}");
    for (query, want) in WANTED {
        let answer = data(address, "/api/v1/query", &[("query", query)]).expect("an answer");
        let result = answer["result"].as_array().expect("a vector");
        assert_eq!(result.len(), 1, "{query}: {answer}");
        let value: f64 = result[0]["value"][1].as_str().expect("a sample").parse().expect("a number");
        assert!((value - want).abs() <= want.abs() * 1e-9, "{query}: {value} instead of {want}");
    }
    let metadata = data(address, "/api/v1/metadata", &[("metric", "prediction_latency")]).expect("an answer");
    assert_eq!(metadata["prediction_latency"][0]["help"], "Prediction latency in ms");
    let params = [("query", "prediction_latency_bucket"), ("start", "0"), ("end", "9999999999")];
    let exemplars = data(address, "/api/v1/query_exemplars", &params).expect("an answer").to_string();
    let traces: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("trace ")).collect();
    assert!(traces.len() == 2 && traces.iter().all(|id| exemplars.contains(id)), "{traces:?} {exemplars}");
}
