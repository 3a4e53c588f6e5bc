//! Binary operators on single samples, and between vectors and scalars.

use std::sync::Arc;

use crate::ast::{Binary, BinaryOp, TextRange};
use crate::kernels::binary::Operand;
use crate::kernels::{self, Notes, Out};
use crate::signatures::ValueType;

use super::context::Result;
use super::grid::Grid;
use super::join;
use super::operator::{BoxOperator, Column, Map};
use super::plan::Planner;
use super::row::{Row, Sample};
use super::sets;

/// Plans an operation with a vector on at least one side.
pub(crate) fn plan<'q>(
    planner: Planner<'q>,
    binary: &'q Binary,
    text_range: TextRange,
    grid: Grid,
) -> Result<BoxOperator<'q>> {
    let scalar_sides = (binary.left.value_type() == ValueType::Scalar, binary.right.value_type() == ValueType::Scalar);
    let operation = Operation { op: binary.op, return_bool: binary.return_bool };
    match scalar_sides {
        (true, _) => {
            let column = planner.scalar(&binary.left, grid)?;
            let vector = planner.vector(&binary.right, grid)?;
            Ok(with_scalar(planner, operation, vector, column, Side::Left, text_range))
        }
        (_, true) => {
            let vector = planner.vector(&binary.left, grid)?;
            let column = planner.scalar(&binary.right, grid)?;
            Ok(with_scalar(planner, operation, vector, column, Side::Right, text_range))
        }
        _ => {
            let (left, right) = (planner.vector(&binary.left, grid)?, planner.vector(&binary.right, grid)?);
            match binary.op {
                BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => {
                    Ok(sets::plan(planner.query, binary, left, right, grid))
                }
                _ => Ok(join::plan(planner.query, binary, left, right, text_range, grid)),
            }
        }
    }
}

/// An operator and whether a comparison gives 0 or 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub op: BinaryOp,
    pub return_bool: bool,
}

impl Operation {
    /// Whether the result is about something else than the left side, so that the metric name goes.
    pub(crate) fn drops_name(self) -> bool {
        self.return_bool || self.changes_meaning()
    }

    /// Whether the result is a quantity of another kind than the left side.
    pub(crate) fn changes_meaning(self) -> bool {
        !is_comparison(self.op) && !matches!(self.op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }

    /// What the operation makes of two samples. Comparisons give the left one or nothing, or with `bool` 0 or 1.
    pub(crate) fn apply(self, left: Sample<'_>, right: Sample<'_>, notes: &mut Notes) -> Out {
        self.match_pair(left, right, notes).unwrap_or(Out::None)
    }

    /// As [`apply`](Self::apply), and tells samples that do not fit together from those that a comparison leaves out.
    pub(crate) fn match_pair(
        self,
        left: Sample<'_>,
        right: Sample<'_>,
        notes: &mut Notes,
    ) -> std::result::Result<Out, NoMatch> {
        let (Some(left), Some(right)) = (operand(left), operand(right)) else { return Err(NoMatch) };
        if !is_comparison(self.op) {
            return match kernels::binary::arithmetic(self.op, left, right, notes) {
                Out::None => Err(NoMatch),
                out => Ok(out),
            };
        }
        match kernels::binary::compare(self.op, left, right, notes) {
            None => Err(NoMatch),
            Some(keep) if self.return_bool => Ok(Out::Float(f64::from(u8::from(keep)))),
            Some(false) => Ok(Out::None),
            Some(true) => Ok(match left {
                Operand::Float(value) => Out::Float(value),
                Operand::Histogram(histogram) => Out::Histogram(Box::new(histogram.clone())),
            }),
        }
    }
}

/// Two samples do not fit together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMatch;

fn operand(sample: Sample<'_>) -> Option<Operand<'_>> {
    match sample {
        Sample::Absent => None,
        Sample::Float(value) => Some(Operand::Float(value)),
        Sample::Histogram(histogram) => Some(Operand::Histogram(histogram)),
    }
}

/// Whether an operator compares.
pub(crate) fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    matches!(op, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
}

/// An operation on two numbers; comparisons give 0 or 1. `None` where the operator is not for numbers.
pub(crate) fn scalars(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    let truth = |truth: bool| f64::from(u8::from(truth));
    kernels::math::arithmetic(op, left, right).or_else(|| kernels::math::compare(op, left, right).map(truth))
}

/// The side that the scalar is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn with_scalar<'q>(
    planner: Planner<'q>,
    operation: Operation,
    input: BoxOperator<'q>,
    column: Column<'q>,
    side: Side,
    text_range: TextRange,
) -> BoxOperator<'q> {
    let filters = is_comparison(operation.op) && !operation.return_bool;
    let change = move |row: &mut Row| {
        row.drop_name |= operation.drops_name();
        let mut notes = Notes::default();
        let mut any = false;
        for step in 0..row.steps() {
            let scalar = Sample::Float(column.at(step));
            let out = match (row.sample(step), side) {
                (Sample::Absent, _) => continue,
                (sample, Side::Right) => operation.apply(sample, scalar, &mut notes),
                (sample, Side::Left) => operation.apply(scalar, sample, &mut notes),
            };
            match out {
                Out::None => row.remove(step),
                // A comparison keeps the sample of the vector, whichever side it is on.
                Out::Float(_) | Out::Histogram(_) if filters => any = true,
                Out::Float(value) => {
                    row.set_float(step, value);
                    any = true;
                }
                Out::Histogram(histogram) => {
                    row.set_histogram(step, Arc::new(*histogram));
                    any = true;
                }
            }
        }
        planner.query.annotate(&mut notes, "", text_range);
        Ok(any)
    };
    Box::new(Map { input, change })
}
