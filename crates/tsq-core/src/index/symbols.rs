//! Tables of strings, front-coded in groups of 16, so that they can be searched where they lie.
//!
//! ~~~text
//! strings  each: varint bytes shared with the string before (0 at the start of a group), varint length of the rest,
//!          the rest
//! groups   u32 offset of every 16th string
//! count    u32
//! ~~~
//! Order is the writer's business: label names are sorted, label values are sorted within each name.

use crate::block::{PageReader, PageWriter, Section, Slice};
use crate::codec::varint::{Cursor, put_u64};
use crate::error::{Error, Result};

const GROUP: u32 = 16;

/// Streams a table into a section.
#[derive(Debug, Default)]
pub(super) struct SymbolWriter {
    groups: Vec<u32>,
    last: Vec<u8>,
    count: u32,
    bytes: u64,
    scratch: Vec<u8>,
}

impl SymbolWriter {
    pub(super) fn push(&mut self, string: &[u8], out: &mut PageWriter) -> Result<()> {
        let mut shared = 0;
        if self.count.is_multiple_of(GROUP) {
            let offset = u32::try_from(self.bytes).map_err(|_| Error::limit("label strings of a block pass 4 GiB"))?;
            self.groups.push(offset);
        } else {
            shared = self.last.iter().zip(string).take_while(|(a, b)| a == b).count();
        }
        self.scratch.clear();
        put_u64(&mut self.scratch, shared as u64);
        put_u64(&mut self.scratch, (string.len() - shared) as u64);
        self.scratch.extend_from_slice(&string[shared..]);
        out.write(&self.scratch)?;
        self.bytes += self.scratch.len() as u64;
        self.last.truncate(shared);
        self.last.extend_from_slice(&string[shared..]);
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(self, out: &mut PageWriter) -> Result<()> {
        for offset in &self.groups {
            out.write(&offset.to_le_bytes())?;
        }
        out.write(&self.count.to_le_bytes())
    }
}

/// A table in a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbols<'a> {
    pages: &'a PageReader,
    section: Section,
    count: u32,
    /// Where the group offsets begin.
    groups_at: u64,
}

impl<'a> Symbols<'a> {
    pub(super) fn open(pages: &'a PageReader, section: Section) -> Result<Self> {
        let damaged = || pages.corrupt(section.offset, "string table without its counts");
        let count_at = section.len.checked_sub(4).ok_or_else(damaged)?;
        let count = u32::from_le_bytes(pages.fixed(section, count_at)?);
        let groups_at = count_at.checked_sub(4 * u64::from(count.div_ceil(GROUP))).ok_or_else(damaged)?;
        Ok(Self { pages, section, count, groups_at })
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    fn group_offset(&self, group: u32) -> Result<u64> {
        if group == self.count.div_ceil(GROUP) {
            return Ok(self.groups_at);
        }
        Ok(u64::from(u32::from_le_bytes(self.pages.fixed(self.section, self.groups_at + 4 * u64::from(group))?)))
    }

    /// The strings of a group.
    fn group(&self, group: u32) -> Result<GroupCursor<'a>> {
        let (start, end) = (self.group_offset(group)?, self.group_offset(group + 1)?);
        let len = end.checked_sub(start).ok_or_else(|| self.damaged())?;
        let bytes = self.pages.slice(self.section, start, len)?;
        Ok(GroupCursor { bytes, read: 0 })
    }

    #[cold]
    fn damaged(&self) -> Error {
        self.pages.corrupt(self.section.offset, "string table with a string past its end or invalid UTF-8")
    }

    fn text<'t>(&self, bytes: &'t [u8]) -> Result<&'t str> {
        std::str::from_utf8(bytes).map_err(|_| self.damaged())
    }

    /// A cursor that gives any string, and ascending ones of a group cheaply.
    pub(super) fn cursor(&self) -> SymbolCursor<'a> {
        SymbolCursor { symbols: *self, group: GroupCursor::default(), next: 0, buffer: Vec::new() }
    }

    /// Appends string `number` to `out`.
    pub(super) fn get(&self, number: u32, out: &mut String) -> Result<()> {
        out.push_str(self.cursor().get(number)?);
        Ok(())
    }

    /// Calls `visit` with the strings of a range, until it says `false`.
    pub(super) fn scan(&self, from: u32, to: u32, mut visit: impl FnMut(u32, &str) -> bool) -> Result<()> {
        let mut buffer = Vec::new();
        let mut number = from - from % GROUP;
        while number < to.min(self.count) {
            let mut group = self.group(number / GROUP)?;
            for _ in 0..GROUP.min(self.count - number) {
                group.next(&mut buffer).ok_or_else(|| self.damaged())?;
                if number >= from && number < to && !visit(number, self.text(&buffer)?) {
                    return Ok(());
                }
                number += 1;
            }
        }
        Ok(())
    }

    /// Of the sorted strings of a range, the number of the first that is not below `wanted`.
    pub(super) fn lower_bound(&self, from: u32, to: u32, wanted: &str) -> Result<u32> {
        // Groups whose first string lies in the range; the answer is in the last one that begins below `wanted`.
        let (mut low, mut high) = (from.div_ceil(GROUP), to.div_ceil(GROUP));
        let mut buffer = Vec::new();
        while low < high {
            let middle = low + (high - low) / 2;
            self.group(middle)?.next(&mut buffer).ok_or_else(|| self.damaged())?;
            if buffer.as_slice() < wanted.as_bytes() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let end = to.min(low * GROUP);
        let start = from.max(low.saturating_sub(1) * GROUP);
        let mut found = end;
        self.scan(start, end, |number, string| {
            let below = string < wanted;
            if !below {
                found = number;
            }
            below
        })?;
        Ok(found)
    }
}

/// Reads strings of a table.
#[derive(Debug)]
pub(super) struct SymbolCursor<'a> {
    symbols: Symbols<'a>,
    group: GroupCursor<'a>,
    /// The string that the group cursor gives next; the one before is in `buffer`.
    next: u32,
    buffer: Vec<u8>,
}

impl SymbolCursor<'_> {
    /// String `number`.
    pub(super) fn get(&mut self, number: u32) -> Result<&str> {
        let symbols = self.symbols;
        if number >= symbols.count {
            let message = format!("string {number} of {}", symbols.count);
            return Err(symbols.pages.corrupt(symbols.section.offset, message));
        }
        if self.next.is_multiple_of(GROUP) || self.next / GROUP != number / GROUP || number < self.next {
            self.group = symbols.group(number / GROUP)?;
            self.next = number - number % GROUP;
        }
        while self.next <= number {
            if self.group.next(&mut self.buffer).is_none() {
                self.next = 0;
                return Err(symbols.damaged());
            }
            self.next += 1;
        }
        symbols.text(&self.buffer)
    }
}

/// Decodes a group from its start.
#[derive(Debug, Default)]
struct GroupCursor<'a> {
    bytes: Slice<'a>,
    /// How many of them are read.
    read: usize,
}

impl GroupCursor<'_> {
    /// Replaces the string in `buffer`, the one before, by the next one.
    fn next(&mut self, buffer: &mut Vec<u8>) -> Option<()> {
        let mut cursor = Cursor::new(&self.bytes[self.read..]);
        let shared = cursor.usize().filter(|shared| *shared <= buffer.len())?;
        buffer.truncate(shared);
        buffer.extend_from_slice(cursor.bytes()?);
        self.read = self.bytes.len() - cursor.rest().len();
        Some(())
    }
}
