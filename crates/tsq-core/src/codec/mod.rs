//! Chunk encodings: how one column of a chunk becomes bytes. Byte-exact in docs/format.md, "Encodings".
//!
//! A chunk of a block has a time column, for the run kinds a step column, and a value column; each names its codec.
//! Dispatch happens once per column; inside are plain loops. Decoders check every bound and never panic.

pub(crate) mod bits;
mod counts;
mod decimal;
mod delta;
mod floats;
mod gorilla;
mod histogram;
mod linear;
pub(crate) mod matrix;
mod open;
mod ordered;
mod packed;
mod patched;
mod pcodec;
mod processor;
#[cfg(test)]
mod reference;
mod repeats;
pub(crate) mod varint;

pub(crate) use floats::Effort;
pub(crate) use open::{Columns, OpenChunk, decode_prefix};

use std::fmt;
use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::histogram::Histogram;

/// Most samples of one chunk, and so most rows of a column.
pub(crate) const CHUNK_SAMPLES_MAX: usize = 1024;

/// Every column encoding tsq can read. A row is for life: its id is on disk.
pub(crate) static CODECS: &[&dyn Codec] = &[
    &gorilla::Gorilla,
    &histogram::Histograms,
    &linear::Linear,
    &packed::Packed,
    &patched::Patched,
    &decimal::Decimal::<false>,
    &decimal::Decimal::<true>,
    &ordered::Ordered,
    &repeats::Repeats::Constant,
    &repeats::Repeats::Runs,
    &repeats::Repeats::Changes,
    &repeats::Repeats::Mode,
    &repeats::Repeats::Dictionary,
    &pcodec::Pco,
];

/// What a codec stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// Times or steps.
    Integers,
    /// Float values.
    Floats,
    /// Native histograms.
    Histograms,
}

/// A column to encode.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column<'a> {
    /// Times or steps.
    Integers(&'a [i64]),
    /// Float values.
    Floats(&'a [f64]),
    /// Native histograms.
    Histograms(&'a [Histogram]),
}

/// Where decoded rows are appended.
#[derive(Debug)]
pub(crate) enum ColumnMut<'a> {
    /// Times or steps.
    Integers(&'a mut Vec<i64>),
    /// Float values.
    Floats(&'a mut Vec<f64>),
    /// Native histograms.
    Histograms(&'a mut Vec<Histogram>),
}

/// Of the rows from `start` on keeps the wanted ones, which are counted from there.
pub(crate) fn keep_rows<T>(column: &mut Vec<T>, start: usize, wanted: &Range<usize>) {
    column.truncate(start + wanted.end);
    column.drain(start..start + wanted.start);
}

impl ColumnMut<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Integers(column) => column.len(),
            Self::Floats(column) => column.len(),
            Self::Histograms(column) => column.len(),
        }
    }

    fn reborrow(&mut self) -> ColumnMut<'_> {
        match self {
            Self::Integers(column) => ColumnMut::Integers(column),
            Self::Floats(column) => ColumnMut::Floats(column),
            Self::Histograms(column) => ColumnMut::Histograms(column),
        }
    }

    fn keep_rows(&mut self, start: usize, wanted: &Range<usize>) {
        match self {
            Self::Integers(column) => keep_rows(column, start, wanted),
            Self::Floats(column) => keep_rows(column, start, wanted),
            Self::Histograms(column) => keep_rows(column, start, wanted),
        }
    }

    fn column_type(&self) -> ColumnType {
        match self {
            Self::Integers(_) => ColumnType::Integers,
            Self::Floats(_) => ColumnType::Floats,
            Self::Histograms(_) => ColumnType::Histograms,
        }
    }
}

/// A way to store one column of a chunk.
pub(crate) trait Codec: fmt::Debug + Send + Sync {
    /// The encoding byte (docs/format.md, "Encodings").
    fn id(&self) -> u8;
    /// Name used by `tsq inspect` and by the benchmarks.
    fn name(&self) -> &'static str;
    /// What it stores.
    fn column_type(&self) -> ColumnType;
    /// Whether it can store this column, which is of its type.
    fn accepts(&self, _column: Column<'_>) -> bool {
        true
    }
    /// Appends the encoding of a column that [`Codec::accepts`] takes to `out`. The row count is stored elsewhere.
    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>);
    /// Appends `rows` decoded rows to `out`; never panics, whatever `data` holds. At most
    /// [`CHUNK_SAMPLES_MAX`] rows are asked for. After an error `out` is as before.
    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()>;
    /// As [`Codec::decode`], but only appends the `wanted` ones of the rows. Codecs that can do with less than decoding
    /// all of them say how.
    fn decode_rows(&self, data: &[u8], rows: usize, wanted: Range<usize>, mut out: ColumnMut<'_>) -> Result<()> {
        let start = out.len();
        self.decode(data, rows, out.reborrow())?;
        out.keep_rows(start, &wanted);
        Ok(())
    }
}

/// Appends the encoding of a column and says which codec it took.
pub(crate) fn encode(column: Column<'_>, effort: Effort, out: &mut Vec<u8>) -> u8 {
    let codec: &dyn Codec = match column {
        Column::Floats(values) => return floats::encode(values, effort, out),
        Column::Histograms(_) => &histogram::Histograms,
        Column::Integers(_) if linear::Linear.accepts(column) => &linear::Linear,
        Column::Integers(rows) => {
            patched::encode(rows, effort, out);
            return patched::Patched.id();
        }
    };
    codec.encode(column, out);
    codec.id()
}

/// Appends `rows` rows of an encoded column to `out`.
///
/// # Errors
/// [`ErrorKind::UnsupportedFormat`] for a codec this version does not know, [`ErrorKind::Corrupt`] for damaged bytes.
pub(crate) fn decode(id: u8, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
    decode_rows(id, data, rows, 0..rows, out)
}

/// Appends the `wanted` ones of the `rows` rows of an encoded column to `out`.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_rows(id: u8, data: &[u8], rows: usize, wanted: Range<usize>, out: ColumnMut<'_>) -> Result<()> {
    let codec = by_id(id)?;
    if codec.column_type() != out.column_type() {
        let (name, want) = (codec.name(), out.column_type());
        return Err(Error::corrupt(format!("codec {name} cannot hold a column of {want:?}")));
    }
    if wanted.len() == rows { codec.decode(data, rows, out) } else { codec.decode_rows(data, rows, wanted, out) }
}

/// Name of an encoding, if this version knows it.
pub(crate) fn name(id: u8) -> Option<&'static str> {
    if id == matrix::ID { Some(matrix::NAME) } else { by_id(id).ok().map(Codec::name) }
}

/// The codec of one column with this id on disk.
pub(crate) fn by_id(id: u8) -> Result<&'static dyn Codec> {
    CODECS.iter().find(|codec| codec.id() == id).copied().ok_or_else(|| {
        Error::new(ErrorKind::UnsupportedFormat, format!("chunk encoding {id} is not known to this version of tsq"))
    })
}

#[cold]
fn cut_short(codec: &str) -> Error {
    Error::corrupt(format!("{codec} column ends before its last row"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::histogram::{ResetHint, Span};

    #[test]
    fn ids_and_names_are_distinct() {
        let ids: BTreeSet<_> = CODECS.iter().map(|codec| codec.id()).collect();
        let names: BTreeSet<_> = CODECS.iter().map(|codec| codec.name()).collect();
        assert_eq!((ids.len(), names.len()), (CODECS.len(), CODECS.len()));
        assert_eq!(by_id(250).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
    }

    pub(super) fn encoded(codec: &dyn Codec, column: Column<'_>) -> Vec<u8> {
        let mut data = Vec::new();
        codec.encode(column, &mut data);
        data
    }

    pub(super) fn bits_of(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Decodes whatever the bytes hold; only a panic, or output after an error, is wrong.
    fn survives(codec: &dyn Codec, data: &[u8], rows: usize) {
        let (mut integers, mut floats, mut histograms) = (vec![7], vec![7.0], vec![Histogram::default()]);
        let out = match codec.column_type() {
            ColumnType::Integers => ColumnMut::Integers(&mut integers),
            ColumnType::Floats => ColumnMut::Floats(&mut floats),
            ColumnType::Histograms => ColumnMut::Histograms(&mut histograms),
        };
        let failed = codec.decode(data, rows, out).is_err();
        let len = integers.len().max(floats.len()).max(histograms.len());
        assert_eq!(len, if failed { 1 } else { rows + 1 }, "{}", codec.name());
        let mut floats = vec![7.0];
        if codec.column_type() == ColumnType::Floats {
            let failed = codec.decode_rows(data, rows, rows / 2..rows, ColumnMut::Floats(&mut floats)).is_err();
            assert_eq!(floats.len(), if failed { 1 } else { rows - rows / 2 + 1 }, "{}", codec.name());
        }
    }

    fn damage(codec: &dyn Codec, data: &[u8], rows: usize, seed: u64) {
        for cut in 0..data.len() {
            survives(codec, &data[..cut], rows);
        }
        let mut random = seed | 1;
        let mut flipped = data.to_vec();
        for _ in 0..64.min(data.len() * 8) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bit = (random >> 33) as usize % (data.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            survives(codec, &flipped, rows);
        }
    }

    /// Any part of so many rows.
    fn some_rows(rows: usize, seed: u64) -> Range<usize> {
        let start = seed as usize % (rows + 1);
        start..start + (seed >> 32) as usize % (rows - start + 1)
    }

    fn check_floats(want: &[f64], seed: u64) {
        for codec in CODECS.iter().filter(|codec| codec.column_type() == ColumnType::Floats) {
            if !codec.accepts(Column::Floats(want)) {
                continue;
            }
            let data = encoded(*codec, Column::Floats(want));
            let mut got = vec![];
            codec.decode(&data, want.len(), ColumnMut::Floats(&mut got)).unwrap();
            assert_eq!(bits_of(&got), bits_of(want), "codec {}", codec.name());
            let wanted = some_rows(want.len(), seed);
            codec.decode_rows(&data, want.len(), wanted.clone(), ColumnMut::Floats(&mut got)).unwrap();
            assert_eq!(bits_of(&got[want.len()..]), bits_of(&want[wanted]), "codec {}", codec.name());
            damage(*codec, &data, want.len(), seed);
        }
    }

    fn check_integers(want: &[i64], seed: u64) {
        for codec in CODECS.iter().filter(|codec| codec.column_type() == ColumnType::Integers) {
            if !codec.accepts(Column::Integers(want)) {
                continue;
            }
            let data = encoded(*codec, Column::Integers(want));
            let mut got = vec![];
            codec.decode(&data, want.len(), ColumnMut::Integers(&mut got)).unwrap();
            assert_eq!(got, want, "codec {}", codec.name());
            let wanted = some_rows(want.len(), seed);
            codec.decode_rows(&data, want.len(), wanted.clone(), ColumnMut::Integers(&mut got)).unwrap();
            assert_eq!(got[want.len()..], want[wanted], "codec {}", codec.name());
            damage(*codec, &data, want.len(), seed);
        }
    }

    fn check_histograms(want: &[Histogram], seed: u64) {
        for codec in CODECS.iter().filter(|codec| codec.column_type() == ColumnType::Histograms) {
            let data = encoded(*codec, Column::Histograms(want));
            let mut got = vec![];
            codec.decode(&data, want.len(), ColumnMut::Histograms(&mut got)).unwrap();
            assert_eq!(got, want, "codec {}", codec.name());
            damage(*codec, &data, want.len(), seed);
        }
    }

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1000_i32..1000).prop_map(f64::from),
            (-1000_i32..1000).prop_map(|n| f64::from(n) / 10.0),
            Just(f64::from_bits(crate::sample::STALE_NAN_BITS)),
            Just(-0.0),
            Just(f64::NEG_INFINITY),
        ]
    }

    fn integer() -> impl Strategy<Value = i64> {
        prop_oneof![any::<i64>(), -5_i64..5, Just(i64::MIN), Just(i64::MAX), 1_700_000_000_000..1_700_000_100_000_i64]
    }

    fn count() -> impl Strategy<Value = f64> {
        prop_oneof![8 => (0_u32..5000).prop_map(f64::from), 1 => float()]
    }

    fn histogram() -> impl Strategy<Value = Histogram> {
        let spans = || {
            prop::collection::vec((any::<i32>(), 0_u32..9).prop_map(|(offset, length)| Span { offset, length }), 0..3)
        };
        let layout = (prop_oneof![Just(-53_i8), Just(3), any::<i8>()], 0_u8..4, any::<bool>(), spans(), spans());
        let numbers = (
            float(),
            count(),
            count(),
            float(),
            prop::collection::vec(count(), 0..6),
            prop::collection::vec(count(), 0..3),
        );
        (layout, numbers, prop::collection::vec(float(), 0..3)).prop_map(|(layout, numbers, custom_values)| Histogram {
            schema: layout.0,
            reset_hint: ResetHint::from_u8(layout.1).unwrap(),
            integer: layout.2,
            positive_spans: layout.3,
            negative_spans: layout.4,
            zero_threshold: numbers.0,
            zero_count: numbers.1,
            count: numbers.2,
            sum: numbers.3,
            positive: numbers.4,
            negative: numbers.5,
            custom_values,
        })
    }

    /// Histograms of one layout whose counts grow, with a stale marker now and then.
    fn growing() -> impl Strategy<Value = Vec<Histogram>> {
        (histogram(), prop::collection::vec((0_u32..50, any::<bool>(), 0_u8..20), 0..20)).prop_map(|(first, growth)| {
            let mut all = vec![first];
            for (add, reset, stale) in growth {
                let mut next = all.iter().rfind(|h| !h.is_stale()).cloned().unwrap_or_default();
                next.positive.iter_mut().for_each(|count| *count += f64::from(add));
                next.count += f64::from(add);
                next.sum += f64::from(add) * 0.1;
                next.reset_hint = if reset { ResetHint::Reset } else { ResetHint::NotReset };
                all.push(if stale == 0 { Histogram::stale() } else { next });
            }
            all
        })
    }

    proptest! {
        /// Every codec gives back every bit, NaN payloads included; no prefix and no flip may panic.
        #[test]
        fn floats_come_back_bit_for_bit(want in prop::collection::vec(float(), 0..200), seed: u64) {
            check_floats(&want, seed);
        }

        #[test]
        fn integers_come_back(want in prop::collection::vec(integer(), 0..300), seed: u64) {
            check_integers(&want, seed);
        }

        #[test]
        fn regular_integers_come_back(start: i64, delta: i64, jitter in prop::collection::vec(-3_i64..4, 0..300), seed: u64) {
            let grid = |i: usize| start.wrapping_add(delta.wrapping_mul(i as i64));
            check_integers(&(0..jitter.len()).map(grid).collect::<Vec<_>>(), seed);
            let jittered: Vec<_> = jitter.iter().enumerate().map(|(i, j)| grid(i).wrapping_add(*j)).collect();
            check_integers(&jittered, seed);
        }

        #[test]
        fn histograms_come_back(want in prop::collection::vec(histogram(), 0..6), seed: u64) {
            check_histograms(&want, seed);
        }

        #[test]
        fn growing_histograms_come_back(want in growing(), seed: u64) {
            check_histograms(&want, seed);
        }

        #[test]
        fn random_bytes_do_not_panic(data in prop::collection::vec(any::<u8>(), 0..300), rows in 0_usize..=CHUNK_SAMPLES_MAX) {
            for codec in CODECS {
                survives(*codec, &data, rows);
            }
        }
    }

    #[test]
    fn every_float_class_and_window_comes_back() {
        let mut all = vec![];
        for exponent in 0..2048_u64 {
            for mantissa in [0, 1, 1 << 51, (1 << 52) - 1, 0x000a_aaaa_5555_0001] {
                all.push(f64::from_bits(exponent << 52 | mantissa));
                all.push(f64::from_bits(1 << 63 | exponent << 52 | mantissa));
            }
        }
        for chunk in all.chunks(CHUNK_SAMPLES_MAX) {
            check_floats(chunk, 1);
        }
    }
}
