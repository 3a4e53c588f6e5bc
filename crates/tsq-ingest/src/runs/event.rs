//! What the file of any tracker says about runs, in one form.

use std::collections::VecDeque;
use std::mem;

use tsq_core::Histogram;

use super::Damages;
use super::json::Value;
use crate::error::ImportError;

/// One statement about runs. All but [`RunEvent::Run`] are about the run named last.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// What follows belongs to this run. It may have been named before, with less.
    Run(Box<RunHeader>),
    /// A parameter.
    Param {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// A tag.
    Tag {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// The nested configuration, whole: an object. Its parameters come as [`RunEvent::Param`] too.
    Config(Value),
    /// The nested summary, whole: an object.
    Summary(Value),
    /// A float of a series.
    Point {
        /// Name of the series.
        key: String,
        /// When and at which step.
        at: At,
        /// The value.
        value: f64,
    },
    /// A histogram of a series.
    Histogram {
        /// Name of the series.
        key: String,
        /// When and at which step.
        at: At,
        /// The value.
        histogram: Box<Histogram>,
    },
    /// A value that is no float: text, truth value, long integer, list, or what a histogram has beside its buckets.
    Other {
        /// Name of the series.
        key: String,
        /// When and at which step.
        at: At,
        /// The value.
        value: Value,
    },
    /// The run is over.
    End {
        /// How it ended.
        status: RunStatus,
        /// Milliseconds since 1970, when it is known.
        time_ms: Option<i64>,
    },
}

/// Where a value stands in its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Milliseconds since 1970. Formats without times give one second a step, from 1970 on.
    pub time_ms: i64,
    /// Training step.
    pub step: i64,
}

/// How a run stands. The words are those of MLflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunStatus {
    /// It goes on, or the file does not say.
    #[default]
    Running,
    /// It waits to begin.
    Scheduled,
    /// It is done.
    Finished,
    /// It broke.
    Failed,
    /// It was stopped.
    Killed,
}

impl RunStatus {
    /// Whether the run does not go on.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }

    /// Name in MLflow's API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Scheduled => "SCHEDULED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

/// A run as its file introduces it. Empty texts: not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunHeader {
    /// Tracker: `wandb`, `tensorboard`, `mlflow`, `huggingface` or `lightning`.
    pub source: &'static str,
    /// Experiment or project.
    pub experiment: String,
    /// Id, unique among all runs. The same file gives the same id each time.
    pub run_id: String,
    /// Name for people.
    pub run_name: String,
    /// User or team.
    pub user: String,
    /// Milliseconds since 1970, when it is known.
    pub start_time_ms: Option<i64>,
}

/// Reads a file, or a directory that is one run.
pub trait RunReader {
    /// The next statement, `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or it is of another format. What is damaged inside is left out: [`RunReader::damages`].
    fn next_event(&mut self) -> Result<Option<RunEvent>, ImportError>;

    /// Bytes read, for the progress.
    fn offset(&self) -> u64;

    /// What could not be read up to here.
    fn damages(&self) -> &Damages;
}

/// Statements that wait to be given out.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<RunEvent>);

impl Queue {
    pub(super) fn next(&mut self) -> Option<RunEvent> {
        self.0.pop_front()
    }

    pub(super) fn push(&mut self, event: RunEvent) {
        self.0.push_back(event);
    }

    /// A logged value: a point when a float holds it, and something else otherwise. Objects come apart, their keys
    /// joined by dots, but for those that say their type (`_type`), which are one value.
    pub(super) fn value(&mut self, key: String, at: At, value: Value) {
        if let Some(value) = value.as_exact_float() {
            return self.push(RunEvent::Point { key, at, value });
        }
        match value {
            Value::Object(fields) if !fields.is_empty() && fields.iter().all(|(name, _)| name != "_type") => {
                fields.into_iter().for_each(|(name, value)| self.value(format!("{key}.{name}"), at, value));
            }
            value => self.push(RunEvent::Other { key, at, value }),
        }
    }

    /// A configuration: its parts as parameters, and the whole.
    pub(super) fn config(&mut self, config: Value) {
        if let Value::Object(fields) = &config {
            fields.iter().for_each(|(name, value)| self.param(name.clone(), value));
        }
        self.push(RunEvent::Config(config));
    }

    fn param(&mut self, key: String, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(name, value)| self.param(format!("{key}.{name}"), value));
            }
            Value::Text(text) => self.push(RunEvent::Param { key, value: text.clone() }),
            value => self.push(RunEvent::Param { key, value: value.to_string() }),
        }
    }
}

/// Observations between edges as a histogram with custom buckets: `counts[i]` lie between `edges[i]` and
/// `edges[i + 1]`. A last edge of plus infinity is no bound. `None`: they are not a histogram of ascending finite edges.
pub(super) fn histogram_of_edges(edges: &[f64], counts: &[f64], sum: Option<f64>) -> Option<Histogram> {
    let bounds = match edges {
        [bounds @ .., last] if *last == f64::INFINITY => bounds,
        _ => edges,
    };
    let ascending = bounds.is_sorted_by(|left, right| left < right) && bounds.iter().all(|bound| bound.is_finite());
    let counted = counts.iter().all(|count| count.is_finite() && *count >= 0.0);
    if bounds.is_empty() || edges.len() != counts.len() + 1 || !ascending || !counted {
        return None;
    }
    // The first bucket ends at the first edge and is empty.
    let buckets: Vec<f64> = std::iter::once(0.0).chain(counts.iter().copied()).collect();
    let middle = |index: usize| (edges[index] + edges[index + 1].min(bounds[bounds.len() - 1])) / 2.0;
    let estimate = || counts.iter().enumerate().map(|(index, count)| count * middle(index)).sum();
    Some(custom_histogram(bounds.to_vec(), buckets, sum.unwrap_or_else(estimate)))
}

/// A histogram of these upper bounds, and of one count for each of them and perhaps one more for what lies above.
pub(super) fn custom_histogram(bounds: Vec<f64>, buckets: Vec<f64>, sum: f64) -> Histogram {
    let span = tsq_core::Span { offset: 0, length: buckets.len() as u32 };
    Histogram {
        schema: tsq_core::CUSTOM_BUCKETS_SCHEMA,
        reset_hint: tsq_core::ResetHint::Gauge,
        integer: buckets.iter().all(|count| count.fract() == 0.0 && *count < (1_u64 << 53) as f64),
        count: buckets.iter().sum(),
        sum,
        positive_spans: vec![span],
        positive: buckets,
        custom_values: bounds,
        ..Histogram::default()
    }
}

/// Milliseconds of seconds. What lies out of range, or is none, becomes the nearest there is, or zero.
pub(super) fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// The fields of an object.
pub(super) fn into_fields(value: &mut Value) -> Vec<(String, Value)> {
    match mem::take(value) {
        Value::Object(fields) => fields,
        _ => Vec::new(),
    }
}
