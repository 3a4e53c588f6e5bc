//! OpenTelemetry metrics over real HTTP: every case of the protocol sheet.

mod support;

use std::io::Write as _;

use axum::http::{Method, StatusCode};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use support::{Fixture, Http, Reply};
use tsq_ingest::otlp::json_to_protobuf;

const PATH: &str = "/api/v1/otlp/v1/metrics";
const T: i64 = 1_700_000_000;
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

fn request(metrics: &Value) -> Value {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    json!({"resourceMetrics": [{
        "resource": {"attributes": [attribute("service.name", "api"), attribute("host.name", "h1")]},
        "scopeMetrics": [{"metrics": metrics}],
    }]})
}

fn gauge(name: &str, second: i64, value: f64) -> Value {
    json!({"name": name, "gauge": {"dataPoints": [
        {"timeUnixNano": ((T + second) * 1_000_000_000).to_string(), "asDouble": value},
    ]}})
}

fn protobuf(request: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    json_to_protobuf(request.to_string().as_bytes(), 1 << 20, &mut out).unwrap();
    out
}

fn send(server: &Http, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    server.send(Method::POST, path, headers, body)
}

/// The value of a query at `T` and some seconds.
fn value(server: &Http, query: &str, second: i64) -> Option<f64> {
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let form = format!("query={query}&time={}", T + second);
    let answer = server.post_form("/api/v1/query", &form).json();
    let text = answer["data"]["result"][0]["value"][1].as_str()?.to_owned();
    Some(text.parse().unwrap())
}

#[test]
fn both_forms_and_both_paths_are_taken() {
    let server = Fixture::new();
    let body = request(&json!([gauge("one", 0, 1.5)]));
    for path in [PATH, "/v1/metrics"] {
        let reply = send(&server, path, &[("content-type", PROTOBUF)], protobuf(&body));
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, ""), "{path}");
        assert_eq!(reply.header("content-type"), Some(PROTOBUF));
        let charset = "application/json; charset=utf-8";
        let reply = send(&server, path, &[("content-type", charset)], body.to_string().into_bytes());
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({})), "{path}");
    }
    let reply = send(&server, PATH, &[("content-type", PROTOBUF)], Vec::new());
    assert_eq!(reply.status, StatusCode::OK, "an empty request is one");
    assert_eq!(value(&server, "one{job=\"api\"}", 0), Some(1.5));
    assert_eq!(value(&server, "one * on (job) group_left (host_name) target_info", 0), Some(1.5));
    assert_eq!(server.metric("tsq_write_samples_total{kind=\"float\"}"), 8.0);
}

#[test]
fn bodies_may_be_compressed() {
    let server = Fixture::new();
    let body = protobuf(&request(&json!([gauge("one", 0, 1.0)])));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&body).unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(&body).unwrap();
    let zstd = zstd::encode_all(&body[..], 3).unwrap();
    for (encoding, body) in
        [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap()), ("zstd", zstd), ("identity", body)]
    {
        let reply = send(&server, PATH, &[("content-type", PROTOBUF), ("content-encoding", encoding)], body);
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, ""), "{encoding}");
    }
    assert_eq!(value(&server, "one", 0), Some(1.0));
}

/// The status of a refusal, its code and its message.
fn refusal(reply: &Reply) -> (StatusCode, u64, String) {
    if reply.header("content-type") == Some(JSON) {
        let status = reply.json();
        return (reply.status, status["code"].as_u64().unwrap(), status["message"].as_str().unwrap().to_owned());
    }
    assert_eq!(reply.header("content-type"), Some(PROTOBUF));
    // google.rpc.Status: the code is a varint of one byte, then comes the message.
    assert!(reply.body[0] == 0x08 && reply.body[2] == 0x12, "{:?}", reply.body);
    let skip = if reply.body[3] < 0x80 { 4 } else { 5 };
    (reply.status, u64::from(reply.body[1]), String::from_utf8(reply.body[skip..].to_vec()).unwrap())
}

#[test]
fn refusals_say_what_is_wrong_in_the_form_of_the_request() {
    let server = Fixture::with(|config| config.limits.request_bytes = 10_000);
    let refused = |path: &str, headers: &[(&str, &str)], body: Vec<u8>| refusal(&send(&server, path, headers, body));
    let zeros = vec![0; 10_001];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&zeros).unwrap();
    let bomb = bomb.finish().unwrap();
    let gzip = ("content-encoding", "gzip");
    let (json, protobuf) = (("content-type", JSON), ("content-type", PROTOBUF));
    let (bad, media, large) =
        (StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::PAYLOAD_TOO_LARGE);
    type Case<'c> = (&'c str, Vec<(&'c str, &'c str)>, Vec<u8>, StatusCode, u64, &'c str);
    let cases: Vec<Case<'_>> = vec![
        (PATH, vec![protobuf], b"\xff\xff\xff".to_vec(), bad, 3, "byte 0"),
        (PATH, vec![json], b"{".to_vec(), bad, 3, "JSON: EOF"),
        (PATH, vec![protobuf, gzip], b"no gzip".to_vec(), bad, 3, "Gzip"),
        (PATH, vec![], Vec::new(), media, 3, "no content type: application"),
        (PATH, vec![("content-type", "text/plain")], Vec::new(), media, 3, "application/json are"),
        (PATH, vec![json, ("content-encoding", "br")], Vec::new(), media, 3, "br is not accepted"),
        (PATH, vec![protobuf], zeros, large, 8, "larger than 10000 bytes"),
        (PATH, vec![protobuf, gzip], bomb, large, 8, "larger than 10000 bytes"),
        (PATH, vec![protobuf, ("origin", "http://evil.example")], Vec::new(), StatusCode::FORBIDDEN, 7, "evil.example"),
        ("/v1/traces", vec![protobuf], Vec::new(), StatusCode::NOT_FOUND, 12, "no traces"),
        ("/api/v1/otlp/v1/logs", vec![json], Vec::new(), StatusCode::NOT_FOUND, 12, "no logs"),
    ];
    for (path, headers, body, status, code, part) in cases {
        let (got_status, got_code, message) = refused(path, &headers, body);
        assert_eq!((got_status, got_code), (status, code), "{path} {headers:?}: {message}");
        assert!(message.contains(part), "{path} {headers:?}: {message}");
    }
    assert_eq!(server.get(PATH).status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.metric("tsq_write_refused_requests_total{reason=\"format\"}"), 3.0);
    assert_eq!(server.metric("tsq_write_refused_requests_total{reason=\"too_large\"}"), 2.0);
    assert_eq!(server.metric("tsq_write_refused_requests_total{reason=\"malformed\"}"), 3.0);
}

#[test]
fn what_can_never_be_stored_is_a_partial_success() {
    let server = Fixture::new();
    let far = gauge("far", 1 << 31, 1.0);
    let metrics =
        json!([gauge("good", 0, 2.0), far, {"name": "none", "gauge": {"dataPoints": [{"timeUnixNano": "5"}]}}]);
    let reply = send(&server, PATH, &[("content-type", JSON)], request(&metrics).to_string().into_bytes());
    assert_eq!(reply.status, StatusCode::OK);
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "2", "target_info beside the good point is not counted");
    let message = partial["errorMessage"].as_str().unwrap();
    for part in
        ["2 data points refused, 1 stored", "series none{job=\"api\"}", "no value", "far{job=\"api\"}", "future"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let reply = send(&server, PATH, &[("content-type", PROTOBUF)], protobuf(&request(&metrics)));
    assert!(reply.status == StatusCode::OK && reply.body.starts_with(b"\x0a"), "{:?}", reply.body);
    assert_eq!(value(&server, "good", 0), Some(2.0));
    assert_eq!(server.metric("tsq_write_rejected_samples_total{reason=\"invalid_point\"}"), 2.0);
}

#[test]
fn series_over_the_limit_are_rejected_and_named() {
    let server = Fixture::with(|config| config.options.limits.head_series = 2);
    let metrics = json!([gauge("a", 0, 1.0), gauge("b", 0, 1.0), gauge("c", 0, 1.0)]);
    let reply = send(&server, PATH, &[("content-type", JSON)], request(&metrics).to_string().into_bytes());
    let partial = &reply.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "1");
    assert!(partial["errorMessage"].as_str().unwrap().contains("c{job=\"api\"} refused"), "{partial}");
}

#[test]
fn too_much_in_flight_is_for_later() {
    let server = Fixture::with(|config| config.limits.decoded_total_bytes = 1000);
    let zeros = vec![0; 100_000];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&zeros).unwrap();
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    for (headers, body) in [(&headers[..1], zeros), (&headers[..], gzip.finish().unwrap())] {
        let reply = send(&server, PATH, headers, body);
        assert_eq!(reply.header("retry-after"), Some("5"));
        let (status, code, message) = refusal(&reply);
        assert_eq!((status, code), (StatusCode::SERVICE_UNAVAILABLE, 14), "{message}");
    }
    assert_eq!(server.metric("tsq_write_bytes_in_flight"), 0.0);
}

#[test]
fn delta_points_of_several_requests_add_up() {
    let server = Fixture::new();
    let point = |second: i64, value: u64| {
        json!({"startTimeUnixNano": ((T + second - 10) * 1_000_000_000).to_string(),
            "timeUnixNano": ((T + second) * 1_000_000_000).to_string(), "asInt": value})
    };
    for (second, value) in [(0, 3), (10, 4), (20, 5)] {
        let sum = json!({"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point(second, value)]});
        let body = request(&json!([{"name": "batches", "sum": sum}]));
        let reply = send(&server, PATH, &[("content-type", JSON)], body.to_string().into_bytes());
        assert_eq!(reply.json(), json!({}));
    }
    assert_eq!(value(&server, "batches_total", 20), Some(12.0));
    assert_eq!(value(&server, "increase(batches_total[20s] anchored)", 20), Some(9.0));
    assert_eq!(server.metric("tsq_otlp_delta_streams"), 1.0);
}

#[test]
fn metadata_and_exemplars_are_answered() {
    let server = Fixture::new();
    let time = (T * 1_000_000_000).to_string();
    let exemplar = json!({"timeUnixNano": time, "asDouble": 0.3, "traceId": "0102030405060708090a0b0c0d0e0f10"});
    let point = json!({"timeUnixNano": time, "count": "2", "sum": 0.5, "bucketCounts": ["1", "1"],
        "explicitBounds": [0.25], "exemplars": [exemplar]});
    let histogram = json!({"name": "latency", "unit": "s", "description": "How long.",
        "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}});
    let body = request(&json!([histogram])).to_string().into_bytes();
    assert_eq!(send(&server, PATH, &[("content-type", JSON)], body).json(), json!({}));
    let metadata = &server.get("/api/v1/metadata?metric=latency_seconds").json()["data"]["latency_seconds"][0];
    assert_eq!(*metadata, json!({"type": "histogram", "help": "How long.", "unit": "seconds"}));
    let path = format!("/api/v1/query_exemplars?query=latency_seconds_bucket&start={}&end={}", T - 1, T + 1);
    let series = &server.get(&path).json()["data"][0];
    assert_eq!(series["seriesLabels"]["le"], "+Inf");
    assert_eq!(series["exemplars"][0]["labels"]["trace_id"], "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(value(&server, "histogram_quantile(0.5, latency_seconds_bucket)", 0), Some(0.25));
}
