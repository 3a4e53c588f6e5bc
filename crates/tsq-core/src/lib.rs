//! The storage engine of tsq: one writer process, a bounded log, an in-memory head, immutable mapped blocks.
//!
//! Blocking and synchronous; knows no protocol, no query language, no async runtime, and keeps no global state.

mod batch;
mod clock;
mod db;
#[allow(dead_code, unreachable_pub)]
mod disk;
mod error;
mod histogram;
mod labels;
mod options;
mod query;
mod sample;
mod series;

pub use batch::{
    Appended, Batch, CanonicalLabels, Exemplar, LabelSource, Metadata, RejectReason, Rejection, SeriesHandle,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use db::{Db, Snapshot};
pub use disk::{Disk, DiskFile, LockGuard, LockOutcome, RealDisk, Space};
pub use error::{Error, ErrorKind, Result};
pub use histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Span};
pub use labels::{Labels, LabelsBuilder, LabelsIter, METRIC_NAME};
pub use options::{Durability, Limits, Options};
pub use query::{MatchOp, Matcher, Pattern, SeriesStream, Source, all_match};
pub use sample::{Kind, NORMAL_NAN_BITS, STALE_NAN_BITS, Samples, TimeRange, is_stale, stale_nan};
pub use series::Series;
