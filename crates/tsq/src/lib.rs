//! The library other Rust tools embed: an ML metrics database with PromQL.

pub use tsq_core::*;
pub use tsq_promql as promql;
