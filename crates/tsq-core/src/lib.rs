//! The storage engine of tsq: one writer process, a bounded log, an in-memory head, immutable mapped blocks.
//!
//! Blocking and synchronous; knows no protocol, no query language, no async runtime, and keeps no global state
//! but the list of maps that a signal handler needs ([`survive_lost_maps`]).

// The derive macro of tsz-compress names it.
extern crate alloc;

mod append;
mod axis;
mod background;
mod batch;
#[doc(hidden)]
pub mod bench_support;
mod block;
mod clock;
mod codec;
mod compact;
mod db;
mod delete;
mod disk;
mod error;
mod families;
mod flush;
#[doc(hidden)]
pub mod fuzz_support;
mod head;
mod histogram;
mod import;
mod index;
mod labels;
mod manifest;
mod merge;
mod open;
mod options;
mod query;
mod retention;
mod sample;
mod series;
mod snapshot;
mod stats;
mod store;
mod tombstones;
mod verify;
mod wal;

pub use axis::Axis;
pub use batch::{
    Appended, Batch, CanonicalLabels, Exemplar, LabelSource, Metadata, RejectReason, Rejection, SeriesHandle,
};
pub use block::{BlockId, BlockMeta, ReadCache};
pub use clock::{Clock, ManualClock, SystemClock};
pub use db::{Db, DbBuilder};
pub use delete::{Cleaned, Deleted};
pub use disk::{
    CrashImage, Disk, DiskFile, DiskRead, Fault, LockGuard, LockOutcome, Map, RealDisk, SimDisk, Space,
    survive_lost_maps,
};
pub use error::{Error, ErrorKind, Result};
pub use histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Span};
pub use import::Importer;
pub use labels::{Labels, LabelsBuilder, LabelsIter, METRIC_NAME};
pub use open::Damage;
pub use options::{Durability, Limits, Options, ReadMode, RetentionRule};
pub use query::{MatchOp, Matcher, Pattern, Reach, SeriesStream, Source, all_match};
pub use sample::{Kind, NORMAL_NAN_BITS, STALE_NAN_BITS, Samples, TimeRange, is_stale, stale_nan};
pub use series::{ReadCost, Series};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use verify::{BlockInspection, CodecUse, GroupUse, Inspection, Verification};
