//! Selectors: series from the source, read by several workers, handed on in label order.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tsq_core::{Labels, Matcher, Reach, Series, SeriesStream, TimeRange};

use super::context::{Query, Result};
use super::grid::{Grid, Ranges, Shift};
use super::memory::Charge;
use super::operator::{BoxOperator, Operator};
use super::recorder::{Reads, Recorder};
use super::row::{Batch, Row, Sample};
use super::samples::{Points, Slider, storage_error};
use super::workers::{ReadRow, Scratch, Workers};
use crate::ast::TextRange;
use crate::kernels::{Frame, Notes, Out, Window};

/// Samples in windows after which a long series asks whether the query is to stop.
const CHECK_AFTER: usize = 1 << 20;

/// Samples of a series that may take long enough to ask whether the query is to stop.
const LONG: usize = 1024;

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
    /// The batch after the one that was delivered last, fetched while that one was read.
    ahead: Option<Result<Fetched<'q>>>,
    workers: Workers<'q>,
}

/// Series that are to be read, and the memory they are charged with.
struct Fetched<'q> {
    series: Vec<Series>,
    _charge: Charge<'q>,
}

impl<'q> Selection<'q> {
    /// Series with samples after `after_ms` up to `to_ms`, of which rows of so many steps are to be made.
    pub(crate) fn new(
        query: &'q Query<'q>,
        matchers: impl Into<Cow<'q, [Matcher]>>,
        (after_ms, to_ms): (i64, i64),
        steps: usize,
    ) -> Self {
        let range = TimeRange::new(after_ms.saturating_add(1), to_ms);
        let reads = query.recorder.as_ref().and_then(Recorder::reads);
        let (matchers, workers) = (matchers.into(), Workers::new(query, steps));
        Self { query, matchers, range, finds_resets: false, stream: None, reads, ahead: None, workers }
    }

    /// What a function makes of the next series, in label order; `None` at the end.
    ///
    /// Small batches are read here, larger ones by several threads; the result is the same.
    fn map(&mut self, read: ReadRow<'_>) -> Result<Option<Vec<Row>>> {
        self.query.check()?;
        if self.stream.is_none() {
            let selected = self.query.source.select(&self.matchers, self.range);
            self.stream = Some(selected.map_err(|error| storage_error(&error))?);
        }
        let (query, count) = (self.query, self.workers.batch());
        let stream = self.stream.as_mut().expect("it was opened above");
        let mut fetch = || fetch(query, stream.as_mut(), count);
        let fetched = self.ahead.take().unwrap_or_else(&mut fetch)?;
        if fetched.series.is_empty() {
            return Ok(None);
        }
        query.counters.series.fetch_add(fetched.series.len() as u64, Ordering::Relaxed);
        let read_ns = self.reads.as_ref().map_or(0, |reads| reads.nanoseconds());
        let done = self.workers.read(&fetched.series, read, fetch)?;
        if let Some(reads) = &self.reads {
            reads.share(read_ns, done.threads);
        }
        self.ahead = Some(done.fetched);
        Ok(Some(done.rows))
    }

    /// What a function makes of the samples of the next series, staleness markers left out.
    pub(crate) fn map_points(
        &mut self,
        steps: usize,
        make: impl Fn(&mut Scratch, &Labels, &Points) -> Result<Option<Row>> + Sync,
    ) -> Result<Option<Vec<Row>>> {
        let (query, range, finds_resets) = (self.query, self.range, self.finds_resets);
        let reads = self.reads.clone();
        self.map(&|worker, series| {
            worker.reader.read_present(query, series, range, reads.as_deref(), &mut worker.points)?;
            if finds_resets {
                worker.points.find_resets();
            }
            worker.account(range_bytes(steps))?;
            if worker.points.len() == 0 { Ok(None) } else { make(&mut worker.scratch, series.labels(), &worker.points) }
        })
    }
}

/// Bytes of the windows and results of one series.
fn range_bytes(steps: usize) -> usize {
    steps.saturating_mul(size_of::<Frame>() + size_of::<f64>())
}

fn fetch<'q>(query: &'q Query<'q>, stream: &mut dyn SeriesStream, count: usize) -> Result<Fetched<'q>> {
    let series = stream.next_batch(count).map_err(|error| storage_error(&error))?;
    let bytes = series.iter().map(Series::memory).sum();
    Ok(Fetched { series, _charge: query.memory.charge(bytes)? })
}

/// What an instant selector delivers of the sample it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deliver {
    /// Its value.
    Value,
    /// Its time in seconds, for `timestamp`.
    Time,
    /// Its start time in seconds, 0 when it is unknown, for `start_timestamp`.
    Start,
}

/// Where an instant looks for the newest sample.
#[derive(Clone, Copy, Debug)]
struct Sight {
    lookback_ms: i64,
    /// Nothing is seen after the last sample.
    until_last: bool,
}

impl Sight {
    /// Whether a sample is seen at a time, given the time of the last one.
    fn reaches(self, sample_ms: i64, time_ms: i64, last_ms: i64) -> bool {
        sample_ms > time_ms.saturating_sub(self.lookback_ms) && !(self.until_last && time_ms > last_ms)
    }
}

/// An instant selector: at each step the newest sample within the lookback.
pub(crate) struct Select<'q> {
    pub query: &'q Query<'q>,
    pub selection: Selection<'q>,
    pub grid: Grid,
    pub shift: Shift,
    pub deliver: Deliver,
    sight: Sight,
}

impl<'q> Select<'q> {
    pub(crate) fn new(
        query: &'q Query<'q>,
        matchers: impl Into<Cow<'q, [Matcher]>>,
        grid: Grid,
        shift: Shift,
        deliver: Deliver,
    ) -> Self {
        let matchers = matchers.into();
        let reach = query.source.reach(&matchers);
        let lookback_ms = if reach == Reach::Lookback { query.lookback_ms } else { i64::MAX };
        let sight = Sight { lookback_ms, until_last: reach == Reach::UntilLast };
        let (after_ms, to_ms) = Ranges { grid, shift, range_ms: lookback_ms }.hull();
        let hull = (after_ms, if sight.until_last { i64::MAX } else { to_ms });
        let selection = Selection::new(query, matchers, hull, grid.count);
        Self { query, selection, grid, shift, deliver, sight }
    }
}

impl<'q> Operator<'q> for Select<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        if self.grid.count == 0 {
            return Ok(None);
        }
        let Self { query, grid, shift, deliver, sight, .. } = *self;
        let (range, finds_resets) = (self.selection.range, self.selection.finds_resets);
        let reads = self.selection.reads.clone();
        let rows = self.selection.map(&|worker, series| {
            worker.reader.read(query, series, range, reads.as_deref(), &mut worker.points)?;
            if finds_resets {
                worker.points.find_resets();
            }
            worker.account(grid.count.saturating_mul(size_of::<f64>()))?;
            let mut row = Row::absent(series.labels().clone(), deliver != Deliver::Value, grid.count);
            let time_of = |step| shift.apply(grid.time(step));
            let found = if worker.points.histograms.is_empty() {
                fill_newest_floats(&worker.points, &mut row, sight, time_of, deliver)
            } else {
                fill_newest(&worker.points, &mut row, sight, time_of, deliver)
            };
            Ok(found.then_some(row))
        })?;
        rows.map(|rows| query.batch(rows)).transpose()
    }
}

/// As [`fill_newest`], for series without histograms.
fn fill_newest_floats(
    points: &Points,
    row: &mut Row,
    sight: Sight,
    time_of: impl Fn(usize) -> i64,
    deliver: Deliver,
) -> bool {
    let last_ms = points.times.last().copied().unwrap_or(i64::MIN);
    let mut next = 0;
    let mut found = false;
    for (step, out) in row.column_mut().iter_mut().enumerate() {
        let time = time_of(step);
        while points.times.get(next).is_some_and(|&t| t <= time) {
            next += 1;
        }
        let Some(newest) = next.checked_sub(1) else { continue };
        if sight.reaches(points.times[newest], time, last_ms) && !tsq_core::is_stale(points.values[newest]) {
            *out = match deliver {
                Deliver::Value => points.values[newest],
                Deliver::Time => points.times[newest] as f64 / 1000.0,
                Deliver::Start => start_s(&points.starts, next),
            };
            found = true;
        }
    }
    found
}

/// Puts the newest sample within the lookback at each step; whether there was any.
fn fill_newest(points: &Points, row: &mut Row, sight: Sight, time_of: impl Fn(usize) -> i64, deliver: Deliver) -> bool {
    let last_ms = points.times.last().max(points.histogram_times.last()).copied().unwrap_or(i64::MIN);
    let (mut floats, mut histograms) = (0, 0);
    let mut found = false;
    for step in 0..row.steps() {
        let time = time_of(step);
        floats += points.times[floats..].iter().take_while(|&&t| t <= time).count();
        histograms += points.histogram_times[histograms..].iter().take_while(|&&t| t <= time).count();
        let seen = |&sample_ms: &i64| sight.reaches(sample_ms, time, last_ms);
        let newest = |times: &[i64], end: usize| end.checked_sub(1).map(|at| times[at]).filter(seen);
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
            (Sample::Float(_), Deliver::Start) => row.set_float(step, start_s(&points.starts, floats)),
            (Sample::Histogram(_), Deliver::Start) => {
                row.set_float(step, start_s(&points.histogram_starts, histograms));
            }
            (Sample::Float(value), Deliver::Value) => row.set_float(step, value),
            (Sample::Histogram(histogram), Deliver::Value) => row.set_histogram(step, histogram.clone()),
        }
        found = true;
    }
    found
}

/// Start time in seconds of the last of `count` samples, 0 when it is unknown.
fn start_s(starts: &[i64], count: usize) -> f64 {
    count.checked_sub(1).and_then(|at| starts.get(at)).map_or(0.0, |&start_ms| start_ms as f64 / 1000.0)
}

/// Series of samples for a function over ranges: those of a selector, or the results of a subquery.
pub(crate) enum RangeInput<'q> {
    Selector(Selection<'q>),
    Subquery { query: &'q Query<'q>, child: BoxOperator<'q>, grid: Grid },
}

impl<'q> RangeInput<'q> {
    /// What a function makes of the samples of the next series, for so many steps; `None` at the end.
    pub(crate) fn map(
        &mut self,
        steps: usize,
        make: impl Fn(&mut Scratch, &Labels, bool, &Points) -> Result<Option<Row>> + Sync,
    ) -> Result<Option<Vec<Row>>> {
        match self {
            Self::Selector(selection) => {
                selection.map_points(steps, |scratch, labels, points| make(scratch, labels, false, points))
            }
            Self::Subquery { query, child, grid } => {
                let Some(batch) = child.next()? else { return Ok(None) };
                query.check()?;
                let most = batch.rows.iter().map(Row::bytes).max().unwrap_or(0);
                let _charge = query.memory.charge((2 * most).saturating_add(range_bytes(steps)))?;
                let mut points = Points::default();
                let mut scratch = Scratch::default();
                let mut rows = Vec::new();
                for row in batch.rows {
                    points_of(&row, *grid, &mut points);
                    rows.extend(make(&mut scratch, &row.labels, row.drop_name, &points)?);
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

/// What a function makes of all windows of a series of floats: one result a step, where there is one.
pub(crate) type ComputeAll<'q> = dyn Fn(&Points, &[Frame], &mut Notes, &mut [f64]) + Sync + 'q;

/// A function over the range behind each step.
pub(crate) struct RangeCall<'q> {
    pub query: &'q Query<'q>,
    pub input: RangeInput<'q>,
    pub ranges: Ranges,
    /// How far before and after the range the function may look as well.
    pub margin_ms: (i64, i64),
    pub keeps_name: bool,
    pub compute: Box<Compute<'q>>,
    /// Does the same as `compute` for series that only have floats and no start times, if there is no margin.
    pub compute_all: Option<Box<ComputeAll<'q>>>,
    /// Says what the name and type of a metric alone tell. Called when they made floats, once as long as they stay.
    pub remark: Option<fn(&Labels, &mut Notes)>,
    /// Where the range stands in the query text.
    pub text_range: TextRange,
}

impl<'q> Operator<'q> for RangeCall<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let (query, ranges, keeps_name) = (self.query, self.ranges, self.keeps_name);
        let steps = ranges.grid.count;
        if steps == 0 {
            return Ok(None);
        }
        let (windows, compute_all) = (Windows { query, ranges, margin_ms: self.margin_ms }, &self.compute_all);
        let (compute, remark, text_range) = (&self.compute, self.remark, self.text_range);
        let rows = self.input.map(steps, |scratch, labels, drop_name, points| {
            let mut row = Row::absent(labels.clone(), drop_name || !keeps_name, steps);
            let mut notes = Notes::default();
            let found = match compute_all {
                Some(compute_all) if points.has_floats_only() => {
                    windows.frames(points, &mut scratch.frames);
                    compute_all(points, &scratch.frames, &mut notes, row.column_mut());
                    if points.len() > LONG {
                        query.check()?;
                    }
                    !row.is_empty()
                }
                _ => windows.each(points, compute.as_ref(), &mut row, &mut notes)?,
            };
            if let Some(remark) = remark.filter(|_| row.has_floats() && scratch.is_new_metric(labels)) {
                remark(labels, &mut notes);
            }
            if !notes.is_empty() {
                query.annotate(&mut notes, labels.metric_name(), text_range);
            }
            Ok(found.then_some(row))
        })?;
        rows.map(|rows| query.batch(rows)).transpose()
    }
}

/// The windows behind the steps of a grid.
#[derive(Clone, Copy)]
struct Windows<'q> {
    query: &'q Query<'q>,
    ranges: Ranges,
    margin_ms: (i64, i64),
}

impl Windows<'_> {
    /// Computes window by window; whether there was any result.
    fn each(&self, points: &Points, compute: &Compute<'_>, row: &mut Row, notes: &mut Notes) -> Result<bool> {
        let mut slider = Slider::default();
        let (mut found, mut looked_at) = (false, 0);
        for step in 0..self.ranges.grid.count {
            let (start, end) = self.ranges.bounds(step);
            let wider = (start.saturating_sub(self.margin_ms.0), end.saturating_add(self.margin_ms.1));
            let window = slider.slide(points, (start, end), wider, self.ranges.grid.time(step));
            if window.values.is_empty() && window.histograms.is_empty() {
                continue;
            }
            looked_at += window.values.len() + window.histograms.len();
            if looked_at > CHECK_AFTER {
                self.query.check()?;
                looked_at = 0;
            }
            match compute(step, &window, notes) {
                Out::None => continue,
                Out::Float(value) => row.set_float(step, value),
                Out::Histogram(histogram) => row.set_histogram(step, (*histogram).into()),
            }
            found = true;
        }
        Ok(found)
    }

    /// Finds the floats of each window.
    fn frames(&self, points: &Points, frames: &mut Vec<Frame>) {
        let times = points.times.as_slice();
        let (mut first, mut last) = (0, 0);
        frames.clear();
        frames.extend((0..self.ranges.grid.count).map(|step| {
            let (start_ms, end_ms) = self.ranges.bounds(step);
            while times.get(first).is_some_and(|&time| time <= start_ms) {
                first += 1;
            }
            last = first.max(last);
            while times.get(last).is_some_and(|&time| time <= end_ms) {
                last += 1;
            }
            Frame { first, end: last, start_ms, end_ms }
        }));
    }
}
