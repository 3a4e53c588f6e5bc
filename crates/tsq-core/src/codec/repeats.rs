//! Codecs for floats that repeat: 9 `constant`, 10 `runs`, 11 `changes`, 12 `mode`, 13 `dictionary`. They store what
//! repeats once and hand the values that are left, their *heads*, to a codec that knows no repeats.
//!
//! ~~~text
//! constant    bits of the value as a varint, its bytes in reverse order
//! runs        heads, then patched: the length of each run, less one
//! changes     heads, then a bit for each row: 1 for a head, 0 for the value before it (0.0 before the first row)
//! mode        the most frequent value as in constant, heads, then a bit for each row: 1 for a head, 0 for that value
//! dictionary  heads, then patched: for each row the place of its value among the heads
//!
//! heads       varint count, u8 codec (1, 6 to 9, 14), varint length, that many bytes
//! bits        least significant first, padded with zeros to a byte
//! ~~~

use super::floats::{self, Effort};
use super::patched;
use super::varint::{Cursor, put_u64};
use super::{CHUNK_SAMPLES_MAX, Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::{Error, Result};

/// How repeats are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    Constant,
    Runs,
    Changes,
    Mode,
    Dictionary,
}

impl Codec for Repeats {
    fn id(&self) -> u8 {
        match self {
            Self::Constant => 9,
            Self::Runs => 10,
            Self::Changes => 11,
            Self::Mode => 12,
            Self::Dictionary => 13,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Runs => "runs",
            Self::Changes => "changes",
            Self::Mode => "mode",
            Self::Dictionary => "dictionary",
        }
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Floats
    }

    fn accepts(&self, column: Column<'_>) -> bool {
        let Column::Floats(values) = column else { return false };
        *self != Self::Constant || values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits())
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Floats(values) = column else { unreachable!("the column is of the codec's type") };
        self.encode_floats(values, Effort::Thorough, out);
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Floats(out) = out else { unreachable!("the column is of the codec's type") };
        let start = out.len();
        let mut cursor = Cursor::new(data);
        let rows = rows.min(CHUNK_SAMPLES_MAX);
        let result = match self {
            Self::Constant => take_value(&mut cursor).map(|value| out.resize(start + rows, value)),
            Self::Runs => decode_runs(&mut cursor, rows, out),
            Self::Changes => decode_changes(&mut cursor, rows, out),
            Self::Mode => decode_mode(&mut cursor, rows, out),
            Self::Dictionary => decode_dictionary(&mut cursor, rows, out),
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

impl Repeats {
    /// Appends the encoding and gives the id of the codec.
    pub(super) fn encode_floats(self, values: &[f64], effort: Effort, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Constant => put_value(values.first().copied().unwrap_or(0.0), out),
            Self::Runs => encode_runs(values, effort, out),
            Self::Changes => encode_changes(values, effort, out),
            Self::Mode => encode_mode(values, effort, out),
            Self::Dictionary => encode_dictionary(values, effort, out),
        }
        self.id()
    }
}

fn put_value(value: f64, out: &mut Vec<u8>) {
    put_u64(out, value.to_bits().swap_bytes());
}

fn take_value(cursor: &mut Cursor<'_>) -> Result<f64> {
    cursor.u64().map(|bits| f64::from_bits(bits.swap_bytes())).ok_or_else(cut)
}

fn put_heads(heads: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let mut data = Vec::with_capacity(heads.len() * 4);
    let codec = floats::encode_plain(heads, effort, &mut data);
    put_u64(out, heads.len() as u64);
    out.push(codec);
    put_u64(out, data.len() as u64);
    out.extend_from_slice(&data);
}

/// The heads, at most `most`.
fn take_heads(cursor: &mut Cursor<'_>, most: usize) -> Result<Vec<f64>> {
    let (Some(count), Some(codec), Some(len)) = (cursor.usize(), cursor.u8(), cursor.usize()) else {
        return Err(cut());
    };
    let data = cursor.take(len).ok_or_else(cut)?;
    if count > most {
        return Err(Error::corrupt(format!("{count} heads for {most} values")));
    }
    let mut heads = Vec::with_capacity(count);
    floats::decode_plain(codec, data, count, &mut heads)?;
    Ok(heads)
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits()
}

fn encode_runs(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let runs = || values.chunk_by(|a, b| same(*a, *b));
    put_heads(&runs().map(|run| run[0]).collect::<Vec<_>>(), effort, out);
    patched::encode(&runs().map(|run| run.len() as i64 - 1).collect::<Vec<_>>(), effort, out);
}

fn decode_runs(cursor: &mut Cursor<'_>, rows: usize, out: &mut Vec<f64>) -> Result<()> {
    let heads = take_heads(cursor, rows)?;
    let end = out.len() + rows;
    let mut next = heads.iter();
    let mut fits = true;
    out.reserve(rows);
    patched::decode_each(cursor, heads.len(), |lengths| {
        for (length, head) in lengths.iter().zip(next.by_ref()) {
            match usize::try_from(*length) {
                Ok(length) if length < end - out.len() => out.resize(out.len() + length + 1, *head),
                _ => fits = false,
            }
        }
    })?;
    if fits && out.len() == end { Ok(()) } else { Err(Error::corrupt("runs do not add up to the rows of the chunk")) }
}

fn encode_changes(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let mut before = 0.0;
    let changes: Vec<_> = values
        .iter()
        .map(|value| {
            let change = !same(*value, before);
            before = *value;
            change
        })
        .collect();
    put_chosen(values, &changes, effort, out);
}

/// The values that are chosen as heads, and a bit for each row.
fn put_chosen(values: &[f64], chosen: &[bool], effort: Effort, out: &mut Vec<u8>) {
    let heads: Vec<_> = values.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(value, _)| *value).collect();
    put_heads(&heads, effort, out);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit));
    out.extend(chosen.chunks(8).map(byte));
}

fn decode_changes(cursor: &mut Cursor<'_>, rows: usize, out: &mut Vec<f64>) -> Result<()> {
    let heads = take_heads(cursor, rows)?;
    let bits = take_bits(cursor, rows, heads.len())?;
    // Padded so that the place of the newest head stays in range; bit counts were checked above.
    let mut padded = [0.0; CHUNK_SAMPLES_MAX + 1];
    padded[1..=heads.len()].copy_from_slice(&heads);
    let mut newest = 0;
    out.extend((0..rows).map(|row| {
        newest += usize::from(bits[row / 8] >> (row % 8) & 1);
        padded[newest]
    }));
    Ok(())
}

/// The bits of `rows` rows, `ones` of which are set.
fn take_bits<'a>(cursor: &mut Cursor<'a>, rows: usize, ones: usize) -> Result<&'a [u8]> {
    let bits = cursor.take(rows.div_ceil(8)).ok_or_else(cut)?;
    let padding = if rows.is_multiple_of(8) { 0 } else { bits[rows / 8] >> (rows % 8) };
    if padding != 0 || bits.iter().map(|byte| byte.count_ones() as usize).sum::<usize>() != ones {
        return Err(Error::corrupt("bits of a chunk do not match its heads"));
    }
    Ok(bits)
}

fn encode_mode(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let mode = most_frequent(values);
    put_value(mode, out);
    let others: Vec<_> = values.iter().map(|value| !same(*value, mode)).collect();
    put_chosen(values, &others, effort, out);
}

/// The value that comes most often; among equals the one with the smallest bits.
fn most_frequent(values: &[f64]) -> f64 {
    let mut bits: Vec<_> = values.iter().map(|value| value.to_bits()).collect();
    bits.sort_unstable();
    let runs = bits.chunk_by(|a, b| a == b);
    let longest = runs.max_by_key(|run| (run.len(), std::cmp::Reverse(run[0])));
    longest.map_or(0.0, |run| f64::from_bits(run[0]))
}

fn decode_mode(cursor: &mut Cursor<'_>, rows: usize, out: &mut Vec<f64>) -> Result<()> {
    let mode = take_value(cursor)?;
    let heads = take_heads(cursor, rows)?;
    let bits = take_bits(cursor, rows, heads.len())?;
    // Padded so that the place of the next head stays in range; bit counts were checked above.
    let mut padded = [0.0; CHUNK_SAMPLES_MAX + 1];
    padded[..heads.len()].copy_from_slice(&heads);
    let mut next = 0;
    out.extend((0..rows).map(|row| {
        let is_head = bits[row / 8] >> (row % 8) & 1 == 1;
        let value = if is_head { padded[next] } else { mode };
        next += usize::from(is_head);
        value
    }));
    Ok(())
}

fn encode_dictionary(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let mut distinct = values.to_vec();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup_by(|a, b| same(*a, *b));
    put_heads(&distinct, effort, out);
    let place = |value: &f64| distinct.binary_search_by(|head| head.total_cmp(value)).unwrap_or(0) as i64;
    patched::encode(&values.iter().map(place).collect::<Vec<_>>(), effort, out);
}

fn decode_dictionary(cursor: &mut Cursor<'_>, rows: usize, out: &mut Vec<f64>) -> Result<()> {
    let heads = take_heads(cursor, rows)?;
    let mut fits = true;
    out.reserve(rows);
    patched::decode_each(cursor, rows, |places| {
        out.extend(places.iter().map(|place| {
            let head = usize::try_from(*place).ok().and_then(|place| heads.get(place));
            fits &= head.is_some();
            head.copied().unwrap_or(0.0)
        }));
    })?;
    if fits { Ok(()) } else { Err(Error::corrupt("a place outside of the dictionary of a chunk")) }
}

#[cold]
fn cut() -> Error {
    cut_short("repeats")
}
