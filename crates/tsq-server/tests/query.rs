//! `query` and `query_range` over real HTTP, down to the bytes.

mod support;

use std::io::Write as _;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use support::{Fixture, Reply, series};
use tsq::{Histogram, Span};
use tsq_ingest::remote_write::TimeSeries;

fn seeded() -> Fixture {
    let server = Fixture::new();
    let histogram = Histogram {
        integer: true,
        count: 3.0,
        sum: 4.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![1.0, 2.0],
        ..Histogram::default()
    };
    server.store(vec![
        series(&[("__name__", "loss"), ("run", "1")], &[(10_000, 0.5), (20_000, 0.25)]),
        series(&[("__name__", "loss"), ("run", "2")], &[(10_000, 1e-7), (20_000, f64::NAN)]),
        TimeSeries { histograms: vec![(10_000, histogram)], ..series(&[("__name__", "latency")], &[]) },
    ]);
    server
}

fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

#[track_caller]
fn assert_body(reply: &Reply, data: &str) {
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, success(data).as_str()));
}

#[track_caller]
fn assert_error(reply: &Reply, status: u16, error_type: &str, text: &str) {
    let json = reply.json();
    assert_eq!((reply.status.as_u16(), json["errorType"].as_str()), (status, Some(error_type)), "{json}");
    assert_eq!(json["error"], text);
}

#[test]
fn instant_queries_by_both_methods() {
    let server = seeded();
    let vector = concat!(
        r#"{"resultType":"vector","result":[{"metric":{"__name__":"loss","run":"1"},"value":[15.500,"0.5"]},"#,
        r#"{"metric":{"__name__":"loss","run":"2"},"value":[15.500,"1e-07"]}]}"#
    );
    assert_body(&server.get("/api/v1/query?query=loss&time=15.5"), vector);
    assert_body(&server.post_form("/api/v1/query", "query=loss&time=15.5"), vector);
    assert_body(&server.get("/api/v1/query?query=loss&time=1970-01-01T00:00:15.5Z"), vector);
    let histogram = concat!(
        r#"{"resultType":"vector","result":[{"metric":{"__name__":"latency"},"histogram":[10,"#,
        r#"{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"]]}]}]}"#
    );
    assert_body(&server.get("/api/v1/query?query=latency&time=10"), histogram);
    let matrix = concat!(
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"loss","run":"1"},"#,
        r#""values":[[10,"0.5"],[20,"0.25"]]}]}"#
    );
    assert_body(&server.get("/api/v1/query?query=loss%7Brun='1'%7D%5B1m%5D&time=30"), matrix);
    assert_body(&server.get("/api/v1/query?query=nothing"), r#"{"resultType":"vector","result":[]}"#);
}

/// What Grafana's "Save & test" sends.
#[test]
fn the_health_check_of_grafana() {
    let server = Fixture::new();
    let reply = server.post_form("/api/v1/query", "query=1%2B1&time=4");
    assert_body(&reply, r#"{"resultType":"scalar","result":[4,"2"]}"#);
    let reply = server.get("/api/v1/query?query=%22text%22&time=4.5");
    assert_body(&reply, r#"{"resultType":"string","result":[4.5,"text"]}"#);
}

#[test]
fn range_queries_by_both_methods() {
    let server = seeded();
    let matrix = concat!(
        r#"{"resultType":"matrix","result":[{"metric":{"run":"1"},"values":[[10,"0.5"],[12.500,"0.5"]]},"#,
        r#"{"metric":{"run":"2"},"values":[[10,"1e-07"],[12.500,"1e-07"]]}]}"#
    );
    let parameters = "query=max+by+(run)+(loss)&start=10&end=14&step=2.5";
    assert_body(&server.get(&format!("/api/v1/query_range?{parameters}")), matrix);
    assert_body(&server.post_form("/api/v1/query_range", parameters), matrix);
    let reply = server.get("/api/v1/query_range?query=1&start=0&end=1&step=1s");
    assert_body(&reply, r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[1,"1"]]}]}"#);
    let reply = server.get("/api/v1/query_range?query=latency&start=10&end=10&step=15");
    let histograms = concat!(
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"latency"},"histograms":[[10,"#,
        r#"{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"]]}]]}]}"#
    );
    assert_body(&reply, histograms);
}

#[test]
fn errors_have_the_types_and_texts_of_prometheus() {
    let server = seeded();
    let reply = server.get("/api/v1/query?query=sum(");
    assert_error(&reply, 400, "bad_data", "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis");
    let reply = server.get("/api/v1/query");
    let text = "invalid parameter \"query\": unknown position: parse error: no expression found in input";
    assert_error(&reply, 400, "bad_data", text);
    let reply = server.get("/api/v1/query_range?query=loss%5B1m%5D&start=0&end=1&step=1");
    let text = "invalid parameter \"query\": invalid expression type \"range vector\" for range query, \
                must be Scalar or instant Vector";
    assert_error(&reply, 400, "bad_data", text);
    let reply = server.get("/api/v1/query?query=loss+*+on()+loss&time=10");
    let json = reply.json();
    assert_eq!((reply.status.as_u16(), &json["errorType"]), (422, &"execution".into()), "{json}");
    assert_eq!(server.metric(r#"tsq_query_failures_total{type="bad_data"}"#), 3.0);
    assert_eq!(server.metric(r#"tsq_query_failures_total{type="execution"}"#), 1.0);
}

#[test]
fn limits_cut_and_say_so() {
    let server = seeded();
    let one = r#"[{"metric":{"__name__":"loss","run":"1"},"value":[10,"0.5"]}]"#;
    let data = format!(r#"{{"resultType":"vector","result":{one}}}"#);
    let reply = server.get("/api/v1/query?query=loss&time=10&limit=1");
    let wanted = success(&data).replace("]}}", r#"]},"warnings":["results truncated due to limit"]}"#);
    assert_eq!(reply.text(), wanted);
    let reply = server.get("/api/v1/query_range?query=loss&start=10&end=10&step=1&limit=1").json();
    assert_eq!(reply["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(reply["warnings"][0], "results truncated due to limit");
    assert!(server.get("/api/v1/query?query=loss&time=10&limit=2").json().get("warnings").is_none());
}

#[test]
fn lookback_and_cost_follow_their_parameters() {
    let server = seeded();
    let nothing = r#"{"resultType":"vector","result":[]}"#;
    assert_body(&server.get("/api/v1/query?query=loss&time=40&lookback_delta=10s"), nothing);
    let plain = server.get("/api/v1/query?query=loss&time=40").json();
    assert_eq!(plain["data"]["result"].as_array().unwrap().len(), 2);
    assert!(plain["data"].get("stats").is_none());
    let stats = server.get("/api/v1/query?query=loss&time=40&stats=all").json()["data"]["stats"].clone();
    assert_eq!(stats["samples"]["totalQueryableSamples"], 4, "{stats}");
    assert!(stats["timings"]["evalTotalTime"].as_f64().unwrap() > 0.0, "{stats}");
}

#[test]
fn annotations_are_passed_on() {
    let server = seeded();
    let infos = server.get("/api/v1/query?query=rate(loss%5B1m%5D)&time=20").json()["infos"].clone();
    assert!(infos[0].as_str().unwrap().starts_with("PromQL info: "), "{infos}");
    let warnings = server.get("/api/v1/query?query=quantile(2,loss)&time=20").json()["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().starts_with("PromQL warning: "), "{warnings}");
}

/// A query that takes minutes.
const LONG: &str = "query=quantile_over_time(0.5,vector(time())%5B1d:1s%5D)&start=0&end=1100000&step=100";

#[test]
fn slow_queries_time_out() {
    let server = Fixture::new();
    let reply = server.post_form("/api/v1/query_range", &format!("{LONG}&timeout=50ms"));
    assert_error(&reply, 503, "timeout", "query timed out in expression evaluation");
}

/// The client of a long query goes away: the query ends, and its turn goes to others.
#[test]
fn queries_of_clients_that_left_are_stopped() {
    let server = Fixture::with(|config| {
        config.limits.queries_running = 1;
        config.limits.queries_waiting = 0;
    });
    let mut connection = server.connect();
    let head = "POST /api/v1/query_range HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    write!(connection, "{head}Content-Length: {}\r\n\r\n{LONG}", LONG.len()).unwrap();
    wait_for(&server, "tsq_queries_running", 1.0);
    let busy = server.get("/api/v1/query?query=1");
    assert_error(&busy, 503, "unavailable", "1 queries are running and 0 are waiting: try again later");
    assert!(busy.header("retry-after").is_some());
    drop(connection);
    wait_for(&server, "tsq_queries_running", 0.0);
    assert_eq!(server.get("/api/v1/query?query=1").status, StatusCode::OK);
    assert_eq!(server.metric(r#"tsq_http_requests_total{path="/api/v1/query_range",code="499"}"#), 1.0);
}

/// The time that a query waits for its turn is a part of its time.
#[test]
fn queries_that_wait_too_long_time_out() {
    let server = Fixture::with(|config| config.limits.queries_running = 1);
    let mut connection = server.connect();
    write!(connection, "GET /api/v1/query_range?{LONG} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for(&server, "tsq_queries_running", 1.0);
    let reply = server.get("/api/v1/query?query=1&timeout=50ms");
    assert_error(&reply, 503, "timeout", "no turn in time: 1 queries are running");
    assert_eq!(server.metric(r#"tsq_query_failures_total{type="timeout"}"#), 1.0);
    assert!(server.metric("tsq_queries_wait_seconds_total") >= 0.05);
    drop(connection);
    assert_eq!(server.get("/api/v1/query?query=1").status, StatusCode::OK);
}

/// Requests in flight when the server stops are cut off after its patience, and do not hold it any longer.
#[test]
fn a_stop_does_not_wait_for_long_queries() {
    let server = Fixture::with(|config| config.limits.stop_timeout = Duration::from_millis(100));
    let mut connection = server.connect();
    write!(connection, "GET /api/v1/query_range?{LONG} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for(&server, "tsq_queries_running", 1.0);
    let started = Instant::now();
    server.shutdown();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn unknown_parameters_and_headers_are_ignored() {
    let server = Fixture::new();
    let headers = [("x-grafana-org-id", "1"), ("x-dashboard-uid", "a"), ("fromalert", "true")];
    let reply = server.send(Method::GET, "/api/v1/query?query=1&time=0&unknown=x", &headers, Vec::new());
    assert_body(&reply, r#"{"resultType":"scalar","result":[0,"1"]}"#);
}

#[track_caller]
fn wait_for(server: &Fixture, metric: &str, value: f64) {
    let started = Instant::now();
    while server.metric(metric) != value {
        assert!(started.elapsed() < Duration::from_secs(10), "{metric} never became {value}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `explain` is tsq's own: an answer has it only when it was asked for.
#[test]
fn plans_are_part_of_the_answer_when_asked_for() {
    let server = seeded();
    assert_eq!(server.get("/api/v1/query?query=sum(loss)&time=20").json()["data"]["explain"], serde_json::Value::Null);
    let reply = server.get("/api/v1/query_range?query=sum(loss)&start=10&end=20&step=5&explain=true").json();
    assert_eq!(reply["data"]["result"][0]["values"][0], serde_json::json!([10, "0.5000001"]));
    let plan = &reply["data"]["explain"]["plan"];
    assert_eq!((&plan[0]["operator"], &plan[0]["depth"], &plan[0]["series"]), (&"sum".into(), &0.into(), &1.into()));
    let part = &plan[1];
    assert_eq!((&part["kind"], &part["operator"]), (&"selector".into(), &"loss".into()));
    assert_eq!((&part["start"], &part["end"], &part["steps"]), (&4.into(), &8.into(), &3.into()));
    assert_eq!((&part["samples"], &part["headSamples"], &part["chunkBytes"]), (&4.into(), &4.into(), &0.into()));
    let wrong = server.get("/api/v1/query?query=loss&explain=maybe");
    assert_error(&wrong, 400, "bad_data", r#"invalid parameter "explain": "maybe" is neither true nor false"#);
}
