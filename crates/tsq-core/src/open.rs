//! Opening a database: lock, manifest, left-over files, blocks, replay of the log. What the log proves to have been
//! durable and is not there any more makes the store read-only and loud; a torn tail never does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::block::{BlockId, BlockReader, Reads};
use crate::clock::Clock;
use crate::disk::{self, Disk, LockGuard, LockOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::head::{Generation, HeadSample, SampleValue, SeriesIndex, SeriesRef};
use crate::manifest::{BlockEntry, Manifest};
use crate::options::Options;
use crate::sample::{Kind, TimeRange};
use crate::store::{BLOCKS_DIR, Counters, LOCK_FILE, LOG_DIR, Missing, QUARANTINE_DIR, State, Store, block_path};
use crate::tombstones::{self, Tombstones, TombstonesRef};
use crate::wal::{self, BatchRecord, RecordRef, RecordType, ReplayEnd, Wal, WalOptions};

/// What a database is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) seed: u64,
    pub(crate) reads: Arc<Reads>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what is lost by it.
    pub message: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl Damage {
    pub(crate) fn of_log(found: &wal::Damage) -> Self {
        let (first, last) = (found.lost.start(), found.lost.end());
        let lost = match first <= last {
            true => format!("; records {first} to {last} of the log may be lost"),
            false => String::new(),
        };
        Self { path: found.path.clone(), message: format!("{} at byte {}{lost}", found.message, found.offset) }
    }
}

/// The content of a directory, read without changing it.
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    pub(crate) blocks: Vec<Arc<BlockReader>>,
    pub(crate) tombstones: Tombstones,
    pub(crate) generation: Generation,
    pub(crate) log: ReplayEnd,
    /// What is damaged, and which times of the database it may have taken.
    pub(crate) missing: Vec<Missing>,
}

impl Contents {
    fn damage(&self) -> Vec<Damage> {
        self.missing.iter().map(|missing| missing.damage.clone()).collect()
    }
}

impl Parts {
    fn blocks_dir(&self) -> PathBuf {
        self.dir.join(BLOCKS_DIR)
    }

    fn log_dir(&self) -> PathBuf {
        self.dir.join(LOG_DIR)
    }

    fn io<'a>(&'a self, what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
        move |error| Error::io(what, path, error)
    }

    /// Names in a directory; none where it does not exist.
    fn names(&self, dir: &Path) -> Result<Vec<String>> {
        match self.disk.list(dir) {
            Ok(names) => Ok(names),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("list the directory", dir, error)),
        }
    }

    fn has_data(&self) -> Result<bool> {
        Ok(!self.names(&self.blocks_dir())?.is_empty() || !self.names(&self.log_dir())?.is_empty())
    }

    /// Takes the writer's lock.
    fn lock(&self) -> Result<Box<dyn LockGuard>> {
        let path = self.dir.join(LOCK_FILE);
        match self.disk.lock(&path).map_err(self.io("take the lock", &path))? {
            LockOutcome::Taken(guard) => Ok(guard),
            LockOutcome::Held(note) => {
                let holder = if note.trim().is_empty() { "another process".to_owned() } else { note.trim().to_owned() };
                let message = format!("the database is in use by {holder}");
                Err(Error::new(ErrorKind::Locked, message).in_file(&self.dir))
            }
        }
    }

    /// The manifest; that of a new database where nothing is. A missing or damaged one is rebuilt in memory from the
    /// blocks' footers and reported.
    fn read_manifest(&self, missing: &mut Vec<Missing>) -> Result<Option<Manifest>> {
        let path = Manifest::path(&self.dir);
        let message = match Manifest::read(&*self.disk, &self.dir) {
            Ok(Some(manifest)) => return Ok(Some(manifest)),
            Ok(None) if !self.has_data()? => return Ok(None),
            Ok(None) => "the manifest is missing, but there are blocks or log segments".to_owned(),
            Err(error) if error.kind() == ErrorKind::Corrupt => error.to_string(),
            Err(error) => return Err(error),
        };
        missing.push(Missing { damage: Damage { path, message }, range: TimeRange::ALL });
        self.rebuild_manifest().map(Some)
    }

    /// A manifest of all whole blocks that no other whole block replaces; the log is taken to hold what it holds.
    fn rebuild_manifest(&self) -> Result<Manifest> {
        let mut db_id = None;
        let mut metas = Vec::new();
        for name in self.names(&self.blocks_dir())? {
            let path = self.blocks_dir().join(&name);
            if let Ok((id, meta)) = BlockReader::peek(&*self.disk, &path) {
                db_id.get_or_insert(id);
                if db_id == Some(id) {
                    metas.push(meta);
                }
            }
        }
        let db_id = match db_id {
            Some(db_id) => db_id,
            None => wal::peek_db_id(&*self.disk, &self.log_dir()).unwrap_or(0),
        };
        let replaced: Vec<BlockId> = metas.iter().flat_map(|meta| meta.replaces.iter().copied()).collect();
        let mut manifest = Manifest::new(db_id);
        manifest.flushed_lsn = metas.iter().map(|meta| meta.lsn_max).max().unwrap_or(0);
        manifest.next_block = metas.iter().map(|meta| meta.id.0 + 1).max().unwrap_or(1);
        metas.retain(|meta| !replaced.contains(&meta.id));
        manifest.blocks = metas.iter().map(BlockEntry::of).collect();
        if let Some(number) = tombstones::newest(&self.names(&self.dir)?) {
            // What the file holds beyond its name is checked when it is read.
            let found = tombstones::read(&*self.disk, &self.dir, db_id, number);
            let unreadable = TombstonesRef { number, bytes: 0, crc: 0 };
            manifest.tombstones = Some(found.map_or(unreadable, |(_, found)| found));
            manifest.next_block = manifest.next_block.max(number + 1);
        }
        Ok(manifest)
    }

    /// What is deleted of the blocks. Without it, nobody can tell what may be shown: all of time is missing then.
    fn open_tombstones(&self, manifest: &mut Manifest, missing: &mut Vec<Missing>) -> Result<Tombstones> {
        let Some(wanted) = manifest.tombstones else { return Ok(Tombstones::default()) };
        let wrong = match tombstones::read(&*self.disk, &self.dir, manifest.db_id, wanted.number) {
            Ok((tombstones, found)) if found == wanted => {
                let is_listed = |id: BlockId| manifest.blocks.iter().any(|block| block.id == id);
                let gone: Vec<BlockId> = tombstones.iter().map(|(id, _)| id).filter(|id| !is_listed(*id)).collect();
                return Ok(tombstones.without(&gone).unwrap_or(tombstones));
            }
            Ok(_) => "it is not the file that the manifest refers to".to_owned(),
            Err(error) if error.kind() == ErrorKind::UnsupportedFormat => return Err(error),
            Err(error) => error.to_string(),
        };
        manifest.tombstones = None;
        let path = self.dir.join(tombstones::file_name(wanted.number));
        let message = format!("what was deleted cannot be read, and would be back without it: {wrong}");
        missing.push(Missing { damage: Damage { path, message }, range: TimeRange::ALL });
        Ok(Tombstones::default())
    }

    fn open_blocks(&self, manifest: &Manifest, missing: &mut Vec<Missing>) -> Result<Vec<Arc<BlockReader>>> {
        let mut blocks = Vec::with_capacity(manifest.blocks.len());
        for entry in &manifest.blocks {
            let path = block_path(&self.blocks_dir(), entry.id);
            let wrong = match BlockReader::open(&*self.disk, &path, manifest.db_id, &self.reads) {
                Ok(block) if BlockEntry::of(block.meta()) == *entry => {
                    blocks.push(block);
                    continue;
                }
                Ok(_) => "the footer is not that of the block in the manifest".to_owned(),
                Err(error) if error.kind() == ErrorKind::UnsupportedFormat => return Err(error),
                Err(error) => error.to_string(),
            };
            let (samples, min, max) = (entry.samples, entry.min_ms, entry.max_ms);
            let message = format!("block with {samples} samples from {min} to {max} ms cannot be read: {wrong}");
            missing.push(Missing { damage: Damage { path, message }, range: TimeRange::new(min, max) });
        }
        Ok(blocks)
    }

    /// Reads a database without changing a byte.
    pub(crate) fn read(&self, mut manifest: Manifest, mut missing: Vec<Missing>) -> Result<Contents> {
        let blocks = self.open_blocks(&manifest, &mut missing)?;
        let tombstones = self.open_tombstones(&mut manifest, &mut missing)?;
        let index = Arc::new(SeriesIndex::new(self.options.shards, self.seed));
        let generation = Generation::new(index);
        let mut replay = Replay::new(&generation, self.options.limits.exemplars);
        let visit = &mut |record: RecordRef<'_>| replay.apply(record);
        let log = wal::replay(&*self.disk, &self.log_dir(), manifest.db_id, manifest.flushed_lsn, visit)?;
        let lost = replay.undefined;
        // Of what times the lost records were, nobody can tell.
        let anywhere = |damage| Missing { damage, range: TimeRange::ALL };
        missing.extend(log.damage.iter().map(Damage::of_log).map(anywhere));
        if lost > 0 && log.damage.is_empty() {
            let message = format!("{lost} samples belong to series whose definition is missing");
            missing.push(anywhere(Damage { path: self.log_dir(), message }));
        }
        Ok(Contents { manifest, blocks, tombstones, generation, log, missing })
    }

    /// Opens for writing; read-only when something is damaged, unless the caller accepts the loss.
    pub(crate) fn open_writer(&self, accept_loss: bool) -> Result<(Store, Vec<Damage>)> {
        self.create_synced(&self.dir)?;
        let lock = self.lock()?;
        let mut missing = Vec::new();
        let manifest = match self.read_manifest(&mut missing)? {
            Some(manifest) => manifest,
            None => self.create()?,
        };
        if missing.is_empty() {
            self.tidy(&manifest)?;
        }
        let mut contents = self.read(manifest, missing)?;
        let damage = contents.damage();
        if damage.is_empty() || accept_loss {
            contents.missing.clear();
            return Ok((self.start(contents, lock)?, damage));
        }
        let reason = format!("{} (see `tsq recover`)", damage[0]);
        let store = self.store(contents, None, 0, Some(reason), Some(lock));
        store.counters.damaged.store(damage.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok((store, damage))
    }

    /// Opens for reading beside a writer: starts over when the manifest moved meanwhile.
    pub(crate) fn open_reader(&self) -> Result<(Store, Vec<Damage>)> {
        const ATTEMPTS: usize = 20;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let mut missing = Vec::new();
            let Some(manifest) = self.read_manifest(&mut missing)? else {
                let message = "there is no database here: no MANIFEST";
                return Err(Error::invalid(message).in_file(&self.dir));
            };
            let sequence = manifest.sequence;
            let contents = self.read(manifest, missing);
            let moved = Manifest::read(&*self.disk, &self.dir).ok().flatten().map(|now| now.sequence) != Some(sequence);
            match contents {
                Ok(contents) if !moved || !contents.missing.is_empty() && sequence == 0 => {
                    let damage = contents.damage();
                    return Ok((self.store(contents, None, 0, None, None), damage));
                }
                Err(error) if !moved => return Err(error),
                other => last = other.err(),
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Io, "the database changes faster than it can be opened")))
    }

    /// Creates a directory, if need be, and makes its name durable.
    fn create_synced(&self, dir: &Path) -> Result<()> {
        if self.disk.list(dir).is_ok() {
            return Ok(());
        }
        self.disk.create_dir(dir).map_err(self.io("create the directory", dir))?;
        let parent = match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(()),
        };
        self.disk.sync_dir(parent).map_err(self.io("sync the directory", parent))
    }

    fn create(&self) -> Result<Manifest> {
        let db_id = u128::from(random()) << 64 | u128::from(self.seed ^ self.clock.now_ms() as u64);
        let mut manifest = Manifest::new(db_id);
        for dir in [self.blocks_dir(), self.log_dir()] {
            self.create_synced(&dir)?;
        }
        manifest.publish(&*self.disk, &self.dir)?;
        Ok(manifest)
    }

    /// Removes what a crash left: files being written, replaced blocks, blocks that were not published in time. A block
    /// that is unknown and not provably derived from what is still there goes to quarantine.
    fn tidy(&self, manifest: &Manifest) -> Result<()> {
        let blocks_dir = self.blocks_dir();
        self.create_synced(&blocks_dir)?;
        self.create_synced(&self.log_dir())?;
        for name in self.names(&self.dir)?.iter().filter(|name| is_temporary(name)) {
            let path = self.dir.join(name);
            self.disk.unlink(&path).map_err(self.io("delete the temporary file", &path))?;
        }
        self.tidy_tombstones(manifest)?;
        let listed: Vec<PathBuf> = manifest.blocks.iter().map(|block| block_path(&blocks_dir, block.id)).collect();
        let removed: Vec<PathBuf> = manifest.removed.iter().map(|id| block_path(&blocks_dir, *id)).collect();
        for name in self.names(&blocks_dir)? {
            let path = blocks_dir.join(&name);
            if listed.contains(&path) {
                continue;
            }
            if is_temporary(&name) || removed.contains(&path) || self.is_derived(&path, manifest) {
                self.disk.unlink(&path).map_err(self.io("delete the left-over file", &path))?;
            } else {
                self.quarantine(&path)?;
            }
        }
        Ok(())
    }

    /// Removes files of tombstones that the manifest does not refer to: they are older, or were never published.
    fn tidy_tombstones(&self, manifest: &Manifest) -> Result<()> {
        let current = manifest.tombstones.map(|current| current.number);
        let names = self.names(&self.dir)?;
        for number in names.iter().filter_map(|name| tombstones::number_of(name)) {
            let path = self.dir.join(tombstones::file_name(number));
            if current != Some(number) {
                self.disk.unlink(&path).map_err(self.io("delete the left-over file", &path))?;
            }
        }
        Ok(())
    }

    /// Whether everything in an unlisted block is still in the log or in the listed blocks it was made from.
    fn is_derived(&self, path: &Path, manifest: &Manifest) -> bool {
        let Ok((db_id, meta)) = BlockReader::peek(&*self.disk, path) else { return false };
        let still_listed = |id: &BlockId| manifest.blocks.iter().any(|block| block.id == *id);
        let from_log = meta.replaces.is_empty() && meta.lsn_min > manifest.flushed_lsn && meta.lsn_max >= meta.lsn_min;
        let from_blocks = !meta.replaces.is_empty() && meta.replaces.iter().all(still_listed);
        db_id == manifest.db_id && (from_log || from_blocks)
    }

    /// Moves a file aside; nothing is ever deleted for being damaged.
    fn quarantine(&self, path: &Path) -> Result<()> {
        self.keep_in_quarantine(path)?;
        self.remove(path)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.unlink(path).map_err(self.io("remove the file", path))?;
        let dir = disk::parent(path);
        self.disk.sync_dir(dir).map_err(self.io("sync the directory", dir))
    }

    /// Gives a file a second name in the quarantine.
    fn keep_in_quarantine(&self, path: &Path) -> Result<()> {
        let dir = self.dir.join(QUARANTINE_DIR);
        self.create_synced(&dir)?;
        let name = path.file_name().expect("a file in a directory has a name").to_string_lossy().into_owned();
        let taken = self.names(&dir)?;
        let free = |n: usize| if n == 0 { name.clone() } else { format!("{name}.{n}") };
        let target = (0..).map(free).find(|name| !taken.contains(name)).expect("some number is free");
        let target = dir.join(target);
        self.disk.link(path, &target).map_err(self.io("move to quarantine", path))?;
        self.disk.sync_dir(&dir).map_err(self.io("sync the quarantine", &dir))
    }

    /// Starts the log after what was replayed.
    fn start(&self, contents: Contents, lock: Box<dyn LockGuard>) -> Result<Store> {
        let log_dir = self.log_dir();
        wal::repair(&*self.disk, &log_dir, &contents.log)?;
        let options = WalOptions {
            durability: self.options.durability,
            segment_bytes: self.options.segment_bytes,
            db_id: contents.manifest.db_id,
        };
        let generation = contents.log.generation().unwrap_or(0) + 1;
        let (disk, clock) = (Arc::clone(&self.disk), Arc::clone(&self.clock));
        let wal = Wal::create(disk, clock, log_dir, options, &contents.log, generation)?;
        let first_segment = contents.manifest.first_segment;
        let torn = contents.log.torn.as_ref().map_or(0, |torn| torn.bytes);
        wal.delete_below(first_segment)?;
        let store = self.store(contents, Some(wal), generation, None, Some(lock));
        Counters::add(&store.counters.torn_tail_bytes, torn);
        Ok(store)
    }

    fn store(
        &self,
        contents: Contents,
        wal: Option<Wal>,
        log_generation: u64,
        read_only: Option<String>,
        lock: Option<Box<dyn LockGuard>>,
    ) -> Store {
        let state = State {
            known_metadata: Arc::default(),
            tombstones: Arc::new(contents.tombstones),
            blocks: Arc::new(contents.blocks),
            generations: vec![Arc::new(contents.generation)],
            missing: Arc::new(contents.missing),
        };
        Store::new(self.clone(), wal, state, contents.manifest, log_generation, read_only, lock)
    }

    /// What is damaged in this directory, and with `accept_loss`, going on without it: damaged files are moved to
    /// quarantine, everything that can be read is written into a block, and a new manifest is published.
    pub(crate) fn recover(&self, accept_loss: bool) -> Result<Vec<Damage>> {
        if !accept_loss {
            let mut missing = Vec::new();
            let _lock = self.lock()?;
            return match self.read_manifest(&mut missing)? {
                Some(manifest) => Ok(self.read(manifest, missing)?.damage()),
                None => Ok(Vec::new()),
            };
        }
        let (store, damage) = self.open_writer(true)?;
        if damage.is_empty() {
            return store.shut_down().map(|()| damage);
        }
        let manifest = Manifest::path(&self.dir);
        let mut files: Vec<PathBuf> = damage.iter().map(|found| found.path.clone()).collect();
        files.sort();
        files.dedup();
        files.retain(|path| *path != self.log_dir() && self.disk.len(path).is_ok());
        for path in &files {
            self.keep_in_quarantine(path)?;
        }
        store.accept_missing_blocks()?;
        store.accept_log()?;
        for path in files.iter().filter(|path| **path != manifest && self.disk.len(path).is_ok()) {
            self.remove(path)?;
        }
        store.shut_down()?;
        Ok(damage)
    }
}

fn is_temporary(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == disk::TEMPORARY_EXTENSION)
}

/// Numbers nobody can guess, from the standard library's seeding of hash maps.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Applies records to a generation. Decides nothing: the log holds what was accepted.
struct Replay<'a> {
    generation: &'a Generation,
    log_generation: u64,
    defined: HashMap<u32, (SeriesRef, Kind)>,
    record: BatchRecord,
    scratch: wal::Scratch,
    /// Samples whose series is not defined.
    undefined: u64,
    exemplars_max: usize,
}

impl<'a> Replay<'a> {
    fn new(generation: &'a Generation, exemplars_max: usize) -> Self {
        Self {
            generation,
            log_generation: 0,
            defined: HashMap::new(),
            record: BatchRecord::default(),
            scratch: wal::Scratch::default(),
            undefined: 0,
            exemplars_max,
        }
    }

    fn apply(&mut self, record: RecordRef<'_>) -> Result<()> {
        if record.kind != RecordType::Batch {
            return Ok(());
        }
        if record.generation != self.log_generation {
            self.log_generation = record.generation;
            self.defined.clear();
        }
        self.record.clear();
        let mut batch = std::mem::take(&mut self.record);
        wal::decode_batch(record.payload, &mut self.scratch, &mut batch)?;
        for definition in &batch.definitions {
            let series = self.generation.index.find_or_create(&definition.labels, definition.kind, usize::MAX)?;
            self.defined.insert(definition.log_ref, (series, definition.kind));
        }
        for kind in Kind::ALL {
            self.apply_group(kind, &batch);
        }
        if !batch.exemplars.is_empty() || !batch.metadata.is_empty() {
            self.generation.keep_notes(record.lsn, &batch, self.exemplars_max, usize::MAX);
        }
        self.record = batch;
        Ok(())
    }

    fn apply_group(&mut self, kind: Kind, batch: &BatchRecord) {
        let group = &batch.groups[kind as usize];
        let index = &self.generation.index;
        for (position, log_ref) in group.refs.iter().enumerate() {
            let Some(&(series, _)) = self.defined.get(log_ref).filter(|(_, defined)| *defined == kind) else {
                self.undefined += 1;
                continue;
            };
            let step = if kind.has_step() { group.steps[position] } else { 0 };
            let value = match kind.is_histogram() {
                true => SampleValue::Histogram(&group.histograms[position]),
                false => SampleValue::Float(group.values[position]),
            };
            let mut shard = self.generation.shard(index.shard_of(series)).write();
            let start_ms = group.starts.get(position).copied().unwrap_or(0);
            let sample = HeadSample { time_ms: group.times[position], step, start_ms, value };
            shard.replay(index.slot_of(series), kind, &sample);
        }
    }
}
