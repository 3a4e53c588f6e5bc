//! Pages of blocks that are read instead of mapped: kept up to a bound, the ones not used of late leave first.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};
use parking_lot::Mutex;

use super::format::PAGE_LEN;
use crate::disk::DiskRead;
use crate::error::Result;
use crate::options::{Options, ReadMode};

/// Parts of a cache with a lock each, so that threads do not wait for one another.
const SHARDS: usize = 8;
/// Bytes for each block of a merge: pages of its samples, their times, its index and labels at once.
const MERGE_BYTES: u64 = 1 << 20;

/// How the pages of blocks are read.
#[derive(Debug)]
pub(crate) struct Reads {
    mode: ReadMode,
    is_sequential: bool,
    pub(super) cache: PageCache,
}

impl Reads {
    /// As the options of a database say.
    pub(crate) fn new(options: &Options) -> Self {
        Self { mode: options.read_mode, is_sequential: false, cache: PageCache::new(options.read_cache_bytes) }
    }

    /// For reading so many blocks once from front to back, side by side: not mapped, so that what is read once does not
    /// push out what queries need.
    pub(crate) fn once(blocks: usize) -> Self {
        Self { mode: ReadMode::Pread, is_sequential: true, cache: PageCache::new(blocks as u64 * MERGE_BYTES) }
    }

    /// Whether a file is to be mapped.
    pub(super) fn maps(&self, file: &dyn DiskRead) -> bool {
        if self.is_sequential {
            file.expect_all();
        }
        match self.mode {
            ReadMode::Auto => !file.is_remote(),
            ReadMode::Map => true,
            ReadMode::Pread => false,
        }
    }
}

/// Names a page: the file, by the number that the cache gave it, and the page.
type Key = (u64, u64);

/// A bounded cache of pages. A page in use stays in memory until its last reader is done with it.
#[derive(Debug)]
pub(super) struct PageCache {
    next_file: AtomicU64,
    hasher: DefaultHashBuilder,
    shards: [Mutex<Shard>; SHARDS],
    pages_max: usize,
}

/// A clock: new pages take the place of the next one that was not used since the hand passed it.
#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Key, usize>,
    pages: Vec<Page>,
    hand: usize,
}

#[derive(Debug)]
struct Page {
    key: Key,
    bytes: Bytes,
    is_used: bool,
}

impl PageCache {
    fn new(bytes_max: u64) -> Self {
        let pages_max = usize::try_from(bytes_max / (PAGE_LEN * SHARDS) as u64).unwrap_or(usize::MAX).max(1);
        let shards = Default::default();
        Self { next_file: AtomicU64::new(0), hasher: DefaultHashBuilder::default(), shards, pages_max }
    }

    /// A number for a further file.
    pub(super) fn new_file(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// A page of a file; `read` gives it when it is not here. Threads that want it at the same time may all read it.
    pub(super) fn get(&self, file: u64, page: u64, read: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let key = (file, page);
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        if let Some(bytes) = shard.lock().find(key) {
            return Ok(bytes);
        }
        let bytes = read()?;
        shard.lock().keep(key, bytes.clone(), self.pages_max);
        Ok(bytes)
    }
}

impl Shard {
    fn find(&mut self, key: Key) -> Option<Bytes> {
        let page = &mut self.pages[*self.places.get(&key)?];
        page.is_used = true;
        Some(page.bytes.clone())
    }

    fn keep(&mut self, key: Key, bytes: Bytes, pages_max: usize) {
        if self.places.contains_key(&key) {
            return;
        }
        let page = Page { key, bytes, is_used: false };
        if self.pages.len() < pages_max {
            self.places.insert(key, self.pages.len());
            self.pages.push(page);
            return;
        }
        while std::mem::take(&mut self.pages[self.hand].is_used) {
            self.hand = (self.hand + 1) % self.pages.len();
        }
        let old = std::mem::replace(&mut self.pages[self.hand], page);
        self.places.remove(&old.key);
        self.places.insert(key, self.hand);
        self.hand = (self.hand + 1) % self.pages.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_once_and_the_used_ones_stay() {
        let mut shard = Shard::default();
        let page = |number: u64| Bytes::from(number.to_le_bytes().to_vec());
        for number in 0..4 {
            shard.keep((0, number), page(number), 4);
        }
        assert_eq!(shard.find((0, 1)), Some(page(1)));
        for number in 4..7 {
            shard.keep((0, number), page(number), 4);
        }
        let kept: Vec<u64> = (0..7).filter(|number| shard.find((0, *number)).is_some()).collect();
        assert_eq!(kept, [1, 4, 5, 6]);
        assert_eq!((shard.pages.len(), shard.places.len()), (4, 4));
    }

    #[test]
    fn a_cache_keeps_what_it_read_within_its_bound() {
        let cache = PageCache::new(64 * PAGE_LEN as u64);
        let (file, mut reads) = (cache.new_file(), 0);
        for page in (0..1000).chain(0..1000) {
            let found = cache.get(file, page, || {
                reads += 1;
                Ok(Bytes::from(vec![page as u8; 16]))
            });
            assert_eq!(found.unwrap()[0], page as u8);
            cache.get(file, page, || panic!("the page was read just now")).unwrap();
        }
        let kept: usize = cache.shards.iter().map(|shard| shard.lock().pages.len()).sum();
        assert!(kept <= 64 && reads > 1900, "{kept} pages are kept, {reads} were read");
        assert_ne!(cache.new_file(), file);
    }
}
