//! PromQL: parse, plan, evaluate. Reads through [`tsq_core::Source`]; opens no file.

#![forbid(unsafe_code)]

mod answer;
pub mod ast;
mod check;
mod engine;
mod error;
mod eval;
mod explain;
mod format;
mod functions;
mod go_text;
mod hints;
mod kernels;
mod lexer;
mod names;
mod parser;
mod printer;
mod regex;
#[cfg(test)]
mod same;
mod signatures;
mod tokens;

pub use answer::{Answer, MatrixSeries, QueryError, QueryErrorKind, SampleValue, Stats, Value, VectorElement};
pub use engine::{CancelFlag, Engine, EngineOptions, QueryOptions};
pub use error::{ParseError, position};
pub use explain::{Explain, PlanKind, PlanPart};
pub use format::{format_plain, format_value};
pub use kernels::histogram::{HistogramBucket, histogram_buckets};
pub use parser::{parse, parse_any_selector, parse_selector};
pub use printer::format;
pub use regex::{GoPattern, PatternBudget, compile_pattern};
pub use signatures::{Arity, Signature, ValueType, signature, signatures};
pub use tokens::{KEYWORDS, Token, TokenKind, aggregation_names, function_names, tokens};
