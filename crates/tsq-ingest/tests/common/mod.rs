//! What the tests share: a throw-away database and a printout of everything in it.

#![allow(dead_code)]

use std::fmt::Write;

use tsq_core::{Db, Durability, Histogram, Labels, Options, Samples, Source, Span, TimeRange};

/// A database that takes samples of any time, in a directory that goes away with it.
pub(crate) struct TestDb {
    pub(crate) db: Db,
    _dir: tempfile::TempDir,
}

impl TestDb {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // These tests are about formats: nothing need survive, and small files open faster.
        let mut options =
            Options { durability: Durability::Os, segment_bytes: 1 << 20, background: false, ..Options::default() };
        options.limits.future = None;
        Self { db: Db::open(dir.path(), options).unwrap(), _dir: dir }
    }
}

/// All of a database, one sorted line a sample, exemplar and metadata entry.
pub(crate) fn dump(db: &Db) -> String {
    let snapshot = db.snapshot().unwrap();
    let mut lines = Vec::new();
    let mut stream = snapshot.select(&[], TimeRange::ALL).unwrap();
    let mut samples = Samples::default();
    loop {
        let batch = stream.next_batch(100).unwrap();
        if batch.is_empty() {
            break;
        }
        for series in batch {
            for kind in series.kinds() {
                series.read(kind, TimeRange::ALL, &mut samples).unwrap();
                let head = format!("{} {}", kind.name(), show(series.labels()));
                dump_samples(&head, &samples, &mut lines);
            }
        }
    }
    for (labels, exemplars) in snapshot.exemplars(&[], TimeRange::ALL).unwrap() {
        for e in exemplars {
            let (labels, own) = (show(&labels), show(&e.labels));
            lines.push(format!("exemplar {labels} {own} {} {:016x}", e.time_ms, e.value.to_bits()));
        }
    }
    for m in snapshot.metadata().unwrap() {
        lines.push(format!("metadata {} {} {}|{}", m.metric, m.metric_type, m.unit, m.help));
    }
    lines.sort();
    lines.iter().fold(String::new(), |mut all, line| {
        writeln!(all, "{}", line.replace('\n', "\\n")).unwrap();
        all
    })
}

fn dump_samples(head: &str, samples: &Samples, lines: &mut Vec<String>) {
    for (index, time) in samples.times.iter().enumerate() {
        let step = samples.steps.get(index).map(|step| format!(" step={step}")).unwrap_or_default();
        let value = match samples.histograms.get(index) {
            Some(histogram) => show_histogram(histogram),
            None => format!("{:016x}", samples.values[index].to_bits()),
        };
        let start = samples.starts.get(index).filter(|start| **start != 0);
        let start = start.map(|start| format!(" start={start}")).unwrap_or_default();
        lines.push(format!("{head} {time}{step} {value}{start}"));
    }
}

pub(crate) fn show(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(","))
}

fn show_histogram(h: &Histogram) -> String {
    let list = |values: &[f64]| {
        let all: Vec<_> = values.iter().map(|value| format!("{:016x}", value.to_bits())).collect();
        all.join(",")
    };
    let side = |spans: &[Span], counts: &[f64]| {
        let spans: Vec<_> = spans.iter().map(|span| format!("[{},{}]", span.offset, span.length)).collect();
        format!("[{}][{}]", spans.join(","), list(counts))
    };
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    format!(
        "schema={} hint={} integer={} threshold={} zero={} count={} sum={} pos={} neg={} custom={}",
        h.schema,
        h.reset_hint as u8,
        h.integer,
        bits(h.zero_threshold),
        bits(h.zero_count),
        bits(h.count),
        bits(h.sum),
        side(&h.positive_spans, &h.positive),
        side(&h.negative_spans, &h.negative),
        list(&h.custom_values)
    )
}
