//! PromQL: parse, plan, evaluate. Reads through [`tsq_core::Source`]; opens no file.

mod answer;
pub mod ast;
mod engine;
mod format;
#[allow(dead_code, unused_imports)] // used by the evaluator
mod kernels;

pub use answer::{Answer, MatrixSeries, QueryError, QueryErrorKind, SampleValue, Stats, Value, VectorElement};
pub use engine::{CancelFlag, Engine, EngineOptions, QueryOptions};
pub use format::{format_plain, format_value};
