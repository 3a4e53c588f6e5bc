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
    /// The header as it was before a single bit of it changed.
    corrected: Option<(Header, u32)>,
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
            files.newest = files.newest.max(number);
            files.list.push(File::open(disk, segment::path(dir, number), db_id, number)?);
        }
        files.list.sort_by_key(|file| file.number);
        files.separate_unborn(disk, db_id)?;
        Ok(files)
    }

    /// Sets aside the files that hold no record because their header was never durable: nothing but zeros behind it,
    /// and no later segment continues them.
    fn separate_unborn(&mut self, disk: &dyn Disk, db_id: u128) -> Result<()> {
        let headers = self.list.iter().filter_map(|file| file.header.as_ref().ok());
        let continued: Vec<u64> = headers.map(|(header, _)| header.prev.number).collect();
        let mut kept = Vec::with_capacity(self.list.len());
        for file in self.list.drain(..) {
            let suspect = file.header.is_err() && !continued.contains(&file.number);
            if suspect && used_len(&read(disk, &file.path)?) <= HEADER_LEN {
                self.unborn.push(file.path);
            } else if file.header.is_err() {
                // Records are written behind a complete header only: look again, in case a writer was just at it.
                kept.push(File::open(disk, file.path, db_id, file.number)?);
            } else {
                kept.push(file);
            }
        }
        self.list = kept;
        Ok(())
    }
}

impl File {
    fn open(disk: &dyn Disk, path: PathBuf, db_id: u128, number: u64) -> Result<Self> {
        let mut bytes = [0; HEADER_LEN];
        match disk.read_at(&path, 0, &mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let header = Err(format!("a file shorter than a segment header of {HEADER_LEN} bytes"));
                return Ok(Self { path, number, header, corrected: None });
            }
            Err(error) => return Err(Error::io("read the log segment", &path, error)),
        }
        match Header::decode(&bytes, db_id, number) {
            Ok(header) => Ok(Self { path, number, header: Ok(header), corrected: None }),
            Err(BadHeader::Invalid(message)) => {
                let corrected = Header::decode_corrected(&bytes, db_id, number);
                Ok(Self { path, number, header: Err(message), corrected })
            }
            Err(BadHeader::Version(version)) => {
                let message = format!("a log segment of version {version}; this tsq reads up to version 1");
                Err(Error::new(ErrorKind::UnsupportedFormat, message).at(&path, 4))
            }
        }
    }

    /// The header, read over a wrong bit. Not for files that may never have had one: there, a torn header looks alike.
    fn readable_header(&self) -> Option<&(Header, u32)> {
        self.header.as_ref().ok().or(self.corrected.as_ref())
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    disk.read(path).map_err(|error| Error::io("read the log segment", path, error))
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
    seed: u32,
    generation: u64,
    /// Where the segment ends, if the next one says so.
    stated: Option<SegmentEnd>,
    at: usize,
    crc: u32,
    lsn: u64,
}

/// Damage, as the bytes around it show it.
struct Proof {
    /// Highest LSN that was durable.
    durable: u64,
    /// Offset of the next readable frame, and the highest LSN before it.
    next: Option<(usize, u64)>,
}

impl Cursor<'_> {
    /// The next record, if it is one.
    fn next<'b>(&self, bytes: &'b [u8]) -> Result<Option<Frame<'b>>> {
        match record::parse(&bytes[self.at..], self.seed) {
            Ok(frame) if frame.follows(self.lsn, self.crc) => Ok(Some(frame)),
            Ok(_) | Err(NoFrame::Invalid) => Ok(None),
            Err(NoFrame::Unsupported { kind, flags }) => {
                let message = format!("a log record of type {kind} with flags {flags}, written by a newer tsq");
                Err(Error::new(ErrorKind::UnsupportedFormat, message).at(self.path, self.at as u64))
            }
        }
    }

    /// Whether the records end at the cursor as the next segment says.
    fn is_at_stated_end(&self) -> bool {
        self.stated.is_some_and(|end| self.at as u64 == end.len && self.crc == end.crc)
    }

    /// Where no record follows: whether something shows that one was there. Also the highest LSN seen.
    fn prove(&self, bytes: &[u8]) -> (Option<Proof>, u64) {
        // The last bytes of a checksum may be zeros.
        let used = &bytes[..bytes.len().min(used_len(bytes) + record::TRAILER_LEN)];
        let (mut durable, mut highest) = self.stated.map_or((0, 0), |end| (end.lsn, end.lsn));
        let (mut next, mut from, mut lsn) = (None, self.at, self.lsn);
        while let Some((at, frame)) = record::scan(used, from, self.seed, lsn) {
            (from, lsn) = (at + frame.len(), frame.lsn);
            durable = durable.max(frame.durable_upto);
            highest = highest.max(frame.lsn);
            // Commit records share their LSN with the record before them.
            let before = if frame.kind == RecordType::Commit { frame.lsn } else { frame.lsn - 1 };
            next = next.or(Some((at, before.max(self.lsn))));
            if self.stated.is_some() {
                break;
            }
        }
        let proven = self.stated.is_some() || durable > self.lsn;
        (proven.then_some(Proof { durable, next }), highest)
    }
}

impl Walk<'_> {
    fn file(&mut self, file: &File, next: Option<&File>) -> Result<()> {
        // What the next segment says about the end of this one, when it does.
        let stated = next.and_then(File::readable_header).map(|(header, _)| header.prev);
        let before = self.last.replace(file.number);
        let Some((header, crc)) = file.readable_header() else { return self.lost_segment(file, stated) };
        self.check_link(&file.path, header, before);
        if let Err(wrong) = &file.header {
            let message = format!("one wrong bit in the segment header: {wrong}");
            // Reported even when its records are stored elsewhere: the file is still in use.
            self.end.damage.push(Damage { path: file.path.clone(), offset: 0, message, lost: no_lsn() });
        }
        let mut cursor = Cursor {
            path: &file.path,
            seed: *crc,
            generation: header.generation,
            stated: stated.filter(|end| end.number == file.number),
            at: HEADER_LEN,
            crc: *crc,
            // LSNs in a segment go on from what its own header states, whatever was lost before.
            lsn: header.prev.lsn,
        };
        let all = self.records(&mut cursor)?;
        self.finish(&cursor, file.number, &all, next.is_none());
        Ok(())
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
    fn lost_segment(&mut self, file: &File, stated: Option<SegmentEnd>) -> Result<()> {
        let wrong = file.header.as_ref().err().map_or("", String::as_str);
        let len = self.disk.len(&file.path).map_err(|error| Error::io("read the log segment", &file.path, error))?;
        // Without a next header: no more records than fit into the file.
        let last = stated.map_or(self.lsn + len / record::frame_len(0) as u64, |end| end.lsn.max(self.lsn));
        self.damage(&file.path, 0, format!("damaged segment header: {wrong}"), self.lsn + 1..=last);
        self.lsn = last;
        Ok(())
    }

    /// Delivers the records of a segment, over damage where there is proof that it is damage. Returns its bytes.
    fn records(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
        let mut all = read(self.disk, cursor.path)?;
        loop {
            let bytes = upto_stated(&all, cursor.stated);
            while let Some(frame) = cursor.next(bytes)? {
                self.deliver(cursor, &frame)?;
            }
            if cursor.is_at_stated_end() {
                return Ok(all);
            }
            let (proof, highest) = cursor.prove(bytes);
            self.end.next_lsn = self.end.next_lsn.max(highest + 1);
            let Some(proof) = proof else { return Ok(all) };
            // A reader beside a writer sees later bytes newer than earlier ones. What is damaged stays as it is.
            let again = read(self.disk, cursor.path)?;
            if again.get(cursor.at..) != all.get(cursor.at..) {
                all = again;
                continue;
            }
            self.report(cursor, &proof);
            let Some((at, _)) = proof.next else { return Ok(all) };
            cursor.at = at;
            let frame = record::parse(&bytes[at..], cursor.seed).expect("the scan found a frame here");
            self.deliver(cursor, &frame)?;
        }
    }

    fn report(&mut self, cursor: &Cursor<'_>, proof: &Proof) {
        let message = match proof.next {
            Some((at, _)) if at > cursor.at => format!("{} bytes of the log are damaged", at - cursor.at),
            Some(_) => "a record is missing from the log here".to_owned(),
            None => "the log is damaged from here to the end of the segment".to_owned(),
        };
        self.lsn = self.lsn.max(cursor.lsn);
        let last = proof.next.map_or(proof.durable, |(_, before)| before);
        self.damage(cursor.path, cursor.at as u64, message, cursor.lsn + 1..=last);
        if proof.next.is_none() {
            self.lsn = self.lsn.max(proof.durable);
        }
    }

    fn deliver(&mut self, cursor: &mut Cursor<'_>, frame: &Frame<'_>) -> Result<()> {
        cursor.at += frame.len();
        cursor.crc = frame.crc;
        cursor.lsn = frame.lsn;
        if frame.kind == RecordType::Commit || frame.lsn <= self.from_lsn {
            return Ok(());
        }
        self.end.records += 1;
        let (lsn, kind, payload) = (frame.lsn, frame.kind, frame.payload);
        (self.visit)(RecordRef { lsn, generation: cursor.generation, kind, payload })
    }

    /// Notes where a segment ends.
    fn finish(&mut self, cursor: &Cursor<'_>, number: u64, all: &[u8], is_last: bool) {
        self.lsn = self.lsn.max(cursor.lsn);
        let len = cursor.at as u64;
        let used = used_len(all);
        if cursor.stated.is_none() && used > cursor.at {
            let bytes = (used - cursor.at) as u64;
            self.end.torn = Some(TornTail { path: cursor.path.to_path_buf(), offset: len, bytes });
        }
        if is_last && all.len() > cursor.at {
            self.end.cut = Some((cursor.path.to_path_buf(), len));
        }
        self.end.end = SegmentEnd { number, len, lsn: cursor.lsn, crc: cursor.crc };
        self.end.segments.push(SegmentInfo { number, generation: cursor.generation, bytes: len });
    }
}

/// The bytes of a segment up to where the next one says its records end.
fn upto_stated(all: &[u8], stated: Option<SegmentEnd>) -> &[u8] {
    let len = stated.map_or(all.len(), |end| usize::try_from(end.len).unwrap_or(usize::MAX).min(all.len()));
    &all[..len.max(HEADER_LEN.min(all.len()))]
}

/// The empty range of LSNs.
fn no_lsn() -> RangeInclusive<u64> {
    RangeInclusive::new(1, 0)
}
