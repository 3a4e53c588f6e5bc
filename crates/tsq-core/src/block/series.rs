//! Reads the series of a block one after another. Neighbours have most labels in common, so that decoded labels are
//! kept for a while.

use super::chunks::ChunkMeta;
use super::reader::BlockReader;
use crate::error::Result;
use crate::index::{PairCursor, SeriesCursor};
use crate::labels::Labels;

/// Labels that are kept decoded; a power of two.
const KEPT: usize = 256;

/// A cursor over the series of a block; any order works, ascending numbers are fast.
#[derive(Debug)]
pub(crate) struct SeriesReader<'a> {
    block: &'a BlockReader,
    pairs: PairCursor<'a>,
    cursor: SeriesCursor<'a>,
    /// By the low bits of their number: pairs and their canonical bytes.
    kept: Vec<(u32, Vec<u8>)>,
    canonical: Vec<u8>,
}

impl<'a> SeriesReader<'a> {
    pub(super) fn new(block: &'a BlockReader) -> Result<Self> {
        let index = block.index()?;
        let cursor = index.series();
        Ok(Self {
            block,
            pairs: index.pairs(),
            cursor,
            kept: vec![(u32::MAX, Vec::new()); KEPT],
            canonical: Vec::new(),
        })
    }

    /// Labels of a series.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn labels(&mut self, series: u32) -> Result<Labels> {
        self.canonical.clear();
        for pair in &self.cursor.get(series)?.pairs {
            let (kept, bytes) = &mut self.kept[*pair as usize % KEPT];
            if kept != pair || bytes.is_empty() {
                bytes.clear();
                self.pairs.append(*pair, bytes)?;
                *kept = *pair;
            }
            self.canonical.extend_from_slice(bytes);
        }
        Labels::from_canonical(&self.canonical).map_err(|error| error.in_file(self.block.path()))
    }

    /// Appends the chunks of a series in the order of writing.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn chunks(&mut self, series: u32, out: &mut Vec<ChunkMeta>) -> Result<()> {
        self.block.entry_chunks(self.cursor.get(series)?, out)
    }
}
