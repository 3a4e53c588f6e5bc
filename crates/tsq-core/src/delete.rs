//! Deletes: tombstones for what is stored now, and the rewriting of blocks without what was deleted.
//!
//! A delete flushes first, so that everything written before it lies in blocks; then one new file of tombstones and one
//! new manifest publish it as a whole. What is written later lies in later blocks, which the tombstones do not name.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::block::{BlockId, BlockReader, ChunkMeta, SeriesReader};
use crate::error::{Error, Result};
use crate::labels::METRIC_NAME;
use crate::query::{Matcher, all_match};
use crate::sample::{Samples, TimeRange};
use crate::store::{Counters, State, Store};
use crate::tombstones::{Additions, BlockTombstones, Intervals, Tombstones};

/// What a delete took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Label sets that lost a sample.
    pub series: u64,
    /// Samples, as they are stored: one that lies in two blocks counts twice.
    pub samples: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Blocks that hold any of them.
    pub blocks: u64,
}

/// What cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Blocks that were written anew or dropped.
    pub blocks: u64,
    /// Deleted samples whose bytes are gone.
    pub samples: u64,
    /// Bytes of those blocks before.
    pub bytes_before: u64,
    /// Bytes of what stands in their place.
    pub bytes_after: u64,
}

/// Endings of the names of series that belong to one metric.
const SERIES_SUFFIXES: [&str; 6] = ["", "_bucket", "_count", "_sum", "_total", "_created"];

impl Store {
    pub(crate) fn delete(&self, matchers: &[Matcher], range: TimeRange) -> Result<Deleted> {
        if range.min_ms > range.max_ms {
            let message = format!("the range ends at {} ms, before it begins at {} ms", range.max_ms, range.min_ms);
            return Err(Error::invalid(message));
        }
        self.flush()?;
        // Nobody changes the list of blocks or the tombstones meanwhile.
        let mut manifest = self.manifest.lock();
        let state = self.state.read().clone();
        let mut plan = Plan::default();
        for block in state.blocks.iter() {
            plan.add_block(block, state.tombstones.of(block.meta().id), matchers, range)?;
        }
        plan.deleted.blocks = plan.additions.len() as u64;
        plan.deleted.series = plan.series.len() as u64;
        if plan.additions.is_empty() {
            return Ok(plan.deleted);
        }
        let dead = plan.add_metadata(&state)?;
        let tombstones = plan.apply(&state.tombstones);
        tombstones.check_bounds()?;
        self.publish_tombstones(&mut manifest, tombstones)?;
        let mut state = self.state.write();
        for generation in &state.generations {
            generation.forget(matchers, range);
        }
        if !dead.is_empty()
            && let Some(known) = Arc::make_mut(&mut state.known_metadata).get_mut()
        {
            known.by_metric.retain(|metric, _| !dead.contains(metric));
        }
        Counters::add(&self.counters.deletes, 1);
        Ok(plan.deleted)
    }

    /// Writes every block that has tombstones now anew without what they delete, and deletes the old files.
    pub(crate) fn clean_tombstones(&self) -> Result<Cleaned> {
        self.flush()?;
        let _one = self.compacting.lock();
        let mut cleaned = Cleaned::default();
        let blocks = self.manifest.lock().blocks.clone();
        for entry in blocks {
            if self.state.read().tombstones.of(entry.id).is_some() {
                self.clean_block(entry.id, entry.level, &mut cleaned)?;
            }
        }
        self.delete_leftovers()?;
        Ok(cleaned)
    }

    fn clean_block(&self, id: BlockId, level: u8, cleaned: &mut Cleaned) -> Result<()> {
        let merge = crate::compact::Merge { blocks: vec![id], level };
        loop {
            let state = self.state.read().clone();
            let samples = state.tombstones.of(id).map_or(0, |deleted| deleted.samples());
            let before = state.blocks.iter().find(|block| block.meta().id == id).map_or(0, |b| b.meta().file_bytes);
            // A delete in the same block meanwhile is applied too.
            if let Some(after) = self.merge_blocks(&merge, crate::compact::Pass::Asked)? {
                cleaned.blocks += 1;
                cleaned.samples += samples;
                cleaned.bytes_before += before;
                cleaned.bytes_after += after;
                return Ok(());
            }
        }
    }

    /// Deletes what earlier publications could not.
    ///
    /// # Errors
    /// `Io` when a file of removed blocks or flushed log segments cannot be deleted now either.
    fn delete_leftovers(&self) -> Result<()> {
        let mut manifest = self.manifest.lock();
        self.delete_removed(&mut manifest);
        if let Some(id) = manifest.removed.first() {
            let path = crate::store::block_path(&self.blocks_dir(), *id);
            let refused = std::io::Error::other("the file of a replaced block is still there");
            return Err(Error::io("delete the file", &path, refused));
        }
        let first_segment = manifest.first_segment;
        drop(manifest);
        self.wal()?.delete_below(first_segment)
    }
}

/// What a delete is going to do.
#[derive(Debug, Default)]
struct Plan {
    additions: BTreeMap<BlockId, Additions>,
    deleted: Deleted,
    /// Hashes of the label sets that lose a sample.
    series: HashSet<u64>,
    /// Names of series that a block loses wholly.
    names: BTreeSet<String>,
}

impl Plan {
    fn add_block(
        &mut self,
        block: &BlockReader,
        old: Option<&Arc<BlockTombstones>>,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<()> {
        let mut additions = Additions::default();
        let mut reader = block.series_reader()?;
        let overlaps = block.meta().samples > 0 && range.overlaps(&block.meta().time_range());
        let selected = if overlaps { block.select(matchers)? } else { Vec::new() };
        for series in selected {
            let known = old.and_then(|old| old.series(series));
            if known.is_none_or(|known| !known.is_all())
                && let Some((times, samples)) = delete_in_series(block, &mut reader, series, known, range)?
            {
                let labels = reader.labels(series)?;
                if times.is_all() && !self.names.contains(labels.metric_name()) {
                    self.names.insert(labels.metric_name().to_owned());
                }
                self.series.insert(xxh3_64(labels.as_bytes()));
                additions.samples += samples;
                additions.series.push((series, times));
            }
        }
        for (entry, (labels, list)) in block.exemplars()?.into_iter().enumerate() {
            let known = old.and_then(|old| old.exemplars(entry));
            let is_new = |time_ms: i64| range.contains(time_ms) && known.is_none_or(|known| !known.contains(time_ms));
            let count = list.iter().filter(|exemplar| is_new(exemplar.time_ms)).count();
            if count > 0 && all_match(matchers, &labels) {
                let mut times = known.map_or_else(Intervals::default, |known| (**known).clone());
                times.add(range);
                self.deleted.exemplars += count as u64;
                additions.exemplars.push((entry as u32, times));
            }
        }
        self.deleted.samples += additions.samples;
        if !additions.is_empty() {
            self.additions.insert(block.meta().id, additions);
        }
        Ok(())
    }

    /// Deletes what is known about metrics that lose their last series. Returns their names.
    fn add_metadata(&mut self, state: &State) -> Result<BTreeSet<String>> {
        let after = self.apply(&state.tombstones);
        let mut dead = BTreeSet::new();
        for name in &self.names {
            for metric in SERIES_SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix)) {
                if state.metadata().by_metric.contains_key(metric)
                    && !dead.contains(metric)
                    && !has_series(state, &after, metric)?
                {
                    dead.insert(metric.to_owned());
                }
            }
        }
        if dead.is_empty() {
            return Ok(dead);
        }
        for block in state.blocks.iter() {
            let known = block.metadata()?;
            let entries = known.iter().enumerate().filter(|(_, known)| dead.contains(&known.metric));
            let entries: Vec<u32> = entries.map(|(entry, _)| entry as u32).collect();
            if !entries.is_empty() {
                self.additions.entry(block.meta().id).or_default().metadata = entries;
            }
        }
        Ok(dead)
    }

    /// All tombstones after the delete.
    fn apply(&self, old: &Tombstones) -> Tombstones {
        let mut tombstones = old.clone();
        for (id, additions) in &self.additions {
            let known = old.of(*id).map_or_else(Arc::default, Arc::clone);
            tombstones.set(*id, Arc::new(known.with(additions)));
        }
        tombstones
    }
}

/// Whether any series of a metric is left.
fn has_series(state: &State, tombstones: &Tombstones, metric: &str) -> Result<bool> {
    for suffix in SERIES_SUFFIXES {
        let matchers = [Matcher::equal(METRIC_NAME, format!("{metric}{suffix}"))];
        if state.generations.iter().any(|generation| !generation.select(&matchers).is_empty()) {
            return Ok(true);
        }
        for block in state.blocks.iter() {
            let deleted = tombstones.of(block.meta().id);
            let is_left = |series: &u32| deleted.is_none_or(|deleted| !deleted.is_gone(*series));
            if block.select(&matchers)?.iter().any(is_left) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Deleted times of a series after a delete and how many samples that adds; `None` when it adds none.
fn delete_in_series(
    block: &BlockReader,
    reader: &mut SeriesReader<'_>,
    series: u32,
    known: Option<&Arc<Intervals>>,
    range: TimeRange,
) -> Result<Option<(Intervals, u64)>> {
    let before = known.map_or_else(Intervals::default, |known| (**known).clone());
    let mut after = before.clone();
    after.add(range);
    let mut chunks = Vec::new();
    reader.chunks(series, &mut chunks)?;
    let mut added = 0;
    for chunk in chunks.iter().filter(|chunk| range.overlaps(&chunk.time_range())) {
        added += count(block, chunk, &after)? - count(block, chunk, &before)?;
    }
    if added == 0 {
        return Ok(None);
    }
    for chunk in &chunks {
        if count(block, chunk, &after)? < u64::from(chunk.count) {
            return Ok(Some((after, added)));
        }
    }
    Ok(Some((Intervals::all(), added)))
}

/// Samples of a chunk at deleted times. Reads the chunk's times only where they may be on both sides.
fn count(block: &BlockReader, chunk: &ChunkMeta, deleted: &Intervals) -> Result<u64> {
    if !deleted.overlaps(chunk.time_range()) {
        return Ok(0);
    }
    if deleted.covers(chunk.time_range()) {
        return Ok(u64::from(chunk.count));
    }
    let mut samples = Samples::default();
    block.read_axes(chunk, &mut samples)?;
    Ok(samples.times.iter().filter(|time_ms| deleted.contains(**time_ms)).count() as u64)
}
