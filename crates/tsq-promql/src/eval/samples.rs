//! The samples of one series, read once for all steps of a query.

use std::sync::Arc;
use std::time::Instant;

use tsq_core::{Histogram, Kind, ReadCache, ReadCost, ResetHint, Samples, Series, TimeRange, is_stale};

use super::context::{Query, Result};
use super::recorder::Reads;
use super::row::histogram_bytes;
use crate::answer::{QueryError, QueryErrorKind};
use crate::kernels::Window;
use crate::kernels::histogram::detect_reset;

/// Floats and histograms of one series, each in time order, one a time.
#[derive(Debug, Default)]
pub(crate) struct Points {
    pub times: Vec<i64>,
    pub values: Vec<f64>,
    pub histogram_times: Vec<i64>,
    pub histograms: Vec<Arc<Histogram>>,
    /// Start times of `values`, 0 for unknown; empty when none is known.
    pub starts: Vec<i64>,
    /// Start times of `histograms`, as `starts`.
    pub histogram_starts: Vec<i64>,
}

impl Points {
    /// Drops all samples, keeping the allocations.
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histogram_times.clear();
        self.histograms.clear();
        self.starts.clear();
        self.histogram_starts.clear();
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        self.times.len() + self.histogram_times.len()
    }

    /// Whether there is nothing but times and floats.
    pub(crate) fn has_floats_only(&self) -> bool {
        self.histograms.is_empty() && self.starts.is_empty()
    }

    /// Bytes the samples take.
    pub(crate) fn bytes(&self) -> usize {
        let histograms: usize = self.histograms.iter().map(|histogram| histogram_bytes(histogram) + 16).sum();
        self.times.len() * 16 + (self.starts.len() + self.histogram_starts.len()) * 8 + histograms
    }

    /// Compares histograms that say nothing about counter resets with the ones before them.
    pub(crate) fn find_resets(&mut self) {
        for at in (1..self.histograms.len()).rev() {
            let (previous, current) = (&self.histograms[at - 1], &self.histograms[at]);
            if current.reset_hint != ResetHint::Unknown || current.is_stale() || previous.is_stale() {
                continue;
            }
            let hint = if detect_reset(current, previous) { ResetHint::Reset } else { ResetHint::NotReset };
            Arc::make_mut(&mut self.histograms[at]).reset_hint = hint;
        }
    }

    fn remove_stale(&mut self) {
        if self.values.iter().any(|&value| is_stale(value)) {
            retain_by(&mut self.times, &self.values, |&value| !is_stale(value));
            retain_by(&mut self.starts, &self.values, |&value| !is_stale(value));
            self.values.retain(|&value| !is_stale(value));
        }
        if self.histograms.iter().any(|histogram| histogram.is_stale()) {
            retain_by(&mut self.histogram_times, &self.histograms, |histogram| !histogram.is_stale());
            retain_by(&mut self.histogram_starts, &self.histograms, |histogram| !histogram.is_stale());
            self.histograms.retain(|histogram| !histogram.is_stale());
        }
    }
}

/// Keeps the entries of a column whose neighbours in another one pass.
fn retain_by<T>(column: &mut Vec<i64>, by: &[T], passes: impl Fn(&T) -> bool) {
    let mut by = by.iter();
    column.retain(|_| by.next().is_some_and(&passes));
}

/// Reads series into [`Points`]; keeps its buffers between series.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: Samples,
    cache: ReadCache,
}

impl Reader {
    /// Replaces `points` by all samples of a series in a range, those of runs among them: a time that has several
    /// run samples counts with its last one. What it costs is added to `reads`.
    pub(crate) fn read(
        &mut self,
        query: &Query<'_>,
        series: &Series,
        range: TimeRange,
        reads: Option<&Reads>,
        points: &mut Points,
    ) -> Result<()> {
        let begin = reads.map(|_| Instant::now());
        let mut cost = ReadCost::default();
        points.clear();
        let mut float_kinds = 0;
        let mut histogram_kinds = 0;
        for kind in series.kinds() {
            let part = series.read_with(kind, range, &mut self.cache, &mut self.buffer);
            cost.add(part.map_err(|error| storage_error(&error))?);
            if self.buffer.is_empty() {
                continue;
            }
            if kind.is_histogram() {
                histogram_kinds += 1;
                append_starts(&mut points.histogram_starts, points.histogram_times.len(), &self.buffer);
                move_all(&mut self.buffer.times, &mut points.histogram_times);
                points.histograms.extend(self.buffer.histograms.drain(..).map(Arc::new));
            } else {
                float_kinds += 1;
                append_starts(&mut points.starts, points.times.len(), &self.buffer);
                move_all(&mut self.buffer.times, &mut points.times);
                move_all(&mut self.buffer.values, &mut points.values);
            }
            if kind == Kind::Run || float_kinds > 1 {
                keep_last(&mut points.times, &mut points.values, &mut points.starts, float_kinds > 1);
            }
            if kind == Kind::RunHistogram || histogram_kinds > 1 {
                let Points { histogram_times, histograms, histogram_starts, .. } = points;
                keep_last(histogram_times, histograms, histogram_starts, histogram_kinds > 1);
            }
        }
        query.counters.samples.fetch_add(points.len() as u64, std::sync::atomic::Ordering::Relaxed);
        if let (Some(reads), Some(begin)) = (reads, begin) {
            reads.add(points.len(), cost, begin.elapsed());
        }
        Ok(())
    }

    /// Like [`Reader::read`], without staleness markers.
    pub(crate) fn read_present(
        &mut self,
        query: &Query<'_>,
        series: &Series,
        range: TimeRange,
        reads: Option<&Reads>,
        points: &mut Points,
    ) -> Result<()> {
        self.read(query, series, range, reads, points)?;
        points.remove_stale();
        Ok(())
    }
}

/// Moves a column behind another one; nothing is copied when that one is empty.
fn move_all<T>(from: &mut Vec<T>, to: &mut Vec<T>) {
    if to.is_empty() { std::mem::swap(from, to) } else { to.append(from) }
}

/// Appends the start times of samples that come behind `before` others: either column may have none.
fn append_starts(starts: &mut Vec<i64>, before: usize, samples: &Samples) {
    if !starts.is_empty() || !samples.starts.is_empty() {
        starts.resize(before, 0);
        starts.extend_from_slice(&samples.starts);
        starts.resize(before + samples.len(), 0);
    }
}

/// Keeps the last of several samples with one time, after bringing two kinds into time order.
fn keep_last<T: Clone>(times: &mut Vec<i64>, values: &mut Vec<T>, starts: &mut Vec<i64>, unsorted: bool) {
    let mut order: Vec<usize> = (0..times.len()).collect();
    if unsorted {
        order.sort_by_key(|&index| times[index]);
    }
    let last_of_time = |at: usize| at + 1 == order.len() || times[order[at + 1]] != times[order[at]];
    let kept: Vec<usize> = (0..order.len()).filter(|&at| last_of_time(at)).map(|at| order[at]).collect();
    if unsorted || kept.len() < times.len() {
        *times = kept.iter().map(|&index| times[index]).collect();
        *values = kept.iter().map(|&index| values[index].clone()).collect();
        if !starts.is_empty() {
            *starts = kept.iter().map(|&index| starts[index]).collect();
        }
    }
}

/// An error of the engine as an error of the query.
pub(crate) fn storage_error(error: &tsq_core::Error) -> QueryError {
    QueryError { kind: QueryErrorKind::Storage, message: error.to_string() }
}

/// A window over points whose ends only move forward: all windows of a query cost one pass over the points.
#[derive(Debug, Default)]
pub(crate) struct Slider {
    float_start: usize,
    float_end: usize,
    histogram_start: usize,
    histogram_end: usize,
}

impl Slider {
    /// The window of a range, holding the samples of a wider one, at an evaluation time. No time may be before that of
    /// the last call.
    pub(crate) fn slide<'p>(
        &mut self,
        points: &'p Points,
        range: (i64, i64),
        wider: (i64, i64),
        time_ms: i64,
    ) -> Window<'p> {
        let skip = |times: &[i64], mut index: usize, until_ms: i64| {
            while times.get(index).is_some_and(|&time| time <= until_ms) {
                index += 1;
            }
            index
        };
        self.float_start = skip(&points.times, self.float_start, wider.0);
        self.float_end = skip(&points.times, self.float_end.max(self.float_start), wider.1);
        self.histogram_start = skip(&points.histogram_times, self.histogram_start, wider.0);
        self.histogram_end = skip(&points.histogram_times, self.histogram_end.max(self.histogram_start), wider.1);
        let part = |starts: &'p [i64], start: usize, end: usize| starts.get(start..end).unwrap_or(&[]);
        Window {
            times: &points.times[self.float_start..self.float_end],
            values: &points.values[self.float_start..self.float_end],
            histogram_times: &points.histogram_times[self.histogram_start..self.histogram_end],
            histograms: &points.histograms[self.histogram_start..self.histogram_end],
            starts: part(&points.starts, self.float_start, self.float_end),
            histogram_starts: part(&points.histogram_starts, self.histogram_start, self.histogram_end),
            start_ms: range.0,
            end_ms: range.1,
            time_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_samples_with_one_time_the_last_counts() {
        let (mut times, mut values) = (vec![1, 1, 3, 2, 3], vec!['a', 'b', 'c', 'd', 'e']);
        let mut starts = vec![1, 2, 3, 4, 5];
        keep_last(&mut times, &mut values, &mut starts, true);
        assert_eq!((times, values, starts), (vec![1, 2, 3], vec!['b', 'd', 'e'], vec![2, 4, 5]));
    }

    #[test]
    fn windows_are_open_on_the_left() {
        let points = Points { times: vec![0, 10, 20, 30], values: vec![0.0, 1.0, 2.0, 3.0], ..Points::default() };
        let mut slider = Slider::default();
        let mut window = |start, end| slider.slide(&points, (start, end), (start, end), end).times.to_vec();
        assert_eq!(window(0, 20), [10, 20]);
        assert_eq!(window(5, 29), [10, 20]);
        assert_eq!(window(25, 26), [0; 0]);
        assert_eq!(window(29, 100), [30]);
    }
}
