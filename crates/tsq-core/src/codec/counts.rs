//! Columns of counts that mostly stay as they are from one row to the next: the inner columns of codec 15, `matrix`.
//!
//! ~~~text
//! tag        u8              0 constant, 1 steps, 2 patched, 3 steps that may be negative
//! constant:  the number, zigzag varint
//! patched:   the numbers, as in patched.rs
//! steps:     the first number zigzag varint; varint count of the rows that differ from the row before, 1 to rows - 1;
//!            u8 gap parameter, 0 to 10; u8 step parameter, 0 to 63; then for each of those rows, in one bit stream, most
//!            significant bit first, filled with zeros to a byte:
//!              gap     Rice code   rows between it and the one of these before it (the first row)
//!              step    Rice code   difference to the row before, less one; tag 3: folded to zigzag first; wraps
//! Rice code of n with parameter p: n >> p ones, a zero, the lower p bits of n. With n >> p above 23: 24 ones, then n in
//! 64 bits.
//! ~~~
//! Rice codes come within a few percent of the entropy of the distances between rare events (Rice, 1979).

use super::bits::{BitReader, BitSink, BitWriter};
use super::floats::Effort;
use super::varint::{Cursor, put_i64, put_u64, unzigzag, zigzag};
use super::{cut_short, patched};
use crate::error::{Error, Result};

const CONSTANT: u8 = 0;
const STEPS: u8 = 1;
const PATCHED: u8 = 2;
const SIGNED_STEPS: u8 = 3;

/// A quotient of a Rice code from which on the number is written whole.
const ESCAPE: u32 = 24;

/// Greatest parameters.
const GAP_PARAMETER_MAX: u32 = 10;
const STEP_PARAMETER_MAX: u32 = 63;

/// With fewer changes than one in so many rows, packing is not tried.
const PATCHED_SHARE: usize = 6;

/// Appends the encoding of a column of at least one row.
pub(super) fn encode(rows: &[i64], effort: Effort, out: &mut Vec<u8>) {
    let changed = |pair: &&[i64]| pair[0] != pair[1];
    let changes = rows.windows(2).filter(changed).count();
    if changes == 0 {
        out.push(CONSTANT);
        put_i64(out, rows[0]);
        return;
    }
    let steps = Steps::of(rows, changes);
    if changes * PATCHED_SHARE < rows.len() {
        return steps.put(rows[0], out);
    }
    let start = out.len();
    out.push(PATCHED);
    patched::encode(rows, effort, out);
    if steps.bits / 8 < out.len() - start {
        out.truncate(start);
        steps.put(rows[0], out);
    }
}

/// The rows that differ from the row before.
struct Steps {
    gaps: Vec<u64>,
    steps: Vec<u64>,
    signed: bool,
    gap_parameter: u32,
    step_parameter: u32,
    bits: usize,
}

impl Steps {
    fn of(rows: &[i64], changes: usize) -> Self {
        let (mut gaps, mut steps) = (Vec::with_capacity(changes), Vec::with_capacity(changes));
        let (mut last, mut signed) = (0, false);
        for (row, pair) in rows.windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]) {
            gaps.push((row - last) as u64);
            steps.push(pair[1].wrapping_sub(pair[0]).cast_unsigned());
            signed |= pair[1].wrapping_sub(pair[0]) < 0;
            last = row + 1;
        }
        let folded = |step: u64| if signed { zigzag(step.cast_signed()) } else { step };
        steps.iter_mut().for_each(|step| *step = folded(*step) - 1);
        let (gap_parameter, gap_bits) = parameter(&gaps, GAP_PARAMETER_MAX);
        let (step_parameter, step_bits) = parameter(&steps, STEP_PARAMETER_MAX);
        Self { gaps, steps, signed, gap_parameter, step_parameter, bits: gap_bits + step_bits }
    }

    fn put(&self, first: i64, out: &mut Vec<u8>) {
        out.push(if self.signed { SIGNED_STEPS } else { STEPS });
        put_i64(out, first);
        put_u64(out, self.gaps.len() as u64);
        out.extend_from_slice(&[self.gap_parameter as u8, self.step_parameter as u8]);
        let mut bits = BitWriter::new(out);
        for (gap, step) in self.gaps.iter().zip(&self.steps) {
            put_rice(*gap, self.gap_parameter, &mut bits);
            put_rice(*step, self.step_parameter, &mut bits);
        }
        bits.finish();
    }
}

/// The parameter of the shortest Rice codes of some numbers, at least one, and the bits of all.
fn parameter(numbers: &[u64], most: u32) -> (u32, usize) {
    let mean = numbers.iter().map(|number| *number as f64).sum::<f64>() / numbers.len() as f64;
    // The best one is close to the binary logarithm of ln 2 times the mean.
    let near = (mean * std::f64::consts::LN_2).max(1.0).log2() as u32;
    let bits = |parameter: u32| numbers.iter().map(|number| rice_bits(*number, parameter)).sum::<usize>();
    let tried = near.saturating_sub(1).min(most)..=(near + 1).min(most);
    tried.map(|parameter| (parameter, bits(parameter))).min_by_key(|(_, bits)| *bits).expect("one is tried")
}

fn rice_bits(number: u64, parameter: u32) -> usize {
    match number >> parameter {
        quotient if quotient < u64::from(ESCAPE) => (quotient as u32 + 1 + parameter) as usize,
        _ => ESCAPE as usize + 64,
    }
}

fn put_rice(number: u64, parameter: u32, bits: &mut BitWriter<'_>) {
    let quotient = number >> parameter;
    if quotient >= u64::from(ESCAPE) {
        bits.put((1 << ESCAPE) - 1, ESCAPE);
        bits.put(number, 64);
        return;
    }
    let quotient = quotient as u32;
    bits.put((1 << (quotient + 1)) - 2, quotient + 1);
    bits.put(number & ((1 << parameter) - 1), parameter);
}

#[inline]
fn take_rice(parameter: u32, bits: &mut BitReader<'_>) -> u64 {
    let quotient = bits.peek().leading_ones();
    if quotient >= ESCAPE {
        bits.skip(ESCAPE);
        return bits.read(64);
    }
    bits.skip(quotient + 1);
    let low = if parameter == 0 { 0 } else { bits.read(parameter) };
    u64::from(quotient) << parameter | low
}

/// Adds the numbers of a column to `sums`, one a row; sums wrap. The cursor then stands behind the column. After an error
/// some are added.
pub(super) fn decode_add(cursor: &mut Cursor<'_>, sums: &mut [i64]) -> Result<()> {
    let add = |sums: &mut [i64], number: i64| sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(number));
    match cursor.u8().ok_or_else(cut)? {
        CONSTANT => add(sums, cursor.i64().ok_or_else(cut)?),
        PATCHED => {
            let mut rest = &mut *sums;
            patched::decode_each(cursor, rest.len(), |block| {
                let (now, later) = std::mem::take(&mut rest).split_at_mut(block.len());
                now.iter_mut().zip(block).for_each(|(sum, number)| *sum = sum.wrapping_add(*number));
                rest = later;
            })?;
        }
        tag @ (STEPS | SIGNED_STEPS) => {
            let mut head = || Some((cursor.i64()?, cursor.usize()?, cursor.fixed::<2>()?.map(u32::from)));
            let (mut number, changes, [gap_parameter, step_parameter]) = head().ok_or_else(cut)?;
            if changes >= sums.len() || gap_parameter > GAP_PARAMETER_MAX || step_parameter > STEP_PARAMETER_MAX {
                return Err(Error::corrupt(format!("column of counts with {changes} changes in {} rows", sums.len())));
            }
            let (mut bits, mut row) = (BitReader::new(cursor.rest()), 0_usize);
            for _ in 0..changes {
                let next = (row as u64 + 1).saturating_add(take_rice(gap_parameter, &mut bits));
                let step = take_rice(step_parameter, &mut bits).wrapping_add(1);
                let next = usize::try_from(next).ok().filter(|next| *next < sums.len());
                let next = next.ok_or_else(|| Error::corrupt("column of counts that changes behind its last row"))?;
                add(&mut sums[row..next], number);
                number = number.wrapping_add(if tag == STEPS { step.cast_signed() } else { unzigzag(step) });
                row = next;
            }
            add(&mut sums[row..], number);
            cursor.take(bits.bytes()).ok_or_else(cut)?;
        }
        tag => return Err(Error::corrupt(format!("column of counts with unknown tag {tag}"))),
    }
    Ok(())
}

#[cold]
fn cut() -> Error {
    cut_short("count")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(rows: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(rows, Effort::Thorough, &mut out);
        out
    }

    fn check(rows: &[i64]) -> usize {
        let data = encoded(rows);
        let mut sums = vec![7; rows.len()];
        let mut cursor = Cursor::new(&data);
        decode_add(&mut cursor, &mut sums).unwrap();
        assert!(cursor.is_empty());
        assert!(sums.iter().zip(rows).all(|(sum, row)| *sum == row.wrapping_add(7)));
        data.len()
    }

    #[test]
    fn rare_events_take_few_bits() {
        // One row in 20 counts one: the entropy of that is 0.29 bits a row.
        let mut count = 0;
        let rows = (0..1024_u64).map(|row| {
            count += i64::from(row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 & 0xff < 13);
            count
        });
        let bytes = check(&rows.collect::<Vec<_>>());
        assert!(bytes < 55, "{bytes}");
        assert_eq!(check(&[5; 1000]), 2);
    }

    #[test]
    fn extreme_numbers_come_back() {
        check(&[i64::MIN, i64::MAX, i64::MIN, 0, 0, 0, i64::MAX, -1]);
        check(&[0, i64::MIN, 0, 0, 0, 0, 0, 0]);
        let mut rows = vec![3; 1024];
        rows[1000] = i64::MIN;
        check(&rows);
    }

    proptest! {
        #[test]
        fn counts_come_back(steps in prop::collection::vec(prop_oneof![
            9 => Just(0_i64), 2 => 1_i64..4, 1 => -9_i64..900, 1 => any::<i64>()], 1..600)) {
            let mut number = 0_i64;
            check(&steps.iter().map(|step| { number = number.wrapping_add(*step); number }).collect::<Vec<_>>());
        }

        #[test]
        fn nothing_panics(data in prop::collection::vec(any::<u8>(), 0..80), tag in 0_u8..5, rows in 1_usize..1024) {
            let mut data = data;
            if let Some(first) = data.first_mut() {
                *first = tag;
            }
            let mut sums = vec![0; rows];
            let _ = decode_add(&mut Cursor::new(&data), &mut sums);
        }
    }
}
