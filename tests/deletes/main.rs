//! Deletes: the database against a plain model under any order of writes, deletes, flushes, compactions, cleanings and
//! openings; and after a purge, no byte of what was deleted anywhere.

mod model;
mod purge;
mod ways;

use std::time::Duration;

use tsq_core::{Db, Limits, Options, ReadMode, SimDisk};

const DIR: &str = "/db";

fn options() -> Options {
    Options {
        segment_bytes: 4 << 10,
        flush_bytes: u64::MAX,
        flush_interval: Duration::MAX,
        low_space_bytes: Some(0),
        background: false,
        // Other tests read through maps.
        read_mode: ReadMode::Pread,
        shards: 4,
        limits: Limits { future: None, ..Limits::default() },
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> Db {
    let db = Db::builder().disk(disk.clone()).seed(7).open(DIR, options()).expect("the database opens");
    assert!(db.damage().is_empty(), "{:?}", db.damage());
    db
}
