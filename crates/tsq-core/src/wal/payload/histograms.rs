//! Native histograms, one after another.
//! ~~~text
//! flags            u8: 1 counts are varints (else 8 raw bytes each); 2 counted in integers; 12 the reset hint << 2
//! schema           i8
//! zero_threshold   8 bytes little-endian
//! sum              8 bytes little-endian
//! zero_count       count
//! count            count
//! positive_spans   varint number, each: offset signed varint, length varint
//! negative_spans   the same
//! positive         varint number, each a count
//! negative         the same
//! custom_values    varint number, each 8 bytes little-endian
//! ~~~

use super::bytes::{Reader, push_varint, zigzag};
use crate::error::Result;
use crate::histogram::{Histogram, ResetHint, Span};

const VARINT_COUNTS: u8 = 1;
const INTEGER: u8 = 2;
const HINT_SHIFT: u8 = 2;
const FLAGS_MAX: u8 = 15;

/// Fewest bytes of a histogram.
pub(super) const LEN_MIN: usize = 1 + 1 + 8 + 8 + 1 + 1 + 5;

pub(super) fn encode(histogram: &Histogram, out: &mut Vec<u8>) {
    let varints = counts(histogram).all(is_count);
    let mut flags = (histogram.reset_hint as u8) << HINT_SHIFT;
    if varints {
        flags |= VARINT_COUNTS;
    }
    if histogram.integer {
        flags |= INTEGER;
    }
    out.extend_from_slice(&[flags, histogram.schema.cast_unsigned()]);
    out.extend_from_slice(&histogram.zero_threshold.to_le_bytes());
    out.extend_from_slice(&histogram.sum.to_le_bytes());
    let push_count = |out: &mut Vec<u8>, count: f64| {
        if varints { push_varint(out, count as u64) } else { out.extend_from_slice(&count.to_le_bytes()) }
    };
    push_count(out, histogram.zero_count);
    push_count(out, histogram.count);
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        push_varint(out, spans.len() as u64);
        for span in spans {
            push_varint(out, zigzag(i64::from(span.offset)));
            push_varint(out, u64::from(span.length));
        }
    }
    for buckets in [&histogram.positive, &histogram.negative] {
        push_varint(out, buckets.len() as u64);
        for &count in buckets {
            push_count(out, count);
        }
    }
    push_varint(out, histogram.custom_values.len() as u64);
    for bound in &histogram.custom_values {
        out.extend_from_slice(&bound.to_le_bytes());
    }
}

fn counts(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive.iter().chain(&histogram.negative).copied();
    [histogram.zero_count, histogram.count].into_iter().chain(buckets)
}

/// Whether a varint keeps every bit of this count.
fn is_count(count: f64) -> bool {
    (0.0..9_007_199_254_740_992.0).contains(&count) && (count as u64 as f64).to_bits() == count.to_bits()
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Histogram> {
    let flags = reader.u8()?;
    if flags > FLAGS_MAX {
        return Err(reader.corrupt(&format!("histogram flags {flags:#x}, known are up to {FLAGS_MAX:#x}")));
    }
    let varints = flags & VARINT_COUNTS != 0;
    Ok(Histogram {
        integer: flags & INTEGER != 0,
        reset_hint: ResetHint::from_u8(flags >> HINT_SHIFT).expect("two bits name one of four hints"),
        schema: reader.u8()?.cast_signed(),
        zero_threshold: reader.f64()?,
        sum: reader.f64()?,
        zero_count: count(reader, varints)?,
        count: count(reader, varints)?,
        positive_spans: spans(reader)?,
        negative_spans: spans(reader)?,
        positive: buckets(reader, varints)?,
        negative: buckets(reader, varints)?,
        custom_values: buckets(reader, false)?,
    })
}

fn count(reader: &mut Reader<'_>, varints: bool) -> Result<f64> {
    if varints { reader.varint().map(|count| count as f64) } else { reader.f64() }
}

fn spans(reader: &mut Reader<'_>) -> Result<Vec<Span>> {
    let number = reader.count(2)?;
    (0..number)
        .map(|_| {
            let offset = reader.signed()?;
            let offset = i32::try_from(offset)
                .map_err(|_| reader.corrupt(&format!("the span offset {offset} exceeds 32 bits")))?;
            Ok(Span { offset, length: reader.u32()? })
        })
        .collect()
}

fn buckets(reader: &mut Reader<'_>, varints: bool) -> Result<Vec<f64>> {
    let number = reader.count(if varints { 1 } else { 8 })?;
    (0..number).map(|_| count(reader, varints)).collect()
}
