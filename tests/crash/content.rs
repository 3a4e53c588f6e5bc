//! Everything a database holds, as one comparable value.

use tsq_core::{Db, Kind, Samples, Source, TimeRange};
use xxhash_rust::xxh3::Xxh3;

/// A hash of all series, samples and bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) samples: u64,
    hash: u64,
}

impl Digest {
    /// That of an empty database.
    pub(crate) const EMPTY: Self = Self { samples: 0, hash: 0x2d06_8005_38d3_94c2 };
}

/// Reads all there is.
pub(crate) fn digest(db: &Db) -> Digest {
    let snapshot = db.snapshot().expect("the database is open");
    let mut stream = snapshot.select(&[], TimeRange::ALL).expect("nothing is damaged");
    let (mut hash, mut count) = (Xxh3::new(), 0);
    let mut samples = Samples::default();
    loop {
        let batch = stream.next_batch(64).expect("nothing is damaged");
        if batch.is_empty() {
            return Digest { samples: count, hash: hash.digest() };
        }
        for series in batch {
            hash.update(series.labels().as_bytes());
            for kind in series.kinds() {
                series.read(kind, TimeRange::ALL, &mut samples).expect("nothing is damaged");
                count += samples.len() as u64;
                update(&mut hash, kind, &samples);
            }
        }
    }
}

fn update(hash: &mut Xxh3, kind: Kind, samples: &Samples) {
    hash.update(&[kind as u8]);
    hash.update(&(samples.len() as u64).to_le_bytes());
    for column in [&samples.times, &samples.steps] {
        for value in column {
            hash.update(&value.to_le_bytes());
        }
    }
    for row in 0..samples.len() {
        hash.update(&samples.start(row).to_le_bytes());
    }
    for value in &samples.values {
        hash.update(&value.to_bits().to_le_bytes());
    }
    for histogram in &samples.histograms {
        hash.update(format!("{histogram:?}").as_bytes());
        hash.update(&histogram.sum.to_bits().to_le_bytes());
    }
}
