//! Real data in the TSQREAL1 container, where it is at hand: in `TSQ_REAL_DATA`, or in `../shared/data/real` beside the
//! repository.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use common::TestDb;
use tsq_core::{Db, Kind, Labels, Samples, Source, TimeRange};
use tsq_ingest::{ExportOptions, Format, ImportOptions};

fn data_dir() -> Option<PathBuf> {
    let given = std::env::var_os("TSQ_REAL_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/real");
    given.or(Some(beside)).filter(|dir| dir.is_dir())
}

fn import(path: &Path) -> TestDb {
    let format = Format::by_path(path).expect("the ending is that of a container");
    let input = BufReader::new(File::open(path).unwrap());
    let mut importer = (format.importer)(Box::new(input), &ImportOptions::default()).unwrap();
    let db = TestDb::new();
    let mut batch = db.db.batch();
    loop {
        let more = importer.read(&mut batch, 100_000).unwrap();
        let appended = db.db.append(&batch).unwrap();
        assert_eq!(appended.rejected, 0, "{:?}", appended.rejections);
        batch.clear();
        if !more {
            return db;
        }
    }
}

/// Times and value bits of all series.
fn content(db: &Db) -> BTreeMap<Labels, (Vec<i64>, Vec<u64>)> {
    let snapshot = db.snapshot().unwrap();
    let mut stream = snapshot.select(&[], TimeRange::ALL).unwrap();
    let mut samples = Samples::default();
    let mut all = BTreeMap::new();
    for series in stream.next_batch(usize::MAX).unwrap() {
        series.read(Kind::Float, TimeRange::ALL, &mut samples).unwrap();
        let bits = samples.values.iter().map(|value| value.to_bits()).collect();
        all.insert(series.labels().clone(), (samples.times.clone(), bits));
    }
    all
}

/// The container read by the few lines that the format takes, for comparison.
fn read_simply(path: &Path) -> BTreeMap<Labels, (Vec<i64>, Vec<u64>)> {
    let bytes = zstd::decode_all(File::open(path).unwrap()).unwrap();
    let mut rest = bytes.strip_prefix(b"TSQREAL1").unwrap();
    let mut all = BTreeMap::new();
    fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (head, tail) = rest.split_at(len);
        *rest = tail;
        head
    }
    let word = |rest: &mut &[u8]| u32::from_le_bytes(take(rest, 4).try_into().unwrap()) as usize;
    while !rest.is_empty() {
        let len = word(&mut rest);
        let meta: serde_json::Value = serde_json::from_slice(take(&mut rest, len)).unwrap();
        let pairs = meta["labels"].as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
        let labels = Labels::from_pairs(pairs).unwrap();
        let count = word(&mut rest);
        let column = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect::<Vec<_>>();
        let times = column(take(&mut rest, 8 * count)).into_iter().map(|time| time as i64).collect();
        all.insert(labels, (times, column(take(&mut rest, 8 * count))));
    }
    all
}

#[test]
fn real_data_goes_in_and_comes_out_exactly() {
    let Some(dir) = data_dir() else {
        eprintln!("NOT RUN: no real data; set TSQ_REAL_DATA to a directory of .tsr.zst files");
        return;
    };
    let (mut series, mut samples) = (0, 0);
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".tsr.zst"));
    assert!(!paths.is_empty(), "{} has no .tsr.zst files", dir.display());
    let scratch = tempfile::tempdir().unwrap();
    for path in paths {
        let want = read_simply(&path);
        let db = import(&path);
        assert!(content(&db.db) == want, "{} changed on the way in", path.display());
        let copy = scratch.path().join(path.file_name().unwrap());
        let format = Format::by_path(&copy).unwrap();
        let output = Box::new(File::create(&copy).unwrap());
        let mut exporter = (format.exporter)(output, &ExportOptions::default()).unwrap();
        for (labels, (times, bits)) in content(&db.db) {
            let values = bits.into_iter().map(f64::from_bits).collect();
            let all = Samples { times, values, ..Samples::default() };
            exporter.write(&labels, Kind::Float, &all, &[]).unwrap();
        }
        let exported = exporter.finish().unwrap();
        assert!(read_simply(&copy) == want, "{} changed on the way out", path.display());
        series += want.len();
        samples += exported.samples;
    }
    println!("{series} series with {samples} samples of {} are unchanged", dir.display());
}
