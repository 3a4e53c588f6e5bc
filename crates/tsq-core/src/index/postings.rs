//! Postings: the ascending series numbers of each pair.
//!
//! ~~~text
//! lists      for each pair whose series are not consecutive numbers:
//!              count   u32
//!              length  u32, bytes of the blocks
//!              skips   for each block but the first: u32 its first number, u32 its offset in the blocks
//!              blocks  of 128 numbers: varint the first number, then varint differences
//! directory  u64 for each pair: bit 0 set: bits 1-31 count and bits 32-63 first number of consecutive numbers;
//!            bit 0 clear: the offset of its list, shifted left by one
//! ~~~

use crate::block::{PageReader, PageWriter, Section, Slice};
use crate::codec::varint::{Cursor, put_u64};
use crate::error::{Error, Result};

const BLOCK: usize = 128;
const RUN_COUNT_MAX: u32 = (1 << 31) - 1;
const LIST_HEAD_LEN: u64 = 8;
const SKIP_LEN: u64 = 8;
const ENTRY_LEN: u64 = 8;

/// Streams lists into a section.
#[derive(Debug, Default)]
pub(super) struct PostingsWriter {
    directory: Vec<u64>,
    bytes: u64,
    scratch: Vec<u8>,
    blocks: Vec<u8>,
}

impl PostingsWriter {
    /// Appends the postings of the next pair.
    pub(super) fn push(&mut self, series: &[u32], out: &mut PageWriter) -> Result<()> {
        let run = match series {
            [] => Some((0, 0)),
            [first, .., last] if (last - first) as usize != series.len() - 1 => None,
            [first, ..] => Some((*first, series.len() as u32)),
        };
        if let Some((first, count)) = run.filter(|(_, count)| *count <= RUN_COUNT_MAX) {
            self.directory.push(u64::from(first) << 32 | u64::from(count) << 1 | 1);
            return Ok(());
        }
        self.directory.push(self.bytes << 1);
        self.encode_list(series);
        out.write(&self.scratch)?;
        out.write(&self.blocks)?;
        self.bytes += (self.scratch.len() + self.blocks.len()) as u64;
        Ok(())
    }

    fn encode_list(&mut self, series: &[u32]) {
        self.blocks.clear();
        self.scratch.clear();
        self.scratch.extend_from_slice(&(series.len() as u32).to_le_bytes());
        self.scratch.extend_from_slice(&[0; 4]);
        for (index, block) in series.chunks(BLOCK).enumerate() {
            if index > 0 {
                self.scratch.extend_from_slice(&block[0].to_le_bytes());
                self.scratch.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
            }
            put_u64(&mut self.blocks, u64::from(block[0]));
            block.windows(2).for_each(|pair| put_u64(&mut self.blocks, u64::from(pair[1] - pair[0])));
        }
        let len = (self.blocks.len() as u32).to_le_bytes();
        self.scratch[4..8].copy_from_slice(&len);
    }

    pub(super) fn finish(self, out: &mut PageWriter) -> Result<()> {
        self.directory.iter().try_for_each(|entry| out.write(&entry.to_le_bytes()))
    }
}

/// The postings of all pairs in a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct PostingsTable<'a> {
    pages: &'a PageReader,
    section: Section,
    pairs: u32,
    /// Every number is below.
    series: u32,
}

/// Postings of one pair.
#[derive(Clone, Debug)]
pub(super) enum Postings<'a> {
    /// Consecutive numbers.
    Run { first: u32, count: u32 },
    /// Blocks of differences.
    List(List<'a>),
}

impl<'a> PostingsTable<'a> {
    pub(super) fn open(pages: &'a PageReader, section: Section, pairs: u32, series: u32) -> Result<Self> {
        if section.len < u64::from(pairs) * ENTRY_LEN {
            return Err(pages.corrupt(section.offset, "postings without an entry for each label value"));
        }
        Ok(Self { pages, section, pairs, series })
    }

    fn lists_len(&self) -> u64 {
        self.section.len - u64::from(self.pairs) * ENTRY_LEN
    }

    #[cold]
    fn damaged(&self, at: u64) -> Error {
        self.pages.corrupt(self.section.offset + at, "postings that are unsorted or past their bounds")
    }

    pub(super) fn get(&self, pair: u32) -> Result<Postings<'a>> {
        let at = self.lists_len() + u64::from(pair) * ENTRY_LEN;
        let entry = u64::from_le_bytes(self.pages.fixed(self.section, at)?);
        if entry & 1 == 0 {
            return self.list(entry >> 1).map(Postings::List);
        }
        let (first, count) = ((entry >> 32) as u32, (entry as u32) >> 1);
        if first.checked_add(count).is_none_or(|end| end > self.series) {
            return Err(self.damaged(at));
        }
        Ok(Postings::Run { first, count })
    }

    fn list(&self, at: u64) -> Result<List<'a>> {
        let lists = Section { offset: self.section.offset, len: self.lists_len() };
        let head: [u8; LIST_HEAD_LEN as usize] = self.pages.fixed(lists, at)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("the slice has 4 bytes"));
        let (count, len) = (number(0), number(4));
        if count == 0 || count > self.series || count > len {
            return Err(self.damaged(at));
        }
        let skips_at = at + LIST_HEAD_LEN;
        let skips_len = ((count as usize).div_ceil(BLOCK) as u64 - 1) * SKIP_LEN;
        let skips = self.pages.slice(lists, skips_at, skips_len)?;
        let blocks = self.pages.slice(lists, skips_at + skips_len, u64::from(len))?;
        Ok(List { count, skips, blocks, series: self.series, offset: self.section.offset + at, pages: self.pages })
    }
}

/// A list.
#[derive(Clone, Debug)]
pub(super) struct List<'a> {
    count: u32,
    skips: Slice<'a>,
    blocks: Slice<'a>,
    series: u32,
    offset: u64,
    pages: &'a PageReader,
}

impl List<'_> {
    #[cold]
    fn damaged(&self) -> Error {
        self.pages.corrupt(self.offset, "postings that are unsorted or past their bounds")
    }

    fn block_count(&self) -> usize {
        (self.count as usize).div_ceil(BLOCK)
    }

    fn skip(&self, block: usize) -> (u32, usize) {
        let entry: &[u8; 8] = self.skips[(block - 1) * 8..block * 8].try_into().expect("the slice has 8 bytes");
        let number = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("4 bytes"));
        (number(0), number(4) as usize)
    }

    /// The last block that may hold `wanted`, among those from `from` on.
    fn block_of(&self, wanted: u32, from: usize) -> usize {
        let (mut low, mut high) = (from, self.block_count() - 1);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.skip(middle).0 <= wanted { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// Appends the numbers of a block.
    fn decode_block(&self, block: usize, out: &mut Vec<u32>) -> Result<()> {
        let start = if block == 0 { 0 } else { self.skip(block).1 };
        let mut cursor = Cursor::new(self.blocks.get(start..).ok_or_else(|| self.damaged())?);
        let count = BLOCK.min(self.count as usize - block * BLOCK);
        let mut last = cursor.u32().filter(|first| *first < self.series).ok_or_else(|| self.damaged())?;
        out.push(last);
        for _ in 1..count {
            let next = cursor.u32().filter(|difference| *difference > 0).and_then(|d| last.checked_add(d));
            last = next.filter(|next| *next < self.series).ok_or_else(|| self.damaged())?;
            out.push(last);
        }
        Ok(())
    }
}

impl Postings<'_> {
    /// How many series.
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Run { count, .. } => *count,
            Self::List(list) => list.count,
        }
    }

    /// Appends all numbers, ascending.
    pub(super) fn append(&self, out: &mut Vec<u32>) -> Result<()> {
        match self {
            Self::Run { first, count } => out.extend(*first..first + count),
            Self::List(list) => {
                for block in 0..list.block_count() {
                    let start = out.len();
                    list.decode_block(block, out)?;
                    if start > 0 && block > 0 && out[start] <= out[start - 1] {
                        return Err(list.damaged());
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps of the ascending `candidates` those that are (`keep`) or are not (`!keep`) among the numbers. Reads only
    /// blocks that may hold one.
    pub(super) fn filter(&self, candidates: &mut Vec<u32>, keep: bool) -> Result<()> {
        match self {
            Self::Run { first, count } => {
                let range = *first..first + count;
                candidates.retain(|candidate| range.contains(candidate) == keep);
                Ok(())
            }
            Self::List(list) => {
                let mut finder = Finder { list, block: None, numbers: Vec::with_capacity(BLOCK), passed: 0 };
                let mut failed = None;
                candidates.retain(|candidate| match finder.contains(*candidate) {
                    Ok(found) => found == keep,
                    Err(error) => {
                        failed.get_or_insert(error);
                        false
                    }
                });
                failed.map_or(Ok(()), Err)
            }
        }
    }
}

/// Looks up ascending numbers in a list.
struct Finder<'a> {
    list: &'a List<'a>,
    /// The block in `numbers`; none at first.
    block: Option<usize>,
    numbers: Vec<u32>,
    /// How many of `numbers` are below what was looked up last.
    passed: usize,
}

impl Finder<'_> {
    fn contains(&mut self, wanted: u32) -> Result<bool> {
        let block = match self.block {
            None => self.list.block_of(wanted, 0),
            Some(block) if block + 1 == self.list.block_count() || wanted < self.list.skip(block + 1).0 => block,
            Some(block) => self.list.block_of(wanted, block + 1),
        };
        if self.block != Some(block) {
            (self.block, self.passed) = (Some(block), 0);
            self.numbers.clear();
            self.list.decode_block(block, &mut self.numbers)?;
        }
        self.passed += self.numbers[self.passed..].iter().take_while(|number| **number < wanted).count();
        Ok(self.numbers.get(self.passed) == Some(&wanted))
    }
}
