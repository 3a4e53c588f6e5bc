//! The part of a database that is not in blocks yet: series (`index`) and the samples of each generation.

mod data;
mod generation;
mod index;
mod symbols;

pub(crate) use data::{HeadSample, Pushed, SampleValue};
pub(crate) use generation::{Frozen, GenShard, Generation, UndoView};
pub(crate) use index::{SeriesIndex, SeriesRef};
