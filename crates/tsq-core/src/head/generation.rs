//! All samples from one flush to the next, per shard, with what is needed to show a reader an earlier moment.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, RwLock};

use super::data::{Counts, HeadSample, Pushed, SeriesData, finish};
use super::index::{SeriesIndex, SeriesRef};
use crate::batch::{Exemplar, Metadata};
use crate::error::{Error, ErrorKind, Result};
use crate::labels::Labels;
use crate::query::Matcher;
use crate::sample::{Kind, Samples, TimeRange};
use crate::wal::BatchRecord;

/// Undo entries a shard keeps for old snapshots (24 bytes each).
const UNDO_ENTRIES_MAX: usize = 1 << 18;

/// A generation: one log generation's samples, or after a restart all that the log held.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) index: Arc<SeriesIndex>,
    shards: Box<[RwLock<GenShard>]>,
    next_log_ref: std::sync::atomic::AtomicU32,
    pub(crate) notes: Mutex<Notes>,
    frozen: OnceLock<Frozen>,
    /// The index may know series that were deleted from the blocks.
    outlived: AtomicBool,
}

/// Where a generation ends in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// Its last record.
    pub(crate) lsn_max: u64,
    /// The first segment of the generation after it.
    pub(crate) next_segment: u64,
}

/// Exemplars and metadata of a generation.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// With the number of the batch they came in.
    pub(crate) exemplars: VecDeque<(u64, Labels, Exemplar)>,
    pub(crate) metadata: std::collections::BTreeMap<String, Metadata>,
}

#[derive(Debug, Default)]
pub(crate) struct GenShard {
    data: Vec<SeriesData>,
    undo: VecDeque<Undo>,
    /// Entries that were dropped from the front of `undo`.
    undone: u64,
    /// Snapshots before this number cannot be served: undo entries they need were dropped.
    expired_lsn: u64,
    /// Whether a sample ever came.
    touched: bool,
}

/// How much of a series was there before a batch.
#[derive(Clone, Copy, Debug)]
struct Undo {
    lsn: u64,
    slot: u32,
    before: Counts,
    /// The batch held the definition of the series.
    defined: bool,
}

/// Number of a batch that is not in the log yet.
const PENDING: u64 = u64::MAX;

impl Generation {
    pub(crate) fn new(index: Arc<SeriesIndex>) -> Self {
        let shards = (0..index.shard_count()).map(|_| RwLock::default()).collect();
        let (notes, frozen, outlived) = Default::default();
        Self { index, shards, next_log_ref: 0.into(), notes, frozen, outlived }
    }

    /// The generation after this one over the same index: empty, but it knows the newest sample of each series.
    /// The caller keeps writers away.
    pub(crate) fn successor(&self) -> Self {
        let next = Self { outlived: self.knows_deleted().into(), ..Self::new(self.index.clone()) };
        for (shard, next_shard) in self.shards.iter().zip(&next.shards) {
            next_shard.write().data = shard.read().data.iter().map(SeriesData::successor).collect();
        }
        next
    }

    /// As [`Generation::successor`], over a new index that only holds the series written in this generation.
    pub(crate) fn successor_without_idle(&self, seed: u64) -> Result<Self> {
        let next = Self::new(Arc::new(SeriesIndex::new(self.index.shard_count(), seed)));
        let mut moved: HashMap<SeriesRef, SeriesRef> = HashMap::new();
        for series in self.all_series() {
            let labels = self.index.labels(series);
            let target = next.index.find_or_create(&labels, self.index.kind(series), usize::MAX)?;
            let data = self.shards[self.index.shard_of(series)].read();
            let newest = data.data[self.index.slot_of(series) as usize].successor();
            drop(data);
            let mut shard = next.shards[next.index.shard_of(target)].write();
            *shard.slot(next.index.slot_of(target)) = newest;
            moved.insert(series, target);
        }
        self.index.for_each_alias(|high, low, series| {
            if let Some(&target) = moved.get(&series) {
                next.index.adopt_alias(high, low, target);
            }
        });
        Ok(next)
    }

    /// Marks the end of the generation: no writer touches it any more.
    pub(crate) fn freeze(&self, frozen: Frozen) {
        self.frozen.set(frozen).expect("a generation ends once");
    }

    /// Where it ends, if it has.
    pub(crate) fn frozen(&self) -> Option<Frozen> {
        self.frozen.get().copied()
    }

    pub(crate) fn shard(&self, number: usize) -> &RwLock<GenShard> {
        &self.shards[number]
    }

    /// Numbers the next series defined in this generation's log.
    pub(crate) fn next_log_ref(&self) -> u32 {
        self.next_log_ref.fetch_add(1, Ordering::Relaxed)
    }

    /// Series with samples in this generation, in no order.
    pub(crate) fn all_series(&self) -> Vec<SeriesRef> {
        let mut series = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            let shard = shard.read();
            let filled = shard.data.iter().enumerate().filter(|(_, data)| !data.is_empty());
            series.extend(filled.map(|(slot, _)| self.index.reference(number, slot as u32)));
        }
        series
    }

    /// Whether no series has samples.
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.read().data.iter().all(SeriesData::is_empty))
            && self.notes.lock().exemplars.is_empty()
            && self.notes.lock().metadata.is_empty()
    }

    /// Series with samples that pass the matchers, in label order.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        let mut series = self.with_samples(matchers);
        self.index.sort(&mut series);
        series
    }

    /// The same in no order. Costs nothing when the generation is empty, however many series the index knows.
    fn with_samples(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        if self.shards.iter().all(|shard| !shard.read().touched) {
            return Vec::new();
        }
        let known = self.index.select(matchers);
        let mut found = Vec::with_capacity(known.len());
        for series in known.chunk_by(|left, right| self.index.shard_of(*left) == self.index.shard_of(*right)) {
            let shard = self.shards[self.index.shard_of(series[0])].read();
            let data = |series: &SeriesRef| shard.data.get(self.index.slot_of(*series) as usize);
            found.extend(series.iter().filter(|series| data(series).is_some_and(|data| !data.is_empty())));
        }
        found
    }

    /// Adds the names of all labels.
    pub(crate) fn label_names(&self, out: &mut BTreeSet<String>) {
        if !self.knows_deleted() {
            return self.index.label_names(out);
        }
        for series in self.all_series() {
            for (name, _) in self.index.labels(series).iter() {
                if !out.contains(name) {
                    out.insert(name.to_owned());
                }
            }
        }
    }

    /// Adds the values of one label.
    pub(crate) fn label_values(&self, name: &str, out: &mut Vec<String>) {
        if !self.knows_deleted() {
            return self.index.label_values(name, out);
        }
        let mut known = HashSet::new();
        for series in self.all_series() {
            let new = |number, value: &str| known.insert(number).then(|| value.to_owned());
            out.extend(self.index.label_value(series, name, new).flatten());
        }
    }

    /// Whether the index may know series that were deleted from the blocks: labels are then read from those that have
    /// samples here, until a flush builds the index anew.
    pub(crate) fn knows_deleted(&self) -> bool {
        self.outlived.load(Ordering::Relaxed)
    }

    /// Series that pass the matchers were deleted from the blocks in a range: their newest samples there may be written
    /// again.
    pub(crate) fn forget(&self, matchers: &[Matcher], range: TimeRange) {
        self.outlived.store(true, Ordering::Relaxed);
        for series in self.index.select(matchers) {
            let mut shard = self.shards[self.index.shard_of(series)].write();
            if let Some(data) = shard.data.get_mut(self.index.slot_of(series) as usize) {
                data.forget(range);
            }
        }
    }

    /// The visible samples of one series inside a range, in order.
    pub(crate) fn read(
        &self,
        series: SeriesRef,
        kind: Kind,
        range: TimeRange,
        lsn: u64,
        view: &mut UndoView,
        out: &mut Samples,
    ) -> Result<()> {
        let number = self.index.shard_of(series);
        let shard = self.shards[number].read();
        let slot = self.index.slot_of(series);
        let Some(data) = shard.data.get(slot as usize) else { return Ok(()) };
        let counts = view.counts(number, &shard, slot, lsn)?.unwrap_or_else(|| data.counts());
        data.read(kind, range, counts, out)?;
        drop(shard);
        finish(kind, range, out);
        Ok(())
    }

    /// Adds the values that series which pass the matchers and have visible samples in a range have for a label, each
    /// once.
    pub(crate) fn values_of(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        lsn: u64,
        out: &mut Vec<String>,
    ) -> Result<()> {
        let (mut known, mut view) = (HashSet::new(), UndoView::default());
        let mut samples = Samples::default();
        for series in self.with_samples(matchers) {
            let new = self.index.label_value(series, name, |number, value| {
                (!known.contains(&number)).then(|| (number, value.to_owned()))
            });
            let Some((number, value)) = new.flatten() else { continue };
            samples.clear();
            self.read(series, self.index.kind(series), range, lsn, &mut view, &mut samples)?;
            if !samples.is_empty() {
                known.insert(number);
                out.push(value);
            }
        }
        Ok(())
    }

    /// Forgets all batches after `lsn`: they could not be logged. The caller keeps writers away.
    pub(crate) fn roll_back(&self, lsn: u64) -> Result<()> {
        for (number, shard) in self.shards.iter().enumerate() {
            let kind = |slot| self.index.kind(self.index.reference(number, slot));
            shard.write().roll_back(lsn, kind)?;
        }
        self.notes.lock().exemplars.retain(|(batch, _, _)| *batch <= lsn);
        Ok(())
    }

    /// Keeps the exemplars and metadata of a batch, within bounds.
    pub(crate) fn keep_notes(&self, lsn: u64, record: &BatchRecord, exemplars_max: usize, metadata_max: usize) {
        let mut notes = self.notes.lock();
        for (labels, exemplar) in &record.exemplars {
            if notes.exemplars.len() >= exemplars_max {
                notes.exemplars.pop_front();
            }
            notes.exemplars.push_back((lsn, labels.clone(), exemplar.clone()));
        }
        for metadata in &record.metadata {
            if notes.metadata.len() < metadata_max || notes.metadata.contains_key(&metadata.metric) {
                notes.metadata.insert(metadata.metric.clone(), metadata.clone());
            }
        }
    }

    /// Heap bytes of the samples, roughly.
    pub(crate) fn memory(&self) -> usize {
        let shard_bytes = |shard: &RwLock<GenShard>| {
            let shard = shard.read();
            let heap: usize = shard.data.iter().map(SeriesData::memory).sum();
            heap + shard.data.capacity() * size_of::<SeriesData>() + shard.undo.capacity() * size_of::<Undo>()
        };
        self.shards.iter().map(shard_bytes).sum()
    }
}

impl GenShard {
    fn slot(&mut self, slot: u32) -> &mut SeriesData {
        let slot = slot as usize;
        if self.data.len() <= slot {
            self.data.resize_with(slot + 1, SeriesData::default);
        }
        &mut self.data[slot]
    }

    /// Takes a sample in invisibly. `define` numbers the series when its definition is not logged yet; the second
    /// result is the number and whether it is new.
    pub(crate) fn push(
        &mut self,
        slot: u32,
        kind: Kind,
        sample: &HeadSample<'_>,
        define: impl FnOnce() -> u32,
    ) -> (Pushed, u32, bool) {
        self.touched = true;
        let data = self.slot(slot);
        let before = data.counts();
        let pushed = data.push(kind, sample);
        if pushed != Pushed::Stored {
            return (pushed, 0, false);
        }
        let defined = data.log_ref == 0;
        if defined {
            data.log_ref = define() + 1;
        }
        let log_ref = data.log_ref - 1;
        self.undo.push_back(Undo { lsn: PENDING, slot, before, defined });
        (pushed, log_ref, defined)
    }

    /// Takes a sample of the log in, visible at once.
    pub(crate) fn replay(&mut self, slot: u32, kind: Kind, sample: &HeadSample<'_>) {
        self.touched = true;
        self.slot(slot).replay(kind, sample);
    }

    /// Gives the samples pushed since the last call their batch number, and drops undo entries that neither a reader
    /// of `oldest_lsn` or later nor a roll back needs.
    pub(crate) fn assign(&mut self, lsn: u64, oldest_lsn: u64) {
        for undo in self.undo.iter_mut().rev().take_while(|undo| undo.lsn == PENDING) {
            undo.lsn = lsn;
        }
        while self.undo.front().is_some_and(|undo| undo.lsn <= oldest_lsn) {
            self.undo.pop_front();
            self.undone += 1;
        }
    }

    /// Drops undo entries beyond the budget, as far as they are committed: snapshots that need them expire.
    pub(crate) fn bound_undo(&mut self, committed_lsn: u64) {
        while self.undo.len() > UNDO_ENTRIES_MAX && self.undo.front().is_some_and(|undo| undo.lsn <= committed_lsn) {
            let undo = self.undo.pop_front().expect("it has a front");
            self.expired_lsn = undo.lsn;
            self.undone += 1;
        }
    }

    fn roll_back(&mut self, lsn: u64, kind: impl Fn(u32) -> Kind) -> Result<()> {
        let mut first: HashMap<u32, (Counts, bool)> = HashMap::new();
        while self.undo.back().is_some_and(|undo| undo.lsn > lsn) {
            let undo = self.undo.pop_back().expect("it has a back");
            let entry = first.entry(undo.slot).or_insert((undo.before, undo.defined));
            *entry = (undo.before, undo.defined || entry.1);
        }
        for (slot, (before, defined)) in first {
            let data = self.slot(slot);
            data.roll_back(kind(slot), before)?;
            if defined {
                data.log_ref = 0;
            }
        }
        Ok(())
    }

    /// Forgets what was pushed since the last [`GenShard::assign`].
    pub(crate) fn abandon(&mut self, kind: impl Fn(u32) -> Kind) -> Result<()> {
        self.roll_back(PENDING - 1, kind)
    }
}

/// A reader's knowledge of which samples are newer than its snapshot, brought up to date at each read.
#[derive(Debug, Default)]
pub(crate) struct UndoView {
    shards: Vec<ShardView>,
}

#[derive(Debug, Default)]
struct ShardView {
    /// Undo entries looked at so far, dropped ones included.
    seen: u64,
    first: HashMap<u32, Counts>,
}

impl UndoView {
    /// What a reader of `lsn` sees of a series, or `None` if everything. Amortised O(1) per undo entry.
    fn counts(&mut self, number: usize, shard: &GenShard, slot: u32, lsn: u64) -> Result<Option<Counts>> {
        if shard.expired_lsn > lsn {
            let message = "the snapshot is older than what the head can still undo: take a new one";
            return Err(Error::new(ErrorKind::SnapshotExpired, message));
        }
        if self.shards.len() <= number {
            self.shards.resize_with(number + 1, ShardView::default);
        }
        let view = &mut self.shards[number];
        let skip = view.seen.saturating_sub(shard.undone) as usize;
        for undo in shard.undo.range(skip..).filter(|undo| undo.lsn > lsn) {
            view.first.entry(undo.slot).or_insert(undo.before);
        }
        view.seen = shard.undone + shard.undo.len() as u64;
        Ok(view.first.get(&slot).copied())
    }
}
