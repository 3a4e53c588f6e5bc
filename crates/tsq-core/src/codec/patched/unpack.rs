//! Numbers of a fixed width in bits, least significant bit first, back to integers.

use super::MINIBLOCK;
use crate::codec::processor::per_processor;

/// Bytes that one load of a number reads.
pub(super) const LOAD: usize = 16;

per_processor! {
    /// Unpacks a miniblock of numbers of `width` (at most 64) bits and adds `base` to each; `data` has [`LOAD`] bytes
    /// behind them.
    pub(super) fn unpack(data: &[u8], width: u8, base: i64, out: &mut [i64; MINIBLOCK]) = unpack_any;
    /// Replaces differences by the numbers, going on from `last`; gives the last number.
    pub(super) fn accumulate(last: i64, rows: &mut [i64]) -> i64 = accumulate_any;
}

#[inline(always)]
fn unpack_any<const WIDE: bool>(data: &[u8], width: u8, base: i64, out: &mut [i64; MINIBLOCK]) {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                0 => out.fill(base),
                $($width => unpack_narrow::<$width>(data, base, out),)*
                _ => unpack_wide(data, usize::from(width), base, out),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38
        39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57);
}

/// Eight numbers take `WIDTH` bytes. A load of eight bytes serves as many of them as it surely holds: four, two or one,
/// each shifted by a constant.
#[inline(always)]
fn unpack_narrow<const WIDTH: usize>(data: &[u8], base: i64, out: &mut [i64; MINIBLOCK]) {
    let mask = u64::MAX >> (64 - WIDTH);
    let data = &data[..MINIBLOCK / 8 * WIDTH + 8];
    let shared = if 4 * WIDTH <= 60 {
        4
    } else if 2 * WIDTH <= 58 {
        2
    } else {
        1
    };
    for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let bytes = &data[group * WIDTH..group * WIDTH + WIDTH + 8];
        for first in (0..8).step_by(shared) {
            let bit = first * WIDTH;
            let load = bytes[bit / 8..bit / 8 + 8].try_into().expect("the slice has 8 bytes");
            let word = u64::from_le_bytes(load) >> (bit % 8);
            for index in 0..shared {
                out[first + index] = base.wrapping_add((word >> (index * WIDTH) & mask).cast_signed());
            }
        }
    }
}

/// For widths whose numbers may lie in nine bytes.
#[inline(always)]
fn unpack_wide(data: &[u8], width: usize, base: i64, out: &mut [i64; MINIBLOCK]) {
    let mask = u64::MAX >> (64 - width);
    for (index, slot) in out.iter_mut().enumerate() {
        let bit = index * width;
        let load = data[bit / 8..bit / 8 + LOAD].try_into().expect("the slice has 16 bytes");
        *slot = base.wrapping_add(((u128::from_le_bytes(load) >> (bit % 8)) as u64 & mask).cast_signed());
    }
}

#[inline(always)]
fn accumulate_any<const WIDE: bool>(last: i64, rows: &mut [i64]) -> i64 {
    let mut sum = last;
    for row in rows {
        sum = sum.wrapping_add(*row);
        *row = sum;
    }
    sum
}
