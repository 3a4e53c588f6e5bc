//! The leader's side of the log: seals frames, writes and syncs them, begins new segments.
//!
//! Only one thread at a time is in here. Every error is one of two: *refused* leaves the log exactly as it was before
//! the records that failed, so that later ones may succeed (a full disk); *fatal* means that the state of the file is
//! unknown (a failed sync), and nothing may be written any more.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::record::{self, RecordType};
use super::segment::{self, Header, SegmentEnd};
use super::{SegmentInfo, WalOptions};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::options::Durability;

/// Records that were appended and not yet written, in order.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Unsealed frames.
    pub(super) bytes: Vec<u8>,
    /// Which segment they go to: each part begins where it says and ends where the next begins.
    pub(super) parts: Vec<Part>,
}

/// Frames that go to one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) place: Place,
}

/// A segment to write to, and what its header needs when it has yet to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) first_lsn: u64,
}

impl Buffer {
    /// Allocations above this are given back after use.
    const KEEP: usize = 8 << 20;

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEEP);
        self.parts.clear();
    }
}

/// Why records could not be written.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was changed: the same may succeed later.
    Refused(Error),
    /// What the file holds is unknown: never write again.
    Fatal(Error),
}

type Written<T = ()> = Result<T, Failure>;

/// The writing end of the log.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: WalOptions,
    /// Shared with the readers of statistics.
    segments: Arc<Mutex<Vec<SegmentInfo>>>,
    /// The segment that is written to; none before the first record and after a segment was finished.
    open: Option<Open>,
    /// Where the records end that were written completely.
    end: SegmentEnd,
    /// Highest LSN that was synced.
    durable: u64,
    /// Highest `durable_upto` in a written record.
    stated: u64,
    /// Highest `durable_upto` in a synced record or header.
    covered: u64,
    synced_ms: i64,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    seed: u32,
    /// Length up to which space is reserved.
    reserved: u64,
}

/// Space is reserved in steps, so that appending rarely changes the length of the file and a small database stays small.
const RESERVE_STEP: u64 = 4 << 20;

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: WalOptions,
        segments: Arc<Mutex<Vec<SegmentInfo>>>,
        end: SegmentEnd,
        now_ms: i64,
    ) -> Self {
        let lsn = end.lsn;
        Self {
            disk,
            dir,
            options,
            segments,
            open: None,
            end,
            durable: lsn,
            stated: lsn,
            covered: lsn,
            synced_ms: now_ms,
        }
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Highest LSN that may be acknowledged.
    pub(super) fn committed(&self) -> u64 {
        if self.options.durability == Durability::Always { self.durable } else { self.end.lsn }
    }

    /// The segment and offset at which the next record would be written; none when a new segment has to begin.
    pub(super) fn position(&self) -> Option<(u64, u64)> {
        self.open.as_ref().map(|_| (self.end.number, self.end.len))
    }

    /// Writes the buffer, and syncs as the durability mode or `sync` demands.
    pub(super) fn run(&mut self, buffer: &mut Buffer, sync: bool, now_ms: i64) -> Written {
        let ends: Vec<usize> = buffer.parts.iter().skip(1).map(|part| part.start).chain([buffer.bytes.len()]).collect();
        for (part, end) in buffer.parts.iter().zip(ends) {
            self.begin(part.place)?;
            self.write(&mut buffer.bytes[part.start..end])?;
        }
        let due = match self.options.durability {
            Durability::Always => true,
            Durability::Interval(interval) => i128::from(now_ms - self.synced_ms) >= interval.as_millis() as i128,
            Durability::Os => false,
        };
        if sync || due { self.sync(now_ms) } else { Ok(()) }
    }

    /// Makes `place` the segment that is written to; creates it when it is not.
    pub(super) fn begin(&mut self, place: Place) -> Written {
        if self.open.is_some() && self.end.number == place.number {
            return Ok(());
        }
        self.finish()?;
        assert!(place.number > self.end.number, "segment numbers only grow");
        let open = self.create(place)?;
        self.covered = self.covered.max(self.end.lsn);
        self.stated = self.stated.max(self.covered);
        self.end =
            SegmentEnd { number: place.number, len: segment::HEADER_LEN as u64, lsn: self.end.lsn, crc: open.seed };
        self.open = Some(open);
        let mut segments = self.segments.lock();
        segments.push(SegmentInfo { number: place.number, generation: place.generation, bytes: self.end.len });
        Ok(())
    }

    /// Cuts off reserved space and syncs, so that the next header may call the whole segment durable.
    fn finish(&mut self) -> Written {
        let Some(open) = &self.open else { return Ok(()) };
        open.file.truncate(self.end.len).map_err(|error| fatal("cut", &open.path, error))?;
        open.file.sync_data().map_err(|error| fatal("sync", &open.path, error))?;
        self.mark_synced();
        self.open = None;
        Ok(())
    }

    fn mark_synced(&mut self) {
        self.durable = self.end.lsn;
        self.covered = self.covered.max(self.stated);
    }

    fn create(&self, place: Place) -> Written<Open> {
        let path = segment::path(&self.dir, place.number);
        let header = Header {
            db_id: self.options.db_id,
            number: place.number,
            generation: place.generation,
            first_lsn: place.first_lsn,
            prev: self.end,
        };
        let (bytes, seed) = header.encode();
        let file = self.create_file(&path).map_err(|error| refused("create", &path, error))?;
        if let Err(error) = file.write_at(0, &bytes) {
            // Best effort: a segment without a header holds nothing, and recovery removes it.
            let _ = self.disk.unlink(&path);
            return Err(refused("write the header of", &path, error));
        }
        let reserved = self.reserve(&*file, segment::HEADER_LEN as u64);
        file.sync_data().map_err(|error| fatal("sync", &path, error))?;
        self.disk.sync_dir(&self.dir).map_err(|error| fatal("sync the directory of", &path, error))?;
        Ok(Open { file, path, seed, reserved })
    }

    /// Reserves the next step of space behind `len`. A hint: where it cannot be reserved, appending extends the file.
    fn reserve(&self, file: &dyn DiskFile, len: u64) -> u64 {
        let reserved = (len + RESERVE_STEP).min(self.options.segment_bytes).max(len);
        let _ = file.preallocate(reserved);
        reserved
    }

    /// Creates a file; one that an attempt before left behind is removed.
    fn create_file(&self, path: &std::path::Path) -> io::Result<Box<dyn DiskFile>> {
        match self.disk.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.unlink(path)?;
                self.disk.create(path)
            }
            result => result,
        }
    }

    /// Seals and writes frames into the open segment. When that is refused, the segment ends where it ended before.
    fn write(&mut self, frames: &mut [u8]) -> Written {
        let end = self.end.len + frames.len() as u64;
        if let Some(open) = self.open.as_ref().filter(|open| open.reserved < end) {
            let reserved = self.reserve(&*open.file, end);
            self.open.as_mut().expect("it is open").reserved = reserved;
        }
        let Some(open) = &self.open else { unreachable!("a segment was begun before its records") };
        let (crc, lsn) = record::seal_all(frames, self.durable, open.seed, self.end.crc);
        if let Err(error) = open.file.write_at(self.end.len, frames) {
            if !is_full(&error) {
                return Err(fatal("write", &open.path, error));
            }
            open.file.truncate(self.end.len).map_err(|error| fatal("cut", &open.path, error))?;
            return Err(refused("write", &open.path, error));
        }
        self.stated = self.durable;
        self.end.len += frames.len() as u64;
        self.end.crc = crc;
        self.end.lsn = lsn.unwrap_or(self.end.lsn);
        if let Some(info) = self.segments.lock().last_mut() {
            info.bytes = self.end.len;
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&mut self, now_ms: i64) -> Written {
        if let Some(open) = &self.open {
            open.file.sync_data().map_err(|error| fatal("sync", &open.path, error))?;
        }
        self.mark_synced();
        self.synced_ms = now_ms;
        Ok(())
    }

    /// Whether a sync is due in interval mode.
    pub(super) fn sync_due(&self, now_ms: i64) -> bool {
        match self.options.durability {
            Durability::Interval(interval) => {
                self.durable < self.end.lsn && i128::from(now_ms - self.synced_ms) >= interval.as_millis() as i128
            }
            Durability::Always | Durability::Os => false,
        }
    }

    /// Whether the log itself does not yet prove that its last record is durable.
    pub(super) fn uncovered(&self) -> bool {
        self.open.is_some() && self.durable == self.end.lsn && self.covered < self.durable
    }

    /// Writes and syncs a commit record behind the last record, so that the log proves it was durable. A full disk is
    /// no error: the proof comes with the next record.
    pub(super) fn cover(&mut self, now_ms: i64) -> Written {
        let mut frame = Vec::with_capacity(record::frame_len(0));
        record::push(&mut frame, RecordType::Commit, self.end.lsn, &[]).expect("an empty payload is within the limit");
        match self.write(&mut frame) {
            Ok(()) => self.sync(now_ms),
            Err(Failure::Refused(_)) => Ok(()),
            Err(fatal) => Err(fatal),
        }
    }

    /// Syncs everything, covers the last record, and gives reserved space back.
    pub(super) fn close(&mut self, now_ms: i64) -> Written {
        self.sync(now_ms)?;
        if self.uncovered() {
            self.cover(now_ms)?;
        }
        self.finish()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn refused(what: &str, path: &std::path::Path, error: io::Error) -> Failure {
    Failure::Refused(Error::io(&format!("{what} the log segment"), path, error))
}

fn fatal(what: &str, path: &std::path::Path, error: io::Error) -> Failure {
    Failure::Fatal(Error::io(&format!("{what} the log segment"), path, error))
}
