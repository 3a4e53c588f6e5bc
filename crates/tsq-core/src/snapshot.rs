//! A consistent view of the database: a list of blocks, the head's generations, and the newest visible batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::batch::{Exemplar, Metadata};
use crate::block::{BlockReader, ChunkMeta, SeriesReader};
use crate::error::{Error, Result};
use crate::head::{Generation, SeriesRef, UndoView};
use crate::labels::Labels;
use crate::query::{Matcher, SeriesStream, Source, all_match};
use crate::retention::{self, Horizons};
use crate::sample::{Kind, Samples, TimeRange};
use crate::series::{Part, Series};
use crate::store::{Pin, State};
use crate::tombstones::{BlockTombstones, Intervals};

/// Everything acknowledged up to one moment; later writes, flushes, compactions and retention do not change it.
///
/// Cheap to make and to clone. Holds memory and mapped files alive: drop it when done.
#[derive(Clone, Debug)]
pub struct Snapshot {
    state: State,
    horizons: Option<Arc<Horizons>>,
    lsn: u64,
    _pin: Option<Arc<Pin>>,
}

impl Snapshot {
    pub(crate) fn new(state: State, horizons: Option<Arc<Horizons>>, lsn: u64, pin: Option<Arc<Pin>>) -> Self {
        Self { state, horizons, lsn, _pin: pin }
    }

    /// What is left of a range by the retention of any series; `None` for nothing.
    fn kept(&self, range: TimeRange) -> Option<TimeRange> {
        self.horizons.as_ref().map_or(Some(range), |horizons| horizons.clip_all(range))
    }

    /// The retention, where samples from `min_ms` on may have expired.
    fn horizons_at(&self, min_ms: i64) -> Option<&Horizons> {
        self.horizons.as_deref().filter(|horizons| min_ms < horizons.newest_ms())
    }

    fn blocks(&self, range: TimeRange) -> impl Iterator<Item = &Arc<BlockReader>> {
        let overlaps = move |block: &&Arc<BlockReader>| {
            let meta = block.meta();
            meta.samples > 0 && range.overlaps(&TimeRange::new(meta.min_ms, meta.max_ms))
        };
        self.state.blocks.iter().filter(overlaps)
    }

    fn deleted(&self, block: &BlockReader) -> Option<&BlockTombstones> {
        self.state.tombstones.of(block.meta().id).map(|deleted| &**deleted)
    }

    /// Series of a block that pass the matchers and are not wholly deleted.
    fn select_left(&self, block: &BlockReader, matchers: &[Matcher]) -> Result<Vec<u32>> {
        let mut series = block.select(matchers)?;
        if let Some(deleted) = self.deleted(block) {
            series.retain(|series| !deleted.is_gone(*series));
        }
        Ok(series)
    }

    /// As [`Snapshot::select_left`], without those of which everything in a range is deleted or has expired.
    fn select_in(&self, block: &BlockReader, matchers: &[Matcher], range: TimeRange) -> Result<Vec<u32>> {
        let mut series = self.select_left(block, matchers)?;
        let min_ms = block.meta().min_ms.max(range.min_ms);
        let (deleted, horizons) = (self.deleted(block), self.horizons_at(min_ms));
        if deleted.is_none() && horizons.is_none() {
            return Ok(series);
        }
        let (mut reader, mut chunks, mut kept) = (block.series_reader()?, Vec::new(), 0);
        for at in 0..series.len() {
            let times = deleted.and_then(|deleted| deleted.series(series[at]));
            let times = match horizons {
                Some(horizons) => horizons.gone(&reader.labels(series[at])?, min_ms, times),
                None => times.cloned(),
            };
            chunks.clear();
            if let Some(times) = &times {
                reader.chunks_in(series[at], range, &mut chunks)?;
                drop_deleted(&mut chunks, times, range);
            }
            if times.is_none() || !chunks.is_empty() {
                series[kept] = series[at];
                kept += 1;
            }
        }
        series.truncate(kept);
        Ok(series)
    }

    fn stream(&self, matchers: &[Matcher], range: TimeRange) -> Result<Stream<'_>> {
        let mut cursors = Vec::new();
        let Some(range) = self.kept(range) else {
            return Ok(Stream { cursors, heads: Vec::new(), range, horizons: None });
        };
        self.state.check_whole(range)?;
        for block in self.blocks(range) {
            let (reader, series) = (Box::new(block.series_reader()?), self.select_left(block, matchers)?.into_iter());
            let min_ms = block.meta().min_ms.max(range.min_ms);
            let (deleted, horizons) = (self.deleted(block), self.horizons_at(min_ms));
            cursors.push(Cursor::Block { block, reader, series, deleted, horizons });
        }
        for generation in &self.state.generations {
            let series = generation.select(matchers).into_iter();
            cursors.push(Cursor::Head { generation, series, view: UndoView::default(), lsn: self.lsn });
        }
        let heads = cursors.iter().map(|_| None).collect();
        let mut stream = Stream { cursors, heads, range, horizons: self.horizons_at(range.min_ms) };
        for number in 0..stream.cursors.len() {
            stream.advance(number)?;
        }
        Ok(stream)
    }
}

/// Series of one place in label order; one label set may come several times, once a kind.
enum Cursor<'a> {
    Block {
        block: &'a Arc<BlockReader>,
        reader: Box<SeriesReader<'a>>,
        series: std::vec::IntoIter<u32>,
        deleted: Option<&'a BlockTombstones>,
        /// The retention, where samples of the block may have expired.
        horizons: Option<&'a Horizons>,
    },
    Head {
        generation: &'a Arc<Generation>,
        series: std::vec::IntoIter<SeriesRef>,
        view: UndoView,
        lsn: u64,
    },
}

enum Found {
    /// Its chunks in the range, at least one, and its deleted and expired times.
    Block(Vec<ChunkMeta>, Option<Arc<Intervals>>),
    Head(SeriesRef),
}

struct Stream<'a> {
    cursors: Vec<Cursor<'a>>,
    /// The next series of each cursor.
    heads: Vec<Option<(Labels, Found)>>,
    range: TimeRange,
    /// The retention, where samples in the range may have expired.
    horizons: Option<&'a Horizons>,
}

impl Stream<'_> {
    fn advance(&mut self, number: usize) -> Result<()> {
        self.heads[number] = match &mut self.cursors[number] {
            Cursor::Block { reader, series, deleted, horizons, .. } => {
                let mut chunks = Vec::new();
                loop {
                    let Some(id) = series.next() else { break None };
                    reader.chunks_in(id, self.range, &mut chunks)?;
                    let Some(min_ms) = chunks.iter().map(|chunk| chunk.min_ms).min() else { continue };
                    let deleted = deleted.and_then(|deleted| deleted.series(id));
                    let labels = reader.labels(id)?;
                    let gone = retention::gone(*horizons, &labels, min_ms, deleted);
                    if let Some(gone) = &gone {
                        drop_deleted(&mut chunks, gone, self.range);
                    }
                    if !chunks.is_empty() {
                        break Some((labels, Found::Block(chunks, gone)));
                    }
                }
            }
            Cursor::Head { generation, series, .. } => {
                series.next().map(|series| (generation.index.labels(series), Found::Head(series)))
            }
        };
        Ok(())
    }

    /// The next label set and its parts; the parts may be empty.
    fn next_labels(&mut self) -> Result<Option<(Labels, Vec<Part>)>> {
        let heads = self.heads.iter().enumerate();
        let least = heads.filter_map(|(number, head)| Some((&head.as_ref()?.0, number))).min();
        let Some((_, first)) = least else { return Ok(None) };
        let (labels, found) = self.heads[first].take().expect("the least head is there");
        let mut parts = Vec::from_iter(self.part(first, &labels, found)?);
        self.advance(first)?;
        // Cursors before the first one have greater labels. Its own next series may have the same ones and another kind,
        // but not in a block.
        let own = usize::from(matches!(self.cursors[first], Cursor::Block { .. }));
        for number in first + own..self.cursors.len() {
            while let Some((_, found)) = self.heads[number].take_if(|(candidate, _)| *candidate == labels) {
                parts.extend(self.part(number, &labels, found)?);
                self.advance(number)?;
            }
        }
        Ok(Some((labels, parts)))
    }

    fn part(&mut self, number: usize, labels: &Labels, found: Found) -> Result<Option<Part>> {
        match (&mut self.cursors[number], found) {
            (Cursor::Block { block, .. }, Found::Block(chunks, deleted)) => {
                Ok(Some(Part::Block(Arc::clone(block), chunks, deleted)))
            }
            (Cursor::Head { generation, view, lsn, .. }, Found::Head(series)) => {
                let kind = generation.index.kind(series);
                let mut samples = Samples::default();
                let kept = self.horizons.map_or(Some(self.range), |horizons| horizons.clip(labels, self.range));
                let Some(range) = kept else { return Ok(None) };
                generation.read(series, kind, range, *lsn, view, &mut samples)?;
                Ok((!samples.is_empty()).then(|| Part::Head(kind, Arc::new(samples))))
            }
            _ => unreachable!("a cursor finds series of its own"),
        }
    }
}

impl SeriesStream for Stream<'_> {
    fn next_batch(&mut self, max: usize) -> Result<Vec<Series>> {
        let mut batch = Vec::new();
        while batch.len() < max {
            match self.next_labels()? {
                Some((labels, parts)) if !parts.is_empty() => batch.push(Series::new(labels, parts)),
                Some(_) => {}
                None => break,
            }
        }
        Ok(batch)
    }
}

impl Source for Snapshot {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Box<dyn SeriesStream + '_>> {
        Ok(Box::new(self.stream(matchers, range)?))
    }

    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        let Some(range) = self.kept(range) else { return Ok(Vec::new()) };
        if matchers.is_empty() {
            self.state.check_whole(range)?;
            for block in self.blocks(range) {
                names.extend(block.label_names(self.deleted(block))?);
            }
            for generation in &self.state.generations {
                generation.label_names(&mut names);
            }
            return Ok(names.into_iter().collect());
        }
        let mut stream = self.stream(matchers, range)?;
        while let Some((labels, parts)) = stream.next_labels()? {
            for (name, _) in labels.iter().filter(|_| !parts.is_empty()) {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
        let Some(range) = self.kept(range) else { return Ok(Vec::new()) };
        self.state.check_whole(range)?;
        let mut values = Vec::new();
        for block in self.blocks(range) {
            values.extend(match matchers {
                [] => block.label_values(name, self.deleted(block))?,
                _ => block.values_of(name, &self.select_in(block, matchers, range)?, range)?,
            });
        }
        for generation in &self.state.generations {
            match matchers {
                [] => generation.label_values(name, &mut values),
                _ => generation.values_of(name, matchers, range, self.lsn, &mut values)?,
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn metadata(&self) -> Result<Vec<Metadata>> {
        // Metadata and exemplars have no range: a missing block may hold any.
        self.state.check_missing()?;
        if let Some(message) = &self.state.metadata().unreadable {
            return Err(Error::corrupt(message.clone()));
        }
        let mut known: BTreeMap<String, Metadata> = self.state.metadata().by_metric.clone();
        for generation in &self.state.generations {
            known.extend(generation.notes.lock().metadata.clone());
        }
        Ok(known.into_values().collect())
    }

    fn metadata_of(&self, metric: &str) -> Result<Option<Metadata>> {
        self.state.check_missing()?;
        if let Some(message) = &self.state.metadata().unreadable {
            return Err(Error::corrupt(message.clone()));
        }
        let newest = self.state.generations.iter().rev();
        let in_head = newest.filter_map(|generation| generation.notes.lock().metadata.get(metric).cloned()).next();
        Ok(in_head.or_else(|| self.state.metadata().by_metric.get(metric).cloned()))
    }

    fn exemplars(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        self.state.check_missing()?;
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        let mut add = |labels: Labels, exemplar: Exemplar| {
            let kept = |horizons: &Horizons| horizons.since_ms(&labels) <= exemplar.time_ms;
            let matches = range.contains(exemplar.time_ms) && all_match(matchers, &labels);
            if matches && self.horizons_at(exemplar.time_ms).is_none_or(kept) {
                found.entry(labels).or_default().push(exemplar);
            }
        };
        for block in self.state.blocks.iter() {
            for (labels, exemplars) in left_exemplars(block, self.deleted(block))? {
                exemplars.into_iter().for_each(|exemplar| add(labels.clone(), exemplar));
            }
        }
        for generation in &self.state.generations {
            let notes = generation.notes.lock();
            for (_, labels, exemplar) in notes.exemplars.iter().filter(|(lsn, _, _)| *lsn <= self.lsn) {
                add(labels.clone(), exemplar.clone());
            }
        }
        for list in found.values_mut() {
            sort_exemplars(list);
        }
        Ok(found.into_iter().collect())
    }
}

/// Drops chunks of which nothing is left in a range.
fn drop_deleted(chunks: &mut Vec<ChunkMeta>, deleted: &Intervals, range: TimeRange) {
    let inside = |chunk: &ChunkMeta| TimeRange::new(chunk.min_ms.max(range.min_ms), chunk.max_ms.min(range.max_ms));
    chunks.retain(|chunk| !deleted.covers(inside(chunk)));
}

/// Exemplars of each series of a block that are not deleted.
pub(crate) fn left_exemplars(
    block: &BlockReader,
    deleted: Option<&BlockTombstones>,
) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
    let mut found = block.exemplars()?;
    let Some(deleted) = deleted else { return Ok(found) };
    for (entry, (_, list)) in found.iter_mut().enumerate() {
        if let Some(times) = deleted.exemplars(entry) {
            list.retain(|exemplar| !times.contains(exemplar.time_ms));
        }
    }
    found.retain(|(_, list)| !list.is_empty());
    Ok(found)
}

/// Metadata of a block that is not deleted.
pub(crate) fn left_metadata(block: &BlockReader, deleted: Option<&BlockTombstones>) -> Result<Vec<Metadata>> {
    let known = block.metadata()?;
    let Some(deleted) = deleted else { return Ok(known) };
    let left = known.into_iter().enumerate().filter(|(entry, _)| !deleted.has_metadata(*entry));
    Ok(left.map(|(_, known)| known).collect())
}

/// Orders exemplars of one series by time and drops repetitions.
pub(crate) fn sort_exemplars(list: &mut Vec<Exemplar>) {
    let key = |e: &Exemplar| (e.time_ms, e.value.to_bits());
    list.sort_by(|left, right| key(left).cmp(&key(right)).then_with(|| left.labels.cmp(&right.labels)));
    list.dedup_by(|left, right| key(left) == key(right) && left.labels == right.labels);
}

/// Reads every sample of a series of a generation, for the flush.
pub(crate) fn read_flushed(generation: &Generation, series: SeriesRef, kind: Kind, out: &mut Samples) -> Result<()> {
    out.clear();
    generation.read(series, kind, TimeRange::ALL, u64::MAX - 1, &mut UndoView::default(), out)
}
