//! Whole blocks: what was written comes back, whatever is damaged is noticed.

mod families;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::format::{Footer, PAGE_LEN, decode_footer, encode_footer, footer_span};
use super::{BlockId, BlockMeta, BlockReader, BlockSpec, BlockWriter, ReadCache, Reads};
use crate::batch::{Exemplar, Metadata};
use crate::disk::{Disk, MemoryFile, RealDisk};
use crate::error::{ErrorKind, Result};
use crate::histogram::{Histogram, Span};
use crate::labels::Labels;
use crate::options::{Options, ReadMode};
use crate::query::{MatchOp, Matcher, Pattern, all_match};
use crate::sample::{Kind, Samples, TimeRange};

pub(super) const DB: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

pub(super) fn spec(id: u64) -> BlockSpec {
    BlockSpec { db_id: DB, id: BlockId(id), level: 1, lsn_min: 3, lsn_max: 9, replaces: vec![BlockId(1), BlockId(2)] }
}

pub(super) struct Home {
    pub(super) dir: TempDir,
    pub(super) disk: Arc<dyn Disk>,
}

impl Home {
    pub(super) fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), disk: Arc::new(RealDisk) }
    }

    pub(super) fn path(&self, id: u64) -> PathBuf {
        self.dir.path().join(BlockId(id).file_name())
    }

    pub(super) fn writer(&self, id: u64) -> BlockWriter {
        BlockWriter::create(Arc::clone(&self.disk), self.dir.path(), spec(id)).unwrap()
    }

    pub(super) fn open(&self, id: u64) -> Arc<BlockReader> {
        self.open_by(id, &reads(ReadMode::Map))
    }

    fn open_by(&self, id: u64, reads: &Arc<Reads>) -> Arc<BlockReader> {
        BlockReader::open(&*self.disk, &self.path(id), DB, reads).unwrap()
    }
}

fn reads(read_mode: ReadMode) -> Arc<Reads> {
    Arc::new(Reads::new(&Options { read_mode, ..Options::default() }))
}

const READ_MODES: [ReadMode; 2] = [ReadMode::Map, ReadMode::Pread];

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn floats(start: i64, values: impl IntoIterator<Item = f64>) -> Samples {
    let values: Vec<f64> = values.into_iter().collect();
    Samples { times: (0..values.len() as i64).map(|i| start + i * 15_000).collect(), values, ..Samples::default() }
}

/// All samples of one kind of a series.
pub(super) fn read(block: &Arc<BlockReader>, series: u32, kind: Kind) -> Samples {
    let (mut chunks, mut out) = (vec![], Samples::default());
    block.chunks(series, &mut chunks).unwrap();
    for chunk in chunks.iter().filter(|chunk| chunk.kind == kind) {
        block.read_chunk(chunk, &mut ReadCache::default(), &mut out).unwrap();
    }
    out
}

/// Series that pass matchers and have a chunk in a range.
fn select(block: &BlockReader, matchers: &[Matcher], range: TimeRange) -> Result<Vec<u32>> {
    let (mut found, mut reader) = (Vec::new(), block.series_reader()?);
    for series in block.select(matchers)? {
        let mut chunks = Vec::new();
        reader.chunks_in(series, range, &mut chunks)?;
        found.extend((!chunks.is_empty()).then_some(series));
    }
    Ok(found)
}

#[test]
fn a_block_comes_back() {
    let home = Home::new();
    let mut writer = home.writer(7);
    let long = floats(1_000_000, (0..3000).map(|i| f64::from(i) * 0.5));
    let run = Samples { steps: vec![1, 2, 3], ..floats(5, [0.5, 0.25, f64::NAN]) };
    writer.series(&labels(&[("__name__", "loss"), ("run_id", "a")])).unwrap();
    writer.samples(Kind::Run, &run).unwrap();
    writer.series(&labels(&[("__name__", "up"), ("job", "api")])).unwrap();
    writer.samples(Kind::Float, &long).unwrap();
    writer.series(&labels(&[("__name__", "up"), ("job", "db")])).unwrap();
    writer.samples(Kind::Float, &long).unwrap();
    let written = writer.finish(&[], &[]).unwrap();

    let block = home.open(7);
    assert_eq!(*block.meta(), written);
    assert_eq!((written.series, written.chunks, written.samples), (3, 7, 6003));
    assert_eq!((written.min_ms, written.max_ms), (5, 1_000_000 + 2999 * 15_000));
    assert_eq!(written.replaces, [BlockId(1), BlockId(2)]);
    assert_eq!(select(&block, &[Matcher::equal("job", "db")], TimeRange::ALL).unwrap(), [2]);
    assert_eq!(select(&block, &[], TimeRange::new(0, 100)).unwrap(), [0]);
    assert_eq!(block.labels(1).unwrap(), labels(&[("__name__", "up"), ("job", "api")]));
    assert_eq!(read(&block, 2, Kind::Float), long);
    assert_eq!(read(&block, 0, Kind::Run).steps, [1, 2, 3]);
    assert_eq!(block.label_names(None).unwrap(), ["__name__", "job", "run_id"]);
    assert_eq!(block.label_values("job", None).unwrap(), ["api", "db"]);
    let stats = block.stats().unwrap();
    assert_eq!(stats.parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), written.file_bytes);
    assert_eq!(stats.codecs["linear"].columns, 5, "two series share three time columns; two of the run");
}

#[test]
fn empty_blocks_and_blocks_of_one_series_work() {
    let home = Home::new();
    home.writer(1).finish(&[], &[]).unwrap();
    let block = home.open(1);
    assert!(select(&block, &[], TimeRange::ALL).unwrap().is_empty());
    assert!(block.label_names(None).unwrap().is_empty() && block.label_values("a", None).unwrap().is_empty());
    assert_eq!(block.labels(0).unwrap_err().kind(), ErrorKind::InvalidArgument);

    let mut writer = home.writer(2);
    writer.series(&Labels::empty()).unwrap();
    writer.samples(Kind::Float, &floats(i64::MAX, [1.0])).unwrap();
    writer.finish(&[], &[]).unwrap();
    let block = home.open(2);
    assert_eq!(select(&block, &[], TimeRange::ALL).unwrap(), [0]);
    assert_eq!(block.labels(0).unwrap(), Labels::empty());
    assert_eq!(read(&block, 0, Kind::Float).times, [i64::MAX]);
}

#[test]
fn an_unfinished_block_leaves_no_file() {
    let home = Home::new();
    let mut writer = home.writer(3);
    writer.series(&labels(&[("a", "2")])).unwrap();
    assert_eq!(writer.series(&labels(&[("a", "1")])).unwrap_err().kind(), ErrorKind::InvalidArgument);
    drop(writer);
    assert!(home.disk.list(home.dir.path()).unwrap().is_empty());
}

/// A block with every kind, shared columns, metadata and exemplars.
fn write_mixed(home: &Home, id: u64) -> BlockMeta {
    let mut writer = home.writer(id);
    let histogram = |count: f64| Histogram {
        schema: 3,
        integer: true,
        count,
        sum: count * 0.5,
        positive_spans: vec![Span { offset: -2, length: 2 }],
        positive: vec![count, 0.0],
        ..Histogram::default()
    };
    let histograms = Samples {
        times: vec![1, 2, 9],
        histograms: vec![histogram(1.0), Histogram::stale(), histogram(4.0)],
        starts: vec![-3, 0, -3],
        ..Samples::default()
    };
    for job in ["api", "cache", "db"] {
        writer.series(&labels(&[("__name__", "latency"), ("job", job)])).unwrap();
        writer.samples(Kind::Float, &floats(0, [1.0, f64::NAN, -0.0])).unwrap();
        writer.samples(Kind::Histogram, &histograms).unwrap();
        writer.samples(Kind::Run, &Samples { steps: vec![5, 6], ..floats(-7, [0.1, 0.2]) }).unwrap();
    }
    for index in 0..20 {
        writer.series(&labels(&[("__name__", "up"), ("i", &format!("{index:02}"))])).unwrap();
        writer.samples(Kind::Float, &floats(index * 7, [f64::from(index as u8)])).unwrap();
    }
    let metadata = Metadata { metric: "up".into(), metric_type: "gauge".into(), ..Metadata::default() };
    let exemplar = Exemplar { labels: labels(&[("trace_id", "x")]), value: -0.0, time_ms: -5 };
    writer.finish(&[metadata], &[(labels(&[("__name__", "up")]), vec![exemplar.clone(), exemplar])]).unwrap()
}

/// All that a block can tell, as text, or the first error.
fn everything(block: &Arc<BlockReader>) -> Result<String> {
    let mut all = format!("{:?}\n", block.meta());
    for matchers in [vec![], vec![Matcher::equal("job", "db")], vec![Matcher::equal("i", "03")]] {
        for range in [TimeRange::ALL, TimeRange::new(1, 2)] {
            all += &format!("{:?}\n", select(block, &matchers, range)?);
        }
    }
    for series in 0..block.meta().series as u32 {
        let mut chunks = vec![];
        block.chunks(series, &mut chunks)?;
        all += &format!("{} {chunks:?}\n", block.labels(series)?);
        for chunk in &chunks {
            let mut samples = Samples::default();
            block.read_chunk(chunk, &mut ReadCache::default(), &mut samples)?;
            let bits: Vec<_> = samples.values.iter().map(|value| value.to_bits()).collect();
            let Samples { times, steps, histograms, starts, .. } = samples;
            all += &format!("{times:?} {steps:?} {bits:?} {histograms:?} {starts:?}\n");
        }
    }
    for name in block.label_names(None)? {
        all += &format!("{name} {:?}\n", block.label_values(&name, None)?);
    }
    all += &format!("{:?} {:?} {:?}", block.metadata()?, block.exemplars()?, block.stats()?);
    Ok(all)
}

fn footer_of(bytes: &[u8]) -> Footer {
    let len = bytes.len() as u64;
    let span = footer_span(bytes, len).unwrap();
    decode_footer(&bytes[bytes.len() - span..], len).unwrap()
}

/// Opens a file with other bytes in place of the written ones.
fn open_changed(home: &Home, bytes: &[u8], mode: ReadMode) -> Result<Arc<BlockReader>> {
    let file = Box::new(MemoryFile(Bytes::copy_from_slice(bytes)));
    BlockReader::from_file(file, &home.path(99), DB, &reads(mode))
}

#[test]
fn all_kinds_metadata_and_exemplars_come_back_and_verify() {
    let home = Home::new();
    let meta = write_mixed(&home, 4);
    assert_eq!((meta.series, meta.chunks, meta.samples), (23, 29, 3 * 8 + 20));
    let block = home.open(4);
    let findings = block.verify();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(block.metadata().unwrap()[0].metric_type, "gauge");
    let exemplars = block.exemplars().unwrap();
    assert_eq!((exemplars.len(), exemplars[0].1.len(), exemplars[0].1[1].time_ms), (1, 2, -5));
    let histograms = read(&block, 1, Kind::Histogram);
    assert!(histograms.histograms[1].is_stale() && histograms.histograms[2].positive[0] == 4.0);
    assert_eq!((histograms.starts, read(&block, 1, Kind::Float).starts), (vec![-3, 0, -3], vec![]));
    let stats = block.stats().unwrap();
    assert_eq!(stats.codecs["histogram"].rows, 9);
    assert_eq!(stats.parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), meta.file_bytes);
}

/// Compaction moves full chunks as they are: the copy tells the same, and equal times are still stored once.
#[test]
fn copied_chunks_tell_the_same() {
    let home = Home::new();
    let meta = write_mixed(&home, 4);
    let source = home.open(4);
    let mut writer = home.writer(5);
    let mut reader = source.series_reader().unwrap();
    for series in 0..meta.series as u32 {
        writer.series(&reader.labels(series).unwrap()).unwrap();
        let mut chunks = vec![];
        reader.chunks(series, &mut chunks).unwrap();
        chunks.iter().for_each(|chunk| writer.copy_chunk(&source, chunk).unwrap());
    }
    let copied = writer.finish(&source.metadata().unwrap(), &source.exemplars().unwrap()).unwrap();
    let copy = home.open(5);
    let findings = copy.verify();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!((copied.file_bytes, copied.samples, copied.chunks), (meta.file_bytes, meta.samples, meta.chunks));
    let content = |block: &Arc<BlockReader>| everything(block).unwrap().split_once('\n').unwrap().1.to_owned();
    assert_eq!(content(&copy), content(&source));
}

/// A file read page by page, through a cache that holds next to nothing, gives what a map gives.
#[test]
fn blocks_are_read_without_a_map() {
    let home = Home::new();
    let mut writer = home.writer(4);
    let noise =
        |seed: u64| (0..9_000_u64).map(move |at| f64::from_bits((seed + at).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    for series in 0..9 {
        writer.series(&labels(&[("a", &format!("{series:0300}"))])).unwrap();
        writer.samples(Kind::Float, &floats(0, noise(series))).unwrap();
    }
    let meta = writer.finish(&[], &[]).unwrap();
    assert!(meta.file_bytes > 8 * PAGE_LEN as u64, "chunks lie across the borders of pages");
    let want = everything(&home.open(4)).unwrap();
    for read_cache_bytes in [0, 64 << 20] {
        let options = Options { read_mode: ReadMode::Pread, read_cache_bytes, ..Options::default() };
        let block = home.open_by(4, &Arc::new(Reads::new(&options)));
        assert_eq!(everything(&block).unwrap(), want);
        assert!(block.verify().is_empty());
    }
}

/// A flipped bit anywhere in the file must be found by opening or by `verify`, and a read that succeeds in spite of it
/// must give the data that was written.
#[test]
fn every_flipped_bit_is_reported() {
    let home = Home::new();
    write_mixed(&home, 4);
    check_flips(&home, 4);
}

fn check_flips(home: &Home, id: u64) {
    let want = everything(&home.open(id)).unwrap();
    let mut bytes = std::fs::read(home.path(id)).unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match open_changed(home, &bytes, READ_MODES[bit % 2]) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {error}"),
            Ok(block) => {
                match everything(&block) {
                    Err(error) => assert!(error.place().is_some_and(|(_, at)| at.is_some()), "bit {bit}: {error}"),
                    Ok(found) => assert_eq!(found, want, "bit {bit}"),
                }
                assert!(!block.verify().is_empty(), "bit {bit} of {} was not found", bytes.len() * 8);
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn files_cut_anywhere_or_with_more_bytes_are_refused() {
    let home = Home::new();
    write_mixed(&home, 4);
    let mut bytes = std::fs::read(home.path(4)).unwrap();
    for len in 0..bytes.len() {
        for mode in READ_MODES {
            assert_eq!(open_changed(&home, &bytes[..len], mode).unwrap_err().kind(), ErrorKind::Corrupt, "{len}");
        }
    }
    bytes.push(0);
    assert!(open_changed(&home, &bytes, ReadMode::Map).is_err());
}

#[test]
fn blocks_of_another_database_are_refused() {
    let home = Home::new();
    write_mixed(&home, 4);
    let error = BlockReader::open(&*home.disk, &home.path(4), DB + 1, &reads(ReadMode::Map)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// A disk that writes whole pages to the wrong place leaves right CRCs beside them: only the seed tells.
#[test]
fn exchanged_pages_are_found_though_their_crcs_move_along() {
    let home = Home::new();
    let mut writer = home.writer(4);
    writer.series(&labels(&[("a", "b")])).unwrap();
    let mut random = 1_u64;
    let noise = (0..40_000).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        f64::from_bits(random)
    });
    writer.samples(Kind::Float, &floats(0, noise)).unwrap();
    writer.finish(&[], &[]).unwrap();
    assert!(home.open(4).verify().is_empty());

    let mut bytes = std::fs::read(home.path(4)).unwrap();
    let mut footer = footer_of(&bytes);
    let (one, two) = bytes[PAGE_LEN..3 * PAGE_LEN].split_at_mut(PAGE_LEN);
    one.swap_with_slice(two);
    let table = footer.pages_end as usize;
    let (one, two) = bytes[table + 4..table + 12].split_at_mut(4);
    one.swap_with_slice(two);
    let table_end = table + footer.pages_end.div_ceil(PAGE_LEN as u64) as usize * 4;
    footer.table_crc = crc32fast::hash(&bytes[table..table_end]);
    bytes.truncate(table_end);
    bytes.extend_from_slice(&encode_footer(&mut footer));
    for mode in READ_MODES {
        let block = open_changed(&home, &bytes, mode).unwrap();
        let places: Vec<_> = block.verify().iter().map(|error| error.place().unwrap().1).collect();
        assert_eq!(places, [Some(PAGE_LEN as u64), Some(2 * PAGE_LEN as u64)]);
        let mut chunks = vec![];
        block.chunks(0, &mut chunks).unwrap();
        let read =
            chunks.iter().map(|chunk| block.read_chunk(chunk, &mut ReadCache::default(), &mut Samples::default()));
        let damaged = read.filter(Result::is_err).count();
        assert!(damaged > 0 && damaged < chunks.len(), "only the chunks on those pages fail");
    }
}

/// Chunks whose encoding a later version invented fail alone; the rest of the block stays readable.
#[test]
fn unknown_encodings_and_versions_are_unsupported() {
    let home = Home::new();
    write_mixed(&home, 4);
    let block = home.open(4);
    let mut chunks = vec![];
    block.chunks(0, &mut chunks).unwrap();
    chunks[0].entry.codec = 200;
    let error = block.read_chunk(&chunks[0], &mut ReadCache::default(), &mut Samples::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);

    let mut bytes = std::fs::read(home.path(4)).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    assert_eq!(open_changed(&home, &bytes, ReadMode::Map).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
}

/// Lists of several blocks, consecutive numbers, passes over the series when postings are written, strings that share
/// long beginnings, and text beyond ASCII.
#[test]
fn large_postings_and_odd_text_are_found() {
    let home = Home::new();
    let mut writer = home.writer(1);
    let mut sets: Vec<Labels> = (0..5000_u32)
        .map(|i| {
            let odd = format!("{}{}", "\u{e9}\u{1f600}".repeat(i as usize % 50), i % 97);
            let pairs = [
                ("a", format!("{}", i % 3)),
                ("b", format!("{}", i / 2500)),
                ("c", format!("{i:05}")),
                ("\u{fc}", odd),
            ];
            Labels::from_pairs(pairs.into_iter().filter(|(name, _)| *name != "b" || i % 5 > 0)).unwrap()
        })
        .collect();
    sets.sort();
    for labels in &sets {
        writer.series(labels).unwrap();
        writer.samples(Kind::Float, &floats(0, [1.0])).unwrap();
    }
    writer.finish(&[], &[]).unwrap();
    let block = home.open(1);
    let findings = block.verify();
    assert!(findings.is_empty(), "{findings:?}");
    let mut reader = block.series_reader().unwrap();
    let backwards = (0..5000).rev().step_by(7);
    for number in (0..5000).chain(backwards) {
        assert_eq!(reader.labels(number).unwrap(), sets[number as usize]);
    }
    let not = |name: &str, value: &str| Matcher { name: name.into(), op: MatchOp::NotEqual(value.into()) };
    let queries = [
        vec![Matcher::equal("a", "1")],
        vec![Matcher::equal("b", "1"), Matcher::equal("a", "2")],
        vec![Matcher::equal("a", "0"), not("b", "0")],
        vec![not("b", ""), not("a", "1")],
        vec![Matcher::equal("b", "")],
        vec![not("c", "00007"), Matcher::equal("a", "1"), not("b", "1")],
        vec![Matcher::equal("c", "04999")],
        vec![Matcher::equal("\u{fc}", &sets[17].get("\u{fc}").unwrap().to_owned()[..])],
        vec![not("\u{fc}", "0"), not("x", "1")],
        vec![Matcher::equal("x", "1")],
    ];
    for matchers in queries {
        let want: Vec<u32> = (0..5000).filter(|number| all_match(&matchers, &sets[*number as usize])).collect();
        assert_eq!(select(&block, &matchers, TimeRange::ALL).unwrap(), want, "{matchers:?}");
    }
}

#[derive(Debug)]
struct Words(Vec<String>, String);

/// Matches any of a few literals, or everything with a prefix when there are none.
impl Pattern for Words {
    fn is_match(&self, value: &str) -> bool {
        if self.0.is_empty() { value.starts_with(&self.1) } else { self.0.iter().any(|word| word == value) }
    }
    fn literals(&self) -> Option<&[String]> {
        (!self.0.is_empty()).then_some(&self.0)
    }
    fn prefix(&self) -> &str {
        &self.1
    }
    fn source(&self) -> &str {
        "words"
    }
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let value = || prop_oneof![Just(String::new()), (0_u8..40).prop_map(|n| format!("v{n}"))];
    let words = || {
        prop_oneof![
            prop::collection::vec(value(), 1..4).prop_map(|words| Words(words, String::new())),
            prop_oneof![Just(""), Just("v"), Just("v1"), Just("x")].prop_map(|prefix| Words(vec![], prefix.into())),
        ]
        .prop_map(|words| Arc::new(words) as Arc<dyn Pattern>)
    };
    let op = prop_oneof![
        value().prop_map(MatchOp::Equal),
        value().prop_map(MatchOp::NotEqual),
        words().prop_map(MatchOp::Match),
        words().prop_map(MatchOp::NotMatch),
    ];
    ("[a-f]", op).prop_map(|(name, op)| Matcher { name, op })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn selection_agrees_with_a_scan(
        sets in prop::collection::btree_map(prop::collection::btree_map("[a-e]", 0_u8..40, 0..5), -50_i64..50, 0..400),
        queries in prop::collection::vec((prop::collection::vec(matcher(), 0..4), -60_i64..60, 0_i64..60), 1..20),
    ) {
        let home = Home::new();
        let mut writer = home.writer(1);
        let mut series: Vec<(Labels, i64)> = sets
            .iter()
            .map(|(set, time)| {
                (Labels::from_pairs(set.iter().map(|(name, value)| (name, format!("v{value}")))).unwrap(), *time)
            })
            .collect();
        series.sort();
        for (labels, time) in &series {
            writer.series(labels).unwrap();
            writer.samples(Kind::Float, &floats(*time, [1.0])).unwrap();
        }
        writer.finish(&[], &[]).unwrap();
        let block = home.open(1);
        let findings = block.verify();
        prop_assert!(findings.is_empty(), "{:?}", findings);
        for (number, (labels, _)) in series.iter().enumerate() {
            prop_assert_eq!(&block.labels(number as u32).unwrap(), labels);
        }
        for (matchers, from, length) in &queries {
            for range in [TimeRange::ALL, TimeRange::new(*from, from + length)] {
                let want: Vec<u32> = (0..series.len() as u32)
                    .filter(|number| {
                        let (labels, time) = &series[*number as usize];
                        all_match(matchers, labels) && range.contains(*time)
                    })
                    .collect();
                prop_assert_eq!(select(&block, matchers, range).unwrap(), want, "{:?} {:?}", matchers, range);
            }
        }
    }

    #[test]
    fn samples_come_back_in_chunks(
        times in prop::collection::vec(any::<i64>(), 1..3000),
        bits in any::<u64>(),
        parts in 1_usize..4,
    ) {
        let home = Home::new();
        let mut writer = home.writer(1);
        writer.series(&labels(&[("a", "b")])).unwrap();
        let mut want = Samples::default();
        for part in times.chunks(times.len().div_ceil(parts).max(1)) {
            let mut times = part.to_vec();
            times.sort_unstable();
            let values = times.iter().map(|time| f64::from_bits(bits.rotate_left((time % 64).unsigned_abs() as u32)));
            let mut samples = Samples { steps: times.clone(), values: values.collect(), times, ..Samples::default() };
            if want.steps.len() % 2 == 0 {
                samples.starts = samples.times.iter().map(|time| if bits % 3 == 0 { 0 } else { time - time % 7 }).collect();
            }
            writer.samples(Kind::Run, &samples).unwrap();
            crate::merge::extend(&mut want, &samples);
        }
        let meta = writer.finish(&[], &[]).unwrap();
        let block = home.open(1);
        prop_assert!(block.verify().is_empty());
        prop_assert_eq!(meta.samples as usize, times.len());
        let found = read(&block, 0, Kind::Run);
        prop_assert_eq!((&found.times, &found.steps), (&want.times, &want.steps));
        for row in 0..want.len() {
            prop_assert_eq!(found.start(row), want.start(row));
        }
        prop_assert!(found.values.iter().zip(&want.values).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
