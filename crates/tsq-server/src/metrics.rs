//! The server's own counters, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tsq::{Appended, RejectReason};

use crate::http::error::{ApiError, ErrorType};

/// Upper bounds of the request duration histogram, in seconds.
pub(crate) const DURATION_BOUNDS_S: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Requests to one path.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathStats {
    /// Requests by status code; 499 counts clients that left before the answer.
    pub(crate) codes: BTreeMap<u16, u64>,
    /// Requests by duration, one more than there are bounds.
    pub(crate) durations: [u64; DURATION_BOUNDS_S.len() + 1],
    pub(crate) seconds: f64,
}

/// All counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By path pattern: as many as there are routes, and one for unknown paths.
    paths: Mutex<BTreeMap<Arc<str>, PathStats>>,
    pub(crate) floats: Counter,
    pub(crate) histograms: Counter,
    pub(crate) exemplars: Counter,
    /// Write requests refused as a whole, by what was wrong.
    pub(crate) write_refusals: [Counter; Refusal::ALL.len()],
    /// Samples refused one by one, by reason.
    pub(crate) rejected: [Counter; RejectReason::ALL.len()],
    /// Samples refused one by one beyond those of which an answer names the reason.
    pub(crate) rejected_unlisted: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) decoded_bytes: Counter,
    pub(crate) queries: Counter,
    /// Queries that failed, by the type of the error.
    pub(crate) query_failures: [Counter; ErrorType::ALL.len()],
    pub(crate) query_samples: Counter,
    /// Queries of remote reads, answered with samples and with chunks.
    pub(crate) read_queries: [Counter; 2],
    pub(crate) read_failures: Counter,
    pub(crate) read_series: Counter,
    pub(crate) read_samples: Counter,
    pub(crate) read_bytes: Counter,
    pub(crate) connections: Counter,
    pub(crate) panics: Counter,
}

/// Why a write request was refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Content type or encoding that is not spoken here.
    Format,
    /// Larger than a request may be.
    TooLarge,
    /// Bytes that do not decode.
    Malformed,
    /// Too many bytes of requests in flight.
    Busy,
    /// The database takes no writes now: disk full, read-only, closing.
    Storage,
}

impl Refusal {
    pub(crate) const ALL: [Self; 5] = [Self::Format, Self::TooLarge, Self::Malformed, Self::Busy, Self::Storage];

    /// Name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Storage => "storage",
        }
    }
}

impl Metrics {
    /// Counts a request that was answered, or left by its client (`code` 499).
    pub(crate) fn request(&self, path: &Arc<str>, code: u16, duration: Duration) {
        // A panic while counting leaves counts, nothing that could be inconsistent.
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = paths.entry(path.clone()).or_default();
        *stats.codes.entry(code).or_default() += 1;
        let seconds = duration.as_secs_f64();
        stats.durations[DURATION_BOUNDS_S.partition_point(|&bound| bound < seconds)] += 1;
        stats.seconds += seconds;
    }

    /// Counts a query that failed.
    pub(crate) fn query_failed(&self, error: &ApiError) {
        self.query_failures[error.error_type as usize].add(1);
    }

    pub(crate) fn refused(&self, why: Refusal) {
        self.write_refusals[why as usize].add(1);
    }

    /// Counts what became of a request's samples.
    pub(crate) fn stored(&self, appended: &Appended) {
        self.floats.add(appended.floats);
        self.histograms.add(appended.histograms);
        self.exemplars.add(appended.exemplars);
        self.rejections(appended);
    }

    /// Counts the refusals of a request.
    fn rejections(&self, appended: &Appended) {
        let mut listed = 0;
        for rejection in &appended.rejections {
            let place = RejectReason::ALL.iter().position(|&reason| reason == rejection.reason);
            place.map_or(&self.rejected_unlisted, |at| &self.rejected[at]).add(rejection.samples);
            listed += rejection.samples;
        }
        self.rejected_unlisted.add(appended.rejected.saturating_sub(listed));
    }

    /// Requests by path.
    pub(crate) fn paths(&self) -> BTreeMap<Arc<str>, PathStats> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
