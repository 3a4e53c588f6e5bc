//! Sizes and counts of an open database.

use std::sync::atomic::Ordering;

use crate::batch::RejectReason;
use crate::store::Store;

/// Sizes and counts of an open database. Counts begin at opening.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Series in the head, kinds apart.
    pub head_series: u64,
    /// Bytes of the head's samples, roughly.
    pub head_sample_bytes: u64,
    /// Bytes of the head's series: labels, lookup, postings, roughly.
    pub head_index_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of their files.
    pub block_bytes: u64,
    /// Samples in blocks, before merging.
    pub block_samples: u64,
    /// Samples in blocks that are deleted and not purged yet.
    pub deleted_samples: u64,
    /// Blocks with tombstones.
    pub tombstone_blocks: u64,
    /// Bytes of all log segments.
    pub log_bytes: u64,
    /// Batches stored.
    pub batches: u64,
    /// Samples stored, exact repetitions among them.
    pub samples: u64,
    /// Exact repetitions of the newest sample.
    pub repeated: u64,
    /// Refused samples by reason.
    pub rejected: Vec<(RejectReason, u64)>,
    /// Writes refused for lack of space.
    pub storage_full: u64,
    /// Flushes.
    pub flushes: u64,
    /// Flushes that failed and will be tried again.
    pub flush_failures: u64,
    /// Merges of blocks.
    pub compactions: u64,
    /// Compactions that failed and will be tried again.
    pub compaction_failures: u64,
    /// Bytes of the blocks that merges replaced.
    pub compaction_read_bytes: u64,
    /// Bytes of the blocks that merges wrote.
    pub compaction_written_bytes: u64,
    /// Deletes that deleted something.
    pub deletes: u64,
    /// Bytes of all blocks written by flushes, imports and merges.
    pub blocks_written_bytes: u64,
    /// Bytes of a torn log tail cut at opening.
    pub torn_tail_bytes: u64,
    /// Damaged things found at opening.
    pub damaged: u64,
    /// Whether writes are refused for good (damage, failed fsync).
    pub read_only: bool,
}

impl Stats {
    /// How often bytes of blocks were written since opening, the first time included: all that was written by what
    /// flushes and imports wrote. The log is not counted. `None` before the first flush.
    pub fn write_amplification(&self) -> Option<f64> {
        let first = self.blocks_written_bytes.saturating_sub(self.compaction_written_bytes);
        (first > 0).then(|| self.blocks_written_bytes as f64 / first as f64)
    }

    pub(crate) fn of(store: &Store) -> Self {
        let state = store.state.read().clone();
        let counters = &store.counters;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let rejected = RejectReason::ALL.into_iter().zip(counters.rejected.iter().map(get)).collect();
        Self {
            head_series: state.active().index.len() as u64,
            head_sample_bytes: state.generations.iter().map(|generation| generation.memory() as u64).sum(),
            head_index_bytes: state.active().index.memory() as u64,
            blocks: state.blocks.len() as u64,
            block_bytes: state.blocks.iter().map(|block| block.meta().file_bytes).sum(),
            block_samples: state.blocks.iter().map(|block| block.meta().samples).sum(),
            deleted_samples: state.tombstones.iter().map(|(_, deleted)| deleted.samples()).sum(),
            tombstone_blocks: state.tombstones.iter().count() as u64,
            log_bytes: store.wal.as_ref().map_or(0, crate::wal::Wal::total_bytes),
            batches: get(&counters.batches),
            samples: get(&counters.samples),
            repeated: get(&counters.repeated),
            rejected,
            storage_full: get(&counters.storage_full),
            flushes: get(&counters.flushes),
            flush_failures: get(&counters.flush_failures),
            compactions: get(&counters.compactions),
            compaction_failures: get(&counters.compaction_failures),
            compaction_read_bytes: get(&counters.compaction_read_bytes),
            compaction_written_bytes: get(&counters.compaction_written_bytes),
            deletes: get(&counters.deletes),
            blocks_written_bytes: get(&counters.blocks_written_bytes),
            torn_tail_bytes: get(&counters.torn_tail_bytes),
            damaged: get(&counters.damaged),
            read_only: store.read_only.read().is_some(),
        }
    }
}
