//! ML runs: the catalog of experiments and runs, their metrics in the engine, and PromQL over training steps.
//!
//! [`Runs`] is the whole of it for a process that writes: what clients log goes through it, so that catalog and engine
//! agree. [`Catalog`] alone is enough to look at a directory.

#![forbid(unsafe_code)]

mod catalog;
mod error;
mod filter;
mod history;
mod live;
pub mod names;
mod random_name;
mod runs;
mod source;

pub use catalog::{
    Catalog, Dataset, DatasetInput, DatasetSummary, Experiment, Latest, LoggedModel, ModelLink, ModelMetric, ModelSort,
    ModelVersion, NewLoggedModel, NewModelVersion, NewRun, Page, Pair, RegisteredModel, RichValue, Run, RunChange,
    RunInfo, RunSearch, STAGES, STATUSES, View,
};
pub use error::{Error, ErrorKind, Result};
pub use history::{Cursor, History};
pub use runs::{Logged, Point, Runs};
pub use source::{AXIS_LABEL, AxisName, RunSource};
