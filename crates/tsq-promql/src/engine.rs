//! The evaluation engine: limits, and the entry points for instant and range queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tsq_core::Source;

use crate::answer::{Answer, QueryError, QueryErrorKind};

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
}

/// Evaluates queries. Cheap to share; holds no data.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: Arc<EngineOptions>,
}

impl Engine {
    /// An engine with these limits.
    pub fn new(options: EngineOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// The limits.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates `text` at one time, in milliseconds since 1970.
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
        self.range(source, text, time_ms, time_ms, 1, query)
    }

    /// Evaluates `text` at `start_ms`, `start_ms + step_ms`, ... up to `end_ms`. Always a matrix.
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    pub fn range(
        &self,
        _source: &dyn Source,
        text: &str,
        _start_ms: i64,
        _end_ms: i64,
        _step_ms: i64,
        _query: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let message = format!("this build cannot evaluate {text:?}: the evaluator is not there yet");
        Err(QueryError { kind: QueryErrorKind::Execution, message })
    }
}
