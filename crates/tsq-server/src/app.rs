//! What all requests share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tsq::promql::Engine;
use tsq::{Clock, Db, SystemClock};
use tsq_ingest::otlp::Deltas;
use tsq_runs::Runs;

use crate::api::BufferPool;
use crate::config::ServerConfig;
use crate::metrics::Metrics;
use crate::work::{Budget, Turnstile};

/// What all requests share: settings, the database once it is open, the query engine, bounds and counters.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    pub(crate) engine: Engine,
    pub(crate) queries: Turnstile,
    pub(crate) reads: Turnstile,
    pub(crate) maintenance: Turnstile,
    /// Turns for decoding and appending write requests.
    pub(crate) writes: Arc<Semaphore>,
    /// Bytes of request bodies in flight, received and decoded.
    pub(crate) request_bytes: Arc<Budget>,
    /// Bytes of answers with samples to remote reads in flight.
    pub(crate) read_bytes: Arc<Budget>,
    pub(crate) write_buffers: BufferPool,
    /// Running totals of OTLP's delta points.
    pub(crate) deltas: Deltas,
    pub(crate) metrics: Metrics,
    /// Told when a request asks the process to end.
    pub(crate) quit: Notify,
    /// Backups made, for their names.
    pub(crate) backups: AtomicU64,
    pub(crate) started_ms: i64,
    clock: SystemClock,
    pub(crate) working_dir: PathBuf,
    pub(crate) hostname: String,
    db: OnceLock<Db>,
    runs: OnceLock<Runs>,
    /// How long the accept loop waits for requests in flight, in milliseconds.
    patience_ms: AtomicU64,
}

impl App {
    pub(crate) fn new(mut config: ServerConfig) -> Self {
        let lookback_ms = i64::try_from(config.engine.lookback.as_millis()).unwrap_or(i64::MAX);
        config.otlp.target_info_interval_ms = lookback_ms / 2;
        let limits = &config.limits;
        let clock = SystemClock::new();
        Self {
            engine: Engine::new(config.engine.clone()),
            queries: Turnstile::new("queries", limits.queries_running, limits.queries_waiting),
            reads: Turnstile::new("remote reads", limits.reads_running, limits.queries_waiting),
            maintenance: Turnstile::new("maintenance requests", 1, limits.queries_waiting),
            writes: Arc::new(Semaphore::new(limits.writes_running.max(1))),
            request_bytes: Budget::new(limits.decoded_total_bytes),
            read_bytes: Budget::new(limits.answer_bytes.saturating_mul(2)),
            write_buffers: BufferPool::default(),
            deltas: Deltas::new(limits.delta_bytes),
            metrics: Metrics::default(),
            quit: Notify::new(),
            backups: AtomicU64::new(0),
            started_ms: clock.now_ms(),
            clock,
            working_dir: std::env::current_dir().unwrap_or_default(),
            hostname: hostname(),
            db: OnceLock::new(),
            runs: OnceLock::new(),
            patience_ms: AtomicU64::new(0),
            config,
        }
    }

    /// The database becomes ready to serve, and other processes that want it learn where. Called once.
    ///
    /// # Errors
    /// When the catalog of its runs cannot be opened.
    pub(crate) fn set_db(&self, db: Db, address: SocketAddr) -> tsq_runs::Result<()> {
        let runs = Runs::open(db.clone(), self.now_ms())?;
        if let Err(error) = db.announce(&format!("http://{address}")) {
            tracing::warn!("cannot leave this server's address for other processes: {error}");
        }
        for damage in db.damage() {
            tracing::error!("damage: {damage}");
        }
        if let Some(reason) = db.read_only_reason() {
            tracing::error!("the database takes no writes: {reason}");
        }
        assert!(self.runs.set(runs).is_ok() && self.db.set(db).is_ok(), "a server has one database");
        Ok(())
    }

    /// The runs of the database, once it is open.
    pub(crate) fn runs(&self) -> Option<&Runs> {
        self.runs.get()
    }

    /// The database, once it is open.
    pub(crate) fn db(&self) -> Option<&Db> {
        self.db.get()
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Turns that a write request of this decoded size takes: all turns together are worth one request of the largest
    /// size, because decoding takes a multiple of a request's bytes.
    pub(crate) fn write_turns(&self, decoded_bytes: usize) -> u32 {
        let turns = self.config.limits.writes_running.max(1);
        let bytes_per_turn = (self.config.limits.request_bytes / turns).max(1);
        u32::try_from((decoded_bytes / bytes_per_turn).clamp(1, turns)).unwrap_or(u32::MAX)
    }

    pub(crate) fn begin_stop(&self, patience: Duration) {
        self.patience_ms.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Acquire))
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
