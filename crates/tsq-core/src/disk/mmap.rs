//! Memory maps of published files.

use std::fs::File;
use std::io;
use std::ptr;
use std::sync::atomic::{Ordering, fence};

use bytes::Bytes;
use memmap2::{Advice, Mmap};

use super::fault::Region;

/// The bytes of a published, immutable file.
#[derive(Debug)]
pub struct Map(Content);

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    /// Fields are dropped in this order: the handler forgets the map before it goes.
    Mapped(Region, Mmap),
}

/// Bytes at the end of a file that [`Map::is_whole`] looks at.
const MARK_LEN: usize = 8;

impl Map {
    /// Bytes in memory, for disks that map nothing.
    pub fn in_memory(bytes: Bytes) -> Self {
        Self(Content::Memory(bytes))
    }

    /// Maps a published block file. Its pages are read one by one where they are touched: [`Map::will_need`] tells of
    /// more.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::in_memory(Bytes::new()));
        }
        // SAFETY: sound while nobody shortens or rewrites the file. Block files are complete and synced before they are
        // renamed into place, no code of ours opens a published one for writing, and the directory lock keeps other tsq
        // writers out. A person who breaks this rule, which docs/format.md states, gets errors: all parsing of the bytes
        // checks its bounds, and readers look at the end mark before they believe what they read.
        let map = unsafe { Mmap::map(file)? };
        // Readers ask for whole pages of a block; what the kernel would read around them is wasted. A file system that
        // takes no advice loses nothing but speed.
        let _ = map.advise(Advice::Random);
        Ok(Self(Content::Mapped(Region::new(map.as_ptr() as usize, map.len()), map)))
    }

    /// All bytes. Those that are gone are zero, if [`survive_lost_maps`](crate::survive_lost_maps) was called.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Content::Memory(bytes) => bytes,
            Content::Mapped(_, map) => map,
        }
    }

    /// Whether the file still ends with `mark`, after everything that was read from the map before: a file that was cut
    /// short does not, wherever it was cut.
    pub(crate) fn is_whole(&self, mark: [u8; MARK_LEN]) -> bool {
        let Content::Mapped(_, map) = &self.0 else { return true };
        let Some(at) = map.len().checked_sub(MARK_LEN) else { return false };
        // Not before the bytes that the caller read.
        fence(Ordering::Acquire);
        // SAFETY: the 8 bytes lie inside the map. They may change under a volatile read.
        let found = unsafe { ptr::read_volatile(map.as_ptr().add(at).cast::<[u8; MARK_LEN]>()) };
        found == mark
    }

    /// Offset of a byte that was found gone.
    pub(crate) fn fault(&self) -> Option<u64> {
        match &self.0 {
            Content::Memory(_) => None,
            Content::Mapped(region, _) => region.fault(),
        }
    }

    /// Tells the operating system that a range will be read as a whole.
    pub(crate) fn will_need(&self, offset: usize, len: usize) {
        if let Content::Mapped(_, map) = &self.0 {
            // Only a hint: where it is refused, the pages are read one by one.
            let _ = map.advise_range(Advice::WillNeed, offset, len);
        }
    }
}
