//! Two threads of an open database: one keeps the log covered and flushes, one compacts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::compact::Pass;
use crate::error::{Error, Result};
use crate::store::Store;

/// How often the threads look for work without being woken.
const TICK: Duration = Duration::from_millis(50);

/// Ticks between two looks at the block list.
const COMPACTION_TICKS: u32 = 20;

#[derive(Debug)]
pub(crate) struct Background {
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(store: &Arc<Store>) -> Result<Self> {
        let spawn = |name: &str, work: fn(&Store)| {
            let store = Arc::clone(store);
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn(move || work(&store)).map_err(|error| Error::io("start the thread", &store_path(name), error))
        };
        Ok(Self { threads: vec![spawn("tsq-flush", flush_loop)?, spawn("tsq-compact", compact_loop)?] })
    }

    /// Waits for both threads. A flush finishes, a merge is given up at its next series.
    pub(crate) fn stop(self, store: &Store) {
        store.stopping.store(true, Ordering::Release);
        store.wake();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn store_path(name: &str) -> std::path::PathBuf {
    std::path::PathBuf::from(name)
}

fn flush_loop(store: &Store) {
    while !store.stopping.load(Ordering::Acquire) {
        store.wait(TICK);
        let Ok(wal) = store.wal() else { continue };
        // A failure poisons the log, which every writer is told.
        if let Err(error) = wal.idle() {
            store.log_failed(wal, &error);
            continue;
        }
        let age = store.clock.monotonic_ms() - store.counters.last_flush_ms.load(Ordering::Relaxed);
        let old = age >= i64::try_from(store.options.flush_interval.as_millis()).unwrap_or(i64::MAX);
        if wal.generation_bytes() >= store.options.flush_bytes || old {
            // A failed flush is counted, loses nothing, and is tried again.
            let _ = store.flush();
        }
    }
}

fn compact_loop(store: &Store) {
    let mut ticks = 0;
    while !store.stopping.load(Ordering::Acquire) {
        thread::sleep(TICK);
        ticks += 1;
        if ticks >= COMPACTION_TICKS {
            ticks = 0;
            // A failed compaction is counted, changes nothing, and is tried again.
            if !store.has_space() {
                // What has expired makes room.
                let _ = store.apply_retention();
            } else if store.wants_compaction() {
                let _ = store.compact(Pass::Background);
            }
        }
    }
}
