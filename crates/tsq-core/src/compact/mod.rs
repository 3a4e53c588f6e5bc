//! Compaction: merging blocks into fewer, larger ones, without what was deleted, and dropping what retention no longer
//! keeps.

mod merge;
mod pace;
mod plan;

use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::block::{BlockId, BlockReader, Reads};
use crate::error::{Error, Result};
use crate::flush::Change;
use crate::manifest::BlockEntry;
use crate::retention::Expiry;
use crate::store::{Counters, Store, block_path};
use crate::tombstones::Tombstones;
use merge::Input;

use pace::Pace;

pub(crate) use pace::Pass;
pub(crate) use plan::{Merge, expired, plan, rewrite};

impl Store {
    /// Applies retention, then merges blocks until no rule asks for a merge.
    pub(crate) fn compact(&self, pass: Pass) -> Result<()> {
        let _one = self.compacting.lock();
        let result = self.compact_locked(pass);
        if result.is_err() {
            Counters::add(&self.counters.compaction_failures, 1);
        }
        result
    }

    fn compact_locked(&self, pass: Pass) -> Result<()> {
        self.wal()?;
        self.apply_retention()?;
        while pass.goes_on(self) {
            let blocks = self.manifest.lock().blocks.clone();
            let Some(merge) = plan(&blocks, pass == Pass::Asked).or_else(|| self.rewrite(&blocks)) else {
                return Ok(());
            };
            // A delete meanwhile: the next look at the blocks plans the merge again.
            if self.merge_blocks(&merge, pass)?.is_some() {
                Counters::add(&self.counters.compactions, 1);
            }
        }
        Ok(())
    }

    /// Whether a rule asks for work.
    pub(crate) fn wants_compaction(&self) -> bool {
        let blocks = self.manifest.lock().blocks.clone();
        plan(&blocks, false).is_some() || self.rewrite(&blocks).is_some() || !self.expired(&blocks).is_empty()
    }

    fn rewrite(&self, blocks: &[BlockEntry]) -> Option<Merge> {
        let tombstones = Arc::clone(&self.state.read().tombstones);
        let deleted = rewrite(blocks, |block| tombstones.of(block).map_or(0, |deleted| deleted.samples()));
        deleted.or_else(|| self.rewrite_expired(blocks))
    }

    /// A block of which enough has expired to write it anew.
    fn rewrite_expired(&self, blocks: &[BlockEntry]) -> Option<Merge> {
        let horizons = self.horizons()?;
        let readers = Arc::clone(&self.state.read().blocks);
        let mut known = self.expiries.lock();
        known.retain(|id, _| blocks.iter().any(|block| block.id == *id));
        for block in blocks.iter().filter(|block| block.min_ms < horizons.newest_ms()) {
            let expiry = match known.entry(block.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let reader = readers.iter().find(|reader| reader.meta().id == block.id)?;
                    // What cannot be read is reported to those who read it; it expires as a whole.
                    new.insert(Expiry::of(reader, &horizons).unwrap_or_default())
                }
            };
            if expiry.is_due(&horizons) {
                return Some(Merge { blocks: vec![block.id], level: block.level });
            }
        }
        None
    }

    /// Blocks that the retention by time or by size no longer keeps.
    fn expired(&self, blocks: &[BlockEntry]) -> Vec<BlockId> {
        let oldest_ms = self.horizons().map_or(i64::MIN, |horizons| horizons.oldest_ms());
        expired(blocks, oldest_ms, self.options.retention_bytes)
    }

    /// Drops the blocks that nobody may see any more. Needs no space to speak of.
    pub(crate) fn apply_retention(&self) -> Result<()> {
        let blocks = self.manifest.lock().blocks.clone();
        let removed = self.expired(&blocks);
        if removed.is_empty() {
            return Ok(());
        }
        self.publish(&Change { added: Vec::new(), removed, flushed: None, applied: None }).map(drop)
    }

    /// Replaces blocks by one that holds what is not deleted of them, or by none. Returns the bytes of that one; `None`
    /// and nothing is changed when something is deleted from them meanwhile, or a background pass is to end.
    pub(crate) fn merge_blocks(&self, merge: &Merge, pass: Pass) -> Result<Option<u64>> {
        let (inputs, applied) = self.inputs(&merge.blocks)?;
        let unchanged = || applied.agrees(&self.state.read().tombstones, &merge.blocks);
        let lsn_min = inputs.iter().map(|input| input.block.meta().lsn_min).min().unwrap_or(0);
        let lsn_max = inputs.iter().map(|input| input.block.meta().lsn_max).max().unwrap_or(0);
        let mut writer = self.new_block(merge.level, (lsn_min, lsn_max), merge.blocks.clone())?;
        let horizons = self.horizons();
        let mut pace = Pace::new(self, pass);
        let go_on = |written| pace.goes_on(written) && unchanged();
        if !merge::merge_series(&inputs, horizons.as_deref(), &mut writer, go_on)? {
            return Ok(None);
        }
        let (metadata, exemplars) = merge::merge_notes(&inputs, horizons.as_deref())?;
        let mut change =
            Change { added: Vec::new(), removed: merge.blocks.clone(), flushed: None, applied: Some(applied.clone()) };
        if writer.has_samples() || !metadata.is_empty() || !exemplars.is_empty() {
            change.added.push(writer.finish(&metadata, &exemplars)?);
        }
        if self.publish(&change)? {
            let written = change.added.iter().map(|meta| meta.file_bytes).sum();
            let read = inputs.iter().map(|input| input.block.meta().file_bytes).sum();
            Counters::add(&self.counters.compaction_read_bytes, read);
            Counters::add(&self.counters.compaction_written_bytes, written);
            return Ok(Some(written));
        }
        for meta in &change.added {
            let path = block_path(&self.blocks_dir(), meta.id);
            self.disk.unlink(&path).map_err(|error| Error::io("delete a block that came too late", &path, error))?;
        }
        Ok(None)
    }

    /// Opens the blocks anew: a merge reads them from front to back, and must not fill memory with their pages.
    fn inputs(&self, ids: &[BlockId]) -> Result<(Vec<Input>, Arc<Tombstones>)> {
        let state = self.state.read().clone();
        let (db_id, reads) = (self.manifest.lock().db_id, Arc::new(Reads::once(ids.len())));
        let wanted = state.blocks.iter().filter(|block| ids.contains(&block.meta().id));
        let inputs = wanted.map(|block| {
            let deleted = state.tombstones.of(block.meta().id).cloned();
            let block = BlockReader::open(&*self.disk, block.path(), db_id, &reads)?;
            Ok(Input { block, deleted })
        });
        Ok((inputs.collect::<Result<_>>()?, state.tombstones))
    }
}
