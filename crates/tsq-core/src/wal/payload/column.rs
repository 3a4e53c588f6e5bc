//! Columns of integers: references, times, steps.
//! ~~~text
//! tag 0  linear   first: signed varint, delta: signed varint; value i is first + i * delta (wrapping)
//! tag 1  varints  a signed varint of the (wrapping) difference to the value before it, each; the first to 0
//! tag 2  packed   first: signed varint, len: varint, then len bytes: one column of the tsz-compress 1.1 format, i32,
//!                 holding the differences to `first`
//! ~~~
//! An empty column has no bytes, not even a tag. tsz-compress is at its best here: a stream that cannot wait for a
//! block, small deltas, no look-ahead; where it is larger than varints, varints are taken.

use tsz_compress::prelude::{TszCompressV2, TszDecompressV2};

use super::bytes::{Reader, push_varint, varint_len, zigzag};
use crate::error::Result;

/// The derive writes public modules that need no documentation of ours.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod packed {
    use tsz_compress::prelude::*;

    #[derive(Clone, Copy, Debug, CompressV2, DecompressV2)]
    pub struct Row {
        pub value: i32,
    }
}

use packed::Row;

const LINEAR: u8 = 0;
const VARINTS: u8 = 1;
const PACKED: u8 = 2;

/// Below this many values the fixed 18 bytes of a packed column are never won back.
const PACKED_MIN: usize = 32;

/// Reused between columns.
pub(super) struct ColumnScratch {
    packer: packed::compress::RowCompressorImpl,
    unpacker: packed::decompress::RowDecompressorImpl,
}

impl Default for ColumnScratch {
    fn default() -> Self {
        Self { packer: TszCompressV2::new(0), unpacker: TszDecompressV2::new() }
    }
}

impl std::fmt::Debug for ColumnScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ColumnScratch")
    }
}

/// Appends a column.
pub(super) fn encode(
    values: impl ExactSizeIterator<Item = i64> + Clone,
    scratch: &mut ColumnScratch,
    out: &mut Vec<u8>,
) {
    let mut ahead = values.clone();
    let Some(first) = ahead.next() else { return };
    let plan = Plan::new(first, ahead);
    if let Some(delta) = plan.linear {
        out.push(LINEAR);
        push_varint(out, zigzag(first));
        push_varint(out, zigzag(delta));
        return;
    }
    let start = out.len();
    if plan.fits_i32 && values.len() >= PACKED_MIN && plan.packed_estimate() < plan.varint_bytes {
        pack(values.clone(), first, scratch, out);
        if out.len() - start <= plan.varint_bytes {
            return;
        }
        out.truncate(start);
    }
    out.push(VARINTS);
    let mut last = 0_i64;
    for value in values {
        push_varint(out, zigzag(value.wrapping_sub(last)));
        last = value;
    }
}

fn pack(values: impl Iterator<Item = i64>, first: i64, scratch: &mut ColumnScratch, out: &mut Vec<u8>) {
    for value in values {
        scratch.packer.compress(Row { value: (value - first) as i32 });
    }
    out.push(PACKED);
    push_varint(out, zigzag(first));
    // The length is known afterwards only: leave room for a varint of fixed length.
    let at = out.len();
    out.extend_from_slice(&[0; LEN_BYTES]);
    // `finish_into` of tsz-compress 1.1.6 reserves too little when some but not enough capacity is left, and then writes
    // past the allocation. With room for the largest possible column it does not come to that.
    out.reserve(PACKED_FIXED_MAX + PACKED_VALUE_MAX * scratch.packer.row_count());
    scratch.packer.finish_into(out);
    let len = out.len() - at - LEN_BYTES;
    for (index, byte) in out[at..at + LEN_BYTES].iter_mut().enumerate() {
        let more = if index + 1 < LEN_BYTES { 0x80 } else { 0 };
        *byte = (len >> (7 * index)) as u8 & 0x7f | more;
    }
}

const LEN_BYTES: usize = 4;
/// Bytes that a packed column takes at most: row count, tags, first value and first difference; and for each value a
/// tag and two words, which are 17 nibbles.
const PACKED_FIXED_MAX: usize = 64;
const PACKED_VALUE_MAX: usize = 9;
const _: () = assert!(super::super::PAYLOAD_MAX <= 1 << (7 * LEN_BYTES));

/// What one pass over the differences tells about the ways to store them.
struct Plan {
    linear: Option<i64>,
    fits_i32: bool,
    varint_bytes: usize,
    packed_bits: usize,
}

impl Plan {
    fn new(first: i64, rest: impl Iterator<Item = i64>) -> Self {
        let mut plan =
            Self { linear: Some(0), fits_i32: true, varint_bytes: 1 + varint_len(zigzag(first)), packed_bits: 0 };
        let mut last = first;
        let mut first_delta = None;
        let (mut min, mut max) = (first, first);
        for value in rest {
            let delta = value.wrapping_sub(last);
            let wanted = *first_delta.get_or_insert(delta);
            if delta != wanted {
                plan.linear = None;
            }
            let zigzagged = zigzag(delta);
            plan.varint_bytes += varint_len(zigzagged);
            plan.packed_bits += usize::from(PACKED_BITS[64 - zigzagged.leading_zeros() as usize]);
            (min, max) = (min.min(value), max.max(value));
            last = value;
        }
        plan.linear = plan.linear.and(first_delta.or(Some(0)));
        let near = |value: i64| value.checked_sub(first).is_some_and(|delta| i32::try_from(delta).is_ok());
        plan.fits_i32 = near(min) && near(max);
        plan
    }

    /// A lower bound of the packed size: small differences beside large ones are packed as if they were large.
    fn packed_estimate(&self) -> usize {
        18 + self.packed_bits / 80
    }
}

/// Tenths of bits that a difference of this many bits takes when all around it have the same width.
const PACKED_BITS: [u16; 65] = {
    let mut bits = [680; 65];
    let mut width = 0;
    while width <= 32 {
        bits[width] = match width {
            0..=3 => 36,
            4..=6 => 72,
            7..=8 => 90,
            9..=10 => 120,
            11..=16 => 180,
            _ => 360,
        };
        width += 1;
    }
    bits
};

/// Appends `count` values to `out`.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    count: usize,
    scratch: &mut ColumnScratch,
    out: &mut Vec<i64>,
) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    match reader.u8()? {
        LINEAR => {
            let (mut value, delta) = (reader.signed()?, reader.signed()?);
            for _ in 0..count {
                out.push(value);
                value = value.wrapping_add(delta);
            }
            Ok(())
        }
        VARINTS => {
            let mut value = 0_i64;
            for _ in 0..count {
                value = value.wrapping_add(reader.signed()?);
                out.push(value);
            }
            Ok(())
        }
        PACKED => unpack(reader, count, scratch, out),
        tag => Err(reader.corrupt(&format!("column tag {tag}, known are 0 to 2"))),
    }
}

fn unpack(reader: &mut Reader<'_>, count: usize, scratch: &mut ColumnScratch, out: &mut Vec<i64>) -> Result<()> {
    let first = reader.signed()?;
    let len = reader.count(1)?;
    let bytes = reader.bytes(len)?;
    if packed_count(bytes) != Some(count) {
        return Err(reader.corrupt(&format!("a packed column that does not hold {count} values")));
    }
    scratch.unpacker.clear();
    if scratch.unpacker.decompress(bytes).is_err() || scratch.unpacker.col_value().len() != count {
        return Err(reader.corrupt("a packed column that cannot be unpacked"));
    }
    out.extend(scratch.unpacker.col_value().iter().map(|&value| first.wrapping_add(i64::from(value))));
    Ok(())
}

/// Number of values in a packed column, if the decoder of tsz-compress 1.1.6 can take it.
///
/// That decoder panics on tags it does not know and on differences that overflow, and it does not check the number of
/// rows. So its framing is walked first: four bytes of row count (big-endian), then nibbles: a column start, the first
/// value (8 nibbles behind a row tag), the first difference (16 behind a row tag), then words of 8 nibbles behind a tag
/// that says how many differences they hold, and one more column start where a nibble has to be filled up.
fn packed_count(bytes: &[u8]) -> Option<usize> {
    const COLUMN_START: u8 = 0b1001;
    const ROW: u8 = 0b0110;
    let (rows, packed) = bytes.split_first_chunk::<4>()?;
    let rows = u32::from_be_bytes(*rows) as usize;
    let mut nibbles = Nibbles { bytes: packed, at: 0 };
    if nibbles.next()? != COLUMN_START || nibbles.next()? != ROW {
        return None;
    }
    nibbles.word()?;
    let mut count = 1;
    match nibbles.next() {
        Some(ROW) => {}
        Some(COLUMN_START) if nibbles.is_at_end() => return (rows == count).then_some(count),
        _ => return None,
    }
    let (high, low) = (nibbles.word()?, nibbles.word()?);
    let delta = (u64::from(high) << 32 | u64::from(low)).cast_signed();
    if delta.unsigned_abs() > u64::from(u32::MAX) {
        return None;
    }
    count += 1;
    while let Some(tag) = nibbles.next() {
        count += match tag {
            COLUMN_START if nibbles.is_at_end() => break,
            0b1111 => 10,
            0b1110 => 5,
            0b1100 => 4,
            0b1010 => 3,
            0b1000 => 2,
            0b1011 => 1,
            // Zigzagged differences of 32-bit numbers have at most 34 bits.
            0b1101 if nibbles.word()? < 4 => 1,
            _ => return None,
        };
        nibbles.word()?;
    }
    (count == rows).then_some(count)
}

struct Nibbles<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Nibbles<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at / 2)?;
        self.at += 1;
        Some(if self.at % 2 == 1 { byte >> 4 } else { byte & 0xf })
    }

    fn word(&mut self) -> Option<u32> {
        let mut word = 0;
        for _ in 0..8 {
            word = word << 4 | u32::from(self.next()?);
        }
        Some(word)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len() * 2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64]) -> usize {
        let (mut scratch, mut out, mut got) = (ColumnScratch::default(), Vec::new(), Vec::new());
        encode(values.iter().copied(), &mut scratch, &mut out);
        let mut reader = Reader::new(&out);
        decode(&mut reader, values.len(), &mut scratch, &mut got).unwrap();
        assert_eq!(got, values);
        assert_eq!(reader.remaining(), 0);
        for cut in 0..out.len() {
            assert!(decode(&mut Reader::new(&out[..cut]), values.len(), &mut scratch, &mut Vec::new()).is_err());
        }
        out.len()
    }

    /// Values with differences of about `bits` bits.
    fn walk(bits: u32, len: usize, seed: u64) -> Vec<i64> {
        let (mut value, mut state) = (1_700_000_000_000_i64, seed);
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let delta = if bits == 0 { 0 } else { (state >> (64 - bits)) as i64 };
                value = value.wrapping_add(if state & 1 == 0 { delta } else { -delta });
                value
            })
            .collect()
    }

    #[test]
    fn regular_columns_cost_nothing_and_jitter_is_packed() {
        assert!(round_trip(&[1_700_000_000_000; 500]) <= 8);
        assert!(round_trip(&(7..507).collect::<Vec<_>>()) <= 4);
        let scattered = walk(2, 500, 9);
        let packed = round_trip(&scattered);
        assert!(packed < 270, "{packed} bytes for 500 small differences");
        for len in 0..70 {
            round_trip(&walk(3, len, 5));
        }
    }

    #[test]
    fn extreme_values_round_trip() {
        let mut values = vec![i64::MIN, i64::MAX, 0, -1, 1, i64::MIN, i64::MIN, i64::MAX];
        round_trip(&values);
        values.extend(walk(3, 100, 1));
        round_trip(&values);
        let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
        let swings: Vec<i64> = (0..100)
            .map(|i| {
                if i == 0 {
                    0
                } else if i % 2 == 0 {
                    low
                } else {
                    high
                }
            })
            .collect();
        round_trip(&swings);
        let mut mixed = walk(2, 200, 3);
        mixed[100] += i64::from(i32::MAX) / 2;
        round_trip(&mixed);
    }

    #[test]
    fn packed_swings_of_32_bits_round_trip() {
        let (mut scratch, mut out, mut got) = (ColumnScratch::default(), Vec::new(), Vec::new());
        let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
        let values: Vec<i64> = (0..64)
            .map(|i| {
                if i == 0 {
                    0
                } else if i % 2 == 0 {
                    low
                } else {
                    high
                }
            })
            .collect();
        pack(values.iter().copied(), 0, &mut scratch, &mut out);
        decode(&mut Reader::new(&out), values.len(), &mut scratch, &mut got).unwrap();
        assert_eq!(got, values);
    }

    proptest! {
        #[test]
        fn columns_round_trip(bits in 0_u32..64, len in 0_usize..300, seed: u64) {
            round_trip(&walk(bits, len, seed));
        }

        #[test]
        fn any_values_round_trip(values in prop::collection::vec(any::<i64>(), 0..50)) {
            round_trip(&values);
        }

        /// Damaged packed columns give an error or other values, never a panic.
        #[test]
        fn damaged_columns_do_not_panic(
            bits in 0_u32..33, len in 32_usize..200, seed: u64,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let (mut scratch, mut out) = (ColumnScratch::default(), Vec::new());
            let values = walk(bits, len, seed);
            pack(values.iter().map(|value| i64::from((value - values[0]) as i32)), 0, &mut scratch, &mut out);
            for (index, byte) in flips {
                let at = index.index(out.len());
                out[at] ^= byte;
            }
            let _ = decode(&mut Reader::new(&out), len, &mut scratch, &mut Vec::new());
        }

        #[test]
        fn no_packed_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0_usize..40) {
            let mut scratch = ColumnScratch::default();
            let _ = decode(&mut Reader::new(&bytes), count, &mut scratch, &mut Vec::new());
            let mut framed = vec![PACKED, 0];
            push_varint(&mut framed, bytes.len() as u64 + 4);
            framed.extend_from_slice(&(count as u32).to_be_bytes());
            framed.extend_from_slice(&bytes);
            let _ = decode(&mut Reader::new(&framed), count, &mut scratch, &mut Vec::new());
        }
    }
}
