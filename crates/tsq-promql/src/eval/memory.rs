//! Memory of queries, counted in bytes: per query, and over all running queries of an engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::answer::{QueryError, QueryErrorKind};

/// The part of the common memory that a query may hold even when all of it is taken: small queries are answered beside
/// heavy ones. It bounds how far all queries together may exceed their limit.
const SMALL_PART: u64 = 256;

/// Bytes held by all running queries of one engine.
#[derive(Debug)]
pub(crate) struct Pool {
    limit: u64,
    used: AtomicU64,
}

impl Pool {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes held by one query. What it holds is given back to the pool when it ends.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
    pool: Arc<Pool>,
}

impl Memory {
    pub(crate) fn new(limit: u64, pool: Arc<Pool>) -> Self {
        Self { limit, used: AtomicU64::new(0), peak: AtomicU64::new(0), pool }
    }

    /// Bytes the query may hold.
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Most bytes held at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Counts the most bytes anew from what is held now, and gives the most so far.
    pub(crate) fn restart_peak(&self) -> u64 {
        self.peak.swap(self.used.load(Ordering::Relaxed), Ordering::Relaxed)
    }

    /// Puts back what [`Memory::restart_peak`] gave.
    pub(crate) fn raise_peak(&self, bytes: u64) {
        self.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Takes `bytes`; they are given back when the charge is dropped.
    ///
    /// # Errors
    /// `Execution` when the query or all queries together would hold too much.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge<'_>, QueryError> {
        let mut charge = Charge { memory: self, bytes: 0 };
        charge.grow(bytes)?;
        Ok(charge)
    }

    fn take(&self, bytes: u64) -> Result<(), QueryError> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = self.pool.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(used, Ordering::Relaxed);
        let over = if used > self.limit {
            Some(("one query", self.limit))
        } else {
            // A query that holds next to nothing does not pay for what others hold.
            let small = used <= self.pool.limit / SMALL_PART;
            (total > self.pool.limit && !small).then_some(("all running queries", self.pool.limit))
        };
        match over {
            None => Ok(()),
            Some((what, limit)) => {
                self.give_back(bytes);
                let message = format!(
                    "query processing would load too many samples into memory in query execution: \
                     more than the {limit} bytes allowed for {what}"
                );
                Err(QueryError { kind: QueryErrorKind::Execution, message })
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes a part of a query holds; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Charge<'q> {
    memory: &'q Memory,
    bytes: u64,
}

impl<'q> Charge<'q> {
    /// Takes further bytes.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.memory.take(bytes as u64)?;
        self.bytes += bytes as u64;
        Ok(())
    }

    /// Bytes it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives some of the bytes back.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = self.bytes.min(bytes as u64);
        self.memory.give_back(bytes);
        self.bytes -= bytes;
    }

    /// Sets the number of bytes held.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), QueryError> {
        let bytes = bytes as u64;
        if bytes > self.bytes {
            self.memory.take(bytes - self.bytes)?;
        } else {
            self.memory.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Holds at least so many bytes.
    pub(crate) fn raise(&mut self, bytes: usize) -> Result<(), QueryError> {
        if bytes as u64 > self.bytes { self.resize(bytes) } else { Ok(()) }
    }

    /// Takes over what another charge holds.
    pub(crate) fn absorb(&mut self, mut other: Charge<'q>) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_queries_get_memory_that_others_took() {
        let pool = Arc::new(Pool::new(2560));
        let (heavy, small) = (Memory::new(5000, pool.clone()), Memory::new(5000, pool));
        let _taken = heavy.charge(2560).unwrap();
        assert!(heavy.charge(1).is_err() && small.charge(11).is_err());
        assert!(small.charge(10).is_ok());
    }

    #[test]
    fn charges_are_bounded_per_query_and_in_total_and_given_back() {
        let pool = Arc::new(Pool::new(150));
        let (one, two) = (Memory::new(100, pool.clone()), Memory::new(100, pool.clone()));
        let mut charge = one.charge(80).unwrap();
        assert!(charge.grow(21).is_err());
        charge.grow(20).unwrap();
        let message = two.charge(60).unwrap_err().message;
        assert!(message.contains("150 bytes allowed for all running queries"), "{message}");
        drop(charge);
        assert_eq!(pool.used.load(Ordering::Relaxed), 0);
        assert_eq!(one.peak(), 101);
        two.charge(60).unwrap().resize(10).unwrap();
        assert_eq!(pool.used.load(Ordering::Relaxed), 0);
    }
}
