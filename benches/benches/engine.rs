//! The engine from the outside: append, group commit, recovery, select. A size stands beside each time.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tsq_core::{Batch, Db, Durability, Kind, Labels, Matcher, Options, Samples, SeriesHandle, Source, TimeRange};

const START_MS: i64 = 1_700_000_000_000;

fn open(dir: &tempfile::TempDir, durability: Durability) -> Db {
    let options = Options { durability, background: false, ..Options::default() };
    Db::open(dir.path(), options).expect("an empty directory opens")
}

fn handles(db: &Db, count: usize) -> Vec<SeriesHandle> {
    let handle = |index: usize| {
        let (instance, shard) = (format!("host-{}", index / 20), format!("{}", index % 20));
        let labels = Labels::from_pairs([
            ("__name__", "gpu_utilization_percent"),
            ("instance", instance.as_str()),
            ("gpu", shard.as_str()),
            ("job", "train"),
            ("zone", "eu-1"),
        ]);
        db.series(Kind::Float, &labels.expect("good labels")).expect("within limits")
    };
    (0..count).map(handle).collect()
}

fn fill(batch: &mut Batch, handles: &[SeriesHandle], round: i64) {
    batch.clear();
    for (index, handle) in handles.iter().enumerate() {
        batch.series_handle(handle);
        batch.float(START_MS + round * 15_000, ((index as i64 * 7 + round * 3) % 101) as f64);
    }
}

/// 2,000 samples of 2,000 known series through handles; the sync is left to the system.
fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = open(&dir, Durability::Os);
    let handles = handles(&db, 2_000);
    let mut batch = db.batch();
    let mut round = 0;
    while round < 100 {
        round += 1;
        fill(&mut batch, &handles, round);
        db.append(&batch).expect("the batch is taken");
    }
    let stats = db.stats();
    println!("append: {:.2} B of log a sample", stats.log_bytes as f64 / stats.samples as f64);
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("2000 series, handles, os", |bencher| {
        bencher.iter(|| {
            round += 1;
            fill(&mut batch, &handles, round);
            if round % 2_000 == 0 {
                db.flush().expect("the flush succeeds");
            }
            black_box(db.append(&batch).expect("the batch is taken"));
        });
    });
    group.finish();
}

/// Four writers that each wait for their own durability: how far group commit carries.
fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group commit");
    group.measurement_time(Duration::from_secs(5)).sample_size(10);
    for writers in [1, 4] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let db = open(&dir, Durability::Always);
        let handles = handles(&db, 4 * 500);
        let mut round = 0;
        group.throughput(Throughput::Elements(writers * 500));
        group.bench_function(format!("{writers} writers of 500 samples, always"), |bencher| {
            bencher.iter(|| {
                round += 1;
                std::thread::scope(|scope| {
                    for part in handles.chunks(500).take(writers as usize) {
                        let db = &db;
                        scope.spawn(move || {
                            let mut batch = db.batch();
                            fill(&mut batch, part, round);
                            db.append(&batch).expect("the batch is taken");
                        });
                    }
                });
            });
        });
    }
    group.finish();
}

/// Opening after a crash with one million samples in the log.
fn recovery(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = open(&dir, Durability::Os);
    let handles = handles(&db, 10_000);
    let mut batch = db.batch();
    for round in 0..100 {
        fill(&mut batch, &handles, round);
        db.append(&batch).expect("the batch is taken");
    }
    let log_bytes = db.stats().log_bytes;
    db.close().expect("it closes");
    let mut group = c.benchmark_group("recovery");
    group.throughput(Throughput::Elements(1_000_000)).sample_size(10);
    group.bench_function("replay 1 M samples of 10,000 series", |bencher| {
        bencher.iter_batched(
            || (),
            |()| black_box(Db::open_read_only(dir.path(), Options::default()).expect("it opens")),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    println!("recovery: {log_bytes} B of log");
}

/// Finding 20 of 10,000 series and reading them, from the head and from a block.
fn select(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = open(&dir, Durability::Os);
    let handles = handles(&db, 10_000);
    let mut batch = db.batch();
    for round in 0..120 {
        fill(&mut batch, &handles, round);
        db.append(&batch).expect("the batch is taken");
    }
    let matchers = [Matcher::equal("__name__", "gpu_utilization_percent"), Matcher::equal("instance", "host-77")];
    let read = |db: &Db| {
        let snapshot = db.snapshot().expect("it is open");
        let mut stream = snapshot.select(&matchers, TimeRange::ALL).expect("nothing is damaged");
        let mut samples = Samples::default();
        let mut count = 0;
        for series in stream.next_batch(64).expect("nothing is damaged") {
            series.read(Kind::Float, TimeRange::ALL, &mut samples).expect("nothing is damaged");
            count += samples.len();
        }
        assert_eq!(count, 20 * 120);
    };
    let mut group = c.benchmark_group("select");
    group.throughput(Throughput::Elements(20 * 120));
    group.bench_function("20 of 10,000 series, head", |bencher| bencher.iter(|| read(&db)));
    db.flush().expect("the flush succeeds");
    group.bench_function("20 of 10,000 series, block", |bencher| bencher.iter(|| read(&db)));
    group.finish();
    let stats = db.stats();
    println!("select: {:.2} B of block a sample", stats.block_bytes as f64 / stats.block_samples as f64);
}

criterion_group!(benches, append, group_commit, recovery, select);
criterion_main!(benches);
