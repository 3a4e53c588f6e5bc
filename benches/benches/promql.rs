//! Queries over 10,000 series of one hour, from a block.

use criterion::{Criterion, criterion_group, criterion_main};
use tsq_core::{Db, Durability, Kind, Labels, Options};
use tsq_promql::{Engine, QueryOptions};

const START_MS: i64 = 1_700_000_000_000;
const MINUTES: i64 = 60;

const QUERIES: [(&str, &str); 10] = [
    ("selective instant", r#"requests_total{instance="host-7",code="200"}"#),
    ("selective rate", r#"rate(requests_total{instance="host-7"}[5m])"#),
    ("count all", "count(requests_total)"),
    ("sum of rates", "sum(rate(requests_total[5m]))"),
    ("sum by", "sum by (code) (rate(requests_total[5m]))"),
    ("top", "topk(10, increase(requests_total[10m]))"),
    ("error ratio", r#"sum(rate(requests_total{code="500"}[5m])) / sum(rate(requests_total[5m]))"#),
    ("average over time", "avg_over_time(requests_total[30m])"),
    ("quantile of series", "quantile(0.95, rate(requests_total[5m]))"),
    ("subquery", "max_over_time(sum(rate(requests_total[5m]))[30m:1m])"),
];

fn database(dir: &tempfile::TempDir) -> Db {
    let options = Options { durability: Durability::Os, background: false, ..Options::default() };
    let db = Db::open(dir.path(), options).expect("an empty directory opens");
    let mut handles = Vec::new();
    for instance in 0..2_500 {
        for code in ["200", "400", "404", "500"] {
            let instance = format!("host-{instance}");
            let pairs = [("__name__", "requests_total"), ("instance", &instance), ("code", code), ("job", "api")];
            let labels = Labels::from_pairs(pairs).expect("good labels");
            handles.push(db.series(Kind::Float, &labels).expect("within limits"));
        }
    }
    let mut batch = db.batch();
    for minute in 0..MINUTES {
        batch.clear();
        for (index, handle) in handles.iter().enumerate() {
            batch.series_handle(handle);
            batch.float(START_MS + minute * 60_000, (minute * (index as i64 % 13 + 1)) as f64);
        }
        db.append(&batch).expect("the batch is taken");
    }
    db.flush().expect("the flush succeeds");
    db
}

fn queries(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = database(&dir);
    let engine = Engine::default();
    let mut group = c.benchmark_group("promql 10k series");
    group.sample_size(10);
    let end = START_MS + (MINUTES - 1) * 60_000;
    for (name, query) in QUERIES {
        let snapshot = db.snapshot().expect("it is open");
        let answer = engine.range(&snapshot, query, end - 30 * 60_000, end, 60_000, &QueryOptions::default());
        let stats = answer.expect("the query is good").stats;
        println!("{name}: {} series, {} samples, {} B of query memory", stats.series, stats.samples, stats.peak_bytes);
        group.bench_function(name, |bencher| {
            bencher.iter(|| engine.range(&snapshot, query, end - 30 * 60_000, end, 60_000, &QueryOptions::default()));
        });
    }
    group.finish();
}

criterion_group!(benches, queries);
criterion_main!(benches);
