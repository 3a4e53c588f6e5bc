//! Encoding and decoding of chunk columns and of the head's open chunk. Sizes are printed beside the times.
//!
//! With recorded series at hand (files of `../shared/data/real`, or of the folder that `TSQ_REAL_DATA` names), columns of
//! those are measured as well: all of them as flush, merge and import would encode them, beside Gorilla alone.

// The derive macro of tsz-compress names it.
extern crate alloc;

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsq_core::Samples;
use tsq_core::bench_support as tsq;

const ROWS: usize = 1024;

/// A small generator, so that runs compare.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: u64) -> f64 {
        (self.next() % bound) as f64
    }
}

/// Applies `step` to a state again and again.
fn walk<T: Copy>(start: T, mut step: impl FnMut(T) -> T) -> Vec<T> {
    std::iter::successors(Some(start), |state| Some(step(*state))).take(ROWS).collect()
}

fn floats() -> Vec<(&'static str, Vec<f64>)> {
    let mut random = Random(7);
    let loss = walk(2.5, |loss| f64::from((loss * (0.997 + random.below(30) * 1e-4)) as f32));
    let counter = walk(1e6, |total| total + random.below(900));
    vec![
        ("constant", vec![1.0; ROWS]),
        ("gauge", (0..ROWS).map(|_| 40.0 + random.below(64)).collect()),
        ("counter", counter),
        ("f32 loss", loss),
        ("noise", (0..ROWS).map(|_| random.below(1 << 31) / 1e9).collect()),
    ]
}

fn integers() -> Vec<(&'static str, Vec<i64>)> {
    let mut random = Random(7);
    let start = 1_700_000_000_000;
    let irregular = walk(start, |time| time + 800 + random.below(500) as i64);
    vec![
        ("grid", (0..ROWS as i64).map(|i| start + i * 15_000).collect()),
        ("jitter", (0..ROWS as i64).map(|i| start + i * 15_000 + random.below(4) as i64).collect()),
        ("irregular", irregular),
    ]
}

fn columns(c: &mut Criterion) {
    for (shape, values) in floats() {
        for codec in tsq::float_codecs() {
            let Some(data) = tsq::encode_floats(codec, &values) else { continue };
            println!("{codec} {shape}: {:.2} B per value", data.len() as f64 / ROWS as f64);
            let mut group = c.benchmark_group(format!("{codec} {shape}"));
            group.throughput(Throughput::Elements(ROWS as u64));
            let mut out = Vec::new();
            group.bench_function("decode", |b| {
                b.iter(|| tsq::decode_floats(codec, black_box(&data), ROWS, &mut out).unwrap());
            });
            group.bench_function("encode", |b| b.iter(|| tsq::encode_floats(codec, black_box(&values))));
        }
    }
    for (shape, rows) in integers() {
        for codec in tsq::integer_codecs() {
            let Some(data) = tsq::encode_integers(codec, &rows) else { continue };
            println!("{codec} {shape}: {:.2} B per row", data.len() as f64 / ROWS as f64);
            let mut group = c.benchmark_group(format!("{codec} {shape}"));
            group.throughput(Throughput::Elements(ROWS as u64));
            let mut out = Vec::new();
            group.bench_function("decode", |b| {
                b.iter(|| tsq::decode_integers(codec, black_box(&data), ROWS, &mut out).unwrap());
            });
            group.bench_function("encode", |b| b.iter(|| tsq::encode_integers(codec, black_box(&rows))));
        }
    }
}

/// tsz-compress as a baseline for integer columns.
mod tsz {
    use tsz_compress::prelude::*;

    /// The derive writes public modules that need no documentation of ours.
    #[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
    mod packed {
        use tsz_compress::prelude::*;

        #[derive(Clone, Copy, Debug, CompressV2, DecompressV2)]
        pub struct Row {
            pub value: i64,
        }
    }

    /// Bytes that a value takes at most: a tag and eight bytes, in nibbles.
    const VALUE_MAX: usize = 9;

    pub(super) fn encode(rows: &[i64]) -> Vec<u8> {
        let mut packer = packed::compress::RowCompressorImpl::new(rows.len());
        rows.iter().for_each(|value| packer.compress(packed::Row { value: *value }));
        // Room for the largest possible column: with less, version 1.1.6 may write past its allocation.
        let mut out = Vec::with_capacity(64 + VALUE_MAX * rows.len());
        packer.finish_into(&mut out);
        out
    }

    pub(super) fn decode(data: &[u8], out: &mut Vec<i64>) {
        let mut unpacker = packed::decompress::RowDecompressorImpl::new();
        unpacker.decompress(data).expect("these bytes were encoded here");
        out.clear();
        out.extend_from_slice(unpacker.col_value());
    }
}

fn tsz_columns(c: &mut Criterion) {
    for (shape, rows) in integers() {
        let (data, mut out) = (tsz::encode(&rows), Vec::new());
        tsz::decode(&data, &mut out);
        assert_eq!(out, rows);
        println!("tsz-compress {shape}: {:.2} B per row", data.len() as f64 / ROWS as f64);
        let mut group = c.benchmark_group(format!("tsz-compress {shape}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("decode", |b| b.iter(|| tsz::decode(black_box(&data), &mut out)));
        group.bench_function("encode", |b| b.iter(|| tsz::encode(black_box(&rows))));
    }
}

/// Columns of recorded series, cut as chunks are. Series are JSON behind its length, u32 count, times, values; all
/// numbers little-endian, behind a magic of eight bytes.
#[derive(Default)]
struct Recorded {
    times: Vec<Vec<i64>>,
    values: Vec<Vec<f64>>,
}

impl Recorded {
    fn load() -> Option<Self> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/real");
        let dir = std::env::var_os("TSQ_REAL_DATA").map_or_else(beside, PathBuf::from);
        let mut all = Self::default();
        let mut files: Vec<_> = std::fs::read_dir(dir).ok()?.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for path in files.iter().filter(|path| path.to_string_lossy().ends_with(".tsr.zst")) {
            let data = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
            let mut rest = &data[8..];
            while !rest.is_empty() {
                let meta = take_len(&mut rest);
                take(&mut rest, meta);
                let count = take_len(&mut rest);
                let (times, values) = (take(&mut rest, 8 * count), take(&mut rest, 8 * count));
                let (times, values) = (times.as_chunks().0, values.as_chunks().0);
                all.times.extend(times.chunks(ROWS).map(|rows| rows.iter().map(|b| i64::from_le_bytes(*b)).collect()));
                all.values
                    .extend(values.chunks(ROWS).map(|rows| rows.iter().map(|b| f64::from_le_bytes(*b)).collect()));
            }
        }
        (!all.values.is_empty()).then_some(all)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

fn take_len(rest: &mut &[u8]) -> usize {
    u32::from_le_bytes(take(rest, 4).try_into().unwrap()) as usize
}

/// Encodes values and names the codec.
type Encode = dyn Fn(&Vec<f64>) -> (&'static str, Vec<u8>);

fn recorded(c: &mut Criterion) {
    let Some(recorded) = Recorded::load() else {
        println!("no recorded series: TSQ_REAL_DATA names no folder of them");
        return;
    };
    let count: usize = recorded.values.iter().map(Vec::len).sum();
    let mut group = c.benchmark_group(format!("{count} recorded values"));
    group.throughput(Throughput::Elements(count as u64)).sample_size(10);
    let gorilla = |values: &Vec<f64>| ("gorilla", tsq::encode_floats("gorilla", values).unwrap());
    let mut ways: Vec<(&str, Box<Encode>)> = vec![("gorilla", Box::new(gorilla))];
    for effort in tsq::EFFORTS {
        ways.push((effort, Box::new(move |values| tsq::encode_floats_as_a_block(values, effort))));
    }
    for (name, encode) in ways {
        let encoded: Vec<_> = recorded.values.iter().map(&encode).collect();
        let bytes: usize = encoded.iter().map(|(_, data)| data.len()).sum();
        println!("{name}: {:.3} B per value", bytes as f64 / count as f64);
        let mut out = Vec::new();
        group.bench_function(format!("{name} decode"), |b| {
            b.iter(|| {
                for ((codec, data), values) in encoded.iter().zip(&recorded.values) {
                    tsq::decode_floats(codec, data, values.len(), &mut out).unwrap();
                }
            });
        });
        group.bench_function(format!("{name} encode"), |b| {
            b.iter(|| recorded.values.iter().for_each(|values| drop(black_box(encode(values)))));
        });
    }
    let columns: Vec<_> = recorded.times.iter().filter(|times| times.len() > 1).collect();
    let of = |encode: &dyn Fn(&[i64]) -> usize| columns.iter().map(|times| encode(times)).sum::<usize>() as f64;
    let rows = of(&|times| times.len());
    let block = of(&|times| tsq::encode_integers_as_a_block(times).1.len());
    println!(
        "times, unshared: block {:.2} B, tsz-compress {:.2} B",
        block / rows,
        of(&|times| tsz::encode(times).len()) / rows
    );
}

fn open_chunks(c: &mut Criterion) {
    const COUNT: usize = 120;
    let times: Vec<i64> = integers().swap_remove(1).1;
    for (shape, values) in floats() {
        let (times, values) = (&times[..COUNT], &values[..COUNT]);
        let bytes = tsq::push_open_chunk(times, values);
        println!("open chunk {shape}: {:.2} B per sample", bytes.len() as f64 / COUNT as f64);
        let mut group = c.benchmark_group(format!("open chunk {shape}"));
        group.throughput(Throughput::Elements(COUNT as u64));
        group.bench_function("push", |b| b.iter(|| tsq::push_open_chunk(black_box(times), black_box(values))));
        let mut out = Samples::default();
        group.bench_function("decode", |b| {
            b.iter(|| tsq::decode_open_chunk(black_box(&bytes), COUNT, &mut out).unwrap());
        });
    }
}

criterion_group!(benches, columns, tsz_columns, recorded, open_chunks);
criterion_main!(benches);
