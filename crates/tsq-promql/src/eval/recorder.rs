//! Watches the parts of a plan at work, for `explain`. The planner passes what it plans through here, so that no
//! operator knows of it; without a recorder that is one branch for each part of a plan.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tsq_core::ReadCost;

use crate::ast::{Expr, Node};
use crate::explain::{Explain, PlanKind, PlanPart};
use crate::printer::operator_text;

use super::context::{Query, Result};
use super::memory::Memory;
use super::operator::{BoxOperator, Column, Operator};
use super::plan::PlannedRange;
use super::row::Batch;

/// What selectors have read for one part of a plan.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    series: AtomicU64,
    samples: AtomicU64,
    head_samples: AtomicU64,
    chunks: AtomicU64,
    chunk_bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Reads {
    /// Counts a series that was read into `samples` samples.
    pub(crate) fn add(&self, samples: usize, cost: ReadCost, time: Duration) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.series, 1);
        add(&self.samples, samples as u64);
        add(&self.head_samples, cost.head_samples);
        add(&self.chunks, cost.chunks);
        add(&self.chunk_bytes, cost.chunk_bytes);
        add(&self.nanoseconds, nanoseconds(time));
    }

    /// Time spent reading, summed over threads.
    pub(crate) fn nanoseconds(&self) -> u64 {
        self.nanoseconds.load(Ordering::Relaxed)
    }

    /// Counts the time since `before_ns` as that of several threads at once.
    pub(crate) fn share(&self, before_ns: u64, threads: usize) {
        let spent = self.nanoseconds().saturating_sub(before_ns);
        self.nanoseconds.store(before_ns + spent / threads.max(1) as u64, Ordering::Relaxed);
    }
}

/// A part of a plan while it is at work.
#[derive(Debug)]
struct Part {
    parent: Option<usize>,
    kind: PlanKind,
    operator: String,
    range: crate::ast::TextRange,
    steps: usize,
    series: u64,
    time: Duration,
    peak_bytes: u64,
    reads: Arc<Reads>,
}

/// The parts of the plan of one query, each before its children.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    parts: Mutex<Vec<Part>>,
    /// Number of the part that is planned or at work, counted from 1; 0 for none.
    current: AtomicUsize,
}

impl Recorder {
    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, expr: &Expr, steps: usize) -> usize {
        let mut parts = self.parts();
        parts.push(Part {
            parent: self.current.load(Ordering::Relaxed).checked_sub(1),
            kind: kind_of(&expr.node),
            operator: operator_text(expr),
            range: expr.range,
            steps,
            series: 0,
            time: Duration::ZERO,
            peak_bytes: 0,
            reads: Arc::default(),
        });
        parts.len() - 1
    }

    /// Does a piece of the work of a part.
    fn within<T>(&self, number: usize, memory: &Memory, work: impl FnOnce() -> T) -> T {
        let outer = self.current.swap(number + 1, Ordering::Relaxed);
        let (outer_peak, begin) = (memory.restart_peak(), Instant::now());
        let result = work();
        let (time, peak) = (begin.elapsed(), memory.peak());
        memory.raise_peak(outer_peak);
        self.current.store(outer, Ordering::Relaxed);
        let mut parts = self.parts();
        parts[number].time += time;
        parts[number].peak_bytes = parts[number].peak_bytes.max(peak);
        result
    }

    fn add_series(&self, number: usize, series: usize) {
        self.parts()[number].series += series as u64;
    }

    /// Where a selector that is made now has its reading counted.
    pub(crate) fn reads(&self) -> Option<Arc<Reads>> {
        let number = self.current.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.parts()[number].reads.clone())
    }

    /// What was seen.
    pub(crate) fn explain(&self, time: Duration) -> Explain {
        let parts = std::mem::take(&mut *self.parts());
        let parents: Vec<Option<usize>> = parts.iter().map(|part| part.parent).collect();
        let mut finished: Vec<PlanPart> = parts.into_iter().map(Part::finish).collect();
        // Children come after their parents: from the end, all of a part's children are complete when it is reached.
        let mut below = vec![Below::default(); finished.len()];
        for number in (0..finished.len()).rev() {
            let part = &mut finished[number];
            below[number].complete(part);
            if let Some(parent) = parents[number] {
                below[parent].add(part);
            }
        }
        for number in 0..finished.len() {
            finished[number].depth = parents[number].map_or(0, |parent| finished[parent].depth + 1);
        }
        Explain { time, parts: finished }
    }
}

/// What the children of a part did.
#[derive(Clone, Copy, Debug, Default)]
struct Below {
    time: Duration,
    series: u64,
    peak_bytes: u64,
}

impl Below {
    fn add(&mut self, child: &PlanPart) {
        self.time += child.time;
        self.series += child.series;
        self.peak_bytes = self.peak_bytes.max(child.peak_bytes);
    }

    fn complete(self, part: &mut PlanPart) {
        if part.kind == PlanKind::Subquery {
            // What its child evaluates goes to the function around it, which is measured there.
            part.time = part.time.max(self.time);
            part.series = self.series;
        }
        part.self_time = part.time.saturating_sub(self.time);
        part.peak_bytes = part.peak_bytes.max(self.peak_bytes);
    }
}

impl Part {
    fn finish(self) -> PlanPart {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let is_range = self.kind == PlanKind::Range;
        // The samples of a range are read while the function around it works: it did the planning and the reading.
        let reading = if is_range { Duration::from_nanos(self.reads.nanoseconds()) } else { Duration::ZERO };
        PlanPart {
            depth: 0,
            kind: self.kind,
            operator: self.operator,
            range: self.range,
            steps: self.steps as u64,
            series: if is_range { load(&self.reads.series) } else { self.series },
            samples: load(&self.reads.samples),
            head_samples: load(&self.reads.head_samples),
            chunks: load(&self.reads.chunks),
            chunk_bytes: load(&self.reads.chunk_bytes),
            time: self.time + reading,
            self_time: Duration::ZERO,
            peak_bytes: self.peak_bytes,
        }
    }
}

fn kind_of(node: &Node) -> PlanKind {
    match node {
        Node::Selector(_) => PlanKind::Selector,
        Node::Matrix { .. } => PlanKind::Range,
        Node::Subquery(_) => PlanKind::Subquery,
        Node::Aggregate(_) => PlanKind::Aggregation,
        Node::Binary(_) => PlanKind::Binary,
        Node::Unary { .. } => PlanKind::Unary,
        Node::Paren(inner) => kind_of(&inner.node),
        Node::Call { .. } | Node::Number { .. } | Node::String(_) | Node::Context(_) => PlanKind::Call,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Plans a vector, and watches it if the query is to be explained.
pub(crate) fn watch_vector<'q>(
    query: &'q Query<'q>,
    expr: &Expr,
    steps: usize,
    plan: impl FnOnce() -> Result<BoxOperator<'q>>,
) -> Result<BoxOperator<'q>> {
    let Some(recorder) = &query.recorder else { return plan() };
    let number = recorder.add(expr, steps);
    let input = recorder.within(number, &query.memory, plan)?;
    Ok(Box::new(Watched { recorder, memory: &query.memory, number, input }))
}

/// Plans a range vector, and watches it if the query is to be explained.
pub(crate) fn watch_range<'q>(
    query: &'q Query<'q>,
    expr: &Expr,
    steps: usize,
    plan: impl FnOnce() -> Result<PlannedRange<'q>>,
) -> Result<PlannedRange<'q>> {
    let Some(recorder) = &query.recorder else { return plan() };
    recorder.within(recorder.add(expr, steps), &query.memory, plan)
}

/// Evaluates a call that gives a scalar, and watches it if the query is to be explained.
pub(crate) fn watch_scalar<'q>(
    query: &'q Query<'q>,
    expr: &Expr,
    steps: usize,
    evaluate: impl FnOnce() -> Result<Column<'q>>,
) -> Result<Column<'q>> {
    let Some(recorder) = &query.recorder else { return evaluate() };
    let number = recorder.add(expr, steps);
    let column = recorder.within(number, &query.memory, evaluate)?;
    recorder.add_series(number, 1);
    Ok(column)
}

/// An operator whose work is measured.
struct Watched<'q> {
    recorder: &'q Recorder,
    memory: &'q Memory,
    number: usize,
    input: BoxOperator<'q>,
}

impl<'q> Operator<'q> for Watched<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let input = &mut self.input;
        let batch = self.recorder.within(self.number, self.memory, || input.next())?;
        if let Some(batch) = &batch {
            self.recorder.add_series(self.number, batch.rows.len());
        }
        Ok(batch)
    }
}
