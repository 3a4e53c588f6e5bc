//! Remote read, as a client sees it.

mod support;

use axum::http::{Method, StatusCode};
use support::{Fixture, Reply, series};
use tsq::{Histogram, Samples, Span, stale_nan};
use tsq_ingest::remote_read::{
    ChunkedSeries, Encoding, LabelMatcher, MatchType, Query, ReadRequest, ResponseType, decode_frames, decode_samples,
    encode_request,
};
use tsq_ingest::remote_write::TimeSeries;

const SECOND: i64 = 1000;

fn post(fixture: &Fixture, body: Vec<u8>) -> Reply {
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-read-version", "0.1.0"),
    ];
    fixture.send(Method::POST, "/api/v1/read", &headers, body)
}

fn matcher(match_type: MatchType, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher { match_type, name: name.to_owned(), value: value.to_owned() }
}

fn query(start_ms: i64, end_ms: i64, matchers: Vec<LabelMatcher>) -> Query {
    Query { start_ms, end_ms, matchers, ..Query::default() }
}

fn named(name: &str) -> Vec<LabelMatcher> {
    vec![matcher(MatchType::Equal, "__name__", name)]
}

/// The answer as samples.
fn read_samples(fixture: &Fixture, queries: &[Query]) -> Vec<Vec<TimeSeries>> {
    let reply = post(fixture, encode_request(&ReadRequest { queries: queries.to_vec(), accepted: Vec::new() }));
    assert_eq!(reply.status, StatusCode::OK, "{:?}", String::from_utf8_lossy(&reply.body));
    assert_eq!(reply.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(reply.header("content-encoding"), Some("snappy"));
    decode_samples(&reply.body, 1 << 30).expect("an answer with samples")
}

/// The answer as chunks.
fn read_chunks(fixture: &Fixture, queries: &[Query]) -> Vec<ChunkedSeries> {
    let accepted = vec![ResponseType::StreamedChunks, ResponseType::Samples];
    let reply = post(fixture, encode_request(&ReadRequest { queries: queries.to_vec(), accepted }));
    assert_eq!(reply.status, StatusCode::OK, "{:?}", String::from_utf8_lossy(&reply.body));
    let content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!(reply.header("content-type"), Some(content_type));
    decode_frames(&reply.body).expect("an answer with frames")
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|(time, value)| (*time, value.to_bits())).collect()
}

fn floats_of(chunked: &ChunkedSeries) -> Vec<(i64, u64)> {
    let mut out = Samples::default();
    for chunk in chunked.chunks.iter().filter(|chunk| chunk.encoding == Encoding::Xor) {
        chunk.decode(&mut out).expect("a chunk");
    }
    out.times.into_iter().zip(out.values.iter().map(|value| value.to_bits())).collect()
}

fn histogram(count: f64) -> Histogram {
    Histogram {
        schema: 1,
        integer: true,
        zero_threshold: 0.001,
        count,
        sum: 2.5 * count,
        positive_spans: vec![Span { offset: 1, length: 1 }],
        positive: vec![count],
        ..Histogram::default()
    }
}

#[test]
fn both_forms_hold_every_bit() {
    let fixture = Fixture::new();
    let nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let odd = [(-5, 1.0), (0, nan), (7, stale_nan()), (8, -0.0), (9, f64::INFINITY), (1 << 40, f64::MIN_POSITIVE)];
    let long: Vec<(i64, f64)> = (0..1000).map(|at| (at * 15 * SECOND, (at as f64).sin())).collect();
    let mut mixed = series(&[("__name__", "mixed")], &[(1, 1.0), (3, 3.0)]);
    mixed.histograms = vec![(2, histogram(1.0)), (4, histogram(2.0)), (5, histogram(3.0)), (6, Histogram::stale())];
    fixture.store(vec![
        series(&[("__name__", "odd")], &odd),
        series(&[("__name__", "long"), ("a", "1")], &long),
        series(&[("__name__", "long"), ("a", "2")], &long[..10]),
        mixed.clone(),
    ]);
    let all = query(i64::MIN, i64::MAX, vec![matcher(MatchType::Match, "__name__", ".+")]);
    let narrow = query(15 * SECOND, 45 * SECOND, named("long"));
    let none = query(0, 9, named("nosuch"));
    let backwards = query(9, 0, named("odd"));
    let queries = [all, narrow, none, backwards];

    let samples = read_samples(&fixture, &queries);
    assert_eq!(samples.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 0, 0]);
    let labels = |series: &[TimeSeries]| series.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>();
    assert_eq!(labels(&samples[0]), [r#"long{a="1"}"#, r#"long{a="2"}"#, "mixed", "odd"]);
    assert_eq!(bits(&samples[0][0].samples), bits(&long));
    assert_eq!(bits(&samples[0][3].samples), bits(&odd));
    assert_eq!(samples[0][2].samples, mixed.samples);
    assert_eq!(samples[0][2].histograms, mixed.histograms);
    assert_eq!(samples[1][0].samples, long[1..4]);

    let chunks = read_chunks(&fixture, &queries);
    let shape: Vec<_> = chunks.iter().map(|series| (series.query_index, series.labels.to_string())).collect();
    let want: Vec<(u64, String)> =
        samples.iter().zip(0..).flat_map(|(list, at)| labels(list).into_iter().map(move |l| (at, l))).collect();
    assert_eq!(shape, want);
    assert_eq!(floats_of(&chunks[0]), bits(&long));
    assert_eq!(chunks[0].chunks.len(), 9, "120 samples a chunk");
    assert_eq!(floats_of(&chunks[3]), bits(&odd));
    assert_eq!(floats_of(&chunks[4]), bits(&long[1..4]));
    let kinds: Vec<_> =
        chunks[2].chunks.iter().map(|chunk| (chunk.encoding as u8, chunk.min_ms, chunk.max_ms)).collect();
    assert_eq!(kinds, [(1, 1, 1), (2, 2, 2), (1, 3, 3), (2, 4, 5), (3, 6, 6)]);
    fixture.shutdown();
}

#[test]
fn matchers_and_hints() {
    let fixture = Fixture::new();
    let at = |a: &str| series(&[("__name__", "m"), ("a", a)], &[(10, 1.0), (20, 2.0), (30, 3.0)]);
    fixture.store(vec![at("1"), at("2"), at("30"), series(&[("__name__", "m")], &[(10, 9.0)])]);
    let found = |matchers: Vec<LabelMatcher>| {
        let answer = read_samples(&fixture, &[query(0, 100, matchers)]).remove(0);
        answer.iter().map(|series| series.labels.get("a").unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(Vec::new()), ["", "1", "2", "30"]);
    assert_eq!(found(vec![matcher(MatchType::Equal, "a", "2")]), ["2"]);
    assert_eq!(found(vec![matcher(MatchType::Equal, "a", "")]), [""]);
    assert_eq!(found(vec![matcher(MatchType::NotEqual, "a", "")]), ["1", "2", "30"]);
    assert_eq!(found(vec![matcher(MatchType::Match, "a", "\\d")]), ["1", "2"]);
    assert_eq!(found(vec![matcher(MatchType::NotMatch, "a", "1|3.*")]), ["", "2"]);

    let mut narrowed = query(0, 100, named("m"));
    narrowed.hinted_ms = Some((15, 25));
    assert!(read_samples(&fixture, &[narrowed.clone()])[0].iter().all(|series| series.samples == [(20, 2.0)]));
    narrowed.function = "series".to_owned();
    let only_labels = read_samples(&fixture, &[narrowed.clone()]).remove(0);
    assert!(only_labels.len() == 3 && only_labels.iter().all(|series| series.samples.is_empty()));
    let only_labels = read_chunks(&fixture, &[narrowed]);
    assert!(only_labels.len() == 3 && only_labels.iter().all(|series| series.chunks.is_empty()));
    fixture.shutdown();
}

/// Blocks and head, several pieces of one series, many series.
#[test]
fn long_and_many_series() {
    let fixture = Fixture::new();
    let value = |at: i64| f64::from_bits((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    let long: Vec<(i64, f64)> = (0..100_000).map(|at| (at * SECOND, value(at))).collect();
    for part in long.chunks(40_000) {
        fixture.store(vec![series(&[("__name__", "long")], part)]);
        fixture.db.flush().expect("a flush");
    }
    let last = (100_000 * SECOND, 1.0);
    fixture.store(vec![series(&[("__name__", "long")], &[last])]);
    let names: Vec<String> = (0..3000).map(|at| format!("{at:04}")).collect();
    fixture.store(names.iter().map(|name| series(&[("__name__", "many"), ("a", name)], &[(1, 1.0)])).collect());

    let all = query(0, i64::MAX, named("long"));
    let want: Vec<_> = bits(&long).into_iter().chain(bits(&[last])).collect();
    let chunks = read_chunks(&fixture, &[all.clone(), query(0, 1, named("many"))]);
    assert_eq!(floats_of(&chunks[0]), want);
    assert_eq!(bits(&read_samples(&fixture, &[all])[0][0].samples), want);
    let read: Vec<&str> = chunks[1..].iter().filter_map(|series| series.labels.get("a")).collect();
    assert_eq!(read, names);
    assert_eq!(fixture.metric("tsq_read_queries_total{form=\"chunks\"}"), 2.0);
    assert_eq!(fixture.metric("tsq_read_series_total"), 3002.0);
    assert_eq!(fixture.metric("tsq_read_samples_total"), 203_002.0);
    fixture.shutdown();
}

#[test]
fn too_many_samples_are_refused_and_chunks_are_not() {
    let fixture = Fixture::with(|config| config.limits.read_samples = 5);
    let samples: Vec<(i64, f64)> = (0..6).map(|at| (at, 1.0)).collect();
    fixture.store(vec![series(&[("__name__", "m")], &samples)]);
    assert_eq!(read_samples(&fixture, &[query(0, 4, named("m"))])[0][0].samples.len(), 5);
    let queries = vec![query(0, 5, named("m"))];
    assert_eq!(floats_of(&read_chunks(&fixture, &queries)[0]).len(), 6);
    let reply = post(&fixture, encode_request(&ReadRequest { queries, accepted: Vec::new() }));
    assert_eq!((reply.status, reply.text()), (StatusCode::BAD_REQUEST, "exceeded sample limit (5)\n"));
    fixture.shutdown();

    let fixture = Fixture::with(|config| config.limits.answer_bytes = 50);
    fixture.store(vec![series(&[("__name__", "m")], &samples)]);
    let queries = vec![query(0, 5, named("m"))];
    let reply = post(&fixture, encode_request(&ReadRequest { queries, accepted: Vec::new() }));
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.text().contains("larger than 50 bytes"), "{}", reply.text());
    fixture.shutdown();
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let fixture = Fixture::new();
    let compressed = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).expect("small");
    let only = |accepted: ResponseType| encode_request(&ReadRequest { queries: Vec::new(), accepted: vec![accepted] });
    let pattern = query(0, 1, vec![matcher(MatchType::Match, "a", "(")]);
    let bad_pattern = encode_request(&ReadRequest { queries: vec![pattern], accepted: Vec::new() });
    for (body, status, text) in [
        (b"hello, this is no snappy".to_vec(), 400, "snappy"),
        (compressed(b"\x0a\xff\x01"), 400, "byte 3: expected 255 more bytes"),
        (only(ResponseType::Unknown(9)), 400, "does not support any of the requested response types"),
        (bad_pattern, 400, "error parsing regexp: missing closing )"),
        (compressed(&vec![0x7a; 2 << 20]), 413, "1048576"),
        (vec![0; 2 << 20], 413, "larger than 1048576 bytes"),
    ] {
        let reply = post(&fixture, body);
        assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
        assert!(reply.text().contains(text), "{text}: {}", reply.text());
    }
    assert_eq!(fixture.metric("tsq_read_failures_total"), 6.0);
    let reply = fixture.send(Method::POST, "/api/v1/read", &[("content-encoding", "zstd")], Vec::new());
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(fixture.get("/api/v1/read").status, StatusCode::METHOD_NOT_ALLOWED);
    // Nothing is asked for.
    assert!(read_samples(&fixture, &[]).is_empty());
    assert!(read_chunks(&fixture, &[]).is_empty());
    fixture.shutdown();
}

/// A client that leaves in the middle of a long answer must not keep its turn.
#[test]
fn readers_that_leave_give_back_their_turn() {
    use std::io::{Read, Write};
    let fixture = Fixture::with(|config| config.limits.reads_running = 1);
    let value = |at: i64| f64::from_bits((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    let samples: Vec<(i64, f64)> = (0..40_000).map(|at| (at * SECOND, value(at))).collect();
    for name in 0..60 {
        fixture.store(vec![series(&[("__name__", "m"), ("a", &name.to_string())], &samples)]);
    }
    let accepted = vec![ResponseType::StreamedChunks];
    let body = encode_request(&ReadRequest { queries: vec![query(0, i64::MAX, named("m"))], accepted });
    for _ in 0..3 {
        let mut connection = fixture.connect();
        write!(connection, "POST /api/v1/read HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len())
            .expect("sent");
        connection.write_all(&body).expect("sent");
        let mut begin = [0; 1000];
        connection.read_exact(&mut begin).expect("the answer begins");
        assert!(begin.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&begin));
        drop(connection);
    }
    assert_eq!(read_chunks(&fixture, &[query(0, 1, named("m"))]).len(), 60);
    fixture.shutdown();
}

#[test]
fn federation() {
    let fixture = Fixture::new();
    let now_ms =
        i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("in range");
    let (recent, old) = (now_ms - 60 * SECOND, now_ms - 3600 * SECOND);
    let mut with_histogram = series(&[("__name__", "h"), ("instance", "i")], &[]);
    with_histogram.histograms = vec![(recent, histogram(3.0))];
    fixture.store(vec![
        series(&[("__name__", "b"), ("Z", "1"), ("job", "x")], &[(recent - 1, 1.0), (recent, 2.5)]),
        series(&[("__name__", "a"), ("instance", "i")], &[(old, 1.0), (recent, 3.0)]),
        series(&[("__name__", "old")], &[(old, 1.0)]),
        series(&[("__name__", "stale")], &[(recent - 1, 1.0), (recent, stale_nan())]),
        series(&[("__name__", "my.name")], &[(recent, 1.0)]),
        with_histogram,
    ]);
    let all = "/federate?match[]=a&match[]=%7B__name__%3D~%22.%2B%22%7D";
    let reply = fixture.get(all);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores"));
    let want = format!(
        "# TYPE a untyped\na{{instance=\"i\"}} 3 {recent}\n\
         # TYPE b untyped\nb{{Z=\"1\",job=\"x\",instance=\"\"}} 2.5 {recent}\n\
         # TYPE my_name untyped\nmy_name{{instance=\"\"}} 1 {recent}\n"
    );
    assert_eq!(reply.text(), want);
    let accept = |value| fixture.send(Method::GET, all, &[("accept", value)], Vec::new());
    let reply = accept("text/plain;version=1.0.0;escaping=allow-utf-8");
    assert!(reply.text().contains("{\"my.name\",instance=\"\"} 1 "), "{}", reply.text());
    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let reply = accept(protobuf);
    assert!(reply.header("content-type").is_some_and(|found| found.starts_with("application/vnd.google.protobuf;")));
    assert!(reply.body.windows(3).any(|bytes| bytes == b"\x0a\x01h"), "the histogram is there");

    assert_eq!(fixture.get("/federate").text(), "");
    let reply = fixture.get("/federate?match[]=up%7B");
    let text = "1:4: parse error: unexpected end of input inside braces\n";
    assert_eq!((reply.status, reply.text()), (StatusCode::BAD_REQUEST, text));
    assert_eq!(fixture.post_form("/federate", "match[]=a").status, StatusCode::METHOD_NOT_ALLOWED);
    fixture.shutdown();
}
