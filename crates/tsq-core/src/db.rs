//! The handle of an open database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::append::low_water_mark;
use crate::background::Background;
use crate::batch::{Appended, Batch, CanonicalLabels, LabelSource, SeriesHandle};
use crate::block::{BlockMeta, Reads};
use crate::clock::{Clock, SystemClock};
use crate::compact::Pass;
use crate::delete::{Cleaned, Deleted};
use crate::disk::{Disk, RealDisk};
use crate::error::Result;
use crate::import::Importer;
use crate::labels::Labels;
use crate::open::{Damage, Parts, random};
use crate::options::Options;
use crate::query::Matcher;
use crate::sample::{Kind, TimeRange};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::store::Store;

/// An open database. Cheap to clone; all clones are the same database, `Send` and `Sync`.
///
/// One process writes to a directory, any number may read it beside ([`Db::open_read_only`]).
/// Dropping the last clone closes the database; [`Db::close`] also reports errors.
#[derive(Clone, Debug)]
pub struct Db(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    store: Arc<Store>,
    damage: Vec<Damage>,
    background: Mutex<Option<Background>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The log already holds everything acknowledged; an error here loses nothing.
        let _ = self.close();
    }
}

impl Handle {
    fn close(&self) -> Result<()> {
        if let Some(background) = self.background.lock().take() {
            background.stop(&self.store);
        }
        self.store.shut_down()
    }
}

/// Opens a database with other components than the machine's.
#[derive(Clone, Debug)]
pub struct DbBuilder {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl Default for DbBuilder {
    fn default() -> Self {
        Self { disk: Arc::new(RealDisk), clock: Arc::new(SystemClock::new()), seed: None }
    }
}

impl DbBuilder {
    /// Files go to this disk.
    #[must_use]
    pub fn disk(mut self, disk: impl Disk + 'static) -> Self {
        self.disk = Arc::new(disk);
        self
    }

    /// Time comes from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Seed of the hash tables, for runs that repeat exactly. Label values come from the network: keep it secret.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn parts(self, path: &Path, options: Options) -> Parts {
        let seed = self.seed.unwrap_or_else(random);
        let reads = Arc::new(Reads::new(&options));
        Parts { disk: self.disk, clock: self.clock, dir: path.to_path_buf(), options, seed, reads }
    }

    /// Opens or creates the database in a directory for writing. See [`Db::open`].
    ///
    /// # Errors
    /// See [`Db::open`].
    pub fn open(self, path: impl AsRef<Path>, options: Options) -> Result<Db> {
        let (store, damage) = self.parts(path.as_ref(), options).open_writer(false)?;
        let store = Arc::new(store);
        let wanted = store.options.background && store.wal.is_some();
        let background = if wanted { Some(Background::start(&store)?) } else { None };
        Ok(Db(Arc::new(Handle { store, damage, background: Mutex::new(background) })))
    }

    /// Opens a database for reading only. See [`Db::open_read_only`].
    ///
    /// # Errors
    /// See [`Db::open_read_only`].
    pub fn open_read_only(self, path: impl AsRef<Path>, options: Options) -> Result<Db> {
        let (store, damage) = self.parts(path.as_ref(), options).open_reader()?;
        Ok(Db(Arc::new(Handle { store: Arc::new(store), damage, background: Mutex::new(None) })))
    }

    /// Explains damage, and accepts its loss. See [`Db::recover`].
    ///
    /// # Errors
    /// See [`Db::recover`].
    pub fn recover(self, path: impl AsRef<Path>, accept_loss: bool) -> Result<Vec<Damage>> {
        self.parts(path.as_ref(), Options { background: false, ..Options::default() }).recover(accept_loss)
    }
}

impl Db {
    /// Opens or creates the database in a directory for writing.
    ///
    /// Replays the log; a torn tail is cut. When the log or the manifest proves that something durable is damaged, the
    /// database opens read-only and [`Db::damage`] says what is affected.
    ///
    /// # Errors
    /// `Locked` when another process writes to it, `UnsupportedFormat` for a newer format, `Io`.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        DbBuilder::default().open(path, options)
    }

    /// Opens a database for reading only, also while another process writes to it. Sees what is in the directory now;
    /// that may include batches that are written but not acknowledged yet. Never changes a file.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no database, `UnsupportedFormat` for a newer format, `Io`.
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        DbBuilder::default().open_read_only(path, options)
    }

    /// What is damaged in the database of a directory. With `accept_loss` goes on without it: damaged files are moved
    /// to `quarantine/`, everything readable is kept, and the database opens for writing again.
    ///
    /// # Errors
    /// `Locked` when a process writes to it, `Io`.
    pub fn recover(path: impl AsRef<Path>, accept_loss: bool) -> Result<Vec<Damage>> {
        DbBuilder::default().recover(path, accept_loss)
    }

    /// A builder for other clocks and disks.
    pub fn builder() -> DbBuilder {
        DbBuilder::default()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.0.store.options
    }

    /// The directory.
    pub fn path(&self) -> &PathBuf {
        &self.0.store.dir
    }

    /// What was damaged at opening. Not empty: the database takes no writes, and selections that may need what is
    /// missing fail with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn damage(&self) -> &[Damage] {
        &self.0.damage
    }

    /// Why it takes no writes, if so.
    pub fn read_only_reason(&self) -> Option<String> {
        self.0.store.read_only.read().clone()
    }

    /// Writes a line into the lock file, for processes that find the database in use: its address, for example.
    ///
    /// # Errors
    /// `Io`; `ReadOnly` when it was opened for reading only.
    pub fn announce(&self, note: &str) -> Result<()> {
        self.0.store.announce(note)
    }

    /// An empty batch for this database.
    pub fn batch(&self) -> Batch {
        Batch::with_seed(self.0.store.seed)
    }

    /// A handle for appending to one series without looking at its labels again.
    ///
    /// # Errors
    /// `InvalidArgument` when the labels break a limit.
    pub fn series(&self, kind: Kind, labels: &Labels) -> Result<SeriesHandle> {
        self.0.store.check_series(labels)?;
        let key = self.batch().hash(labels.as_bytes());
        Ok(SeriesHandle { key, labels: labels.clone(), kind })
    }

    /// Appends a batch. Samples are logged first, then visible to queries.
    ///
    /// Refused samples (conflicting, over a limit) are counted and described in [`Appended`]; the rest of the batch
    /// is stored. On return the batch is durable under [`Durability::Always`](crate::Durability::Always), else as the
    /// mode says.
    ///
    /// # Errors
    /// `StorageFull` when the disk has too little space: nothing of the batch is visible, try again later.
    /// `ReadOnly` after damage or a failed fsync, `LimitExceeded` for a batch that is too large, `Closed`, `Io`.
    pub fn append(&self, batch: &Batch) -> Result<Appended> {
        self.append_with(batch, &CanonicalLabels)
    }

    /// As [`Db::append`], for a batch whose label bytes `source` can read.
    ///
    /// # Errors
    /// See [`Db::append`].
    pub fn append_with(&self, batch: &Batch, source: &dyn LabelSource) -> Result<Appended> {
        self.0.store.append(batch, source)
    }

    /// Everything acknowledged up to now.
    ///
    /// # Errors
    /// `Closed`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.0.store.check_open()?;
        Ok(self.0.store.snapshot())
    }

    /// Writes the head into a block and drops its part of the log.
    ///
    /// # Errors
    /// `StorageFull`, `ReadOnly`, `Closed`, `Io`. Nothing is lost: the log still holds everything.
    pub fn flush(&self) -> Result<()> {
        self.0.store.flush()
    }

    /// Flushes, applies retention, and merges blocks: all first-level ones, and others as far as the tiers ask for it.
    ///
    /// # Errors
    /// As [`Db::flush`]; `Corrupt` when a block to be merged is damaged.
    pub fn compact(&self) -> Result<()> {
        self.0.store.flush()?;
        self.0.store.compact(Pass::Asked)
    }

    /// Flushes, then makes a copy of the database in another directory, by hard links where the file system can.
    ///
    /// # Errors
    /// As [`Db::flush`]; `InvalidArgument` when the directory holds a database already.
    pub fn backup(&self, target: impl AsRef<Path>) -> Result<()> {
        self.0.store.backup(target.as_ref())
    }

    /// Writes many samples straight into blocks, past log and head. See [`Importer`].
    ///
    /// # Errors
    /// `ReadOnly`, `Closed`.
    pub fn importer(&self) -> Result<Importer> {
        Importer::new(Arc::clone(&self.0.store))
    }

    /// Deletes the samples and exemplars in `range` of all series that pass the matchers; no matcher means all series.
    ///
    /// It covers what was written before the call, late data and imports included; what is written while it runs may or
    /// may not be covered, and what is written later never is, at deleted times either. When it returns the delete is
    /// durable and seen by every new snapshot; after a crash it is there whole or not at all. A series that loses all
    /// its samples is no longer listed, and a metric without series loses its metadata.
    ///
    /// The head is flushed first. The bytes stay on disk until the blocks are merged or [`Db::clean_tombstones`]
    /// rewrites them. Cost: reads the index of the matching series, and the times of chunks that the range cuts.
    ///
    /// # Errors
    /// `InvalidArgument` for a range that ends before it begins, `LimitExceeded` when the tombstones of all blocks would
    /// be more than four million, `StorageFull`, `ReadOnly`, `Closed`, `Corrupt`, `Io`. Nothing is deleted then.
    pub fn delete(&self, matchers: &[Matcher], range: TimeRange) -> Result<Deleted> {
        self.0.store.delete(matchers, range)
    }

    /// Purges: writes every block that has tombstones anew without the deleted samples, and deletes the old files. When
    /// it returns, no block and no segment of the log holds bytes of what was deleted before the call. Backups,
    /// `quarantine/` and files that open snapshots still map are beyond its reach, and so is what a disk keeps of
    /// deleted files.
    ///
    /// Waits for a running compaction. Needs space for the largest of those blocks.
    ///
    /// # Errors
    /// As [`Db::compact`]; blocks that were rewritten before the error stay so.
    pub fn clean_tombstones(&self) -> Result<Cleaned> {
        self.0.store.clean_tombstones()
    }

    /// Sizes and counts.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0.store)
    }

    /// What is known about each block, in no order.
    pub fn blocks(&self) -> Vec<BlockMeta> {
        self.0.store.state.read().blocks.iter().map(|block| block.meta().clone()).collect()
    }

    /// Free bytes below which writes are refused now.
    ///
    /// # Errors
    /// `Io`.
    pub fn low_space_mark(&self) -> Result<u64> {
        let store = &self.0.store;
        let space = store.free_space()?;
        Ok(low_water_mark(&store.options, space, store.wal.as_ref().map_or(0, crate::wal::Wal::total_bytes)))
    }

    /// Makes everything durable and releases the directory. Further writes on any clone fail; snapshots stay readable.
    ///
    /// # Errors
    /// `Io` when the log could not be made durable.
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// Whether [`Db::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.0.store.closed.load(Ordering::Acquire)
    }
}
