//! The scripted life of a small database.

use std::sync::Arc;
use std::time::Duration;

use tsq_core::{
    Batch, Clock, Db, Deleted, Durability, Error, Histogram, Kind, Labels, Limits, ManualClock, Matcher, Options,
    RetentionRule, SimDisk, Span, TimeRange,
};

/// Start of the simulated time.
const START_MS: i64 = 1_700_000_000_000;

/// One thing that a user of the database does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Open,
    /// A batch of new samples.
    Batch(u64),
    /// A batch of samples far behind the newest ones.
    Late(u64),
    /// The batch before, sent again: nothing changes.
    Retry(u64),
    Flush,
    Compact,
    /// Some series of the newest batches are deleted over some time.
    Delete(u64),
    /// Blocks with tombstones are written anew.
    Clean,
    /// A copy into another directory.
    Backup(u64),
    CleanClose,
    /// The process ends without closing; the disk lives on.
    UncleanClose,
}

/// Steps in order.
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    clock: Arc<ManualClock>,
}

pub(crate) fn options(durability: Durability) -> Options {
    Options {
        durability,
        segment_bytes: 8 << 10,
        flush_bytes: u64::MAX,
        flush_interval: Duration::MAX,
        retention: Some(Duration::from_secs(3600)),
        retention_rules: vec![RetentionRule {
            matchers: vec![Matcher::equal("run", "3")],
            keep: Some(Duration::from_secs(1200)),
        }],
        low_space_bytes: Some(0),
        background: false,
        shards: 4,
        limits: Limits { future: None, ..Limits::default() },
        ..Options::default()
    }
}

/// Opens the database on a simulated disk, at a simulated time before all samples.
pub(crate) fn open(disk: &SimDisk, durability: Durability) -> Result<Db, Error> {
    open_at(disk, durability, Arc::new(ManualClock::new(START_MS)))
}

/// As [`open`], at the time that a clock shows.
pub(crate) fn open_at(disk: &SimDisk, durability: Durability, clock: Arc<ManualClock>) -> Result<Db, Error> {
    Db::builder().disk(disk.clone()).clock(clock).seed(7).open("/db", options(durability))
}

impl Script {
    /// The simulated time.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// At least 3,000 disk operations: appends, rotations, late data, flushes, compactions, retention, deletes, closes.
    pub(crate) fn full_life() -> Self {
        let mut steps = vec![Step::Open];
        let mut number = 0;
        for round in 0..24 {
            for _ in 0..48 {
                steps.push(Step::Batch(number));
                number += 1;
            }
            steps.push(Step::Retry(number - 1));
            steps.push(Step::Late(number));
            number += 1;
            match round % 6 {
                0 | 3 => steps.push(Step::Flush),
                1 => steps.extend([Step::CleanClose, Step::Open]),
                2 => steps.extend([Step::Delete(number), Step::UncleanClose, Step::Open]),
                4 => steps.push(Step::Compact),
                _ => steps.push(Step::Backup(number)),
            }
            match round % 4 {
                1 => steps.push(Step::Delete(number - 20)),
                3 => steps.extend([Step::Delete(number), Step::Clean]),
                _ => {}
            }
        }
        steps.push(Step::CleanClose);
        Self { steps, clock: Arc::new(ManualClock::new(START_MS)) }
    }

    /// A few rotations, flushes, deletes, a compaction and a cleaning.
    pub(crate) fn short_life() -> Self {
        let mut steps = vec![Step::Open];
        for number in 0..60 {
            steps.push(Step::Batch(number));
            match number {
                20 | 40 => steps.push(Step::Flush),
                25 | 45 | 55 => steps.push(Step::Delete(number)),
                57 => steps.push(Step::Clean),
                30 => steps.push(Step::Late(1000)),
                50 => steps.push(Step::Compact),
                _ => {}
            }
        }
        Self { steps, clock: Arc::new(ManualClock::new(START_MS)) }
    }

    /// Does one step; the database must take it.
    pub(crate) fn run(&self, step: &Step, disk: &SimDisk, db: &mut Option<Db>, durability: Durability) {
        if let Step::Open = step {
            let opened = open_at(disk, durability, self.clock.clone()).expect("the database opens");
            assert!(opened.damage().is_empty(), "{:?}", opened.damage());
            *db = Some(opened);
            return;
        }
        let open_db = db.as_ref().expect("the script opens the database first");
        match *step {
            Step::Open => unreachable!("handled above"),
            Step::Batch(number) => {
                self.clock.advance(START_MS + time_of(number) - self.clock.now_ms());
                append(open_db, &batch_of(open_db, number, 12));
            }
            Step::Late(number) => append(open_db, &late_batch(open_db, number)),
            Step::Retry(number) => append(open_db, &batch_of(open_db, number, 12)),
            Step::Flush => open_db.flush().expect("the flush succeeds"),
            Step::Compact => open_db.compact().expect("the compaction succeeds"),
            Step::Delete(number) => {
                delete(open_db, number).expect("the delete succeeds");
            }
            Step::Clean => {
                open_db.clean_tombstones().expect("the cleaning succeeds");
            }
            Step::Backup(number) => open_db.backup(format!("/backup-{number}")).expect("the backup succeeds"),
            Step::CleanClose => {
                open_db.close().expect("the database closes");
                *db = None;
            }
            Step::UncleanClose => {
                // The handle is leaked: nothing of it reaches the disk any more.
                std::mem::forget(db.take());
                disk.end_process();
            }
        }
    }
}

/// When batch `number` was measured, in milliseconds since the start.
fn time_of(number: u64) -> i64 {
    number as i64 * 15_000
}

fn append(db: &Db, batch: &Batch) {
    let appended = db.append(batch).expect("the batch is taken");
    assert_eq!(appended.rejected, 0, "{:?}", appended.rejections);
}

/// Deletes series of both metrics from the time of about seven batches up to batch `number`; every other time of one
/// series all there is.
pub(crate) fn delete(db: &Db, number: u64) -> Result<Deleted, Error> {
    let end_ms = START_MS + time_of(number);
    let start_ms = if number.is_multiple_of(2) { i64::MIN } else { end_ms - 100_000 };
    let run = (number / 2 % 6).to_string();
    db.delete(&[Matcher::equal("run", run)], TimeRange::new(start_ms, end_ms))
}

/// Batch `number`: floats, histograms, run samples and run histograms, special values among them.
pub(crate) fn batch_of(db: &Db, number: u64, series: u64) -> Batch {
    let mut batch = db.batch();
    let time_ms = START_MS + time_of(number);
    for index in 0..series {
        // New series come and old ones go.
        let name = format!("{}", index + number / 200);
        let labels = Labels::from_pairs([("__name__", "loss"), ("run", name.as_str()), ("job", "crash")]);
        let labels = labels.expect("the labels are good");
        match index % 6 {
            0 => {
                batch.series(Kind::Histogram, &labels);
                batch.histogram(time_ms, histogram(number + index));
                batch.start(start_of(time_ms, number + index));
            }
            1 => {
                batch.series(Kind::Run, &labels);
                batch.run(time_ms, number as i64, value(number ^ index));
                batch.run(time_ms, number as i64 + 1, value(number + 7 * index));
                batch.start(start_of(time_ms, number));
            }
            2 if index % 12 == 2 => {
                batch.series(Kind::RunHistogram, &labels);
                batch.run_histogram(time_ms, number as i64, histogram(number * index));
            }
            _ => {
                batch.series(Kind::Float, &labels);
                batch.float(time_ms, value(number * 31 + index));
                batch.start(start_of(time_ms, if index % 6 == 3 { 0 } else { number }));
            }
        }
    }
    batch
}

pub(crate) fn late_batch(db: &Db, number: u64) -> Batch {
    let mut batch = db.batch();
    for index in 0..8_u64 {
        let name = format!("{index}");
        let labels = Labels::from_pairs([("__name__", "late"), ("run", name.as_str())]).expect("the labels are good");
        let time_ms = START_MS + time_of(number) - 60_000 + index as i64;
        if index % 2 == 0 {
            batch.series(Kind::Float, &labels);
            batch.float(time_ms, value(number + index));
            batch.float(time_ms - 7_000, value(number * index));
            batch.start(start_of(time_ms, index));
        } else {
            batch.series(Kind::Run, &labels);
            batch.run(time_ms, -(number as i64), value(index));
        }
    }
    batch
}

/// Ordinary and odd floats, every bit of which must come back.
fn value(number: u64) -> f64 {
    match number % 11 {
        0 => f64::from_bits(0x7ff0_0000_0000_0002),
        1 => -0.0,
        2 => f64::INFINITY,
        3 => f64::from_bits(0x7ff8_0000_dead_beef),
        4 => number as f64,
        _ => (number as f64).sqrt() * 1e-3,
    }
}

/// Start times as counters have them: none, one for a while, one of its own for each sample.
fn start_of(time_ms: i64, number: u64) -> i64 {
    match number / 16 % 4 {
        _ if number == 0 => 0,
        0 | 1 => START_MS - 60_000 + (number / 64) as i64,
        2 => 0,
        _ => time_ms - 15_000,
    }
}

fn histogram(number: u64) -> Histogram {
    let counts: Vec<f64> = (0..number % 5).map(|index| (number + index) as f64).collect();
    Histogram {
        schema: 3,
        integer: true,
        zero_threshold: 0.001,
        zero_count: number as f64,
        count: counts.iter().sum::<f64>() + number as f64,
        sum: value(number | 1),
        positive_spans: vec![Span { offset: -2, length: counts.len() as u32 }],
        positive: counts,
        ..Histogram::default()
    }
}
