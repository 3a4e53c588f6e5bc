//! A segment: one file of the log. Byte-exact in docs/format.md, "Log segment".
//! ~~~text
//! offset  size  field
//!      0     4  magic          b"TSQL"
//!      4     2  version        u16 LE, = 1
//!      6     2  header_len     u16 LE, = 80
//!      8    16  database id    u128 LE
//!     24     8  number         u64 LE, also the file's name
//!     32     8  generation     u64 LE
//!     40     8  first_lsn      u64 LE, no record of the segment has a smaller one
//!     48     8  prev_number    u64 LE, the segment before it; 0: there is none
//!     56     8  prev_len       u64 LE, where the records of that segment end
//!     64     8  prev_lsn       u64 LE, LSN of its last record, or of the log before it
//!     72     4  prev_crc       u32 LE, crc of its last record, or of its header
//!     76     4  crc            CRC-32 of bytes 0 to 75
//!     80     *  records        see record.rs, then zeros where space is reserved
//! ~~~
//! Appended to, then only read, then removed whole. The header and the file's name are durable before the first record
//! is written, and everything in the segment before is durable before the header is written. All versions keep magic,
//! version, header_len, and a CRC-32 in the last four bytes of the header.

use std::path::{Path, PathBuf};

use super::record::{u32_at, u64_at};

const MAGIC: [u8; 4] = *b"TSQL";
const VERSION: u16 = 1;
/// Length of a segment's header.
pub(super) const HEADER_LEN: usize = 80;
const _: () = assert!(HEADER_LEN == 4 + 2 + 2 + 16 + 6 * 8 + 4 + 4);

/// The place where a segment's records end, as the header of the next one states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// Number of the segment; 0: the log has none yet.
    pub(crate) number: u64,
    /// Bytes up to the end of its last record.
    pub(crate) len: u64,
    /// LSN of its last record, or of the log before it.
    pub(crate) lsn: u64,
    /// Crc of its last record, or of its header.
    pub(crate) crc: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) db_id: u128,
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) first_lsn: u64,
    pub(super) prev: SegmentEnd,
}

/// Why a header cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It was never completely written, or is damaged.
    Invalid(String),
    /// Intact, of a newer version.
    Version(u16),
}

impl Header {
    /// The bytes, and the crc from which the chain of the segment starts.
    pub(super) fn encode(&self) -> ([u8; HEADER_LEN], u32) {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        out[8..24].copy_from_slice(&self.db_id.to_le_bytes());
        let words = [self.number, self.generation, self.first_lsn, self.prev.number, self.prev.len, self.prev.lsn];
        for (slot, word) in out[24..72].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out[72..76].copy_from_slice(&self.prev.crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..76]);
        out[76..].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// The header of segment `number` of database `db_id`, and the crc from which its chain starts.
    pub(super) fn decode(bytes: &[u8], db_id: u128, number: u64) -> Result<(Self, u32), BadHeader> {
        let invalid = |message: String| Err(BadHeader::Invalid(message));
        if bytes.len() < HEADER_LEN {
            return invalid(format!("a segment header of {} bytes, wanted {HEADER_LEN}", bytes.len()));
        }
        if bytes[..4] != MAGIC {
            return invalid(format!("magic {:02x?}, wanted {MAGIC:02x?}", &bytes[..4]));
        }
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (version, header_len) = (u16_at(4), usize::from(u16_at(6)));
        if header_len < 12 || header_len > bytes.len() {
            return invalid(format!("a header length of {header_len} bytes"));
        }
        let (found, wanted) = (u32_at(bytes, header_len - 4), crc32fast::hash(&bytes[..header_len - 4]));
        if found != wanted {
            return invalid(format!("header checksum {found:08x}, wanted {wanted:08x}"));
        }
        if version > VERSION {
            return Err(BadHeader::Version(version));
        }
        if version != VERSION || header_len != HEADER_LEN {
            return invalid(format!("version {version} with a header of {header_len} bytes"));
        }
        let header = Self::fields(bytes);
        if header.db_id != db_id {
            return invalid(format!("database id {:032x}, wanted {db_id:032x}", header.db_id));
        }
        if header.number != number {
            return invalid(format!("segment number {}, wanted {number}", header.number));
        }
        Ok((header, found))
    }

    /// The database that a header belongs to, if it is whole.
    pub(super) fn owner(bytes: &[u8; HEADER_LEN]) -> Option<u128> {
        let db_id = u128::from_le_bytes(bytes[8..24].try_into().expect("sixteen bytes"));
        Self::decode(bytes, db_id, u64_at(bytes, 24)).is_ok().then_some(db_id)
    }

    /// As [`Header::decode`], for a header in which a single bit is wrong: its checksum tells which one.
    pub(super) fn decode_corrected(bytes: &[u8], db_id: u128, number: u64) -> Option<(Self, u32)> {
        let mut trial: [u8; HEADER_LEN] = bytes.get(..HEADER_LEN)?.try_into().expect("the length of a header");
        (0..HEADER_LEN * 8).find_map(|bit| {
            trial[bit / 8] ^= 1 << (bit % 8);
            let header = Self::decode(&trial, db_id, number).ok();
            trial[bit / 8] ^= 1 << (bit % 8);
            header
        })
    }

    fn fields(bytes: &[u8]) -> Self {
        Self {
            db_id: u128::from_le_bytes(bytes[8..24].try_into().expect("sixteen bytes")),
            number: u64_at(bytes, 24),
            generation: u64_at(bytes, 32),
            first_lsn: u64_at(bytes, 40),
            prev: SegmentEnd {
                number: u64_at(bytes, 48),
                len: u64_at(bytes, 56),
                lsn: u64_at(bytes, 64),
                crc: u32_at(bytes, 72),
            },
        }
    }
}

const EXTENSION: &str = ".log";
const DIGITS: usize = 16;

/// The file of a segment.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:0DIGITS$}{EXTENSION}"))
}

/// The number of the segment whose file has this name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let all_digits = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| all_digits && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let prev = SegmentEnd { number: 6, len: 4242, lsn: 99, crc: 0x1234_5678 };
        Header { db_id: 0xabcd << 64, number: 7, generation: 3, first_lsn: 101, prev }
    }

    #[test]
    fn headers_round_trip_and_every_flipped_bit_shows() {
        let (bytes, crc) = header().encode();
        assert_eq!(Header::decode(&bytes, 0xabcd << 64, 7), Ok((header(), crc)));
        for bit in 0..HEADER_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Header::decode(&damaged, 0xabcd << 64, 7), Err(BadHeader::Invalid(_))), "bit {bit}");
            assert_eq!(Header::decode_corrected(&damaged, 0xabcd << 64, 7), Some((header(), crc)), "bit {bit}");
            damaged[(bit / 8 + 5) % HEADER_LEN] ^= 0x11;
            assert_eq!(Header::decode_corrected(&damaged, 0xabcd << 64, 7), None, "bit {bit}");
        }
        for cut in 0..HEADER_LEN {
            assert!(Header::decode(&bytes[..cut], 0xabcd << 64, 7).is_err());
        }
        assert!(matches!(Header::decode(&bytes, 1, 7), Err(BadHeader::Invalid(message)) if message.contains("id")));
        assert!(Header::decode(&bytes, 0xabcd << 64, 8).is_err());
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let (mut bytes, _) = header().encode();
        bytes[4] = 2;
        let crc = crc32fast::hash(&bytes[..76]);
        bytes[76..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes, 0xabcd << 64, 7), Err(BadHeader::Version(2)));
    }

    #[test]
    fn names_are_strict() {
        assert_eq!(path(Path::new("log"), 12), Path::new("log/0000000000000012.log"));
        assert_eq!(number_of("0000000000000012.log"), Some(12));
        for name in ["12.log", "0000000000000012.log.tmp", "0000000000000000.log", "000000000000001x.log", "LOCK"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
