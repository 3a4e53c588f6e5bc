//! Merging blocks: series in label order, the samples of each by the merge rule. Memory: one series' samples at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::batch::{Exemplar, Metadata};
use crate::block::{BlockReader, BlockWriter, ChunkMeta, SeriesReader};
use crate::error::Result;
use crate::labels::Labels;
use crate::merge::normalise;
use crate::sample::{Kind, Samples};
use crate::snapshot::sort_exemplars;

/// Chunks with as many samples are copied without decoding when nothing overlaps them.
const FULL_CHUNK: u32 = 1024;

/// Writes the union of all inputs' series. O(samples + series * log inputs).
pub(super) fn merge_series(inputs: &[Arc<BlockReader>], writer: &mut BlockWriter) -> Result<()> {
    let mut readers = inputs.iter().map(|input| input.series_reader()).collect::<Result<Vec<_>>>()?;
    let mut next: BinaryHeap<Reverse<(Labels, usize, u32)>> = BinaryHeap::new();
    for (number, input) in inputs.iter().enumerate() {
        if input.meta().series > 0 {
            next.push(Reverse((readers[number].labels(0)?, number, 0)));
        }
    }
    let mut sources: Vec<(usize, u32)> = Vec::new();
    while let Some(Reverse((labels, number, series))) = next.pop() {
        sources.push((number, series));
        if u64::from(series) + 1 < inputs[number].meta().series {
            next.push(Reverse((readers[number].labels(series + 1)?, number, series + 1)));
        }
        if next.peek().is_none_or(|Reverse((other, _, _))| *other != labels) {
            writer.series(&labels)?;
            let chunks = gather(&mut readers, &sources)?;
            for kind in Kind::ALL {
                merge_kind(inputs, &chunks, kind, writer)?;
            }
            sources.clear();
        }
    }
    Ok(())
}

/// A chunk and the input it lies in.
type Placed = (usize, ChunkMeta);

/// The chunks of one label set in all inputs.
fn gather(readers: &mut [SeriesReader<'_>], sources: &[(usize, u32)]) -> Result<Vec<Placed>> {
    let mut placed = Vec::new();
    let mut list = Vec::new();
    for &(number, series) in sources {
        list.clear();
        readers[number].chunks(series, &mut list)?;
        placed.extend(list.drain(..).map(|chunk| (number, chunk)));
    }
    Ok(placed)
}

/// Writes one kind of a series: full chunks that nothing overlaps byte for byte, all others merged and packed anew.
fn merge_kind(inputs: &[Arc<BlockReader>], chunks: &[Placed], kind: Kind, writer: &mut BlockWriter) -> Result<()> {
    let mut chunks: Vec<&Placed> = chunks.iter().filter(|(_, chunk)| chunk.kind == kind).collect();
    chunks.sort_by_key(|(number, chunk)| (chunk.min_ms, chunk.max_ms, *number));
    let mut samples = Samples::default();
    let mut newest = i64::MIN;
    for (position, (number, chunk)) in chunks.iter().enumerate() {
        let after = chunks.get(position + 1).map_or(i64::MAX, |(_, next)| next.min_ms);
        let alone = newest < chunk.min_ms && chunk.max_ms < after;
        if alone && chunk.count >= FULL_CHUNK {
            write(kind, &mut samples, writer)?;
            writer.copy_chunk(&inputs[*number], chunk)?;
        } else {
            inputs[*number].read_chunk(chunk, &mut samples)?;
        }
        newest = newest.max(chunk.max_ms);
    }
    write(kind, &mut samples, writer)
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

/// Metadata of all inputs, that of the newest writes winning, and all exemplars.
pub(super) fn merge_notes(inputs: &[Arc<BlockReader>]) -> Result<Notes> {
    let mut ordered: Vec<_> = inputs.iter().collect();
    ordered.sort_by_key(|block| (block.meta().lsn_max, block.meta().id));
    let mut metadata = BTreeMap::new();
    let mut exemplars: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
    for block in ordered {
        metadata.extend(block.metadata()?.into_iter().map(|known| (known.metric.clone(), known)));
        for (labels, list) in block.exemplars()? {
            exemplars.entry(labels).or_default().extend(list);
        }
    }
    exemplars.values_mut().for_each(sort_exemplars);
    Ok((metadata.into_values().collect(), exemplars.into_iter().collect()))
}
