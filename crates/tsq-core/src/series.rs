//! A selected series and the way to its samples.

use std::sync::Arc;

use crate::axis::Axis;
use crate::block::{BlockReader, ChunkMeta, ReadCache};
use crate::error::Result;
use crate::labels::Labels;
use crate::merge;
use crate::sample::{Kind, Samples, TimeRange};
use crate::tombstones::Intervals;

/// Samples of the head that count as one chunk for [`Series::pieces`].
const HEAD_RUN: usize = 1024;

/// One label set that a selection found, with access to its samples. Holds what it needs alive; `Send`, so that
/// workers may read different series at once.
#[derive(Clone, Debug)]
pub struct Series {
    labels: Labels,
    parts: Vec<Part>,
    /// How the samples of runs are laid out; none: as they are stored.
    axis: Option<Axis>,
}

/// What reading a series cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCost {
    /// Chunks of blocks that were decoded.
    pub chunks: u64,
    /// Encoded bytes of those chunks: their values, times and steps.
    pub chunk_bytes: u64,
    /// Samples that came from the head, where they lie decoded since the selection.
    pub head_samples: u64,
}

impl ReadCost {
    /// Adds what another reading cost.
    pub fn add(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.chunk_bytes += other.chunk_bytes;
        self.head_samples += other.head_samples;
    }
}

/// Samples of one kind from one place.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Copied from the head, ordered.
    Head(Kind, Arc<Samples>),
    /// Chunks of one block, and the times of the series that are deleted of it.
    Block(Arc<BlockReader>, Vec<ChunkMeta>, Option<Arc<Intervals>>),
}

impl Series {
    pub(crate) fn new(labels: Labels, parts: Vec<Part>) -> Self {
        Self { labels, parts, axis: None }
    }

    /// A series of samples that are not stored, ordered by the merge rule.
    pub fn of_samples(labels: Labels, kind: Kind, samples: Arc<Samples>) -> Self {
        Self::new(labels, vec![Part::Head(kind, samples)])
    }

    /// The series with other labels, and with the samples of runs laid out on an axis: times of samples and ranges are
    /// then those of the axis for [`Series::read`], but not for [`Series::pieces`] and [`Series::time_range`]. The range
    /// of the selection must be the one that [`Axis`] needs: everything for steps and elapsed times.
    #[must_use]
    pub fn laid_out(self, labels: Labels, axis: Axis) -> Self {
        Self { labels, axis: Some(axis), ..self }
    }

    /// The labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The kinds of samples that may exist in the selected range, ascending.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let mut found = 0;
        for part in &self.parts {
            found |= match part {
                Part::Head(kind, _) => 1 << *kind as u8,
                Part::Block(_, chunks, _) => chunks.iter().fold(0, |found, chunk| found | 1 << chunk.kind as u8),
            };
        }
        Kind::ALL.into_iter().filter(move |kind| found & 1 << *kind as u8 != 0)
    }

    /// Stored runs of samples that the selection found; the samples of one kind in the head are one.
    pub fn chunk_count(&self) -> u64 {
        let count = |part: &Part| match part {
            Part::Head(..) => 1,
            Part::Block(_, chunks, _) => chunks.len() as u64,
        };
        self.parts.iter().map(count).sum()
    }

    /// Times of the first and last sample of the runs that the selection found.
    pub fn time_range(&self) -> TimeRange {
        let times = |part: &Part| match part {
            Part::Head(_, samples) => {
                let times = &samples.times;
                (times.first().copied().unwrap_or(i64::MAX), times.last().copied().unwrap_or(i64::MIN))
            }
            Part::Block(_, chunks, _) => {
                let min_ms = chunks.iter().map(|chunk| chunk.min_ms).min().unwrap_or(i64::MAX);
                (min_ms, chunks.iter().map(|chunk| chunk.max_ms).max().unwrap_or(i64::MIN))
            }
        };
        let joined = |all: (i64, i64), part: (i64, i64)| (all.0.min(part.0), all.1.max(part.1));
        let (min_ms, max_ms) = self.parts.iter().map(times).fold((i64::MAX, i64::MIN), joined);
        TimeRange::new(min_ms, max_ms)
    }

    /// Cuts `range` into consecutive parts, so that a long series can be read with bounded memory: each needs chunks of at
    /// most `samples_max` samples over all kinds, or more where chunks overlap.
    pub fn pieces(&self, range: TimeRange, samples_max: usize) -> Vec<TimeRange> {
        let mut runs = Vec::new();
        for part in &self.parts {
            match part {
                Part::Head(_, samples) => {
                    let first_and_len = |times: &[i64]| (times[0], times.len());
                    runs.extend(samples.times.chunks(HEAD_RUN).map(first_and_len));
                }
                Part::Block(_, chunks, _) => {
                    runs.extend(chunks.iter().map(|chunk| (chunk.min_ms, chunk.count as usize)));
                }
            }
        }
        runs.sort_unstable();
        let (mut pieces, mut start_ms, mut samples) = (Vec::new(), range.min_ms, 0);
        for (min_ms, count) in runs {
            if samples + count > samples_max && min_ms > start_ms && min_ms <= range.max_ms {
                pieces.push(TimeRange::new(start_ms, min_ms - 1));
                (start_ms, samples) = (min_ms, 0);
            }
            samples += count;
        }
        pieces.push(TimeRange::new(start_ms, range.max_ms));
        pieces
    }

    /// Replaces `out` by the samples of one kind inside `range`, merged and in order. `range` should lie within the
    /// range of the selection: samples outside of that may be missing. Only chunks that overlap it are decoded, and
    /// counted in what it gives back.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page that the samples need is damaged.
    pub fn read(&self, kind: Kind, range: TimeRange, out: &mut Samples) -> Result<ReadCost> {
        self.read_with(kind, range, &mut ReadCache::default(), out)
    }

    /// As [`Series::read`], for many series one after another: `cache` keeps what was decoded for one and serves the
    /// next ones. What it has already is not counted again.
    ///
    /// # Errors
    /// As [`Series::read`].
    pub fn read_with(
        &self,
        kind: Kind,
        range: TimeRange,
        cache: &mut ReadCache,
        out: &mut Samples,
    ) -> Result<ReadCost> {
        let axis = self.axis.filter(|_| kind.has_step());
        let asked = range;
        let range = axis.map_or(range, |axis| axis.times(range));
        let mut cost = ReadCost::default();
        out.clear();
        // Whether the samples so far are in the range, and each of them is later than the one before.
        let mut is_ordered = true;
        for part in &self.parts {
            match part {
                Part::Head(part_kind, samples) if *part_kind == kind => {
                    cost.head_samples += samples.len() as u64;
                    merge::extend(out, samples);
                    is_ordered = false;
                }
                Part::Head(..) => {}
                Part::Block(block, chunks, deleted) => {
                    let wanted = |chunk: &&ChunkMeta| chunk.kind == kind && range.overlaps(&chunk.time_range());
                    for chunk in chunks.iter().filter(wanted) {
                        let start = out.len();
                        let mut read = |out: &mut Samples| block.read_chunk_in(chunk, range, cache, out);
                        let (bytes, is_strict) = match deleted.as_ref().filter(|d| d.overlaps(chunk.time_range())) {
                            None => read(out)?,
                            Some(deleted) => read_left(deleted, out, read)?,
                        };
                        let joins = start == 0 || out.times.get(start).is_none_or(|time| out.times[start - 1] < *time);
                        is_ordered &= is_strict && joins;
                        cost.chunks += 1;
                        cost.chunk_bytes += bytes;
                    }
                }
            }
        }
        if !is_ordered || kind.has_step() {
            merge::normalise(kind, out);
            merge::clip(out, range);
        }
        if let Some(axis) = axis {
            axis.lay_out(out, asked);
        }
        Ok(cost)
    }

    /// Bytes that it holds by itself: labels, samples copied from the head, and where its chunks lie.
    pub fn memory(&self) -> usize {
        let of_part = |part: &Part| match part {
            Part::Head(_, samples) => size_of::<Samples>() + samples.memory(),
            Part::Block(_, chunks, _) => chunks.capacity() * size_of::<ChunkMeta>(),
        };
        let parts: usize = self.parts.iter().map(of_part).sum();
        size_of::<Self>() + self.labels.as_bytes().len() + self.parts.capacity() * size_of::<Part>() + parts
    }
}

/// Appends those of the samples that `read` gives which are not deleted. Returns what `read` does.
pub(crate) fn read_left<T>(
    deleted: &Intervals,
    out: &mut Samples,
    read: impl FnOnce(&mut Samples) -> Result<T>,
) -> Result<T> {
    let mut samples = Samples::default();
    let result = read(&mut samples)?;
    deleted.drop_from(&mut samples);
    merge::extend(out, &samples);
    Ok(result)
}
