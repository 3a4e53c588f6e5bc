//! Evaluation: a plan of operators over a source, and the answer made of what they deliver.

mod aggregate;
mod answer;
mod binary;
pub(crate) mod calls;
mod choose;
pub(crate) mod context;
pub(crate) mod grid;
mod grouping;
pub(crate) mod info;
mod join;
pub(crate) mod labels;
mod matching;
pub(crate) mod memory;
pub(crate) mod numbers;
pub(crate) mod operator;
pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod presence;
pub(crate) mod quantile;
pub(crate) mod recorder;
mod row;
mod samples;
mod select;
mod sets;
pub(crate) mod times;
mod topk;
mod unary;
mod workers;

pub(crate) use answer::evaluate;
