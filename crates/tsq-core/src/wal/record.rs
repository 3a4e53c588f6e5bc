//! The frame around a record of the log. Byte-exact in docs/format.md, "Record".
//! ~~~text
//! offset  size  field
//!      0     4  len           u32 LE, bytes of the payload
//!      4     1  type          see RecordType; zero is never written, so reserved space ends a segment
//!      5     1  flags         zero; a reader refuses anything else
//!      6     8  lsn           u64 LE
//!     14     8  durable_upto  u64 LE, highest LSN known durable when the record was written
//!     22     4  prev_crc      u32 LE, crc of the record before it, or of the segment's header
//!     26   len  payload
//! 26+len     4  crc           CRC-32 of everything before it, started from the crc of the segment's header
//! ~~~
//! A frame is sealed (durable_upto, prev_crc, crc) by the thread that writes it, not when it is appended: what precedes
//! it in the file is known only then.

use crate::error::{Error, Result};

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordType {
    /// A batch: see payload.rs.
    Batch = 1,
    /// Nothing: its `durable_upto` says that what precedes it is durable. Its LSN is that of the record before it.
    Commit = 2,
}

impl RecordType {
    fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Batch),
            2 => Some(Self::Commit),
            _ => None,
        }
    }
}

pub(super) const HEADER_LEN: usize = 26;
pub(super) const TRAILER_LEN: usize = 4;
const _: () = assert!(HEADER_LEN == 4 + 1 + 1 + 8 + 8 + 4);

/// Largest payload.
pub(crate) const PAYLOAD_MAX: usize = 256 << 20;

/// Bytes of a frame around `payload` bytes.
pub(super) const fn frame_len(payload: usize) -> usize {
    HEADER_LEN + payload + TRAILER_LEN
}

/// Appends an unsealed frame.
///
/// # Errors
/// `LimitExceeded` for a payload above [`PAYLOAD_MAX`]; nothing is appended then.
pub(super) fn push(out: &mut Vec<u8>, kind: RecordType, lsn: u64, payload: &[u8]) -> Result<()> {
    if payload.len() > PAYLOAD_MAX {
        let len = payload.len();
        return Err(Error::limit(format!("a log record of {len} bytes is above the limit of {PAYLOAD_MAX} bytes")));
    }
    out.reserve(frame_len(payload.len()));
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[kind as u8, 0]);
    out.extend_from_slice(&lsn.to_le_bytes());
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(payload);
    out.extend_from_slice(&[0; TRAILER_LEN]);
    Ok(())
}

/// Seals every frame of `frames` in order. Returns the crc and LSN of the last one.
pub(super) fn seal_all(frames: &mut [u8], durable_upto: u64, seed: u32, mut chain: u32) -> (u32, Option<u64>) {
    let mut last = None;
    let mut rest = frames;
    while !rest.is_empty() {
        let len = frame_len(u32_at(rest, 0) as usize);
        let (frame, later) = rest.split_at_mut(len);
        chain = seal(frame, durable_upto, seed, chain);
        last = Some(u64_at(frame, 6));
        rest = later;
    }
    (chain, last)
}

fn seal(frame: &mut [u8], durable_upto: u64, seed: u32, chain: u32) -> u32 {
    let body = frame.len() - TRAILER_LEN;
    frame[14..22].copy_from_slice(&durable_upto.to_le_bytes());
    frame[22..26].copy_from_slice(&chain.to_le_bytes());
    let crc = checksum(seed, &frame[..body]);
    frame[body..].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Starting from the header's crc ties a record to its segment and database: bytes that look like a frame inside a
/// payload are not taken for one, unless their sender knew the database id.
fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// A frame whose crc holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: RecordType,
    pub(super) lsn: u64,
    pub(super) durable_upto: u64,
    pub(super) prev_crc: u32,
    pub(super) payload: &'a [u8],
    pub(super) crc: u32,
}

impl Frame<'_> {
    pub(super) fn len(&self) -> usize {
        frame_len(self.payload.len())
    }

    /// Whether this frame may stand behind a record with this LSN and crc.
    pub(super) fn follows(&self, lsn: u64, crc: u32) -> bool {
        self.prev_crc == crc && self.is_after(lsn)
    }

    /// Whether the order of LSNs allows this frame somewhere behind `lsn`.
    pub(super) fn is_after(&self, lsn: u64) -> bool {
        self.lsn > lsn || (self.kind == RecordType::Commit && self.lsn == lsn)
    }
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The bytes end too early or the crc does not hold.
    Invalid,
    /// The crc holds, but the type or a flag is unknown: a newer tsq wrote it.
    Unsupported { kind: u8, flags: u8 },
}

/// The frame at the start of `bytes`.
pub(super) fn parse(bytes: &[u8], seed: u32) -> Result<Frame<'_>, NoFrame> {
    if bytes.len() < frame_len(0) {
        return Err(NoFrame::Invalid);
    }
    let payload_len = u32_at(bytes, 0) as usize;
    if bytes[4] == 0 || payload_len > PAYLOAD_MAX || bytes.len() < frame_len(payload_len) {
        return Err(NoFrame::Invalid);
    }
    let body = HEADER_LEN + payload_len;
    let crc = u32_at(bytes, body);
    if crc != checksum(seed, &bytes[..body]) {
        return Err(NoFrame::Invalid);
    }
    let (Some(kind), 0) = (RecordType::from_u8(bytes[4]), bytes[5]) else {
        return Err(NoFrame::Unsupported { kind: bytes[4], flags: bytes[5] });
    };
    Ok(Frame {
        kind,
        lsn: u64_at(bytes, 6),
        durable_upto: u64_at(bytes, 14),
        prev_crc: u32_at(bytes, 22),
        payload: &bytes[HEADER_LEN..body],
        crc,
    })
}

/// The first valid frame at or behind `from` whose LSN may come after `lsn`. For the bytes behind damage.
pub(super) fn scan(bytes: &[u8], from: usize, seed: u32, lsn: u64) -> Option<(usize, Frame<'_>)> {
    let last = bytes.len().checked_sub(frame_len(0))?;
    (from..=last)
        .filter(|&at| plausible(&bytes[at..], lsn))
        .find_map(|at| Some((at, parse(&bytes[at..], seed).ok().filter(|frame| frame.is_after(lsn))?)))
}

/// Cheap conditions, so that a scan computes few checksums.
fn plausible(bytes: &[u8], lsn: u64) -> bool {
    /// More records than any segment holds.
    const STEP_MAX: u64 = 1 << 32;
    RecordType::from_u8(bytes[4]).is_some()
        && bytes[5] == 0
        && u64_at(bytes, 6).checked_sub(lsn).is_some_and(|step| step < STEP_MAX)
        && frame_len(u32_at(bytes, 0) as usize) <= bytes.len()
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: u32 = 0xdead_beef;

    fn frames(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            push(&mut out, RecordType::Batch, index as u64 + 1, payload).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_every_damage_shows(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = frames(&payloads);
            let (last_crc, last_lsn) = seal_all(&mut bytes, 7, SEED, 99);
            prop_assert_eq!(last_lsn, Some(payloads.len() as u64));
            let (mut at, mut chain) = (0, 99);
            for (index, payload) in payloads.iter().enumerate() {
                let frame = parse(&bytes[at..], SEED).unwrap();
                prop_assert_eq!(frame.payload, &payload[..]);
                prop_assert!(frame.follows(index as u64, chain));
                prop_assert_eq!(frame.durable_upto, 7);
                (at, chain) = (at + frame.len(), frame.crc);
            }
            prop_assert_eq!(chain, last_crc);
            let first = frame_len(payloads[0].len());
            for cut in 0..first {
                prop_assert!(parse(&bytes[..cut], SEED).is_err());
            }
            prop_assert!(parse(&bytes, SEED ^ 1).is_err());
            let bit = bit.index(first * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(parse(&bytes, SEED).is_err());
            if payloads.len() > 1 {
                let (at, frame) = scan(&bytes, 1, SEED, 0).unwrap();
                prop_assert_eq!((at, frame.lsn), (first, 2));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes, SEED).is_err());
            prop_assert!(scan(&bytes, 0, SEED, 0).is_none());
        }
    }

    #[test]
    fn a_newer_type_or_flag_is_told_from_damage() {
        for (at, value, want) in [(4, 9, (9, 0)), (5, 1, (1, 1))] {
            let mut bytes = frames(&[vec![1, 2, 3]]);
            bytes[at] = value;
            seal_all(&mut bytes, 0, SEED, 0);
            let (kind, flags) = want;
            assert_eq!(parse(&bytes, SEED).unwrap_err(), NoFrame::Unsupported { kind, flags });
        }
    }

    #[test]
    fn reserved_space_is_no_frame() {
        assert_eq!(parse(&[0; 64], SEED).unwrap_err(), NoFrame::Invalid);
        assert!(scan(&[0; 4096], 0, SEED, 0).is_none());
    }
}
