//! JSON requests, rewritten as the protobuf messages they stand for: one decoder serves both.
//!
//! The rules are those of OTLP: names in `lowerCamelCase`, unknown ones ignored; 64-bit integers as numbers or text;
//! enums as numbers; trace and span ids in hexadecimal; other bytes in base64; `null` as if it were not there.

mod read;
mod schema;

use crate::error::DecodeError;

/// Rewrites a JSON `ExportMetricsServiceRequest` as protobuf, replacing the content of `out`.
///
/// # Errors
/// Text that is no JSON or does not fit the messages; [`DecodeErrorKind::TooLarge`](crate::DecodeErrorKind::TooLarge)
/// when the result has more than `bytes_max` bytes.
pub fn json_to_protobuf(text: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    read::rewrite(text, &schema::EXPORT_METRICS, bytes_max, out)
}
