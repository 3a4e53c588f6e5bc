//! The evaluation engine: limits, and the entry points for instant and range queries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tsq_core::Source;

use crate::answer::{Answer, QueryError, QueryErrorKind};
use crate::eval::context::{Annotations, Counters, Query, deadline};
use crate::eval::evaluate;
use crate::eval::grid::Grid;
use crate::eval::memory::{Memory, Pool};
use crate::eval::recorder::Recorder;
use crate::hints::hints;
use crate::parser::parse;

/// Limits and settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far back an instant selector looks for a sample. Default 5 min.
    pub lookback: Duration,
    /// Step of subqueries that give none. Default 1 min.
    pub subquery_step: Duration,
    /// Memory of one query in bytes. Default 256 MiB.
    pub query_bytes: u64,
    /// Memory of all running queries together in bytes. Default 1 GiB.
    pub total_bytes: u64,
    /// Longest time a query may take. Default 30 s.
    pub timeout: Duration,
    /// Points per series of a range query. Default 11,000.
    pub points_max: u64,
    /// Bytes of a query text. Default 16 KiB.
    pub text_bytes: usize,
    /// Worker threads of one query. Default: the machine's cores.
    pub threads: usize,
    /// Work on a batch of series that is worth more than one thread. Default 0.4 ms. The answer is the same either way.
    pub parallel_from: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            query_bytes: 256 << 20,
            total_bytes: 1 << 30,
            timeout: Duration::from_secs(30),
            points_max: 11_000,
            text_bytes: 16 << 10,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            parallel_from: Duration::from_micros(400),
        }
    }
}

/// Tells a running query to stop.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Stops the query at its next batch.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the query should stop.
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Settings of one query.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Instead of the engine's lookback.
    pub lookback: Option<Duration>,
    /// Instead of the engine's timeout, if shorter.
    pub timeout: Option<Duration>,
    /// Set to stop the query.
    pub cancel: CancelFlag,
    /// Watch the parts of the plan at work and give [`Answer::explain`].
    pub explain: bool,
}

/// Evaluates queries. Cheap to share; holds no data.
#[derive(Clone, Debug)]
pub struct Engine {
    options: Arc<EngineOptions>,
    pool: Arc<Pool>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(EngineOptions::default())
    }
}

/// The times that a query is evaluated at.
struct Times {
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    is_range: bool,
}

impl Engine {
    /// An engine with these limits.
    pub fn new(options: EngineOptions) -> Self {
        Self { pool: Arc::new(Pool::new(options.total_bytes)), options: Arc::new(options) }
    }

    /// The limits.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Bytes that all running queries hold now.
    pub fn memory_bytes(&self) -> u64 {
        self.pool.used()
    }

    /// Evaluates `text` at one time, in milliseconds since 1970. A range vector gives the samples in its range.
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    pub fn instant(
        &self,
        source: &dyn Source,
        text: &str,
        time_ms: i64,
        query: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let times = Times { start_ms: time_ms, end_ms: time_ms, step_ms: 1, is_range: false };
        self.run(source, text, &times, query)
    }

    /// Evaluates `text` at `start_ms`, `start_ms + step_ms`, ... up to `end_ms`. Always a matrix.
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    pub fn range(
        &self,
        source: &dyn Source,
        text: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        query: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        if step_ms <= 0 {
            return Err(bad_data(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if end_ms < start_ms {
            return Err(bad_data("end timestamp must not be before start time"));
        }
        if end_ms.abs_diff(start_ms) / step_ms as u64 > self.options.points_max {
            let most = thousands(self.options.points_max);
            return Err(bad_data(format!(
                "exceeded maximum resolution of {most} points per timeseries. \
                 Try decreasing the query resolution (?step=XX)"
            )));
        }
        self.run(source, text, &Times { start_ms, end_ms, step_ms, is_range: true }, query)
    }

    fn run(
        &self,
        source: &dyn Source,
        text: &str,
        times: &Times,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        if text.len() > self.options.text_bytes {
            let (bytes, most) = (text.len(), self.options.text_bytes);
            return Err(bad_data(format!("the query has {bytes} bytes; at most {most} are allowed")));
        }
        let begin = Instant::now();
        let expr = parse(text)?;
        let timeout = options.timeout.map_or(self.options.timeout, |timeout| timeout.min(self.options.timeout));
        let query = Query {
            source,
            text,
            grid: Grid::new(times.start_ms, times.end_ms, times.step_ms),
            end_ms: times.end_ms,
            is_range: times.is_range,
            lookback_ms: milliseconds(options.lookback.unwrap_or(self.options.lookback)),
            subquery_step_ms: milliseconds(self.options.subquery_step).max(1),
            memory: Memory::new(self.options.query_bytes, self.pool.clone()),
            deadline: deadline(timeout),
            cancel: options.cancel.clone(),
            threads: self.options.threads,
            parallel_from: self.options.parallel_from,
            patterns: Mutex::default(),
            annotations: Annotations::default(),
            counters: Counters::default(),
            recorder: options.explain.then(Recorder::default),
        };
        query.check()?;
        let value = evaluate(&query, &expr)?;
        // A query is not worse for metadata that cannot be read.
        let metadata = |metric: &str| source.metadata_of(metric).ok().flatten();
        hints(&expr, metadata, |note, metric, range| query.note(note, metric, range));
        let (warnings, infos) = query.annotations.texts(text);
        let explain = query.recorder.as_ref().map(|recorder| recorder.explain(begin.elapsed()));
        Ok(Answer { value, warnings, infos, stats: query.stats(), explain })
    }
}

fn bad_data(message: impl Into<String>) -> QueryError {
    QueryError { kind: QueryErrorKind::BadData, message: message.into() }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A number with commas between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
