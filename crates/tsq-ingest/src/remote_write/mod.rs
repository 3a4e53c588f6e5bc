//! Prometheus remote write, 1.0 (`prometheus.WriteRequest`) and 2.0 (`io.prometheus.write.v2.Request`).
//!
//! | message | becomes |
//! |---|---|
//! | samples of a time series | an entry of kind `Float` |
//! | native histograms, integer or float, exponential or custom buckets | an entry of kind `Histogram` |
//! | exemplars | exemplars of that entry (an entry without samples when the series has only exemplars) |
//! | 1.0 metadata, 2.0 metadata of a series | metadata of the batch |
//! | 2.0 start timestamps of samples and histograms | their start times; 0 is unknown |
//! | unknown fields | skipped |
//!
//! Refused, one series at a time, while the rest is stored: label sets without a name, with a duplicate or empty label
//! name or invalid UTF-8; references outside of the symbol table; histograms whose buckets do not fit their spans.
//! Refused as a whole: bytes that are no protobuf message, and bodies over a bound.
//!
//! Known series cost no allocation: a series is looked up by a hash of its raw label bytes (1.0) or of the hashes of
//! its symbols (2.0), and its labels are read only when the engine does not know that hash.

mod decode;
mod encode;
mod histogram;
mod v1;
mod v2;

pub(crate) use decode::{Budget, decode_sample};
pub use decode::{Counts, DECODED_BYTES_MAX};
pub use encode::{TimeSeries, WriteRequest, encode_v1, encode_v2};
pub(crate) use encode::{put_histogram, put_labels, put_sample};
pub(crate) use histogram::RawHistogram;
pub use v1::{V1Labels, decode_v1};
pub(crate) use v1::{decode_label, push_label};
pub use v2::{V2Labels, decode_v2};

use crate::error::DecodeError;

/// Undoes the snappy block compression of a request body, replacing the content of `out`.
///
/// The length that the body declares is checked before anything is allocated: it may exceed neither `limit` nor what
/// snappy can make of a body of this size.
///
/// # Errors
/// [`DecodeErrorKind::TooLarge`](crate::DecodeErrorKind::TooLarge) above `limit`, else
/// [`DecodeErrorKind::Malformed`](crate::DecodeErrorKind::Malformed).
pub fn decompress(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    out.clear();
    let len = snap::raw::decompress_len(body)
        .map_err(|_| DecodeError::malformed(0, "expected a snappy block, found no valid length"))?;
    if len > limit {
        return Err(DecodeError::too_large(0, format!("the body decodes to {len} bytes, the limit is {limit}")));
    }
    // The densest element is a copy: 64 bytes from 2 or 3.
    if len / 64 > body.len() {
        let message = format!("the body declares {len} bytes, which {} bytes of snappy cannot hold", body.len());
        return Err(DecodeError::malformed(0, message));
    }
    out.resize(len, 0);
    let written = snap::raw::Decoder::new()
        .decompress(body, out)
        .map_err(|error| DecodeError::malformed(0, format!("invalid snappy block: {error}")))?;
    out.truncate(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecodeErrorKind;

    #[test]
    fn decompression_is_bounded_by_the_declared_length() {
        let body = snap::raw::Encoder::new().compress_vec(&[7; 10_000]).unwrap();
        let mut out = Vec::new();
        decompress(&body, 10_000, &mut out).unwrap();
        assert_eq!(out, [7; 10_000]);
        assert_eq!(decompress(&body, 9_999, &mut out).unwrap_err().kind(), DecodeErrorKind::TooLarge);
        assert!(out.is_empty());
    }

    #[test]
    fn bombs_and_garbage_are_refused_before_they_cost_memory() {
        let mut out = Vec::new();
        // Declares 32 MiB in nine bytes.
        let bomb = b"\x80\x80\x80\x10\x00\x00\x00\x00\x00";
        assert_eq!(decompress(bomb, 1 << 30, &mut out).unwrap_err().kind(), DecodeErrorKind::Malformed);
        assert!(out.capacity() < 1024);
        for body in [&b""[..], b"\xff\xff\xff\xff\xff\xff", b"hello, this is no snappy"] {
            let error = decompress(body, 1 << 20, &mut out).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::Malformed, "{error}");
        }
    }
}
