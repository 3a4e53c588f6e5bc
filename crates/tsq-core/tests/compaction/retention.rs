//! Retention by selector: what has expired is gone for readers at once, whatever was flushed and merged, and its bytes
//! go with compaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tsq_core::{
    Db, Disk, Exemplar, Kind, Labels, ManualClock, Matcher, Options, RejectReason, RetentionRule, SimDisk, Source,
    TimeRange,
};

use crate::content::{Row, Write, answer, labels, write};
use crate::{DIR, HOUR_MS, open, options};

const GPU_HOURS: i64 = 10;
const DEFAULT_HOURS: i64 = 30;

/// GPU metrics are kept for 10 hours, runs for ever, everything else for 30 hours.
fn ruled() -> Options {
    let hours = |hours: i64| Some(Duration::from_secs(hours as u64 * 3600));
    let rule = |job: &str, keep| RetentionRule { matchers: vec![Matcher::equal("job", job)], keep };
    Options {
        retention: hours(DEFAULT_HOURS),
        retention_rules: vec![rule("gpu", hours(GPU_HOURS)), rule("runs", None), rule("gpu", None)],
        ..options()
    }
}

fn kept_since(labels: &Labels, now_ms: i64) -> i64 {
    match labels.get("job") {
        Some("gpu") => now_ms - GPU_HOURS * HOUR_MS,
        Some("runs") => i64::MIN,
        _ => now_ms - DEFAULT_HOURS * HOUR_MS,
    }
}

type Answer = BTreeMap<(Labels, Kind), Vec<Row>>;

/// What is left of an answer at a moment.
fn expire(all: &Answer, now_ms: i64) -> Answer {
    let mut left = all.clone();
    for ((labels, _), rows) in &mut left {
        rows.retain(|(time_ms, _)| *time_ms >= kept_since(labels, now_ms));
    }
    left.retain(|_, rows| !rows.is_empty());
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    /// A database with rules shows what one without them shows, less what has expired; however late, and whatever was
    /// flushed and merged meanwhile.
    #[test]
    fn what_has_expired_is_not_shown(
        writes in prop::collection::vec((write(0..40), 0_u8..6), 1..60),
        hours in prop::collection::vec((0_i64..16, prop::bool::ANY), 1..8),
    ) {
        let (disk, free_disk) = (SimDisk::new(), SimDisk::new());
        let clock = Arc::new(ManualClock::new(10 * HOUR_MS));
        let (db, free) = (open(&disk, &clock, ruled()), open(&free_disk, &clock, options()));
        for (write, then) in writes {
            let write = Write { time_ms: write.time_ms * HOUR_MS, ..write };
            for db in [&db, &free] {
                let mut importer = db.importer().unwrap();
                let mut batch = db.batch();
                write.add_to(&mut batch);
                // What is written is in time; what is imported may be older.
                if then != 5 || db.append(&batch).unwrap().rejected > 0 {
                    importer.batch(&batch).unwrap();
                }
                importer.finish().unwrap();
                if then == 3 {
                    db.compact().unwrap();
                }
            }
        }
        let mut now_ms = 10 * HOUR_MS;
        for (hours, compact) in hours {
            clock.advance(hours * HOUR_MS);
            now_ms += hours * HOUR_MS;
            if compact {
                db.compact().unwrap();
            }
            for range in [TimeRange::ALL, TimeRange::new(5 * HOUR_MS, 9 * HOUR_MS)] {
                prop_assert_eq!(answer(&db, range), expire(&answer(&free, range), now_ms));
            }
        }
    }
}

fn write_at(db: &Db, time_ms: i64) -> tsq_core::Appended {
    let mut batch = db.batch();
    for series in 0..4 {
        batch.series(Kind::Float, &labels(series));
        batch.float(time_ms, f64::from(series));
        let labels = Labels::from_pairs([("trace_id", "t")]).unwrap();
        batch.exemplar(Exemplar { labels, value: 1.0, time_ms });
    }
    batch.series(Kind::Float, &Labels::from_pairs([("__name__", "other")]).unwrap());
    batch.float(time_ms, 9.0);
    db.append(&batch).unwrap()
}

/// Files of the database that hold a text.
fn traces(disk: &SimDisk, text: &str) -> usize {
    let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    disk.files().iter().filter(|path| path.starts_with(DIR) && holds(disk.read(path).unwrap())).count()
}

#[test]
fn compaction_frees_what_one_rule_expires_and_keeps_the_rest() {
    let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::new(100 * HOUR_MS)));
    let db = open(&disk, &clock, ruled());
    for minute in 0..60 {
        assert_eq!(write_at(&db, 99 * HOUR_MS + minute * 60_000).rejected, 0);
    }
    db.compact().unwrap();
    assert!(traces(&disk, "shard_0") > 0);
    clock.advance(GPU_HOURS * HOUR_MS);
    let shards = |db: &Db, range| {
        let listed = Matcher::equal("__name__", "m");
        db.snapshot().unwrap().label_values("shard", &[listed], range).unwrap()
    };
    assert_eq!(shards(&db, TimeRange::ALL), ["shard_1", "shard_3"], "readers see it at once");
    assert_eq!(shards(&db, TimeRange::new(0, 99 * HOUR_MS)), ["shard_1", "shard_3"]);
    assert_eq!(db.snapshot().unwrap().exemplars(&[], TimeRange::ALL).unwrap().len(), 2);
    assert!(traces(&disk, "shard_0") > 0, "the bytes are left to compaction");
    clock.advance(2 * HOUR_MS);
    db.compact().unwrap();
    assert_eq!((traces(&disk, "shard_0"), traces(&disk, "shard_2")), (0, 0));
    assert!(traces(&disk, "shard_1") > 0);
    let samples = db.stats().block_samples;
    assert_eq!(samples, 3 * 60, "runs and what no rule names are left");
    db.compact().unwrap();
    assert_eq!(db.stats().compactions, 1, "nothing is written anew in vain");
    clock.advance(DEFAULT_HOURS * HOUR_MS);
    db.compact().unwrap();
    assert_eq!(db.stats().block_samples, 2 * 60, "runs are left");
}

#[test]
fn samples_older_than_their_series_are_kept_are_refused_by_name() {
    let clock = Arc::new(ManualClock::new(100 * HOUR_MS));
    let db = open(&SimDisk::new(), &clock, ruled());
    let appended = write_at(&db, 80 * HOUR_MS);
    assert_eq!((appended.floats, appended.rejected), (3, 2), "both GPU series");
    assert!(appended.rejections.iter().all(|rejection| rejection.reason == RejectReason::TooOld));
    assert!(appended.rejections[0].message.contains("gpu"), "{:?}", appended.rejections);
    assert_eq!(write_at(&db, HOUR_MS).rejected, 3, "and the one that no rule names");
}

/// Without a rule that keeps longer, a block whose samples all have expired is dropped without being read.
#[test]
fn whole_blocks_are_dropped() {
    let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::new(100 * HOUR_MS)));
    let rules = vec![RetentionRule { matchers: vec![], keep: Some(Duration::from_secs(3600)) }];
    let db = open(&disk, &clock, Options { retention_rules: rules, ..options() });
    write_at(&db, 100 * HOUR_MS);
    db.flush().unwrap();
    clock.advance(2 * HOUR_MS);
    db.compact().unwrap();
    let stats = db.stats();
    assert_eq!((stats.blocks, stats.compactions), (0, 0));
}
