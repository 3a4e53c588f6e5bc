//! Reads the series of a block one after another. Neighbours have most labels in common, so that decoded labels are
//! kept for a while.

use std::ops::Range;

use super::chunks::ChunkMeta;
use super::reader::BlockReader;
use crate::codec::varint::len_u64;
use crate::error::{Error, Result};
use crate::index::{PairCursor, SeriesCursor};
use crate::labels::Labels;
use crate::sample::TimeRange;

/// Labels that are kept decoded; a power of two.
const KEPT: usize = 256;

/// A cursor over the series of a block; any order works, ascending numbers are fast.
#[derive(Debug)]
pub(crate) struct SeriesReader<'a> {
    block: &'a BlockReader,
    pairs: PairCursor<'a>,
    cursor: SeriesCursor<'a>,
    /// By the low bits of their number.
    kept: Vec<Kept>,
    /// The label set put together last.
    canonical: Vec<u8>,
    /// Its labels.
    written: Vec<Written>,
}

/// A label in a label set.
#[derive(Clone, Copy, Debug)]
struct Written {
    pair: u32,
    name_start: u64,
    /// Where its name begins and ends in the label set, and where the label ends.
    name: (usize, usize),
    end: usize,
}

/// A decoded label.
#[derive(Clone, Debug, Default)]
struct Kept {
    pair: u32,
    /// Length of the name; 0 for no label.
    name_len: usize,
    /// The start of the name: mostly enough to compare it with others.
    name_start: u64,
    /// What `push_pair` writes for it.
    bytes: Vec<u8>,
}

impl Kept {
    fn read(&mut self, pair: u32, pairs: &mut PairCursor<'_>) -> Result<()> {
        self.name_len = 0;
        self.bytes.clear();
        let name = pairs.append(pair, &mut self.bytes)?.as_bytes();
        let mut start = [0; 8];
        let len = name.len().min(start.len());
        start[..len].copy_from_slice(&name[..len]);
        (self.pair, self.name_len, self.name_start) = (pair, name.len(), u64::from_be_bytes(start));
        Ok(())
    }

    /// Where the name lies in `bytes`.
    fn name(&self) -> Range<usize> {
        let head = len_u64(self.name_len as u64);
        head..head + self.name_len
    }
}

impl<'a> SeriesReader<'a> {
    pub(super) fn new(block: &'a BlockReader) -> Result<Self> {
        let index = block.index()?;
        let cursor = index.series();
        let (kept, canonical, written) = (vec![Kept::default(); KEPT], Vec::new(), Vec::new());
        Ok(Self { block, pairs: index.pairs(), cursor, kept, canonical, written })
    }

    /// Labels of a series.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn labels(&mut self, series: u32) -> Result<Labels> {
        let labels = self.read_labels(series);
        self.block.pages.settle(labels)
    }

    fn read_labels(&mut self, series: u32) -> Result<Labels> {
        let pairs = &self.cursor.get(series)?.pairs;
        // Neighbours mostly begin with the same labels.
        let shared = self.written.iter().zip(pairs).take_while(|(written, pair)| written.pair == **pair).count();
        self.written.truncate(shared);
        self.canonical.truncate(self.written.last().map_or(0, |last| last.end));
        for pair in &pairs[shared..] {
            let kept = &mut self.kept[*pair as usize % KEPT];
            if kept.pair != *pair || kept.name_len == 0 {
                kept.read(*pair, &mut self.pairs)?;
            }
            let name = kept.name();
            if let Some(last) = self.written.last()
                && last.name_start >= kept.name_start
                && self.canonical[last.name.0..last.name.1] >= kept.bytes[name.clone()]
            {
                return Err(Error::corrupt("series with unsorted labels").in_file(self.block.path()));
            }
            let at = self.canonical.len();
            self.canonical.extend_from_slice(&kept.bytes);
            self.written.push(Written {
                pair: *pair,
                name_start: kept.name_start,
                name: (at + name.start, at + name.end),
                end: self.canonical.len(),
            });
        }
        // SAFETY: `append` wrote each label with `push_pair` and found its name and value not empty; the loop, of this
        // series or of those it shares labels with, found the names strictly ascending.
        Ok(unsafe { Labels::from_pushed(&self.canonical) })
    }

    /// Appends the chunks of a series in the order of writing.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn chunks(&mut self, series: u32, out: &mut Vec<ChunkMeta>) -> Result<()> {
        self.chunks_in(series, TimeRange::ALL, out)
    }

    /// Appends the chunks of a series that overlap `range`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn chunks_in(&mut self, series: u32, range: TimeRange, out: &mut Vec<ChunkMeta>) -> Result<()> {
        let block = self.block;
        block.pages.settle(self.cursor.get(series).and_then(|entry| block.entry_chunks(entry, range, out)))
    }
}
