//! Blocks in which the buckets of classic histograms share payloads.

use super::*;
use crate::families::Groups;
use crate::sample::stale_nan;

fn bucket(le: &str) -> Labels {
    labels(&[("__name__", "x_bucket"), ("job", "a"), ("le", le), ("path", "/")])
}

/// Cumulative counts of a bucket at every 15 s.
fn counts(bucket: i64, rows: std::ops::Range<i64>) -> Samples {
    let count = |row: i64| (row * (bucket + 1) / 3 + row / 7 + 5 * bucket) as f64;
    Samples {
        times: rows.clone().map(|row| row * 15_000).collect(),
        values: rows.map(count).collect(),
        ..Samples::default()
    }
}

/// Writes series, given in any order, the families among them together.
fn write(home: &Home, id: u64, mut series: Vec<(Labels, Samples)>) -> BlockMeta {
    let mut writer = home.writer(id);
    series.sort_by(|left, right| left.0.cmp(&right.0));
    let mut take = |from: &mut Samples, kind: Kind, samples: &mut Samples| {
        if kind == Kind::Float {
            *samples = std::mem::take(from);
        }
        Ok(())
    };
    let mut groups = Groups::new();
    for (labels, samples) in series {
        if let Some(group) = groups.push(labels, samples) {
            group.write(&mut writer, &mut take).unwrap();
        }
    }
    groups.finish().unwrap().write(&mut writer, &mut take).unwrap();
    writer.finish(&[], &[]).unwrap()
}

/// Times, bits and start times.
type Rows = Vec<(i64, u64, i64)>;

fn bits(samples: &Samples) -> Rows {
    let row = |at: usize| (samples.times[at], samples.values[at].to_bits(), samples.start(at));
    (0..samples.len()).map(row).collect()
}

/// All floats of a series, read with one cache for all series.
fn all_series(block: &Arc<BlockReader>) -> Vec<(Labels, Rows)> {
    let (mut reader, mut cache) = (block.series_reader().unwrap(), ReadCache::default());
    let read = |series: u32| {
        let (mut chunks, mut samples) = (vec![], Samples::default());
        let labels = reader.labels(series).unwrap();
        reader.chunks(series, &mut chunks).unwrap();
        for chunk in &chunks {
            block.read_chunk(chunk, &mut cache, &mut samples).unwrap();
        }
        (labels, bits(&samples))
    };
    (0..block.meta().series as u32).map(read).collect()
}

const BOUNDS: [&str; 5] = ["0.1", "2.5", "10", "100", "+Inf"];

/// Buckets of which some begin later or end earlier, one restarts, one is no count once, one lacks a row, all are stale at
/// one time, and some have start times.
fn odd_family() -> Vec<(Labels, Samples)> {
    let mut series: Vec<_> = (0..5).map(|at| counts(at, at % 2..1500 + at % 3)).collect();
    series[1].values[900] = 3.0;
    series[2].values[1100] = 0.5;
    let stale_ms = 15_000 * 70;
    for samples in &mut series {
        let at = samples.times.iter().position(|time| *time == stale_ms).unwrap();
        samples.values[at] = stale_nan();
    }
    series[3].starts = series[3].times.iter().map(|time| time - time % 1_000_000 + 1).collect();
    let mut all: Vec<_> = BOUNDS.iter().map(|le| bucket(le)).zip(series).collect();
    let mut gap = counts(3, 0..1500);
    gap.times.remove(77);
    gap.values.remove(77);
    all.push((bucket("50"), gap));
    all.push((bucket("odd"), counts(1, 0..3)));
    all
}

#[test]
fn families_come_back_and_share_what_they_can() {
    let home = Home::new();
    let mut want = odd_family();
    let meta = write(&home, 7, want.clone());
    want.sort_by(|left, right| left.0.cmp(&right.0));
    let block = home.open(7);
    let findings = block.verify();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(all_series(&block), want.iter().map(|(labels, s)| (labels.clone(), bits(s))).collect::<Vec<_>>());
    for (series, (_, samples)) in want.iter().enumerate() {
        assert_eq!(bits(&read(&block, series as u32, Kind::Float)), bits(samples), "without what others decoded");
    }
    let stats = block.stats().unwrap();
    assert_eq!(stats.parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), meta.file_bytes);
    let matrix = stats.codecs["matrix"];
    assert_eq!(matrix.columns, 5 + 4, "the second stretch of one bucket holds what is no count");
    let footer = footer_of(&std::fs::read(home.path(7)).unwrap());
    assert!(footer.features.shared && footer.features.starts);
}

#[test]
fn every_flipped_bit_of_a_family_is_reported() {
    let home = Home::new();
    let series = (0..3).map(|at| (bucket(BOUNDS[at]), counts(at as i64, at as i64 % 2..9))).collect();
    write(&home, 4, series);
    assert_eq!(home.open(4).stats().unwrap().codecs["matrix"].columns, 3);
    check_flips(&home, 4);
}

/// Reading all buckets decodes the payload once; reading one decodes no bucket above it.
#[test]
fn a_payload_is_decoded_once() {
    let home = Home::new();
    write(&home, 1, (0..5).map(|at| (bucket(BOUNDS[at]), counts(at as i64, 0..1024))).collect());
    let block = home.open(1);
    let (mut reader, mut cache) = (block.series_reader().unwrap(), ReadCache::default());
    let mut read = |series: u32, cache: &mut ReadCache| {
        let (mut chunks, mut samples) = (vec![], Samples::default());
        reader.chunks(series, &mut chunks).unwrap();
        let bytes = block.read_chunk_in(&chunks[0], TimeRange::ALL, cache, &mut samples).unwrap().0;
        assert_eq!(samples.len(), 1024);
        (bytes, u64::from(chunks[0].entry.len))
    };
    // In label order "+Inf" comes first.
    let (first, whole) = read(0, &mut cache);
    assert!(first >= whole, "{first} of {whole} bytes, and the times");
    assert_eq!((1..5).map(|series| read(series, &mut cache).0).sum::<u64>(), 0);
    let memory = cache.memory();
    assert!(memory > 5 * 8 * 1024 && memory < 1 << 20, "{memory}");
    let (lowest, whole) = read(1, &mut ReadCache::default());
    assert!(lowest < whole / 2, "{lowest} of {whole} bytes");
}

/// Blocks without families keep the versions that older releases read.
#[test]
fn versions_tell_of_shared_payloads() {
    let home = Home::new();
    write(&home, 1, vec![(bucket("1"), counts(1, 0..4)), (labels(&[("__name__", "up")]), counts(0, 0..4))]);
    let footer = footer_of(&std::fs::read(home.path(1)).unwrap());
    assert_eq!((footer.features.shared, footer.features.starts), (false, false));
    write(&home, 2, vec![(bucket("1"), counts(1, 0..4)), (bucket("2"), counts(0, 0..4))]);
    let footer = footer_of(&std::fs::read(home.path(2)).unwrap());
    assert_eq!((footer.features.shared, footer.features.starts), (true, false));
}
