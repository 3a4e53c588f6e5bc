//! A merge in the background that would take for ever: nobody waits for it, not even the one who closes the database.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tsq_core::{Db, Kind, Labels, ManualClock, Matcher, Options, SimDisk, Source, TimeRange};

use crate::{open, options};

const SERIES: u64 = 2_000;

fn labels(series: u64) -> Labels {
    let run = format!("{series:016x}");
    Labels::from_pairs([("__name__", "m"), ("run", &run)]).unwrap()
}

fn write(db: &Db, time_ms: i64) {
    let mut batch = db.batch();
    for series in 0..SERIES {
        batch.series(Kind::Float, &labels(series));
        // Values that take their place on the disk.
        let noise = (series ^ time_ms as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        batch.float(time_ms, f64::from_bits(noise >> 2 | 1 << 61));
    }
    for time_ms in time_ms..time_ms + 200_000 {
        batch.series(Kind::Float, &labels(0));
        batch.float(time_ms, f64::from_bits((time_ms as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2 | 1 << 61));
    }
    assert_eq!(db.append(&batch).unwrap().rejected, 0);
}

fn merges(disk: &SimDisk) -> bool {
    disk.files().iter().any(|path| path.extension().is_some_and(|extension| extension == "tmp"))
}

fn count(db: &Db) -> usize {
    db.snapshot().unwrap().label_values("run", &[Matcher::equal("__name__", "m")], TimeRange::ALL).unwrap().len()
}

#[test]
fn a_merge_holds_nobody_up_and_ends_with_the_database() {
    let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::new(0)));
    let db = open(&disk, &clock, options());
    for number in 0..4 {
        write(&db, number * 200_000);
        db.flush().unwrap();
    }
    db.close().unwrap();
    let paced = Options { background: true, compaction_bytes_per_s: Some(1), ..options() };
    let db = open(&disk, &clock, paced);
    while !merges(&disk) {
        thread::sleep(Duration::from_millis(5));
    }
    // The merge writes a byte a second from here on.
    write(&db, 800_000);
    assert_eq!(count(&db) as u64, SERIES);
    db.flush().unwrap();
    db.delete(&[Matcher::equal("run", format!("{:016x}", 7))], TimeRange::ALL).unwrap();
    assert_eq!(count(&db) as u64, SERIES - 1);
    db.close().unwrap();
    assert!(!merges(&disk), "nothing unfinished is left");
    let db = open(&disk, &clock, options());
    assert_eq!((db.stats().blocks, count(&db) as u64), (5, SERIES - 1));
    db.compact().unwrap();
    assert_eq!((db.stats().blocks, count(&db) as u64), (1, SERIES - 1), "the delete holds after the merge");
    let stats = db.stats();
    assert!(stats.compaction_read_bytes > stats.compaction_written_bytes && stats.compaction_written_bytes > 0);
}
