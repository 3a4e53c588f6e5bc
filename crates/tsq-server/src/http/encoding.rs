//! Bodies of requests, decompressed within bounds.

use std::io::{ErrorKind, Read};

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::work::Lease;

/// Bytes that are asked for at once.
const STEP: usize = 64 << 10;

/// Largest window of a zstd frame, as a power of two: what decompression keeps beside its output. Senders that ask for
/// more are asking for long-distance matching.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    const NAMES: [(&str, Self); 6] = [
        ("", Self::Identity),
        ("identity", Self::Identity),
        ("gzip", Self::Gzip),
        ("x-gzip", Self::Gzip),
        ("deflate", Self::Deflate),
        ("zstd", Self::Zstd),
    ];

    /// What the headers announce; an error says what is accepted.
    pub(crate) fn announced(headers: &HeaderMap) -> Result<Self, String> {
        let name = headers.get(CONTENT_ENCODING).map_or(Ok(""), HeaderValue::to_str);
        let name = name.unwrap_or("of an unreadable name").trim();
        let known = Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known
            .map(|(_, encoding)| *encoding)
            .ok_or_else(|| format!("content encoding {name} is not accepted: gzip, deflate, zstd and identity are"))
    }
}

/// Why a body was not decompressed.
#[derive(Debug)]
pub(crate) enum DecompressError {
    /// It has more bytes than this.
    TooLarge(usize),
    /// All bodies in flight would have more bytes than they may.
    Busy,
    /// It is not compressed as it says.
    Malformed(String),
}

/// Decompresses `body`, replacing the content of `out`. `lease` takes the bytes from the budget of requests in flight
/// before they are there.
pub(crate) fn decompress(
    encoding: Encoding,
    body: &[u8],
    bytes_max: usize,
    lease: &mut Lease,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let malformed = |error: std::io::Error| DecompressError::Malformed(format!("invalid {encoding:?} body: {error}"));
    match encoding {
        Encoding::Identity => read_all(body, bytes_max, lease, out).map_err(|error| error.or(malformed)),
        Encoding::Gzip => {
            read_all(MultiGzDecoder::new(body), bytes_max, lease, out).map_err(|error| error.or(malformed))
        }
        Encoding::Deflate => {
            read_all(ZlibDecoder::new(body), bytes_max, lease, out).map_err(|error| error.or(malformed))
        }
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(body).map_err(malformed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(malformed)?;
            read_all(decoder, bytes_max, lease, out).map_err(|error| error.or(malformed))
        }
    }
}

/// Why reading ended early.
enum Ended {
    Refused(DecompressError),
    Io(std::io::Error),
}

impl Ended {
    fn or(self, malformed: impl FnOnce(std::io::Error) -> DecompressError) -> DecompressError {
        match self {
            Self::Refused(error) => error,
            Self::Io(error) => malformed(error),
        }
    }
}

fn read_all(mut from: impl Read, bytes_max: usize, lease: &mut Lease, out: &mut Vec<u8>) -> Result<(), Ended> {
    out.clear();
    loop {
        let before = out.len();
        // One byte more than allowed tells a body that is too large from one that fits exactly.
        let room = STEP.max(before / 2).min(bytes_max + 1 - before);
        if !lease.grow(room) {
            return Err(Ended::Refused(DecompressError::Busy));
        }
        out.resize(before + room, 0);
        let filled = fill(&mut from, &mut out[before..]);
        out.truncate(before + filled.as_ref().map_or(0, |filled| *filled));
        let filled = filled.map_err(Ended::Io)?;
        if out.len() > bytes_max {
            out.clear();
            return Err(Ended::Refused(DecompressError::TooLarge(bytes_max)));
        }
        if filled < room {
            return Ok(());
        }
    }
}

/// Reads until `to` is full or the end. Returns the bytes read.
fn fill(from: &mut impl Read, to: &mut [u8]) -> Result<usize, std::io::Error> {
    let mut filled = 0;
    while filled < to.len() {
        match from.read(&mut to[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;
    use crate::work::Budget;

    fn compressed(data: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(data).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(data).unwrap();
        vec![
            (Encoding::Identity, data.to_vec()),
            (Encoding::Gzip, gzip.finish().unwrap()),
            (Encoding::Deflate, zlib.finish().unwrap()),
            (Encoding::Zstd, zstd::encode_all(data, 1).unwrap()),
        ]
    }

    #[test]
    fn bodies_of_every_encoding_are_bounded() {
        for size in [0, 1, STEP - 1, STEP, STEP + 1, 1_000_000] {
            let data: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            for (encoding, body) in compressed(&data) {
                let budget = Budget::new(64 << 20);
                let (mut lease, mut out) = (budget.lease(), vec![1; 3]);
                decompress(encoding, &body, size, &mut lease, &mut out).unwrap();
                assert!(out == data, "{encoding:?} {size}");
                if size > 0 {
                    let error = decompress(encoding, &body, size - 1, &mut lease, &mut out).unwrap_err();
                    assert!(matches!(error, DecompressError::TooLarge(_)), "{encoding:?} {size}: {error:?}");
                }
            }
        }
    }

    #[test]
    fn bombs_take_no_more_than_the_budget() {
        for (encoding, body) in compressed(&vec![0; 50 << 20]) {
            let budget = Budget::new(1 << 20);
            let (mut lease, mut out) = (budget.lease(), Vec::new());
            let error = decompress(encoding, &body, 1 << 30, &mut lease, &mut out).unwrap_err();
            assert!(matches!(error, DecompressError::Busy), "{encoding:?}: {error:?}");
            assert!(out.capacity() <= 2 << 20, "{encoding:?}");
        }
    }

    #[test]
    fn what_is_cut_or_of_another_encoding_is_malformed() {
        for (encoding, body) in compressed(b"some text, some text, some text") {
            if encoding == Encoding::Identity {
                continue;
            }
            let budget = Budget::new(64 << 20);
            for broken in [&body[..body.len() - 3], b"neither of them", &body[..0]] {
                let error = decompress(encoding, broken, 1 << 20, &mut budget.lease(), &mut Vec::new());
                if !broken.is_empty() {
                    assert!(matches!(error, Err(DecompressError::Malformed(_))), "{encoding:?} {broken:?}: {error:?}");
                }
            }
        }
    }

    #[test]
    fn names_of_encodings() {
        let announced = |name: &'static str| {
            let headers = [(CONTENT_ENCODING, HeaderValue::from_static(name))].into_iter().collect();
            Encoding::announced(&headers)
        };
        assert_eq!(announced("GZIP"), Ok(Encoding::Gzip));
        assert_eq!(Encoding::announced(&HeaderMap::new()), Ok(Encoding::Identity));
        assert!(announced("br").unwrap_err().contains("br is not accepted"));
    }
}
