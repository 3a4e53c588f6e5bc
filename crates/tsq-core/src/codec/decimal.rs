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

use super::floats::{Effort, Sample};
use super::patched;
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
        (scaled + ROUNDING).to_bits().cast_signed().wrapping_sub(ROUNDING.to_bits().cast_signed())
    } else if scaled.abs() < NUMBER_MAX {
        scaled as i64
    } else {
        before
    }
}

/// What a number stands for.
#[inline(always)]
fn near<const SINGLE: bool>(number: i64, scale: f64) -> f64 {
    let near = number as f64 / scale;
    if SINGLE { f64::from(near as f32) } else { near }
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
pub(super) fn choose_digits<const SINGLE: bool>(sample: &Sample<'_>) -> Digits {
    let mut best = Digits::NONE;
    for digits in 0..=DIGITS_MAX {
        let (bits, is_exact) = cost::<SINGLE>(sample, SCALES[usize::from(digits)]);
        if bits < best.bits {
            best = Digits { digits, bits };
        }
        if is_exact {
            break;
        }
    }
    best
}

/// Bits of a value, about, and whether there are no residuals.
fn cost<const SINGLE: bool>(sample: &Sample<'_>, scale: f64) -> (f64, bool) {
    let (mut bits, mut is_exact) = (0.0, true);
    for run in sample.runs() {
        let mut before = 0;
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        let (mut differences, mut residuals) = (0, 0);
        for (index, &value) in run.iter().enumerate() {
            let number = number(value, scale, before);
            if index > 0 {
                differences += width(number.wrapping_sub(before));
            }
            before = number;
            (least, most) = (least.min(number), most.max(number));
            let residual = residual::<SINGLE>(value, number, scale);
            is_exact &= residual == 0;
            residuals += width(residual);
        }
        let rows = run.len() as f64;
        let range = f64::from(64 - most.wrapping_sub(least).cast_unsigned().leading_zeros());
        let by_difference = f64::from(differences) / (rows - 1.0).max(1.0);
        bits += (range.min(by_difference) + f64::from(residuals) / rows) * rows;
    }
    (bits / sample.rows() as f64, is_exact)
}

/// Bits of a signed number.
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
    let scale = SCALES[usize::from(digits)];
    let mut before = 0;
    let numbers: Vec<_> = values
        .iter()
        .map(|value| {
            before = number(*value, scale, before);
            before
        })
        .collect();
    let residuals: Vec<_> = values.iter().zip(&numbers).map(|(v, n)| residual::<SINGLE>(*v, *n, scale)).collect();
    let has_residuals = residuals.iter().any(|residual| *residual != 0);
    out.push(digits | if has_residuals { RESIDUALS } else { 0 });
    patched::encode(&numbers, effort, out);
    if has_residuals {
        patched::encode(&residuals, effort, out);
    }
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
    if scale == 1.0 && !SINGLE {
        patched::decode_wanted(&mut cursor, rows, wanted, has_residuals, |block| {
            out.extend(block.iter().map(|number| *number as f64));
        })?;
    } else {
        patched::decode_wanted(&mut cursor, rows, wanted, has_residuals, |block| {
            out.extend(block.iter().map(|number| near::<SINGLE>(*number, scale)));
        })?;
    }
    if has_residuals {
        let mut values = out[start..].iter_mut();
        patched::decode_wanted(&mut cursor, rows, wanted, false, |block| {
            // The block first: what ends first is asked first, so that no value is skipped.
            for (residual, value) in block.iter().zip(values.by_ref()) {
                let bits = place(value.to_bits()).wrapping_add(*residual).cast_unsigned();
                *value = f64::from_bits(place(bits).cast_unsigned());
            }
        })?;
    }
    Ok(())
}
