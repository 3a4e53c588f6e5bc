//! Pages of 64 KiB with one CRC32 each: written in order, verified on first touch.
//!
//! The CRC of a page covers database id (16 bytes), block id (8) and page number (8) before the bytes of the page, so
//! that a page in the wrong place or file is found as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::format::{BlockId, PAGE_LEN, Section};
use crate::disk::DiskFile;
use crate::error::{Error, Result};

const PAGE: u64 = PAGE_LEN as u64;
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

/// A mapped file whose pages are verified on first touch.
#[derive(Debug)]
pub(crate) struct PageReader {
    map: Bytes,
    path: PathBuf,
    seed: Seed,
    pages_end: u64,
    /// One bit a page: its CRC was found right.
    verified: Box<[AtomicU64]>,
}

impl PageReader {
    /// `pages_end` was checked: the table of the CRCs lies behind it, inside of the file.
    pub(super) fn new(map: Bytes, path: &Path, db_id: u128, id: BlockId, pages_end: u64) -> Self {
        let words = pages_end.div_ceil(PAGE).div_ceil(64);
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { map, path: path.to_path_buf(), seed: Seed::new(db_id, id), pages_end, verified }
    }

    /// Number of pages.
    pub(super) fn count(&self) -> u64 {
        self.pages_end.div_ceil(PAGE)
    }

    /// Bytes of a section, verified.
    #[inline]
    pub(crate) fn slice(&self, section: Section, at: u64, len: u64) -> Result<&[u8]> {
        if at.checked_add(len).is_none_or(|end| end > section.len) {
            let message = format!("{len} bytes at {at} run past a section of {}", section.len);
            return Err(self.corrupt(section.offset, message));
        }
        self.bytes(section.offset + at, len)
    }

    #[inline]
    fn bytes(&self, offset: u64, len: u64) -> Result<&[u8]> {
        let end = offset + len;
        debug_assert!(end <= self.pages_end, "sections were checked to lie inside of the pages");
        if len > 0 {
            for page in offset / PAGE..=(end - 1) / PAGE {
                if self.verified[(page / 64) as usize].load(Ordering::Relaxed) & 1 << (page % 64) == 0 {
                    self.verify(page)?;
                }
            }
        }
        Ok(&self.map[offset as usize..end as usize])
    }

    /// Checks the CRC of a page, whether or not that was done before.
    #[cold]
    pub(super) fn verify(&self, page: u64) -> Result<()> {
        let start = page * PAGE;
        let bytes = &self.map[start as usize..self.pages_end.min(start + PAGE) as usize];
        let entry = (self.pages_end + page * 4) as usize;
        let want = u32::from_le_bytes(self.map[entry..entry + 4].try_into().expect("the slice has 4 bytes"));
        let found = self.seed.crc(page, bytes);
        if found != want {
            let message = format!("page {page} has CRC {found:08x} and should have {want:08x}");
            return Err(self.corrupt(start, message));
        }
        self.verified[(page / 64) as usize].fetch_or(1 << (page % 64), Ordering::Relaxed);
        Ok(())
    }

    /// Checks the CRC of the table of page CRCs.
    pub(super) fn verify_table(&self, want: u32) -> Result<()> {
        let table = self.pages_end as usize..(self.pages_end + self.count() * 4) as usize;
        let found = crc32fast::hash(&self.map[table]);
        if found != want {
            let message = format!("table of page CRCs has CRC {found:08x} and should have {want:08x}");
            return Err(self.corrupt(self.pages_end, message));
        }
        Ok(())
    }

    /// The whole file, unverified.
    pub(super) fn file(&self) -> &[u8] {
        &self.map
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
