//! What flushes, merges and retention leave: the answer never depends on when they ran, nor on the order of arrival.

mod background;
mod content;
mod order;
mod retention;

use std::sync::Arc;
use std::time::Duration;

use tsq_core::{Db, Limits, ManualClock, Options, SimDisk};

const DIR: &str = "/db";

const HOUR_MS: i64 = 3_600_000;

fn options() -> Options {
    Options {
        segment_bytes: 4 << 10,
        flush_bytes: u64::MAX,
        flush_interval: Duration::MAX,
        low_space_bytes: Some(0),
        background: false,
        shards: 4,
        limits: Limits { future: None, ..Limits::default() },
        ..Options::default()
    }
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>, options: Options) -> Db {
    let db = Db::builder().disk(disk.clone()).clock(clock.clone()).seed(7).open(DIR, options);
    let db = db.expect("the database opens");
    assert!(db.damage().is_empty(), "{:?}", db.damage());
    db
}
