//! Codecs 6, `decimal`, and 7, `decimal32`: floats as decimal fractions of a fixed number of digits, and what they
//! differ from those.
//!
//! ~~~text
//! head        u8                bits 0-3: digits behind the point, 0 to 14; bit 7: there are residuals; others zero
//! numbers     patched           n of each value
//! residuals   patched           only when there are any
//! ~~~
//! A value is near `p = n / 10^digits`, one correctly rounded division (so that every decimal of up to 15 digits is
//! met exactly); `decimal32` rounds `p` to a single-precision float, for values that were one. The residual is the
//! distance from `p` to the value in the order of floats, where neighbours are one apart and -0.0 is one below 0.0.
//! NaN and infinities, which no decimal is near, take the number of the value before and a large residual.

use std::ops::Range;

use super::floats::{Effort, SAMPLE_MAX, Sample};
use super::patched;
use super::processor::per_processor;
use super::varint::{Cursor, zigzag};
use super::{CHUNK_SAMPLES_MAX, Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};

/// Most digits behind the point.
const DIGITS_MAX: u8 = 14;

const RESIDUALS: u8 = 0x80;

/// Powers of ten, all exact.
const SCALES: [f64; DIGITS_MAX as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];

/// Adding it rounds a float below 2^51 to an integer, half to even, and leaves that in the low bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

const ROUNDING_BITS: i64 = ROUNDING.to_bits().cast_signed();

/// Numbers stay below it.
const NUMBER_MAX: f64 = (1_u64 << 62) as f64;

/// Decimal fractions, or with `SINGLE` those seen as single-precision floats.
#[derive(Debug)]
pub(super) struct Decimal<const SINGLE: bool>;

impl<const SINGLE: bool> Codec for Decimal<SINGLE> {
    fn id(&self) -> u8 {
        if SINGLE { 7 } else { 6 }
    }

    fn name(&self) -> &'static str {
        if SINGLE { "decimal32" } else { "decimal" }
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Floats
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Floats(values) = column else { unreachable!("the column is of the codec's type") };
        let sample = Sample::of(values);
        encode::<SINGLE>(values, choose_digits::<SINGLE>(&sample).digits, Effort::Thorough, out);
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        self.decode_rows(data, rows, 0..rows, out)
    }

    fn decode_rows(&self, data: &[u8], rows: usize, wanted: Range<usize>, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Floats(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let result = decode::<SINGLE>(data, rows.min(CHUNK_SAMPLES_MAX), &wanted, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// A value as a number of `digits` digits behind the point.
#[inline(always)]
fn number(value: f64, scale: f64, before: i64) -> i64 {
    let scaled = value * scale;
    if scaled.abs() < ROUNDING / 3.0 {
        (scaled + ROUNDING).to_bits().cast_signed().wrapping_sub(ROUNDING_BITS)
    } else if scaled.abs() < NUMBER_MAX {
        scaled as i64
    } else {
        before
    }
}

/// What a number stands for.
#[inline(always)]
fn near<const SINGLE: bool>(number: i64, scale: f64) -> f64 {
    single_if::<SINGLE>(number as f64 / scale)
}

#[inline(always)]
fn single_if<const SINGLE: bool>(value: f64) -> f64 {
    if SINGLE { f64::from(value as f32) } else { value }
}

per_processor! {
    /// What numbers stand for.
    fn values_near<const SINGLE: bool>(numbers: &[i64], scale: f64, out: &mut [f64]) = values_near_any;
    /// Moves values by residuals.
    fn add_residuals(residuals: &[i64], values: &mut [f64]) = add_residuals_any;
}

/// Numbers below 2^51 become floats by an addition. Of two quotients of equal worth, the correctly rounded one comes
/// from a division, or from the product with the rounded reciprocal, corrected once by the exact remainder (Markstein,
/// 1990), which is several times as fast where that takes one instruction.
#[inline(always)]
fn values_near_any<const WIDE: bool, const SINGLE: bool>(numbers: &[i64], scale: f64, out: &mut [f64]) {
    let small = |number: i64| f64::from_bits(number.wrapping_add(ROUNDING_BITS).cast_unsigned()) - ROUNDING;
    let pairs = numbers.iter().zip(out);
    // Bits 52 and above of all numbers, moved by 2^51 so that they are zero for small ones of either sign.
    if numbers.iter().fold(0, |all, number| all | number.wrapping_add(1 << 51).cast_unsigned()) >> 52 != 0 {
        pairs.for_each(|(number, value)| *value = near::<SINGLE>(*number, scale));
    } else if scale == 1.0 {
        pairs.for_each(|(number, value)| *value = single_if::<SINGLE>(small(*number)));
    } else if WIDE {
        let reciprocal = 1.0 / scale;
        pairs.for_each(|(number, value)| {
            let number = small(*number);
            let quotient = number * reciprocal;
            let remainder = quotient.mul_add(-scale, number);
            *value = single_if::<SINGLE>(remainder.mul_add(reciprocal, quotient));
        });
    } else {
        pairs.for_each(|(number, value)| *value = single_if::<SINGLE>(small(*number) / scale));
    }
}

#[inline(always)]
fn add_residuals_any<const WIDE: bool>(residuals: &[i64], values: &mut [f64]) {
    for (residual, value) in residuals.iter().zip(values) {
        let bits = place(value.to_bits()).wrapping_add(*residual).cast_unsigned();
        *value = f64::from_bits(place(bits).cast_unsigned());
    }
}

/// The place of a float among all floats; its own inverse on bits.
#[inline(always)]
fn place(bits: u64) -> i64 {
    let bits = bits.cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[inline(always)]
fn residual<const SINGLE: bool>(value: f64, number: i64, scale: f64) -> i64 {
    place(value.to_bits()).wrapping_sub(place(near::<SINGLE>(number, scale).to_bits()))
}

/// A number of digits and what it would take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits {
    pub(super) digits: u8,
    /// Bits of a value, about.
    pub(super) bits: f64,
}

impl Digits {
    /// What is not tried.
    pub(super) const NONE: Self = Self { digits: 0, bits: f64::INFINITY };
}

/// The number of digits that makes sampled runs of values smallest.
pub(super) fn choose_digits<const SINGLE: bool>(sample: &Sample) -> Digits {
    let mut best = Digits::NONE;
    for digits in 0..=DIGITS_MAX {
        let (bits, is_exact) = cost::<SINGLE>(sample.values(), sample.run_len(), SCALES[usize::from(digits)]);
        if bits < best.bits {
            best = Digits { digits, bits };
        }
        if is_exact || bits > best.bits + HOPELESS_BITS {
            break;
        }
    }
    best
}

/// When a number of digits takes so many bits more than fewer digits, even more digits are not tried.
const HOPELESS_BITS: f64 = 12.0;

per_processor! {
    /// Bits of a value, about, and whether there are no residuals, for runs of `run_len` values.
    fn cost<const SINGLE: bool>(values: &[f64], run_len: usize, scale: f64) -> (f64, bool) = cost_any;
}

#[inline(always)]
fn cost_any<const WIDE: bool, const SINGLE: bool>(values: &[f64], run_len: usize, scale: f64) -> (f64, bool) {
    let (mut numbers, mut residuals) = ([0; SAMPLE_MAX], [0; SAMPLE_MAX]);
    let numbers = &mut numbers[..values.len()];
    let residuals = &mut residuals[..values.len()];
    let is_exact = take_apart_any::<WIDE, SINGLE>(values, scale, numbers, residuals);
    let mut bits = 0.0;
    for run in numbers.chunks(run_len) {
        let (least, most) = run.iter().fold((i64::MAX, i64::MIN), |(a, b), n| (a.min(*n), b.max(*n)));
        let differences: u32 = run.windows(2).map(|pair| width(pair[1].wrapping_sub(pair[0]))).sum();
        let rows = run.len() as f64;
        let range = f64::from(64 - most.wrapping_sub(least).cast_unsigned().leading_zeros());
        bits += range.min(f64::from(differences) / (rows - 1.0).max(1.0)) * rows;
    }
    if !is_exact {
        bits += f64::from(residuals.iter().map(|residual| width(*residual)).sum::<u32>());
    }
    (bits / values.len() as f64, is_exact)
}

/// Bits of a signed number.
#[inline(always)]
pub(super) fn width(number: i64) -> u32 {
    64 - zigzag(number).leading_zeros()
}

/// The numbers of values with so many digits, if there are no residuals.
#[cfg(feature = "pco")]
pub(super) fn exact_numbers(values: &[f64], digits: u8) -> Option<Vec<i64>> {
    let scale = SCALES[usize::from(digits)];
    let exact = |value: &f64| {
        let number = number(*value, scale, 0);
        (residual::<false>(*value, number, scale) == 0).then_some(number)
    };
    values.iter().map(exact).collect()
}

/// What numbers with so many digits stand for. `None` for too many digits.
#[cfg(feature = "pco")]
pub(super) fn values_of(numbers: &[i64], digits: u8) -> Option<impl Iterator<Item = f64>> {
    let scale = *SCALES.get(usize::from(digits))?;
    Some(numbers.iter().map(move |number| near::<false>(*number, scale)))
}

/// Appends the encoding with so many digits.
pub(super) fn encode<const SINGLE: bool>(values: &[f64], digits: u8, effort: Effort, out: &mut Vec<u8>) {
    let (mut numbers, mut residuals) = (vec![0; values.len()], vec![0; values.len()]);
    let is_exact = take_apart::<SINGLE>(values, SCALES[usize::from(digits)], &mut numbers, &mut residuals);
    out.push(digits | if is_exact { 0 } else { RESIDUALS });
    patched::encode(&numbers, effort, out);
    if !is_exact {
        patched::encode(&residuals, effort, out);
    }
}

per_processor! {
    /// Numbers and residuals of values, and whether there are no residuals.
    fn take_apart<const SINGLE: bool>(
        values: &[f64], scale: f64, numbers: &mut [i64], residuals: &mut [i64],
    ) -> bool = take_apart_any;
}

#[inline(always)]
fn take_apart_any<const WIDE: bool, const SINGLE: bool>(
    values: &[f64],
    scale: f64,
    numbers: &mut [i64],
    residuals: &mut [i64],
) -> bool {
    if values.iter().fold(true, |small, value| small & ((value * scale).abs() < ROUNDING / 3.0)) {
        for ((number, residual), value) in numbers.iter_mut().zip(residuals.iter_mut()).zip(values) {
            let rounded = value * scale + ROUNDING;
            *number = rounded.to_bits().cast_signed().wrapping_sub(ROUNDING_BITS);
            let near = single_if::<SINGLE>((rounded - ROUNDING) / scale);
            *residual = place(value.to_bits()).wrapping_sub(place(near.to_bits()));
        }
    } else {
        let mut before = 0;
        for ((slot, residual_of), value) in numbers.iter_mut().zip(residuals.iter_mut()).zip(values) {
            before = number(*value, scale, before);
            *slot = before;
            *residual_of = residual::<SINGLE>(*value, before, scale);
        }
    }
    residuals.iter().fold(0, |all, residual| all | residual) == 0
}

fn decode<const SINGLE: bool>(data: &[u8], rows: usize, wanted: &Range<usize>, out: &mut Vec<f64>) -> Result<()> {
    let mut cursor = Cursor::new(data);
    let head = cursor.u8().ok_or_else(|| cut_short("decimal"))?;
    let digits = head & !RESIDUALS;
    let Some(&scale) = SCALES.get(usize::from(digits)) else {
        return Err(Error::corrupt(format!("decimal column with head {head}")));
    };
    let (start, has_residuals) = (out.len(), head & RESIDUALS != 0);
    out.reserve(wanted.len());
    patched::decode_wanted(&mut cursor, rows, wanted, has_residuals, |block| {
        let at = out.len();
        out.resize(at + block.len(), 0.0);
        values_near::<SINGLE>(block, scale, &mut out[at..]);
    })?;
    if has_residuals {
        let mut values = &mut out[start..];
        patched::decode_wanted(&mut cursor, rows, wanted, false, |block| {
            let (these, others) = std::mem::take(&mut values).split_at_mut(block.len());
            add_residuals(block, these);
            values = others;
        })?;
    }
    Ok(())
}
