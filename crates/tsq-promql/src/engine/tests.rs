use tsq_core::{Db, Kind, Labels, Options, Snapshot};

use super::*;
use crate::answer::{SampleValue, Value};

/// A new database and the directory that it needs while it is written to.
fn empty() -> (tempfile::TempDir, Db) {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(directory.path(), Options { background: false, ..Options::default() }).unwrap();
    (directory, db)
}

/// Ten series of counters, a sample every 10 s for 10 min.
fn counters() -> Snapshot {
    let (_directory, db) = empty();
    let mut batch = db.batch();
    for instance in 0..10 {
        let instance_name = instance.to_string();
        let labels = [("__name__", "requests_total"), ("instance", instance_name.as_str()), ("job", "api")];
        batch.series(Kind::Float, &Labels::from_pairs(labels).unwrap());
        for at in 0..60 {
            batch.float(at * 10_000, (at * (instance + 1)) as f64);
        }
    }
    db.append(&batch).unwrap();
    db.snapshot().unwrap()
}

fn options() -> EngineOptions {
    EngineOptions { threads: 1, ..EngineOptions::default() }
}

fn error_of(result: Result<Answer, QueryError>) -> (QueryErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind, error.message)
}

#[test]
fn rates_are_summed_over_series() {
    let source = counters();
    let answer = Engine::new(options())
        .range(&source, "sum by (job) (rate(requests_total[1m]))", 120_000, 180_000, 30_000, &QueryOptions::default())
        .unwrap();
    let Value::Matrix(series) = answer.value else { panic!("a range query gives a matrix") };
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].labels.to_string(), r#"{job="api"}"#);
    assert_eq!(series[0].floats, [(120_000, 5.5), (150_000, 5.5), (180_000, 5.5)]);
    assert_eq!((answer.stats.series, answer.warnings.len(), answer.infos.len()), (10, 0, 0));
}

#[test]
fn run_samples_of_one_time_count_with_the_last() {
    let (_directory, db) = empty();
    let mut batch = db.batch();
    batch.series(Kind::Run, &Labels::from_pairs([("__name__", "loss"), ("run_id", "a")]).unwrap());
    batch.run(1000, 1, 5.0);
    batch.run(1000, 2, 4.0);
    batch.run(2000, 3, 3.0);
    db.append(&batch).unwrap();
    let source = db.snapshot().unwrap();
    let value = |text: &str, time_ms| {
        let answer = Engine::new(options()).instant(&source, text, time_ms, &QueryOptions::default()).unwrap();
        match answer.value {
            Value::Vector(elements) => elements[0].value.clone(),
            other => panic!("expected a vector, got {other:?}"),
        }
    };
    assert_eq!(value("loss", 1500), SampleValue::Float(4.0));
    assert_eq!(value("sum_over_time(loss[10s])", 2000), SampleValue::Float(7.0));
}

#[test]
fn threads_do_not_change_answers() {
    let source = counters();
    let ask = |threads| {
        let engine = Engine::new(EngineOptions { threads, ..options() });
        let text = "avg_over_time(requests_total[2m]) / on (instance) group_left requests_total";
        let answer = engine.range(&source, text, 0, 600_000, 1000, &QueryOptions::default()).unwrap();
        format!("{:?}", answer.value)
    };
    assert_eq!(ask(1), ask(4));
}

/// Counters with a restart, gauges with gaps and staleness markers, native and classic histograms, mixes of kinds.
fn everything() -> Snapshot {
    let (_directory, db) = empty();
    let mut batch = db.batch();
    let labels = |name: &str, more: &[(&str, &str)]| {
        Labels::from_pairs(more.iter().copied().chain([("__name__", name), ("job", "api")])).unwrap()
    };
    for (pod, speed) in [("a", 3), ("b", 7), ("c", 20)] {
        batch.series(Kind::Float, &labels("requests_total", &[("pod", pod)]));
        for at in 0..120 {
            let value = if pod == "b" { at % 50 } else { at };
            batch.float(at * 15_000 + speed, (value * speed) as f64);
        }
        batch.series(Kind::Float, &labels("depth", &[("pod", pod)]));
        for at in (0..120).filter(|at| (at * speed) % 11 < 8) {
            let value = if at % 37 == 36 { tsq_core::stale_nan() } else { ((at * at * speed) % 17) as f64 - 8.0 };
            batch.float(at * 15_000, value);
        }
        for (le, share) in [("0.1", 1), ("1", 3), ("+Inf", 4)] {
            batch.series(Kind::Float, &labels("seconds_bucket", &[("pod", pod), ("le", le)]));
            (0..120).for_each(|at| batch.float(at * 15_000, (at * share * speed) as f64));
        }
        batch.series(Kind::Histogram, &labels("seconds", &[("pod", pod)]));
        for at in 0..120 {
            let counts = [at % 40 + 1, (at % 40) * speed + 2].map(|count| count as f64);
            let histogram = tsq_core::Histogram {
                count: counts.iter().sum(),
                sum: at as f64,
                positive_spans: vec![tsq_core::Span { offset: 1, length: 2 }],
                positive: counts.to_vec(),
                ..tsq_core::Histogram::default()
            };
            batch.histogram(at * 15_000, histogram);
        }
    }
    batch.series(Kind::Float, &labels("mixed", &[]));
    (0..60).for_each(|at| batch.float(at * 30_000, at as f64));
    batch.series(Kind::Histogram, &labels("mixed", &[]));
    (0..60).for_each(|at| batch.histogram(at * 30_000 + 15_000, tsq_core::Histogram::default()));
    db.append(&batch).unwrap();
    db.snapshot().unwrap()
}

const QUERIES: &[&str] = &[
    "depth",
    "requests_total offset 1m",
    "depth @ 300",
    "-depth + 1",
    "rate(requests_total[2m])",
    "irate(requests_total[1m] offset 30s)",
    "increase(requests_total[90s] offset 2m)",
    "delta(depth[3m]) or changes(depth[3m])",
    "deriv(depth[4m]) > 0",
    "predict_linear(depth[4m] offset 1m, 60)",
    "increase(requests_total[2m] anchored)",
    "rate(requests_total[2m] smoothed)",
    "depth smoothed",
    "sum(rate(requests_total[2m])) by (job)",
    "avg without (pod) (depth)",
    "stddev(depth) / count(depth)",
    "quantile(0.3, depth)",
    "min(depth) - max(depth)",
    "group by (pod) (depth)",
    "count_values(\"v\", depth)",
    "sum(topk(2, depth))",
    "bottomk by (job) (1, requests_total)",
    "limitk(2, depth)",
    "requests_total * on (pod) group_left depth",
    "depth > bool on (pod) requests_total",
    "depth == depth and depth < 3",
    "depth unless depth > 0",
    "depth + fill(1) (depth > 2)",
    "max_over_time(sum(depth)[3m:20s])",
    "sum_over_time(depth[5m:1m] @ 600)",
    "avg_over_time(rate(requests_total[1m])[4m:30s] offset 1m)",
    "quantile_over_time(0.5, depth[5m])",
    // Over windows that overlap, deviations may differ in the last digit.
    "round(stdvar_over_time(depth[5m]), 1e-12) + mad_over_time(depth[5m])",
    "absent(depth > 6)",
    "absent_over_time(depth{pod=\"a\"}[20s])",
    "scalar(sum(depth)) + vector(time())",
    "timestamp(depth)",
    "minute(vector(time())) + day_of_year()",
    "clamp(depth, -2, scalar(sum(depth > 0)))",
    "round(depth / 3, 0.5) ^ 2 % 5",
    "label_join(depth, \"both\", \"-\", \"job\", \"pod\")",
    "histogram_quantile(0.9, rate(seconds_bucket[2m]))",
    "histogram_quantile(0.9, rate(seconds[2m]))",
    "histogram_fraction(0, 2, sum(rate(seconds[2m])))",
    "histogram_quantiles(seconds, \"q\", 0.1, 0.9)",
    "histogram_avg(avg(seconds))",
    "sum_over_time(seconds[1m]) - seconds",
    "last_over_time(mixed[1m])",
    "mixed * 2",
    "sum(mixed)",
    "resets(requests_total[10m]) + ts_of_max_over_time(depth[5m])",
];

/// The samples at each time: all that a range query may say, it says at each step as an instant query does.
#[test]
fn a_range_query_is_an_instant_query_at_each_step() {
    let source = everything();
    let engine = Engine::new(options());
    let query = QueryOptions::default();
    let (start, step, count) = (405_000, 37_000, 25);
    for text in QUERIES {
        let mut want = Vec::new();
        for at in 0..count {
            let answer = engine.instant(&source, text, start + at * step, &query).unwrap();
            let Value::Vector(elements) = answer.value else { panic!("{text} is a vector") };
            want.extend(elements.iter().map(|e| format!("{} {} {:?}", e.labels, e.time_ms, e.value)));
        }
        let answer = engine.range(&source, text, start, start + (count - 1) * step, step, &query).unwrap();
        let Value::Matrix(series) = answer.value else { panic!("a range query gives a matrix") };
        let mut got = Vec::new();
        for series in &series {
            let floats = series.floats.iter().map(|&(time, value)| (time, SampleValue::Float(value)));
            let histograms =
                series.histograms.iter().map(|(time, value)| (*time, SampleValue::Histogram(Box::new(value.clone()))));
            let samples = floats.chain(histograms);
            got.extend(samples.map(|(time, value)| format!("{} {time} {value:?}", series.labels)));
        }
        want.sort();
        got.sort();
        assert_eq!(want, got, "{text}");
        assert!(!got.is_empty() || *text == "sum(mixed)", "{text} gives something");
    }
}

#[test]
fn too_much_memory_is_an_error_and_is_given_back() {
    let engine = Engine::new(EngineOptions { query_bytes: 20_000, ..options() });
    let source = counters();
    let run = |text: &str| engine.range(&source, text, 0, 600_000, 1000, &QueryOptions::default());
    let (kind, message) = error_of(run("requests_total"));
    assert_eq!(kind, QueryErrorKind::Execution);
    assert!(message.starts_with("query processing would load too many samples into memory"), "{message}");
    assert!(message.contains("20000 bytes"), "{message}");
    assert!(run("sum(vector(1))").is_ok());
}

#[test]
fn subqueries_of_absurd_size_are_refused() {
    let engine = Engine::new(options());
    let source = counters();
    for inner in [
        "vector(1)",
        "vector(time())",
        "absent(up)",
        "absent_over_time(up[1m])",
        "requests_total",
        "rate(requests_total[1m])",
        "sum(requests_total)",
        "requests_total @ 100",
        "hour()",
        "vector(scalar(requests_total))",
        "requests_total or vector(1)",
        "start_timestamp(requests_total)",
        "info(requests_total)",
        "topk(scalar(vector(1)), requests_total)",
    ] {
        let text = format!("max_over_time(({inner})[290y:1ms])");
        let (kind, message) = error_of(engine.instant(&source, &text, 0, &QueryOptions::default()));
        assert_eq!(kind, QueryErrorKind::Execution, "{text}: {message}");
        assert!(message.starts_with("query processing would load too many samples"), "{text}: {message}");
    }
}

#[test]
fn aggregation_needs_memory_of_its_groups_only() {
    let engine = Engine::new(options());
    let source = counters();
    let peak = |text: &str| {
        let answer = engine.range(&source, text, 0, 600_000, 1000, &QueryOptions::default()).unwrap();
        answer.stats.peak_bytes
    };
    assert!(peak("sum(requests_total)") < 2 * peak("requests_total"));
}

/// 500 classic histograms of 8 buckets, with labels in front of `le` and behind it.
fn classic_histograms() -> Snapshot {
    let (_directory, db) = empty();
    let mut batch = db.batch();
    for instance in 0..500 {
        let instance = format!("instance-{instance}");
        for le in ["0.1", "0.2", "0.5", "1", "2", "5", "10", "+Inf"] {
            let labels = [("__name__", "seconds_bucket"), ("instance", instance.as_str()), ("le", le), ("path", "/")];
            batch.series(Kind::Float, &Labels::from_pairs(labels).unwrap());
            (0..10).for_each(|at| batch.float(at * 60_000, (at * 8) as f64));
        }
    }
    db.append(&batch).unwrap();
    db.snapshot().unwrap()
}

#[test]
fn what_chooses_or_groups_series_holds_no_more_than_it_needs() {
    let engine = Engine::new(EngineOptions { query_bytes: 1 << 20, ..options() });
    let source = classic_histograms();
    let run = |text: &str| engine.range(&source, text, 60_000, 540_000, 2_000, &QueryOptions::default());
    // 4,000 series of 241 steps take 8 MiB.
    assert_eq!(error_of(run("seconds_bucket")).0, QueryErrorKind::Execution);
    assert_eq!(error_of(run("quantile(0.5, seconds_bucket)")).0, QueryErrorKind::Execution);
    for (text, series) in [
        ("topk(3, seconds_bucket)", 3),
        ("count(bottomk by (path) (3, seconds_bucket))", 1),
        ("limitk(3, seconds_bucket)", 3),
        ("count(limit_ratio(0.5, seconds_bucket))", 1),
        ("sum by (le) (rate(seconds_bucket[5m]))", 8),
        ("count(histogram_quantile(0.9, rate(seconds_bucket[5m])))", 1),
    ] {
        let answer = run(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let Value::Matrix(found) = answer.value else { panic!("a range query gives a matrix") };
        assert_eq!(found.len(), series, "{text}");
    }
}

#[test]
fn histograms_are_complete_whichever_labels_surround_le() {
    let (_directory, db) = empty();
    let mut batch = db.batch();
    // In label order, `{a="1"}` with and without `b` come before and behind those that have both.
    for labels in [&[("a", "1")][..], &[("a", "1"), ("b", "1")], &[("a", "1"), ("z", "1")], &[("z", "1")], &[]] {
        for (le, count) in [("1", 1.0), ("2", 3.0), ("+Inf", 4.0)] {
            let pairs = labels.iter().copied().chain([("__name__", "h"), ("le", le)]);
            batch.series(Kind::Float, &Labels::from_pairs(pairs).unwrap());
            batch.float(0, count);
        }
    }
    db.append(&batch).unwrap();
    let source = db.snapshot().unwrap();
    let engine = Engine::new(options());
    let answer = engine.instant(&source, "histogram_quantile(0.5, h)", 0, &QueryOptions::default()).unwrap();
    let Value::Vector(elements) = answer.value else { panic!("it is a vector") };
    assert_eq!(elements.len(), 5);
    assert!(elements.iter().all(|element| element.value == SampleValue::Float(1.5)), "{elements:?}");
}

/// One series whose windows hold ten billion points all in all: a client that left held a worker for two minutes.
#[test]
fn a_single_series_with_long_windows_stops_in_time() {
    let (engine, source) = (Engine::new(options()), counters());
    let options = QueryOptions { timeout: Some(Duration::from_millis(50)), ..QueryOptions::default() };
    let started = Instant::now();
    let query = "quantile_over_time(0.5, vector(time())[1d:1s])";
    let (kind, _) = error_of(engine.range(&source, query, 0, 1_100_000_000, 100_000, &options));
    assert_eq!(kind, QueryErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn canceled_and_late_queries_stop() {
    let engine = Engine::new(options());
    let source = counters();
    let canceled = QueryOptions::default();
    canceled.cancel.cancel();
    let (kind, message) = error_of(engine.instant(&source, "requests_total", 0, &canceled));
    assert_eq!((kind, message.as_str()), (QueryErrorKind::Canceled, "query was canceled in expression evaluation"));
    let late = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
    let (kind, message) = error_of(engine.instant(&source, "requests_total", 0, &late));
    assert_eq!((kind, message.as_str()), (QueryErrorKind::Timeout, "query timed out in expression evaluation"));
}

#[test]
fn bad_parameters_are_refused_with_the_texts_of_prometheus() {
    let engine = Engine::new(EngineOptions { text_bytes: 100, ..options() });
    let source = counters();
    let ask = |text: &str, start, end, step| {
        let (kind, message) = error_of(engine.range(&source, text, start, end, step, &QueryOptions::default()));
        assert_eq!(kind, QueryErrorKind::BadData, "{message}");
        message
    };
    assert_eq!(
        ask("up", 0, 11_001, 1),
        "exceeded maximum resolution of 11,000 points per timeseries. \
         Try decreasing the query resolution (?step=XX)"
    );
    assert!(ask("up", 0, 1, 0).starts_with("zero or negative query resolution step widths are not accepted"));
    assert_eq!(ask("up", 1, 0, 1), "end timestamp must not be before start time");
    assert_eq!(ask(&"1+".repeat(60), 0, 1, 1), "the query has 120 bytes; at most 100 are allowed");
    assert_eq!(
        ask("up[5m]", 0, 1, 1),
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
    assert!(ask("\"text\"", 0, 1, 1).contains("\"string\" for range query"));
    assert_eq!(ask("up[5m:0s]", 0, 1, 1), "1:7: parse error: duration must be greater than 0");
}

#[test]
fn extreme_times_and_ranges_do_no_harm() {
    let engine = Engine::new(options());
    let source = counters();
    for text in [
        "rate(requests_total[290y])",
        "requests_total offset 290y",
        "requests_total offset -290y",
        "requests_total @ -9223372036854775",
        "max_over_time(time()[1s:1ms])",
        "requests_total[5m] offset -290y",
        "topk(1e18, requests_total)",
        "timestamp(requests_total @ 9223372036854775)",
        "year(vector(1e300)) + hour(vector(-Inf))",
    ] {
        for time_ms in [i64::MIN, 0, i64::MAX] {
            drop(engine.instant(&source, text, time_ms, &QueryOptions::default()));
        }
    }
    let wide = engine.range(&source, "up", i64::MIN, i64::MAX, i64::MAX, &QueryOptions::default());
    assert!(wide.is_ok());
}

#[test]
fn a_query_is_explained_part_by_part() {
    let (engine, source) = (Engine::new(options()), counters());
    let explained = QueryOptions { explain: true, ..QueryOptions::default() };
    let text =
        "sum by (job) (rate(requests_total[1m])) / on (job) group_left () (count by (job) (requests_total @ 60))";
    let answer = engine.range(&source, text, 120_000, 180_000, 30_000, &explained).unwrap();
    let plain = engine.range(&source, text, 120_000, 180_000, 30_000, &QueryOptions::default()).unwrap();
    assert_eq!((&answer.value, answer.stats.samples), (&plain.value, plain.stats.samples));
    assert_eq!(plain.explain, None);
    let explain = answer.explain.unwrap();
    let tree: Vec<_> = explain
        .parts
        .iter()
        .map(|part| (part.depth, part.operator.as_str(), part.steps, part.series, part.samples))
        .collect();
    assert_eq!(
        tree,
        [
            (0, "/ on (job) group_left ()", 3, 1, 0),
            (1, "sum by (job)", 3, 1, 0),
            (2, "rate", 3, 10, 0),
            (3, "requests_total[1m]", 3, 10, 120),
            (1, "count by (job)", 1, 1, 0),
            (2, "requests_total @ 60.000", 1, 10, 70),
        ]
    );
    assert_eq!(explain.parts.iter().map(|part| part.samples).sum::<u64>(), answer.stats.samples);
    assert_eq!(&text[explain.parts[3].range.start..explain.parts[3].range.end], "requests_total[1m]");
    let times: Vec<_> = explain.parts.iter().map(|part| part.self_time).collect();
    assert!(times.iter().sum::<Duration>() <= explain.time, "{times:?} of {:?}", explain.time);
    assert_eq!(explain.parts[0].peak_bytes, answer.stats.peak_bytes);
    for (text, want) in [
        ("1 + time()", &[][..]),
        ("vector(1)", &["vector"]),
        ("scalar(requests_total) + 1", &["scalar", "requests_total"]),
        ("max_over_time((-requests_total)[1m:10s])", &["max_over_time", "[1m:10s]", "-", "requests_total"]),
    ] {
        let parts = engine.instant(&source, text, 60_000, &explained).unwrap().explain.unwrap().parts;
        assert_eq!(parts.iter().map(|part| part.operator.as_str()).collect::<Vec<_>>(), want, "{text}");
    }
}

/// Bytes are those of chunks in blocks; what lies in the head has none.
#[test]
fn explaining_counts_chunks_and_their_bytes() {
    let (_directory, db) = empty();
    let labels = Labels::from_pairs([("__name__", "loss")]).unwrap();
    let mut batch = db.batch();
    batch.series(Kind::Float, &labels);
    (0..500).for_each(|at| batch.float(at * 1000, (at as f64).sin()));
    db.append(&batch).unwrap();
    db.flush().unwrap();
    let mut batch = db.batch();
    batch.series(Kind::Float, &labels);
    (500..600).for_each(|at| batch.float(at * 1000, (at as f64).sin()));
    db.append(&batch).unwrap();
    let explained = QueryOptions { explain: true, ..QueryOptions::default() };
    let source = db.snapshot().unwrap();
    let answer = Engine::new(options()).instant(&source, "max_over_time(loss[1h])", 599_000, &explained).unwrap();
    let part = answer.explain.unwrap().parts[1].clone();
    assert_eq!((part.samples, part.head_samples), (600, 100));
    assert!(part.chunks > 0 && (500..500 * 16).contains(&part.chunk_bytes), "{part:?}");
}
