//! A million series: aggregations over all of them within 64 MiB of query memory.

use std::time::Duration;

use tsq_core::{Db, Durability, Kind, Labels, Options};
use tsq_promql::{Answer, Engine, EngineOptions, QueryOptions, Value};

const SERIES: usize = 1_000_000;
const QUERY_BYTES: u64 = 64 << 20;
const START_MS: i64 = 1_700_000_000_000;
const SAMPLES: i64 = 4;

/// Counters that rise by one a second, a sample a minute.
fn million(dir: &tempfile::TempDir) -> Db {
    let options = Options { durability: Durability::Os, background: false, ..Options::default() };
    let db = Db::open(dir.path(), options).expect("an empty directory opens");
    let mut batch = db.batch();
    for part in 0..SERIES / 10_000 {
        batch.clear();
        for series in part * 10_000..(part + 1) * 10_000 {
            let series = series.to_string();
            let pairs = [("__name__", "x_total"), ("group", &series[series.len() - 1..]), ("series", &series)];
            batch.series(Kind::Float, &Labels::from_pairs(pairs).expect("good labels"));
            (0..SAMPLES).for_each(|sample| batch.float(START_MS + sample * 60_000, (sample * 60) as f64));
        }
        let appended = db.append(&batch).expect("the batch is taken");
        assert_eq!(appended.rejected, 0, "{:?}", appended.rejections);
    }
    db
}

/// Evaluates at 60 steps, 5 s apart, the last of them a minute after the last sample.
fn evaluate(engine: &Engine, db: &Db, query: &str) -> Answer {
    let snapshot = db.snapshot().expect("it is open");
    let end_ms = START_MS + SAMPLES * 60_000;
    let answer = engine.range(&snapshot, query, end_ms - 59 * 5_000, end_ms, 5_000, &QueryOptions::default());
    let answer = answer.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    println!("{query}: at most {} bytes", answer.stats.peak_bytes);
    assert!(answer.stats.peak_bytes <= QUERY_BYTES, "{query} is charged with {} bytes", answer.stats.peak_bytes);
    answer
}

/// Number of series, and the value at the last step of the first one.
fn shape(answer: &Answer) -> (usize, f64) {
    let Value::Matrix(series) = &answer.value else { panic!("a range query gives a matrix") };
    (series.len(), series.first().and_then(|first| first.floats.last()).map_or(f64::NAN, |last| last.1))
}

#[test]
fn aggregations_over_a_million_series_stay_within_64_mib() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = million(&dir);
    let options =
        EngineOptions { query_bytes: QUERY_BYTES, timeout: Duration::from_secs(600), ..EngineOptions::default() };
    let engine = Engine::new(options);
    let all = SERIES as f64;
    for place in ["head", "block"] {
        assert_eq!(shape(&evaluate(&engine, &db, "count(x_total)")), (1, all), "in the {place}");
        let (series, rate) = shape(&evaluate(&engine, &db, "sum(rate(x_total[5m]))"));
        // One a second from the first sample, which is zero, to the end of the range: 240 of its 300 seconds.
        assert!(series == 1 && (rate / all - 0.8).abs() < 1e-9, "{rate} in the {place}");
        db.flush().expect("the flush succeeds");
    }
    assert_eq!(shape(&evaluate(&engine, &db, "topk by (group) (3, x_total)")), (30, 180.0));
    assert_eq!(shape(&evaluate(&engine, &db, "limitk(5, x_total)")), (5, 180.0));
}
