//! PromQL: parse, plan, evaluate. Reads through [`tsq_core::Source`]; opens no file.

mod answer;
pub mod ast;
mod engine;

pub use answer::{Answer, MatrixSeries, QueryError, QueryErrorKind, SampleValue, Stats, Value, VectorElement};
pub use engine::{CancelFlag, Engine, EngineOptions, QueryOptions};
