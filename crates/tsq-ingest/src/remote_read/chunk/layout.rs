//! The head of a histogram chunk: what all of its samples have in common.
//!
//! ~~~text
//! zero threshold  8 bits: 0 for 0; e + 243 for 2^(e-1), -242 <= e <= 11; 255 and 64 bits for anything else
//! schema          bucketed, signed
//! spans           twice, positive and negative: their number, then length and signed offset of each, bucketed
//! custom bounds   only with the schema of custom buckets: their number, bucketed, then each: 1 + 1000 times the bound,
//!                 bucketed, if that is whole and at most 33,554,431; else a 0 bit and 64 bits
//! ~~~

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};

use super::bits::{BitReader, BitWriter};
use crate::error::DecodeError;

/// Exponents of thresholds that take one byte, and what is added to them.
const EXPONENTS: std::ops::RangeInclusive<i32> = -242..=11;
const EXPONENT_BIAS: i32 = 243;
/// Stands for a threshold that is written whole.
const WHOLE_THRESHOLD: u64 = 255;

/// Largest custom bound times 1000 that is written as an integer.
const SCALED_BOUND_MAX: f64 = 33_554_430.0;

pub(super) fn write(out: &mut BitWriter, h: &Histogram) {
    write_threshold(out, h.zero_threshold);
    out.bucketed_signed(i64::from(h.schema));
    for spans in [&h.positive_spans, &h.negative_spans] {
        out.bucketed(spans.len() as u64);
        for span in spans {
            out.bucketed(u64::from(span.length));
            out.bucketed_signed(i64::from(span.offset));
        }
    }
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        out.bucketed(h.custom_values.len() as u64);
        for &bound in &h.custom_values {
            write_bound(out, bound);
        }
    }
}

/// Everything but counts and sum. The buckets are those that the spans have; there is at most one a bit of the input.
pub(super) fn read(input: &mut BitReader<'_>) -> Result<Histogram, DecodeError> {
    let zero_threshold = read_threshold(input)?;
    let offset = input.offset();
    let schema = input.bucketed_signed()?;
    let schema = i8::try_from(schema).map_err(|_| DecodeError::malformed(offset, format!("schema {schema}")))?;
    let (positive_spans, positive) = read_spans(input)?;
    let (negative_spans, negative) = read_spans(input)?;
    let mut h = Histogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        positive: vec![0.0; positive],
        negative: vec![0.0; negative],
        ..Histogram::default()
    };
    if schema == CUSTOM_BUCKETS_SCHEMA {
        for _ in 0..read_len(input, "custom bounds")? {
            h.custom_values.push(read_bound(input)?);
        }
    }
    Ok(h)
}

fn write_threshold(out: &mut BitWriter, threshold: f64) {
    // A power of two has a mantissa of zeros; that of 2^(e-1) has the exponent e when written as a fraction of 1.
    let (mantissa, exponent) = (threshold.to_bits() & ((1 << 52) - 1), (threshold.to_bits() >> 52) as i32 - 1022);
    if threshold.to_bits() == 0 {
        out.bits(0, 8);
    } else if mantissa == 0 && EXPONENTS.contains(&exponent) {
        out.bits((exponent + EXPONENT_BIAS) as u64, 8);
    } else {
        out.bits(WHOLE_THRESHOLD, 8);
        out.float(threshold);
    }
}

fn read_threshold(input: &mut BitReader<'_>) -> Result<f64, DecodeError> {
    match input.bits(8)? {
        0 => Ok(0.0),
        WHOLE_THRESHOLD => input.float(),
        byte => Ok(f64::from_bits(((byte as i32 - EXPONENT_BIAS + 1022) as u64) << 52)),
    }
}

fn read_spans(input: &mut BitReader<'_>) -> Result<(Vec<Span>, usize), DecodeError> {
    let mut spans = Vec::new();
    let mut buckets = 0_usize;
    for _ in 0..read_len(input, "spans")? {
        let offset_of_span = input.offset();
        let (length, offset) = (input.bucketed()?, input.bucketed_signed()?);
        let (Ok(length), Ok(offset)) = (u32::try_from(length), i32::try_from(offset)) else {
            let message = format!("span offset {offset} or length {length} exceeds 32 bits");
            return Err(DecodeError::malformed(offset_of_span, message));
        };
        buckets += length as usize;
        if buckets > input.left() {
            let message = format!("the spans have {buckets} buckets, only {} bits follow", input.left());
            return Err(DecodeError::malformed(offset_of_span, message));
        }
        spans.push(Span { offset, length });
    }
    Ok((spans, buckets))
}

/// A number of things of at least one bit each.
fn read_len(input: &mut BitReader<'_>, what: &str) -> Result<u64, DecodeError> {
    let offset = input.offset();
    let len = input.bucketed()?;
    if len > input.left() as u64 {
        return Err(DecodeError::malformed(offset, format!("{len} {what}, but only {} bits follow", input.left())));
    }
    Ok(len)
}

fn write_bound(out: &mut BitWriter, bound: f64) {
    let scaled = (bound * 1000.0).round();
    if (0.0..=SCALED_BOUND_MAX).contains(&scaled) && (scaled as u64 as f64 / 1000.0).to_bits() == bound.to_bits() {
        out.bucketed(scaled as u64 + 1);
    } else {
        out.bits(0, 1);
        out.float(bound);
    }
}

fn read_bound(input: &mut BitReader<'_>) -> Result<f64, DecodeError> {
    match input.bucketed()? {
        0 => input.float(),
        scaled => Ok((scaled - 1) as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn threshold_bytes(threshold: f64) -> Vec<u8> {
        let mut out = BitWriter::default();
        write_threshold(&mut out, threshold);
        out.into_bytes()
    }

    #[test]
    fn thresholds() {
        // 2^-128 is what Prometheus's own histograms use by default.
        let default = 2_f64.powi(-128);
        for (threshold, want) in [(0.0, 0_u8), (0.5, 243), (1.0, 244), (default, 116), (2_f64.powi(-243), 1)] {
            assert_eq!(threshold_bytes(threshold), [want], "{threshold}");
        }
        assert_eq!(threshold_bytes(1024.0), [254]);
        for whole in [0.001, 2048.0, 2_f64.powi(-244), -1.0, -0.0, f64::INFINITY, f64::MIN_POSITIVE / 2.0] {
            let bytes = threshold_bytes(whole);
            assert_eq!((bytes[0], bytes.len()), (255, 9), "{whole}");
        }
    }

    proptest! {
        #[test]
        fn thresholds_and_bounds_round_trip(bits in any::<u64>(), exponent in -300_i32..300, thousandth in 0_u64..1 << 26) {
            for value in [f64::from_bits(bits), 2_f64.powi(exponent), thousandth as f64 / 1000.0, 33_554.431] {
                let mut out = BitWriter::default();
                write_threshold(&mut out, value);
                write_bound(&mut out, value);
                let bytes = out.into_bytes();
                let mut input = BitReader::new(&bytes, 0);
                prop_assert_eq!(read_threshold(&mut input).unwrap().to_bits(), value.to_bits());
                prop_assert_eq!(read_bound(&mut input).unwrap().to_bits(), value.to_bits());
            }
        }
    }
}
