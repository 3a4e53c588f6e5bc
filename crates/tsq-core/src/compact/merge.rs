//! Merging blocks: series in label order, the samples of each by the merge rule.

mod family;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use crate::batch::{Exemplar, Metadata};
use crate::block::{BlockReader, BlockWriter, ChunkMeta, ReadCache, SeriesReader, WrittenChunk};
use crate::error::Result;
use crate::families::{Group, Groups};
use crate::labels::Labels;
use crate::merge::{normalise, pick_rows};
use crate::retention::{self, Horizons};
use crate::sample::{Kind, Samples};
use crate::series::read_left;
use crate::snapshot::{left_exemplars, left_metadata, sort_exemplars};
use crate::tombstones::{BlockTombstones, Intervals};

/// Chunks with as many samples are copied without decoding when nothing overlaps them.
const FULL_CHUNK: u32 = 1024;

/// Samples of one series that are held before the first of them are written.
const HELD_SAMPLES: usize = 64 * 1024;

/// A block to be merged and what is deleted of it.
pub(super) struct Input {
    pub(super) block: Arc<BlockReader>,
    pub(super) deleted: Option<Arc<BlockTombstones>>,
}

impl Input {
    fn is_gone(&self, series: u32) -> bool {
        self.deleted.as_ref().is_some_and(|deleted| deleted.is_gone(series))
    }

    fn series(&self) -> u64 {
        self.block.meta().series
    }
}

/// Writes the union of all inputs' series without what is deleted or has expired; false when `go_on` says that it is in
/// vain: it is asked between series, with the bytes written so far. O(samples + series * log inputs). Memory: the index of
/// the new block, and a bounded number of samples where the inputs' chunks of a series do not overlap; the labels of a
/// group of series.
pub(super) fn merge_series(
    inputs: &[Input],
    horizons: Option<&Horizons>,
    writer: &mut BlockWriter,
    mut go_on: impl FnMut(u64) -> bool,
) -> Result<bool> {
    let mut readers = inputs.iter().map(|input| input.block.series_reader()).collect::<Result<Vec<_>>>()?;
    let mut next: BinaryHeap<Reverse<(Labels, usize, u32)>> = BinaryHeap::new();
    for (number, input) in inputs.iter().enumerate() {
        if input.series() > 0 {
            next.push(Reverse((readers[number].labels(0)?, number, 0)));
        }
    }
    let (mut sources, mut groups) = (Sources::new(), Groups::new());
    while let Some(Reverse((labels, number, series))) = next.pop() {
        if !inputs[number].is_gone(series) {
            sources.push((number, series));
        }
        if u64::from(series) + 1 < inputs[number].series() {
            next.push(Reverse((readers[number].labels(series + 1)?, number, series + 1)));
        }
        if next.peek().is_none_or(|Reverse((other, _, _))| *other != labels) {
            if !go_on(writer.position()) {
                return Ok(false);
            }
            let sources = std::mem::take(&mut sources);
            let group = if sources.is_empty() { None } else { groups.push(labels, sources) };
            if let Some(group) = group {
                write_group(inputs, horizons, &mut readers, &group, writer)?;
            }
        }
    }
    if let Some(group) = groups.finish() {
        write_group(inputs, horizons, &mut readers, &group, writer)?;
    }
    Ok(true)
}

/// Where one label set has samples: inputs, and its numbers in them.
type Sources = Vec<(usize, u32)>;

/// Writes the series of a group: the floats of its families together, everything else series by series.
fn write_group(
    inputs: &[Input],
    horizons: Option<&Horizons>,
    readers: &mut [SeriesReader<'_>],
    group: &Group<Sources>,
    writer: &mut BlockWriter,
) -> Result<()> {
    let mut gather = |number: usize| gather(inputs, horizons, readers, &group.series[number]);
    let mut families: HashMap<usize, (Vec<Placed>, Vec<WrittenChunk>)> = HashMap::new();
    for family in &group.families {
        let placed = family.iter().map(|number| gather(*number)).collect::<Result<Vec<_>>>()?;
        if let Some(written) = family::merge(inputs, &placed, writer)? {
            families.extend(family.iter().copied().zip(placed.into_iter().zip(written)));
        }
    }
    for (number, (labels, _)) in group.series.iter().enumerate() {
        writer.series(labels)?;
        let (placed, floats) = match families.remove(&number) {
            Some((placed, floats)) => (placed, Some(floats)),
            None => (gather(number)?, None),
        };
        floats.iter().flatten().try_for_each(|chunk| writer.place(chunk))?;
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Float || floats.is_none()) {
            merge_kind(inputs, &placed, kind, writer)?;
        }
    }
    Ok(())
}

/// A chunk of which something is left, and the input it lies in.
struct Placed {
    input: usize,
    chunk: ChunkMeta,
    /// Deleted and expired times, if it holds any.
    deleted: Option<Arc<Intervals>>,
}

impl Placed {
    /// Whether it is worth copying as it is: full, settled, and nothing of it deleted.
    fn is_done(&self, inputs: &[Input]) -> bool {
        // What a flush encoded in a hurry is worth another look, once.
        inputs[self.input].block.meta().level > 0 && self.deleted.is_none() && self.chunk.count >= FULL_CHUNK
    }

    /// Appends what is left of its samples.
    fn read(&self, inputs: &[Input], cache: &mut ReadCache, samples: &mut Samples) -> Result<()> {
        let block = &inputs[self.input].block;
        let mut read = |samples: &mut Samples| block.read_chunk(&self.chunk, cache, samples).map(drop);
        match &self.deleted {
            Some(deleted) => read_left(deleted, samples, read),
            None => read(samples),
        }
    }
}

/// The chunks of one kind by time, and for each whether no other one shares a time with it.
fn by_time(chunks: &[Placed], kind: Kind) -> Vec<(&Placed, bool)> {
    let mut chunks: Vec<&Placed> = chunks.iter().filter(|placed| placed.chunk.kind == kind).collect();
    chunks.sort_by_key(|placed| (placed.chunk.min_ms, placed.chunk.max_ms, placed.input));
    let mut newest = i64::MIN;
    let alone = |(position, placed): (usize, &&Placed)| {
        let after = chunks.get(position + 1).map_or(i64::MAX, |next| next.chunk.min_ms);
        let alone = newest < placed.chunk.min_ms && placed.chunk.max_ms < after;
        newest = newest.max(placed.chunk.max_ms);
        alone
    };
    let alone: Vec<bool> = chunks.iter().enumerate().map(alone).collect();
    chunks.into_iter().zip(alone).collect()
}

/// The chunks of one label set in all inputs.
fn gather(
    inputs: &[Input],
    horizons: Option<&Horizons>,
    readers: &mut [SeriesReader<'_>],
    (labels, sources): &(Labels, Sources),
) -> Result<Vec<Placed>> {
    let mut placed = Vec::new();
    let mut list = Vec::new();
    for &(number, series) in sources {
        list.clear();
        readers[number].chunks(series, &mut list)?;
        let deleted = inputs[number].deleted.as_ref().and_then(|deleted| deleted.series(series));
        let min_ms = list.iter().map(|chunk| chunk.min_ms).min().unwrap_or(i64::MAX);
        let gone = retention::gone(horizons, labels, min_ms, deleted);
        for chunk in list.drain(..) {
            let range = chunk.time_range();
            if gone.as_ref().is_none_or(|gone| !gone.covers(range)) {
                let deleted = gone.clone().filter(|gone| gone.overlaps(range));
                placed.push(Placed { input: number, chunk, deleted });
            }
        }
    }
    Ok(placed)
}

/// Writes one kind of a series: full chunks of merged blocks that nothing overlaps byte for byte, all others merged and
/// packed anew.
fn merge_kind(inputs: &[Input], chunks: &[Placed], kind: Kind, writer: &mut BlockWriter) -> Result<()> {
    let (mut samples, mut cache, mut newest) = (Samples::default(), ReadCache::default(), i64::MIN);
    for (placed, alone) in by_time(chunks, kind) {
        let chunk = &placed.chunk;
        if samples.len() >= HELD_SAMPLES && newest < chunk.min_ms {
            write_full(kind, &mut samples, writer)?;
        }
        if alone && placed.is_done(inputs) && chunk.shared_payload().is_none() {
            write(kind, &mut samples, writer)?;
            writer.copy_chunk(&inputs[placed.input].block, chunk)?;
        } else {
            placed.read(inputs, &mut cache, &mut samples)?;
        }
        newest = newest.max(chunk.max_ms);
    }
    write(kind, &mut samples, writer)
}

/// Writes as many samples as fill chunks, and keeps the rest.
fn write_full(kind: Kind, samples: &mut Samples, writer: &mut BlockWriter) -> Result<()> {
    normalise(kind, samples);
    let full = samples.len() - samples.len() % FULL_CHUNK as usize;
    let rest: Vec<usize> = (full..samples.len()).collect();
    let mut left = samples.clone();
    pick_rows(&mut left, &rest);
    let first: Vec<usize> = (0..full).collect();
    pick_rows(samples, &first);
    write(kind, samples, writer)?;
    *samples = left;
    Ok(())
}

fn write(kind: Kind, samples: &mut Samples, writer: &mut BlockWriter) -> Result<()> {
    normalise(kind, samples);
    if !samples.is_empty() {
        writer.samples(kind, samples)?;
    }
    samples.clear();
    Ok(())
}

/// Metadata and exemplars of a block to be written.
pub(super) type Notes = (Vec<Metadata>, Vec<(Labels, Vec<Exemplar>)>);

/// Metadata of all inputs, that of the newest writes winning, and all exemplars that have not expired.
pub(super) fn merge_notes(inputs: &[Input], horizons: Option<&Horizons>) -> Result<Notes> {
    let mut ordered: Vec<_> = inputs.iter().collect();
    ordered.sort_by_key(|input| (input.block.meta().lsn_max, input.block.meta().id));
    let mut metadata = BTreeMap::new();
    let mut exemplars: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
    for Input { block, deleted } in ordered {
        let deleted = deleted.as_deref();
        metadata.extend(left_metadata(block, deleted)?.into_iter().map(|known| (known.metric.clone(), known)));
        for (labels, list) in left_exemplars(block, deleted)? {
            let since_ms = horizons.map_or(i64::MIN, |horizons| horizons.since_ms(&labels));
            let mut kept = list.into_iter().filter(|exemplar| since_ms <= exemplar.time_ms).peekable();
            if kept.peek().is_some() {
                exemplars.entry(labels).or_default().extend(kept);
            }
        }
    }
    exemplars.values_mut().for_each(sort_exemplars);
    Ok((metadata.into_values().collect(), exemplars.into_iter().collect()))
}
