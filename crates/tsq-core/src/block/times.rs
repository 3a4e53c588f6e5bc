//! Decoded time columns. Series of one scrape share their times, so that what was decoded for one serves the next ones.

use std::ops::Range;
use std::sync::Arc;

use super::chunks::ColumnUse;
use super::reader::BlockReader;
use crate::error::Result;
use crate::sample::TimeRange;

/// Columns that are kept, each of at most 8 KiB; a power of two.
const KEPT: usize = 64;

/// Keeps the time columns decoded last. At most half a MiB.
#[derive(Debug, Default)]
pub(super) struct TimeColumns(Vec<TimeColumn>);

/// A decoded time column.
#[derive(Debug, Default)]
pub(super) struct TimeColumn {
    /// Where it is from: a block, which it keeps alive so that no other one takes its address, and the number.
    source: Option<(Arc<BlockReader>, u32)>,
    times: Vec<i64>,
    is_ascending: bool,
    /// The range asked for last, and its rows.
    found: Option<(TimeRange, Range<usize>)>,
    /// Ascending and distinct.
    is_strict: bool,
}

impl TimeColumns {
    /// The column of a block with this number, which must have so many rows, and the encoded bytes that had to be
    /// decoded for it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(super) fn get(&mut self, block: &Arc<BlockReader>, number: u32, rows: usize) -> Result<(&mut TimeColumn, u64)> {
        if self.0.is_empty() {
            self.0.resize_with(KEPT, TimeColumn::default);
        }
        let kept = &mut self.0[number as usize % KEPT];
        let is_wanted = |(from, of): &(Arc<BlockReader>, u32)| *of == number && Arc::ptr_eq(from, block);
        if kept.source.as_ref().is_some_and(is_wanted) && kept.times.len() == rows {
            return Ok((kept, 0));
        }
        let column = block.column(number, ColumnUse::Times)?;
        (kept.source, kept.found) = (None, None);
        kept.times.clear();
        block.read_column(&column, rows, &mut kept.times)?;
        kept.is_strict = kept.times.is_sorted_by(|left, right| left < right);
        kept.is_ascending = kept.is_strict || kept.times.is_sorted();
        kept.source = Some((Arc::clone(block), number));
        Ok((kept, u64::from(column.len)))
    }

    /// Bytes that all columns take.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|column| size_of::<TimeColumn>() + 8 * column.times.capacity()).sum()
    }
}

impl TimeColumn {
    /// All times.
    pub(super) fn rows(&self) -> &[i64] {
        &self.times
    }

    /// Whether each time is later than the one before.
    pub(super) fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// The rows that lie in a range; all of them where the times are out of order.
    pub(super) fn rows_in(&mut self, range: TimeRange) -> Range<usize> {
        if !self.is_ascending {
            return 0..self.times.len();
        }
        if let Some((_, rows)) = self.found.as_ref().filter(|(last, _)| *last == range) {
            return rows.clone();
        }
        let start = self.times.partition_point(|&time| time < range.min_ms);
        let end = self.times.partition_point(|&time| time <= range.max_ms);
        let rows = start..end.max(start);
        self.found = Some((range, rows.clone()));
        rows
    }
}
