//! Codec 8, `ordered`: floats as integers in their order, without the zero bits that all end in (values that were
//! single-precision, bfloat16 or dyadic fractions end in many).
//!
//! ~~~text
//! shift       u8                zero bits at the end of all magnitudes, at most 62
//! numbers     patched           the magnitude less those bits; all bits inverted when the sign is set
//! ~~~
//! The magnitude is the bits of a float without its sign.

use std::ops::Range;

use super::decimal::width;
use super::floats::{Effort, Sample};
use super::patched;
use super::processor::per_processor;
use super::varint::Cursor;
use super::{CHUNK_SAMPLES_MAX, Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};

const SIGN: u64 = 1 << 63;

const SHIFT_MAX: u32 = 62;

#[derive(Debug)]
pub(super) struct Ordered;

impl Codec for Ordered {
    fn id(&self) -> u8 {
        8
    }

    fn name(&self) -> &'static str {
        "ordered"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Floats
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Floats(values) = column else { unreachable!("the column is of the codec's type") };
        encode(values, Effort::Thorough, out);
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        self.decode_rows(data, rows, 0..rows, out)
    }

    fn decode_rows(&self, data: &[u8], rows: usize, wanted: Range<usize>, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Floats(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let result = decode(data, rows.min(CHUNK_SAMPLES_MAX), &wanted, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// Zero bits that all magnitudes end in.
fn common_shift(values: impl Iterator<Item = f64>) -> u32 {
    values.fold(0, |all, value| all | (value.to_bits() & !SIGN)).trailing_zeros().min(SHIFT_MAX)
}

#[inline(always)]
fn number(value: f64, shift: u32) -> i64 {
    let bits = value.to_bits();
    let magnitude = ((bits & !SIGN) >> shift).cast_signed();
    if bits & SIGN == 0 { magnitude } else { !magnitude }
}

#[inline(always)]
fn value(number: i64, shift: u32) -> f64 {
    let sign = (number >> 63).cast_unsigned();
    let magnitude = number.cast_unsigned() ^ sign;
    f64::from_bits((magnitude << shift & !SIGN) | (sign & SIGN))
}

per_processor! {
    fn values_of(numbers: &[i64], shift: u32, out: &mut [f64]) = values_of_any;
}

#[inline(always)]
fn values_of_any<const WIDE: bool>(numbers: &[i64], shift: u32, out: &mut [f64]) {
    numbers.iter().zip(out).for_each(|(number, slot)| *slot = value(*number, shift));
}

/// Bits of a value, about.
pub(super) fn cost(sample: &Sample) -> f64 {
    let shift = common_shift(sample.runs().flatten().copied());
    let mut bits = 0.0;
    for run in sample.runs() {
        let numbers = run.iter().map(|value| number(*value, shift));
        let (least, most) = numbers.clone().fold((i64::MAX, i64::MIN), |(a, b), n| (a.min(n), b.max(n)));
        let range = 64 - most.wrapping_sub(least).cast_unsigned().leading_zeros();
        let pairs = numbers.clone().zip(numbers.skip(1));
        let differences: u32 = pairs.map(|(before, after)| width(after.wrapping_sub(before))).sum();
        let rows = run.len() as f64;
        bits += f64::from(range).min(f64::from(differences) / (rows - 1.0).max(1.0)) * rows;
    }
    bits / sample.rows() as f64
}

/// Values as numbers in their order.
#[cfg(feature = "pco")]
pub(super) fn numbers_of(values: &[f64]) -> Vec<i64> {
    let shift = common_shift(values.iter().copied());
    values.iter().map(|value| number(*value, shift)).collect()
}

/// Appends the encoding.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let shift = common_shift(values.iter().copied());
    let numbers: Vec<_> = values.iter().map(|value| number(*value, shift)).collect();
    out.push(shift as u8);
    patched::encode(&numbers, effort, out);
}

fn decode(data: &[u8], rows: usize, wanted: &Range<usize>, out: &mut Vec<f64>) -> Result<()> {
    let mut cursor = Cursor::new(data);
    let shift = u32::from(cursor.u8().ok_or_else(|| cut_short("ordered"))?);
    if shift > SHIFT_MAX {
        return Err(Error::corrupt(format!("ordered column with a shift of {shift} bits")));
    }
    out.reserve(wanted.len());
    patched::decode_wanted(&mut cursor, rows, wanted, false, |block| {
        let at = out.len();
        out.resize(at + block.len(), 0.0);
        values_of(block, shift, &mut out[at..]);
    })
}
