//! Codec 5, `patched`: any integers. The integer core of the float codecs as well.
//!
//! ~~~text
//! head        u8                bits 0-1: 0 numbers, 1 differences, 2 differences of differences, 3 linear;
//!                               bit 2: divided; others zero. All sums wrap.
//! divided:    offset zigzag varint, divisor varint (2 or more): every number is offset + divisor x what follows
//! linear:     first zigzag varint, difference zigzag varint; the second is absent for one row, both for none
//! else:       the first number (when order > 0), the first difference (when order > 1), each a zigzag varint,
//!             then miniblocks, each of 128 of the remaining rows (the last of what is left):
//!   tag         u8              bits 0-6: width, 0 to 64; bit 7: there are exceptions
//!   base        zigzag varint   less the base of the miniblock before
//!   exceptions  u8 count, 1 to 128; u8 row of each, ascending; zigzag varint of each, its distance to the base
//!   numbers     width bits each distance to the base, 0 for exceptions; least significant bit first, padded with
//!                               zeros to a byte
//! ~~~
//! The order is chosen by how far the numbers of a few miniblocks spread, or by what they would take, width and base of
//! a miniblock by size (patched frame of reference: Zukowski et al., ICDE 2006). Encoding is O(n).

mod plan;
mod unpack;

use std::ops::Range;

use plan::{Plan, bits, plan};
use unpack::{LOAD, accumulate, unpack};

use super::floats::Effort;
use super::processor::per_processor;
use super::varint::{Cursor, len_u64, put_i64, put_u64, zigzag};
use super::{CHUNK_SAMPLES_MAX, Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};

/// Rows of a miniblock.
pub(super) const MINIBLOCK: usize = 128;

const ORDER_MAX: usize = 2;
const LINEAR: u8 = 3;
const DIVIDED: u8 = 4;
const EXCEPTIONS: u8 = 0x80;

/// Miniblocks that the order is chosen by.
const TRIED_MINIBLOCKS: usize = 2;

#[derive(Debug)]
pub(super) struct Patched;

impl Codec for Patched {
    fn id(&self) -> u8 {
        5
    }

    fn name(&self) -> &'static str {
        "patched"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Integers
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Integers(rows) = column else { unreachable!("the column is of the codec's type") };
        encode(rows, Effort::Thorough, out);
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Integers(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let mut cursor = Cursor::new(data);
        let result = decode_each(&mut cursor, rows.min(CHUNK_SAMPLES_MAX), |block| out.extend_from_slice(block));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// Appends the encoding of at most [`CHUNK_SAMPLES_MAX`] integers.
pub(super) fn encode(rows: &[i64], effort: Effort, out: &mut Vec<u8>) {
    if is_linear(rows) {
        out.push(LINEAR);
        put_linear(rows, out);
        return;
    }
    let mut numbers = rows.to_vec();
    let mut head = 0;
    let division = divisor(rows);
    if let Some(divisor) = division {
        head |= DIVIDED;
        numbers.iter_mut().for_each(|row| *row = (*row - rows[0]) / divisor);
    }
    let order = choose_order(&numbers, effort);
    out.push(head | order as u8);
    if let Some(divisor) = division {
        put_i64(out, rows[0]);
        put_u64(out, divisor.cast_unsigned());
    }
    for level in 0..order {
        difference(&mut numbers[level..]);
    }
    numbers[..order].iter().for_each(|head| put_i64(out, *head));
    let mut base_before = 0;
    for block in numbers[order..].chunks(MINIBLOCK) {
        let plan = plan(block);
        put_miniblock(block, &plan, base_before, out);
        base_before = plan.base;
    }
}

fn is_linear(rows: &[i64]) -> bool {
    rows.windows(3).all(|w| w[1].wrapping_sub(w[0]) == w[2].wrapping_sub(w[1]))
}

fn put_linear(rows: &[i64], out: &mut Vec<u8>) {
    if let Some(first) = rows.first() {
        put_i64(out, *first);
    }
    if let [first, second, ..] = rows {
        put_i64(out, second.wrapping_sub(*first));
    }
}

/// The greatest common divisor of the distances to the first row, if it is above one and no distance overflows.
fn divisor(rows: &[i64]) -> Option<i64> {
    let mut divisor = 0_u64;
    for row in rows {
        divisor = gcd(divisor, row.checked_sub(rows[0])?.unsigned_abs());
        if divisor == 1 {
            return None;
        }
    }
    i64::try_from(divisor).ok().filter(|divisor| *divisor > 1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Leaves the first number and replaces each other one by its difference to the one before.
fn difference(rows: &mut [i64]) {
    let mut before = 0_i64;
    for row in rows {
        (before, *row) = (*row, row.wrapping_sub(before));
    }
}

/// The order whose numbers lie closest together, judged by a few evenly spread miniblocks.
fn choose_order(numbers: &[i64], effort: Effort) -> usize {
    let blocks = numbers.len().div_ceil(MINIBLOCK).max(1);
    let tried = blocks.min(TRIED_MINIBLOCKS);
    let mut samples = [[[0; MINIBLOCK]; ORDER_MAX + 1]; TRIED_MINIBLOCKS];
    let block = |at: usize| at * blocks / tried;
    let rows = |at: usize| MINIBLOCK.min(numbers.len() - block(at) * MINIBLOCK);
    let mut bits = [0; ORDER_MAX + 1];
    for (at, orders) in samples.iter_mut().enumerate().take(tried) {
        let rows = rows(at);
        orders[0][..rows].copy_from_slice(&numbers[block(at) * MINIBLOCK..][..rows]);
        for order in 0..=ORDER_MAX {
            let start = order.min(rows);
            bits[order] += head_bits(&orders[order][..start]) + spread_bits(&orders[order][start..rows]);
            if at == 0 && start < rows {
                // The first base is stored whole.
                bits[order] += head_bits(&orders[order][start..=start]);
            }
            if order < ORDER_MAX {
                orders[order + 1] = orders[order];
                difference(&mut orders[order + 1][start..rows]);
            }
        }
    }
    let orders = 0..=ORDER_MAX.min(numbers.len());
    let least = orders.clone().map(|order| bits[order]).min().unwrap_or(0);
    let spread = bits;
    let near = |order: &usize| effort != Effort::Fast && spread[*order] <= least + least / SPREAD_DOUBT;
    if orders.clone().filter(near).count() > 1 {
        // What spreads alike is planned.
        for order in orders.clone() {
            if !near(&order) {
                bits[order] = usize::MAX;
                continue;
            }
            let cost = |(at, samples): (usize, &[[i64; MINIBLOCK]; ORDER_MAX + 1])| {
                let (heads, rest) = samples[order][..rows(at)].split_at(order.min(rows(at)));
                let plan = plan(rest);
                // Later miniblocks store the step from the base before, which is small.
                let base = if block(at) == 0 { len_u64(zigzag(plan.base)) } else { 1 };
                head_bits(heads) + 8 * (plan.bytes + base)
            };
            bits[order] = samples.iter().enumerate().take(tried).map(cost).sum();
        }
    }
    orders.min_by_key(|order| bits[*order]).unwrap_or(0)
}

/// Orders whose numbers spread by up to one in so many bits more than the least are looked at more closely.
const SPREAD_DOUBT: usize = 8;

fn head_bits(heads: &[i64]) -> usize {
    heads.iter().map(|head| 8 * len_u64(zigzag(*head))).sum()
}

per_processor! {
    /// Bits of the distances of all numbers to the one in the middle of the block, about what packing takes.
    fn spread_bits(block: &[i64]) -> usize = spread_bits_any;
}

#[inline(always)]
fn spread_bits_any<const WIDE: bool>(block: &[i64]) -> usize {
    let Some(&middle) = block.get(block.len() / 2) else { return 0 };
    block.iter().map(|row| bits(zigzag(row.wrapping_sub(middle))) as usize).sum()
}

/// Appends a miniblock.
fn put_miniblock(block: &[i64], plan: &Plan, base_before: i64, out: &mut Vec<u8>) {
    let mut distances = [0; MINIBLOCK];
    let distances = &mut distances[..block.len()];
    distances.iter_mut().zip(block).for_each(|(slot, row)| *slot = distance(*row, plan.base));
    // Below the base, distances wrap to more bits than any that is packed.
    let is_exception = |distance: &u64| plan.width < 64 && *distance >> plan.width != 0;
    let exceptions = distances.iter().filter(|distance| is_exception(distance)).count();
    let flag = if exceptions > 0 { EXCEPTIONS } else { 0 };
    out.push(flag | plan.width as u8);
    put_i64(out, plan.base.wrapping_sub(base_before));
    if exceptions > 0 {
        out.push(exceptions as u8);
        out.extend((0..block.len()).filter(|row| is_exception(&distances[*row])).map(|row| row as u8));
        for distance in distances.iter_mut().filter(|distance| is_exception(distance)) {
            put_i64(out, distance.cast_signed());
            *distance = 0;
        }
    }
    pack(distances, plan.width, out);
}

/// Appends numbers of at most `width` bits.
fn pack(numbers: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut pending, mut used) = (0_u64, 0);
    let mut packed = [0; MINIBLOCK];
    let mut words = 0;
    for number in numbers {
        pending |= number << used;
        used += width;
        if used >= 64 {
            packed[words] = pending.to_le();
            words += 1;
            used -= 64;
            pending = if used == 0 { 0 } else { number >> (width - used) };
        }
    }
    packed[..words].iter().for_each(|word| out.extend_from_slice(&word.to_ne_bytes()));
    out.extend_from_slice(&pending.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// From the lower to the higher number.
fn distance(high: i64, low: i64) -> u64 {
    high.wrapping_sub(low).cast_unsigned()
}

fn packed_len(rows: usize, width: u32) -> usize {
    (rows * width as usize).div_ceil(8)
}

/// Hands the decoded rows, at most [`MINIBLOCK`] at a time, to `each`; the cursor then stands behind the encoding.
/// After an error, `each` has seen a part of the rows or none.
pub(super) fn decode_each(cursor: &mut Cursor<'_>, rows: usize, each: impl FnMut(&mut [i64])) -> Result<()> {
    decode_until(cursor, rows, rows, each)
}

/// As [`decode_each`], but only hands on the wanted rows. When the last rows are not wanted, and `behind` neither is
/// where the encoding ends, they are not decoded.
pub(super) fn decode_wanted(
    cursor: &mut Cursor<'_>,
    rows: usize,
    wanted: &Range<usize>,
    behind: bool,
    mut each: impl FnMut(&mut [i64]),
) -> Result<()> {
    let mut at = 0;
    decode_until(cursor, rows, if behind { rows } else { wanted.end }, |block| {
        let inside = |row: usize| row.clamp(at, at + block.len()) - at;
        let range = inside(wanted.start)..inside(wanted.end);
        at += block.len();
        if !range.is_empty() {
            each(&mut block[range]);
        }
    })
}

/// As [`decode_each`], but stops once it has handed on the rows before `end`.
fn decode_until(cursor: &mut Cursor<'_>, rows: usize, end: usize, mut each: impl FnMut(&mut [i64])) -> Result<()> {
    let head = cursor.u8().ok_or_else(cut)?;
    if head >> 3 != 0 {
        return Err(Error::corrupt(format!("patched column with head {head}")));
    }
    if head & DIVIDED == 0 {
        return decode_undivided(cursor, head & 3, rows, end, each);
    }
    let (Some(offset), Some(divisor)) = (cursor.i64(), cursor.u64()) else { return Err(cut()) };
    decode_undivided(cursor, head & 3, rows, end, |block| {
        let divisor = divisor.cast_signed();
        block.iter_mut().for_each(|row| *row = offset.wrapping_add(divisor.wrapping_mul(*row)));
        each(block);
    })
}

#[inline(always)]
fn decode_undivided(
    cursor: &mut Cursor<'_>,
    order: u8,
    rows: usize,
    end: usize,
    mut each: impl FnMut(&mut [i64]),
) -> Result<()> {
    let mut block = [0; MINIBLOCK];
    if order == LINEAR {
        return decode_linear(cursor, rows, &mut block, each);
    }
    let order = usize::from(order);
    let heads = order.min(rows);
    let mut sums = [0_i64; ORDER_MAX];
    for sum in &mut sums[..heads] {
        *sum = cursor.i64().ok_or_else(cut)?;
    }
    if heads > 0 {
        let mut first = sums;
        if heads > 1 {
            first[1] = sums[0].wrapping_add(sums[1]);
            sums = [first[1], sums[1]];
        }
        each(&mut first[..heads]);
    }
    let (mut left, mut base) = (rows - heads, 0_i64);
    while left > 0 && rows - left < end {
        let count = left.min(MINIBLOCK);
        base = take_miniblock(cursor, count, base, &mut block)?;
        let rows = &mut block[..count];
        if order == 2 {
            sums[1] = accumulate(sums[1], rows);
        }
        if order > 0 {
            sums[0] = accumulate(sums[0], rows);
        }
        each(rows);
        left -= count;
    }
    Ok(())
}

fn decode_linear(
    cursor: &mut Cursor<'_>,
    rows: usize,
    block: &mut [i64; MINIBLOCK],
    mut each: impl FnMut(&mut [i64]),
) -> Result<()> {
    let mut number = |wanted: bool| if wanted { cursor.i64() } else { Some(0) };
    let (Some(mut next), Some(difference)) = (number(rows > 0), number(rows > 1)) else { return Err(cut()) };
    let mut left = rows;
    while left > 0 {
        let count = left.min(MINIBLOCK);
        for slot in &mut block[..count] {
            *slot = next;
            next = next.wrapping_add(difference);
        }
        each(&mut block[..count]);
        left -= count;
    }
    Ok(())
}

/// Decodes one miniblock and gives its base.
fn take_miniblock(
    cursor: &mut Cursor<'_>,
    count: usize,
    base_before: i64,
    block: &mut [i64; MINIBLOCK],
) -> Result<i64> {
    let (Some(tag), Some(step)) = (cursor.u8(), cursor.i64()) else { return Err(cut()) };
    let (width, base) = (tag & !EXCEPTIONS, base_before.wrapping_add(step));
    if width > 64 {
        return Err(Error::corrupt(format!("patched column with numbers of {width} bits")));
    }
    let mut patched: &[u8] = &[];
    if tag & EXCEPTIONS != 0 {
        let exceptions = usize::from(cursor.u8().ok_or_else(cut)?);
        patched = cursor.take(exceptions).ok_or_else(cut)?;
        if exceptions > count || patched.iter().any(|row| usize::from(*row) >= count) {
            return Err(Error::corrupt("patched column with an exception outside of its miniblock"));
        }
    }
    // Passed over here; read once the other numbers are in place.
    let mut distances = cursor.clone();
    for _ in patched {
        cursor.i64().ok_or_else(cut)?;
    }
    let len = packed_len(count, u32::from(width));
    let room = cursor.rest();
    let packed = cursor.take(len).ok_or_else(cut)?;
    if len + LOAD <= room.len() && count == MINIBLOCK {
        unpack(room, width, base, block);
    } else {
        // A copy with room behind it, so that every number is one unaligned load.
        let mut padded = [0_u8; MINIBLOCK * 8 + LOAD];
        padded[..len].copy_from_slice(packed);
        unpack(&padded, width, base, block);
    }
    for row in patched {
        block[usize::from(*row)] = base.wrapping_add(distances.i64().ok_or_else(cut)?);
    }
    Ok(base)
}

#[cold]
fn cut() -> Error {
    cut_short("patched")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: &[i64]) -> usize {
        let mut out = Vec::new();
        encode(rows, Effort::Thorough, &mut out);
        let mut back = Vec::new();
        let mut cursor = Cursor::new(&out);
        decode_each(&mut cursor, rows.len(), |block| back.extend_from_slice(block)).unwrap();
        assert!(cursor.is_empty());
        assert_eq!(back, rows);
        out.len()
    }

    #[test]
    fn grids_take_a_few_bytes() {
        let grid: Vec<_> = (0..1024).map(|at| 1_700_000_000_000 + at * 15_000).collect();
        assert!(size(&grid) < 12);
    }

    #[test]
    fn the_example_of_the_format_document() {
        let mut out = Vec::new();
        encode(&[1000, 1015, 1031, 1045], Effort::Thorough, &mut out);
        assert_eq!(out, [0x01, 0xd0, 0x0f, 0x02, 0x1c, 0x09]);
    }

    #[test]
    fn outliers_on_both_sides_are_patched() {
        let mut rows: Vec<_> = (0..1024).map(|at| 1_000_000 + at * 7 % 16).collect();
        let plain = size(&rows);
        rows[100] = i64::MIN;
        rows[700] = i64::MAX;
        assert!(size(&rows) < plain + 40, "{} beside {plain}", size(&rows));
    }

    #[test]
    fn multiples_are_divided() {
        let rows: Vec<_> = (0..1024).map(|at| 5 + 250 * (at * 7919 % 16)).collect();
        assert!(size(&rows) < 4 * 128 + 40);
    }

    #[test]
    fn every_width_comes_back() {
        for width in 0..64 {
            for rows in [1, 2, 3, 7, 127, 128, 129, 131, 300] {
                let noise = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) >> (63 - width);
                size(&(0..rows).map(|at| noise(at).cast_signed()).collect::<Vec<_>>());
            }
        }
        size(&[]);
    }
}
