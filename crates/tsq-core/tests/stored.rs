//! Directories as earlier states of the formats left them: they open, and hold what was written.

use std::path::{Path, PathBuf};

use tsq_core::{Db, Kind, Limits, Options, Samples, Source, TimeRange};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn content(db: &Db) -> Vec<String> {
    let snapshot = db.snapshot().unwrap();
    let (mut lines, mut samples) = (Vec::new(), Samples::default());
    for series in snapshot.select(&[], TimeRange::ALL).unwrap().next_batch(usize::MAX).unwrap() {
        for kind in series.kinds() {
            series.read(kind, TimeRange::ALL, &mut samples).unwrap();
            let Samples { times, steps, values, histograms, starts } = &samples;
            assert!(starts.is_empty(), "there were no start times yet");
            let values = match kind {
                Kind::Histogram => format!("{:?}", histograms.iter().map(|h| (h.count, h.sum)).collect::<Vec<_>>()),
                _ => format!("{values:?}"),
            };
            let seconds: Vec<i64> = times.iter().map(|time| (time - 1_700_000_000_000) / 1000).collect();
            lines.push(format!("{} {seconds:?} {steps:?} {values}", series.labels()));
        }
    }
    lines
}

/// Version 1 of the manifest, of a batch in the log and of all sections of a block, written before there were start
/// times and tombstones: a block from an import, and a log that was not flushed before the process was killed.
#[test]
fn the_first_formats_open() {
    let stored = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/first_formats");
    let dir = tempfile::tempdir().unwrap();
    copy(&stored, dir.path());
    let options =
        || Options { background: false, limits: Limits { future: None, ..Limits::default() }, ..Options::default() };
    let want = [
        r#"old_block{job="a"} [0, 15, 30] [] [1.0, 2.5, 4.0]"#,
        r#"old_histogram [0] [] [(3.0, 4.5)]"#,
        r#"old_log{job="a"} [45, 60] [] [7.5, 8.5]"#,
        r#"old_log_histogram [45] [] [(3.0, 4.5)]"#,
        r#"old_run{job="a"} [0, 15] [1, 2] [0.5, 0.25]"#,
    ];
    let db = Db::open(dir.path(), options()).unwrap();
    assert!(db.damage().is_empty(), "{:?}", db.damage());
    assert_eq!(content(&db), want);
    db.flush().unwrap();
    db.close().unwrap();
    assert_eq!(content(&Db::open(dir.path(), options()).unwrap()), want);
}

/// All that a database holds, to the bit.
fn bits(db: &Db) -> String {
    let snapshot = db.snapshot().unwrap();
    let (mut text, mut samples) = (String::new(), Samples::default());
    for series in snapshot.select(&[], TimeRange::ALL).unwrap().next_batch(usize::MAX).unwrap() {
        for kind in series.kinds() {
            series.read(kind, TimeRange::ALL, &mut samples).unwrap();
            let Samples { times, steps, values, histograms, starts } = &samples;
            let values: String = values.iter().map(|value| format!(" {:x}", value.to_bits())).collect();
            text += &format!("{} {kind:?}\n{times:?}\n{steps:?}\n{starts:?}\n{values}\n", series.labels());
            text += &format!("{histograms:?}\n");
        }
    }
    text
}

/// Writes a database with all kinds of samples in many encodings: from an import, a flush, a merge, and in the log.
fn store(dir: &Path) {
    let options =
        Options { background: false, limits: Limits { future: None, ..Limits::default() }, ..Options::default() };
    let db = Db::open(dir, options).unwrap();
    let shapes: [fn(i64) -> f64; 9] = [
        |_| 1.5,
        |at| (at / 40) as f64,
        |at| (at * at % 97) as f64 / 10.0,
        |at| if at % 17 == 0 { tsq_core::stale_nan() } else { 0.0 },
        |at| f64::from((at as f32).sqrt()),
        |at| (at as f64).sin(),
        |at| [0.1, 7e9, -2.5][(at * at % 3) as usize],
        |at| (at * 1000 + at % 3) as f64,
        |at| if at % 2 == 0 { -0.0 } else { f64::from_bits(0x7ff0_0000_0000_0001 + at as u64) },
    ];
    let fill = |batch: &mut tsq_core::Batch, way: &str, first: i64| {
        for (shape, value) in shapes.iter().enumerate() {
            let shape_name = format!("{shape}");
            let labels = [("__name__", "stored"), ("shape", shape_name.as_str()), ("way", way)];
            let labels = tsq_core::Labels::from_pairs(labels).unwrap();
            let time = |at: i64| 1_700_000_000_000 + at * 15_000 + at * at % (shape as i64 + 1);
            batch.series(Kind::Float, &labels);
            for at in first..first + 80 {
                batch.float(time(at), value(at));
                if shape % 2 == 0 {
                    batch.start(1_699_999_999_000);
                }
            }
            batch.series(Kind::Run, &labels);
            (first..first + 40).for_each(|at| batch.run(time(at), at * 10, value(at)));
        }
        for (bucket, bound) in ["0.5", "1", "+Inf"].into_iter().enumerate() {
            let labels = [("__name__", "stored_bucket"), ("le", bound), ("way", way)];
            batch.series(Kind::Float, &tsq_core::Labels::from_pairs(labels).unwrap());
            (first..first + 80).for_each(|at| {
                batch.float(1_700_000_000_000 + at * 15_000, (at * at / 9 * (bucket as i64 + 1)) as f64);
            });
        }
        let labels = tsq_core::Labels::from_pairs([("__name__", "stored_histogram"), ("way", way)]).unwrap();
        batch.series(Kind::Histogram, &labels);
        for at in first..first + 10 {
            let count = 2.0 * at as f64;
            let histogram =
                tsq_core::Histogram { sum: at as f64, count, zero_count: count, integer: true, ..Default::default() };
            batch.histogram(1_700_000_000_000 + at * 15_000, histogram);
        }
    };
    let mut batch = db.batch();
    fill(&mut batch, "import", 0);
    let mut importer = db.importer().unwrap();
    importer.batch(&batch).unwrap();
    importer.finish().unwrap();
    for (way, first) in [("merge", 0), ("merge", 80), ("flush", 0)] {
        batch.clear();
        fill(&mut batch, way, first);
        assert_eq!(db.append(&batch).unwrap().rejected, 0);
        db.flush().unwrap();
        if first > 0 {
            db.compact().unwrap();
        }
    }
    let range = TimeRange::new(1_700_000_150_000, 1_700_000_300_000);
    db.delete(&[tsq_core::Matcher::equal("shape", "2")], range).unwrap();
    batch.clear();
    fill(&mut batch, "log", 0);
    assert_eq!(db.append(&batch).unwrap().rejected, 0);
    std::fs::write(dir.with_extension("txt"), bits(&db)).unwrap();
    db.close().unwrap();
    std::fs::remove_file(dir.join("LOCK")).unwrap();
}

/// The formats of 0.1.0: block and manifest as of the block codecs and matrices, steps, start times, tombstones, a log. The directory
/// is never written again; a later state of the formats gets one of its own. Where it is missing,
/// `TSQ_STORE_REFERENCES=1` writes it.
#[test]
fn a_stored_database_comes_back_to_the_bit() {
    let stored = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/block_codecs");
    if !stored.exists() && std::env::var_os("TSQ_STORE_REFERENCES").is_some() {
        store(&stored);
    }
    let want = std::fs::read_to_string(stored.with_extension("txt")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy(&stored, dir.path());
    let options =
        || Options { background: false, limits: Limits { future: None, ..Limits::default() }, ..Options::default() };
    assert!(Db::verify(dir.path()).unwrap().findings.is_empty());
    let db = Db::open(dir.path(), options()).unwrap();
    assert!(db.damage().is_empty(), "{:?}", db.damage());
    assert_eq!(bits(&db), want);
    // What today's writer makes of it holds the same.
    db.flush().unwrap();
    db.compact().unwrap();
    db.clean_tombstones().unwrap();
    assert_eq!(bits(&db), want);
    db.close().unwrap();
    let db = Db::open(dir.path(), options()).unwrap();
    assert_eq!(bits(&db), want);
}
