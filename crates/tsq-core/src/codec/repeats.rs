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

/// Appends the heads, at most `most`, and gives their count.
fn take_heads(cursor: &mut Cursor<'_>, most: usize, out: &mut Vec<f64>) -> Result<usize> {
    let (Some(count), Some(codec), Some(len)) = (cursor.usize(), cursor.u8(), cursor.usize()) else {
        return Err(cut());
    };
    let data = cursor.take(len).ok_or_else(cut)?;
    if count > most {
        return Err(Error::corrupt(format!("{count} heads for {most} values")));
    }
    floats::decode_plain(codec, data, count, out)?;
    Ok(count)
}

/// Appends `rows` values that `fill` makes of the heads. Those are decoded behind them and do not stay. `fill` gets room
/// for [`WINDOW`] further rows, and the heads with one zero before and [`WINDOW`] zeros behind them.
fn with_heads<'a>(
    cursor: &mut Cursor<'a>,
    rows: usize,
    out: &mut Vec<f64>,
    fill: impl FnOnce(&mut Cursor<'a>, &mut [f64], &[f64]) -> Result<()>,
) -> Result<()> {
    let start = out.len();
    let heads_at = start + rows + WINDOW;
    out.resize(heads_at + 1, 0.0);
    let heads = take_heads(cursor, rows, out)?;
    out.resize(heads_at + 1 + heads + WINDOW, 0.0);
    let (room, heads) = out[start..].split_at_mut(rows + WINDOW);
    fill(cursor, room, heads)?;
    out.truncate(start + rows);
    Ok(())
}

/// Values that are looked at together; a power of two above eight.
const WINDOW: usize = 16;

/// For each byte and each of its bits how many bits up to and with that one are set.
static RANKS: [[u8; 8]; 256] = {
    let mut ranks = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            ranks[byte][bit] = (byte & ((2 << bit) - 1)).count_ones() as u8;
            bit += 1;
        }
        byte += 1;
    }
    ranks
};

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits()
}

fn encode_runs(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let runs = || values.chunk_by(|a, b| same(*a, *b));
    put_heads(&runs().map(|run| run[0]).collect::<Vec<_>>(), effort, out);
    patched::encode(&runs().map(|run| run.len() as i64 - 1).collect::<Vec<_>>(), effort, out);
}

fn decode_runs(cursor: &mut Cursor<'_>, rows: usize, out: &mut Vec<f64>) -> Result<()> {
    with_heads(cursor, rows, out, |cursor, room, heads| {
        let (mut at, mut fits) = (0, true);
        let mut next = heads[1..].iter();
        patched::decode_each(cursor, heads.len() - 1 - WINDOW, |lengths| {
            for (length, head) in lengths.iter().zip(next.by_ref()) {
                // Less one; negative ones wrap to lengths that do not fit either.
                let length = length.cast_unsigned() as usize;
                if length >= rows - at {
                    return fits = false;
                }
                // Most runs are short: what is too much is overwritten by the next run.
                room[at..at + SHORT_RUN].fill(*head);
                if length >= SHORT_RUN {
                    room[at + SHORT_RUN..=at + length].fill(*head);
                }
                at += length + 1;
            }
        })?;
        if fits && at == rows { Ok(()) } else { Err(Error::corrupt("runs do not add up to the rows of the chunk")) }
    })
}

/// Rows that every run is written with at once, at most [`WINDOW`].
const SHORT_RUN: usize = 8;

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
    with_heads(cursor, rows, out, |cursor, room, heads| {
        // The value before the first row is the zero before the heads.
        by_bits(cursor, rows, room, heads, |byte, window, out| {
            let ranks = &RANKS[usize::from(byte)];
            for (slot, rank) in out.iter_mut().zip(ranks) {
                *slot = window[usize::from(*rank) % WINDOW];
            }
        })
    })
}

/// Takes a bit for each row and hands them on, eight at a time, with the room of those rows, and with the heads from the
/// newest one before those rows on. Heads have to be as many as bits that are set.
fn by_bits(
    cursor: &mut Cursor<'_>,
    rows: usize,
    room: &mut [f64],
    heads: &[f64],
    mut each: impl FnMut(u8, &[f64; WINDOW], &mut [f64; 8]),
) -> Result<()> {
    let bits = cursor.take(rows.div_ceil(8)).ok_or_else(cut)?;
    let damaged = || Error::corrupt("bits of a chunk do not match its heads");
    let mut newest = 0;
    for (byte, out) in bits.iter().zip(room.as_chunks_mut::<8>().0) {
        let window = heads.get(newest..).and_then(<[f64]>::first_chunk).ok_or_else(damaged)?;
        each(*byte, window, out);
        newest += usize::from(RANKS[usize::from(*byte)][7]);
    }
    let padding = if rows.is_multiple_of(8) { 0 } else { bits[rows / 8] >> (rows % 8) };
    if padding == 0 && newest == heads.len() - 1 - WINDOW { Ok(()) } else { Err(damaged()) }
}

fn encode_mode(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let mode = floats::frequent(values);
    put_value(mode, out);
    let others: Vec<_> = values.iter().map(|value| !same(*value, mode)).collect();
    put_chosen(values, &others, effort, out);
}

fn decode_mode(cursor: &mut Cursor<'_>, rows: usize, out: &mut Vec<f64>) -> Result<()> {
    let mode = take_value(cursor)?;
    with_heads(cursor, rows, out, |cursor, room, heads| {
        by_bits(cursor, rows, room, heads, |byte, window, out| {
            let ranks = &RANKS[usize::from(byte)];
            for (bit, (slot, rank)) in out.iter_mut().zip(ranks).enumerate() {
                let head = window[usize::from(*rank) % WINDOW];
                *slot = if byte >> bit & 1 == 1 { head } else { mode };
            }
        })
    })
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
    with_heads(cursor, rows, out, |cursor, room, heads| {
        let heads = &heads[1..heads.len() - WINDOW];
        let (mut left, mut fits) = (room, true);
        patched::decode_each(cursor, rows, |places| {
            let (these, others) = std::mem::take(&mut left).split_at_mut(places.len());
            left = others;
            for (slot, place) in these.iter_mut().zip(places) {
                // Negative ones wrap to places that no dictionary has.
                let Some(head) = heads.get(place.cast_unsigned() as usize) else { return fits = false };
                *slot = *head;
            }
        })?;
        if fits { Ok(()) } else { Err(Error::corrupt("a place outside of the dictionary of a chunk")) }
    })
}

#[cold]
fn cut() -> Error {
    cut_short("repeats")
}
