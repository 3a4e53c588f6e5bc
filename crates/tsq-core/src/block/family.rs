//! Writes the series of one classic histogram: their values become matrices, one for each stretch of 1,024 scrapes.
//!
//! A series takes part with all of its samples whose times are those of the other series, without gaps; it may begin later
//! and end earlier. Where its values are no counts, or it is stale when the others are not, it gets chunks of its own, as
//! a series whose times are others.

use std::ops::Range;

use super::chunks::{Axes, ChunkEntry, ChunkMeta};
use super::reader::BlockReader;
use super::writer::{BlockWriter, WrittenChunk};
use crate::codec::CHUNK_SAMPLES_MAX;
use crate::codec::matrix::{self, Bucket, COLUMNS_MAX, is_count};
use crate::error::Result;
use crate::sample::{Kind, Samples, is_stale};

/// Series in fewer than so many columns are not worth a matrix.
const COLUMNS_MIN: usize = 2;

impl BlockWriter {
    /// Writes float samples, which are normal, of the series of one histogram in order of their bounds. Returns the chunks
    /// of each in order of time, to be placed when the series comes.
    ///
    /// # Errors
    /// As [`BlockWriter::samples`].
    pub(crate) fn family(&mut self, members: &[Samples]) -> Result<Vec<Vec<WrittenChunk>>> {
        let axis = common_axis(members);
        let mut written: Vec<Vec<WrittenChunk>> = members.iter().map(|_| Vec::new()).collect();
        let mut placed: Vec<(usize, usize)> = Vec::new();
        for (number, member) in members.iter().enumerate() {
            match start_on(&axis, &member.times) {
                Some(start) => placed.push((number, start)),
                None => written[number] = self.plain(member, 0..member.len())?,
            }
        }
        for columns in placed.chunks(COLUMNS_MAX) {
            for first in (0..axis.len()).step_by(CHUNK_SAMPLES_MAX) {
                let rows = first..axis.len().min(first + CHUNK_SAMPLES_MAX);
                let of = |&(member, start): &(usize, usize)| Part::of(member, &members[member], start, &rows);
                self.stretch(members, columns.iter().filter_map(of).collect(), rows.len(), &mut written)?;
            }
        }
        Ok(written)
    }

    fn plain(&mut self, samples: &Samples, rows: Range<usize>) -> Result<Vec<WrittenChunk>> {
        let starts = rows.clone().step_by(CHUNK_SAMPLES_MAX);
        starts
            .map(|start| self.encode_chunk(Kind::Float, samples, start..rows.end.min(start + CHUNK_SAMPLES_MAX)))
            .collect()
    }

    /// Writes what some series have in a stretch of at most [`CHUNK_SAMPLES_MAX`] rows.
    fn stretch(
        &mut self,
        members: &[Samples],
        mut parts: Vec<Part>,
        rows: usize,
        written: &mut [Vec<WrittenChunk>],
    ) -> Result<()> {
        let stale = agree(members, &mut parts);
        let agreeing = parts.iter().filter(|part| part.agrees).count();
        for part in &parts {
            if !part.agrees || agreeing < COLUMNS_MIN {
                written[part.member].extend(self.plain(&members[part.member], part.rows.clone())?);
            }
        }
        if agreeing < COLUMNS_MIN {
            return Ok(());
        }
        parts.retain(|part| part.agrees);
        let bucket = |part: &Part| Bucket { first: part.first, values: part.values(members) };
        let buckets: Vec<_> = parts.iter().map(bucket).collect();
        let mut payload = Vec::new();
        matrix::encode(rows, &stale, &buckets, self.effort, &mut payload);
        let (offset, len) = self.payload(&payload)?;
        let mut last: Option<(usize, usize, Axes)> = None;
        for (column, part) in parts.iter().enumerate() {
            let samples = &members[part.member];
            // Most series have the times of the one before; only columns of start times can differ then.
            let known = last.filter(|(first, len, axes)| {
                (*first, *len) == (part.first, part.rows.len()) && axes.starts.is_none() && samples.starts.is_empty()
            });
            let axes = match known {
                Some((_, _, axes)) => axes,
                None => self.axes(samples, part.rows.clone())?,
            };
            last = Some((part.first, part.rows.len(), axes));
            let (kind, codec, column) = (Kind::Float, matrix::ID, Some(column as u32));
            written[part.member].push(WrittenChunk(ChunkEntry { kind, codec, axes, column, offset, len }));
        }
        Ok(())
    }

    /// Writes the payload that the chunks share, which are all that share it, without decoding it. Returns a chunk for
    /// each.
    ///
    /// # Errors
    /// As [`BlockWriter::copy_chunk`].
    pub(crate) fn copied_family(&mut self, source: &BlockReader, chunks: &[&ChunkMeta]) -> Result<Vec<WrittenChunk>> {
        let Some(first) = chunks.first() else { return Ok(Vec::new()) };
        let (offset, len) = self.copied_payload(source, first)?;
        let mut copied = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let axes = self.copied_axes(source, chunk)?;
            copied.push(WrittenChunk(ChunkEntry { axes, offset, len, ..chunk.entry.clone() }));
        }
        Ok(copied)
    }
}

/// What a series has in a stretch of rows.
struct Part {
    member: usize,
    /// Its first row in the stretch.
    first: usize,
    /// The samples.
    rows: Range<usize>,
    agrees: bool,
}

impl Part {
    /// Of a series whose first sample is row `start` of all; `None` when it has no sample in `rows`.
    fn of(member: usize, samples: &Samples, start: usize, rows: &Range<usize>) -> Option<Self> {
        let from = rows.start.max(start);
        let to = rows.end.min(start + samples.len());
        (from < to).then(|| Self { member, first: from - rows.start, rows: from - start..to - start, agrees: false })
    }

    fn values<'a>(&self, members: &'a [Samples]) -> &'a [f64] {
        &members[self.member].values[self.rows.clone()]
    }

    /// Rows of the stretch in which it is stale; `None` when another value is no count.
    fn stale(&self, members: &[Samples]) -> Option<Vec<usize>> {
        let values = self.values(members);
        if values.iter().all(|value| is_count(*value)) {
            return Some(Vec::new());
        }
        let stale = |(_, value): &(usize, &f64)| !is_count(**value);
        let others = values.iter().enumerate().filter(stale);
        others.map(|(row, value)| is_stale(*value).then_some(self.first + row)).collect()
    }

    fn end(&self) -> usize {
        self.first + self.rows.len()
    }
}

/// Marks the parts whose values can stand in one matrix, and returns its stale rows: those of the longest part.
fn agree(members: &[Samples], parts: &mut [Part]) -> Vec<usize> {
    let stale: Vec<Option<Vec<usize>>> = parts.iter().map(|part| part.stale(members)).collect();
    let longest =
        (0..parts.len()).filter(|at| stale[*at].is_some()).max_by_key(|at| (parts[*at].rows.len(), usize::MAX - at));
    let Some(longest) = longest else { return Vec::new() };
    let rule = stale[longest].clone().expect("a part with counts was looked for");
    let covered = parts[longest].first..parts[longest].end();
    for (part, stale) in parts.iter_mut().zip(&stale) {
        // What lies outside of the longest part has no rule to agree with.
        let rows = part.first..part.end();
        let inside = |row: &&usize| rows.contains(*row);
        part.agrees = stale.as_ref().is_some_and(|stale| {
            stale.iter().all(|row| covered.contains(row)) && stale.iter().eq(rule.iter().filter(inside))
        });
    }
    rule
}

/// The times of the longest series, and before and behind them those of series that have the same times in between.
fn common_axis(members: &[Samples]) -> Vec<i64> {
    let longest = members.iter().rev().max_by_key(|member| member.len());
    let mut axis = longest.map_or_else(Vec::new, |member| member.times.clone());
    for Samples { times, .. } in members {
        let (Some(first), Some(axis_first)) = (times.first(), axis.first()) else { continue };
        if *times == axis {
            continue;
        }
        let skipped = axis.partition_point(|time| time < first);
        let before = times.partition_point(|time| time < axis_first);
        let (on_axis, own) = (&axis[skipped..], &times[before..]);
        let shared = on_axis.len().min(own.len());
        if shared > 0 && on_axis[..shared] == own[..shared] {
            let behind = own[shared..].to_vec();
            axis.splice(..0, times[..before].iter().copied());
            axis.extend(behind);
        }
    }
    axis
}

/// The row of the first sample, when the times are consecutive ones of the axis.
fn start_on(axis: &[i64], times: &[i64]) -> Option<usize> {
    let start = axis.binary_search(times.first()?).ok()?;
    (axis.get(start..start + times.len())? == times).then_some(start)
}
