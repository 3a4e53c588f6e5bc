//! MANIFEST: which blocks are the database, and which part of the log they hold. Byte-exact in docs/format.md.
//!
//! ~~~text
//! offset  size  field
//!      0     4  magic           b"TSQM"
//!      4     2  version         u16 LE, = 2
//!      6     2  reserved        zero
//!      8    16  database id     u128 LE
//!     24     8  sequence        u64 LE, one more at each write
//!     32     8  flushed LSN     every record up to it is in blocks
//!     40     8  first segment   segments before it may be deleted
//!     48     8  next block id
//!     56     4  block count     n
//!     60     4  removed count   m
//!     64     8  tombstones      number of their file, 0: there is none
//!     72     8                  its length
//!     80     4                  its checksum
//!     84     4  reserved        zero
//!     88  72*n  blocks          id u64, level u8, 7 zero bytes, min_ms i64, max_ms i64, lsn_min u64, lsn_max u64,
//!                               samples u64, file bytes u64, footer crc u32, 4 zero bytes
//!      *   8*m  removed ids     blocks that were replaced; their files may be deleted
//!      *     4  crc32           of everything before
//! ~~~
//! Version 1 ends its header at byte 64 and knows no tombstones. Replaced as a whole: written under a temporary name, synced, renamed, directory synced.

use std::path::{Path, PathBuf};

use crate::block::{BlockId, BlockMeta};
use crate::disk::{self, Disk};
use crate::error::{Error, ErrorKind, Result};
use crate::tombstones::TombstonesRef;

const MAGIC: [u8; 4] = *b"TSQM";
const VERSION: u16 = 2;
const HEADER_LEN_1: usize = 64;
const HEADER_LEN: usize = 88;
const ENTRY_LEN: usize = 72;
const _: () = assert!(HEADER_LEN_1 == 4 + 2 + 2 + 16 + 8 * 4 + 4 + 4);
const _: () = assert!(HEADER_LEN == HEADER_LEN_1 + 8 + 8 + 4 + 4);
const _: () = assert!(ENTRY_LEN == 8 + 8 + 8 * 6 + 8);

pub(crate) const FILE_NAME: &str = "MANIFEST";

/// What the manifest says of a block; the block's footer must say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) id: BlockId,
    pub(crate) level: u8,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) lsn_min: u64,
    pub(crate) lsn_max: u64,
    pub(crate) samples: u64,
    pub(crate) file_bytes: u64,
    pub(crate) footer_crc: u32,
}

impl BlockEntry {
    pub(crate) fn of(meta: &BlockMeta) -> Self {
        Self {
            id: meta.id,
            level: meta.level,
            min_ms: meta.min_ms,
            max_ms: meta.max_ms,
            lsn_min: meta.lsn_min,
            lsn_max: meta.lsn_max,
            samples: meta.samples,
            file_bytes: meta.file_bytes,
            footer_crc: meta.footer_crc,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) db_id: u128,
    pub(crate) sequence: u64,
    pub(crate) flushed_lsn: u64,
    pub(crate) first_segment: u64,
    /// Number of the next block or file of tombstones.
    pub(crate) next_block: u64,
    pub(crate) tombstones: Option<TombstonesRef>,
    pub(crate) blocks: Vec<BlockEntry>,
    pub(crate) removed: Vec<BlockId>,
}

impl Manifest {
    /// The manifest of an empty database.
    pub(crate) fn new(db_id: u128) -> Self {
        Self {
            db_id,
            sequence: 0,
            flushed_lsn: 0,
            first_segment: 1,
            next_block: 1,
            tombstones: None,
            blocks: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(FILE_NAME)
    }

    /// Reads the manifest of a database; `None` where there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let path = Self::path(dir);
        match disk.read(&path) {
            Ok(data) => Self::decode(&data).map_err(|error| error.in_file(&path)).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read the manifest", &path, error)),
        }
    }

    /// Makes this the manifest of the database, durably.
    pub(crate) fn publish(&mut self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        self.sequence += 1;
        let path = Self::path(dir);
        disk::publish(disk, &path, &self.encode()).map_err(|error| Error::io("publish the manifest", &path, error))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + ENTRY_LEN * self.blocks.len() + 8 * self.removed.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.db_id.to_le_bytes());
        for field in [self.sequence, self.flushed_lsn, self.first_segment, self.next_block] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for count in [self.blocks.len(), self.removed.len()] {
            out.extend_from_slice(&u32::try_from(count).expect("fewer than 2^32 blocks").to_le_bytes());
        }
        let tombstones = self.tombstones.unwrap_or(TombstonesRef { number: 0, bytes: 0, crc: 0 });
        out.extend_from_slice(&tombstones.number.to_le_bytes());
        out.extend_from_slice(&tombstones.bytes.to_le_bytes());
        out.extend_from_slice(&tombstones.crc.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        assert_eq!(out.len(), HEADER_LEN);
        for block in &self.blocks {
            out.extend_from_slice(&block.id.0.to_le_bytes());
            out.extend_from_slice(&[block.level, 0, 0, 0, 0, 0, 0, 0]);
            out.extend_from_slice(&block.min_ms.to_le_bytes());
            out.extend_from_slice(&block.max_ms.to_le_bytes());
            for field in [block.lsn_min, block.lsn_max, block.samples, block.file_bytes] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            out.extend_from_slice(&block.footer_crc.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        for id in &self.removed {
            out.extend_from_slice(&id.0.to_le_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(data: &[u8]) -> Result<Self> {
        if data.len() < HEADER_LEN_1 + 4 {
            return Err(Error::corrupt(format!("the manifest has {} bytes, at least 68 are expected", data.len())));
        }
        if data[..4] != MAGIC {
            return Err(Error::corrupt("the manifest does not begin with TSQM"));
        }
        let version = u16::from_le_bytes([data[4], data[5]]);
        let (body, crc) = data.split_at(data.len() - 4);
        let crc_matches = crc32fast::hash(body).to_le_bytes() == crc;
        if version > VERSION && crc_matches {
            let message = format!("the manifest has format version {version}, this tsq reads up to {VERSION}");
            return Err(Error::new(ErrorKind::UnsupportedFormat, message));
        }
        if !crc_matches || !(1..=VERSION).contains(&version) || data[6..8] != [0; 2] {
            return Err(Error::corrupt("the checksum of the manifest does not match"));
        }
        let mut fields = Fields(&body[8..]);
        let db_id = u128::from_le_bytes(fields.take());
        let [sequence, flushed_lsn, first_segment, next_block] = std::array::from_fn(|_| fields.u64());
        let (blocks, removed) = (fields.u32() as usize, fields.u32() as usize);
        let tombstones = if version == 1 { None } else { fields.tombstones()? };
        if fields.0.len() as u64 != ENTRY_LEN as u64 * blocks as u64 + 8 * removed as u64 {
            return Err(Error::corrupt("the manifest's counts do not match its length"));
        }
        let blocks = (0..blocks).map(|_| fields.block()).collect();
        let removed = (0..removed).map(|_| BlockId(fields.u64())).collect();
        Ok(Self { db_id, sequence, flushed_lsn, first_segment, next_block, tombstones, blocks, removed })
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the length was checked");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }

    fn tombstones(&mut self) -> Result<Option<TombstonesRef>> {
        if self.0.len() < HEADER_LEN - HEADER_LEN_1 {
            return Err(Error::corrupt("the manifest ends inside its header"));
        }
        let (number, bytes, crc) = (self.u64(), self.u64(), self.u32());
        self.take::<4>();
        Ok((number > 0).then_some(TombstonesRef { number, bytes, crc }))
    }

    fn block(&mut self) -> BlockEntry {
        let id = BlockId(self.u64());
        let [level, ..] = self.take::<8>();
        let (min_ms, max_ms) = (self.i64(), self.i64());
        let [lsn_min, lsn_max, samples, file_bytes] = std::array::from_fn(|_| self.u64());
        let footer_crc = self.u32();
        self.take::<4>();
        BlockEntry { id, level, min_ms, max_ms, lsn_min, lsn_max, samples, file_bytes, footer_crc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let block = BlockEntry {
            id: BlockId(7),
            level: 1,
            min_ms: -5,
            max_ms: 9,
            lsn_min: 1,
            lsn_max: 40,
            samples: 12,
            file_bytes: 4096,
            footer_crc: 0xdead_beef,
        };
        let mut manifest = Manifest::new(3);
        manifest.blocks = vec![block, BlockEntry { id: BlockId(9), ..block }];
        manifest.removed = vec![BlockId(1), BlockId(2)];
        manifest.tombstones = Some(TombstonesRef { number: 8, bytes: 100, crc: 0xbeef });
        manifest
    }

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_seen() {
        let data = example().encode();
        assert_eq!(Manifest::decode(&data).unwrap(), example());
        for bit in 0..data.len() * 8 {
            let mut flipped = data.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..data.len() {
            assert!(Manifest::decode(&data[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut data = example().encode();
        data[4] = VERSION as u8 + 1;
        sign(&mut data);
        assert_eq!(Manifest::decode(&data).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
    }

    fn sign(data: &mut [u8]) {
        let end = data.len() - 4;
        let crc = crc32fast::hash(&data[..end]).to_le_bytes();
        data[end..].copy_from_slice(&crc);
    }

    #[test]
    fn version_1_is_read_as_one_without_tombstones() {
        let mut data = example().encode();
        data.drain(HEADER_LEN_1..HEADER_LEN);
        data[4] = 1;
        sign(&mut data);
        assert_eq!(Manifest::decode(&data).unwrap(), Manifest { tombstones: None, ..example() });
        for len in [HEADER_LEN_1 + 4, HEADER_LEN + 3] {
            let mut short = example().encode();
            short.truncate(len);
            sign(&mut short);
            assert_eq!(Manifest::decode(&short).unwrap_err().kind(), ErrorKind::Corrupt, "{len} bytes");
        }
    }
}
