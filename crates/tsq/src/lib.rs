//! The library other Rust tools embed: a time-series database for machine-learning metrics, with PromQL.
//!
//! No runtime, no globals: a [`Db`] is a handle that is cheap to clone and may be used from any thread.
//!
//! ```
//! use tsq::{Db, DbExt, Labels, Options, SourceExt, TimeRange};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let db = Db::open(dir, Options::default())?;
//! let loss = Labels::from_pairs([("__name__", "train_loss"), ("run", "a1")])?;
//! for step in 0..10 {
//!     db.write(&loss, 1_700_000_000_000 + 1000 * step, 2.0 / (1.0 + step as f64))?;
//! }
//! let answer = db.query("min_over_time(train_loss[1m])", 1_700_000_009_000)?;
//! println!("{:?}", answer.value);
//! for series in db.snapshot()?.series(r#"train_loss{run="a1"}"#, TimeRange::ALL)? {
//!     let (labels, _kind, samples) = series?;
//!     println!("{labels}: {} samples, the last is {:?}", samples.len(), samples.values.last());
//! #   assert_eq!(samples.values.last(), Some(&0.2));
//! }
//! db.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What happens often should not look up its labels each time: [`Db::series`] gives a handle, and a [`Batch`] takes many
//! samples at once. See the examples `inference_metrics` and `training_loop`.
//!
//! * Writing: [`Db::append`] with a [`Batch`]; [`DbExt::write`] for one sample. Kinds of samples: [`Kind`].
//! * Asking: [`DbExt::query`] and [`DbExt::query_range`] with PromQL; [`SourceExt::series`] for raw samples.
//! * What is durable when: [`Durability`]. What is refused: [`Limits`], counted in [`Appended`].

#![forbid(unsafe_code)]

mod ext;

pub use ext::{DbExt, Selected, SourceExt};
pub use tsq_core::*;
pub use tsq_promql as promql;

/// The code of the README is compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
