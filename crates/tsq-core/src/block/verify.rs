//! Checks every byte of a block and every rule of the format.

use std::collections::HashMap;
use std::sync::Arc;

use super::cache::ReadCache;
use super::chunks::{ChunkMeta, ColumnUse, IntegerColumn};
use super::format::{HEADER_LEN, decode_footer, decode_header};
use super::reader::BlockReader;
use crate::error::{Error, Result};
use crate::sample::{Samples, TimeRange};

/// Findings of one block that are reported; a damaged disk may have many.
pub(super) const FINDINGS_MAX: usize = 100;

/// Counts that the footer promises.
#[derive(Debug, PartialEq, Eq)]
struct Totals {
    chunks: u64,
    samples: u64,
    min_ms: i64,
    max_ms: i64,
}

impl BlockReader {
    /// Reads the whole file and returns what is wrong with it, at most 100 findings: header, footer, the CRC of every
    /// page; and when those are right, whether names, values and series are sorted, postings and series table agree,
    /// columns and chunks decode to what their entries say, and counts and ranges are those of the footer.
    pub(crate) fn verify(self: &Arc<Self>) -> Vec<Error> {
        let mut findings = self.verify_frame();
        for page in 0..self.pages.count() {
            findings.extend(self.pages.verify(page).err());
            if findings.len() >= FINDINGS_MAX {
                return findings;
            }
        }
        if findings.is_empty() {
            findings.extend(self.verify_index().err());
            findings.extend(self.verify_chunks().err());
            findings.extend(self.metadata().err());
            findings.extend(self.exemplars().err());
        }
        findings.extend(self.pages.settle(Ok(())).err());
        findings
    }

    /// Header, footer and CRC table were checked at opening; the file may have been damaged since.
    fn verify_frame(&self) -> Vec<Error> {
        let header = self.verify_header().err();
        let footer = self.verify_footer().err();
        let table = self.pages.verify_table(self.table_crc).err();
        header.into_iter().chain(footer).chain(table).collect()
    }

    fn verify_header(&self) -> Result<()> {
        let bytes = self.pages.raw(0, HEADER_LEN)?;
        let header = bytes.first_chunk::<HEADER_LEN>().expect("the slice has the length of a header");
        decode_header(header).map_err(|error| error.at(self.path(), 0)).map(drop)
    }

    fn verify_footer(&self) -> Result<()> {
        let (at, len) = (self.pages.footer_at(), self.pages.file_len());
        let bytes = self.pages.raw(at, (len - at) as usize)?;
        decode_footer(&bytes, len).map_err(|error| error.at(self.path(), len)).map(drop)
    }

    fn verify_index(&self) -> Result<()> {
        self.index()?.verify()
    }

    fn verify_chunks(self: &Arc<Self>) -> Result<()> {
        for number in 0..self.column_count() {
            self.verify_column(&self.any_column(number)?)?;
        }
        let mut totals = Totals { chunks: 0, samples: 0, min_ms: i64::MAX, max_ms: i64::MIN };
        let mut cursor = self.index()?.series();
        let (mut chunks, mut chunks_end) = (Vec::new(), 0);
        let (mut samples, mut cache, mut shared) = (Samples::default(), ReadCache::default(), Shared::default());
        for series in 0..self.meta.series as u32 {
            let entry = cursor.get(series)?;
            if entry.chunks_at != chunks_end {
                return Err(self.damage(format!("chunks of series {series} do not follow those before")));
            }
            chunks_end += entry.chunks_len;
            chunks.clear();
            self.entry_chunks(entry, TimeRange::ALL, &mut chunks)?;
            for chunk in &chunks {
                self.verify_chunk(series, chunk, &mut cache, &mut samples)?;
                shared.count(self, chunk)?;
                totals.chunks += 1;
                totals.samples += u64::from(chunk.count);
                totals.min_ms = totals.min_ms.min(chunk.min_ms);
                totals.max_ms = totals.max_ms.max(chunk.max_ms);
            }
        }
        shared.verify(self)?;
        let meta = &self.meta;
        let promised = Totals { chunks: meta.chunks, samples: meta.samples, min_ms: meta.min_ms, max_ms: meta.max_ms };
        if totals != promised {
            return Err(self.damage(format!("footer says {promised:?}, the chunks say {totals:?}")));
        }
        Ok(())
    }

    fn verify_column(&self, column: &IntegerColumn) -> Result<()> {
        let mut rows = Vec::new();
        self.read_column(column, usize::from(column.rows), &mut rows)?;
        let range = (rows.iter().min(), rows.iter().max());
        let sorted = column.usage != ColumnUse::Times || rows.is_sorted();
        if range != (Some(&column.min), Some(&column.max)) || !sorted {
            let message = format!("column of {:?} that is unsorted or out of its range", column.usage);
            return Err(self.damage(message));
        }
        Ok(())
    }

    fn verify_chunk(
        self: &Arc<Self>,
        series: u32,
        chunk: &ChunkMeta,
        cache: &mut ReadCache,
        samples: &mut Samples,
    ) -> Result<()> {
        samples.clear();
        self.read_chunk(chunk, cache, samples)?;
        let values = samples.values.len() + samples.histograms.len();
        let steps = if chunk.kind.has_step() { samples.steps.len() } else { values };
        if [samples.times.len(), values, steps] != [chunk.count as usize; 3] {
            return Err(self.damage(format!("chunk of series {series} whose columns differ in length")));
        }
        Ok(())
    }

    fn damage(&self, message: String) -> Error {
        Error::corrupt(message).in_file(self.path())
    }
}

/// By the place of a payload that series share: how many columns no chunk was seen of, and the sum of their numbers.
#[derive(Default)]
struct Shared(HashMap<u64, (usize, usize)>);

impl Shared {
    fn count(&mut self, block: &BlockReader, chunk: &ChunkMeta) -> Result<()> {
        let Some(column) = chunk.entry.column else { return Ok(()) };
        let columns = block.sharers(chunk)?;
        let (left, numbers) = self.0.entry(chunk.entry.offset).or_insert((columns, columns * (columns - 1) / 2));
        *left = left.wrapping_sub(1);
        *numbers = numbers.wrapping_sub(column as usize);
        Ok(())
    }

    /// Each column belongs to exactly one series.
    fn verify(&self, block: &BlockReader) -> Result<()> {
        match self.0.iter().find(|(_, left)| **left != (0, 0)) {
            Some((offset, _)) => Err(block.damage(format!("columns of the payload at {offset} without a series each"))),
            None => Ok(()),
        }
    }
}
