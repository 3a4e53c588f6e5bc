//! The index of a block: label names and values, series, and the postings that lead from one to the other.
//!
//! A *pair* is a distinct label (name, value) of the block; pairs are numbered by name, then value. A series is the
//! ascending list of its pairs, so the order of such lists is the order of label sets. All parts are read from the
//! file as they are needed; nothing is built at opening.

mod builder;
mod postings;
mod reader;
mod select;
mod series;
mod symbols;
mod verify;

pub(crate) use builder::{IndexBuilder, IndexSections};
pub(crate) use reader::{Index, PairCursor};
pub(crate) use series::{SeriesCursor, SeriesEntry};
