//! Pages of 64 KiB with one CRC32 each: written in order, verified on first touch.
//!
//! The CRC of a page covers database id (16 bytes), block id (8) and page number (8) before the bytes of the page, so
//! that a page in the wrong place or file is found as well.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::format::{BlockId, PAGE_LEN, Section, TAIL_MAGIC};
use super::reads::Reads;
use crate::disk::{DiskFile, DiskRead, Map};
use crate::error::{Error, Result};

const PAGE: u64 = PAGE_LEN as u64;
const CRC_LEN: usize = size_of::<u32>();
/// Bytes gathered before they are written.
const BUFFER_LEN: usize = 4 * PAGE_LEN;

/// What the CRC of every page begins with.
#[derive(Clone, Debug)]
struct Seed(crc32fast::Hasher);

impl Seed {
    fn new(db_id: u128, id: BlockId) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&db_id.to_le_bytes());
        hasher.update(&id.0.to_le_bytes());
        Self(hasher)
    }

    fn crc(&self, page: u64, bytes: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&page.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// CRC of a page.
pub(super) fn page_crc(db_id: u128, id: BlockId, page: u64, bytes: &[u8]) -> u32 {
    Seed::new(db_id, id).crc(page, bytes)
}

/// Appends to a file and computes the CRC of each page as it fills.
#[derive(Debug)]
pub(crate) struct PageWriter {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    seed: Seed,
    /// Bytes not written yet; begins at a page boundary.
    buffer: Vec<u8>,
    /// Bytes written.
    written: u64,
    crcs: Vec<u32>,
}

impl PageWriter {
    pub(crate) fn new(file: Box<dyn DiskFile>, path: PathBuf, db_id: u128, id: BlockId) -> Self {
        let buffer = Vec::with_capacity(BUFFER_LEN + PAGE_LEN);
        Self { file, path, seed: Seed::new(db_id, id), buffer, written: 0, crcs: Vec::new() }
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let (now, rest) = data.split_at(data.len().min(BUFFER_LEN - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            data = rest;
            if self.buffer.len() == BUFFER_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let first = self.written / PAGE;
        for (index, page) in self.buffer.chunks(PAGE_LEN).enumerate() {
            self.crcs.push(self.seed.crc(first + index as u64, page));
        }
        self.put(self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn put(&self, offset: u64) -> Result<()> {
        let fail = |error: io::Error| Error::io("write a block", &self.path, error);
        self.file.write_at(offset, &self.buffer).map_err(fail)
    }

    /// Ends the pages and appends the table of their CRCs, whose CRC it returns.
    pub(crate) fn finish_pages(&mut self) -> Result<u32> {
        self.flush()?;
        let table: Vec<u8> = self.crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        self.append_plain(&table)?;
        Ok(crc32fast::hash(&table))
    }

    /// Appends bytes after the pages, which are under another CRC.
    pub(crate) fn append_plain(&mut self, data: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(data);
        self.put(self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("sync a block", &self.path, error))
    }
}

/// A file whose pages are verified: mapped, each on first touch, or read, each whenever it comes from the file.
#[derive(Debug)]
pub(crate) struct PageReader {
    content: Content,
    path: PathBuf,
    seed: Seed,
    /// CRC of each page.
    crcs: Box<[u32]>,
    pages_end: u64,
}

#[derive(Debug)]
enum Content {
    Mapped {
        map: Map,
        /// One bit a page: its CRC was found right.
        verified: Box<[AtomicU64]>,
    },
    Read {
        file: Box<dyn DiskRead>,
        reads: Arc<Reads>,
        /// What the cache calls the file.
        number: u64,
    },
}

/// Bytes of a file.
#[derive(Clone, Debug)]
pub(crate) enum Slice<'a> {
    /// In the map.
    Mapped(&'a [u8]),
    /// In memory.
    Read(Bytes),
}

impl Deref for Slice<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}

impl Default for Slice<'_> {
    fn default() -> Self {
        Self::Mapped(&[])
    }
}

impl PageReader {
    /// `table` are the CRCs of the pages that end at `pages_end`, and `table_crc` is the CRC of that table.
    pub(super) fn open(
        file: Box<dyn DiskRead>,
        reads: &Arc<Reads>,
        path: &Path,
        seed: (u128, BlockId),
        pages_end: u64,
        table: &[u8],
        table_crc: u32,
    ) -> Result<Self> {
        let count = pages_end.div_ceil(PAGE);
        check_table(table, table_crc).map_err(|error| error.at(path, pages_end))?;
        let crcs = table.chunks_exact(CRC_LEN);
        let crcs = crcs.map(|crc| u32::from_le_bytes(crc.try_into().expect("a CRC has 4 bytes"))).collect();
        let content = if reads.maps(&*file) {
            let map = file.map().map_err(|error| Error::io("map a block", path, error))?;
            if map.bytes().len() as u64 != file.len() {
                return Err(Error::corrupt("block file changed its length while it was opened").at(path, file.len()));
            }
            Content::Mapped { map, verified: (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
        } else {
            Content::Read { number: reads.cache.new_file(), file, reads: Arc::clone(reads) }
        };
        Ok(Self { content, path: path.to_path_buf(), seed: Seed::new(seed.0, seed.1), crcs, pages_end })
    }

    /// Number of pages.
    pub(super) fn count(&self) -> u64 {
        self.crcs.len() as u64
    }

    /// Bytes of a section, verified.
    #[inline]
    pub(crate) fn slice(&self, section: Section, at: u64, len: u64) -> Result<Slice<'_>> {
        if at.checked_add(len).is_none_or(|end| end > section.len) {
            let message = format!("{len} bytes at {at} run past a section of {}", section.len);
            return Err(self.corrupt(section.offset, message));
        }
        self.bytes(section.offset + at, len)
    }

    /// As [`PageReader::slice`], for a number of bytes that the caller knows.
    #[inline]
    pub(crate) fn fixed<const N: usize>(&self, section: Section, at: u64) -> Result<[u8; N]> {
        let bytes = self.slice(section, at, N as u64)?;
        Ok((*bytes).try_into().expect("the slice has N bytes"))
    }

    #[inline]
    fn bytes(&self, offset: u64, len: u64) -> Result<Slice<'_>> {
        let end = offset + len;
        debug_assert!(end <= self.pages_end, "sections were checked to lie inside of the pages");
        match &self.content {
            _ if len == 0 => Ok(Slice::default()),
            Content::Mapped { map, verified } => {
                for page in offset / PAGE..=(end - 1) / PAGE {
                    if verified[(page / 64) as usize].load(Ordering::Relaxed) & 1 << (page % 64) == 0 {
                        self.verify(page)?;
                    }
                }
                Ok(Slice::Mapped(&map.bytes()[offset as usize..end as usize]))
            }
            Content::Read { .. } => self.read(offset, end).map(Slice::Read),
        }
    }

    /// Copies bytes together when they lie in several pages.
    fn read(&self, offset: u64, end: u64) -> Result<Bytes> {
        let (first, last) = (offset / PAGE, (end - 1) / PAGE);
        if first == last {
            return Ok(self.cached(first)?.slice((offset - first * PAGE) as usize..(end - first * PAGE) as usize));
        }
        let mut joined = Vec::with_capacity((end - offset) as usize);
        for page in first..=last {
            let start = page * PAGE;
            let inside = offset.saturating_sub(start) as usize..PAGE.min(end - start) as usize;
            joined.extend_from_slice(&self.cached(page)?[inside]);
        }
        Ok(Bytes::from(joined))
    }

    fn cached(&self, page: u64) -> Result<Bytes> {
        let Content::Read { reads, number, .. } = &self.content else {
            unreachable!("pages of a mapped file are not cached")
        };
        reads.cache.get(*number, page, || {
            let bytes = Bytes::from(self.raw(page * PAGE, self.page_len(page))?.to_vec());
            self.check(page, &bytes)?;
            Ok(bytes)
        })
    }

    fn page_len(&self, page: u64) -> usize {
        PAGE.min(self.pages_end - page * PAGE) as usize
    }

    /// Checks the CRC of a page, whether or not that was done before.
    #[cold]
    pub(super) fn verify(&self, page: u64) -> Result<()> {
        let len = self.page_len(page);
        if let Content::Mapped { map, .. } = &self.content {
            map.will_need((page * PAGE) as usize, len);
        }
        self.check(page, &self.raw(page * PAGE, len)?)?;
        if let Content::Mapped { verified, .. } = &self.content {
            verified[(page / 64) as usize].fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    fn check(&self, page: u64, bytes: &[u8]) -> Result<()> {
        let (found, want) = (self.seed.crc(page, bytes), self.crcs[page as usize]);
        if found == want {
            return Ok(());
        }
        let message = format!("page {page} has CRC {found:08x} and should have {want:08x}");
        self.settle(Err(self.corrupt(page * PAGE, message)))
    }

    /// Bytes anywhere in the file, which are not verified.
    pub(super) fn raw(&self, offset: u64, len: usize) -> Result<Slice<'_>> {
        match &self.content {
            Content::Mapped { map, .. } => Ok(Slice::Mapped(&map.bytes()[offset as usize..offset as usize + len])),
            Content::Read { file, .. } => {
                let mut bytes = vec![0; len];
                read_exact(&**file, &self.path, offset, &mut bytes)?;
                Ok(Slice::Read(Bytes::from(bytes)))
            }
        }
    }

    /// Checks again what the footer says about the table of page CRCs.
    pub(super) fn verify_table(&self, want: u32) -> Result<()> {
        let table = self.raw(self.pages_end, self.crcs.len() * CRC_LEN)?;
        check_table(&table, want).map_err(|error| error.at(&self.path, self.pages_end))
    }

    /// Lets a result of reading leave: not when the file was cut short while it was mapped, as what lay behind the cut
    /// then reads as zeros. Costs the read of eight bytes.
    #[inline]
    pub(crate) fn settle<T>(&self, result: Result<T>) -> Result<T> {
        match &self.content {
            Content::Mapped { map, .. } if !map.is_whole(TAIL_MAGIC) => Err(self.lost(map)),
            _ => result,
        }
    }

    #[cold]
    fn lost(&self, map: &Map) -> Error {
        let end = map.bytes().len() as u64;
        let offset = map.fault().unwrap_or(end - TAIL_MAGIC.len() as u64);
        self.corrupt(offset, format!("block file of {end} bytes was cut short, or cannot be read any more"))
    }

    /// Where the footer begins.
    pub(super) fn footer_at(&self) -> u64 {
        self.pages_end + (self.crcs.len() * CRC_LEN) as u64
    }

    /// Length of the file.
    pub(super) fn file_len(&self) -> u64 {
        match &self.content {
            Content::Mapped { map, .. } => map.bytes().len() as u64,
            Content::Read { file, .. } => file.len(),
        }
    }

    /// Damage at a byte of the file.
    #[cold]
    pub(crate) fn corrupt(&self, offset: u64, message: impl Into<String>) -> Error {
        Error::corrupt(message).at(&self.path, offset)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads bytes of a block file; a file that ends before them is damage.
pub(super) fn read_exact(file: &dyn DiskRead, path: &Path, offset: u64, bytes: &mut [u8]) -> Result<()> {
    file.read_at(offset, bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(format!("block file of {} bytes was cut short", file.len())).at(path, offset)
        }
        _ => Error::io("read a block", path, error),
    })
}

/// Length of the table of CRCs behind pages that end here.
pub(super) fn table_len(pages_end: u64) -> usize {
    pages_end.div_ceil(PAGE) as usize * CRC_LEN
}

fn check_table(table: &[u8], want: u32) -> Result<()> {
    match crc32fast::hash(table) {
        found if found == want => Ok(()),
        found => Err(Error::corrupt(format!("table of page CRCs has CRC {found:08x} and should have {want:08x}"))),
    }
}
