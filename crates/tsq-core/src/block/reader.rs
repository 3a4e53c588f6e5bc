//! Reads a block. Opening touches header, footer and table of page CRCs; pages are verified as they are used.
//!
//! What leaves was settled ([`PageReader::settle`]): the file behind a map may be cut short at any moment.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cache::{Matrices, ReadCache};
use super::chunks::{COLUMN_LEN, ChunkEntry, ChunkMeta, ColumnUse, IntegerColumn};
use super::format::{
    BlockMeta, Footer, HEADER_LEN, Section, SectionId, Sections, decode_footer, decode_header, footer_span,
};
use super::pages::{PageReader, Slice, read_exact, table_len};
use super::reads::Reads;
use super::series::SeriesReader;
use crate::batch::{Exemplar, Metadata};
use crate::codec::matrix::{self, Matrix};
use crate::codec::varint::Cursor;
use crate::codec::{ColumnMut, decode, decode_rows, keep_rows};
use crate::disk::{Disk, DiskRead};
use crate::error::{Error, Result};
use crate::index::{Index, IndexSections, SeriesEntry};
use crate::labels::Labels;
use crate::query::Matcher;
use crate::sample::{Kind, Samples, TimeRange};
use crate::tombstones::BlockTombstones;

/// An open block; shared by all readers of it.
#[derive(Debug)]
pub(crate) struct BlockReader {
    pub(super) pages: PageReader,
    pub(super) meta: BlockMeta,
    pub(super) sections: Sections,
    pub(super) table_crc: u32,
    index: IndexSections,
}

/// Bytes that opening reads from the end of a file: mostly the whole footer.
const END_LEN: usize = 4096;

impl BlockReader {
    /// Opens a block of database `db_id`. Reads header, footer and page CRC table, whatever the size of the block.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when those are damaged or of another database,
    /// [`ErrorKind::UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat) when a newer tsq wrote them,
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the file cannot be read or mapped.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, db_id: u128, reads: &Arc<Reads>) -> Result<Arc<Self>> {
        Self::from_file(open_file(disk, path)?, path, db_id, reads)
    }

    /// Opens a block from its file; errors name `path`.
    pub(crate) fn from_file(
        file: Box<dyn DiskRead>,
        path: &Path,
        db_id: u128,
        reads: &Arc<Reads>,
    ) -> Result<Arc<Self>> {
        let mut header = [0; HEADER_LEN];
        read_exact(&*file, path, 0, &mut header)?;
        let (owner, id, level) = decode_header(&header).map_err(|error| error.at(path, 0))?;
        let (footer, end) = read_footer(&*file, path)?;
        if (owner, id, level) != (footer.db_id, footer.meta.id, footer.meta.level) {
            return Err(Error::corrupt("block header and footer belong to different blocks").at(path, 0));
        }
        if owner != db_id {
            let message = format!("block belongs to database {owner:032x}, this is {db_id:032x}");
            return Err(Error::corrupt(message).at(path, 16));
        }
        let seed = (db_id, id);
        let table_len = table_len(footer.pages_end);
        let table = match (end.len() as u64).checked_sub(file.len() - footer.pages_end) {
            Some(start) => end[start as usize..][..table_len].to_vec(),
            None => read_vec(&*file, path, footer.pages_end, table_len)?,
        };
        let pages = PageReader::open(file, reads, path, seed, footer.pages_end, &table, footer.table_crc)?;
        let index = IndexSections {
            series: footer.sections.get(SectionId::Series),
            names: footer.sections.get(SectionId::Names),
            values: footer.sections.get(SectionId::Values),
            postings: footer.sections.get(SectionId::Postings),
        };
        let (meta, sections, table_crc) = (footer.meta, footer.sections, footer.table_crc);
        Ok(Arc::new(Self { pages, meta, sections, table_crc, index }))
    }

    /// Database and description of a block file, from its footer alone.
    ///
    /// # Errors
    /// As [`BlockReader::open`].
    pub(crate) fn peek(disk: &dyn Disk, path: &Path) -> Result<(u128, BlockMeta)> {
        let (footer, _) = read_footer(&*open_file(disk, path)?, path)?;
        Ok((footer.db_id, footer.meta))
    }

    /// What the footer says.
    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.pages.path()
    }

    pub(super) fn index(&self) -> Result<Index<'_>> {
        Index::open(&self.pages, &self.index, self.meta.series as u32)
    }

    /// Numbers of the series that pass all matchers, ascending, which is label order. Cost follows the distinct values
    /// of the matchers' names and the series that match.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Result<Vec<u32>> {
        self.pages.settle(self.index().and_then(|index| index.select(matchers)))
    }

    /// Values that any of the `series` with samples in `range` has for a label, sorted. No label set is put together.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged.
    pub(crate) fn values_of(&self, name: &str, series: &[u32], range: TimeRange) -> Result<Vec<String>> {
        self.pages.settle(self.read_values_of(name, series, range))
    }

    fn read_values_of(&self, name: &str, series: &[u32], range: TimeRange) -> Result<Vec<String>> {
        let index = self.index()?;
        let Some(pairs) = index.find_name(name)? else { return Ok(Vec::new()) };
        let whole = self.lies_in(range);
        let mut cursor = index.series();
        let mut found = Vec::new();
        for &series in series {
            let entry = cursor.get(series)?;
            // Neighbours often have the same value.
            let pair = entry.pairs.iter().find(|pair| pairs.contains(pair)).filter(|pair| found.last() != Some(*pair));
            if let Some(&pair) = pair
                && (whole || self.has_samples(entry, range)?)
            {
                found.push(pair);
            }
        }
        found.sort_unstable();
        found.dedup();
        index.values(&found)
    }

    /// Whether all samples lie in `range`.
    pub(super) fn lies_in(&self, range: TimeRange) -> bool {
        range.min_ms <= self.meta.min_ms && self.meta.max_ms <= range.max_ms
    }

    /// A cursor that reads labels and chunks of many series.
    pub(crate) fn series_reader(&self) -> Result<SeriesReader<'_>> {
        SeriesReader::new(self)
    }

    /// Labels of a series. [`BlockReader::series_reader`] is faster for many.
    #[cfg(test)]
    pub(crate) fn labels(&self, series: u32) -> Result<Labels> {
        let index = self.index()?;
        let (mut pairs, mut canonical) = (index.pairs(), Vec::new());
        for pair in &index.series().get(series)?.pairs {
            pairs.append(*pair, &mut canonical)?;
        }
        Labels::from_canonical(&canonical).map_err(|error| error.in_file(self.path()))
    }

    /// Appends the chunks of a series in the order of writing.
    #[cfg(test)]
    pub(crate) fn chunks(&self, series: u32, out: &mut Vec<ChunkMeta>) -> Result<()> {
        let mut cursor = self.index()?.series();
        self.entry_chunks(cursor.get(series)?, TimeRange::ALL, out)
    }

    /// Appends those chunks of a series that overlap `range`.
    pub(super) fn entry_chunks(&self, entry: &SeriesEntry, range: TimeRange, out: &mut Vec<ChunkMeta>) -> Result<()> {
        self.visit_chunks(entry, |entry, times| {
            if range.overlaps(&TimeRange::new(times.min, times.max)) {
                let (kind, count) = (entry.kind, u32::from(times.rows));
                out.push(ChunkMeta { kind, min_ms: times.min, max_ms: times.max, count, entry });
            }
        })
    }

    /// Whether a chunk of a series overlaps `range`.
    fn has_samples(&self, entry: &SeriesEntry, range: TimeRange) -> Result<bool> {
        let mut found = false;
        self.visit_chunks(entry, |_, times| found |= range.overlaps(&TimeRange::new(times.min, times.max)))?;
        Ok(found)
    }

    /// Calls `visit` with each chunk of a series and its time column.
    fn visit_chunks(&self, entry: &SeriesEntry, mut visit: impl FnMut(ChunkEntry, &IntegerColumn)) -> Result<()> {
        let section = self.sections.get(SectionId::ChunkIndex);
        let bytes = self.pages.slice(section, entry.chunks_at, entry.chunks_len)?;
        let damaged = || self.pages.corrupt(section.offset + entry.chunks_at, "chunk index entry that is no entry");
        let mut cursor = Cursor::new(&bytes);
        let mut end = 0;
        for _ in 0..entry.chunks {
            let entry = ChunkEntry::decode(&mut end, &mut cursor).ok_or_else(damaged)?;
            let times = self.column(entry.axes.times, ColumnUse::Times)?;
            visit(entry, &times);
        }
        if cursor.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    /// An entry of the column table.
    pub(super) fn any_column(&self, number: u32) -> Result<IntegerColumn> {
        let section = self.sections.get(SectionId::Columns);
        let at = u64::from(number) * COLUMN_LEN as u64;
        let column = IntegerColumn::decode(&self.pages.fixed::<COLUMN_LEN>(section, at)?);
        column.map_err(|error| error.at(self.path(), section.offset + at))
    }

    pub(super) fn column(&self, number: u32, usage: ColumnUse) -> Result<IntegerColumn> {
        let column = self.any_column(number)?;
        if column.usage != usage {
            let at = self.sections.get(SectionId::Columns).offset + u64::from(number) * COLUMN_LEN as u64;
            return Err(self.pages.corrupt(at, format!("integer column that is not used for {usage:?}")));
        }
        Ok(column)
    }

    /// Appends the times, steps and start times of a chunk. Gives the encoded bytes they took.
    pub(crate) fn read_axes(&self, chunk: &ChunkMeta, out: &mut Samples) -> Result<u64> {
        let (rows, before, axes) = (chunk.count as usize, out.len(), chunk.entry.axes);
        let mut bytes = 0;
        let mut read = |number: u32, usage: ColumnUse, out: &mut Vec<i64>| {
            let column = self.column(number, usage)?;
            bytes += u64::from(column.len);
            self.read_column(&column, rows, out)
        };
        read(axes.times, ColumnUse::Times, &mut out.times)?;
        if let Some(steps) = axes.steps {
            read(steps, ColumnUse::Steps, &mut out.steps)?;
        }
        if let Some(starts) = axes.starts {
            out.starts.resize(before, 0);
            read(starts, ColumnUse::Starts, &mut out.starts)?;
        }
        out.pad_starts();
        Ok(bytes)
    }

    /// Appends the samples of a chunk, and gives the encoded bytes that had to be decoded for them. `cache` keeps what
    /// other chunks may need too. After an error `out` may hold some of its columns.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page it needs is damaged,
    /// [`ErrorKind::UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat) when a newer tsq encoded it.
    pub(crate) fn read_chunk(
        self: &Arc<Self>,
        chunk: &ChunkMeta,
        cache: &mut ReadCache,
        out: &mut Samples,
    ) -> Result<u64> {
        let rows = 0..chunk.count as usize;
        let read = || Ok(self.read_axes(chunk, out)? + self.read_values(chunk, rows, &mut cache.matrices, out)?);
        self.pages.settle(read())
    }

    /// Series whose chunks share the payload of this one.
    ///
    /// # Errors
    /// As [`BlockReader::read_chunk`].
    pub(crate) fn sharers(&self, chunk: &ChunkMeta) -> Result<usize> {
        if chunk.entry.column.is_none() {
            return Ok(1);
        }
        let (payload, at) = self.payload(chunk.entry.offset, chunk.entry.len)?;
        let matrix = Matrix::open(&payload).map_err(|error| error.at(self.path(), at));
        self.pages.settle(matrix.map(|matrix| matrix.columns()))
    }

    /// Appends the samples of a chunk that lie in `range`, and only decodes what it must for that; gives the encoded
    /// bytes it looked at, and whether each of those samples is later than the one before. Where they are not, others
    /// than those in the range may be among them. `cache` gives, and keeps, what several chunks share. After an error
    /// `out` may hold some of the columns.
    ///
    /// # Errors
    /// As [`BlockReader::read_chunk`].
    pub(crate) fn read_chunk_in(
        self: &Arc<Self>,
        chunk: &ChunkMeta,
        range: TimeRange,
        cache: &mut ReadCache,
        out: &mut Samples,
    ) -> Result<(u64, bool)> {
        self.pages.settle(self.read_rows_in(chunk, range, cache, out))
    }

    fn read_rows_in(
        self: &Arc<Self>,
        chunk: &ChunkMeta,
        range: TimeRange,
        cache: &mut ReadCache,
        out: &mut Samples,
    ) -> Result<(u64, bool)> {
        let rows = chunk.count as usize;
        let (axes, before) = (chunk.entry.axes, out.len());
        let ReadCache { times, matrices } = cache;
        let (times, mut bytes) = times.get(self, axes.times, rows)?;
        let wanted = times.rows_in(range);
        let mut read = |number: u32, usage: ColumnUse, out: &mut Vec<i64>| -> Result<()> {
            let (start, column) = (out.len(), self.column(number, usage)?);
            self.read_column(&column, rows, out)?;
            keep_rows(out, start, &wanted);
            bytes += u64::from(column.len);
            Ok(())
        };
        if let Some(steps) = axes.steps {
            read(steps, ColumnUse::Steps, &mut out.steps)?;
        }
        if let Some(starts) = axes.starts {
            out.starts.resize(before, 0);
            read(starts, ColumnUse::Starts, &mut out.starts)?;
        }
        out.times.extend_from_slice(&times.rows()[wanted.clone()]);
        out.pad_starts();
        let is_strict = times.is_strict();
        Ok((bytes + self.read_values(chunk, wanted, matrices, out)?, is_strict))
    }

    /// Appends values or histograms of some rows of a chunk, and gives the bytes of its payload that were decoded.
    fn read_values(
        self: &Arc<Self>,
        chunk: &ChunkMeta,
        wanted: Range<usize>,
        matrices: &mut Matrices,
        out: &mut Samples,
    ) -> Result<u64> {
        let entry = &chunk.entry;
        if let Some(column) = entry.column {
            return self.read_shared(chunk, column, wanted, matrices, out);
        }
        let (payload, at) = self.payload(entry.offset, entry.len)?;
        let values = match chunk.kind.is_histogram() {
            true => ColumnMut::Histograms(&mut out.histograms),
            false => ColumnMut::Floats(&mut out.values),
        };
        let decoded = decode_rows(entry.codec, &payload, chunk.count as usize, wanted, values);
        decoded.map_err(|error| error.at(self.path(), at))?;
        Ok(u64::from(entry.len))
    }

    fn read_shared(
        self: &Arc<Self>,
        chunk: &ChunkMeta,
        column: u32,
        wanted: Range<usize>,
        matrices: &mut Matrices,
        out: &mut Samples,
    ) -> Result<u64> {
        let (id, rows) = (chunk.entry.codec, chunk.count as usize);
        let at = self.sections.get(SectionId::Chunks).offset + chunk.entry.offset;
        if id != matrix::ID || chunk.kind != Kind::Float {
            let message = format!("column {column} of a {} chunk whose encoding {id} is not shared", chunk.kind.name());
            return Err(self.pages.corrupt(at, message));
        }
        let (values, bytes) = matrices.column(self, chunk, column).map_err(|error| error.at(self.path(), at))?;
        if values.len() != rows {
            let message = format!("column {column} of {} rows in a chunk of {rows}", values.len());
            return Err(self.pages.corrupt(at, message));
        }
        out.values.extend_from_slice(&values[wanted]);
        Ok(bytes)
    }

    pub(super) fn read_column(&self, column: &IntegerColumn, rows: usize, out: &mut Vec<i64>) -> Result<()> {
        let (payload, at) = self.payload(column.offset, column.len)?;
        if usize::from(column.rows) != rows {
            return Err(self.pages.corrupt(at, format!("column of {} rows in a chunk of {rows}", column.rows)));
        }
        decode(column.codec, &payload, rows, ColumnMut::Integers(out)).map_err(|error| error.at(self.path(), at))
    }

    pub(super) fn payload(&self, offset: u64, len: u32) -> Result<(Slice<'_>, u64)> {
        let section: Section = self.sections.get(SectionId::Chunks);
        let payload = self.pages.slice(section, offset, u64::from(len))?;
        Ok((payload, section.offset + offset))
    }

    /// Sorted names of the labels that a series of the block has which is not wholly deleted.
    pub(crate) fn label_names(&self, deleted: Option<&BlockTombstones>) -> Result<Vec<String>> {
        let names = |index: Index<'_>| match deleted {
            None => index.names(),
            Some(deleted) => index.names_left(|series| !deleted.is_gone(series)),
        };
        self.pages.settle(self.index().and_then(names))
    }

    /// Sorted values of a label that a series of the block has which is not wholly deleted.
    pub(crate) fn label_values(&self, name: &str, deleted: Option<&BlockTombstones>) -> Result<Vec<String>> {
        let values = |index: Index<'_>| match deleted {
            None => index.values_of(name),
            Some(deleted) => index.values_left(name, |series| !deleted.is_gone(series)),
        };
        self.pages.settle(self.index().and_then(values))
    }

    /// What was known about metrics, as it was written.
    pub(crate) fn metadata(&self) -> Result<Vec<Metadata>> {
        self.parse(SectionId::Metadata, "metadata entry past its section or with invalid UTF-8", |cursor| {
            let mut text = || cursor.str().map(str::to_owned);
            Some(Metadata { metric: text()?, metric_type: text()?, unit: text()?, help: text()? })
        })
    }

    /// Exemplars of each series, as they were written.
    pub(crate) fn exemplars(&self) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        let labels = |cursor: &mut Cursor<'_>| Labels::from_canonical(cursor.bytes()?).ok();
        self.parse(SectionId::Exemplars, "exemplar past its section or with damaged labels", |cursor| {
            let series = labels(cursor)?;
            let mut list = Vec::new();
            for _ in 0..cursor.u64()? {
                let labels = labels(cursor)?;
                let value = f64::from_le_bytes(cursor.fixed()?);
                list.push(Exemplar { labels, value, time_ms: cursor.i64()? });
            }
            Some((series, list))
        })
    }

    fn parse<T>(
        &self,
        id: SectionId,
        damage: &str,
        mut entry: impl FnMut(&mut Cursor<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        let section = self.sections.get(id);
        let bytes = self.pages.slice(section, 0, section.len)?;
        let mut cursor = Cursor::new(&bytes);
        let mut entries = Vec::new();
        while !cursor.is_empty() {
            let at = section.offset + section.len - cursor.rest().len() as u64;
            let damaged = || self.pages.corrupt(at, damage);
            match entry(&mut cursor) {
                Some(entry) => entries.push(entry),
                None => return self.pages.settle(Err(damaged())),
            }
        }
        self.pages.settle(Ok(entries))
    }
}

fn open_file(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskRead>> {
    disk.open_read(path).map_err(|error| Error::io("open a block", path, error))
}

/// The footer of a file, and the bytes at its end that were read for it.
fn read_footer(file: &dyn DiskRead, path: &Path) -> Result<(Footer, Vec<u8>)> {
    let len = file.len();
    let damage = |error: Error| error.at(path, len);
    let read_end = |span: usize| read_vec(file, path, len - span as u64, span);
    let mut end = read_end(END_LEN.min(usize::try_from(len).unwrap_or(END_LEN)))?;
    let span = footer_span(&end, len).map_err(damage)?;
    if span > end.len() {
        end = read_end(span)?;
    }
    let footer = decode_footer(&end[end.len() - span..], len).map_err(damage)?;
    Ok((footer, end))
}

fn read_vec(file: &dyn DiskRead, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    read_exact(file, path, offset, &mut bytes)?;
    Ok(bytes)
}
