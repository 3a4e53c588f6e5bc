//! Samples of all four kinds, and everything a database answers.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tsq_core::{Batch, Db, Histogram, Kind, Labels, Samples, Source, Span, TimeRange};

/// One sample of one of a few series.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) series: u8,
    pub(crate) kind: Kind,
    pub(crate) time_ms: i64,
    pub(crate) step: i64,
    pub(crate) value: u8,
    pub(crate) start: i64,
}

/// Few series, times and values, so that samples meet.
pub(crate) fn write(times: std::ops::Range<i64>) -> impl Strategy<Value = Write> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    (0_u8..4, kind, times, 0_i64..3, 0_u8..6, 0_i64..3).prop_map(|(series, kind, time_ms, step, value, start)| Write {
        series,
        kind,
        time_ms,
        step,
        value,
        start,
    })
}

pub(crate) fn labels(series: u8) -> Labels {
    let (job, shard) = (["gpu", "runs"][usize::from(series % 2)], format!("shard_{series}"));
    Labels::from_pairs([("__name__", "m"), ("job", job), ("shard", &shard)]).expect("the labels are good")
}

/// Ordinary values and those that are easily lost: the marker of an end, signs of zero, NaNs.
fn float(value: u8) -> f64 {
    let odd = [0x7ff0_0000_0000_0002, 1 << 63, 0, 0x7ff8_0000_0000_0001];
    odd.get(usize::from(value)).map_or(f64::from(value) + 0.25, |bits| f64::from_bits(*bits))
}

fn histogram(value: u8) -> Histogram {
    let counts = vec![f64::from(value); usize::from(value % 3)];
    Histogram {
        schema: (value % 2) as i8,
        integer: true,
        zero_count: f64::from(value),
        count: f64::from(value) + counts.iter().sum::<f64>(),
        sum: float(value),
        positive_spans: vec![Span { offset: i32::from(value), length: counts.len() as u32 }],
        positive: counts,
        ..Histogram::default()
    }
}

impl Write {
    pub(crate) fn add_to(&self, batch: &mut Batch) {
        batch.series(self.kind, &labels(self.series));
        match self.kind {
            Kind::Float => batch.float(self.time_ms, float(self.value)),
            Kind::Run => batch.run(self.time_ms, self.step, float(self.value)),
            Kind::Histogram => batch.histogram(self.time_ms, histogram(self.value)),
            Kind::RunHistogram => batch.run_histogram(self.time_ms, self.step, histogram(self.value)),
        }
        batch.start(self.start);
    }
}

/// A sample as text with every bit of it.
pub(crate) type Row = (i64, String);

/// Every sample that a database shows, and what it shows of two ranges of time apart.
pub(crate) fn answers(db: &Db, ranges: &[TimeRange]) -> Vec<BTreeMap<(Labels, Kind), Vec<Row>>> {
    ranges.iter().map(|range| answer(db, *range)).collect()
}

pub(crate) fn answer(db: &Db, range: TimeRange) -> BTreeMap<(Labels, Kind), Vec<Row>> {
    let snapshot = db.snapshot().expect("the database is open");
    let mut stream = snapshot.select(&[], range).expect("nothing is damaged");
    let (mut found, mut samples) = (BTreeMap::new(), Samples::default());
    loop {
        let batch = stream.next_batch(3).expect("nothing is damaged");
        if batch.is_empty() {
            return found;
        }
        for series in batch {
            for kind in series.kinds() {
                series.read(kind, range, &mut samples).expect("nothing is damaged");
                if !samples.is_empty() {
                    found.insert((series.labels().clone(), kind), rows(kind, &samples));
                }
            }
        }
    }
}

fn rows(kind: Kind, samples: &Samples) -> Vec<Row> {
    let row = |row: usize| {
        let step = if kind.has_step() { samples.steps[row] } else { 0 };
        let value = match kind.is_histogram() {
            true => format!("{:?} {:x}", samples.histograms[row], samples.histograms[row].sum.to_bits()),
            false => format!("{:x}", samples.values[row].to_bits()),
        };
        (samples.times[row], format!("step {step} start {} {value}", samples.start(row)))
    };
    (0..samples.len()).map(row).collect()
}
