//! Compaction: merging blocks into fewer, larger ones, and dropping what retention no longer keeps.

mod merge;
mod plan;

use std::sync::Arc;

use crate::block::{BlockId, BlockReader};
use crate::error::Result;
use crate::flush::Change;
use crate::store::{Counters, Store};

pub(crate) use plan::{Merge, expired, plan};

impl Store {
    /// Applies retention, then merges blocks until no rule asks for a merge. With `all`, first-level blocks are merged
    /// whatever the rules say.
    pub(crate) fn compact(&self, all: bool) -> Result<()> {
        let _one = self.compacting.lock();
        let result = self.compact_locked(all);
        if result.is_err() {
            Counters::add(&self.counters.compaction_failures, 1);
        }
        result
    }

    fn compact_locked(&self, all: bool) -> Result<()> {
        self.wal()?;
        self.apply_retention()?;
        loop {
            let blocks = self.manifest.lock().blocks.clone();
            let Some(merge) = plan(&blocks, all) else { return Ok(()) };
            self.merge_blocks(&merge)?;
            Counters::add(&self.counters.compactions, 1);
        }
    }

    /// Whether a rule asks for work.
    pub(crate) fn wants_compaction(&self) -> bool {
        let blocks = self.manifest.lock().blocks.clone();
        plan(&blocks, false).is_some() || !expired(&blocks, &self.options, self.clock.now_ms()).is_empty()
    }

    fn apply_retention(&self) -> Result<()> {
        let blocks = self.manifest.lock().blocks.clone();
        let removed = expired(&blocks, &self.options, self.clock.now_ms());
        if removed.is_empty() {
            return Ok(());
        }
        self.publish(&Change { added: Vec::new(), removed, flushed: None })
    }

    fn merge_blocks(&self, merge: &Merge) -> Result<()> {
        let inputs = self.readers(&merge.blocks);
        let lsn_min = inputs.iter().map(|block| block.meta().lsn_min).min().unwrap_or(0);
        let lsn_max = inputs.iter().map(|block| block.meta().lsn_max).max().unwrap_or(0);
        let mut writer = self.new_block(merge.level, (lsn_min, lsn_max), merge.blocks.clone())?;
        merge::merge_series(&inputs, &mut writer)?;
        let (metadata, exemplars) = merge::merge_notes(&inputs)?;
        let meta = writer.finish(&metadata, &exemplars)?;
        self.publish(&Change { added: vec![meta], removed: merge.blocks.clone(), flushed: None })
    }

    fn readers(&self, ids: &[BlockId]) -> Vec<Arc<BlockReader>> {
        let state = self.state.read();
        state.blocks.iter().filter(|block| ids.contains(&block.meta().id)).cloned().collect()
    }
}
