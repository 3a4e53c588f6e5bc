//! Integer columns and chunks of a block.
//!
//! ~~~text
//! an integer column (a time, step or start column, used by any number of chunks), 32 bytes:
//!      0     8  offset     u64, in section "chunks"
//!      8     4  length     u32
//!     12     2  rows       u16, 1 to 1,024
//!     14     1  codec      u8
//!     15     1  use        u8, 0 times, 1 steps, 2 starts
//!     16     8  min        i64, smallest number
//!     24     8  max        i64, greatest number
//!
//! a chunk, in the chunk index, behind the other chunks of its series:
//!   head    u8              bits 0-1 kind; bit 2: shared with other series, a column number follows;
//!                           bit 3: samples have start times
//!   codec   u8              of the value column
//!   times   varint          number of its time column, whose rows are its samples
//!   steps   varint          run kinds only: number of its step column
//!   starts  varint          with start times only: number of its start column
//!   column  varint          shared chunks only: which column of the payload is this series'
//!   offset  zigzag varint   of the payload in section "chunks", less the end of the payload before it in this series
//!   length  varint          of the payload
//! ~~~

use crate::codec::CHUNK_SAMPLES_MAX;
use crate::codec::varint::{Cursor, put_i64, put_u64};
use crate::error::{Error, Result};
use crate::sample::{Kind, TimeRange};

pub(super) const COLUMN_LEN: usize = 32;
const SHARED: u8 = 1 << 2;
const STARTS: u8 = 1 << 3;

/// What the numbers of an integer column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum ColumnUse {
    Times = 0,
    Steps = 1,
    Starts = 2,
}

impl ColumnUse {
    fn from_u8(number: u8) -> Option<Self> {
        [Self::Times, Self::Steps, Self::Starts].into_iter().find(|usage| *usage as u8 == number)
    }
}

/// Numbers of the integer columns of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) times: u32,
    /// For the run kinds.
    pub(super) steps: Option<u32>,
    /// If a sample has a start time.
    pub(super) starts: Option<u32>,
}

/// An entry of the column table.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntegerColumn {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) rows: u16,
    pub(super) codec: u8,
    pub(super) usage: ColumnUse,
    pub(super) min: i64,
    pub(super) max: i64,
}

impl IntegerColumn {
    pub(super) fn encode(&self) -> [u8; COLUMN_LEN] {
        let mut out = [0; COLUMN_LEN];
        out[..8].copy_from_slice(&self.offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12..14].copy_from_slice(&self.rows.to_le_bytes());
        out[14] = self.codec;
        out[15] = self.usage as u8;
        out[16..24].copy_from_slice(&self.min.to_le_bytes());
        out[24..].copy_from_slice(&self.max.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; COLUMN_LEN]) -> Result<Self> {
        let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let rows = usize::from(u16::from_le_bytes([bytes[12], bytes[13]]));
        let wrong = || Error::corrupt(format!("integer column of {rows} rows with use {}", bytes[15]));
        let column = Self {
            offset: eight(0),
            len: u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes")),
            rows: rows as u16,
            codec: bytes[14],
            usage: ColumnUse::from_u8(bytes[15]).ok_or_else(wrong)?,
            min: eight(16).cast_signed(),
            max: eight(24).cast_signed(),
        };
        let is_right = (1..=CHUNK_SAMPLES_MAX).contains(&rows) && column.min <= column.max;
        if is_right { Ok(column) } else { Err(wrong()) }
    }
}

/// Up to 1,024 samples of one series and kind, and where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkMeta {
    /// What the samples are.
    pub kind: Kind,
    /// Time of the oldest sample.
    pub min_ms: i64,
    /// Time of the newest sample.
    pub max_ms: i64,
    /// Number of samples.
    pub count: u32,
    /// The rest is what the chunk index says.
    pub(super) entry: ChunkEntry,
}

impl ChunkMeta {
    /// Times of the samples.
    pub(crate) fn time_range(&self) -> TimeRange {
        TimeRange::new(self.min_ms, self.max_ms)
    }

    /// Where the payload lies that the chunk shares with those of other series, if it does: the same for all of these.
    pub(crate) fn shared_payload(&self) -> Option<u64> {
        self.entry.column.map(|_| self.entry.offset)
    }
}

/// An entry of the chunk index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChunkEntry {
    pub(super) kind: Kind,
    pub(super) codec: u8,
    pub(super) axes: Axes,
    /// Which column of a payload that several series share.
    pub(super) column: Option<u32>,
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl ChunkEntry {
    /// Appends the entry; `end` is the end of the payload before it in its series, and is moved to its own.
    pub(super) fn encode(&self, end: &mut u64, out: &mut Vec<u8>) {
        let Axes { times, steps, starts } = self.axes;
        debug_assert_eq!(steps.is_some(), self.kind.has_step());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(self.kind as u8 | flag(self.column.is_some(), SHARED) | flag(starts.is_some(), STARTS));
        out.push(self.codec);
        put_u64(out, u64::from(times));
        [steps, starts, self.column].into_iter().flatten().for_each(|number| put_u64(out, u64::from(number)));
        put_i64(out, self.offset.wrapping_sub(*end).cast_signed());
        put_u64(out, u64::from(self.len));
        *end = self.offset + u64::from(self.len);
    }

    /// Takes an entry; bounds of offset and length are checked when the payload is read.
    pub(super) fn decode(end: &mut u64, cursor: &mut Cursor<'_>) -> Option<Self> {
        let head = cursor.u8().filter(|head| head & !(3 | SHARED | STARTS) == 0)?;
        let kind = Kind::from_u8(head & 3)?;
        let (codec, times) = (cursor.u8()?, cursor.u32()?);
        let steps = if kind.has_step() { Some(cursor.u32()?) } else { None };
        let starts = if head & STARTS != 0 { Some(cursor.u32()?) } else { None };
        let column = if head & SHARED != 0 { Some(cursor.u32()?) } else { None };
        let offset = end.wrapping_add(cursor.i64()?.cast_unsigned());
        let len = cursor.u32()?;
        *end = offset.checked_add(u64::from(len))?;
        Some(Self { kind, codec, axes: Axes { times, steps, starts }, column, offset, len })
    }
}
