//! After a purge no file of the directory holds a byte of what was deleted.

use std::path::{Path, PathBuf};

use tsq_core::{Db, Disk, Exemplar, Kind, Labels, Matcher, Metadata, SimDisk, Source, TimeRange};

use crate::{DIR, open};

/// Values whose bits are found as they stand when a codec stores them raw, and texts that nothing else holds.
const SECRET: [&str; 4] = ["secret_metric_total", "secret-run-4711", "secret-trace", "secret help text"];

fn write(db: &Db, number: u64) {
    let mut batch = db.batch();
    let time_ms = 1_700_000_000_000 + number as i64 * 1000;
    let kept = Labels::from_pairs([("__name__", "kept"), ("run", "kept")]).unwrap();
    batch.series(Kind::Float, &kept);
    batch.float(time_ms, number as f64);
    let secret = Labels::from_pairs([("__name__", SECRET[0]), ("run", SECRET[1])]).unwrap();
    batch.series(Kind::Float, &secret);
    batch.float(time_ms, value(number));
    let labels = Labels::from_pairs([("trace_id", SECRET[2])]).unwrap();
    batch.exemplar(Exemplar { labels, value: 1.0, time_ms });
    for (metric, help) in [("secret_metric", SECRET[3]), ("kept", "kept help text")] {
        batch.metadata(Metadata { metric: metric.into(), help: help.into(), ..Metadata::default() });
    }
    assert_eq!(db.append(&batch).unwrap().rejected, 0);
}

/// A float whose eight bytes occur nowhere by chance.
fn value(number: u64) -> f64 {
    f64::from_bits(0x3ff5_a1c3_e597_b86d ^ number.wrapping_mul(0x0001_5a4d_35a1_b2c3) >> 12)
}

/// Which of these byte strings occur in which files.
fn traces(disk: &SimDisk, wanted: &[Vec<u8>]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in disk.files().into_iter().filter(|path| path.starts_with(DIR)) {
        let bytes = disk.read(&path).unwrap();
        for text in wanted.iter().filter(|text| bytes.windows(text.len()).any(|window| window == text.as_slice())) {
            found.push((path.clone(), String::from_utf8_lossy(text).into_owned()));
        }
    }
    found
}

fn wanted() -> Vec<Vec<u8>> {
    SECRET.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn secret() -> [Matcher; 1] {
    [Matcher::equal("run", SECRET[1])]
}

/// The first sample of each chunk stands in it with all its bits.
fn value_bits() -> Vec<Vec<u8>> {
    (0..12)
        .flat_map(|n| [value(n).to_bits().to_le_bytes().to_vec(), value(n).to_bits().to_be_bytes().to_vec()])
        .collect()
}

#[test]
fn a_purge_leaves_no_byte_behind() {
    let disk = SimDisk::new();
    let db = open(&disk);
    for number in 0..12 {
        write(&db, number);
        match number {
            2 | 4 => db.flush().unwrap(),
            6 => db.compact().unwrap(),
            _ => {}
        }
    }
    let everything = [wanted(), value_bits()].concat();
    let before = traces(&disk, &everything);
    for text in SECRET {
        assert!(before.iter().any(|(_, found)| found == text), "{text} is stored");
    }
    assert!(!traces(&disk, &value_bits()).is_empty(), "the values are stored");
    let deleted = db.delete(&secret(), TimeRange::ALL).unwrap();
    assert_eq!((deleted.series, deleted.samples), (1, 12));
    assert!(deleted.exemplars > 0);
    let snapshot = db.snapshot().unwrap();
    assert_eq!(snapshot.metadata().unwrap().iter().map(|known| known.metric.as_str()).collect::<Vec<_>>(), ["kept"]);
    assert!(snapshot.exemplars(&[], TimeRange::ALL).unwrap().is_empty());
    drop(snapshot);
    let cleaned = db.clean_tombstones().unwrap();
    assert_eq!(cleaned.samples, 12);
    assert!(cleaned.blocks > 0 && cleaned.bytes_after < cleaned.bytes_before, "{cleaned:?}");
    assert_eq!(traces(&disk, &everything), []);
    // Nor does anything come back when the database goes on.
    db.close().unwrap();
    let db = open(&disk);
    let mut batch = db.batch();
    batch.series(Kind::Float, &Labels::from_pairs([("__name__", "kept"), ("run", "kept")]).unwrap());
    batch.float(1_700_000_900_000, 1.0);
    db.append(&batch).unwrap();
    db.compact().unwrap();
    assert_eq!(traces(&disk, &everything), []);
    let names = db.snapshot().unwrap().label_values("__name__", &[], TimeRange::ALL).unwrap();
    assert_eq!(names, ["kept"]);
}

/// A database of nothing but deleted data becomes one without blocks and tombstones.
#[test]
fn nothing_is_left_of_a_database_that_is_deleted_whole() {
    let disk = SimDisk::new();
    let db = open(&disk);
    (0..8).for_each(|number| write(&db, number));
    db.flush().unwrap();
    (8..12).for_each(|number| write(&db, number));
    db.delete(&[], TimeRange::ALL).unwrap();
    assert!(!traces(&disk, &wanted()).is_empty(), "a delete leaves the bytes to the purge");
    assert!(disk.files().iter().any(|path| path.display().to_string().contains("tombstones")));
    db.clean_tombstones().unwrap();
    assert_eq!(db.stats().blocks, 0);
    assert_eq!(traces(&disk, &wanted()), []);
    let left: Vec<PathBuf> =
        disk.files().into_iter().filter(|path| path.starts_with(Path::new(DIR).join("blocks"))).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(!disk.files().iter().any(|path| path.display().to_string().contains("tombstones")));
    db.close().unwrap();
    assert!(open(&disk).snapshot().unwrap().label_names(&[], TimeRange::ALL).unwrap().is_empty());
}

/// What a metric is stays known while any of its series is left, in any block and under any of a histogram's names.
#[test]
fn metadata_stays_while_a_series_of_its_metric_does() {
    let disk = SimDisk::new();
    let db = open(&disk);
    for (number, name) in ["latency_bucket", "latency_count", "latency_sum"].into_iter().enumerate() {
        let mut batch = db.batch();
        batch.series(Kind::Float, &Labels::from_pairs([("__name__", name)]).unwrap());
        batch.float(number as i64, 1.0);
        if number == 0 {
            batch.metadata(Metadata { metric: "latency".into(), help: "how long".into(), ..Metadata::default() });
        }
        db.append(&batch).unwrap();
        db.flush().unwrap();
    }
    let known = |db: &Db| db.snapshot().unwrap().metadata().unwrap().len();
    for (name, left) in [("latency_bucket", 1), ("latency_sum", 1), ("latency_count", 0)] {
        db.delete(&[Matcher::equal("__name__", name)], TimeRange::ALL).unwrap();
        assert_eq!(known(&db), left, "after {name}");
    }
    db.close().unwrap();
    let db = open(&disk);
    assert_eq!(known(&db), 0, "after opening again");
    db.clean_tombstones().unwrap();
    assert_eq!((known(&db), db.stats().blocks), (0, 0));
}
