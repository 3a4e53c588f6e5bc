//! Reading the log back: what it holds, where it ends, and whether it proves that something is missing.
//!
//! Nothing here writes, except [`repair`]. A *torn tail* is what a crash leaves of records that nobody was told are
//! safe: it is cut. *Damage* is where the log proves that durable records are missing or unreadable: by a later record
//! whose `durable_upto` reaches further, or by the header of the next segment, which is written only when everything
//! before is durable. Damage is reported and nothing is cut; readable records behind it are still delivered.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::SegmentInfo;
use super::record::{self, Frame, NoFrame, RecordType};
use super::segment::{self, BadHeader, HEADER_LEN, Header, SegmentEnd};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};

/// A record as the log holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordRef<'a> {
    /// Its number.
    pub(crate) lsn: u64,
    /// The generation of its segment.
    pub(crate) generation: u64,
    /// What it holds.
    pub(crate) kind: RecordType,
    /// Its bytes.
    pub(crate) payload: &'a [u8],
}

/// Bytes at the end of the log that a crash left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TornTail {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where the readable records end.
    pub(crate) offset: u64,
    /// Bytes behind that, trailing zeros not counted.
    pub(crate) bytes: u64,
}

/// A place where the log proves that durable data is missing or unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file; where a file is missing, its name.
    pub(crate) path: PathBuf,
    /// First damaged byte.
    pub(crate) offset: u64,
    /// What was found.
    pub(crate) message: String,
    /// LSNs of the records that may be lost; empty when the damage hit none.
    pub(crate) lost: RangeInclusive<u64>,
}

/// What [`replay`] found.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayEnd {
    /// Where the readable records end: the next segment's header states it.
    pub(crate) end: SegmentEnd,
    /// Number for a new segment, above all that exist.
    pub(crate) next_segment: u64,
    /// LSN for a new record, above all that may ever have been given out.
    pub(crate) next_lsn: u64,
    /// The readable segments, ascending.
    pub(crate) segments: Vec<SegmentInfo>,
    /// Number of records delivered.
    pub(crate) records: u64,
    /// What a crash left behind, if anything.
    pub(crate) torn: Option<TornTail>,
    /// Proven losses, in the order of the log.
    pub(crate) damage: Vec<Damage>,
    /// Segments whose creation a crash interrupted: they hold no record.
    pub(crate) unborn: Vec<PathBuf>,
    /// Files of the directory that are no segments.
    pub(crate) unknown: Vec<PathBuf>,
    /// The last segment, when it is longer than its records.
    cut: Option<(PathBuf, u64)>,
}

impl ReplayEnd {
    /// The end of a log that holds nothing, with everything up to `from_lsn` stored elsewhere.
    pub(crate) fn empty(from_lsn: u64) -> Self {
        Self {
            end: SegmentEnd { lsn: from_lsn, ..SegmentEnd::default() },
            next_segment: 1,
            next_lsn: from_lsn + 1,
            ..Self::default()
        }
    }

    pub(super) fn bytes_of_generation(&self, generation: u64) -> u64 {
        self.segments.iter().filter(|segment| segment.generation == generation).map(|segment| segment.bytes).sum()
    }

    /// The highest generation in the log.
    pub(crate) fn generation(&self) -> Option<u64> {
        self.segments.iter().map(|segment| segment.generation).max()
    }
}

/// Delivers the records of the log in `dir` with LSNs above `from_lsn`, in order. Losses up to `from_lsn` are no
/// damage. Holds one segment in memory; usable while another process writes, and then sees a prefix of its log.
///
/// # Errors
/// What `visit` returns; `UnsupportedFormat` when a newer tsq wrote the log; `Io` when a file cannot be read (also when
/// it was removed meanwhile, its cause then is `NotFound`: read the manifest again).
pub(crate) fn replay(
    disk: &dyn Disk,
    dir: &Path,
    db_id: u128,
    from_lsn: u64,
    visit: &mut dyn FnMut(RecordRef<'_>) -> Result<()>,
) -> Result<ReplayEnd> {
    let mut files = Files::list(disk, dir, db_id)?;
    let mut walk = Walk { disk, from_lsn, visit, last: None, lsn: from_lsn, end: ReplayEnd::empty(from_lsn) };
    walk.end.next_segment = files.newest + 1;
    walk.end.unknown = std::mem::take(&mut files.unknown);
    walk.end.unborn = std::mem::take(&mut files.unborn);
    for index in 0..files.list.len() {
        walk.file(&files.list[index], files.list.get(index + 1))?;
    }
    let mut end = walk.end;
    end.end.lsn = walk.lsn;
    end.next_lsn = end.next_lsn.max(walk.lsn + 1);
    Ok(end)
}

/// Cuts what a crash left behind and makes that durable. For the writer, and only where [`replay`] found no damage.
///
/// # Errors
/// When a file cannot be changed; repairing again after that is fine.
pub(crate) fn repair(disk: &dyn Disk, dir: &Path, end: &ReplayEnd) -> Result<()> {
    for path in &end.unborn {
        disk.unlink(path).map_err(|error| Error::io("remove the unfinished log segment", path, error))?;
    }
    if !end.unborn.is_empty() {
        disk.sync_dir(dir).map_err(|error| Error::io("sync the log directory", dir, error))?;
    }
    if let Some((path, len)) = &end.cut {
        let cut = || -> io::Result<()> {
            let file = disk.open_write(path)?;
            file.truncate(*len)?;
            file.sync_data()
        };
        cut().map_err(|error| Error::io("cut the torn tail of the log segment", path, error))?;
    }
    Ok(())
}

/// The files of a log directory.
#[derive(Default)]
struct Files {
    list: Vec<File>,
    newest: u64,
    unborn: Vec<PathBuf>,
    unknown: Vec<PathBuf>,
}

struct File {
    path: PathBuf,
    number: u64,
    /// The header and the crc its chain starts from, or what is wrong with it.
    header: Result<(Header, u32), String>,
}

impl Files {
    fn list(disk: &dyn Disk, dir: &Path, db_id: u128) -> Result<Self> {
        let mut files = Self::default();
        let names = match disk.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(Error::io("list the log directory", dir, error)),
        };
        for name in names {
            let Some(number) = segment::number_of(&name) else {
                files.unknown.push(dir.join(name));
                continue;
            };
            let path = segment::path(dir, number);
            let header = read_header(disk, &path, db_id, number)?;
            files.newest = files.newest.max(number);
            files.list.push(File { path, number, header });
        }
        files.list.sort_by_key(|file| file.number);
        files.separate_unborn(disk)?;
        Ok(files)
    }

    /// Sets aside the files that hold no record because their header was never durable: nothing but zeros behind it,
    /// and no later segment continues them.
    fn separate_unborn(&mut self, disk: &dyn Disk) -> Result<()> {
        let continued: Vec<u64> =
            self.list.iter().filter_map(|file| file.header.as_ref().ok()).map(|(h, _)| h.prev.number).collect();
        let mut kept = Vec::with_capacity(self.list.len());
        for file in self.list.drain(..) {
            let suspect = file.header.is_err() && !continued.contains(&file.number);
            if suspect && used_len(&read(disk, &file.path)?) <= HEADER_LEN {
                self.unborn.push(file.path);
            } else {
                kept.push(file);
            }
        }
        self.list = kept;
        Ok(())
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    disk.read(path).map_err(|error| Error::io("read the log segment", path, error))
}

fn read_header(disk: &dyn Disk, path: &Path, db_id: u128, number: u64) -> Result<Result<(Header, u32), String>> {
    let mut bytes = [0; HEADER_LEN];
    match disk.read_at(path, 0, &mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Err(format!("a file shorter than a segment header of {HEADER_LEN} bytes")));
        }
        Err(error) => return Err(Error::io("read the log segment", path, error)),
    }
    match Header::decode(&bytes, db_id, number) {
        Ok(header) => Ok(Ok(header)),
        Err(BadHeader::Invalid(message)) => Ok(Err(message)),
        Err(BadHeader::Version(version)) => {
            let message = format!("a log segment of version {version}; this tsq reads up to version 1");
            Err(Error::new(ErrorKind::UnsupportedFormat, message).at(path, 4))
        }
    }
}

/// Length without trailing zeros.
fn used_len(bytes: &[u8]) -> usize {
    const STEP: usize = 4096;
    let mut len = bytes.len();
    while len > STEP && bytes[len - STEP..len].iter().all(|byte| *byte == 0) {
        len -= STEP;
    }
    bytes[..len].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    from_lsn: u64,
    visit: &'a mut dyn FnMut(RecordRef<'_>) -> Result<()>,
    /// Number of the segment before.
    last: Option<u64>,
    /// Highest LSN read, or known to be lost.
    lsn: u64,
    end: ReplayEnd,
}

/// The readable records of one segment, as far as the walk has come.
struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    seed: u32,
    generation: u64,
    /// Bytes in which frames behind damage are looked for: without the zeros of reserved space.
    used: usize,
    at: usize,
    crc: u32,
    lsn: u64,
}

impl<'a> Cursor<'a> {
    fn next(&self) -> Result<Option<Frame<'a>>> {
        match record::parse(&self.bytes[self.at..], self.seed) {
            Ok(frame) if frame.follows(self.lsn, self.crc) => Ok(Some(frame)),
            Ok(_) | Err(NoFrame::Invalid) => Ok(None),
            Err(NoFrame::Unsupported { kind, flags }) => {
                let message = format!("a log record of type {kind} with flags {flags}, written by a newer tsq");
                Err(Error::new(ErrorKind::UnsupportedFormat, message).at(self.path, self.at as u64))
            }
        }
    }

    fn advance(&mut self, frame: &Frame<'_>) {
        self.at += frame.len();
        self.crc = frame.crc;
        self.lsn = frame.lsn;
    }

    fn scan(&self, from: usize, lsn: u64) -> Option<(usize, Frame<'a>)> {
        record::scan(&self.bytes[..self.used], from, self.seed, lsn)
    }

    /// What the frames behind the damage at the cursor know: the highest LSN that was durable when one was written, and
    /// the highest LSN of all.
    fn testimony(&self) -> (u64, u64) {
        let (mut durable, mut highest, mut from, mut lsn) = (0, 0, self.at, self.lsn);
        while let Some((at, frame)) = self.scan(from, lsn) {
            (from, lsn) = (at + frame.len(), frame.lsn);
            durable = durable.max(frame.durable_upto);
            highest = highest.max(frame.lsn);
        }
        (durable, highest)
    }
}

impl Walk<'_> {
    fn file(&mut self, file: &File, next: Option<&File>) -> Result<()> {
        // What the next segment says about the end of this one, when it does.
        let stated = next.and_then(|next| next.header.as_ref().ok()).map(|(header, _)| header.prev);
        let before = self.last.replace(file.number);
        match &file.header {
            Ok((header, crc)) => {
                self.check_link(&file.path, header, before);
                self.segment(file, header, *crc, stated.filter(|end| end.number == file.number), next.is_none())
            }
            Err(message) => self.lost_segment(file, message, stated),
        }
    }

    fn damage(&mut self, path: &Path, offset: u64, message: String, lost: RangeInclusive<u64>) {
        let relevant = if lost.is_empty() { self.lsn > self.from_lsn } else { *lost.end() > self.from_lsn };
        if relevant {
            let lost = (*lost.start()).max(self.from_lsn + 1)..=*lost.end();
            self.end.damage.push(Damage { path: path.to_path_buf(), offset, message, lost });
        }
    }

    /// Whether the segment before this one is the one that its header names.
    fn check_link(&mut self, path: &Path, header: &Header, before: Option<u64>) {
        let prev = header.prev;
        if before != Some(prev.number) && prev.lsn > self.lsn {
            let missing = segment::path(path.parent().unwrap_or(path), prev.number);
            let message = format!("segment {} is missing, which segment {} continues", prev.number, header.number);
            self.damage(&missing, 0, message, self.lsn + 1..=prev.lsn);
        }
        self.lsn = self.lsn.max(prev.lsn);
    }

    /// A segment whose header is damaged: its records cannot be told from bytes that only look like records.
    fn lost_segment(&mut self, file: &File, message: &str, stated: Option<SegmentEnd>) -> Result<()> {
        let len = self.disk.len(&file.path).map_err(|error| Error::io("read the log segment", &file.path, error))?;
        // Without a next header: no more records than fit into the file.
        let last = stated.map_or(self.lsn + len / record::frame_len(0) as u64, |end| end.lsn.max(self.lsn));
        self.damage(&file.path, 0, format!("damaged segment header: {message}"), self.lsn + 1..=last);
        self.lsn = last;
        Ok(())
    }

    fn segment(
        &mut self,
        file: &File,
        header: &Header,
        seed: u32,
        stated: Option<SegmentEnd>,
        is_last: bool,
    ) -> Result<()> {
        let all = read(self.disk, &file.path)?;
        let limit = stated.map_or(all.len(), |end| all.len().min(usize::try_from(end.len).unwrap_or(usize::MAX)));
        let bytes = &all[..limit.max(HEADER_LEN.min(all.len()))];
        let used = used_len(&all);
        let mut cursor = Cursor {
            path: &file.path,
            bytes,
            seed,
            generation: header.generation,
            // The last bytes of a checksum may be zeros.
            used: bytes.len().min(used + record::TRAILER_LEN),
            at: HEADER_LEN,
            crc: seed,
            // LSNs in a segment go on from what its own header states, whatever was lost before.
            lsn: header.prev.lsn,
        };
        self.records(&mut cursor, stated)?;
        let end = SegmentEnd { number: header.number, len: cursor.at as u64, lsn: cursor.lsn, crc: cursor.crc };
        self.lsn = self.lsn.max(cursor.lsn);
        if stated.is_none() && used > cursor.at {
            let bytes = (used - cursor.at) as u64;
            self.end.torn = Some(TornTail { path: file.path.clone(), offset: end.len, bytes });
        }
        if is_last && all.len() > cursor.at {
            self.end.cut = Some((file.path.clone(), end.len));
        }
        self.end.end = end;
        let info = SegmentInfo { number: header.number, generation: header.generation, bytes: end.len };
        self.end.segments.push(info);
        Ok(())
    }

    /// Delivers the records of a segment, over damage where there is proof that it is damage.
    fn records(&mut self, cursor: &mut Cursor<'_>, stated: Option<SegmentEnd>) -> Result<()> {
        loop {
            while let Some(frame) = cursor.next()? {
                self.deliver(cursor, &frame)?;
            }
            // The records end here, or something is wrong here: is there proof of more?
            let (durable, highest) = match stated {
                Some(end) if cursor.at as u64 == end.len && cursor.crc == end.crc => return Ok(()),
                Some(end) => (end.lsn, end.lsn),
                None => cursor.testimony(),
            };
            self.end.next_lsn = self.end.next_lsn.max(highest + 1);
            if stated.is_none() && durable <= cursor.lsn {
                return Ok(());
            }
            let found = cursor.scan(cursor.at, cursor.lsn);
            let lost = cursor.lsn + 1..=found.map_or(durable, |(_, frame)| self.before(cursor, &frame));
            let message = match found {
                Some((at, _)) => format!("{} bytes of the log are damaged", at - cursor.at),
                None => "the log is damaged from here to the end of the segment".to_owned(),
            };
            self.lsn = self.lsn.max(cursor.lsn);
            self.damage(cursor.path, cursor.at as u64, message, lost);
            let Some((at, frame)) = found else {
                self.lsn = self.lsn.max(durable);
                return Ok(());
            };
            cursor.at = at;
            self.deliver(cursor, &frame)?;
        }
    }

    /// The LSN before a frame; commit records share theirs with the record before them.
    fn before(&self, cursor: &Cursor<'_>, frame: &Frame<'_>) -> u64 {
        match frame.kind {
            RecordType::Commit => frame.lsn,
            RecordType::Batch => (frame.lsn - 1).max(cursor.lsn),
        }
    }

    fn deliver(&mut self, cursor: &mut Cursor<'_>, frame: &Frame<'_>) -> Result<()> {
        cursor.advance(frame);
        if frame.kind == RecordType::Commit || frame.lsn <= self.from_lsn {
            return Ok(());
        }
        self.end.records += 1;
        (self.visit)(RecordRef {
            lsn: frame.lsn,
            generation: cursor.generation,
            kind: frame.kind,
            payload: frame.payload,
        })
    }
}
