//! What is damaged takes down the reads that need it and no others, and recovery goes on without it.

use std::path::{Path, PathBuf};

use tsq_core::{Db, ErrorKind, Result, Samples, SimDisk, Source, TimeRange};

use crate::database::{DIR, START_MS, build, files, open, open_read_only};

/// After the newest sample of all blocks.
const LOG_ONLY: TimeRange = TimeRange { min_ms: START_MS + 41 * 15_000, max_ms: i64::MAX };

fn count(db: &Db, range: TimeRange) -> Result<usize> {
    let snapshot = db.snapshot()?;
    let mut stream = snapshot.select(&[], range)?;
    let (mut count, mut samples) = (0, Samples::default());
    loop {
        let batch = stream.next_batch(100)?;
        if batch.is_empty() {
            return Ok(count);
        }
        for series in batch {
            for kind in series.kinds() {
                series.read(kind, range, &mut samples)?;
                count += samples.len();
            }
        }
    }
}

fn flip(disk: &SimDisk, part: &str, at: fn(usize) -> usize) -> PathBuf {
    let found = files(disk).into_iter().find(|(path, _)| path.display().to_string().contains(part));
    let (path, len) = found.expect("the database has such a file");
    disk.damage(&path, |bytes| bytes[at(len)] ^= 4).expect("the file is there");
    path
}

/// Opened in any way, the database says what is damaged and answers nothing that may be wrong.
fn check_loud(disk: &SimDisk, path: &Path) {
    for db in [open(disk), open_read_only(disk)] {
        let db = db.expect("damage keeps no database from opening");
        assert!(db.damage().iter().any(|damage| damage.path == path), "{:?}", db.damage());
        let error = count(&db, TimeRange::ALL).expect_err("the answer would be wrong");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        let error = db.append(&db.batch()).and_then(|_| db.flush()).expect_err("no writes are taken");
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    }
}

/// After recovery the database answers and takes writes; the damaged file is kept.
fn check_recovery(disk: &SimDisk, path: &Path, whole: usize) {
    let accepted = Db::builder().disk(disk.clone()).recover(DIR, true).expect("recovery works");
    assert!(accepted.iter().any(|damage| damage.path == path), "{accepted:?}");
    let name = path.file_name().expect("a file has a name");
    assert!(disk.files().contains(&Path::new(DIR).join("quarantine").join(name)), "{:?}", disk.files());
    let db = open(disk).expect("it opens again");
    assert!(db.damage().is_empty(), "{:?}", db.damage());
    let left = count(&db, TimeRange::ALL).expect("queries answer again");
    assert!((1..whole).contains(&left), "{left} of {whole} samples");
    db.flush().expect("writes are taken again");
}

#[test]
fn a_block_that_cannot_be_read_fails_the_queries_about_its_times() {
    let disk = build();
    let whole = open_read_only(&disk).and_then(|db| Ok((count(&db, TimeRange::ALL)?, count(&db, LOG_ONLY)?)));
    let (whole, log_only) = whole.expect("nothing is damaged yet");
    let path = flip(&disk, "/blocks/", |_| 20);
    check_loud(&disk, &path);
    let db = open_read_only(&disk).expect("it opens");
    assert_eq!(count(&db, LOG_ONLY).expect("the block is not needed"), log_only);
    check_recovery(&disk, &path, whole);
}

#[test]
fn a_damaged_record_of_the_log_fails_all_queries() {
    let disk = build();
    let whole = open_read_only(&disk).and_then(|db| count(&db, TimeRange::ALL)).expect("nothing is damaged yet");
    let path = flip(&disk, "/log/", |len| len / 2);
    check_loud(&disk, &path);
    check_recovery(&disk, &path, whole);
}

/// Pages are checked when they are needed: a block with a damaged page opens.
#[test]
fn a_damaged_page_fails_what_needs_it() {
    let disk = build();
    let path = flip(&disk, "/blocks/", |_| 100);
    let db = open(&disk).expect("it opens");
    assert!(db.damage().is_empty(), "{:?}", db.damage());
    assert!(count(&db, LOG_ONLY).expect("the page is not needed") > 0);
    let error = count(&db, TimeRange::ALL).expect_err("the page is needed");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    // The only page of the block holds its metadata too.
    assert_eq!(
        db.snapshot().and_then(|snapshot| snapshot.metadata()).map(drop).map_err(|error| error.kind()),
        Err(ErrorKind::Corrupt)
    );
}
