//! A small database with everything that is ever on disk, and everything it answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tsq::promql::{Engine, QueryOptions};
use tsq_core::{
    Batch, Db, Error, Exemplar, Histogram, Kind, Labels, Limits, Matcher, Metadata, Options, ReadMode, Result, Samples,
    SimDisk, Source, Span, TimeRange,
};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) const DIR: &str = "/db";

pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// Evaluated at the end of the data, over all kinds and places of samples.
const QUERIES: [&str; 4] = [
    "sum by (job) (rate(requests_total[10m]))",
    "requests_total[1h]",
    "histogram_quantile(0.9, latency_seconds)",
    "last_over_time(late[100d]) or absent(nothing)",
];

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 2 << 10,
        low_space_bytes: Some(0),
        background: false,
        shards: 4,
        flush_interval: Duration::MAX,
        limits: Limits { future: None, ..Limits::default() },
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk) -> Result<Db> {
    Db::builder().disk(disk.clone()).seed(7).open(DIR, options())
}

/// Without maps, so that both ways of reading are tested.
pub(crate) fn open_read_only(disk: &SimDisk) -> Result<Db> {
    let options = Options { read_mode: ReadMode::Pread, ..options() };
    Db::builder().disk(disk.clone()).seed(7).open_read_only(DIR, options)
}

/// All four kinds, metadata and exemplars in blocks of two levels and in a log of several segments; closed.
pub(crate) fn build() -> SimDisk {
    let (disk, db) = build_open();
    db.close().expect("the database closes");
    disk
}

/// The same with everything in blocks and a log that holds nothing.
pub(crate) fn build_flushed() -> SimDisk {
    let (disk, db) = build_open();
    db.flush().expect("the flush succeeds");
    db.close().expect("the database closes");
    disk
}

fn build_open() -> (SimDisk, Db) {
    let disk = SimDisk::new();
    let mut db = open(&disk).expect("the database opens");
    for number in 0..70_u64 {
        let appended = db.append(&batch(&db, number)).expect("the batch is taken");
        assert_eq!(appended.rejected, 0, "{:?}", appended.rejections);
        match number {
            10 | 20 | 40 => db.flush().expect("the flush succeeds"),
            30 => db.compact().expect("the compaction succeeds"),
            35 | 48 => delete(&db, number),
            55 => {
                db.close().expect("the database closes");
                db = open(&disk).expect("the database opens again");
            }
            _ => {}
        }
    }
    (disk, db)
}

/// The files of the database. The lock file holds nothing that is read.
pub(crate) fn files(disk: &SimDisk) -> Vec<(PathBuf, usize)> {
    let in_database = |path: &PathBuf| path.starts_with(DIR) && !path.ends_with("LOCK");
    let len = |path: &Path| tsq_core::Disk::len(disk, path).expect("a listed file has a length") as usize;
    disk.files().into_iter().filter(in_database).map(|path| (path.clone(), len(&path))).collect()
}

/// A second disk with the same files.
pub(crate) fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash_now(0, 1).pop().expect("there is always one image").into_disk()
}

/// Deletes a whole series, and parts of others with their exemplars.
fn delete(db: &Db, number: u64) {
    let whole = [Matcher::equal("instance", "1")];
    let deleted = db.delete(&whole, TimeRange::ALL).expect("the delete succeeds");
    assert!(deleted.samples > 0);
    let middle = START_MS + number as i64 * 15_000;
    let deleted = db.delete(&[Matcher::equal("job", "flips")], TimeRange::new(middle - 200_000, middle - 100_000));
    assert!(deleted.expect("the delete succeeds").samples > 0);
}

fn batch(db: &Db, number: u64) -> Batch {
    let mut batch = db.batch();
    let time_ms = START_MS + number as i64 * 15_000;
    let labels = |metric: &str, instance: u64| {
        let instance = instance.to_string();
        Labels::from_pairs([("__name__", metric), ("job", "flips"), ("instance", &instance)]).expect("good labels")
    };
    for instance in 0..3 {
        batch.series(Kind::Float, &labels("requests_total", instance));
        batch.float(time_ms, (number * (instance + 3)) as f64);
        batch.start(if instance == 1 { START_MS - 5_000 + number as i64 / 30 } else { 0 });
    }
    batch.series(Kind::Histogram, &labels("latency_seconds", 0));
    batch.histogram(time_ms, histogram(number));
    batch.start(if number < 50 { time_ms - 15_000 } else { 0 });
    batch.series(Kind::Run, &labels("loss", number / 40));
    batch.run(time_ms, number as i64, 1.0 / (number as f64 + 0.5));
    batch.series(Kind::RunHistogram, &labels("weights", 0));
    batch.run_histogram(time_ms, number as i64, histogram(number + 3));
    if number % 9 == 4 {
        batch.series(Kind::Float, &labels("late", 0));
        batch.float(time_ms - 86_400_000, f64::from_bits(0x7ff8_0000_0000_0000 | number));
        batch.exemplar(exemplar(number, time_ms));
        batch.metadata(Metadata {
            metric: if number.is_multiple_of(2) { "requests_total" } else { "late" }.to_owned(),
            metric_type: "counter".to_owned(),
            unit: String::new(),
            help: format!("Text number {number}."),
        });
    }
    batch
}

fn exemplar(number: u64, time_ms: i64) -> Exemplar {
    let id = format!("{number:08x}");
    let labels = Labels::from_pairs([("trace_id", id.as_str())]).expect("good labels");
    Exemplar { labels, value: number as f64, time_ms }
}

fn histogram(number: u64) -> Histogram {
    let positive: Vec<f64> = (0..4).map(|index| (number + index) as f64).collect();
    Histogram {
        schema: 1,
        integer: true,
        zero_threshold: 0.001,
        count: positive.iter().sum(),
        sum: number as f64 * 1.25,
        positive_spans: vec![Span { offset: -1, length: 4 }],
        positive,
        ..Histogram::default()
    }
}

/// Everything that can be asked, each with a hash of its answer or the error.
pub(crate) type Answers = Vec<(String, std::result::Result<u64, String>)>;

/// Asks everything.
pub(crate) fn answers(opened: Result<Db>) -> Answers {
    let snapshot = opened.and_then(|db| db.snapshot());
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return vec![("open".to_owned(), Err(error.to_string()))],
    };
    let hash = |answer: Result<String>| match answer {
        Ok(text) => Ok(xxh3_64(text.as_bytes())),
        Err(error) => Err(error.to_string()),
    };
    let all = TimeRange::ALL;
    let mut answers = vec![
        ("samples".to_owned(), hash(samples(&snapshot))),
        ("label names".to_owned(), hash(debug(snapshot.label_names(&[], all)))),
        ("label values".to_owned(), hash(debug(snapshot.label_values("instance", &[], all)))),
        ("metadata".to_owned(), hash(debug(snapshot.metadata()))),
        ("exemplars".to_owned(), hash(debug(snapshot.exemplars(&[], all)))),
    ];
    let (engine, query_options) = (Engine::default(), QueryOptions::default());
    let end_ms = START_MS + 70 * 15_000;
    for text in QUERIES {
        let answer = engine.instant(&snapshot, text, end_ms, &query_options);
        let answer = answer.map(|answer| format!("{:?}", answer.value)).map_err(|error| Error::invalid(error.message));
        answers.push((text.to_owned(), hash(answer)));
    }
    answers
}

fn debug<T: std::fmt::Debug>(answer: Result<T>) -> Result<String> {
    answer.map(|answer| format!("{answer:?}"))
}

/// All series and samples with every bit.
fn samples(snapshot: &impl Source) -> Result<String> {
    let mut stream = snapshot.select(&[], TimeRange::ALL)?;
    let (mut text, mut samples) = (String::new(), Samples::default());
    loop {
        let batch = stream.next_batch(64)?;
        if batch.is_empty() {
            return Ok(text);
        }
        for series in batch {
            for kind in series.kinds() {
                series.read(kind, TimeRange::ALL, &mut samples)?;
                let bits: Vec<u64> = samples.values.iter().map(|value| value.to_bits()).collect();
                let (times, steps, histograms) = (&samples.times, &samples.steps, &samples.histograms);
                let (labels, starts) = (series.labels(), &samples.starts);
                text.push_str(&format!("{labels} {kind:?} {times:?} {steps:?} {bits:x?} {starts:?} {histograms:?}\n"));
            }
        }
    }
}
