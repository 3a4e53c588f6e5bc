//! Merging the series of one classic histogram: what they share stays shared.

use std::collections::BTreeMap;

use super::{Input, Placed, by_time};
use crate::block::{BlockWriter, ChunkMeta, ReadCache, WrittenChunk};
use crate::error::Result;
use crate::merge::normalise;
use crate::sample::{Kind, Samples};

/// Families of which more samples must be decoded are merged series by series.
const SAMPLES_MAX: u64 = 1 << 20;

/// A payload that is copied, and the series that share it with their chunks.
struct Copied<'a> {
    min_ms: i64,
    input: usize,
    sharers: Vec<(usize, &'a ChunkMeta)>,
}

/// Writes the floats of the series, given by their chunks in order of their bounds: full matrices of merged blocks byte
/// for byte when all of their series are here and nothing overlaps them, what lies between those decoded and packed anew.
/// Returns the chunks of each series; `None`, and nothing is written, when that would take too much memory.
pub(super) fn merge(
    inputs: &[Input],
    members: &[Vec<Placed>],
    writer: &mut BlockWriter,
) -> Result<Option<Vec<Vec<WrittenChunk>>>> {
    let chunks: Vec<Vec<(&Placed, bool)>> = members.iter().map(|chunks| by_time(chunks, Kind::Float)).collect();
    let copied = copied(inputs, &chunks)?;
    let is_copied = |placed: &Placed| {
        let same = |copied: &Copied<'_>| {
            copied.input == placed.input && copied.sharers[0].1.shared_payload() == placed.chunk.shared_payload()
        };
        placed.chunk.shared_payload().is_some() && copied.iter().any(same)
    };
    let mut written: Vec<Vec<WrittenChunk>> = members.iter().map(|_| Vec::new()).collect();
    // By the number of copied payloads before them: the chunks that are decoded.
    let mut decoded: Vec<Vec<(usize, &Placed)>> = (0..=copied.len()).map(|_| Vec::new()).collect();
    let (mut samples, mut whole) = (0, Vec::new());
    for (member, chunks) in chunks.iter().enumerate() {
        for (placed, alone) in chunks.iter().filter(|(placed, _)| !is_copied(placed)) {
            if *alone && placed.is_done(inputs) && placed.chunk.shared_payload().is_none() {
                whole.push((member, *placed));
                continue;
            }
            let before = copied.partition_point(|copied| copied.min_ms <= placed.chunk.min_ms);
            decoded[before].push((member, *placed));
            samples += u64::from(placed.chunk.count);
        }
    }
    if samples > SAMPLES_MAX {
        return Ok(None);
    }
    for (member, placed) in whole {
        written[member].push(writer.copied_chunk(&inputs[placed.input].block, &placed.chunk)?);
    }
    let mut cache = ReadCache::default();
    for (number, decoded) in decoded.iter().enumerate() {
        let mut all: Vec<Samples> = members.iter().map(|_| Samples::default()).collect();
        for (member, placed) in decoded {
            placed.read(inputs, &mut cache, &mut all[*member])?;
        }
        all.iter_mut().for_each(|samples| normalise(Kind::Float, samples));
        for (written, chunks) in written.iter_mut().zip(writer.family(&all)?) {
            written.extend(chunks);
        }
        if let Some(Copied { input, sharers, .. }) = copied.get(number) {
            let chunks: Vec<_> = sharers.iter().map(|(_, chunk)| *chunk).collect();
            let chunks = writer.copied_family(&inputs[*input].block, &chunks)?;
            sharers.iter().zip(chunks).for_each(|((member, _), chunk)| written[*member].push(chunk));
        }
    }
    Ok(Some(written))
}

/// A chunk of a series, and whether no other one of the series shares a time with it.
type Sharer<'a> = (usize, &'a Placed, bool);

/// The payloads that can be copied, by time.
fn copied<'a>(inputs: &[Input], members: &[Vec<(&'a Placed, bool)>]) -> Result<Vec<Copied<'a>>> {
    let mut shared: BTreeMap<(usize, u64), Vec<Sharer<'_>>> = BTreeMap::new();
    for (member, chunks) in members.iter().enumerate() {
        for (placed, alone) in chunks {
            if let Some(payload) = placed.chunk.shared_payload() {
                shared.entry((placed.input, payload)).or_default().push((member, *placed, *alone));
            }
        }
    }
    let mut found = Vec::new();
    for ((input, _), sharers) in shared {
        let (_, first, _) = sharers[0];
        let block = &inputs[input].block;
        let is_whole = sharers.iter().all(|(_, placed, alone)| *alone && placed.deleted.is_none())
            && sharers.iter().any(|(_, placed, _)| placed.is_done(inputs));
        if is_whole && block.sharers(&first.chunk)? == sharers.len() {
            let min_ms = sharers.iter().map(|(_, placed, _)| placed.chunk.min_ms).min().unwrap_or(i64::MIN);
            let sharers = sharers.into_iter().map(|(member, placed, _)| (member, &placed.chunk)).collect();
            found.push(Copied { min_ms, input, sharers });
        }
    }
    found.sort_by_key(|copied| (copied.min_ms, copied.input));
    Ok(found)
}
