//! Which blocks to merge and which to drop: pure functions of the block list.
//!
//! Tiers are windows of 2 h, a day, a week, and all of time. Blocks that lie inside one window of a tier and have not
//! been merged on that tier are merged once there are enough of them, so a sample is written at most once a tier.
//! Blocks that fit no window (backfills, sparse runs) are merged on the last tier by number alone, and its results again,
//! four of a level to one of the next.

use crate::block::BlockId;
use crate::manifest::BlockEntry;

const HOUR_MS: i64 = 3_600_000;

/// Width of each tier's windows; the last tier has one.
const WINDOWS_MS: [Option<i64>; 4] = [Some(2 * HOUR_MS), Some(24 * HOUR_MS), Some(7 * 24 * HOUR_MS), None];

/// Blocks that make a merge worth it.
const MERGE_COUNT: usize = 4;

/// A merged block is not made larger than this.
const MERGE_BYTES_MAX: u64 = 8 << 30;

/// Blocks that are merged at once: bounds what is open and the length of a merge.
const MERGE_COUNT_MAX: usize = 64;

/// A merge to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) blocks: Vec<BlockId>,
    /// Level of the result.
    pub(crate) level: u8,
}

/// The next merge, lowest tier and oldest window first. With `all`, first-level blocks are merged however few.
pub(crate) fn plan(blocks: &[BlockEntry], all: bool) -> Option<Merge> {
    for (tier, window) in WINDOWS_MS.iter().enumerate() {
        let mut candidates: Vec<_> = blocks.iter().filter(|block| usize::from(block.level) <= tier).collect();
        candidates.sort_by_key(|block| (block.min_ms, block.id));
        let key = |block: &BlockEntry| window.map_or(0, |window| block.min_ms.div_euclid(window));
        let fits = |block: &BlockEntry| window.is_none_or(|window| block.max_ms.div_euclid(window) == key(block));
        candidates.retain(|block| fits(block));
        for group in candidates.chunk_by(|left, right| key(left) == key(right)) {
            if let Some(group) = smallest(group) {
                return Some(merge(&group, tier));
            }
        }
    }
    for level in WINDOWS_MS.len() as u8..u8::MAX {
        let group: Vec<_> = blocks.iter().filter(|block| block.level == level).collect();
        if let Some(group) = smallest(&group) {
            return Some(merge(&group, usize::from(level)));
        }
    }
    let mut first: Vec<_> = blocks.iter().filter(|block| all && block.level == 0).collect();
    first.sort_by_key(|block| (block.min_ms, block.id));
    (first.len() > 1).then(|| merge(&first, 0))
}

/// The smallest blocks of a group that may be merged at once, in order of time; `None` when they are too few.
fn smallest<'a>(group: &[&'a BlockEntry]) -> Option<Vec<&'a BlockEntry>> {
    let mut sorted = group.to_vec();
    sorted.sort_by_key(|block| (block.file_bytes, block.id));
    let mut total = 0;
    let fits = |block: &&BlockEntry| {
        total += block.file_bytes;
        total <= MERGE_BYTES_MAX
    };
    let mut taken: Vec<_> = sorted.into_iter().take(MERGE_COUNT_MAX).take_while(fits).collect();
    taken.sort_by_key(|block| (block.min_ms, block.id));
    (taken.len() >= MERGE_COUNT).then_some(taken)
}

fn bytes(group: &[&BlockEntry]) -> u64 {
    group.iter().map(|block| block.file_bytes).sum()
}

fn merge(group: &[&BlockEntry], tier: usize) -> Merge {
    Merge { blocks: group.iter().map(|block| block.id).collect(), level: tier as u8 + 1 }
}

/// The block of which the most is deleted, once that is a tenth of its samples: larger tiers may never merge it again.
pub(crate) fn rewrite(blocks: &[BlockEntry], deleted: impl Fn(BlockId) -> u64) -> Option<Merge> {
    let counted = blocks.iter().map(|block| (deleted(block.id), block));
    let heavy = counted.filter(|(count, block)| *count > 0 && count.saturating_mul(10) >= block.samples);
    let (_, block) = heavy.max_by_key(|(count, block)| (*count, block.id))?;
    Some(Merge { blocks: vec![block.id], level: block.level })
}

/// Blocks that end before the oldest kept time, and the oldest ones while all are larger than a limit.
pub(crate) fn expired(blocks: &[BlockEntry], oldest_ms: i64, bytes_max: Option<u64>) -> Vec<BlockId> {
    let mut kept: Vec<_> = blocks.iter().collect();
    kept.sort_by_key(|block| (block.max_ms, block.id));
    let mut removed = Vec::new();
    removed.extend(kept.extract_if(.., |block| block.samples > 0 && block.max_ms < oldest_ms).map(|block| block.id));
    if let Some(limit) = bytes_max {
        let mut total = bytes(&kept);
        for block in kept {
            if total <= limit {
                break;
            }
            total -= block.file_bytes;
            removed.push(block.id);
        }
    }
    removed
}

#[cfg(test)]
mod tests {

    use super::*;

    fn block(id: u64, level: u8, min_ms: i64, max_ms: i64) -> BlockEntry {
        let (lsn_min, lsn_max, samples, file_bytes, footer_crc) = (0, 0, 1, 100, 0);
        BlockEntry { id: BlockId(id), level, min_ms, max_ms, lsn_min, lsn_max, samples, file_bytes, footer_crc }
    }

    #[test]
    fn four_blocks_of_a_window_are_merged_and_not_again_on_that_tier() {
        let minute = 60_000;
        let mut blocks: Vec<_> =
            (0..3).map(|i| block(i as u64, 0, i * 20 * minute, i * 20 * minute + minute)).collect();
        assert_eq!(plan(&blocks, false), None);
        blocks.push(block(9, 0, 100 * minute, 101 * minute));
        let all = vec![BlockId(0), BlockId(1), BlockId(2), BlockId(9)];
        assert_eq!(plan(&blocks, false), Some(Merge { blocks: all, level: 1 }));
        let merged: Vec<_> = (0..4).map(|i| block(i as u64, 1, i * minute, 2 * HOUR_MS - 1)).collect();
        assert_eq!(plan(&merged, false).map(|merge| merge.level), Some(2));
    }

    #[test]
    fn wide_blocks_are_merged_by_number_and_two_are_enough_on_demand() {
        let year = 365 * 24 * HOUR_MS;
        let wide: Vec<_> = (0..4).map(|i| block(i, 0, 0, year)).collect();
        assert_eq!(plan(&wide, false).map(|merge| merge.level), Some(4));
        assert_eq!(plan(&wide[..2], false), None);
        assert_eq!(plan(&wide[..2], true).map(|merge| merge.blocks.len()), Some(2));
        assert_eq!(plan(&wide[..1], true), None);
    }

    /// A block of nearly the size of a merge once kept all others of its window from being merged.
    #[test]
    fn small_blocks_are_merged_beside_a_huge_one_and_never_too_many() {
        let mut blocks: Vec<_> = (0..6).map(|i| block(i, 0, i as i64, i as i64 + 1)).collect();
        blocks[0].file_bytes = MERGE_BYTES_MAX;
        let merge = plan(&blocks, false).unwrap();
        assert_eq!(merge.blocks, (1..6).map(BlockId).collect::<Vec<_>>());
        let many: Vec<_> = (0..1000).map(|i| block(i, 0, i as i64, i as i64 + 1)).collect();
        assert_eq!(plan(&many, false).unwrap().blocks.len(), MERGE_COUNT_MAX);
    }

    #[test]
    fn a_block_is_written_anew_when_a_tenth_of_it_is_deleted() {
        let blocks: Vec<_> = (0..4).map(|id| BlockEntry { samples: 100, ..block(id, 2, 0, 10) }).collect();
        assert_eq!(rewrite(&blocks, |_| 9), None);
        assert_eq!(rewrite(&blocks, |id| id.0 * 9), Some(Merge { blocks: vec![BlockId(3)], level: 2 }));
        let empty = [BlockEntry { samples: 0, ..blocks[0] }];
        assert_eq!(rewrite(&empty, |_| 0), None);
    }

    #[test]
    fn retention_drops_the_oldest() {
        let blocks: Vec<_> = (0..4).map(|i| block(i, 1, i as i64 * 1000, i as i64 * 1000 + 999)).collect();
        assert_eq!(expired(&blocks, 2000, None), [BlockId(0), BlockId(1)]);
        assert_eq!(expired(&blocks, i64::MIN, Some(250)), [BlockId(0), BlockId(1)]);
        assert_eq!(expired(&blocks, i64::MIN, None), []);
    }
}
