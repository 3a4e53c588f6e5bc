//! From the head into a block: end the generation, make its log durable, write the block, publish it, drop the log.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crate::batch::{Exemplar, Metadata};
use crate::block::{BlockId, BlockMeta, BlockReader, BlockSpec, BlockWriter};
use crate::error::{Error, Result};
use crate::families::Groups;
use crate::head::{Frozen, Generation, SeriesRef};
use crate::labels::Labels;
use crate::manifest::{BlockEntry, Manifest};
use crate::sample::{Kind, Samples};
use crate::snapshot::read_flushed;
use crate::store::{Counters, KnownMetadata, Store, block_path};
use crate::tombstones::{self, Tombstones, TombstonesRef};
use crate::wal::Wal;

/// The series of one label set in a generation, by kind.
type Sources = [Option<SeriesRef>; Kind::ALL.len()];

/// What a publication changes.
pub(crate) struct Change {
    pub(crate) added: Vec<BlockMeta>,
    pub(crate) removed: Vec<BlockId>,
    /// The generation whose samples are in `added`.
    pub(crate) flushed: Option<(Arc<Generation>, Frozen)>,
    /// Merges: the tombstones that were applied to the removed blocks.
    pub(crate) applied: Option<Arc<Tombstones>>,
}

impl Change {
    /// New blocks with data that is nowhere else.
    pub(crate) fn add(meta: BlockMeta) -> Self {
        Self { added: vec![meta], removed: Vec::new(), flushed: None, applied: None }
    }
}

impl Store {
    /// Flushes everything that was appended before the call.
    pub(crate) fn flush(&self) -> Result<()> {
        let _one = self.flushing.lock();
        let result = self.flush_locked();
        if result.is_err() {
            Counters::add(&self.counters.flush_failures, 1);
        }
        result
    }

    fn flush_locked(&self) -> Result<()> {
        let wal = self.wal()?;
        self.finish_flush(wal)?;
        if self.rotate(wal)? {
            self.finish_flush(wal)?;
        }
        self.counters.last_flush_ms.store(self.clock.monotonic_ms(), Ordering::Relaxed);
        Ok(())
    }

    /// Ends the active generation unless it is empty.
    fn rotate(&self, wal: &Wal) -> Result<bool> {
        let mut state = self.state.write();
        let active = Arc::clone(state.active());
        if active.is_empty() {
            return Ok(false);
        }
        let mut log = wal.lock();
        let next_segment = log.rotate(self.log_generation.fetch_add(1, Ordering::Relaxed) + 1)?;
        let lsn_max = log.last_lsn();
        drop(log);
        let written = active.all_series().len();
        // Idle series leave once they are a quarter, or when deleted ones may be among them: copying the index costs
        // what stays, and is rare.
        let next = if written * 4 < active.index.len() * 3 || active.knows_deleted() {
            active.successor_without_idle(self.seed)?
        } else {
            active.successor()
        };
        active.freeze(Frozen { lsn_max, next_segment });
        state.generations.push(Arc::new(next));
        Ok(true)
    }

    /// Writes the frozen generation, if there is one, into a block.
    fn finish_flush(&self, wal: &Wal) -> Result<()> {
        let frozen = {
            let state = self.state.read();
            if state.generations.len() < 2 { None } else { state.generations.first().cloned() }
        };
        let Some(generation) = frozen else { return Ok(()) };
        let frozen = generation.frozen().expect("all but the last generation are frozen");
        wal.sync().inspect_err(|error| self.log_failed(wal, error))?;
        let meta = self.write_generation(&generation, frozen)?;
        self.publish(&Change { flushed: Some((generation, frozen)), ..Change::add(meta) })?;
        Counters::add(&self.counters.flushes, 1);
        wal.delete_below(frozen.next_segment)
    }

    fn write_generation(&self, generation: &Generation, frozen: Frozen) -> Result<BlockMeta> {
        let mut series = generation.all_series();
        generation.index.sort(&mut series);
        let lsn_min = self.manifest.lock().flushed_lsn + 1;
        let mut writer = self.new_block(0, (lsn_min, frozen.lsn_max), Vec::new())?;
        let mut read = |sources: &mut Sources, kind: Kind, samples: &mut Samples| match sources[kind as usize] {
            Some(series) => read_flushed(generation, series, kind, samples),
            None => Ok(()),
        };
        let mut groups = Groups::new();
        let mut last: Option<(Labels, Sources)> = None;
        for series in series {
            let (labels, kind) = (generation.index.labels(series), generation.index.kind(series));
            if let Some((_, sources)) = last.as_mut().filter(|(known, _)| *known == labels) {
                sources[kind as usize] = Some(series);
                continue;
            }
            let mut sources = [None; Kind::ALL.len()];
            sources[kind as usize] = Some(series);
            let before = last.replace((labels, sources));
            if let Some(group) = before.and_then(|(labels, sources)| groups.push(labels, sources)) {
                group.write(&mut writer, &mut read)?;
            }
        }
        let group = last.and_then(|(labels, sources)| groups.push(labels, sources));
        for group in group.into_iter().chain(groups.finish()) {
            group.write(&mut writer, &mut read)?;
        }
        let notes = generation.notes.lock();
        let metadata: Vec<Metadata> = notes.metadata.values().cloned().collect();
        let mut exemplars: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for (_, labels, exemplar) in &notes.exemplars {
            exemplars.entry(labels.clone()).or_default().push(exemplar.clone());
        }
        drop(notes);
        exemplars.values_mut().for_each(crate::snapshot::sort_exemplars);
        writer.finish(&metadata, &exemplars.into_iter().collect::<Vec<_>>())
    }

    /// Begins a block with a new number.
    pub(crate) fn new_block(&self, level: u8, lsn: (u64, u64), replaces: Vec<BlockId>) -> Result<BlockWriter> {
        let mut manifest = self.manifest.lock();
        let id = BlockId(manifest.next_block);
        manifest.next_block += 1;
        let spec = BlockSpec { db_id: manifest.db_id, id, level, lsn_min: lsn.0, lsn_max: lsn.1, replaces };
        drop(manifest);
        BlockWriter::create(Arc::clone(&self.disk), &self.blocks_dir(), spec)
    }

    /// Makes a change of the block list durable, then visible, then deletes the files of removed blocks. Changes nothing
    /// and returns false when more was deleted from the removed blocks than `change.applied` says.
    pub(crate) fn publish(&self, change: &Change) -> Result<bool> {
        let mut manifest = self.manifest.lock();
        let tombstones = Arc::clone(&self.state.read().tombstones);
        if change.applied.as_ref().is_some_and(|applied| !applied.agrees(&tombstones, &change.removed)) {
            return Ok(false);
        }
        let (mut readers, mut notes) = (Vec::new(), Vec::new());
        for meta in &change.added {
            let path = block_path(&self.blocks_dir(), meta.id);
            let reader = BlockReader::open(&*self.disk, &path, manifest.db_id, &self.reads)?;
            notes.extend(reader.metadata()?);
            readers.push(reader);
            Counters::add(&self.counters.blocks_written_bytes, meta.file_bytes);
        }
        let tombstones = tombstones.without(&change.removed);
        let reference = match &tombstones {
            Some(tombstones) => self.write_tombstones(&mut manifest, tombstones)?,
            None => manifest.tombstones,
        };
        let mut next = Manifest { tombstones: reference, ..manifest.clone() };
        next.blocks.retain(|block| !change.removed.contains(&block.id));
        next.blocks.extend(change.added.iter().map(BlockEntry::of));
        next.removed.extend(&change.removed);
        if let Some((_, frozen)) = &change.flushed {
            next.flushed_lsn = frozen.lsn_max;
            next.first_segment = frozen.next_segment;
        }
        next.publish(&*self.disk, &self.dir)?;
        self.replace_manifest(&mut manifest, next);
        self.show(change, readers, notes, tombstones);
        self.delete_removed(&mut manifest);
        Ok(true)
    }

    /// Makes tombstones durable, then visible.
    pub(crate) fn publish_tombstones(&self, manifest: &mut Manifest, tombstones: Tombstones) -> Result<()> {
        let reference = self.write_tombstones(manifest, &tombstones)?;
        let mut next = Manifest { tombstones: reference, ..manifest.clone() };
        next.publish(&*self.disk, &self.dir)?;
        self.replace_manifest(manifest, next);
        self.state.write().tombstones = Arc::new(tombstones);
        Ok(())
    }

    /// Writes tombstones into a file with a number of its own: which of two manifests a crash leaves, its file is whole.
    fn write_tombstones(&self, manifest: &mut Manifest, tombstones: &Tombstones) -> Result<Option<TombstonesRef>> {
        if tombstones.is_empty() {
            return Ok(None);
        }
        let number = manifest.next_block;
        manifest.next_block += 1;
        tombstones::write(&*self.disk, &self.dir, manifest.db_id, number, tombstones).map(Some)
    }

    /// Goes on with a published manifest, and deletes the file of tombstones that it no longer refers to. One that
    /// cannot be deleted now goes at the next opening.
    fn replace_manifest(&self, manifest: &mut Manifest, next: Manifest) {
        let old = std::mem::replace(manifest, next).tombstones;
        if let Some(old) = old.filter(|old| Some(*old) != manifest.tombstones) {
            let _ = self.disk.unlink(&self.dir.join(tombstones::file_name(old.number)));
        }
    }

    fn show(
        &self,
        change: &Change,
        readers: Vec<Arc<BlockReader>>,
        notes: Vec<Metadata>,
        tombstones: Option<Tombstones>,
    ) {
        // Nobody else changes blocks, tombstones or their metadata: the manifest is locked. Writers wait for the swap alone.
        let before = self.state.read().clone();
        let mut blocks: Vec<_> = before.blocks.iter().cloned().collect();
        blocks.retain(|block| !change.removed.contains(&block.meta().id));
        blocks.extend(readers);
        let metadata = self.with_notes(change, &before.known_metadata, notes);
        let mut state = self.state.write();
        if let Some(tombstones) = tombstones {
            state.tombstones = Arc::new(tombstones);
        }
        state.blocks = Arc::new(blocks);
        state.known_metadata = metadata;
        if let Some((flushed, _)) = &change.flushed {
            state.generations.retain(|generation| !Arc::ptr_eq(generation, flushed));
        }
    }

    /// What nobody asked for yet is read when somebody does, with that of the new blocks.
    fn with_notes(
        &self,
        change: &Change,
        known: &OnceLock<KnownMetadata>,
        notes: Vec<Metadata>,
    ) -> Arc<OnceLock<KnownMetadata>> {
        let mut metadata = known.clone();
        for known in notes {
            let Some(metadata) = metadata.get_mut() else { break };
            // Only a flush brings news: compactions repeat what is known, imports are the oldest of all.
            if change.flushed.is_some() {
                metadata.by_metric.insert(known.metric.clone(), known);
            } else {
                metadata.by_metric.entry(known.metric.clone()).or_insert(known);
            }
        }
        Arc::new(metadata)
    }

    /// Deletes the files of removed blocks; what cannot be deleted now is tried again at the next publication. Their
    /// numbers stay in the manifest on disk until then: opening deletes them too.
    pub(crate) fn delete_removed(&self, manifest: &mut Manifest) {
        let dir = self.blocks_dir();
        let gone = |id: &BlockId| match self.disk.unlink(&block_path(&dir, *id)) {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        let before = manifest.removed.len();
        let left: Vec<BlockId> = manifest.removed.iter().copied().filter(|id| !gone(id)).collect();
        if left.len() < before && self.disk.sync_dir(&dir).is_ok() {
            manifest.removed = left;
        }
    }

    /// Drops the blocks that could not be opened from the manifest, durably.
    pub(crate) fn accept_missing_blocks(&self) -> Result<()> {
        let readable: Vec<BlockId> = self.state.read().blocks.iter().map(|block| block.meta().id).collect();
        let mut manifest = self.manifest.lock();
        manifest.blocks.retain(|block| readable.contains(&block.id));
        manifest.publish(&*self.disk, &self.dir)
    }

    /// Writes everything that could be read from the log into a block, and begins the log anew behind it.
    pub(crate) fn accept_log(&self) -> Result<()> {
        self.flush()?;
        let wal = self.wal()?;
        let mut log = wal.lock();
        let first_segment = log.rotate(self.log_generation.fetch_add(1, Ordering::Relaxed) + 1)?;
        let flushed_lsn = log.last_lsn();
        drop(log);
        wal.sync()?;
        let mut manifest = self.manifest.lock();
        manifest.flushed_lsn = flushed_lsn;
        manifest.first_segment = first_segment;
        manifest.publish(&*self.disk, &self.dir)?;
        drop(manifest);
        wal.delete_below(first_segment)
    }

    /// Links all blocks into another directory and publishes a manifest there: a database of its own.
    pub(crate) fn backup(&self, target: &std::path::Path) -> Result<()> {
        self.flush()?;
        let io = |what: &'static str, path: &std::path::Path| {
            let path = path.to_path_buf();
            move |error| Error::io(what, &path, error)
        };
        let blocks = target.join(crate::store::BLOCKS_DIR);
        self.disk.create_dir(&blocks).map_err(io("create the backup directory", &blocks))?;
        if Manifest::read(&*self.disk, target)?.is_some() {
            return Err(Error::invalid("the backup directory holds a database already").in_file(target));
        }
        // Only compactions delete blocks: none runs while the links are made.
        let guard = self.compacting.lock();
        let (mut manifest, tombstones) = {
            let manifest = self.manifest.lock();
            (manifest.clone(), Arc::clone(&self.state.read().tombstones))
        };
        for block in &manifest.blocks {
            let (from, to) = (block_path(&self.blocks_dir(), block.id), block_path(&blocks, block.id));
            self.disk.link(&from, &to).map_err(io("link a block", &to))?;
        }
        drop(guard);
        self.disk.sync_dir(&blocks).map_err(io("sync the backup directory", &blocks))?;
        manifest.removed.clear();
        if let Some(current) = manifest.tombstones {
            tombstones::write(&*self.disk, target, manifest.db_id, current.number, &tombstones)?;
        }
        manifest.publish(&*self.disk, target)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Db, Kind, Labels, Limits, Metadata, Options, SimDisk, Source};

    /// Four old blocks are merged after a newer one was written: their text once came back over the newer one, until
    /// the database was opened again.
    #[test]
    fn a_compaction_does_not_bring_old_metadata_back() {
        const HOUR_MS: i64 = 3_600_000;
        let limits = Limits { future: None, ..Limits::default() };
        let options = Options { background: false, low_space_bytes: Some(0), limits, ..Options::default() };
        let db = Db::builder().disk(SimDisk::new()).open("/db", options).unwrap();
        let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
        let minute = |number: i64| number * HOUR_MS / 60;
        for (time_ms, help) in
            [(0, "old"), (minute(1), "old"), (minute(2), "old"), (minute(3), "old"), (minute(600), "new")]
        {
            let mut batch = db.batch();
            batch.series(Kind::Float, &labels);
            batch.float(time_ms, 1.0);
            let help = help.to_owned();
            batch.metadata(Metadata { metric: "up".to_owned(), help, ..Metadata::default() });
            db.append(&batch).unwrap();
            db.flush().unwrap();
        }
        db.compact().unwrap();
        assert_eq!(db.stats().blocks, 2);
        let known = db.snapshot().unwrap().metadata().unwrap();
        assert_eq!(known.iter().map(|known| known.help.as_str()).collect::<Vec<_>>(), ["new"]);
    }
}
