//! All functions of PromQL and how each is evaluated.
//!
//! What a function computes of numbers and histograms is in `kernels`; what it does with labels and times in `eval`.

use tsq_core::Histogram;

use crate::ast::Expr;
use crate::eval::calls::Call;
use crate::eval::context::Result;
use crate::eval::grid::Grid;
use crate::eval::operator::{BoxOperator, Column};
use crate::eval::plan::Planner;
use crate::eval::{info, labels, numbers, order, presence, quantile, times};
use crate::kernels::calendar::CALENDAR_FUNCTIONS;
use crate::kernels::histogram::HISTOGRAM_FUNCTIONS;
use crate::kernels::math::FLOAT_FUNCTIONS;
use crate::kernels::{WINDOW_FUNCTIONS, WindowFunction};

/// A function.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub evaluate: Evaluate,
    /// Whether it looks at the evaluation time, so that arguments that are the same at all times do not make it so.
    pub uses_time: bool,
}

/// Evaluates a function that gives a scalar.
pub(crate) type ScalarFunction = for<'q> fn(Planner<'q>, &'q [Expr], Grid) -> Result<Column<'q>>;

/// Plans a function that gives a vector.
pub(crate) type VectorFunction = for<'q> fn(Planner<'q>, Call<'q>) -> Result<BoxOperator<'q>>;

/// How a function is evaluated.
#[derive(Clone, Copy)]
pub(crate) enum Evaluate {
    /// Over the range behind each step.
    OverRange(&'static WindowFunction),
    /// On each float; leaves histograms out.
    Float(fn(f64) -> f64),
    /// On each float as a time in seconds, or on the evaluation time.
    Calendar(fn(f64) -> f64),
    /// On each histogram; leaves floats out.
    Histogram(fn(&Histogram) -> f64),
    /// Gives a scalar.
    Scalar(ScalarFunction),
    /// Does more than that: labels, order, presence, several series at once.
    Vector(VectorFunction),
}

/// Functions that look at more than one sample or range.
static FUNCTIONS: &[(&str, Evaluate)] = &[
    ("absent", Evaluate::Vector(presence::absent)),
    ("absent_over_time", Evaluate::Vector(presence::absent_over_time)),
    ("clamp", Evaluate::Vector(numbers::clamp)),
    ("clamp_max", Evaluate::Vector(numbers::clamp_max)),
    ("clamp_min", Evaluate::Vector(numbers::clamp_min)),
    ("end", Evaluate::Scalar(times::end)),
    ("histogram_fraction", Evaluate::Vector(quantile::histogram_fraction)),
    ("histogram_quantile", Evaluate::Vector(quantile::histogram_quantile)),
    ("histogram_quantiles", Evaluate::Vector(quantile::histogram_quantiles)),
    ("info", Evaluate::Vector(info::info)),
    ("label_join", Evaluate::Vector(labels::label_join)),
    ("label_replace", Evaluate::Vector(labels::label_replace)),
    ("max_of", Evaluate::Scalar(numbers::max_of)),
    ("min_of", Evaluate::Scalar(numbers::min_of)),
    ("pi", Evaluate::Scalar(numbers::pi)),
    ("range", Evaluate::Scalar(times::range)),
    ("round", Evaluate::Vector(numbers::round)),
    ("scalar", Evaluate::Scalar(presence::scalar)),
    ("sort", Evaluate::Vector(order::sort)),
    ("sort_by_label", Evaluate::Vector(order::sort_by_label)),
    ("sort_by_label_desc", Evaluate::Vector(order::sort_by_label_desc)),
    ("sort_desc", Evaluate::Vector(order::sort_desc)),
    ("start", Evaluate::Scalar(times::start)),
    ("start_timestamp", Evaluate::Vector(times::start_timestamp)),
    ("step", Evaluate::Scalar(times::step)),
    ("time", Evaluate::Scalar(times::time)),
    ("timestamp", Evaluate::Vector(times::timestamp)),
    ("vector", Evaluate::Vector(presence::vector)),
];

/// The function of this name.
pub(crate) fn function(name: &str) -> Option<Function> {
    let find = |evaluate: Evaluate, uses_time: bool| Some(Function { evaluate, uses_time });
    if let Some(&(_, evaluate)) = FUNCTIONS.iter().find(|(known, _)| *known == name) {
        return find(evaluate, matches!(name, "time" | "timestamp"));
    }
    if let Some(function) = WINDOW_FUNCTIONS.iter().find(|function| function.name == name) {
        return find(Evaluate::OverRange(function), name == "predict_linear");
    }
    if let Some(&(_, apply)) = FLOAT_FUNCTIONS.iter().find(|(known, _)| *known == name) {
        return find(Evaluate::Float(apply), false);
    }
    if let Some(&(_, apply)) = CALENDAR_FUNCTIONS.iter().find(|(known, _)| *known == name) {
        return find(Evaluate::Calendar(apply), true);
    }
    let &(_, apply) = HISTOGRAM_FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    find(Evaluate::Histogram(apply), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::SIGNATURES;

    #[test]
    fn every_function_that_parses_can_be_evaluated() {
        for signature in SIGNATURES {
            assert!(function(signature.name).is_some(), "{} cannot be evaluated", signature.name);
        }
    }
}
