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
