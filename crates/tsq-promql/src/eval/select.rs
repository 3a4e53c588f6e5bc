//! Selectors: series from the source, read by several workers, handed on in label order.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tsq_core::{Labels, Matcher, Series, SeriesStream, TimeRange};

use super::context::{Query, Result};
use super::grid::{Grid, Ranges, Shift};
use super::operator::{BATCH_SERIES, BoxOperator, Operator};
use super::recorder::{Reads, Recorder};
use super::row::{Batch, Row, Sample};
use super::samples::{Points, Reader, Slider, storage_error};
use crate::ast::TextRange;
use crate::kernels::{Notes, Out, Window};

/// A batch that takes longer than this is worth splitting over threads.
const PARALLEL_FROM: Duration = Duration::from_millis(1);

/// Samples in windows after which a long series asks whether the query is to stop.
const CHECK_AFTER: usize = 1 << 20;

/// The series that match, a batch at a time.
pub(crate) struct Selection<'q> {
    query: &'q Query<'q>,
    matchers: Cow<'q, [Matcher]>,
    range: TimeRange,
    /// Whether to compare histograms that say nothing about counter resets with the ones before.
    pub finds_resets: bool,
    stream: Option<Box<dyn SeriesStream + 'q>>,
    /// Where reading is counted for `explain`.
    reads: Option<Arc<Reads>>,
    is_slow: bool,
    /// What reads small batches: what it keeps serves the next ones.
    worker: Box<Worker>,
}

#[derive(Default)]
struct Worker {
    reader: Reader,
    points: Points,
}

impl<'q> Selection<'q> {
    /// Series with samples after `after_ms` up to `to_ms`.
    pub(crate) fn new(
        query: &'q Query<'q>,
        matchers: impl Into<Cow<'q, [Matcher]>>,
        after_ms: i64,
        to_ms: i64,
    ) -> Self {
        let range = TimeRange::new(after_ms.saturating_add(1), to_ms);
        let reads = query.recorder.as_ref().and_then(Recorder::reads);
        let (matchers, worker) = (matchers.into(), Box::default());
        Self { query, matchers, range, finds_resets: false, stream: None, reads, is_slow: false, worker }
    }

    /// What a function makes of the next series, in label order; `None` at the end.
    ///
    /// Small batches are read here, larger ones by several threads; the result is the same.
    fn map(&mut self, read: impl Fn(&mut Worker, &Series) -> Result<Option<Row>> + Sync) -> Result<Option<Vec<Row>>> {
        self.query.check()?;
        if self.stream.is_none() {
            let selected = self.query.source.select(&self.matchers, self.range);
            self.stream = Some(selected.map_err(|error| storage_error(&error))?);
        }
        let stream = self.stream.as_mut().expect("it was opened above");
        let threads = if self.is_slow { self.query.threads.max(1) } else { 1 };
        let series = stream.next_batch(BATCH_SERIES * threads).map_err(|error| storage_error(&error))?;
        if series.is_empty() {
            return Ok(None);
        }
        self.query.counters.series.fetch_add(series.len() as u64, Ordering::Relaxed);
        let begin = Instant::now();
        let read_ns = self.reads.as_ref().map_or(0, |reads| reads.nanoseconds());
        let rows = match threads {
            1 => read_all(&mut self.worker, &series, &read),
            _ => read_parallel(&series, threads, &read),
        };
        if let Some(reads) = &self.reads {
            reads.share(read_ns, threads);
        }
        self.is_slow = self.is_slow || begin.elapsed() > PARALLEL_FROM;
        rows.map(Some)
    }

    /// What a function makes of the samples of the next series, staleness markers left out.
    pub(crate) fn map_points(
        &mut self,
        make: impl Fn(&Labels, &Points) -> Result<Option<Row>> + Sync,
    ) -> Result<Option<Vec<Row>>> {
        let (query, range, finds_resets) = (self.query, self.range, self.finds_resets);
        let reads = self.reads.clone();
        self.map(|worker, series| {
            worker.reader.read_present(query, series, range, reads.as_deref(), &mut worker.points)?;
            if finds_resets {
                worker.points.find_resets();
            }
            let _charge = query.memory.charge(worker.points.bytes())?;
            if worker.points.len() == 0 { Ok(None) } else { make(series.labels(), &worker.points) }
        })
    }
}

type ReadRow<'r> = &'r (dyn Fn(&mut Worker, &Series) -> Result<Option<Row>> + Sync);

fn read_all(worker: &mut Worker, series: &[Series], read: ReadRow<'_>) -> Result<Vec<Row>> {
    series.iter().filter_map(|series| read(worker, series).transpose()).collect()
}

fn read_parallel(series: &[Series], threads: usize, read: ReadRow<'_>) -> Result<Vec<Row>> {
    let parts = std::thread::scope(|scope| {
        let parts = series.chunks(series.len().div_ceil(threads));
        let workers: Vec<_> =
            parts.map(|part| scope.spawn(move || read_all(&mut Worker::default(), part, read))).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().map(join).collect::<Vec<Result<Vec<Row>>>>()
    });
    let mut rows = Vec::with_capacity(series.len());
    for part in parts {
        rows.append(&mut part?);
    }
    Ok(rows)
}

/// What an instant selector delivers of the sample it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deliver {
    /// Its value.
    Value,
    /// Its time in seconds, for `timestamp`.
    Time,
}

/// An instant selector: at each step the newest sample within the lookback.
pub(crate) struct Select<'q> {
    pub query: &'q Query<'q>,
    pub selection: Selection<'q>,
    pub grid: Grid,
    pub shift: Shift,
    pub deliver: Deliver,
}

impl<'q> Select<'q> {
    pub(crate) fn new(
        query: &'q Query<'q>,
        matchers: impl Into<Cow<'q, [Matcher]>>,
        grid: Grid,
        shift: Shift,
        deliver: Deliver,
    ) -> Self {
        let ranges = Ranges { grid, shift, range_ms: query.lookback_ms };
        let (after_ms, to_ms) = ranges.hull();
        Self { query, selection: Selection::new(query, matchers, after_ms, to_ms), grid, shift, deliver }
    }
}

impl<'q> Operator<'q> for Select<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        if self.grid.count == 0 {
            return Ok(None);
        }
        let (query, grid, shift, deliver) = (self.query, self.grid, self.shift, self.deliver);
        let (range, finds_resets) = (self.selection.range, self.selection.finds_resets);
        let reads = self.selection.reads.clone();
        let rows = self.selection.map(|worker, series| {
            worker.reader.read(query, series, range, reads.as_deref(), &mut worker.points)?;
            if finds_resets {
                worker.points.find_resets();
            }
            let _charge = query.memory.charge(worker.points.bytes() + grid.count * size_of::<f64>())?;
            let mut row = Row::absent(series.labels().clone(), deliver == Deliver::Time, grid.count);
            let found =
                fill_newest(&worker.points, &mut row, query.lookback_ms, |step| shift.apply(grid.time(step)), deliver);
            Ok(found.then_some(row))
        })?;
        rows.map(|rows| query.batch(rows)).transpose()
    }
}

/// Puts the newest sample within the lookback at each step; whether there was any.
fn fill_newest(
    points: &Points,
    row: &mut Row,
    lookback_ms: i64,
    time_of: impl Fn(usize) -> i64,
    deliver: Deliver,
) -> bool {
    let (mut floats, mut histograms) = (0, 0);
    let mut found = false;
    for step in 0..row.steps() {
        let time = time_of(step);
        floats += points.times[floats..].iter().take_while(|&&t| t <= time).count();
        histograms += points.histogram_times[histograms..].iter().take_while(|&&t| t <= time).count();
        let after = time.saturating_sub(lookback_ms);
        let newest = |times: &[i64], end: usize| end.checked_sub(1).map(|at| times[at]).filter(|&t| t > after);
        let float_time = newest(&points.times, floats);
        let histogram_time = newest(&points.histogram_times, histograms);
        let sample = if histogram_time > float_time {
            let histogram = &points.histograms[histograms - 1];
            if histogram.is_stale() { Sample::Absent } else { Sample::Histogram(histogram) }
        } else if float_time.is_some() {
            let value = points.values[floats - 1];
            if tsq_core::is_stale(value) { Sample::Absent } else { Sample::Float(value) }
        } else {
            Sample::Absent
        };
        let sample_time = histogram_time.max(float_time).unwrap_or(0);
        match (sample, deliver) {
            (Sample::Absent, _) => continue,
            (_, Deliver::Time) => row.set_float(step, sample_time as f64 / 1000.0),
            (Sample::Float(value), Deliver::Value) => row.set_float(step, value),
            (Sample::Histogram(histogram), Deliver::Value) => row.set_histogram(step, histogram.clone()),
        }
        found = true;
    }
    found
}

/// Series of samples for a function over ranges: those of a selector, or the results of a subquery.
pub(crate) enum RangeInput<'q> {
    Selector(Selection<'q>),
    Subquery { query: &'q Query<'q>, child: BoxOperator<'q>, grid: Grid },
}

impl<'q> RangeInput<'q> {
    /// What a function makes of the samples of the next series; `None` at the end.
    pub(crate) fn map(
        &mut self,
        make: impl Fn(&Labels, bool, &Points) -> Result<Option<Row>> + Sync,
    ) -> Result<Option<Vec<Row>>> {
        match self {
            Self::Selector(selection) => selection.map_points(|labels, points| make(labels, false, points)),
            Self::Subquery { query, child, grid } => {
                let Some(batch) = child.next()? else { return Ok(None) };
                query.check()?;
                let mut points = Points::default();
                let mut rows = Vec::new();
                for row in batch.rows {
                    points_of(&row, *grid, &mut points);
                    rows.extend(make(&row.labels, row.drop_name, &points)?);
                }
                Ok(Some(rows))
            }
        }
    }
}

/// The samples of a row with the times of its grid.
fn points_of(row: &Row, grid: Grid, points: &mut Points) {
    points.clear();
    for step in 0..row.steps() {
        match row.sample(step) {
            Sample::Absent => {}
            Sample::Float(value) => {
                points.times.push(grid.time(step));
                points.values.push(value);
            }
            Sample::Histogram(histogram) => {
                points.histogram_times.push(grid.time(step));
                points.histograms.push(histogram.clone());
            }
        }
    }
}

/// What a function makes of the window of a step.
pub(crate) type Compute<'q> = dyn Fn(usize, &Window<'_>, &mut Notes) -> Out + Sync + 'q;

/// A function over the range behind each step.
pub(crate) struct RangeCall<'q> {
    pub query: &'q Query<'q>,
    pub input: RangeInput<'q>,
    pub ranges: Ranges,
    /// How far before and after the range the function may look as well.
    pub margin_ms: (i64, i64),
    pub keeps_name: bool,
    pub compute: Box<Compute<'q>>,
    /// Called for each series that gave a result, to say what its labels alone tell.
    pub remark: Option<fn(&Labels, &Row, &mut Notes)>,
    /// Where the range stands in the query text.
    pub text_range: TextRange,
}

impl<'q> Operator<'q> for RangeCall<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let (query, ranges, keeps_name) = (self.query, self.ranges, self.keeps_name);
        if ranges.grid.count == 0 {
            return Ok(None);
        }
        let (compute, margin_ms) = (&self.compute, self.margin_ms);
        let (remark, text_range) = (self.remark, self.text_range);
        let rows = self.input.map(|labels, drop_name, points| {
            let _charge = query.memory.charge(ranges.grid.count * size_of::<f64>())?;
            let mut row = Row::absent(labels.clone(), drop_name || !keeps_name, ranges.grid.count);
            let mut notes = Notes::default();
            let mut slider = Slider::default();
            let (mut found, mut looked_at) = (false, 0);
            for step in 0..ranges.grid.count {
                let (start, end) = ranges.bounds(step);
                let wider = (start.saturating_sub(margin_ms.0), end.saturating_add(margin_ms.1));
                let window = slider.slide(points, (start, end), wider, ranges.grid.time(step));
                if window.values.is_empty() && window.histograms.is_empty() {
                    continue;
                }
                looked_at += window.values.len() + window.histograms.len();
                if looked_at > CHECK_AFTER {
                    query.check()?;
                    looked_at = 0;
                }
                match compute(step, &window, &mut notes) {
                    Out::None => continue,
                    Out::Float(value) => row.set_float(step, value),
                    Out::Histogram(histogram) => row.set_histogram(step, (*histogram).into()),
                }
                found = true;
            }
            if let (true, Some(remark)) = (found, remark) {
                remark(labels, &row, &mut notes);
            }
            query.annotate(&mut notes, labels.metric_name(), text_range);
            Ok(found.then_some(row))
        })?;
        rows.map(|rows| query.batch(rows)).transpose()
    }
}
