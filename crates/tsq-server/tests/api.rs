//! The query API over real HTTP: shapes, parameters, errors.

mod support;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::json;
use support::{Fixture, Reply, V1, series};
use tsq::{Db, Exemplar, Labels, Metadata, Options, Source, TimeRange};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, encode_v1};
use tsq_server::{ServeError, Server, ServerConfig};

/// Three series at 1970 times, which are legal.
fn seeded() -> Fixture {
    let server = Fixture::new();
    server.store(vec![
        series(&[("__name__", "up"), ("job", "api")], &[(10_000, 1.0), (20_000, 0.0)]),
        series(&[("__name__", "up"), ("job", "db")], &[(10_000, 1.0)]),
        series(&[("__name__", "loss"), ("run", "7"), ("my.label", "x")], &[(1_000_000, 0.25)]),
    ]);
    server
}

#[track_caller]
fn assert_error(reply: &Reply, status: u16, error_type: &str, error: &str) {
    let wanted = json!({"status": "error", "errorType": error_type, "error": error});
    assert_eq!((reply.status.as_u16(), reply.json()), (status, wanted));
}

#[track_caller]
fn assert_body(reply: &Reply, body: &str) {
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, body));
}

#[test]
fn health() {
    let server = Fixture::new();
    assert_eq!(server.get("/-/healthy").status, StatusCode::OK);
    assert_eq!(server.get("/-/ready").status, StatusCode::OK);
    assert_eq!(server.send(Method::HEAD, "/-/ready", &[], Vec::new()).status, StatusCode::OK);
    assert_body(
        &server.get("/api/v1/status/walreplay"),
        r#"{"status":"success","data":{"min":0,"max":1,"current":1}}"#,
    );
}

#[test]
fn labels_and_their_values() {
    let server = seeded();
    let all = r#"{"status":"success","data":["__name__","job","my.label","run"]}"#;
    assert_body(&server.get("/api/v1/labels"), all);
    assert_body(&server.post_form("/api/v1/labels", ""), all);
    assert_body(&server.get("/api/v1/labels?match[]=up"), r#"{"status":"success","data":["__name__","job"]}"#);
    let both = "match%5B%5D=up&match%5B%5D=loss";
    assert_body(&server.post_form("/api/v1/labels", both), all);
    let late = r#"{"status":"success","data":["__name__","my.label","run"]}"#;
    assert_body(&server.get("/api/v1/labels?match[]=%7B__name__!=%22%22%7D&start=900"), late);
    assert_body(
        &server.get("/api/v1/labels?limit=1"),
        r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#,
    );
    assert_body(&server.get("/api/v1/labels?limit=0"), all);
    assert_body(&server.get("/api/v1/label/job/values"), r#"{"status":"success","data":["api","db"]}"#);
    assert_body(
        &server.get("/api/v1/label/job/values?match[]=up%7Bjob=%22db%22%7D"),
        r#"{"status":"success","data":["db"]}"#,
    );
    assert_body(&server.get("/api/v1/label/U__my_2e_label/values"), r#"{"status":"success","data":["x"]}"#);
    assert_body(&server.get("/api/v1/label/my.label/values"), r#"{"status":"success","data":["x"]}"#);
    assert_body(&server.get("/api/v1/label/nothing/values"), r#"{"status":"success","data":[]}"#);
    let reply = server.post_form("/api/v1/label/job/values", "");
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("GET, OPTIONS")));
}

#[test]
fn series_by_matchers() {
    let server = seeded();
    let up = r#"{"status":"success","data":[{"__name__":"up","job":"api"},{"__name__":"up","job":"db"}]}"#;
    assert_body(&server.get("/api/v1/series?match[]=up"), up);
    assert_body(&server.post_form("/api/v1/series", "match[]=up&match[]=up%7Bjob%3D%22api%22%7D"), up);
    assert_body(
        &server.get("/api/v1/series?match[]=loss&match[]=up&limit=2"),
        r#"{"status":"success","data":[{"__name__":"loss","my.label":"x","run":"7"},{"__name__":"up","job":"api"}],"warnings":["results truncated due to limit"]}"#,
    );
    assert_body(&server.get("/api/v1/series?match[]=up&end=5"), r#"{"status":"success","data":[]}"#);
    assert_error(&server.get("/api/v1/series"), 400, "bad_data", "no match[] parameter provided");
    let reply = server.get("/api/v1/series?match[]=%7B%7D");
    let text = "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher";
    assert_error(&reply, 400, "bad_data", text);
    let reply = server.get("/api/v1/series?match[]=up&start=x");
    let text = "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp";
    assert_error(&reply, 400, "bad_data", text);
    assert_error(
        &server.get("/api/v1/labels?limit=-1"),
        400,
        "bad_data",
        "invalid parameter \"limit\": limit must be non-negative",
    );
}

#[test]
fn metadata() {
    let server = Fixture::new();
    let known = |metric: &str, metric_type: &str, help: &str| Metadata {
        metric: metric.to_owned(),
        metric_type: metric_type.to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    };
    let metadata = vec![known("a_total", "counter", "Counts \"a\"."), known("b", "gauge", "")];
    let reply = server.write(V1, encode_v1(&WriteRequest { series: Vec::new(), metadata }));
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let (a, b) = (
        r#""a_total":[{"type":"counter","unit":"","help":"Counts \"a\"."}]"#,
        r#""b":[{"type":"gauge","unit":"","help":""}]"#,
    );
    let body = |inner: &str| format!(r#"{{"status":"success","data":{{{inner}}}}}"#);
    assert_body(&server.get("/api/v1/metadata?limit=40000"), &body(&format!("{a},{b}")));
    assert_body(&server.get("/api/v1/metadata?limit=1"), &body(a));
    assert_body(&server.get("/api/v1/metadata?metric=b"), &body(b));
    assert_body(&server.get("/api/v1/metadata?metric=none"), &body(""));
}

#[test]
fn exemplars_of_every_selector() {
    let server = Fixture::new();
    let exemplars =
        vec![Exemplar { labels: Labels::from_pairs([("trace_id", "7")]).unwrap(), value: 0.5, time_ms: 1500 }];
    server.store(vec![TimeSeries { exemplars, ..series(&[("__name__", "latency")], &[(1000, 1.0)]) }]);
    let found = r#"{"status":"success","data":[{"seriesLabels":{"__name__":"latency"},"exemplars":[{"labels":{"trace_id":"7"},"value":"0.5","timestamp":1.500}]}]}"#;
    let form = "query=sum(rate(latency%5B5m%5D))+%2F+other&start=0&end=10";
    assert_body(&server.post_form("/api/v1/query_exemplars", form), found);
    let nothing = r#"{"status":"success","data":[]}"#;
    assert_body(&server.get("/api/v1/query_exemplars?query=latency&start=2&end=10"), nothing);
    // Grafana's probe sends milliseconds where seconds are expected.
    let probe = "/api/v1/query_exemplars?query=test&start=1700000000000&end=1700000600000";
    assert_body(&server.get(probe), nothing);
    let reply = server.get("/api/v1/query_exemplars?query=latency&start=2&end=1");
    let text = "end timestamp must not be before start timestamp";
    assert_error(&reply, 400, "bad_data", text);
}

#[test]
fn query_parameters_are_checked() {
    let server = seeded();
    for (path, text) in [
        (
            "/api/v1/query?query=up&time=x",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
        ),
        ("/api/v1/query?query=up&limit=x", "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax"),
        ("/api/v1/query?query=up&timeout=x", "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"),
        (
            "/api/v1/query_range?query=up&start=x&end=1&step=1",
            "invalid parameter \"start\": cannot parse \"x\" to a valid timestamp",
        ),
        (
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=2&step=0",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. \
             Try a positive integer",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=2",
            "invalid parameter \"step\": cannot parse \"\" to a valid duration",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=11001&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ),
        ("/api/v1/series?match[]=%zz", "error parsing form values: invalid URL escape \"%zz\""),
    ] {
        assert_error(&server.get(path), 400, "bad_data", text);
    }
}

#[test]
fn queries_are_formatted() {
    let server = Fixture::new();
    let body = r#"{"status":"success","data":"sum by (job) (rate(up{job=\"a\"}[5m]))"}"#;
    assert_body(&server.post_form("/api/v1/format_query", "query=sum(rate(up%7Bjob%3D'a'%7D%5B5m%5D))by(job)"), body);
    let reply = server.get("/api/v1/format_query?query=sum(");
    let text = "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis";
    assert_error(&reply, 400, "bad_data", text);
}

#[test]
fn lists_that_are_empty_here_have_their_shape() {
    let server = Fixture::new();
    for (path, data) in [
        ("rules", r#"{"groups":[]}"#),
        ("rules?type=alert", r#"{"groups":[]}"#),
        ("alerts", r#"{"alerts":[]}"#),
        ("alertmanagers", r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#),
        ("targets", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#),
        ("targets/metadata", "[]"),
        ("targets?state=active", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":null}"#),
        ("scrape_pools", r#"{"scrapePools":[]}"#),
        ("notifications", "[]"),
        ("status/config", r#"{"yaml":""}"#),
        ("metadata", "{}"),
    ] {
        assert_body(&server.get(&format!("/api/v1/{path}")), &format!(r#"{{"status":"success","data":{data}}}"#));
    }
    assert_eq!(server.get("/api/v1/rules?type=x").status, StatusCode::BAD_REQUEST);
}

#[test]
fn build_info_is_taken_for_prometheus() {
    let server = Fixture::new();
    let info = server.get("/api/v1/status/buildinfo").json();
    let data = info["data"].as_object().unwrap();
    assert_eq!(data["version"], "3.14.0");
    assert_eq!((&data["application"], &data["applicationVersion"]), (&json!("tsq"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(!data.contains_key("features"), "a list of features means Mimir");
    for name in ["revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(data[name].is_string(), "{name}");
    }
}

#[test]
fn status_pages() {
    let server = seeded();
    let runtime = server.get("/api/v1/status/runtimeinfo").json();
    for name in ["startTime", "CWD", "hostname", "serverTime", "lastConfigTime", "GOGC", "GODEBUG", "storageRetention"]
    {
        assert!(runtime["data"][name].is_string(), "{name}: {runtime}");
    }
    for name in ["corruptionCount", "goroutineCount", "GOMAXPROCS", "GOMEMLIMIT"] {
        assert!(runtime["data"][name].is_i64(), "{name}: {runtime}");
    }
    assert_eq!(server.get("/api/v1/status/flags").json()["data"]["query_timeout"], "30s");
    let tsdb = server.get("/api/v1/status/tsdb?limit=1").json();
    let head = r#"{"numSeries":3,"numLabelPairs":6,"chunkCount":3,"minTime":10000,"maxTime":1000000}"#;
    assert_eq!(tsdb["data"]["headStats"], serde_json::from_str::<serde_json::Value>(head).unwrap());
    assert_eq!(tsdb["data"]["seriesCountByMetricName"], json!([{"name": "up", "value": 2}]));
    assert_eq!(tsdb["data"]["labelValueCountByLabelName"], json!([{"name": "__name__", "value": 2}]));
    assert_eq!(tsdb["data"]["memoryInBytesByLabelName"], json!([{"name": "__name__", "value": 6}]));
    assert_eq!(tsdb["data"]["seriesCountByLabelValuePair"], json!([{"name": "job=api", "value": 1}]));
}

/// What clients like `curl -g` send as it is.
#[test]
fn targets_need_not_be_encoded() {
    let server = seeded();
    for method in ["GET", "POST"] {
        let mut connection = server.connect();
        let request = "/api/v1/series?match[]=up{job=\"db\"}&x=<> HTTP/1.0\r\nHost: a\r\n";
        write!(connection, "{method} {request}Content-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let body = r#"{"status":"success","data":[{"__name__":"up","job":"db"}]}"#;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with(body), "{answer}");
    }
}

#[test]
fn the_process_ends_on_request_where_that_is_allowed() {
    let server = Fixture::new();
    let post = |server: &Fixture, path: &str| {
        let reply = server.send(Method::POST, path, &[], Vec::new());
        (reply.status, reply.text().to_owned())
    };
    let forbidden = (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.".to_owned());
    for path in ["/-/quit", "/-/reload"] {
        assert_eq!(post(&server, path), forbidden, "{path}");
        assert_eq!(server.get(path).status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let server = Fixture::with(|config| config.lifecycle = true);
    assert_eq!(post(&server, "/-/reload"), (StatusCode::OK, String::new()));
    let foreign = server.send(Method::POST, "/-/quit", &[("origin", "http://evil.example")], Vec::new());
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);

    let dir = tempfile::tempdir().unwrap();
    let config = ServerConfig { data: dir.path().join("db"), lifecycle: true, ..quiet_config() };
    let running = Server::open(config).unwrap();
    let address = running.local_addr();
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.write_all(b"POST /-/quit HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    running.wait().unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

fn quiet_config() -> ServerConfig {
    ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), ..ServerConfig::default() }
}

#[test]
fn compaction_on_request() {
    let server = seeded();
    for method in [Method::POST, Method::PUT] {
        let reply = server.send(method, "/api/v1/admin/tsdb/compact", &[], Vec::new());
        assert_eq!((reply.status, reply.text()), (StatusCode::NO_CONTENT, ""));
    }
    assert_eq!(server.get("/api/v1/admin/tsdb/compact").status, StatusCode::METHOD_NOT_ALLOWED);
    let foreign = [("origin", "http://evil.example")];
    let reply = server.send(Method::POST, "/api/v1/admin/tsdb/compact", &foreign, Vec::new());
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_body(&server.get("/api/v1/label/job/values"), r#"{"status":"success","data":["api","db"]}"#);
    let blocks = server.get("/api/v1/status/tsdb/blocks").json()["data"]["blocks"].clone();
    assert_eq!((&blocks[0]["minTime"], &blocks[0]["maxTime"]), (&json!(10_000), &json!(1_000_001)), "{blocks}");
    assert_eq!(blocks[0]["stats"], json!({"numSamples": 4, "numSeries": 3, "numChunks": 3}));
    assert!(blocks[0]["compaction"]["sources"].as_array().is_some_and(|sources| !sources.is_empty()), "{blocks}");
}

#[test]
fn features_are_listed() {
    let features = Fixture::new().get("/api/v1/features").json()["data"].clone();
    let expected = [("api", "lifecycle", false), ("api", "query_stats", true), ("promql", "anchored", true)];
    let more =
        [("promql_functions", "rate", true), ("promql_operators", ">/", true), ("promql_operators", "topk", true)];
    for (category, name, want) in expected.into_iter().chain(more) {
        assert_eq!(features[category][name], want, "{category} {name}: {features}");
    }
}

/// Codes and texts are those of Prometheus 3.5.3 with --web.enable-admin-api.
#[test]
fn deletes_and_cleaning() {
    let server = seeded();
    let path = "/api/v1/admin/tsdb/delete_series";
    let call = |query: &str| server.send(Method::POST, &format!("{path}{query}"), &[], Vec::new());
    assert_error(&call(""), 400, "bad_data", "no match[] parameter provided");
    assert_error(&call("?start=x"), 400, "bad_data", "no match[] parameter provided");
    let text = "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp";
    assert_error(&call("?match[]=up&start=x"), 400, "bad_data", text);
    let text = "invalid parameter \"match[]\": 1:2: parse error: unexpected end of input inside braces";
    assert_error(&call("?match[]=up&match[]=%7B"), 400, "bad_data", text);
    assert_eq!(server.get(&format!("{path}?match[]=up")).status, StatusCode::METHOD_NOT_ALLOWED);
    let foreign = [("origin", "http://evil.example")];
    let reply = server.send(Method::POST, &format!("{path}?match[]=up"), &foreign, Vec::new());
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let jobs = r#"{"status":"success","data":["api","db"]}"#;
    assert_body(&server.get("/api/v1/label/job/values"), jobs);
    // Nothing lies in the range.
    for query in ["?match[]=up&start=30&end=40", "?match[]=up&start=20&end=10", "?match[]=nothing"] {
        assert_eq!((call(query).status, call(query).text()), (StatusCode::NO_CONTENT, ""), "{query}");
    }
    assert_eq!(server.metric("tsq_deletes_total"), 0.0);
    assert_eq!(call("?match[]=up&start=15").status, StatusCode::NO_CONTENT);
    let values = server.get("/api/v1/query?query=up[1d]&time=100").json();
    assert_eq!(values["data"]["result"].as_array().unwrap().len(), 2);
    assert_eq!(values["data"]["result"][0]["values"], json!([[10, "1"]]));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let reply = server.send(Method::PUT, path, &form, b"match[]=up%7Bjob%3D%22db%22%7D&end=10".to_vec());
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_body(&server.get("/api/v1/label/job/values"), r#"{"status":"success","data":["api"]}"#);
    assert_eq!(server.metric("tsq_deleted_samples"), 2.0);
    assert_eq!(server.metric("tsq_deletes_total"), 2.0);
    // Deleted samples may be written again.
    server.store(vec![series(&[("__name__", "up"), ("job", "db")], &[(10_000, 1.0)])]);
    assert_body(&server.get("/api/v1/label/job/values"), jobs);
    let clean = "/api/v1/admin/tsdb/clean_tombstones";
    assert_eq!(server.get(clean).status, StatusCode::METHOD_NOT_ALLOWED);
    for method in [Method::POST, Method::PUT] {
        let reply = server.send(method, clean, &[], Vec::new());
        assert_eq!((reply.status, reply.text()), (StatusCode::NO_CONTENT, ""));
    }
    assert_eq!(server.metric("tsq_tombstone_blocks"), 0.0);
    assert_body(&server.get("/api/v1/label/job/values"), jobs);
    // Everything, as in Prometheus.
    assert_eq!(call("?match[]=%7B%7D").status, StatusCode::NO_CONTENT);
    assert_body(&server.get("/api/v1/labels"), r#"{"status":"success","data":[]}"#);
}

#[test]
fn backups_on_request() {
    let server = seeded();
    let reply = server.send(Method::POST, "/api/v1/admin/tsdb/snapshot", &[], Vec::new()).json();
    let name = reply["data"]["name"].as_str().unwrap();
    let copy = Db::open_read_only(server.db.path().join("snapshots").join(name), Options::default()).unwrap();
    let jobs = copy.snapshot().unwrap().label_values("job", &[], TimeRange::ALL).unwrap();
    assert_eq!(jobs, ["api", "db"]);
    let reply = server.send(Method::POST, "/api/v1/admin/tsdb/snapshot?skip_head=true", &[], Vec::new());
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[test]
fn paths_methods_and_headers() {
    let server = Fixture::new();
    let reply = server.get("/api/v1/nothing");
    assert_eq!((reply.status, reply.text()), (StatusCode::NOT_FOUND, "404 page not found\n"));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let reply = server.send(Method::DELETE, "/api/v1/query", &[], Vec::new());
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("GET, OPTIONS, POST")));
    let reply = server.send(Method::HEAD, "/api/v1/query?query=1", &[], Vec::new());
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("GET, OPTIONS, POST")));
    let reply = server.send(Method::OPTIONS, "/-/healthy", &[], Vec::new());
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::OK, Some("GET, HEAD, OPTIONS")));
    let origin = [("origin", "http://grafana.example")];
    let reply = server.send(Method::OPTIONS, "/api/v1/query", &origin, Vec::new());
    assert_eq!((reply.status, reply.text()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://grafana.example"));
    assert_eq!(server.get("/api/v1/labels").header("access-control-allow-origin"), None);
}

#[test]
fn answers_are_compressed_when_asked_for() {
    let server = Fixture::new();
    let many = (0..200).map(|run| series(&[("__name__", "loss"), ("run", &run.to_string())], &[(1000, 1.0)])).collect();
    server.store(many);
    let reply = server.send(Method::GET, "/api/v1/series?match[]=loss", &[("accept-encoding", "gzip")], Vec::new());
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(reply.body.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, server.get("/api/v1/series?match[]=loss").text());
}

#[test]
fn requests_are_counted_by_path_and_code() {
    let server = seeded();
    server.get("/api/v1/labels");
    server.get("/api/v1/labels?limit=x");
    server.get("/secret/1");
    assert_eq!(server.metric(r#"tsq_http_requests_total{path="/api/v1/labels",code="200"}"#), 1.0);
    assert_eq!(server.metric(r#"tsq_http_requests_total{path="/api/v1/labels",code="400"}"#), 1.0);
    assert_eq!(server.metric(r#"tsq_http_requests_total{path="other",code="404"}"#), 1.0);
    assert_eq!(server.metric(r#"tsq_http_request_duration_seconds_count{path="/api/v1/labels"}"#), 2.0);
    assert_eq!(server.metric("tsq_ready"), 1.0);
    assert_eq!(server.metric(r#"tsq_write_samples_total{kind="float"}"#), 4.0);
}

#[test]
fn forms_are_bounded() {
    let server = Fixture::with(|config| config.limits.form_bytes = 100);
    let reply = server.post_form("/api/v1/query", &"query=1&".repeat(20));
    assert_error(&reply, 400, "bad_data", "the form is larger than 100 bytes");
}

/// A client that sends its head byte by byte, or nothing, is cut off.
#[test]
fn slow_heads_are_cut_off() {
    let server = Fixture::with(|config| config.limits.header_timeout = Duration::from_millis(100));
    let mut connection = server.connect();
    connection.write_all(b"GET /-/healthy HTTP/1.1\r\nHost:").unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_stop_waits_for_nothing_that_is_idle() {
    let server = seeded();
    let _idle = server.connect();
    let started = Instant::now();
    server.shutdown();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn addresses_that_others_reach_need_a_word() {
    let config = ServerConfig { listen: "0.0.0.0:0".parse().unwrap(), ..ServerConfig::default() };
    let error = Server::open(config).unwrap_err();
    assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");
    assert!(error.to_string().contains("--insecure"));
}

#[test]
fn a_database_that_is_opened_by_the_server_becomes_ready_and_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: dir.path().join("data"),
        ..ServerConfig::default()
    };
    let server = Server::open(config).unwrap();
    let address = server.local_addr();
    let ready = || {
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        connection.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.contains("200 OK")
    };
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    server.shutdown().unwrap();
}
