//! What a compaction may take: bytes a second, and until when it goes on.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::store::Store;

/// Bytes written between two pauses.
const PAUSE_AFTER: u64 = 256 << 10;

/// Bytes written between two looks at the free space.
const LOOK_AFTER: u64 = 16 << 20;

/// The longest sleep before looking whether the database is being closed.
const NAP: Duration = Duration::from_millis(20);

/// Who wants a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The thread of the database: keeps to the budget, and stops when space is low or the database is being closed.
    Background,
    /// A caller that waits for the end. First-level blocks are merged whatever the rules say.
    Asked,
}

impl Pass {
    /// Whether to go on at all.
    pub(crate) fn goes_on(self, store: &Store) -> bool {
        self == Self::Asked || !store.stopping.load(Ordering::Acquire) && store.has_space()
    }
}

/// The pace of one merge.
pub(super) struct Pace<'a> {
    store: &'a Store,
    pass: Pass,
    /// Bytes that were written before the last pause and the last look.
    paused_at: u64,
    looked_at: u64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(store: &'a Store, pass: Pass) -> Self {
        Self { store, pass, paused_at: 0, looked_at: 0 }
    }

    /// Called between two series with the bytes written so far: pauses as the budget asks for, and says whether to go
    /// on.
    pub(super) fn goes_on(&mut self, written: u64) -> bool {
        if self.pass == Pass::Asked {
            return true;
        }
        if let Some(bytes_per_s) = self.store.options.compaction_bytes_per_s
            && written >= self.paused_at + PAUSE_AFTER
        {
            let bytes = written - self.paused_at;
            self.paused_at = written;
            self.pause(Duration::from_secs_f64(bytes as f64 / bytes_per_s.max(1) as f64));
        }
        if written >= self.looked_at + LOOK_AFTER {
            self.looked_at = written;
            return self.pass.goes_on(self.store);
        }
        !self.store.stopping.load(Ordering::Acquire)
    }

    fn pause(&self, mut left: Duration) {
        while !left.is_zero() && !self.store.stopping.load(Ordering::Acquire) {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }
}
