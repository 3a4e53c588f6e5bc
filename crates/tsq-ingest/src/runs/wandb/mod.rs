//! Weights & Biases: the transaction log of a run, `run-<id>.wandb`.

mod log;
mod run;

pub use log::{Changes, Record, RecordReader, RunInfo};
pub use run::WandbReader;
