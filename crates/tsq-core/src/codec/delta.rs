//! Streamed delta-of-delta codes with small buckets first, so that a jitter of a millisecond costs 5 bits.
//!
//! ~~~text
//! 0                         0
//! 10      3 bits            -4 to 3
//! 110     7 bits            -64 to 63
//! 1110    12 bits           -2,048 to 2,047
//! 11110   17 bits           -65,536 to 65,535
//! 111110  32 bits           any i32
//! 111111  64 bits           any i64
//! ~~~
//! Numbers are two's complement; differences wrap, so every i64 has a code.

use super::bits::{BitReader, BitSink};

/// Bits of the number behind a prefix of so many ones.
const WIDTHS: [u32; 7] = [0, 3, 7, 12, 17, 32, 64];
/// Bits of that prefix.
const PREFIXES: [u32; 7] = [1, 2, 3, 4, 5, 6, 6];

/// Appends the code of one difference of differences.
#[inline]
pub(super) fn put(value: i64, sink: &mut impl BitSink) {
    let folded = (value ^ value >> 63).cast_unsigned();
    let bits = 65 - folded.leading_zeros();
    let class = match bits {
        _ if value == 0 => return sink.put(0, 1),
        0..=3 => 1,
        4..=7 => 2,
        8..=12 => 3,
        13..=17 => 4,
        18..=32 => 5,
        _ => {
            sink.put(0b11_1111, 6);
            return sink.put(value.cast_unsigned(), 64);
        }
    };
    let width = WIDTHS[class];
    let prefix = (1_u64 << (class + 1)) - 2;
    sink.put(prefix << width | (value.cast_unsigned() & ((1 << width) - 1)), PREFIXES[class] + width);
}

/// Takes one code.
#[inline(always)]
pub(super) fn take(reader: &mut BitReader<'_>) -> i64 {
    let word = reader.peek();
    if word >> 63 == 0 {
        reader.skip(1);
        return 0;
    }
    let class = word.leading_ones().min(6) as usize;
    reader.skip(PREFIXES[class]);
    if class == 6 {
        return reader.read(64).cast_signed();
    }
    reader.skip(WIDTHS[class]);
    (word << PREFIXES[class]).cast_signed() >> (64 - WIDTHS[class])
}

#[cfg(test)]
mod tests {
    use super::super::bits::BitWriter;
    use super::*;

    #[test]
    fn bucket_edges_come_back_with_their_widths() {
        let costs = [(0, 1), (-4, 5), (3, 5), (4, 10), (-64, 10), (63, 10), (-65, 16), (2047, 16), (2048, 22)];
        let more = [(-65_536, 22), (65_536, 38), (i64::from(i32::MIN), 38), (i64::from(i32::MAX) + 1, 70)];
        for (value, bits) in costs.into_iter().chain(more).chain([(i64::MIN, 70), (i64::MAX, 70)]) {
            let mut data = vec![];
            let mut writer = BitWriter::new(&mut data);
            put(value, &mut writer);
            writer.put(1, 1);
            writer.finish();
            let mut reader = BitReader::new(&data);
            assert_eq!(take(&mut reader), value);
            assert_eq!(reader.read(1), 1);
            assert_eq!(data.len(), (bits + 1_usize).div_ceil(8), "{value}");
        }
    }
}
