//! A real, unmodified Prometheus scrapes itself and a Python application and remote-writes to tsq; after that tsq holds
//! the same samples, exemplars and metadata, and answers the same queries (queries.txt) alike. After that Prometheus reads:
//! one without data of its own answers the queries from tsq by remote read, from one server and from two that hold a part
//! each, and one scrapes tsq's `/federate`.
//!
//! Needs the environment variables `TSQ_TEST_PROMETHEUS` (a Prometheus 3) and `TSQ_TEST_PYTHON` (a Python that has
//! `prometheus_client`). Without them it says so and passes, unless `TSQ_TEST_REQUIRE` is 1.

mod any_samples;
mod compare;
mod process;
mod queries;
mod reading;
mod recording;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use process::Programs;
use queries::Query;
use recording::{Recording, Tsq, all_samples};
use serde_json::Value;
use tsq_tests::http;

/// Queries that have to be there, and those of them that have to return several series.
const QUERIES_MIN: usize = 30;
const SEVERAL_MIN: usize = 10;

#[test]
fn tsq_answers_what_prometheus_answers() {
    let Some(programs) = Programs::find() else { return };
    let recording = Recording::make(&programs);
    let mut problems = Vec::new();
    let queries = queries::parse(include_str!("queries.txt"), recording.end_s);
    let wanted = ask_prometheus(&recording, &queries);
    for server in [&recording.v1, &recording.v2] {
        same_samples(&recording, server, &mut problems);
        same_answers(server, &queries, &wanted, &mut problems);
        same_exemplars(&recording, server, &mut problems);
        same_series(&recording, server, &mut problems);
        same_metadata(&recording, server, &mut problems);
        reading::same_reads(&recording, server, &mut problems);
    }
    assert_none(&problems);
    let stats = recording.v2.db.stats();
    assert!(stats.flushes > 1 && stats.blocks > 0, "the queries were to read blocks too: {stats:?}");

    let end_s = recording.end_s;
    let (v1, v2, dir) = recording.restart_servers();
    for server in [&v1, &v2] {
        same_answers(server, &queries, &wanted, &mut problems);
    }
    let judge = reading::Judge { programs: &programs, dir: dir.path(), queries: &queries, wanted: &wanted };
    judge.one_server(&v2, &mut problems);
    judge.two_servers(&v2, end_s, &mut problems);
    judge.federation(&v2, &mut problems);
    assert_none(&problems);
}

#[test]
fn a_prometheus_reads_any_samples() {
    let Some(programs) = Programs::find() else { return };
    assert_none(&any_samples::problems(&programs));
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} differences:\n{}", problems.len(), problems.join("\n"));
}

/// What Prometheus answers to each query: at least one series, and often several.
fn ask_prometheus(recording: &Recording, queries: &[Query]) -> Vec<Value> {
    let ask = |query: &Query| {
        let answer = query.ask(recording.prometheus);
        let answer = answer.unwrap_or_else(|error| panic!("queries.txt:{} {}: {error}", query.line, query.text));
        assert_ne!(compare::series_count(&answer), 0, "queries.txt:{} {}: no series", query.line, query.text);
        answer
    };
    let answers: Vec<Value> = queries.iter().map(ask).collect();
    let several = answers.iter().filter(|answer| compare::series_count(answer) > 1).count();
    assert!(answers.len() >= QUERIES_MIN && several >= SEVERAL_MIN, "{several} of {} return several", answers.len());
    println!("{} queries, {several} of them with several series", answers.len());
    answers
}

/// Asks tsq what Prometheus was asked.
fn same_answers(server: &Tsq, queries: &[Query], wanted: &[Value], problems: &mut Vec<String>) {
    let asked = queries.iter().zip(wanted).filter(|(query, _)| !query.only_v2 || server.has_custom_buckets());
    for (query, want) in asked {
        problems.extend(another_answer(server.name, server.address, query, want));
    }
}

/// How a server's answer to a query is not what is wanted.
fn another_answer(name: &str, server: SocketAddr, query: &Query, want: &Value) -> Option<String> {
    let difference = match query.ask(server) {
        Ok(got) => compare::difference(want, &got, query.ordered)?,
        Err(error) => error,
    };
    Some(format!("{name}, queries.txt:{} {}\n    {difference}", query.line, query.text))
}

/// Both hold the same samples, every one of them.
fn same_samples(recording: &Recording, server: &Tsq, problems: &mut Vec<String>) {
    let all = |from: SocketAddr| all_samples(from, recording.end_s).expect("all samples can be read");
    let (mut want, got) = (all(recording.prometheus), all(server.address));
    let series = want["data"]["result"].as_array_mut().expect("a matrix");
    series.retain(|series| series["metric"]["job"] != "custom" || server.has_custom_buckets());
    let count = |key: &str| series.iter().filter_map(|series| series[key].as_array()).map(Vec::len).sum::<usize>();
    let (floats, histograms) = (count("values"), count("histograms"));
    println!("{}: {} series, {floats} floats, {histograms} histograms", server.name, series.len());
    assert!(floats > 10_000 && histograms > 100, "the recording is too small");
    if let Some(difference) = compare::difference(&want, &got, false) {
        problems.push(format!("{}, samples: {difference}", server.name));
    }
}

/// The exemplars of counters and of histogram buckets arrive.
fn same_exemplars(recording: &Recording, server: &Tsq, problems: &mut Vec<String>) {
    for metric in ["app_requests_total", "app_latency_seconds_bucket"] {
        let query = format!("rate({metric}{{job=~\"app|gone\"}}[1m])");
        let (start, end) = ((recording.end_s - 120).to_string(), recording.end_s.to_string());
        let params = [("query", query.as_str()), ("start", &start), ("end", &end)];
        let ask = |from| exemplars(&http::data(from, "/api/v1/query_exemplars", &params).expect("exemplars"));
        let (want, got) = (ask(recording.prometheus), ask(server.address));
        assert!(want.len() >= 4, "{} series of {metric} have exemplars", want.len());
        if want != got {
            problems.push(format!("{}, exemplars: want {want:#?}, got {got:#?}", server.name));
        }
    }
}

/// Exemplars as texts, by series.
fn exemplars(answer: &Value) -> BTreeMap<String, Vec<String>> {
    let series = answer.as_array().expect("a list of series").iter();
    let texts = |series: &Value| series["exemplars"].as_array().expect("a list").iter().map(Value::to_string).collect();
    series.map(|series| (format!("{:?}", tsq_tests::answers::labels(&series["seriesLabels"])), texts(series))).collect()
}

/// Series, label names and label values are listed alike.
fn same_series(recording: &Recording, server: &Tsq, problems: &mut Vec<String>) {
    let matcher = r#"{job="app", __name__=~"app[._](odd|special|temp.*|cache.*|device_info)"}"#;
    let (start, end) = ((recording.end_s - 20).to_string(), recording.end_s.to_string());
    let params = [("match[]", matcher), ("start", start.as_str()), ("end", &end)];
    for path in ["/api/v1/series", "/api/v1/labels", "/api/v1/label/device/values", "/api/v1/label/text/values"] {
        let ask = |from| sorted(&http::data(from, path, &params).expect("a list"));
        let (want, got) = (ask(recording.prometheus), ask(server.address));
        assert!(want.len() >= 4, "{path}: {want:?}");
        if want != got {
            problems.push(format!("{}, {path}: want {want:?}, got {got:?}", server.name));
        }
    }
}

fn sorted(list: &Value) -> Vec<String> {
    let mut texts: Vec<String> = list.as_array().expect("a list").iter().map(Value::to_string).collect();
    texts.sort();
    texts
}

/// Type, help and unit of the app's metrics arrive.
fn same_metadata(recording: &Recording, server: &Tsq, problems: &mut Vec<String>) {
    let ask = |from| http::data(from, "/api/v1/metadata", &[]).expect("metadata");
    let (want, got) = (ask(recording.prometheus), ask(server.address));
    let app = want.as_object().expect("an object by metric").iter().filter(|(name, _)| name.starts_with("app"));
    let mut count = 0;
    for (name, metadata) in app {
        count += 1;
        let found = &got[server.metadata_name(name, &metadata[0]["type"])];
        if found != metadata {
            problems.push(format!("{}, metadata of {name}: want {metadata}, got {found}", server.name));
        }
    }
    assert!(count >= 12, "{count} metrics of the app have metadata");
}
