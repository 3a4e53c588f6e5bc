//! Prometheus reads from tsq: remote read and federation.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tsq::{Db, Histogram, Kind, Labels, Samples, SourceExt, Span, TimeRange};
use tsq_ingest::remote_read::{
    Encoding, LabelMatcher, MatchType, Query as ReadQuery, ReadRequest, ResponseType, decode_frames, decode_samples,
    encode_request,
};
use tsq_server::ServerConfig;
use tsq_tests::http::{self, Client};
use tsq_tests::process::Process;

use crate::compare;
use crate::process::{Programs, start_prometheus};
use crate::queries::Query;
use crate::recording::{Recording, Tsq, unix_s};

/// Starts a Prometheus that has nothing but what it reads from these servers.
pub(crate) fn start_reader(programs: &Programs, dir: &Path, from: &[SocketAddr]) -> (Process, SocketAddr) {
    let sources: Vec<Value> = from
        .iter()
        .map(|server| json!({ "url": format!("http://{server}/api/v1/read"), "read_recent": true }))
        .collect();
    start_prometheus(programs, dir, |_| json!({ "remote_read": sources }).to_string())
}

/// What the queries of queries.txt are judged with.
pub(crate) struct Judge<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) dir: &'a Path,
    pub(crate) queries: &'a [Query],
    /// The answers of the Prometheus that scraped the data.
    pub(crate) wanted: &'a [Value],
}

impl Judge<'_> {
    /// A Prometheus that reads from tsq answers what the one answered that has the data.
    pub(crate) fn one_server(&self, server: &Tsq, problems: &mut Vec<String>) {
        let (_process, reader) = start_reader(self.programs, &self.dir.join("reads_one"), &[server.address]);
        self.answers("remote read", reader, problems);
        let page = Client::new(server.address).get("/metrics").expect("tsq answers").text();
        let count = |line: &str| page.lines().find_map(|text| text.strip_prefix(line)?.trim().parse::<u64>().ok());
        assert!(
            count("tsq_read_queries_total{form=\"chunks\"}").is_some_and(|count| count as usize > self.queries.len())
        );
    }

    /// The same with two servers, of which neither has everything and both have some.
    pub(crate) fn two_servers(&self, all: &Tsq, end_s: i64, problems: &mut Vec<String>) {
        let start =
            |name: &str| Tsq::start(true, ServerConfig { data: self.dir.join(name), ..ServerConfig::default() });
        let (one, two) = (start("one"), start("two"));
        let series = split(&all.db, 1000 * (end_s - 20), &one.db, &two.db);
        assert!(series.iter().all(|count| *count > 20), "series in the one, in the other, in both: {series:?}");
        let (_process, reader) = start_reader(self.programs, &self.dir.join("reads_two"), &[one.address, two.address]);
        self.answers("remote read of two servers", reader, problems);
        let alone = self.queries.iter().zip(self.wanted).filter(|(query, want)| {
            query.ask(one.address).is_ok_and(|got| compare::difference(want, &got, query.ordered).is_some())
        });
        assert!(alone.count() > self.queries.len() / 2, "one server alone has too much");
    }

    fn answers(&self, name: &str, server: SocketAddr, problems: &mut Vec<String>) {
        let before = problems.len();
        for (query, want) in self.queries.iter().zip(self.wanted) {
            problems.extend(crate::another_answer(name, server, query, want));
        }
        println!("{name}: {} queries, {} differences", self.queries.len(), problems.len() - before);
    }

    /// Prometheus scrapes `/federate`, as text and, for native histograms, as protobuf, and has tsq's newest samples.
    pub(crate) fn federation(&self, server: &Tsq, problems: &mut Vec<String>) {
        let job = |name: &str, protocol: &str, selector: &str| {
            json!({
                "job_name": name, "metrics_path": "/federate", "params": { "match[]": [selector] }, "honor_labels": true,
                "scrape_protocols": [protocol], "static_configs": [{ "targets": [server.address.to_string()] }],
            })
        };
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [
                job("text", "PrometheusText1.0.0", r#"{job=~"app|gone"}"#),
                job("protobuf", "PrometheusProto", r#"{job="prometheus"}"#),
            ],
        });
        let (_process, scraper) = start_prometheus(self.programs, &self.dir.join("scrapes"), |_| config.to_string());
        let up = r#"min_over_time(up{job=~"text|protobuf"}[1m])"#;
        let deadline = Instant::now() + Duration::from_secs(30);
        while instant(scraper, up).is_ok_and(|answer| compare::series_count(&answer) < 2) {
            assert!(Instant::now() < deadline, "Prometheus does not scrape");
            std::thread::sleep(Duration::from_millis(200));
        }
        for selector in [
            r#"{__name__=~"app.*", job="app"}"#,
            r#"{job="gone"}"#,
            r#"{__name__=~"go_.*|process_.*", job="prometheus"}"#,
            r#"prometheus_http_request_duration_seconds{job="prometheus"}"#,
        ] {
            let now = unix_s();
            let [want, got] = [server.address, scraper].map(|from| instant_at(from, selector, now).expect("an answer"));
            println!("federation: {selector}: {} series", compare::series_count(&want));
            assert!(selector.contains("gone") || compare::series_count(&want) > 2, "{selector}");
            problems
                .extend(compare::difference(&want, &got, false).map(|text| format!("federation, {selector}: {text}")));
        }
        let failed = instant(scraper, &format!("{up} < 1")).expect("Prometheus answers");
        assert_eq!(compare::series_count(&failed), 0, "a scrape failed: {failed}");
    }
}

/// Evaluates a query now.
fn instant(server: SocketAddr, query: &str) -> Result<Value, String> {
    instant_at(server, query, unix_s())
}

fn instant_at(server: SocketAddr, query: &str, time_s: i64) -> Result<Value, String> {
    http::json(server, "/api/v1/query", &[("query", query), ("time", &time_s.to_string())])
}

/// Writes all samples to one of two databases or both: a third of the series to each, and of the last third to the one
/// what is older than `middle_ms` and to the other what is newer, both with some seconds more. How many went where.
fn split(all: &Db, middle_ms: i64, one: &Db, two: &Db) -> [usize; 3] {
    const OVERLAP_MS: i64 = 5000;
    let snapshot = all.snapshot().expect("a snapshot");
    let mut series_by_fate = [0; 3];
    let (mut to_one, mut to_two) = (one.batch(), two.batch());
    for series in snapshot.series(r#"{__name__=~".+"}"#, TimeRange::ALL).expect("a selection") {
        let (labels, kind, samples) = series.expect("samples can be read");
        // By the labels alone: floats and histograms of one label set go the same way.
        let fate = labels.as_bytes().iter().map(|byte| usize::from(*byte)).sum::<usize>() % 3;
        series_by_fate[fate] += 1;
        if fate != 1 {
            let until = if fate == 2 { middle_ms + OVERLAP_MS } else { i64::MAX };
            push(&mut to_one, &labels, kind, &samples, |time| time <= until);
        }
        if fate != 0 {
            let from = if fate == 2 { middle_ms - OVERLAP_MS } else { i64::MIN };
            push(&mut to_two, &labels, kind, &samples, |time| time >= from);
        }
    }
    for (db, batch) in [(one, to_one), (two, to_two)] {
        assert_eq!(db.append(&batch).expect("samples can be stored").rejected, 0);
    }
    series_by_fate
}

fn push(batch: &mut tsq::Batch, labels: &Labels, kind: Kind, samples: &Samples, wanted: impl Fn(i64) -> bool) {
    batch.series(kind, labels);
    for (at, &time) in samples.times.iter().enumerate().filter(|(_, time)| wanted(**time)) {
        match kind {
            Kind::Float => batch.float(time, samples.values[at]),
            Kind::Histogram => batch.histogram(time, samples.histograms[at].clone()),
            Kind::Run | Kind::RunHistogram => panic!("Prometheus sends no runs"),
        }
    }
}

/// The samples of a series: bits of floats, and what counts of histograms.
type Read = BTreeMap<Labels, (Vec<(i64, u64)>, Vec<(i64, Shown)>)>;

/// A histogram without what may differ: empty buckets, and what is known about resets.
type Shown = (i8, [u64; 4], [BTreeMap<i64, u64>; 2], Vec<u64>);

/// Both servers answer a request of ours with the same samples, in both forms.
pub(crate) fn same_reads(recording: &Recording, server: &Tsq, problems: &mut Vec<String>) {
    let (from, to) = (1000 * (recording.end_s - 120), 1000 * recording.end_s);
    for form in [ResponseType::Samples, ResponseType::StreamedChunks] {
        // Prometheus loses custom bounds when it sends samples.
        let custom = form == ResponseType::StreamedChunks && server.has_custom_buckets();
        let [want, got] =
            [recording.prometheus, server.address].map(|from_server| read(from_server, form, custom, from, to));
        let samples: usize = want.values().map(|(floats, histograms)| floats.len() + histograms.len()).sum();
        println!("{}, reads as {form:?}: {} series, {samples} samples", server.name, want.len());
        assert!(samples > 10_000 && want.values().any(|(_, histograms)| histograms.len() > 1));
        problems.extend(another(&want, &got).map(|text| format!("{}, reads as {form:?}: {text}", server.name)));
    }
}

fn another(want: &Read, got: &Read) -> Option<String> {
    if !want.keys().eq(got.keys()) {
        let missing = want.keys().find(|labels| !got.contains_key(*labels));
        return Some(format!("{} series, not {}; missing is {missing:?}", got.len(), want.len()));
    }
    let mut pairs = want.iter().zip(got.values());
    pairs.find_map(|((labels, want), got)| (want != got).then(|| format!("{labels}: want {want:?}, got {got:?}")))
}

/// Asks for all samples of a time, those of the job `custom` only if `custom` says so.
fn read(server: SocketAddr, form: ResponseType, custom: bool, from_ms: i64, to_ms: i64) -> Read {
    let matcher = |match_type, name: &str, value: &str| LabelMatcher {
        match_type,
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let mut matchers = vec![matcher(MatchType::Match, "__name__", ".+")];
    if !custom {
        matchers.push(matcher(MatchType::NotEqual, "job", "custom"));
    }
    let query = ReadQuery { start_ms: from_ms, end_ms: to_ms, matchers, ..ReadQuery::default() };
    let body = encode_request(&ReadRequest { queries: vec![query], accepted: vec![form] });
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-read-version", "0.1.0"),
    ];
    let response = Client::new(server).request("POST", "/api/v1/read", &headers, &body).expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    let mut all = Read::new();
    let mut add = |labels: &Labels, floats: &[(i64, f64)], histograms: &[(i64, Histogram)]| {
        let series = all.entry(labels.clone()).or_default();
        // Chunks may hold more than was asked for.
        let wanted = |time: &i64| (from_ms..=to_ms).contains(time);
        series.0.extend(floats.iter().filter(|(time, _)| wanted(time)).map(|(time, value)| (*time, bits(*value))));
        series.1.extend(histograms.iter().filter(|(time, _)| wanted(time)).map(|(time, h)| (*time, shown(h))));
    };
    if form == ResponseType::Samples {
        for series in decode_samples(&response.body, 1 << 30).expect("samples").remove(0) {
            add(&series.labels, &series.samples, &series.histograms);
        }
    } else {
        for series in decode_frames(&response.body).expect("frames") {
            for chunk in &series.chunks {
                let mut samples = Samples::default();
                chunk.decode(&mut samples).expect("a chunk");
                let times = samples.times.iter().copied();
                match chunk.encoding {
                    Encoding::Xor => add(&series.labels, &times.zip(samples.values).collect::<Vec<_>>(), &[]),
                    _ => add(&series.labels, &[], &times.zip(samples.histograms).collect::<Vec<_>>()),
                }
            }
        }
    }
    all.retain(|_, (floats, histograms)| !floats.is_empty() || !histograms.is_empty());
    all
}

/// Prometheus sends -0 as 0 in remote writes and in samples.
fn bits(value: f64) -> u64 {
    if value == 0.0 { 0 } else { value.to_bits() }
}

fn shown(h: &Histogram) -> Shown {
    if h.is_stale() {
        return (0, [0; 4], Default::default(), Vec::new());
    }
    let numbers = [h.count, h.sum, h.zero_count, h.zero_threshold].map(f64::to_bits);
    let bounds = h.custom_values.iter().map(|bound| bound.to_bits()).collect();
    (h.schema, numbers, [filled(&h.positive_spans, &h.positive), filled(&h.negative_spans, &h.negative)], bounds)
}

/// Buckets that are not empty, by their index.
fn filled(spans: &[Span], counts: &[f64]) -> BTreeMap<i64, u64> {
    let mut index = 0;
    let indexes = spans.iter().flat_map(|span| {
        let start = index + i64::from(span.offset);
        index = start + i64::from(span.length);
        start..index
    });
    let indexes: Vec<i64> = indexes.collect();
    let pairs = indexes.into_iter().zip(counts).filter(|(_, count)| **count != 0.0);
    pairs.map(|(index, count)| (index, count.to_bits())).collect()
}
