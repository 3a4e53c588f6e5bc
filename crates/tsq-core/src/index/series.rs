//! The series table: for each series its pairs and how many chunks it has, in label order.
//!
//! ~~~text
//! records    for each series:
//!              shared   varint, pairs in common with the series before (0 at the start of a group of 16)
//!              own      varint, number of further pairs
//!              pairs    varint each: less the pair before it
//!              chunks   varint, number of chunks
//!              length   varint, bytes of its chunks in the chunk index
//! directory  for each group of 16: u64 offset of its first record, u64 offset of its chunks in the chunk index
//! ~~~

use crate::block::{PageReader, PageWriter, Section, Slice};
use crate::codec::varint::{Cursor, put_u64};
use crate::error::{Error, Result};

pub(super) const GROUP: u32 = 16;
const ENTRY_LEN: u64 = 16;

/// One series: ascending pairs and the place of its chunks in the chunk index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesEntry {
    /// Ascending.
    pub pairs: Vec<u32>,
    /// Number of chunks.
    pub chunks: u32,
    /// Offset of its chunks in the chunk index.
    pub chunks_at: u64,
    /// Length of its chunks there.
    pub chunks_len: u64,
}

/// Appends a record. `last` are the pairs of the series before, empty at the start of a group.
pub(super) fn put_record(last: &[u32], entry: &SeriesEntry, out: &mut Vec<u8>) {
    let shared = last.iter().zip(&entry.pairs).take_while(|(a, b)| a == b).count();
    put_u64(out, shared as u64);
    put_u64(out, (entry.pairs.len() - shared) as u64);
    let mut before = shared.checked_sub(1).map_or(0, |index| entry.pairs[index]);
    for pair in &entry.pairs[shared..] {
        // Numbers that the builder gives out on the way are not ascending; the difference wraps.
        put_u64(out, u64::from(pair.wrapping_sub(before)));
        before = *pair;
    }
    put_u64(out, u64::from(entry.chunks));
    put_u64(out, entry.chunks_len);
}

/// Makes the series before, in `entry`, into the one whose record comes next.
pub(super) fn take_record(cursor: &mut Cursor<'_>, entry: &mut SeriesEntry) -> Option<()> {
    entry.chunks_at = entry.chunks_at.checked_add(entry.chunks_len)?;
    let shared = cursor.usize().filter(|shared| *shared <= entry.pairs.len())?;
    let own = cursor.usize()?;
    entry.pairs.truncate(shared);
    let mut before = entry.pairs.last().copied().unwrap_or(0);
    for _ in 0..own {
        before = before.wrapping_add(cursor.u32()?);
        entry.pairs.push(before);
    }
    entry.chunks = cursor.u32()?;
    entry.chunks_len = cursor.u64()?;
    Some(())
}

/// Streams the table into a section.
#[derive(Debug, Default)]
pub(super) struct SeriesWriter {
    directory: Vec<u8>,
    last: Vec<u32>,
    count: u32,
    bytes: u64,
    scratch: Vec<u8>,
}

impl SeriesWriter {
    pub(super) fn push(&mut self, entry: &SeriesEntry, out: &mut PageWriter) -> Result<()> {
        if self.count.is_multiple_of(GROUP) {
            self.last.clear();
            self.directory.extend_from_slice(&self.bytes.to_le_bytes());
            self.directory.extend_from_slice(&entry.chunks_at.to_le_bytes());
        }
        self.scratch.clear();
        put_record(&self.last, entry, &mut self.scratch);
        out.write(&self.scratch)?;
        self.bytes += self.scratch.len() as u64;
        self.last.clear();
        self.last.extend_from_slice(&entry.pairs);
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(self, out: &mut PageWriter) -> Result<()> {
        out.write(&self.directory)
    }
}

/// The table in a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesTable<'a> {
    pages: &'a PageReader,
    section: Section,
    count: u32,
    directory_at: u64,
}

impl<'a> SeriesTable<'a> {
    pub(super) fn open(pages: &'a PageReader, section: Section, count: u32) -> Result<Self> {
        let directory = u64::from(count.div_ceil(GROUP)) * ENTRY_LEN;
        let directory_at = section.len.checked_sub(directory);
        let directory_at =
            directory_at.ok_or_else(|| pages.corrupt(section.offset, "series table without its directory"))?;
        Ok(Self { pages, section, count, directory_at })
    }

    #[cold]
    fn damaged(&self, at: u64) -> Error {
        self.pages.corrupt(self.section.offset + at, "series record past its bounds")
    }

    fn group(&self, group: u32) -> Result<(u64, u64)> {
        if group == self.count.div_ceil(GROUP) {
            return Ok((self.directory_at, 0));
        }
        let at = self.directory_at + u64::from(group) * ENTRY_LEN;
        let entry: [u8; ENTRY_LEN as usize] = self.pages.fixed(self.section, at)?;
        let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("the slice has 8 bytes"));
        Ok((number(0), number(8)))
    }

    /// A cursor that gives any series, and consecutive ones cheaply.
    pub(super) fn cursor(&self) -> SeriesCursor<'a> {
        SeriesCursor { table: *self, records: Slice::default(), read: 0, at: 0, next: 0, entry: SeriesEntry::default() }
    }
}

/// Decodes series; going forward within a group continues where it is.
#[derive(Debug)]
pub(crate) struct SeriesCursor<'a> {
    table: SeriesTable<'a>,
    records: Slice<'a>,
    /// How many bytes of the records are read.
    read: usize,
    /// Where the group begins, for messages.
    at: u64,
    /// The series whose record comes next.
    next: u32,
    entry: SeriesEntry,
}

impl SeriesCursor<'_> {
    /// The series with this number.
    pub(crate) fn get(&mut self, series: u32) -> Result<&SeriesEntry> {
        if series >= self.table.count {
            return Err(Error::invalid(format!("series {series} of a block with {}", self.table.count)));
        }
        let here = self.next > 0 && (self.next - 1) / GROUP == series / GROUP && self.read < self.records.len();
        if here && series + 1 == self.next {
            return Ok(&self.entry);
        }
        if !here || series < self.next {
            self.seek(series / GROUP)?;
        }
        let mut cursor = Cursor::new(&self.records[self.read..]);
        while self.next <= series {
            if take_record(&mut cursor, &mut self.entry).is_none() {
                self.next = 0;
                return Err(self.table.damaged(self.at));
            }
            self.next += 1;
        }
        self.read = self.records.len() - cursor.rest().len();
        Ok(&self.entry)
    }

    fn seek(&mut self, group: u32) -> Result<()> {
        let ((start, chunks_at), (end, _)) = (self.table.group(group)?, self.table.group(group + 1)?);
        let len = end.checked_sub(start).ok_or_else(|| self.table.damaged(start))?;
        (self.records, self.read) = (self.table.pages.slice(self.table.section, start, len)?, 0);
        self.at = start;
        self.next = group * GROUP;
        self.entry.pairs.clear();
        (self.entry.chunks_at, self.entry.chunks_len) = (chunks_at, 0);
        Ok(())
    }
}
