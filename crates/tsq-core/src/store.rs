//! The state behind every handle of one open database, and what all its parts share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::append::{Scratch, low_water_mark};
use crate::batch::{Metadata, RejectReason};
use crate::block::{BlockId, BlockReader, Reads};
use crate::clock::Clock;
use crate::disk::{Disk, LockGuard, Space};
use crate::error::{Error, ErrorKind, Result};
use crate::head::Generation;
use crate::manifest::Manifest;
use crate::open::{Damage, Parts};
use crate::options::Options;
use crate::retention::{Expiry, Horizons, Retention};
use crate::sample::TimeRange;
use crate::snapshot::{Snapshot, left_metadata};
use crate::tombstones::Tombstones;
use crate::wal::Wal;

/// What a reader needs: swapped as a whole, so that each snapshot is consistent.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) blocks: Arc<Vec<Arc<BlockReader>>>,
    /// Oldest first; the last one takes writes, one before it is being flushed.
    pub(crate) generations: Vec<Arc<Generation>>,
    /// See [`State::metadata`]; that of blocks is read when somebody first asks.
    pub(crate) known_metadata: Arc<OnceLock<KnownMetadata>>,
    /// What is deleted of the blocks. Changes only under the lock of the manifest.
    pub(crate) tombstones: Arc<Tombstones>,
    /// What was damaged at opening and nobody has accepted.
    pub(crate) missing: Arc<Vec<Missing>>,
}

/// Metadata of all blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownMetadata {
    pub(crate) by_metric: BTreeMap<String, Metadata>,
    /// Why that of some block could not be read.
    pub(crate) unreadable: Option<String>,
}

impl KnownMetadata {
    /// Metadata of blocks, that of the newest writes winning.
    fn read(blocks: &[Arc<BlockReader>], tombstones: &Tombstones) -> Self {
        let mut ordered: Vec<_> = blocks.iter().collect();
        ordered.sort_by_key(|block| (block.meta().lsn_max, block.meta().id));
        let mut metadata = Self::default();
        for block in ordered {
            match left_metadata(block, tombstones.of(block.meta().id).map(|deleted| &**deleted)) {
                Ok(known) => metadata.by_metric.extend(known.into_iter().map(|known| (known.metric.clone(), known))),
                Err(error) => metadata.unreadable = Some(error.to_string()),
            }
        }
        metadata
    }
}

/// Something that was stored and cannot be read, and the times of the samples in it.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    pub(crate) damage: Damage,
    pub(crate) range: TimeRange,
}

impl Missing {
    fn fail(&self) -> Result<()> {
        let message = format!("{} (see `tsq recover`)", self.damage.message);
        Err(Error::corrupt(message).in_file(&self.damage.path))
    }
}

impl State {
    /// Fails when something that a reader of `range` may need is missing: an answer without it would be wrong.
    pub(crate) fn check_whole(&self, range: TimeRange) -> Result<()> {
        self.missing.iter().filter(|missing| range.overlaps(&missing.range)).try_for_each(Missing::fail)
    }

    /// Fails when anything is missing.
    pub(crate) fn check_missing(&self) -> Result<()> {
        self.missing.iter().try_for_each(Missing::fail)
    }

    /// Metadata of all blocks. The first call reads it: one page or a few of each block.
    pub(crate) fn metadata(&self) -> &KnownMetadata {
        self.known_metadata.get_or_init(|| KnownMetadata::read(&self.blocks, &self.tombstones))
    }

    pub(crate) fn active(&self) -> &Arc<Generation> {
        self.generations.last().expect("there is always an active generation")
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) retention: Retention,
    /// What is known about the expiry of blocks that hold old samples.
    pub(crate) expiries: Mutex<BTreeMap<BlockId, Expiry>>,
    /// Seed of all hash tables.
    pub(crate) seed: u64,
    pub(crate) reads: Arc<Reads>,
    /// `None` for a store that takes no writes.
    pub(crate) wal: Option<Wal>,
    /// Writers hold it for reading while they touch the head; rotation, publication and roll back for writing.
    pub(crate) state: RwLock<State>,
    pub(crate) manifest: Mutex<Manifest>,
    /// One flush at a time.
    pub(crate) flushing: Mutex<()>,
    /// One compaction at a time.
    pub(crate) compacting: Mutex<()>,
    /// Batch numbers of open snapshots, with how many there are of each.
    pins: Mutex<BTreeMap<u64, usize>>,
    pub(crate) scratch: Mutex<Vec<Scratch>>,
    /// Why no writes are taken, if so.
    pub(crate) read_only: RwLock<Option<String>>,
    pub(crate) closed: AtomicBool,
    /// Number of the current log generation.
    pub(crate) log_generation: AtomicU64,
    pub(crate) lock: Mutex<Option<Box<dyn LockGuard>>>,
    pub(crate) counters: Counters,
    /// The background threads are to end.
    pub(crate) stopping: AtomicBool,
    /// Wakes the background thread.
    pub(crate) wake: (Mutex<bool>, Condvar),
}

/// Counts since opening.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) rejected: [AtomicU64; RejectReason::ALL.len()],
    pub(crate) storage_full: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_failures: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compaction_failures: AtomicU64,
    pub(crate) compaction_read_bytes: AtomicU64,
    pub(crate) compaction_written_bytes: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) blocks_written_bytes: AtomicU64,
    pub(crate) torn_tail_bytes: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) last_flush_ms: AtomicI64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// Keeps undo entries that a snapshot may need. Dropping it lets them go.
#[derive(Debug)]
pub(crate) struct Pin {
    store: Arc<Store>,
    lsn: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.store.pins.lock();
        if let Some(count) = pins.get_mut(&self.lsn) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.lsn);
            }
        }
    }
}

impl Store {
    #[allow(clippy::too_many_arguments, reason = "called once, by opening")]
    pub(crate) fn new(
        parts: Parts,
        wal: Option<Wal>,
        state: State,
        manifest: Manifest,
        log_generation: u64,
        read_only: Option<String>,
        lock: Option<Box<dyn LockGuard>>,
    ) -> Self {
        let Parts { disk, clock, dir, options, seed, reads } = parts;
        let now = clock.monotonic_ms();
        let retention = Retention::of(&options);
        let store = Self {
            disk,
            clock,
            dir,
            options,
            retention,
            expiries: Mutex::default(),
            seed,
            reads,
            wal,
            state: RwLock::new(state),
            manifest: Mutex::new(manifest),
            flushing: Mutex::default(),
            compacting: Mutex::default(),
            pins: Mutex::default(),
            scratch: Mutex::default(),
            read_only: RwLock::new(read_only),
            closed: AtomicBool::new(false),
            log_generation: AtomicU64::new(log_generation),
            lock: Mutex::new(lock),
            counters: Counters::default(),
            stopping: AtomicBool::new(false),
            wake: Default::default(),
        };
        store.counters.last_flush_ms.store(now, Ordering::Relaxed);
        store
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.dir.join(BLOCKS_DIR)
    }

    /// The log, or why there is none to write to.
    pub(crate) fn wal(&self) -> Result<&Wal> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the database was closed"));
        }
        match (&*self.read_only.read(), &self.wal) {
            (None, Some(wal)) => Ok(wal),
            (Some(reason), _) => Err(Error::new(ErrorKind::ReadOnly, format!("the store takes no writes: {reason}"))),
            (None, None) => Err(Error::new(ErrorKind::ReadOnly, "the database was opened for reading only")),
        }
    }

    pub(crate) fn become_read_only(&self, reason: String) {
        self.read_only.write().get_or_insert(reason);
    }

    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let state = self.state.read();
        let horizons = self.horizons();
        let Some(wal) = &self.wal else { return Snapshot::new(state.clone(), horizons, u64::MAX - 1, None) };
        let mut pins = self.pins.lock();
        let lsn = wal.committed_lsn();
        *pins.entry(lsn).or_insert(0) += 1;
        drop(pins);
        let pin = Arc::new(Pin { store: Arc::clone(self), lsn });
        Snapshot::new(state.clone(), horizons, lsn, Some(pin))
    }

    /// Since when samples are kept now; `None` when all are.
    pub(crate) fn horizons(&self) -> Option<Arc<Horizons>> {
        self.retention.at(self.clock.now_ms())
    }

    /// The oldest batch number that an open snapshot, a new one or a roll back may go back to.
    pub(crate) fn oldest_lsn(&self, wal: &Wal) -> u64 {
        let pins = self.pins.lock();
        let committed = wal.committed_lsn();
        pins.keys().next().map_or(committed, |&oldest| oldest.min(committed))
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::new(ErrorKind::Closed, "the database was closed")),
            false => Ok(()),
        }
    }

    pub(crate) fn free_space(&self) -> Result<Space> {
        self.disk.free_space(&self.dir).map_err(|error| Error::io("ask for free space", &self.dir, error))
    }

    /// Whether there is room for background work.
    pub(crate) fn has_space(&self) -> bool {
        let log_bytes = self.wal.as_ref().map_or(0, Wal::total_bytes);
        self.free_space().is_ok_and(|space| space.free >= low_water_mark(&self.options, space, log_bytes))
    }

    pub(crate) fn announce(&self, note: &str) -> Result<()> {
        let path = self.dir.join(LOCK_FILE);
        match &*self.lock.lock() {
            Some(lock) => lock.annotate(note).map_err(|error| Error::io("write the lock file", &path, error)),
            None => Err(Error::new(ErrorKind::ReadOnly, "the database was opened for reading only")),
        }
    }

    /// Makes the log durable and releases the lock. The first call does it, later ones change nothing.
    pub(crate) fn shut_down(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // No writer is inside: they hold the state while they touch the log's buffer.
        drop(self.state.write());
        let result = self.wal.as_ref().map_or(Ok(()), Wal::close);
        self.lock.lock().take();
        result
    }

    /// Sleeps until woken, at most this long.
    pub(crate) fn wait(&self, longest: std::time::Duration) {
        let mut woken = self.wake.0.lock();
        if !*woken {
            self.wake.1.wait_for(&mut woken, longest);
        }
        *woken = false;
    }

    /// Lets the background thread look for work now.
    pub(crate) fn wake(&self) {
        *self.wake.0.lock() = true;
        self.wake.1.notify_all();
    }
}

pub(crate) const BLOCKS_DIR: &str = "blocks";
pub(crate) const LOG_DIR: &str = "log";
pub(crate) const QUARANTINE_DIR: &str = "quarantine";
pub(crate) const LOCK_FILE: &str = "LOCK";

/// The file of a block.
pub(crate) fn block_path(blocks_dir: &Path, id: BlockId) -> PathBuf {
    blocks_dir.join(id.file_name())
}
