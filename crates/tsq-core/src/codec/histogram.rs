//! Codec 2, `histogram`: native histograms, each as a difference to the one before it when their layouts agree.
//!
//! ~~~text
//! tag       u8       bits 0-1: 0 layout as before, 1 new layout, 2 staleness marker (nothing follows)
//!                    bits 2-3: reset hint
//!                    bit 4:    counts are integers, else floats
//! a new layout:
//!   schema          u8 (i8)
//!   integer         u8       0 or 1: whether the sender counted in integers
//!   zero threshold  f64
//!   positive spans  varint count, then each: zigzag varint offset, varint length
//!   negative spans  the same
//!   custom values   varint count, then f64 each
//!   positive        varint count of buckets
//!   negative        varint count of buckets
//! numbers: sum, then zero count, count, positive buckets, negative buckets
//!   sum and float counts: XOR with the number before, bytes reversed, varint
//!   integer counts: zigzag varint of the difference
//! ~~~
//! "Before" is the last histogram that was no staleness marker; with a new layout all its numbers are zero. Integer
//! counts are floats without fraction below 2^53 in both histograms, and not -0.0. A layout whose spans and custom
//! values outnumber twice its buckets by more than 64 is never reused: bytes bound what a decoder allocates.

use super::varint::{Cursor, put_i64, put_u64};
use super::{Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};
use crate::histogram::{Histogram, ResetHint, Span};

const SAME: u8 = 0;
const NEW: u8 = 1;
const STALE: u8 = 2;
const INTEGER_COUNTS: u8 = 1 << 4;

#[derive(Debug)]
pub(super) struct Histograms;

impl Codec for Histograms {
    fn id(&self) -> u8 {
        2
    }

    fn name(&self) -> &'static str {
        "histogram"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Histograms
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Histograms(histograms) = column else { unreachable!("the column is of the codec's type") };
        let stale = Histogram::stale();
        let mut last: Option<&Histogram> = None;
        for histogram in histograms {
            if *histogram == stale {
                out.push(STALE);
                continue;
            }
            encode_one(last, histogram, out);
            last = Some(histogram);
        }
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Histograms(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let result = decode_rows(data, rows, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

fn encode_one(last: Option<&Histogram>, histogram: &Histogram, out: &mut Vec<u8>) {
    let fresh;
    let (before, kind) = match last.filter(|last| same_layout(last, histogram) && reusable(last)) {
        Some(last) => (last, SAME),
        None => {
            fresh = zeroed(histogram);
            (&fresh, NEW)
        }
    };
    let integers = counts(before).chain(counts(histogram)).all(is_integer);
    out.push(kind | (histogram.reset_hint as u8) << 2 | if integers { INTEGER_COUNTS } else { 0 });
    if kind == NEW {
        put_layout(histogram, out);
    }
    put_float(out, before.sum, histogram.sum);
    for (old, new) in counts(before).zip(counts(histogram)) {
        if integers {
            put_i64(out, new as i64 - old as i64);
        } else {
            put_float(out, old, new);
        }
    }
}

/// Zero count, count, positive and negative buckets.
fn counts(h: &Histogram) -> impl Iterator<Item = f64> {
    [h.zero_count, h.count].into_iter().chain(h.positive.iter().copied()).chain(h.negative.iter().copied())
}

fn counts_mut(h: &mut Histogram) -> impl Iterator<Item = &mut f64> {
    [&mut h.zero_count, &mut h.count].into_iter().chain(&mut h.positive).chain(&mut h.negative)
}

fn is_integer(count: f64) -> bool {
    count.abs() < 9_007_199_254_740_992.0 && count.trunc().to_bits() == count.to_bits() && count.to_bits() != 1 << 63
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    a.schema == b.schema
        && a.integer == b.integer
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive.len() == b.positive.len()
        && a.negative.len() == b.negative.len()
        && (a.custom_values.is_empty() && b.custom_values.is_empty()
            || bits(&a.custom_values) == bits(&b.custom_values))
}

fn reusable(h: &Histogram) -> bool {
    let layout = h.positive_spans.len() + h.negative_spans.len() + h.custom_values.len();
    layout <= 2 * (h.positive.len() + h.negative.len()) + 64
}

/// The layout of a histogram with all numbers zero.
fn zeroed(h: &Histogram) -> Histogram {
    let mut zeroed = h.clone();
    zeroed.sum = 0.0;
    counts_mut(&mut zeroed).for_each(|count| *count = 0.0);
    zeroed
}

fn put_layout(h: &Histogram, out: &mut Vec<u8>) {
    out.push(h.schema.cast_unsigned());
    out.push(u8::from(h.integer));
    out.extend_from_slice(&h.zero_threshold.to_le_bytes());
    for spans in [&h.positive_spans, &h.negative_spans] {
        put_u64(out, spans.len() as u64);
        for span in spans {
            put_i64(out, i64::from(span.offset));
            put_u64(out, u64::from(span.length));
        }
    }
    put_u64(out, h.custom_values.len() as u64);
    h.custom_values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    put_u64(out, h.positive.len() as u64);
    put_u64(out, h.negative.len() as u64);
}

fn put_float(out: &mut Vec<u8>, old: f64, new: f64) {
    put_u64(out, (old.to_bits() ^ new.to_bits()).swap_bytes());
}

fn decode_rows(data: &[u8], rows: usize, out: &mut Vec<Histogram>) -> Result<()> {
    let mut cursor = Cursor::new(data);
    let mut last: Option<usize> = None;
    for _ in 0..rows {
        let tag = cursor.u8().ok_or_else(|| cut_short("histogram"))?;
        if tag == STALE {
            out.push(Histogram::stale());
            continue;
        }
        let mut histogram = match (tag & 3, last) {
            (SAME, Some(last)) if reusable(&out[last]) => out[last].clone(),
            (NEW, _) => take_layout(&mut cursor).ok_or_else(|| cut_short("histogram"))?,
            _ => return Err(Error::corrupt(format!("histogram column with tag {tag} out of place"))),
        };
        histogram.reset_hint = ResetHint::from_u8(tag >> 2 & 3).expect("two bits are one of four hints");
        take_numbers(&mut cursor, tag & INTEGER_COUNTS != 0, &mut histogram).ok_or_else(|| cut_short("histogram"))?;
        if tag & !(3 | 3 << 2 | INTEGER_COUNTS) != 0 {
            return Err(Error::corrupt(format!("histogram column with unknown tag {tag}")));
        }
        last = Some(out.len());
        out.push(histogram);
    }
    Ok(())
}

fn take_layout(cursor: &mut Cursor<'_>) -> Option<Histogram> {
    let mut h = Histogram { schema: cursor.u8()?.cast_signed(), ..Histogram::default() };
    h.integer = match cursor.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    h.zero_threshold = f64::from_le_bytes(cursor.fixed()?);
    h.positive_spans = take_spans(cursor)?;
    h.negative_spans = take_spans(cursor)?;
    let count = cursor.usize()?;
    let custom = cursor.take(count.checked_mul(8)?)?;
    let float = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().expect("chunks of 8 bytes"));
    h.custom_values = custom.chunks_exact(8).map(float).collect();
    let (positive, negative) = (cursor.usize()?, cursor.usize()?);
    // Every bucket takes a byte at least, so the bytes left bound what is allocated.
    if positive.checked_add(negative)? > cursor.rest().len() {
        return None;
    }
    h.positive = vec![0.0; positive];
    h.negative = vec![0.0; negative];
    Some(h)
}

fn take_spans(cursor: &mut Cursor<'_>) -> Option<Vec<Span>> {
    let count = cursor.usize()?;
    if count > cursor.rest().len() {
        return None;
    }
    (0..count).map(|_| Some(Span { offset: i32::try_from(cursor.i64()?).ok()?, length: cursor.u32()? })).collect()
}

fn take_numbers(cursor: &mut Cursor<'_>, integers: bool, h: &mut Histogram) -> Option<()> {
    h.sum = take_float(cursor, h.sum)?;
    for count in counts_mut(h) {
        *count =
            if integers { (*count as i64).wrapping_add(cursor.i64()?) as f64 } else { take_float(cursor, *count)? };
    }
    Some(())
}

fn take_float(cursor: &mut Cursor<'_>, old: f64) -> Option<f64> {
    Some(f64::from_bits(old.to_bits() ^ cursor.u64()?.swap_bytes()))
}
