//! What a block's bytes are spent on, for `tsq inspect`.

use std::collections::BTreeMap;

use super::BlockReader;
use super::chunks::{COLUMN_LEN, ColumnUse};
use super::format::SectionId;
use crate::codec;
use crate::error::Result;
use crate::sample::TimeRange;

/// Use of one codec in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodecStats {
    /// Columns it encodes; shared ones count once.
    pub columns: u64,
    /// Rows of those columns.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where the bytes of a block go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockStats {
    /// By codec name; unknown codecs are named by their number.
    pub codecs: BTreeMap<String, CodecStats>,
    /// By part of the file, in the order of the format; the sum is the length of the file.
    pub parts: Vec<(&'static str, u64)>,
}

impl BlockStats {
    pub(super) fn count(&mut self, id: u8, rows: u64, bytes: u64) {
        let name = codec::name(id).map_or_else(|| format!("unknown {id}"), str::to_owned);
        let stats = self.codecs.entry(name).or_default();
        stats.columns += 1;
        stats.rows += rows;
        stats.bytes += bytes;
    }
}

impl BlockReader {
    /// Counts codecs and bytes. Reads the index of the whole block, no samples.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page of the index is damaged.
    pub(crate) fn stats(&self) -> Result<BlockStats> {
        let mut stats = BlockStats::default();
        let (mut times, mut steps, mut starts) = (0, 0, 0);
        for number in 0..self.column_count() {
            let column = self.any_column(number)?;
            stats.count(column.codec, u64::from(column.rows), u64::from(column.len));
            *match column.usage {
                ColumnUse::Times => &mut times,
                ColumnUse::Steps => &mut steps,
                ColumnUse::Starts => &mut starts,
            } += u64::from(column.len);
        }
        let mut values = 0;
        let mut cursor = self.index()?.series();
        let mut chunks = Vec::new();
        for series in 0..self.meta.series as u32 {
            chunks.clear();
            self.entry_chunks(cursor.get(series)?, TimeRange::ALL, &mut chunks)?;
            for chunk in &chunks {
                // A payload that series share counts with its first column.
                let bytes = if chunk.entry.column.unwrap_or(0) == 0 { u64::from(chunk.entry.len) } else { 0 };
                stats.count(chunk.entry.codec, u64::from(chunk.count), bytes);
                values += bytes;
            }
        }
        stats.parts = vec![("values", values), ("times", times), ("steps", steps), ("start times", starts)];
        let sections = self.sections.iter().filter(|(id, ..)| *id != SectionId::Chunks);
        stats.parts.extend(sections.map(|(_, name, section)| (name, section.len)));
        let named: u64 = stats.parts.iter().map(|(_, bytes)| bytes).sum();
        stats.parts.push(("header, page CRCs, footer", self.meta.file_bytes.saturating_sub(named)));
        Ok(stats)
    }

    pub(super) fn column_count(&self) -> u32 {
        (self.sections.get(SectionId::Columns).len / COLUMN_LEN as u64) as u32
    }
}
