//! What all requests share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tsq::Db;

use crate::config::ServerConfig;

/// What all requests share: settings, the database once it is open.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    db: OnceLock<Db>,
    /// How long the accept loop waits for requests in flight, in milliseconds.
    patience_ms: AtomicU64,
}

impl App {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self { db: OnceLock::new(), patience_ms: AtomicU64::new(0), config }
    }

    /// The database becomes ready to serve. Called once.
    pub(crate) fn set_db(&self, db: Db) {
        assert!(self.db.set(db).is_ok(), "a server has one database");
    }

    /// The database, once it is open.
    pub(crate) fn db(&self) -> Option<&Db> {
        self.db.get()
    }

    pub(crate) fn begin_stop(&self, patience: Duration) {
        self.patience_ms.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Acquire))
    }
}
