//! TensorBoard: event files, and the directories of them that are runs.

mod file;
mod run;

pub use file::{BucketedHistogram, Content, Event, EventReader, SummaryValue, Tensor, TensorValues};
pub use run::{TensorboardReader, dtype_name};
