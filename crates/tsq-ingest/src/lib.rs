//! Wire and file formats of tsq: bytes in, batches out. No sockets, no clock.
//!
//! * [`remote_write`]: Prometheus remote write 1.0 and 2.0, decoded straight from the protobuf bytes.

#![forbid(unsafe_code)]

mod error;
pub mod remote_write;

pub use error::{DecodeError, DecodeErrorKind};
