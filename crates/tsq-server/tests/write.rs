//! Remote write over real HTTP: every case of the protocol sheet.

mod support;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use support::{Fixture, Reply, V1, V2, series};
use tsq::{Exemplar, Histogram, Labels, Span};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, encode_v1, encode_v2};

const T0: i64 = 1_700_000_000_000;

fn request(series: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { series, metadata: Vec::new() }
}

fn up(value: f64) -> TimeSeries {
    series(&[("__name__", "up"), ("job", "api")], &[(T0, value)])
}

fn small_histogram() -> Histogram {
    Histogram {
        integer: true,
        count: 3.0,
        sum: 4.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![1.0, 2.0],
        ..Histogram::default()
    }
}

fn mixed() -> TimeSeries {
    TimeSeries {
        histograms: vec![(T0, small_histogram())],
        exemplars: vec![Exemplar { labels: Labels::from_pairs([("trace_id", "7")]).unwrap(), value: 0.5, time_ms: T0 }],
        ..series(&[("__name__", "latency")], &[])
    }
}

fn names(server: &Fixture) -> String {
    server.get("/api/v1/label/__name__/values").json()["data"].to_string()
}

/// Names of the series that have samples.
fn stored_names(server: &Fixture) -> Vec<String> {
    let all = server.get("/api/v1/label/__name__/values?match[]=%7B__name__!=%22%22%7D").json();
    serde_json::from_value(all["data"].clone()).unwrap()
}

#[track_caller]
fn assert_stored(reply: &Reply) {
    assert_eq!((reply.status, reply.text()), (StatusCode::NO_CONTENT, ""));
}

#[test]
fn version_1_is_accepted_in_each_of_its_spellings() {
    let server = Fixture::new();
    let body = encode_v1(&request(vec![up(1.0)]));
    for content_type in
        ["application/x-protobuf", V1, "Application/X-Protobuf; proto=\"prometheus.WriteRequest\"; charset=utf-8"]
    {
        let reply = server.write(content_type, body.clone());
        assert_stored(&reply);
        assert_eq!(reply.written(), None, "{content_type}");
    }
    assert_stored(&server.send(Method::POST, "/api/v1/write", &[], body));
    assert_eq!(names(&server), r#"["up"]"#);
}

#[test]
fn version_2_is_answered_with_what_was_written() {
    let server = Fixture::new();
    let body = encode_v2(&request(vec![up(1.0), mixed()]));
    for _ in 0..2 {
        let reply = server.write(V2, body.clone());
        assert_stored(&reply);
        assert_eq!(reply.written(), Some([1, 1, 1]), "an exact repetition counts as written");
    }
    assert_eq!(names(&server), r#"["latency","up"]"#);
}

#[test]
fn an_empty_message_is_a_success() {
    let server = Fixture::new();
    assert_stored(&server.write(V1, encode_v1(&WriteRequest::default())));
    let reply = server.write(V2, encode_v2(&WriteRequest::default()));
    assert_stored(&reply);
    assert_eq!(reply.written(), Some([0, 0, 0]));
}

#[test]
fn unknown_formats_are_415_and_name_what_is_accepted() {
    let server = Fixture::new();
    let body = encode_v1(&request(vec![up(1.0)]));
    for (content_type, encoding, wanted) in [
        ("application/json", "snappy", "application/x-protobuf"),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", "io.prometheus.write.v2.Request"),
        ("application/x-protobuf;proto", "snappy", "name=value"),
        (V1, "zstd", "snappy"),
        (V2, "gzip", "snappy"),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let reply = server.send(Method::POST, "/api/v1/write", &headers, body.clone());
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(reply.text().contains(wanted), "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(server.metric(r#"tsq_write_refused_requests_total{reason="format"}"#), 5.0);
    assert_eq!(names(&server), "[]");
}

#[test]
fn garbage_is_400_in_both_versions() {
    let server = Fixture::new();
    let no_message = snap::raw::Encoder::new().compress_vec(b"\x0a\xff\xff\xff").unwrap();
    for body in [b"this is no snappy".to_vec(), Vec::new(), no_message] {
        let reply = server.write(V1, body.clone());
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
        assert!(reply.text().contains("byte "), "says where: {}", reply.text());
        let reply = server.write(V2, body);
        assert_eq!((reply.status, reply.written()), (StatusCode::BAD_REQUEST, Some([0, 0, 0])));
    }
    assert_eq!(server.metric(r#"tsq_write_refused_requests_total{reason="malformed"}"#), 6.0);
}

#[test]
fn bad_histograms_are_refused_and_the_rest_is_stored() {
    let server = Fixture::new();
    let mut bad = mixed();
    bad.histograms[0].1.positive.pop();
    for (version, body) in
        [(V1, encode_v1(&request(vec![bad.clone(), up(1.0)]))), (V2, encode_v2(&request(vec![bad.clone(), up(1.0)])))]
    {
        let reply = server.write(version, body);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.text().starts_with("1 samples refused, 1 stored: "), "{}", reply.text());
        assert!(reply.text().contains("latency"), "names the series: {}", reply.text());
        let wanted = (version == V2).then_some([1, 0, 1]);
        assert_eq!(reply.written(), wanted);
    }
    assert_eq!(server.metric(r#"tsq_write_rejected_samples_total{reason="invalid_histogram"}"#), 2.0);
    assert_eq!(server.metric(r#"tsq_write_samples_total{kind="float"}"#), 2.0);
}

/// A few bytes that declare gigabytes must cost nothing.
#[test]
fn bombs_are_refused_by_their_declared_size() {
    let server = Fixture::with(|config| config.limits.request_bytes = 1 << 20);
    let declared_4_gib = b"\xff\xff\xff\xff\x0f\x00\x00".to_vec();
    assert_eq!(server.write(V1, declared_4_gib).status, StatusCode::PAYLOAD_TOO_LARGE);
    let honest = snap::raw::Encoder::new().compress_vec(&vec![0; (1 << 20) + 1]).unwrap();
    let reply = server.write(V2, honest);
    assert_eq!((reply.status, reply.written()), (StatusCode::PAYLOAD_TOO_LARGE, Some([0, 0, 0])));
    assert!(reply.text().contains("1048576"), "names the limit: {}", reply.text());
    let long = vec![0; 3 << 20];
    assert_eq!(server.write(V1, long).status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.metric(r#"tsq_write_refused_requests_total{reason="too_large"}"#), 3.0);
    assert_eq!(server.metric("tsq_write_bytes_in_flight"), 0.0);
}

#[test]
fn too_much_in_flight_is_503_with_retry_after() {
    let server = Fixture::with(|config| config.limits.decoded_total_bytes = 10);
    let reply = server.write(V2, encode_v2(&request(vec![up(1.0)])));
    assert_eq!((reply.status, reply.written()), (StatusCode::SERVICE_UNAVAILABLE, Some([0, 0, 0])));
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(server.metric(r#"tsq_write_refused_requests_total{reason="busy"}"#), 1.0);
    assert_eq!(server.metric("tsq_write_bytes_in_flight"), 0.0);
}

#[test]
fn a_closed_database_is_503() {
    let server = Fixture::new();
    server.db.close().unwrap();
    let reply = server.write(V2, encode_v2(&request(vec![up(1.0)])));
    assert_eq!((reply.status, reply.written()), (StatusCode::SERVICE_UNAVAILABLE, Some([0, 0, 0])));
    assert!(reply.header("retry-after").is_some());
}

#[test]
fn pages_of_other_origins_write_nothing() {
    let server = Fixture::new();
    let headers = [("origin", "http://evil.example")];
    let reply = server.send(Method::POST, "/api/v1/write", &headers, encode_v1(&request(vec![up(1.0)])));
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(names(&server), "[]");
}

/// A sender that stops in the middle of its body gets an answer, and holds nothing afterwards.
#[test]
fn a_body_that_never_ends_is_408() {
    let server = Fixture::with(|config| config.limits.body_timeout = Duration::from_millis(100));
    let mut connection = server.connect();
    connection.write_all(b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    let mut answer = vec![0; 1000];
    let started = Instant::now();
    let len = connection.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..len]).starts_with("HTTP/1.1 408"), "{:?}", started.elapsed());
    assert_eq!(server.metric("tsq_write_bytes_in_flight"), 0.0);
}

#[test]
fn only_post_writes() {
    let server = Fixture::new();
    let reply = server.get("/api/v1/write");
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("OPTIONS, POST")));
}

/// Series without a name, with bad labels, from the future or in conflict are refused one by one; the rest is stored.
#[test]
fn the_good_part_of_a_request_is_stored() {
    let server = Fixture::new();
    let future =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let future_ms = i64::try_from(future.as_millis()).unwrap();
    let long = "x".repeat(300);
    let bad = [
        (series(&[("job", "nameless")], &[(T0, 1.0)]), "invalid_labels"),
        (series(&[("__name__", "up"), (&long, "v")], &[(T0, 1.0)]), "label_limit"),
        (series(&[("__name__", "early")], &[(future_ms, 1.0)]), "too_far_in_future"),
        (up(2.0), "duplicate_time"),
    ];
    server.store(vec![up(1.0)]);
    let mut stored = 1.0;
    for (index, (bad, reason)) in bad.into_iter().enumerate() {
        let good =
            |version: &str| series(&[("__name__", "good"), ("case", &format!("{version}{index}"))], &[(T0, 1.0)]);
        let reply = server.write(V1, encode_v1(&request(vec![bad.clone(), good("1")])));
        assert_eq!((reply.status, reply.written()), (StatusCode::BAD_REQUEST, None), "{reason}: {}", reply.text());
        let reply = server.write(V2, encode_v2(&request(vec![good("2"), bad])));
        assert_eq!((reply.status, reply.written()), (StatusCode::BAD_REQUEST, Some([1, 0, 0])), "{reason}");
        assert!(reply.text().starts_with("1 samples refused, 1 stored: "), "{}", reply.text());
        stored += 2.0;
        let line = format!("tsq_write_rejected_samples_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&line), 2.0, "{reason}");
    }
    assert_eq!(server.metric(r#"tsq_write_samples_total{kind="float"}"#), stored);
    assert_eq!(stored_names(&server), ["good", "up"]);
}

#[test]
fn over_the_series_limit_known_series_are_stored_and_the_limit_is_named() {
    let server = Fixture::with(|config| config.options.limits.head_series = 1);
    server.store(vec![up(1.0)]);
    let known = series(&[("__name__", "up"), ("job", "api")], &[(T0 + 1000, 1.0)]);
    let new = series(&[("__name__", "new")], &[(T0, 1.0)]);
    let reply = server.write(V2, encode_v2(&request(vec![known, new])));
    assert_eq!((reply.status, reply.written()), (StatusCode::TOO_MANY_REQUESTS, Some([1, 0, 0])));
    assert!(reply.text().contains("limit"), "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    assert_eq!(stored_names(&server), ["up"]);
}

/// Below the low-water mark writes are refused with an answer that senders retry; reads go on.
#[test]
fn a_full_disk_is_503_and_reads_go_on() {
    let server = Fixture::with(|config| config.options.low_space_bytes = Some(u64::MAX / 2));
    let reply = server.write(V2, encode_v2(&request(vec![up(1.0)])));
    assert_eq!((reply.status, reply.written()), (StatusCode::SERVICE_UNAVAILABLE, Some([0, 0, 0])), "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    assert_eq!(names(&server), "[]");
    assert_eq!(server.metric(r#"tsq_write_refused_requests_total{reason="storage"}"#), 1.0);
    assert_eq!(server.metric("tsq_storage_full_total"), 1.0);
}
