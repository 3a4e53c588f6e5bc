//! What is deleted of each block: tombstones, applied by every reader at once and dropped when compaction rewrites the
//! block without the samples.
//!
//! A tombstone names series by their numbers in an immutable block, so it covers what was stored when it was made and
//! nothing that is written later. All tombstones of a database lie in one file (`file`), which the manifest refers to:
//! replacing the manifest publishes a delete as a whole.

mod file;
mod intervals;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::block::BlockId;
use crate::error::{Error, Result};

pub(crate) use file::{TombstonesRef, file_name, newest, number_of, read, write};
pub(crate) use intervals::Intervals;

/// Runs, intervals and metadata entries of all blocks together. Bounds memory and the file.
const ENTRIES_MAX: usize = 1 << 22;

/// The tombstones of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones(BTreeMap<BlockId, Arc<BlockTombstones>>);

impl Tombstones {
    /// Those of one block.
    pub(crate) fn of(&self, block: BlockId) -> Option<&Arc<BlockTombstones>> {
        self.0.get(&block)
    }

    pub(crate) fn set(&mut self, block: BlockId, tombstones: Arc<BlockTombstones>) {
        self.0.insert(block, tombstones);
    }

    /// These without those of some blocks; `None` when that changes nothing.
    pub(crate) fn without(&self, blocks: &[BlockId]) -> Option<Self> {
        if blocks.iter().all(|block| self.of(*block).is_none()) {
            return None;
        }
        let mut left = self.clone();
        left.0.retain(|block, _| !blocks.contains(block));
        Some(left)
    }

    /// Whether two say the same of some blocks, as far as one was made from the other.
    pub(crate) fn agrees(&self, other: &Self, blocks: &[BlockId]) -> bool {
        let same = |block: &BlockId| match (self.of(*block), other.of(*block)) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        blocks.iter().all(same)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Blocks with tombstones, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BlockId, &Arc<BlockTombstones>)> {
        self.0.iter().map(|(id, tombstones)| (*id, tombstones))
    }

    /// # Errors
    /// `LimitExceeded` when they are more than memory and the file may hold.
    pub(crate) fn check_bounds(&self) -> Result<()> {
        let entries: usize = self.0.values().map(|block| block.entries()).sum();
        if entries > ENTRIES_MAX {
            let message = format!(
                "the delete needs {entries} tombstones, {ENTRIES_MAX} are allowed: clean the tombstones that there are, \
                 or delete a shorter time at once"
            );
            return Err(Error::limit(message));
        }
        Ok(())
    }
}

/// What is deleted of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockTombstones {
    /// Deleted samples, each counted once.
    samples: u64,
    /// Distinct lists of deleted times; most deletes add one or two.
    lists: Vec<Arc<Intervals>>,
    /// Which list applies to which series of the block.
    series: Runs,
    /// Which list applies to which entry of the section of exemplars.
    exemplars: Runs,
    /// Deleted entries of the section of metadata, ascending.
    metadata: Vec<u32>,
}

impl BlockTombstones {
    /// Deleted times of a series; `None` when all of it is there.
    pub(crate) fn series(&self, number: u32) -> Option<&Arc<Intervals>> {
        self.series.find(number).map(|list| &self.lists[list as usize])
    }

    /// Whether every sample of a series is deleted.
    pub(crate) fn is_gone(&self, series: u32) -> bool {
        self.series(series).is_some_and(|times| times.is_all())
    }

    /// Deleted times of an entry of the section of exemplars.
    pub(crate) fn exemplars(&self, entry: usize) -> Option<&Arc<Intervals>> {
        let list = self.exemplars.find(u32::try_from(entry).ok()?);
        list.map(|list| &self.lists[list as usize])
    }

    /// Whether an entry of the section of metadata is deleted.
    pub(crate) fn has_metadata(&self, entry: usize) -> bool {
        u32::try_from(entry).is_ok_and(|entry| self.metadata.binary_search(&entry).is_ok())
    }

    /// Deleted samples, each counted once.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Series with a deleted sample.
    pub(crate) fn series_count(&self) -> u64 {
        self.series.0.iter().map(|run| u64::from(run.last - run.first) + 1).sum()
    }

    /// One more than the greatest numbers of a series, an entry of exemplars and an entry of metadata.
    pub(crate) fn ends(&self) -> [u64; 3] {
        let end = |runs: &Runs| runs.0.last().map_or(0, |run| u64::from(run.last) + 1);
        let metadata = self.metadata.last().map_or(0, |last| u64::from(*last) + 1);
        [end(&self.series), end(&self.exemplars), metadata]
    }

    fn entries(&self) -> usize {
        let intervals: usize = self.lists.iter().map(|list| list.len()).sum();
        self.series.0.len() + self.exemplars.0.len() + self.metadata.len() + intervals
    }

    /// These tombstones and what a delete adds to them.
    pub(crate) fn with(&self, added: &Additions) -> Self {
        let mut lists = Lists::default();
        let series = self.series.overlay(&self.lists, &added.series, &mut lists);
        let exemplars = self.exemplars.overlay(&self.lists, &added.exemplars, &mut lists);
        let mut metadata = [self.metadata.as_slice(), &added.metadata].concat();
        metadata.sort_unstable();
        metadata.dedup();
        Self { samples: self.samples + added.samples, lists: lists.lists, series, exemplars, metadata }
    }
}

/// What one delete adds to the tombstones of a block. Numbers are ascending; a list replaces the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Additions {
    pub(crate) samples: u64,
    pub(crate) series: Vec<(u32, Intervals)>,
    pub(crate) exemplars: Vec<(u32, Intervals)>,
    pub(crate) metadata: Vec<u32>,
}

impl Additions {
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.exemplars.is_empty() && self.metadata.is_empty()
    }
}

/// Numbers from `first` to `last` that have the same list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    last: u32,
    list: u32,
}

/// Ascending, disjoint runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Runs(Vec<Run>);

impl Runs {
    fn find(&self, number: u32) -> Option<u32> {
        let run = self.0.get(self.0.partition_point(|run| run.last < number))?;
        (run.first <= number).then_some(run.list)
    }

    fn push(&mut self, first: u32, last: u32, list: u32) {
        match self.0.last_mut() {
            Some(run) if run.list == list && run.last + 1 == first => run.last = last,
            _ => self.0.push(Run { first, last, list }),
        }
    }

    /// These runs with some numbers' lists replaced; `lists` gathers the lists that are used.
    fn overlay(&self, old: &[Arc<Intervals>], changes: &[(u32, Intervals)], lists: &mut Lists) -> Self {
        let mut out = Self::default();
        let mut changes = changes.iter().peekable();
        for run in &self.0 {
            while let Some((number, times)) = changes.next_if(|(number, _)| *number < run.first) {
                out.push(*number, *number, lists.number(times));
            }
            let times_before = &old[run.list as usize];
            let mut first = run.first;
            while let Some((number, times)) = changes.next_if(|(number, _)| *number <= run.last) {
                if first < *number {
                    out.push(first, number - 1, lists.number(times_before));
                }
                out.push(*number, *number, lists.number(times));
                first = number + 1;
            }
            if first <= run.last {
                out.push(first, run.last, lists.number(times_before));
            }
        }
        for (number, times) in changes {
            out.push(*number, *number, lists.number(times));
        }
        out
    }
}

/// Numbers lists, equal ones alike.
#[derive(Default)]
struct Lists {
    lists: Vec<Arc<Intervals>>,
    known: HashMap<Arc<Intervals>, u32>,
}

impl Lists {
    fn number(&mut self, times: &Intervals) -> u32 {
        if let Some(number) = self.known.get(times) {
            return *number;
        }
        let times = Arc::new(times.clone());
        let number = u32::try_from(self.lists.len()).expect("fewer lists than series, which are fewer than 2^32");
        self.lists.push(Arc::clone(&times));
        self.known.insert(times, number);
        number
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sample::TimeRange;

    fn times(min_ms: i64, max_ms: i64) -> Intervals {
        let mut times = Intervals::default();
        times.add(TimeRange::new(min_ms, max_ms));
        times
    }

    /// Tombstones of two blocks with runs, several lists, exemplars and metadata.
    pub(crate) fn example() -> Tombstones {
        let mut several = times(-5, 9);
        several.add(TimeRange::new(i64::MAX - 3, i64::MAX));
        let added = Additions {
            samples: 1000,
            series: vec![(0, times(1, 2)), (1, times(1, 2)), (2, Intervals::all()), (70_000, several)],
            exemplars: vec![(3, times(0, 0)), (4, times(0, 0))],
            metadata: vec![7, 9],
        };
        let first = BlockTombstones::default().with(&added);
        let more = Additions { samples: 2, series: vec![(1, Intervals::all())], ..Additions::default() };
        let mut tombstones = Tombstones::default();
        tombstones.set(BlockId(12), Arc::new(first.with(&more)));
        tombstones.set(BlockId(7), Arc::new(first));
        tombstones
    }

    #[test]
    fn unused_lists_leave_and_neighbours_share_runs() {
        let add = |numbers: &[u32], list: Intervals| Additions {
            series: numbers.iter().map(|number| (*number, list.clone())).collect(),
            ..Additions::default()
        };
        let first = BlockTombstones::default().with(&add(&[1, 2, 3, 4, 9], times(0, 5)));
        assert_eq!((first.series.0.len(), first.lists.len(), first.series_count()), (2, 1, 5));
        let second = first.with(&add(&[2, 3], Intervals::all()));
        assert_eq!((second.series.0.len(), second.lists.len()), (4, 2));
        assert!(second.is_gone(3) && !second.is_gone(4) && second.series(5).is_none());
        let third = second.with(&add(&[1, 4, 9], Intervals::all()));
        assert_eq!((third.series.0.len(), third.lists.len()), (2, 1));
        assert_eq!(third.ends(), [10, 0, 0]);
    }

    proptest! {
        /// Runs say of every number what a plain map says.
        #[test]
        fn runs_are_a_map(rounds in prop::collection::vec(prop::collection::btree_map(0_u32..40, 0_i64..3, 0..20), 1..6)) {
            let mut model: BTreeMap<u32, Intervals> = BTreeMap::new();
            let mut block = BlockTombstones::default();
            for round in rounds {
                let series: Vec<_> = round.into_iter().map(|(number, list)| (number, times(list, list))).collect();
                model.extend(series.iter().cloned());
                block = block.with(&Additions { series, ..Additions::default() });
            }
            for number in 0..41 {
                prop_assert_eq!(block.series(number).map(|list| (**list).clone()), model.get(&number).cloned());
            }
            prop_assert_eq!(block.series_count(), model.len() as u64);
        }
    }
}
