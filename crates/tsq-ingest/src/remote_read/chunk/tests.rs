use proptest::prelude::*;
use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, STALE_NAN_BITS, Samples, Span};

use super::*;

fn chunks_of(floats: &Samples, histograms: &Samples) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let emitted = encode_chunks(floats, histograms, |chunk| {
        chunks.push(chunk);
        Ok::<_, std::convert::Infallible>(())
    });
    emitted.expect("nothing fails");
    chunks
}

/// All samples of chunks, those of floats and those of histograms.
fn decoded(chunks: &[Chunk]) -> (Samples, Samples) {
    let (mut floats, mut histograms) = (Samples::default(), Samples::default());
    for chunk in chunks {
        let out = if chunk.encoding == Encoding::Xor { &mut floats } else { &mut histograms };
        let before = out.len();
        chunk.decode(out).expect("an encoded chunk can be decoded");
        assert!((1..=CHUNK_SAMPLES).contains(&(out.len() - before)));
        assert_eq!((chunk.min_ms, chunk.max_ms), (out.times[before], out.times[out.len() - 1]));
    }
    (floats, histograms)
}

fn floats(times: Vec<i64>, values: Vec<f64>) -> Samples {
    Samples { times, values, ..Samples::default() }
}

fn histograms(times: Vec<i64>, histograms: Vec<Histogram>) -> Samples {
    Samples { times, histograms, ..Samples::default() }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Ascending times: mostly regular ones, with jumps of any size and the ends of time among them.
fn times(len: usize) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![5 => Just(15_000_u64), 3 => 1_u64..20_000, 1 => 0_u64..1 << 40, 1 => any::<u64>()];
    let start = prop_oneof![4 => Just(1_700_000_000_000_i64), 1 => Just(i64::MIN), 1 => any::<i64>()];
    (start, prop::collection::vec(step, len)).prop_map(|(start, steps)| {
        let mut times = vec![start];
        for step in steps {
            let last = *times.last().expect("there is one");
            times.extend(last.checked_add_unsigned(step).filter(|time| *time > last));
        }
        times
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        5 => (0_i64..1000).prop_map(|value| value as f64),
        3 => any::<f64>(),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(f64::from_bits(STALE_NAN_BITS)),
        1 => Just(1.0),
    ]
}

/// A histogram of some layout. Layouts are few, so that consecutive histograms often share one.
fn histogram() -> impl Strategy<Value = Histogram> {
    let counts = prop::collection::vec(prop_oneof![4 => (0_u64..100).prop_map(|n| n as f64), 1 => value()], 9);
    (0_u8..6, 0_u8..4, counts, value(), any::<bool>()).prop_map(|(layout, hint, counts, sum, integer)| {
        let span = |offset, length| Span { offset, length };
        let (schema, positive_spans, negative_spans, custom_values, zero_threshold) = match layout {
            0 => (3, vec![span(-2, 3), span(1, 2)], vec![], vec![], 2_f64.powi(-128)),
            1 => (3, vec![span(-2, 3), span(1, 2)], vec![span(5, 2)], vec![], 0.001),
            2 => (-4, vec![], vec![], vec![], 0.0),
            3 => (8, vec![span(i32::MIN, 1), span(0, 0), span(7, 1)], vec![], vec![], 1.0),
            4 => (CUSTOM_BUCKETS_SCHEMA, vec![span(0, 2), span(1, 1)], vec![], vec![-1.5, 0.005, 1e9, 2e9], 0.0),
            _ => return Histogram { integer, ..Histogram::stale() },
        };
        let buckets = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
        let positive = counts[2..][..buckets(&positive_spans)].to_vec();
        let negative = counts[7..][..buckets(&negative_spans)].to_vec();
        let reset_hint = ResetHint::from_u8(hint).expect("a hint");
        let (count, zero_count) = (counts[0], counts[1]);
        let layout =
            Histogram { positive_spans, negative_spans, positive, negative, custom_values, ..Histogram::default() };
        Histogram { schema, reset_hint, integer, zero_threshold, zero_count, count, sum, ..layout }
    })
}

/// What may come back for a histogram: whole counts may be told from others, and a hint may say more than was known.
fn assert_same(want: &Histogram, got: &Histogram, before: Option<&Histogram>) {
    let mut comparable = got.clone();
    comparable.reset_hint = want.reset_hint;
    comparable.integer = want.integer;
    if want.is_stale() {
        assert!(got.is_stale());
        return;
    }
    assert_eq!(*want, comparable);
    assert_eq!(got.integer, has_integer_counts(want));
    match (want.reset_hint, got.reset_hint) {
        (ResetHint::Gauge | ResetHint::Reset, hint) => assert_eq!(hint, want.reset_hint),
        // The chunk went on: nothing has become smaller, and the layout is the same.
        (_, ResetHint::NotReset) => {
            let before = before.expect("the first sample of a chunk says nothing of the kind");
            assert_eq!(before.positive_spans, want.positive_spans);
            assert!(want.count >= before.count && want.zero_count >= before.zero_count);
            assert!(want.positive.iter().zip(&before.positive).all(|(now, before)| now >= before));
            assert!(want.negative.iter().zip(&before.negative).all(|(now, before)| now >= before));
        }
        (_, hint) => assert_eq!(hint, ResetHint::Unknown),
    }
}

proptest! {
    /// Every bit of times and values comes back, and no cut or flipped chunk makes the decoder panic.
    #[test]
    fn floats_round_trip(
        (times, values) in (1_usize..300).prop_flat_map(|len| (times(len), prop::collection::vec(value(), len + 1))),
        flipped in any::<prop::sample::Index>(),
    ) {
        let values = values[..times.len()].to_vec();
        let want = floats(times, values);
        let chunks = chunks_of(&want, &Samples::default());
        prop_assert_eq!(chunks.len(), want.len().div_ceil(CHUNK_SAMPLES));
        let (got, none) = decoded(&chunks);
        prop_assert!(none.is_empty());
        prop_assert_eq!(&got.times, &want.times);
        prop_assert_eq!(bits(&got.values), bits(&want.values));
        damaged(&chunks[0], flipped);
    }

    #[test]
    fn histograms_round_trip(
        (times, list) in (1_usize..60).prop_flat_map(|len| (times(len), prop::collection::vec(histogram(), len + 1))),
        repeat in 1_usize..4,
        flipped in any::<prop::sample::Index>(),
    ) {
        // Repeated, so that chunks hold several.
        let list: Vec<Histogram> = (0..times.len()).map(|at| list[at / repeat].clone()).collect();
        let want = histograms(times, list);
        let chunks = chunks_of(&Samples::default(), &want);
        let (none, got) = decoded(&chunks);
        prop_assert!(none.is_empty());
        prop_assert_eq!(&got.times, &want.times);
        for at in 0..want.len() {
            let before = at.checked_sub(1).map(|before| &want.histograms[before]);
            assert_same(&want.histograms[at], &got.histograms[at], before);
        }
        for chunk in &chunks {
            damaged(chunk, flipped);
        }
    }

    #[test]
    fn counters_that_grow_share_a_chunk(growth in prop::collection::vec(0_u32..1000, 3..CHUNK_SAMPLES), integer: bool) {
        let mut total = 0.0;
        let list: Vec<Histogram> = growth.iter().map(|growth| {
            total += f64::from(*growth);
            Histogram {
                schema: 1, integer, count: 2.0 * total, zero_count: total, sum: total / 3.0, zero_threshold: 0.001,
                positive_spans: vec![Span { offset: 4, length: 2 }], positive: vec![total, 0.0],
                ..Histogram::default()
            }
        }).collect();
        let want = histograms((0..).map(|at| at * 10_000).take(list.len()).collect(), list);
        let chunks = chunks_of(&Samples::default(), &want);
        prop_assert_eq!(chunks.len(), 1);
        let (_, got) = decoded(&chunks);
        for at in 0..want.len() {
            let before = at.checked_sub(1).map(|before| &want.histograms[before]);
            assert_same(&want.histograms[at], &got.histograms[at], before);
        }
    }

    #[test]
    fn garbage_is_no_chunk(data in prop::collection::vec(any::<u8>(), 0..200), number in 1_u64..4) {
        let encoding = Encoding::from_number(number).expect("an encoding");
        let _ = Chunk { min_ms: 0, max_ms: 0, encoding, data }.decode(&mut Samples::default());
    }
}

/// Decodes a chunk with a flipped bit and cut short.
fn damaged(chunk: &Chunk, flipped: prop::sample::Index) {
    let mut bad = chunk.clone();
    let bit = flipped.index(8 * bad.data.len());
    bad.data[bit / 8] ^= 1 << (bit % 8);
    let _ = bad.decode(&mut Samples::default());
    bad.data.clone_from(&chunk.data);
    bad.data.truncate(bit / 8);
    assert!(bad.decode(&mut Samples::default()).is_err(), "{} of {} bytes", bit / 8, chunk.data.len());
}

#[test]
fn floats_win_over_histograms_of_the_same_time() {
    let h = |count: f64| Histogram { integer: true, count, zero_count: count, ..Histogram::default() };
    let floats = floats(vec![10, 20, 40], vec![1.0, 2.0, 4.0]);
    let histograms = histograms(vec![5, 20, 30, 40, 50], [5.0, 20.0, 30.0, 40.0, 50.0].map(h).to_vec());
    let chunks = chunks_of(&floats, &histograms);
    let shape: Vec<_> = chunks.iter().map(|chunk| (chunk.encoding, chunk.min_ms, chunk.max_ms)).collect();
    let (xor, histogram) = (Encoding::Xor, Encoding::Histogram);
    assert_eq!(
        shape,
        [(histogram, 5, 5), (xor, 10, 10), (xor, 20, 20), (histogram, 30, 30), (xor, 40, 40), (histogram, 50, 50)]
    );
    let (got_floats, got_histograms) = decoded(&chunks);
    assert_eq!((got_floats.values, got_histograms.times), (vec![1.0, 2.0, 4.0], vec![5, 30, 50]));
}

/// A reader takes it for granted that a chunk of counters has no reset after its first sample: a histogram with a
/// smaller count, or with a bucket less, must begin a new one.
#[test]
fn resets_begin_a_chunk() {
    let h = |count: f64, zero_count: f64| Histogram {
        integer: true,
        count,
        zero_count,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive: vec![count - zero_count],
        ..Histogram::default()
    };
    let told = Histogram { reset_hint: ResetHint::Reset, ..h(9.0, 6.0) };
    let gauge = Histogram { reset_hint: ResetHint::Gauge, ..h(3.0, 3.0) };
    let smaller_gauge = Histogram { reset_hint: ResetHint::Gauge, ..h(2.0, 2.0) };
    let list = vec![h(5.0, 1.0), h(6.0, 1.0), h(6.0, 2.0), h(7.0, 3.0), h(8.0, 2.0), told, gauge, smaller_gauge];
    let chunks = chunks_of(&Samples::default(), &histograms((0..8).collect(), list));
    let starts: Vec<_> = chunks.iter().map(|chunk| (chunk.min_ms, chunk.data[2] >> 6)).collect();
    assert_eq!(starts, [(0, 0), (2, 0), (4, 0), (5, 0b10), (6, 0b11)]);
}

/// A few bytes whose spans are shared by 65,535 samples must not take gigabytes.
#[test]
fn a_small_chunk_does_not_become_large() {
    let spans = vec![Span { offset: 0, length: 0 }; 20_000];
    let h = Histogram { integer: true, positive_spans: spans, ..Histogram::default() };
    let (_, mut data, _) = histogram::encode(&[0], &[h]);
    data[..2].fill(0xff);
    data.resize(data.len() + 65_535, 0);
    let chunk = Chunk { min_ms: 0, max_ms: 0, encoding: Encoding::Histogram, data };
    let mut out = Samples::default();
    assert_eq!(chunk.decode(&mut out).unwrap_err().kind(), crate::DecodeErrorKind::TooLarge);
    assert!(out.len() < 1000);
}
