//! Files that trackers of training runs leave behind, read without any of their servers.
//!
//! * [`RunReader`]: what every reader below gives: [`RunEvent`]s.
//! * [`tensorboard`]: event files.
//! * [`wandb`]: the transaction log of a Weights & Biases run.
//! * [`mlruns`]: MLflow's file store.
//! * [`trainer`]: HuggingFace's `trainer_state.json` and the CSV of Lightning.
//! * [`json`]: JSON as those trackers write it, with bare `NaN` and infinities, integers of any size, and order kept.
//!
//! A run that crashed leaves its last record cut off, and disks damage bytes: readers give what is whole, and say in
//! [`Damage`] what is not.

use std::fmt;

mod event;
pub mod json;
pub mod mlruns;
pub mod tensorboard;
pub mod trainer;
pub mod wandb;

pub use event::{At, RunEvent, RunHeader, RunReader, RunStatus};

/// A place of a file that could not be read. What stands before it was given, and after it as far as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte of the file at which the unreadable part begins.
    pub offset: u64,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.message)
    }
}

/// How many damages are kept, so that a file of noise does not fill the memory; further ones are counted.
const DAMAGES_MAX: usize = 100;

/// The damages of a file.
#[derive(Clone, Debug, Default)]
pub struct Damages {
    first: Vec<Damage>,
    count: u64,
}

impl Damages {
    fn add(&mut self, offset: u64, message: impl Into<String>) {
        self.count += 1;
        if self.first.len() < DAMAGES_MAX {
            self.first.push(Damage { offset, message: message.into() });
        }
    }

    /// The first hundred.
    pub fn first(&self) -> &[Damage] {
        &self.first
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Largest record that is read into memory.
const RECORD_MAX: u64 = 256 << 20;
