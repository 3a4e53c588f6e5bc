//! What all operators of a running query share: its data, its limits, what it has to say.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tsq_core::Source;

use super::grid::Grid;
use super::memory::Memory;
use super::recorder::Recorder;
use super::row::{Batch, Row};
use crate::answer::{QueryError, QueryErrorKind, Stats};
use crate::ast::TextRange;
use crate::engine::CancelFlag;
use crate::error::position;
use crate::kernels::{Note, Notes, Severity};
use crate::regex::PatternBudget;

/// Result of evaluating.
pub(crate) type Result<T, E = QueryError> = std::result::Result<T, E>;

/// Most annotations that are kept: a query over many odd metrics says enough with these.
const ANNOTATIONS_MAX: usize = 1000;

/// A failure of the query itself.
pub(crate) fn execution(message: impl Into<String>) -> QueryError {
    QueryError { kind: QueryErrorKind::Execution, message: message.into() }
}

/// A running query.
pub(crate) struct Query<'q> {
    pub source: &'q dyn Source,
    pub text: &'q str,
    /// The outermost evaluation times.
    pub grid: Grid,
    /// Last time of the query as it was given; the last evaluation time may be earlier.
    pub end_ms: i64,
    pub is_range: bool,
    pub lookback_ms: i64,
    pub subquery_step_ms: i64,
    pub memory: Memory,
    pub deadline: Option<Instant>,
    pub cancel: CancelFlag,
    pub threads: usize,
    pub parallel_from: Duration,
    /// What patterns with captures may still take.
    pub patterns: Mutex<PatternBudget>,
    pub annotations: Annotations,
    pub counters: Counters,
    /// Watches the parts of the plan, if the query is to be explained.
    pub recorder: Option<Recorder>,
}

/// What a query has read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub series: AtomicU64,
    pub samples: AtomicU64,
}

impl<'q> Query<'q> {
    /// Stops the query when it was canceled or takes too long. Called for each batch.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.is_canceled() {
            let message = "query was canceled in expression evaluation".to_owned();
            return Err(QueryError { kind: QueryErrorKind::Canceled, message });
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = "query timed out in expression evaluation".to_owned();
            return Err(QueryError { kind: QueryErrorKind::Timeout, message });
        }
        Ok(())
    }

    /// A batch of rows, charged for.
    pub(crate) fn batch(&self, rows: Vec<Row>) -> Result<Batch<'_>> {
        let bytes = rows.iter().map(Row::bytes).sum();
        Ok(Batch { rows, charge: self.memory.charge(bytes)? })
    }

    /// Takes over what kernels had to say about a metric at a place of the query text.
    pub(crate) fn annotate(&self, notes: &mut Notes, metric: &str, range: TextRange) {
        notes.drain().for_each(|note| self.annotations.add(note, metric, (range, range)));
    }

    /// Says one thing about a metric at a place of the query text.
    pub(crate) fn note(&self, note: Note, metric: &str, range: TextRange) {
        self.annotations.add(note, metric, (range, range));
    }

    /// Says one thing about the parameter at `range` of the expression at `whole`, once all of that is evaluated.
    pub(crate) fn note_param(&self, note: Note, range: TextRange, whole: TextRange) {
        self.annotations.add(note, "", (range, whole));
    }

    /// What the query has cost so far.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            series: self.counters.series.load(Ordering::Relaxed),
            samples: self.counters.samples.load(Ordering::Relaxed),
            peak_bytes: self.memory.peak(),
        }
    }
}

/// Notes by what they say. Of several places that it can be said of, the one that is evaluated last is told.
#[derive(Debug, Default)]
pub(crate) struct Annotations(Mutex<HashMap<String, Annotation>>);

#[derive(Debug)]
struct Annotation {
    note: Note,
    metric: String,
    /// The first byte of what it is about.
    start: usize,
    /// When it was said: see [`turn`].
    turn: (usize, Reverse<usize>),
}

/// When an expression is evaluated: after those in front of it and those inside of it.
fn turn(whole: TextRange) -> (usize, Reverse<usize>) {
    (whole.end, Reverse(whole.start))
}

impl Annotations {
    /// Adds a note about `range`, said by the expression `whole`.
    fn add(&self, note: Note, metric: &str, (range, whole): (TextRange, TextRange)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, turn) = (note.gist(metric), turn(whole));
        if let Some(annotation) = known.get_mut(&key) {
            annotation.note.absorb(&note);
            if turn > annotation.turn {
                (annotation.start, annotation.turn) = (range.start, turn);
            }
        } else if known.len() < ANNOTATIONS_MAX {
            known.insert(key, Annotation { note, metric: metric.to_owned(), start: range.start, turn });
        }
    }

    /// Texts of the warnings and of the infos, sorted.
    pub(crate) fn texts(&self, query_text: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for Annotation { note, metric, start, .. } in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let (line, column) = position(query_text, *start);
            let text = format!("{} ({line}:{column})", note.text(metric));
            match note.severity() {
                Severity::Warning => warnings.push(text),
                Severity::Info => infos.push(text),
            }
        }
        warnings.sort();
        infos.sort();
        (warnings, infos)
    }
}

/// When a query that starts now has to end.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
