//! Codec 4, `packed`: any integers, as values, differences or differences of differences, whichever is smallest, in
//! miniblocks of 128 with a common base and width.
//!
//! ~~~text
//! order       u8                0 values, 1 differences, 2 differences of differences; all wrap
//! first       zigzag varint     the first value, when order > 0 and there is a row
//! difference  zigzag varint     the first difference, when order > 1 and there are two rows
//! miniblocks, each of 128 of the remaining rows (the last of what is left):
//!   base      zigzag varint     the smallest
//!   width     u8                0 to 64
//!   numbers   width bits each   distance to the base, least significant bit first, padded with zeros to a byte
//! ~~~

use super::varint::{Cursor, len_u64, put_i64, zigzag};
use super::{CHUNK_SAMPLES_MAX, Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};

const MINIBLOCK: usize = 128;
const ORDER_MAX: usize = 2;

#[derive(Debug)]
pub(super) struct Packed;

impl Codec for Packed {
    fn id(&self) -> u8 {
        4
    }

    fn name(&self) -> &'static str {
        "packed"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Integers
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Integers(rows) = column else { unreachable!("the column is of the codec's type") };
        let mut residuals = rows.to_vec();
        let mut best = (0, cost(&residuals));
        for order in 1..=ORDER_MAX.min(rows.len()) {
            difference(&mut residuals[order - 1..]);
            let heads: usize = residuals[..order].iter().map(|head| len_u64(zigzag(*head))).sum();
            let bytes = heads + cost(&residuals[order..]);
            if bytes < best.1 {
                best = (order, bytes);
            }
        }
        let order = best.0;
        residuals.copy_from_slice(rows);
        for level in 0..order {
            difference(&mut residuals[level..]);
        }
        out.push(order as u8);
        residuals[..order].iter().for_each(|head| put_i64(out, *head));
        residuals[order..].chunks(MINIBLOCK).for_each(|block| put_miniblock(block, out));
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Integers(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let result = decode_rows(data, rows.min(CHUNK_SAMPLES_MAX), out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// Leaves the first number and replaces each other one by its difference to the one before.
fn difference(rows: &mut [i64]) {
    for index in (1..rows.len()).rev() {
        rows[index] = rows[index].wrapping_sub(rows[index - 1]);
    }
}

fn base_and_width(block: &[i64]) -> (i64, u32) {
    let base = block.iter().copied().min().unwrap_or(0);
    let used = block.iter().fold(0, |used, row| used | row.wrapping_sub(base).cast_unsigned());
    (base, 64 - used.leading_zeros())
}

fn cost(residuals: &[i64]) -> usize {
    let block_cost = |block: &[i64]| {
        let (base, width) = base_and_width(block);
        len_u64(zigzag(base)) + 1 + (block.len() * width as usize).div_ceil(8)
    };
    residuals.chunks(MINIBLOCK).map(block_cost).sum()
}

fn put_miniblock(block: &[i64], out: &mut Vec<u8>) {
    let (base, width) = base_and_width(block);
    put_i64(out, base);
    out.push(width as u8);
    let (mut pending, mut used) = (0_u128, 0);
    for row in block {
        pending |= u128::from(row.wrapping_sub(base).cast_unsigned()) << used;
        used += width;
        while used >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            used -= 8;
        }
    }
    if used > 0 {
        out.push(pending as u8);
    }
}

fn decode_rows(data: &[u8], rows: usize, out: &mut Vec<i64>) -> Result<()> {
    let mut cursor = Cursor::new(data);
    let order = usize::from(cursor.u8().ok_or_else(|| cut_short("packed"))?);
    if order > ORDER_MAX {
        return Err(Error::corrupt(format!("packed column of order {order}")));
    }
    let start = out.len();
    for _ in 0..order.min(rows) {
        out.push(cursor.i64().ok_or_else(|| cut_short("packed"))?);
    }
    let mut left = rows - order.min(rows);
    while left > 0 {
        let count = left.min(MINIBLOCK);
        take_miniblock(&mut cursor, count, out)?;
        left -= count;
    }
    for level in (0..order.min(rows)).rev() {
        sum(&mut out[start + level..]);
    }
    Ok(())
}

/// The inverse of [`difference`].
fn sum(rows: &mut [i64]) {
    let mut last = 0_i64;
    for row in rows {
        last = last.wrapping_add(*row);
        *row = last;
    }
}

fn take_miniblock(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Result<()> {
    let (Some(base), Some(width @ 0..=64)) = (cursor.i64(), cursor.u8()) else {
        return Err(cut_short("packed"));
    };
    let width = usize::from(width);
    let packed = cursor.take((count * width).div_ceil(8)).ok_or_else(|| cut_short("packed"))?;
    if width == 0 {
        out.resize(out.len() + count, base);
        return Ok(());
    }
    // A copy with room behind it, so that every number is one unaligned load.
    let mut padded = [0_u8; MINIBLOCK * 8 + 16];
    padded[..packed.len()].copy_from_slice(packed);
    let start = out.len();
    out.resize(start + count, 0);
    let slots = &mut out[start..];
    if width <= 57 {
        unpack::<8>(&padded, width, base, slots, |bytes, shift| u64::from_le_bytes(bytes) >> shift);
    } else {
        unpack::<16>(&padded, width, base, slots, |bytes, shift| (u128::from_le_bytes(bytes) >> shift) as u64);
    }
    Ok(())
}

#[inline(always)]
fn unpack<const N: usize>(
    padded: &[u8; MINIBLOCK * 8 + 16],
    width: usize,
    base: i64,
    out: &mut [i64],
    load: impl Fn([u8; N], usize) -> u64,
) {
    let mask = u64::MAX >> (64 - width);
    for (index, slot) in out.iter_mut().enumerate() {
        let bit = index * width;
        let bytes = padded[bit / 8..bit / 8 + N].try_into().expect("the slice has N bytes");
        *slot = base.wrapping_add((load(bytes, bit % 8) & mask).cast_signed());
    }
}
