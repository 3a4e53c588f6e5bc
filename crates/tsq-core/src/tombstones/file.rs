//! The file of tombstones, format version 1. Byte-exact in docs/format.md, "Tombstones".
//!
//! ~~~text
//! offset  size  field
//!      0     4  magic        b"TSQT"
//!      4     2  version      u16 LE, = 1
//!      6     2  reserved     zero
//!      8    16  database id  u128 LE
//!     24     8  number       u64 LE, the one of the file name
//!     32     4  blocks       u32 LE
//!     36     *  blocks, by ascending id
//!      *     4  crc32        of everything before
//!
//! a block:   varint id, varint deleted samples, lists, runs of series, runs of exemplars, metadata
//! lists:     varint count, for each: varint number of ranges, at least 1; for each range: signed varint first time less
//!            the last time of the range before (less 0 for the first), varint length in ms less one
//! runs:      varint count, for each: varint first number less the end of the run before, varint length less one,
//!            varint list
//! metadata:  varint count, for each: varint number less the end of the one before
//! ~~~
//! Written once, under a number that is never used again, before the manifest that refers to it.

use std::path::Path;
use std::sync::Arc;

use super::{BlockTombstones, ENTRIES_MAX, Intervals, Run, Runs, Tombstones};
use crate::block::BlockId;
use crate::codec::varint::{Cursor, put_i64, put_u64};
use crate::disk::{self, Disk};
use crate::error::{Error, ErrorKind, Result};
use crate::sample::TimeRange;

const MAGIC: [u8; 4] = *b"TSQT";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 36;
const _: () = assert!(HEADER_LEN == 4 + 2 + 2 + 16 + 8 + 4);

/// A reader takes no longer file: no entry needs more than 20 bytes.
const FILE_BYTES_MAX: u64 = 20 * ENTRIES_MAX as u64 + (1 << 20);

const PREFIX: &str = "tombstones-";

/// How the manifest refers to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TombstonesRef {
    pub(crate) number: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// The checksum at its end.
    pub(crate) crc: u32,
}

/// The name of the file with a number.
pub(crate) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// The number in a file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()?;
    (file_name(number) == name).then_some(number)
}

/// The greatest number of a file of tombstones among these names.
pub(crate) fn newest(names: &[String]) -> Option<u64> {
    names.iter().filter_map(|name| number_of(name)).max()
}

/// Writes a file durably.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    db_id: u128,
    number: u64,
    tombstones: &Tombstones,
) -> Result<TombstonesRef> {
    let path = dir.join(file_name(number));
    let data = encode(db_id, number, tombstones);
    let crc = crc_of(&data);
    disk::publish(disk, &path, &data).map_err(|error| Error::io("write the tombstones", &path, error))?;
    Ok(TombstonesRef { number, bytes: data.len() as u64, crc })
}

/// Reads the file with a number, and how a manifest would refer to it.
///
/// # Errors
/// `Corrupt` when it is damaged, of another database, or longer than any; `UnsupportedFormat`, `Io`.
pub(crate) fn read(disk: &dyn Disk, dir: &Path, db_id: u128, number: u64) -> Result<(Tombstones, TombstonesRef)> {
    let path = dir.join(file_name(number));
    let io = |error| Error::io("read the tombstones", &path, error);
    let bytes = disk.len(&path).map_err(io)?;
    if bytes > FILE_BYTES_MAX {
        let message = format!("the file of tombstones has {bytes} bytes, at most {FILE_BYTES_MAX} are allowed");
        return Err(Error::corrupt(message).in_file(&path));
    }
    let data = disk.read(&path).map_err(io)?;
    let tombstones = decode(&data, db_id, number).map_err(|error| error.in_file(&path))?;
    Ok((tombstones, TombstonesRef { number, bytes: data.len() as u64, crc: crc_of(&data) }))
}

fn crc_of(data: &[u8]) -> u32 {
    u32::from_le_bytes(*data.last_chunk().expect("a whole file ends with its checksum"))
}

fn encode(db_id: u128, number: u64, tombstones: &Tombstones) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&db_id.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    let count = u32::try_from(tombstones.0.len()).expect("fewer than 2^32 blocks");
    out.extend_from_slice(&count.to_le_bytes());
    assert_eq!(out.len(), HEADER_LEN);
    for (id, block) in tombstones.iter() {
        put_u64(&mut out, id.0);
        encode_block(block, &mut out);
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn encode_block(block: &BlockTombstones, out: &mut Vec<u8>) {
    put_u64(out, block.samples);
    put_u64(out, block.lists.len() as u64);
    for list in &block.lists {
        put_u64(out, list.len() as u64);
        let mut last = 0_i64;
        for range in list.ranges() {
            put_i64(out, range.min_ms.wrapping_sub(last));
            put_u64(out, range.max_ms.wrapping_sub(range.min_ms).cast_unsigned());
            last = range.max_ms;
        }
    }
    for runs in [&block.series, &block.exemplars] {
        put_u64(out, runs.0.len() as u64);
        let mut end = 0;
        for run in &runs.0 {
            put_u64(out, u64::from(run.first) - end);
            put_u64(out, u64::from(run.last - run.first));
            put_u64(out, u64::from(run.list));
            end = u64::from(run.last) + 1;
        }
    }
    put_u64(out, block.metadata.len() as u64);
    let mut end = 0;
    for entry in &block.metadata {
        put_u64(out, u64::from(*entry) - end);
        end = u64::from(*entry) + 1;
    }
}

fn decode(data: &[u8], db_id: u128, number: u64) -> Result<Tombstones> {
    if data.len() < HEADER_LEN + 4 {
        return Err(Error::corrupt(format!("a file of tombstones of {} bytes is cut short", data.len())));
    }
    if data[..4] != MAGIC {
        return Err(Error::corrupt("the file of tombstones does not begin with TSQT"));
    }
    let version = u16::from_le_bytes([data[4], data[5]]);
    let (body, crc) = data.split_at(data.len() - 4);
    let crc_matches = crc32fast::hash(body).to_le_bytes() == crc;
    if version > VERSION && crc_matches {
        let message = format!("the tombstones have format version {version}, this tsq reads up to {VERSION}");
        return Err(Error::new(ErrorKind::UnsupportedFormat, message));
    }
    if !crc_matches || version != VERSION || data[6..8] != [0; 2] {
        return Err(Error::corrupt("the checksum of the tombstones does not match"));
    }
    let mut cursor = Cursor::new(&body[8..]);
    let owner = cursor.fixed().map(u128::from_le_bytes);
    let own_number = cursor.fixed().map(u64::from_le_bytes);
    if (owner, own_number) != (Some(db_id), Some(number)) {
        return Err(Error::corrupt("the tombstones belong to another file or database"));
    }
    let damaged = || Error::corrupt("tombstones that are unsorted or past their bounds");
    let count = cursor.fixed().map(u32::from_le_bytes).ok_or_else(damaged)?;
    let mut tombstones = Tombstones::default();
    let mut last = None;
    for _ in 0..count {
        let id = cursor.u64().filter(|id| last.is_none_or(|last| last < *id)).ok_or_else(damaged)?;
        let block = decode_block(&mut cursor).ok_or_else(damaged)?;
        tombstones.set(BlockId(id), Arc::new(block));
        last = Some(id);
    }
    if cursor.is_empty() { Ok(tombstones) } else { Err(damaged()) }
}

fn decode_block(cursor: &mut Cursor<'_>) -> Option<BlockTombstones> {
    let samples = cursor.u64()?;
    let mut lists = Vec::new();
    for _ in 0..cursor.u64()? {
        lists.push(Arc::new(decode_list(cursor)?));
    }
    let (series, exemplars) = (decode_runs(cursor, lists.len())?, decode_runs(cursor, lists.len())?);
    let mut metadata = Vec::new();
    let mut end = 0_u64;
    for _ in 0..cursor.u64()? {
        let entry = u32::try_from(end.checked_add(cursor.u64()?)?).ok()?;
        metadata.push(entry);
        end = u64::from(entry) + 1;
    }
    Some(BlockTombstones { samples, lists, series, exemplars, metadata })
}

/// Each range takes two bytes at least, so that a wrong count ends at the end of the file.
fn decode_list(cursor: &mut Cursor<'_>) -> Option<Intervals> {
    let count = cursor.u64().filter(|count| *count > 0)?;
    let (mut ranges, mut last) = (Vec::new(), 0_i64);
    for _ in 0..count {
        let min_ms = last.wrapping_add(cursor.i64()?);
        let max_ms = min_ms.wrapping_add(cursor.u64()?.cast_signed());
        ranges.push(TimeRange::new(min_ms, max_ms));
        last = max_ms;
    }
    Intervals::from_ranges(ranges)
}

fn decode_runs(cursor: &mut Cursor<'_>, lists: usize) -> Option<Runs> {
    let (mut runs, mut end) = (Runs::default(), 0_u64);
    for _ in 0..cursor.u64()? {
        let first = u32::try_from(end.checked_add(cursor.u64()?)?).ok()?;
        let last = first.checked_add(cursor.u32()?).filter(|last| *last < u32::MAX)?;
        let list = cursor.u32().filter(|list| (*list as usize) < lists)?;
        runs.0.push(Run { first, last, list });
        end = u64::from(last) + 1;
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn it_comes_back_and_every_flipped_bit_and_cut_is_seen() {
        let data = encode(3, 9, &example());
        assert_eq!(decode(&data, 3, 9).unwrap(), example());
        for bit in 0..data.len() * 8 {
            let mut flipped = data.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 3, 9).is_err(), "bit {bit}");
        }
        for len in 0..data.len() {
            assert!(decode(&data[..len], 3, 9).is_err(), "length {len}");
        }
        assert!(decode(&data, 4, 9).is_err(), "another database");
        assert!(decode(&data, 3, 8).is_err(), "another file");
    }

    /// A good checksum says "as written", not "harmless": any body under one is refused or sound, and never panics.
    #[test]
    fn any_bytes_under_a_good_checksum_do_no_harm() {
        let data = encode(3, 9, &example());
        for at in HEADER_LEN - 4..data.len() - 4 {
            for value in [0, 1, 0x7f, 0x80, 0xff, data[at] ^ 1, data[at].wrapping_add(1)] {
                let mut changed = data.clone();
                changed[at] = value;
                let end = changed.len() - 4;
                let crc = crc32fast::hash(&changed[..end]).to_le_bytes();
                changed[end..].copy_from_slice(&crc);
                if let Ok(tombstones) = decode(&changed, 3, 9) {
                    assert_eq!(decode(&encode(3, 9, &tombstones), 3, 9).unwrap(), tombstones);
                    for (_, block) in tombstones.iter() {
                        (0..100_000).step_by(977).for_each(|series| drop(block.series(series).cloned()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut data = encode(3, 9, &example());
        data[4] = 2;
        let end = data.len() - 4;
        let crc = crc32fast::hash(&data[..end]).to_le_bytes();
        data[end..].copy_from_slice(&crc);
        assert_eq!(decode(&data, 3, 9).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
    }

    #[test]
    fn files_are_found_by_their_names() {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/db")).unwrap();
        let written = write(&disk, Path::new("/db"), 3, 9, &example()).unwrap();
        assert_eq!(read(&disk, Path::new("/db"), 3, 9).unwrap(), (example(), written));
        assert_eq!(read(&disk, Path::new("/db"), 3, 10).unwrap_err().kind(), ErrorKind::Io);
        let names = ["MANIFEST", "tombstones-1", "tombstones-0000000000000009", "tombstones-000000000000000a"];
        assert_eq!(newest(&names.map(str::to_owned)), Some(10));
        assert_eq!(newest(&["tombstones-000000000000000A".to_owned()]), None);
    }
}
