//! Bounds on work in flight: turns for queries, bytes for write requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tsq::promql::CancelFlag;

use crate::http::error::{ApiError, ErrorType};

/// Lets a number of requests run at once, a number wait for their turn, and refuses the rest.
#[derive(Debug)]
pub(crate) struct Turnstile {
    /// What they are, in messages.
    what: &'static str,
    slots: Arc<Semaphore>,
    running_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    refused: AtomicU64,
    /// Microseconds that all have waited.
    waited_us: AtomicU64,
}

impl Turnstile {
    pub(crate) fn new(what: &'static str, running_max: usize, waiting_max: usize) -> Self {
        let running_max = running_max.max(1);
        let slots = Arc::new(Semaphore::new(running_max));
        let (refused, waited_us) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { what, slots, running_max, waiting: AtomicUsize::new(0), waiting_max, refused, waited_us }
    }

    /// A turn; it ends when the permit is dropped. Waits until `deadline` at the latest.
    ///
    /// # Errors
    /// When too many wait, or none of those that run ended in time.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(permit) = self.slots.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiter = self.queue()?;
        let turn = tokio::time::timeout_at(deadline.into(), self.slots.clone().acquire_owned()).await;
        match turn {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => {
                let message = format!("no turn in time: {} {} are running", self.running_max, self.what);
                Err(ApiError::new(ErrorType::Timeout, message))
            }
        }
    }

    /// Requests that run now.
    pub(crate) fn running(&self) -> usize {
        self.running_max - self.slots.available_permits().min(self.running_max)
    }

    /// Requests that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Requests that were refused because too many waited.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Seconds that all requests have waited.
    pub(crate) fn waited_s(&self) -> f64 {
        self.waited_us.load(Ordering::Relaxed) as f64 / 1e6
    }

    fn queue(&self) -> Result<Waiter<'_>, ApiError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter { turnstile: self, since: Instant::now() };
        if before < self.waiting_max {
            return Ok(waiter);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let (running, waiting, what) = (self.running_max, self.waiting_max, self.what);
        let message = format!("{running} {what} are running and {waiting} are waiting: try again later");
        Err(ApiError::new(ErrorType::Unavailable, message))
    }
}

struct Waiter<'a> {
    turnstile: &'a Turnstile,
    since: Instant,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let waited_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.turnstile.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        self.turnstile.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number of bytes that requests in flight share.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    total: usize,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), total })
    }

    /// Bytes taken now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// All bytes there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// A lease of nothing, to be grown.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease { budget: self.clone(), bytes: 0 }
    }
}

/// Bytes of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Lease {
    /// Takes `more` bytes; `false` when the budget has not got them.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let grown = |used: usize| used.checked_add(more).filter(|&used| used <= self.budget.total);
        let taken = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Stops a query when its client is gone: the handler that holds this is dropped then.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(pub(crate) CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leases_give_back_what_they_took() {
        let budget = Budget::new(100);
        let mut one = budget.lease();
        assert!(one.grow(60) && !one.grow(41) && one.grow(40));
        assert!(!budget.lease().grow(1));
        drop(one);
        assert!(budget.lease().grow(100));
        assert!(!budget.lease().grow(usize::MAX));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_slow_one_times_out() {
        let turnstile = Turnstile::new("queries", 1, 1);
        let soon = || Instant::now() + Duration::from_millis(20);
        let running = turnstile.enter(soon()).await.unwrap();
        assert_eq!(turnstile.running(), 1);
        let (one, two) = tokio::join!(turnstile.enter(soon()), turnstile.enter(soon()));
        assert_eq!(one.unwrap_err().error_type, ErrorType::Timeout);
        assert_eq!(two.unwrap_err().error_type, ErrorType::Unavailable);
        assert_eq!((turnstile.waiting(), turnstile.refused()), (0, 1));
        assert!(turnstile.waited_s() > 0.0);
        drop(running);
        assert!(turnstile.enter(Instant::now()).await.is_ok());
    }
}
