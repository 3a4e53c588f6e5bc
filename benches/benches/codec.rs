//! Encoding and decoding of chunk columns and of the head's open chunk. Sizes are printed beside the times.

use std::hint::black_box;

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

criterion_group!(benches, columns, open_chunks);
criterion_main!(benches);
