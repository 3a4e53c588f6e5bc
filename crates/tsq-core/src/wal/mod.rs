//! The log: everything that was accepted since the last flush, in the order in which it became visible.
//!
//! Writers append records to a buffer under one mutex, which does no I/O, and then wait in [`Wal::commit`]. The first
//! one to wait becomes the leader: it takes the buffer, writes and syncs it without the mutex, and wakes all whose
//! records it wrote; there is no thread of the log's own. Which segment a record goes to is decided when it is
//! appended, so that a generation (from one flush to the next) begins exactly where the flush says.
//!
//! Formats: segment.rs, record.rs, payload.rs. Recovery: replay.rs. I/O: commit.rs.

mod commit;
mod payload;
mod record;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use payload::{BatchRecord, Definition, Scratch, decode as decode_batch, encode as encode_batch};
pub(crate) use record::{PAYLOAD_MAX, RecordType};
pub(crate) use replay::{Damage, RecordRef, ReplayEnd, repair, replay};

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::Clock;
use crate::disk::{Disk, parent};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Durability;
use commit::{Buffer, Failure, Part, Place, Writer};

/// After this much idleness the last acknowledged record is covered by a commit record.
const IDLE_MS: i64 = 50;

/// Settings of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalOptions {
    /// When a commit returns.
    pub(crate) durability: Durability,
    /// A segment ends before the record that would make it longer than this. A larger record gets its own segment.
    pub(crate) segment_bytes: u64,
    /// Tells the segments of one database from those of another.
    pub(crate) db_id: u128,
}

/// A segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// Its number.
    pub(crate) number: u64,
    /// The generation of all its records.
    pub(crate) generation: u64,
    /// Bytes of its header and records, reserved space left out.
    pub(crate) bytes: u64,
}

/// Records that are not in the log, though they were appended.
#[derive(Debug)]
pub(crate) struct CommitError {
    /// `StorageFull` (or another error of a refused write): append again later. `ReadOnly`: a sync failed.
    pub(crate) error: Error,
    /// The LSNs that failed with it. None of them is used again.
    pub(crate) lost: RangeInclusive<u64>,
}

impl From<CommitError> for Error {
    fn from(failed: CommitError) -> Self {
        failed.error
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (log records {} to {})", self.error, self.lost.start(), self.lost.end())
    }
}

/// The writing end of the log of one database.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    options: WalOptions,
    state: Mutex<State>,
    /// Signalled when a leader has finished.
    finished: Condvar,
    /// Used by the leader only.
    writer: Mutex<Writer>,
    segments: Arc<Mutex<Vec<SegmentInfo>>>,
    durable: AtomicU64,
    committed: AtomicU64,
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    spare: Buffer,
    next_lsn: u64,
    /// Where the next record goes, if it fits.
    place: Place,
    /// Bytes of that segment, once everything appended so far is written.
    place_len: u64,
    generation_bytes: u64,
    leading: bool,
    committed: u64,
    /// Ranges of LSNs that failed, ascending, apart from each other.
    failed: Vec<RangeInclusive<u64>>,
    /// A write was refused, and the engine has not yet taken back what failed.
    refused: Option<Error>,
    /// The log takes no more writes.
    poison: Option<Error>,
    closed: bool,
    appended_ms: i64,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("dir", &self.dir).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Wal {
    /// A log that goes on after what [`replay`] found (and [`repair`] cut); its first record begins a new segment of
    /// `generation`. Creates the directory when it is missing, writes nothing else.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        options: WalOptions,
        after: &ReplayEnd,
        generation: u64,
    ) -> Result<Self> {
        let made = disk.create_dir(&dir).and_then(|()| disk.sync_dir(parent(&dir)));
        made.map_err(|error| Error::io("create the log directory", &dir, error))?;
        let now_ms = clock.monotonic_ms();
        let segments = Arc::new(Mutex::new(after.segments.clone()));
        let writer = Writer::new(disk.clone(), dir.clone(), options, segments.clone(), after.end, now_ms);
        let lsn = after.next_lsn - 1;
        let state = State {
            buffer: Buffer::default(),
            spare: Buffer::default(),
            next_lsn: after.next_lsn,
            place: Place { number: after.next_segment, generation, first_lsn: after.next_lsn },
            place_len: segment::HEADER_LEN as u64,
            generation_bytes: after.bytes_of_generation(generation),
            leading: false,
            committed: lsn,
            failed: Vec::new(),
            refused: None,
            poison: None,
            closed: false,
            appended_ms: now_ms,
        };
        Ok(Self {
            disk,
            clock,
            dir,
            options,
            state: Mutex::new(state),
            finished: Condvar::new(),
            writer: Mutex::new(writer),
            segments,
            durable: AtomicU64::new(lsn),
            committed: AtomicU64::new(lsn),
        })
    }

    /// The log mutex. Never call another method of the log while holding it.
    pub(crate) fn lock(&self) -> WalGuard<'_> {
        WalGuard { wal: self, state: self.state.lock() }
    }

    /// Returns when the record `lsn`, and with it every one before, is in the log as the durability mode demands.
    ///
    /// # Errors
    /// [`CommitError`]: the record is not in the log, nor is any other record of the range that the error names. The
    /// range reaches up to the newest record appended. After a refused write (`StorageFull`) every
    /// [`WalGuard::append`] fails until the engine has taken the range back and called [`Wal::resume`].
    pub(crate) fn commit(&self, lsn: u64) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        assert!(lsn < state.next_lsn, "only records that were appended are committed");
        loop {
            if let Some(failed) = state.failure_of(lsn) {
                return Err(failed);
            }
            if state.committed >= lsn {
                return Ok(());
            }
            if state.leading {
                self.finished.wait(&mut state);
            } else {
                // An error is found again as the failure of this record or as poison.
                let _ = self.lead(&mut state, |writer, buffer, now_ms| writer.run(buffer, false, now_ms));
            }
        }
    }

    /// Becomes the leader: runs `work` on everything appended so far, without the log mutex, and publishes the result.
    fn lead(
        &self,
        state: &mut MutexGuard<'_, State>,
        work: impl FnOnce(&mut Writer, &mut Buffer, i64) -> Result<(), Failure>,
    ) -> Result<()> {
        debug_assert!(!state.leading, "the caller waited for the leader");
        state.leading = true;
        let spare = std::mem::take(&mut state.spare);
        let mut buffer = std::mem::replace(&mut state.buffer, spare);
        let (result, durable, committed, position) = MutexGuard::unlocked(state, || {
            let mut writer = self.writer.lock();
            let result = work(&mut writer, &mut buffer, self.clock.monotonic_ms());
            (result, writer.durable(), writer.committed(), writer.position())
        });
        buffer.clear();
        state.spare = buffer;
        state.leading = false;
        state.committed = state.committed.max(committed);
        self.durable.fetch_max(durable, Ordering::Release);
        self.committed.fetch_max(committed, Ordering::Release);
        let result = match result {
            Ok(()) => Ok(()),
            Err(Failure::Refused(error)) => Err(state.refuse(error, position)),
            Err(Failure::Fatal(error)) => Err(state.fail(&error)),
        };
        self.finished.notify_all();
        result
    }

    /// Waits until nobody leads.
    fn idle_state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while state.leading {
            self.finished.wait(&mut state);
        }
        state
    }

    /// Whether a refused write has yet to be taken back: see [`Wal::resume`].
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().refused.is_some()
    }

    /// Highest LSN that is known to survive a power cut.
    #[cfg(test)]
    pub(crate) fn durable_lsn(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Highest LSN that was let through by [`Wal::commit`]: what readers may see.
    pub(crate) fn committed_lsn(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Ends the state after a refused write, in which every append fails. The engine calls it once it has taken back
    /// everything above [`Wal::committed_lsn`], and only while [`Wal::has_failed`] says so under a lock that it holds
    /// for both: another write may be refused at any time after.
    pub(crate) fn resume(&self) {
        self.state.lock().refused = None;
    }

    /// Makes everything appended so far durable, whatever the mode, and begins the segment that a rotation asked for.
    ///
    /// # Errors
    /// As [`Wal::commit`].
    pub(crate) fn sync(&self) -> Result<()> {
        let mut state = self.idle_state();
        state.check()?;
        let place = Place { first_lsn: state.next_lsn, ..state.place };
        self.lead(&mut state, |writer, buffer, now_ms| {
            writer.run(buffer, true, now_ms)?;
            writer.begin(place)
        })
    }

    /// Called now and then by the engine's background thread: syncs what is due in interval mode and, after 50 ms
    /// without appends, writes the commit record that lets recovery prove that the newest records were durable.
    ///
    /// # Errors
    /// When the log became read-only by it.
    pub(crate) fn idle(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.leading || state.closed || state.check().is_err() {
            return Ok(());
        }
        let now_ms = self.clock.monotonic_ms();
        let (due, uncovered) = {
            let writer = self.writer.lock();
            (writer.sync_due(now_ms), writer.uncovered() && self.options.durability != Durability::Os)
        };
        if due {
            return self.lead(&mut state, |writer, buffer, now_ms| writer.run(buffer, true, now_ms));
        }
        if uncovered && state.buffer.bytes.is_empty() && now_ms - state.appended_ms >= IDLE_MS {
            return self.lead(&mut state, |writer, _, now_ms| writer.cover(now_ms));
        }
        Ok(())
    }

    /// Makes everything durable and ends the log; later appends fail. Closing twice is fine.
    ///
    /// # Errors
    /// When something appended could not be made durable.
    pub(crate) fn close(&self) -> Result<()> {
        let mut state = self.idle_state();
        if std::mem::replace(&mut state.closed, true) {
            return Ok(());
        }
        if let Some(poison) = &state.poison {
            return Err(poison.duplicate());
        }
        self.lead(&mut state, |writer, buffer, now_ms| {
            writer.run(buffer, true, now_ms)?;
            writer.close(now_ms)
        })
    }

    /// Bytes of records and headers of the newest generation.
    pub(crate) fn generation_bytes(&self) -> u64 {
        self.state.lock().generation_bytes
    }

    /// Bytes of all segments, reserved space left out.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.segments.lock().iter().map(|segment| segment.bytes).sum()
    }

    /// The segment files, ascending.
    #[cfg(test)]
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        self.segments.lock().clone()
    }

    /// Removes the segments below `number`, oldest first, except the newest of all: that one carries on the chain, and
    /// goes with the next call. Needs no free space.
    ///
    /// # Errors
    /// When a file cannot be removed; those before it are gone.
    pub(crate) fn delete_below(&self, number: u64) -> Result<()> {
        let doomed: Vec<u64> = {
            let segments = self.segments.lock();
            let newest = segments.last().map_or(0, |segment| segment.number);
            segments.iter().map(|segment| segment.number).filter(|&n| n < number && n < newest).collect()
        };
        for &number in &doomed {
            let path = segment::path(&self.dir, number);
            match self.disk.unlink(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove the log segment", &path, error));
                }
                _ => self.segments.lock().retain(|segment| segment.number != number),
            }
        }
        if doomed.is_empty() {
            return Ok(());
        }
        self.disk.sync_dir(&self.dir).map_err(|error| Error::io("sync the log directory", &self.dir, error))
    }
}

impl State {
    /// Whether records may be appended.
    fn check(&self) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
        match self.poison.as_ref().or(self.refused.as_ref()) {
            Some(error) => Err(error.duplicate()),
            None => Ok(()),
        }
    }

    fn failure_of(&self, lsn: u64) -> Option<CommitError> {
        let after = self.failed.partition_point(|range| *range.end() < lsn);
        let lost = self.failed.get(after).filter(|range| range.contains(&lsn))?.clone();
        let error = match self.poison.as_ref().or(self.refused.as_ref()) {
            Some(error) => error.duplicate(),
            None => Error::new(ErrorKind::StorageFull, "the log could not be written, and the record was dropped"),
        };
        Some(CommitError { error, lost })
    }

    /// Gives up everything that is not committed.
    fn drop_uncommitted(&mut self) {
        self.buffer.clear();
        let (first, last) = (self.committed + 1, self.next_lsn - 1);
        if first > last {
            return;
        }
        match self.failed.last_mut() {
            Some(range) if range.end() + 1 >= first => *range = *range.start()..=last,
            _ => self.failed.push(first..=last),
        }
    }

    /// A write was refused: what is not committed has failed, and the log ends where the writer stands.
    fn refuse(&mut self, error: Error, position: Option<(u64, u64)>) -> Error {
        let lost_records = self.committed + 1 < self.next_lsn;
        self.drop_uncommitted();
        self.place.first_lsn = self.next_lsn;
        self.place_len = match position {
            Some((number, len)) if number == self.place.number => len,
            _ => segment::HEADER_LEN as u64,
        };
        if lost_records {
            self.refused = Some(error.duplicate());
        }
        error
    }

    /// The state of the file is unknown: nothing is written any more.
    fn fail(&mut self, cause: &Error) -> Error {
        let message = format!("the log takes no writes until the database is opened again: {cause}");
        let poison = Error::new(ErrorKind::ReadOnly, message);
        self.poison = Some(poison.duplicate());
        self.drop_uncommitted();
        poison
    }

    fn next_segment(&mut self, generation: u64) {
        self.place = Place { number: self.place.number + 1, generation, first_lsn: self.next_lsn };
        self.place_len = segment::HEADER_LEN as u64;
    }
}

/// The log mutex, held: the right to append.
pub(crate) struct WalGuard<'a> {
    wal: &'a Wal,
    state: MutexGuard<'a, State>,
}

impl WalGuard<'_> {
    /// Appends a record to the buffer and returns its LSN. No I/O; after an error nothing was appended.
    ///
    /// # Errors
    /// `ReadOnly` after a failed sync, `StorageFull` until [`Wal::resume`] after a refused write, `Closed`, and
    /// `LimitExceeded` for a payload above [`PAYLOAD_MAX`].
    pub(crate) fn append(&mut self, kind: RecordType, payload: &[u8]) -> Result<u64> {
        debug_assert!(kind != RecordType::Commit, "the log writes its commit records itself");
        let segment_bytes = self.wal.options.segment_bytes;
        let state = &mut *self.state;
        state.check()?;
        let lsn = state.next_lsn;
        let start = state.buffer.bytes.len();
        record::push(&mut state.buffer.bytes, kind, lsn, payload)?;
        let len = record::frame_len(payload.len()) as u64;
        if state.place_len > segment::HEADER_LEN as u64 && state.place_len + len > segment_bytes {
            state.next_segment(state.place.generation);
        }
        if state.buffer.parts.last().is_none_or(|part| part.place.number != state.place.number) {
            let place = Place { first_lsn: lsn, ..state.place };
            state.buffer.parts.push(Part { start, place });
        }
        state.place_len += len;
        state.generation_bytes += len;
        state.next_lsn += 1;
        state.appended_ms = self.wal.clock.monotonic_ms();
        Ok(lsn)
    }

    /// Lets the next record begin a new segment, the first one of `generation`. Returns that segment's number: once the
    /// records before it are flushed, [`Wal::delete_below`] that number removes them. No I/O.
    ///
    /// # Errors
    /// As [`WalGuard::append`].
    pub(crate) fn rotate(&mut self, generation: u64) -> Result<u64> {
        self.state.check()?;
        self.state.next_segment(generation);
        self.state.generation_bytes = 0;
        Ok(self.state.place.number)
    }

    /// The LSN of the record that was appended last.
    pub(crate) fn last_lsn(&self) -> u64 {
        self.state.next_lsn - 1
    }
}

impl fmt::Debug for WalGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// The database that the first segment with a whole header belongs to.
pub(crate) fn peek_db_id(disk: &dyn Disk, dir: &Path) -> Option<u128> {
    let names = disk.list(dir).ok()?;
    let numbers = names.iter().filter_map(|name| segment::number_of(name));
    numbers
        .filter_map(|number| {
            let mut header = [0; segment::HEADER_LEN];
            disk.read_at(&segment::path(dir, number), 0, &mut header).ok()?;
            segment::Header::owner(&header)
        })
        .next()
}
