//! Block files that are cut short while a process has them open: reads fail, values never change, the process lives.
//!
//! The rule that nobody changes a published file is broken here on purpose. Whoever breaks it must get errors.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use tsq_core::{
    Db, ErrorKind, Kind, Labels, Limits, Matcher, Options, ReadMode, Result, Samples, Series, Source, TimeRange,
    survive_lost_maps,
};

const SAMPLES: i64 = 100_000;

fn options(read_mode: ReadMode) -> Options {
    let limits = Limits { future: None, ..Limits::default() };
    // The smallest cache: most reads go to the file.
    Options {
        read_mode,
        read_cache_bytes: 0,
        limits,
        background: false,
        low_space_bytes: Some(0),
        ..Options::default()
    }
}

/// Values that no codec makes small, so that a block has many pages.
fn value(time_ms: i64) -> f64 {
    f64::from_bits((time_ms.cast_unsigned() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2)
}

/// Two blocks of one series: from 0 ms on, and from one million ms on.
fn fill(dir: &Path, read_mode: ReadMode) -> Db {
    let db = Db::open(dir, options(read_mode)).unwrap();
    for start in [0, 1_000_000] {
        for series in ["a", "b"] {
            let mut batch = db.batch();
            batch.series(Kind::Float, &Labels::from_pairs([("__name__", "loss"), ("run", series)]).unwrap());
            (start..start + SAMPLES).for_each(|time_ms| batch.float(time_ms, value(time_ms)));
            db.append(&batch).unwrap();
        }
        db.flush().unwrap();
    }
    db
}

fn first_block(db: &Db) -> PathBuf {
    let blocks = db.blocks();
    let first = blocks.iter().min_by_key(|block| block.min_ms).unwrap();
    db.path().join("blocks").join(first.id.file_name())
}

fn select(db: &Db, range: TimeRange) -> Result<Vec<Series>> {
    db.snapshot()?.select(&[Matcher::equal("__name__", "loss")], range)?.next_batch(10)
}

fn read(series: &Series, range: TimeRange) -> Result<Samples> {
    let mut samples = Samples::default();
    series.read(Kind::Float, range, &mut samples)?;
    Ok(samples)
}

fn answer(db: &Db, range: TimeRange) -> Result<usize> {
    let mut count = 0;
    for series in select(db, range)? {
        let samples = read(&series, range)?;
        assert!(samples.times.iter().zip(&samples.values).all(|(time, found)| *found == value(*time)), "{range:?}");
        count += samples.len();
    }
    Ok(count)
}

fn cut(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

const OLD: TimeRange = TimeRange { min_ms: 0, max_ms: 999_999 };
const NEW: TimeRange = TimeRange { min_ms: 1_000_000, max_ms: 1_999_999 };

#[test]
fn a_cut_block_fails_its_queries_and_no_others() {
    survive_lost_maps().unwrap();
    for read_mode in [ReadMode::Map, ReadMode::Pread] {
        for kept in [0_i64, 1, 4_096, 50_000, -4_097, -100, -1] {
            let dir = tempfile::tempdir().unwrap();
            let db = fill(dir.path(), read_mode);
            let both = 2 * SAMPLES as usize;
            // All pages are verified once, so that no CRC notices what comes.
            assert_eq!((answer(&db, OLD).unwrap(), answer(&db, NEW).unwrap()), (both, both));
            let selected = select(&db, OLD).unwrap();
            let path = first_block(&db);
            let len = path.metadata().unwrap().len();
            cut(&path, if kept < 0 { len.saturating_add_signed(kept) } else { kept as u64 });

            let mut errors = vec![];
            errors.extend(answer(&db, OLD).err());
            errors.extend(selected.iter().filter_map(|series| read(series, OLD).err()));
            if read_mode == ReadMode::Map {
                assert_eq!(errors.len(), 3, "cut to {kept}: everything that was read of the block is an error");
            } else {
                // What lies before the cut is still there, and right.
                assert!(kept < 0 || errors.len() == 3, "cut to {kept}: {errors:?}");
            }
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                let (found, offset) = error.place().unwrap();
                assert_eq!((found, offset.is_some()), (path.as_path(), true), "{error}");
            }
            assert_eq!(answer(&db, NEW).unwrap(), both, "the other block still answers");
            if read_mode == ReadMode::Map {
                let names = db.snapshot().unwrap().label_values("run", &[], TimeRange::ALL);
                assert_eq!(names.unwrap_err().kind(), ErrorKind::Corrupt);
            }
            drop(db);
            let db = Db::open(dir.path(), options(read_mode)).unwrap();
            assert_eq!(db.damage().len(), 1, "opening finds it too");
            assert!(answer(&db, OLD).is_err() && answer(&db, NEW).unwrap() == both);
        }
    }
}

/// While some threads read, the file becomes shorter and shorter: each read gives the right values or an error.
#[test]
fn a_cut_while_others_read_gives_no_wrong_value() {
    survive_lost_maps().unwrap();
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let db = fill(dir.path(), ReadMode::Map);
        let path = first_block(&db);
        let len = path.metadata().unwrap().len();
        let has_failed = [const { AtomicBool::new(false) }; 3];
        std::thread::scope(|scope| {
            for has_failed in &has_failed {
                scope.spawn(|| {
                    while answer(&db, OLD).is_ok() {}
                    has_failed.store(true, Ordering::Relaxed);
                });
            }
            for step in 1..=8 {
                std::thread::sleep(std::time::Duration::from_micros(200 * round));
                cut(&path, len - len * step / 8);
            }
        });
        assert!(has_failed.iter().all(|has_failed| has_failed.load(Ordering::Relaxed)));
        assert_eq!(answer(&db, NEW).unwrap(), 2 * SAMPLES as usize);
    }
}

const CHILD: &str = "TSQ_TEST_FAULT";

/// Runs one test of this file in a process of its own.
fn run_child(test: &str, what: &str) -> std::process::ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD, what);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

/// Reads a map of a file that is cut behind it, which is none of a database.
fn fault_elsewhere() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 8192]).unwrap();
    // SAFETY: the file is cut below on purpose; no reference into the map is alive then, the read is volatile.
    let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
    let last = map.as_ptr().wrapping_add(8191);
    File::set_len(&file, 0).unwrap();
    // SAFETY: the address is mapped; the fault is what is tested.
    let found = unsafe { last.read_volatile() };
    panic!("{found} was read where nothing is");
}

#[test]
fn faults_elsewhere_end_the_process_as_without_the_handler() {
    if std::env::var(CHILD).is_ok() {
        survive_lost_maps().unwrap();
        return fault_elsewhere();
    }
    let status = run_child("faults_elsewhere_end_the_process_as_without_the_handler", "yes");
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

#[test]
fn faults_elsewhere_reach_the_handler_that_was_there_before() {
    extern "C" fn leave(_: i32) {
        // SAFETY: it may be called in handlers.
        unsafe { libc::_exit(42) };
    }
    extern "C" fn leave_with_place(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: as above; `info` is valid while the handler runs.
        unsafe { libc::_exit(if (*info).si_addr().is_null() { 1 } else { 43 }) };
    }
    if let Ok(what) = std::env::var(CHILD) {
        // SAFETY: all zeros is a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        if what == "plain" {
            action.sa_sigaction = leave as *const () as usize;
        } else {
            (action.sa_sigaction, action.sa_flags) = (leave_with_place as *const () as usize, libc::SA_SIGINFO);
        }
        // SAFETY: the handlers have the signatures that the flags promise.
        assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) }, 0);
        survive_lost_maps().unwrap();
        survive_lost_maps().unwrap();
        return fault_elsewhere();
    }
    let test = "faults_elsewhere_reach_the_handler_that_was_there_before";
    assert_eq!(run_child(test, "plain").code(), Some(42));
    assert_eq!(run_child(test, "with place").code(), Some(43));
}
