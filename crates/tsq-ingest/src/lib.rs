//! Wire and file formats of tsq: bytes in, batches out. No sockets, no clock.
//!
//! * [`remote_write`]: Prometheus remote write 1.0 and 2.0, decoded straight from the protobuf bytes.
//! * [`otlp`]: OpenTelemetry metrics, protobuf and JSON.
//! * [`remote_read`]: Prometheus remote read: requests, and both forms of answers.
//! * [`federation`]: the newest sample of each series, for other servers.
//! * [`text`]: Prometheus text and OpenMetrics, as scraped, pushed, or dumped into files.
//! * [`runs`]: files that trackers of training runs leave behind: TensorBoard, Weights & Biases.
//! * [`csv`], [`jsonl`], [`tsr`]: the other file formats of import and export.
//! * [`FORMATS`]: all file formats behind the two traits [`Importer`] and [`Exporter`].

#![forbid(unsafe_code)]

pub mod csv;
mod error;
pub mod federation;
mod format;
pub mod jsonl;
mod lines;
mod number;
pub mod otlp;
mod pending;
mod protobuf;
pub mod remote_read;
pub mod remote_write;
pub mod runs;
pub mod text;
pub mod tsr;

pub use error::{DecodeError, DecodeErrorKind, ExportError, ImportError, ParseError};
pub use format::{
    ExportOptions, Exported, Exporter, FORMATS, Format, ImportOptions, Importer, Input, Output, Skipped, StartExport,
    StartImport,
};
