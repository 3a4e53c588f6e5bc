//! Single flipped bits: of every bit of every file of a small database, `verify` reports the flip, and whoever opens the
//! database gets the same answers as before or errors, never other answers and never a panic.
//!
//! `TSQ_FLIPS` is the number of flips, or `all`; `TSQ_FLIP_SEED` the seed (printed).

mod damage;
mod database;
mod newer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use database::{Answers, DIR, answers, build, build_flushed, copy, files, open, open_read_only};
use tsq_core::{Db, SimDisk};
use tsq_tests::random::Random;

/// Flips of a run in CI; each file gets its share, but at least this many.
const SAMPLED: usize = 10_000;
const SAMPLED_OF_FILE: usize = 400;

/// A bit of a file.
type Bit<'a> = (&'a Path, usize);

/// Which bits to flip.
fn chosen<'a>(files: &'a [(std::path::PathBuf, usize)]) -> Vec<Bit<'a>> {
    let total: usize = files.iter().map(|(_, len)| len * 8).sum();
    let wanted = match std::env::var("TSQ_FLIPS").as_deref() {
        Ok("all") => usize::MAX,
        Ok(text) => text.parse().expect("TSQ_FLIPS is a number or `all`"),
        Err(_) => SAMPLED,
    };
    let mut random = Random::new(Random::seed_from_env("TSQ_FLIP_SEED"));
    let mut bits = Vec::new();
    for (path, len) in files {
        let of_file = len * 8;
        let share = (of_file as u128 * wanted as u128 / total as u128) as usize;
        if share.max(SAMPLED_OF_FILE) >= of_file {
            bits.extend((0..of_file).map(|bit| (path.as_path(), bit)));
        } else {
            let share = share.max(SAMPLED_OF_FILE);
            bits.extend((0..share).map(|_| (path.as_path(), random.below(of_file as u64) as usize)));
        }
    }
    println!("{} of {total} bits in {} files", bits.len(), files.len());
    bits
}

/// Flips one bit on a copy of the disk and looks at it in every way.
fn check(disk: &SimDisk, (path, bit): Bit<'_>, before: &Answers) -> Result<(), String> {
    let flipped = copy(disk);
    flipped.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).expect("the file is there");
    match Db::builder().disk(flipped.clone()).verify(DIR) {
        Ok(report) if report.findings.is_empty() => return Err("verify reports nothing".to_owned()),
        // An error is as loud as a finding.
        _ => {}
    }
    compare("read only", before, &answers(open_read_only(&flipped)))?;
    compare("for writing", before, &answers(open(&flipped)))
}

/// The same answers, or errors.
fn compare(opened: &str, before: &Answers, now: &Answers) -> Result<(), String> {
    for (what, answer) in now {
        let same = before.iter().any(|(known, answer_before)| known == what && answer_before == answer);
        if answer.is_ok() && !same {
            return Err(format!("opened {opened}, {what} answers differently"));
        }
    }
    Ok(())
}

fn check_caught(disk: &SimDisk, bit: Bit<'_>, before: &Answers) -> Result<(), String> {
    let place = |message: String| format!("{}, byte {}, bit {}: {message}", bit.0.display(), bit.1 / 8, bit.1 % 8);
    match catch_unwind(AssertUnwindSafe(|| check(disk, bit, before))) {
        Ok(result) => result.map_err(place),
        Err(_) => Err(place("panic".to_owned())),
    }
}

#[test]
fn every_flipped_bit_is_reported_and_no_answer_changes() {
    flip_bits(&build());
}

/// The log is empty then: one segment, nothing but a header.
#[test]
fn every_flipped_bit_is_reported_after_a_flush_too() {
    flip_bits(&build_flushed());
}

fn flip_bits(disk: &SimDisk) {
    let before = answers(open_read_only(disk));
    assert!(before.len() > 5 && before.iter().all(|(_, answer)| answer.is_ok()), "{before:?}");
    let report = Db::builder().disk(disk.clone()).verify(DIR).expect("the database is there");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let files = files(disk);
    let bits = chosen(&files);
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            while let Some(&bit) = bits.get(next.fetch_add(1, Ordering::Relaxed)) {
                failures.extend(check_caught(disk, bit, &before).err());
            }
            failures
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    });
    let shown = failures.iter().take(20).fold(String::new(), |all, failure| all + "\n  " + failure);
    assert!(failures.is_empty(), "{} of {} flips went wrong:{shown}", failures.len(), bits.len());
}

/// The database holds what the test speaks of.
#[test]
fn the_database_has_every_kind_of_file() {
    let disk = build();
    let names: Vec<String> = files(&disk).iter().map(|(path, _)| path.display().to_string()).collect();
    let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    assert!(count("/log/") >= 3 && count("/blocks/") >= 2 && count("MANIFEST") == 1, "{names:?}");
    assert_eq!(count("tombstones-"), 1, "{names:?}");
    let inspection = open_read_only(&disk).and_then(|db| db.inspect()).expect("nothing is damaged");
    let mut levels: Vec<u8> = inspection.blocks.iter().map(|block| block.meta.level).collect();
    levels.sort_unstable();
    levels.dedup();
    assert!(levels.len() >= 2, "{levels:?}");
}
