//! From the syntax tree to operators: constants folded, durations resolved, times of selectors known.
//!
//! Scalars are evaluated while planning, since every use of one needs its whole column; vectors become operators that
//! read nothing until they are asked for series.

use std::sync::{Mutex, PoisonError};

use tsq_core::Labels;

use crate::answer::{QueryError, QueryErrorKind};
use crate::ast::{
    Aggregate, At, BinaryOp, ContextValue, DurationExpr, DurationNode, Expr, Extended, Modifiers, Node, Selector,
    Subquery, TextRange,
};
use crate::functions::{Evaluate, function};
use crate::kernels::{self, extended_floats};
use crate::signatures::ValueType;

use super::aggregate;
use super::binary;
use super::calls::{self, Call};
use super::context::{Query, Result, execution};
use super::grid::{Grid, Ranges, Shift};
use super::operator::{BoxOperator, Broadcast, Column, Map};
use super::recorder::{watch_range, watch_scalar, watch_vector};
use super::samples::{Points, Slider};
use super::select::{Deliver, RangeCall, RangeInput, Select, Selection};
use super::unary;

/// Plans the expressions of one query.
#[derive(Clone, Copy)]
pub(crate) struct Planner<'q> {
    pub query: &'q Query<'q>,
    /// Whether histograms are only asked for their counts and sums. Prometheus then finds out about counter resets
    /// while reading, and says when they contradict each other.
    pub counts_only: bool,
}

/// A range vector: where its samples come from and which ranges of them belong to each step.
pub(crate) struct PlannedRange<'q> {
    pub input: RangeInput<'q>,
    pub ranges: Ranges,
    pub margin_ms: (i64, i64),
    pub extended: Option<Extended>,
    /// Where it stands in the query text.
    pub text_range: TextRange,
}

impl PlannedRange<'_> {
    /// The samples in the first range of the next series that have any; `None` at the end. An extended range has a
    /// float at each of its edges.
    pub(crate) fn samples(&mut self) -> Result<Option<Vec<(Labels, bool, Points)>>> {
        let found = Mutex::new(Vec::new());
        let (range, margin_ms, extended) = (self.ranges.bounds(0), self.margin_ms, self.extended);
        let wider = (range.0.saturating_sub(margin_ms.0), range.1.saturating_add(margin_ms.1));
        let more = self.input.map(1, |_, labels, drop_name, points| {
            let window = Slider::default().slide(points, range, wider, range.1);
            let mut points = Points::default();
            match extended {
                Some(extended) => {
                    (points.times, points.values) = extended_floats(&window, extended == Extended::Smoothed);
                }
                None => {
                    (points.times, points.values) = (window.times.to_vec(), window.values.to_vec());
                    points.histogram_times = window.histogram_times.to_vec();
                    points.histograms = window.histograms.to_vec();
                }
            }
            if points.len() > 0 {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((labels.clone(), drop_name, points));
            }
            Ok(None)
        })?;
        Ok(more.map(|_| found.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The expression inside of any parentheses.
pub(crate) fn inside_parens(expr: &Expr) -> &Expr {
    match &expr.node {
        Node::Paren(inner) => inside_parens(inner),
        _ => expr,
    }
}

/// Whether an expression has the same value at all evaluation times.
fn is_invariant(expr: &Expr) -> bool {
    match &expr.node {
        Node::Number { .. } | Node::String(_) | Node::Context(_) => true,
        Node::Selector(selector) | Node::Matrix { selector, .. } => selector.modifiers.at.is_some(),
        Node::Subquery(subquery) => subquery.modifiers.at.is_some(),
        Node::Unary { expr, .. } => is_invariant(expr),
        Node::Paren(expr) => is_invariant(expr),
        Node::Binary(binary) => is_invariant(&binary.left) && is_invariant(&binary.right),
        Node::Aggregate(aggregate) => is_invariant(&aggregate.expr) && aggregate.param.iter().all(is_invariant),
        Node::Call { function: name, args } => {
            function(name).is_some_and(|function| !function.uses_time) && args.iter().all(is_invariant)
        }
    }
}

/// Whether the series of an expression come in label order: those of selectors do, and functions that look at one
/// series at a time leave them so.
pub(crate) fn in_label_order(expr: &Expr) -> bool {
    match &expr.node {
        Node::Selector(_) | Node::Matrix { .. } => true,
        Node::Subquery(subquery) => in_label_order(&subquery.expr),
        Node::Paren(inner) => in_label_order(inner),
        Node::Unary { expr, .. } => in_label_order(expr),
        Node::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
            (ValueType::Vector, ValueType::Scalar) => in_label_order(&binary.left),
            (ValueType::Scalar, ValueType::Vector) => in_label_order(&binary.right),
            _ => false,
        },
        Node::Call { function: name, args } => match function(name).map(|function| function.evaluate) {
            Some(Evaluate::OverRange(_) | Evaluate::Float(_) | Evaluate::Calendar(_) | Evaluate::Histogram(_)) => {
                args.iter().filter(|arg| arg.value_type() != ValueType::Scalar).all(in_label_order)
            }
            _ => false,
        },
        _ => false,
    }
}

impl<'q> Planner<'q> {
    /// Plans an expression that is an instant vector.
    pub(crate) fn vector(self, expr: &'q Expr, grid: Grid) -> Result<BoxOperator<'q>> {
        let expr = inside_parens(expr);
        let once = grid.count > 1 && is_invariant(expr);
        let steps = if once { 1 } else { grid.count };
        watch_vector(self.query, expr, steps, || self.vector_over(expr, grid, once))
    }

    /// Plans an expression that may be evaluated `once` for all times.
    fn vector_over(self, expr: &'q Expr, grid: Grid, once: bool) -> Result<BoxOperator<'q>> {
        if once {
            let input = self.vector_at(expr, grid.first())?;
            return Ok(Box::new(Broadcast { query: self.query, input, steps: grid.count }));
        }
        self.vector_at(expr, grid)
    }

    fn vector_at(self, expr: &'q Expr, grid: Grid) -> Result<BoxOperator<'q>> {
        match &expr.node {
            Node::Paren(inner) => self.vector_at(inner, grid),
            Node::Selector(selector) => self.select(selector, grid, Deliver::Value, expr.range),
            Node::Unary { negate: false, expr } => self.vector_at(expr, grid),
            Node::Unary { negate: true, expr } => {
                Ok(Box::new(Map { input: self.vector(expr, grid)?, change: unary::negate }))
            }
            Node::Binary(binary) => binary::plan(self, binary, expr.range, grid),
            Node::Aggregate(aggregate) => self.aggregate(aggregate, expr.range, grid),
            Node::Call { function: name, args } => {
                let function = function(name).ok_or_else(|| execution(format!("unknown function {name:?}")))?;
                calls::plan(self, function, Call { name, expr, args, grid })
            }
            Node::Number { .. } | Node::String(_) | Node::Context(_) | Node::Matrix { .. } | Node::Subquery(_) => {
                Err(execution(format!("expected an instant vector, found a {}", expr.value_type())))
            }
        }
    }

    fn aggregate(self, aggregate: &'q Aggregate, text_range: TextRange, grid: Grid) -> Result<BoxOperator<'q>> {
        let input = self.vector(&aggregate.expr, grid)?;
        aggregate::plan(self, aggregate, input, text_range, grid)
    }

    /// Plans an instant selector.
    pub(crate) fn select(
        self,
        selector: &'q Selector,
        grid: Grid,
        deliver: Deliver,
        text_range: TextRange,
    ) -> Result<BoxOperator<'q>> {
        let shift = self.shift(&selector.modifiers)?;
        if let Some(Extended::Smoothed) = selector.modifiers.extended {
            return Ok(self.smoothed(selector, grid, shift, text_range));
        }
        let mut select = Select::new(self.query, &selector.matchers, grid, shift, deliver);
        select.selection.finds_resets = self.counts_only;
        Ok(Box::new(select))
    }

    /// An instant selector that interpolates between the samples before and after.
    fn smoothed(self, selector: &'q Selector, grid: Grid, shift: Shift, text_range: TextRange) -> BoxOperator<'q> {
        let query = self.query;
        let lookback_ms = query.lookback_ms;
        let ranges = Ranges { grid, shift, range_ms: lookback_ms };
        let (after_ms, to_ms) = ranges.hull();
        let hull = (after_ms, to_ms.saturating_add(lookback_ms));
        let selection = Selection::new(query, &selector.matchers, hull, grid.count);
        Box::new(RangeCall {
            query,
            input: RangeInput::Selector(selection),
            ranges,
            margin_ms: (0, lookback_ms),
            keeps_name: true,
            compute: Box::new(|_, window, notes| kernels::smoothed_instant(window, notes)),
            compute_all: None,
            remark: None,
            text_range,
        })
    }

    /// Evaluates an expression that is a scalar.
    pub(crate) fn scalar(self, expr: &'q Expr, grid: Grid) -> Result<Column<'q>> {
        match &expr.node {
            Node::Number { value, .. } => Ok(Column::constant(*value)),
            Node::Context(value) => Ok(Column::constant(self.context(*value))),
            Node::Paren(inner) => self.scalar(inner, grid),
            Node::Unary { negate: false, expr } => self.scalar(expr, grid),
            Node::Unary { negate: true, expr } => Ok(self.scalar(expr, grid)?.map(|value| -value)),
            Node::Binary(binary) => {
                let (left, right) = (self.scalar(&binary.left, grid)?, self.scalar(&binary.right, grid)?);
                // The type check lets only operators on numbers through.
                Ok(left.zip(right, |left, right| binary::scalars(binary.op, left, right).unwrap_or(f64::NAN)))
            }
            Node::Call { function: name, args } => match function(name).map(|function| function.evaluate) {
                Some(Evaluate::Scalar(evaluate)) if args.is_empty() => evaluate(self, args, grid),
                Some(Evaluate::Scalar(evaluate)) => {
                    watch_scalar(self.query, expr, grid.count, || evaluate(self, args, grid))
                }
                _ => Err(execution(format!("function {name:?} gives no scalar"))),
            },
            _ => Err(execution(format!("expected a scalar, found a {}", expr.value_type()))),
        }
    }

    /// The string that an expression is.
    pub(crate) fn string(self, expr: &'q Expr) -> Result<&'q str> {
        match &inside_parens(expr).node {
            Node::String(text) => Ok(text),
            _ => Err(execution(format!("expected a string, found a {}", expr.value_type()))),
        }
    }

    /// Plans an expression that is a range vector.
    pub(crate) fn range(self, expr: &'q Expr, grid: Grid) -> Result<PlannedRange<'q>> {
        let expr = inside_parens(expr);
        watch_range(self.query, expr, grid.count, || self.range_of(expr, grid))
    }

    fn range_of(self, expr: &'q Expr, grid: Grid) -> Result<PlannedRange<'q>> {
        match &expr.node {
            Node::Matrix { selector, range } => {
                let ranges = self.ranges(&selector.modifiers, range, grid)?;
                let lookback_ms = self.query.lookback_ms;
                let margin_ms = match selector.modifiers.extended {
                    None => (0, 0),
                    Some(Extended::Anchored) => (lookback_ms, 0),
                    Some(Extended::Smoothed) => (lookback_ms, lookback_ms),
                };
                let (after_ms, to_ms) = ranges.hull();
                let hull = (after_ms.saturating_sub(margin_ms.0), to_ms.saturating_add(margin_ms.1));
                let mut selection = Selection::new(self.query, &selector.matchers, hull, grid.count);
                selection.finds_resets = self.counts_only;
                let input = RangeInput::Selector(selection);
                let extended = selector.modifiers.extended;
                Ok(PlannedRange { input, ranges, margin_ms, extended, text_range: expr.range })
            }
            Node::Subquery(subquery) => self.subquery(subquery, expr.range, grid),
            _ => Err(execution(format!("expected a range vector, found a {}", expr.value_type()))),
        }
    }

    fn subquery(self, subquery: &'q Subquery, text_range: TextRange, grid: Grid) -> Result<PlannedRange<'q>> {
        let ranges = self.ranges(&subquery.modifiers, &subquery.range, grid)?;
        let step_ms = match &subquery.step {
            Some(step) => self.positive(step)?,
            None => self.query.subquery_step_ms,
        };
        let inner = ranges.subquery_grid(step_ms);
        let child = self.vector(&subquery.expr, inner)?;
        let input = RangeInput::Subquery { query: self.query, child, grid: inner };
        Ok(PlannedRange { input, ranges, margin_ms: (0, 0), extended: None, text_range })
    }

    fn ranges(self, modifiers: &Modifiers, range: &DurationExpr, grid: Grid) -> Result<Ranges> {
        Ok(Ranges { grid, shift: self.shift(modifiers)?, range_ms: self.positive(range)? })
    }

    /// Where modifiers move a selector.
    pub(crate) fn shift(self, modifiers: &Modifiers) -> Result<Shift> {
        let at_ms = modifiers.at.map(|at| match at {
            At::Time(time_ms) => time_ms,
            At::Start => self.query.grid.start_ms,
            At::End => self.query.end_ms,
        });
        let offset_ms = modifiers.offset.as_ref().map(|offset| self.duration(offset)).transpose()?.unwrap_or(0);
        Ok(Shift { at_ms, offset_ms })
    }

    /// Milliseconds of a duration that must be above zero.
    fn positive(self, duration: &DurationExpr) -> Result<i64> {
        match self.duration(duration)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(self.bad_duration(duration, "duration must be greater than 0")),
        }
    }

    /// Milliseconds of a duration.
    fn duration(self, duration: &DurationExpr) -> Result<i64> {
        let ms = (self.seconds(duration)? * 1000.0).round();
        // Anything longer than this many milliseconds does not fit what Prometheus calls a duration (292 years).
        if !ms.is_finite() || ms.abs() >= 9_223_372_036_854.0 {
            return Err(self.bad_duration(duration, "duration out of range"));
        }
        Ok(ms as i64)
    }

    fn seconds(self, duration: &DurationExpr) -> Result<f64> {
        Ok(match &duration.node {
            DurationNode::Literal { seconds, .. } => *seconds,
            DurationNode::Context(value) => self.context(*value),
            DurationNode::Unary { negate, expr } => {
                let seconds = self.seconds(expr)?;
                if *negate { -seconds } else { seconds }
            }
            DurationNode::Paren(expr) => self.seconds(expr)?,
            DurationNode::Binary { op, left, right } => {
                let (left, right_s) = (self.seconds(left)?, self.seconds(right)?);
                match op {
                    BinaryOp::Div if right_s == 0.0 => return Err(self.bad_duration(right, "division by zero")),
                    BinaryOp::Mod if right_s == 0.0 => return Err(self.bad_duration(right, "modulo by zero")),
                    _ => binary::scalars(*op, left, right_s)
                        .ok_or_else(|| self.bad_duration(duration, "operator is not for durations"))?,
                }
            }
            DurationNode::MinMax { max, left, right } => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if *max { kernels::math::max_of(left, right) } else { kernels::math::min_of(left, right) }
            }
        })
    }

    fn bad_duration(self, duration: &DurationExpr, what: &str) -> QueryError {
        let (line, column) = crate::error::position(self.query.text, duration.range.start);
        QueryError { kind: QueryErrorKind::BadData, message: format!("{line}:{column}: parse error: {what}") }
    }

    /// Seconds of `step()` and its like.
    pub(crate) fn context(self, value: ContextValue) -> f64 {
        let query = self.query;
        let seconds = |ms: i64| ms as f64 / 1000.0;
        match value {
            ContextValue::Step if query.is_range => seconds(query.grid.step_ms),
            ContextValue::Step => 0.0,
            ContextValue::Range => seconds(query.end_ms) - seconds(query.grid.start_ms),
            ContextValue::Start => seconds(query.grid.start_ms),
            ContextValue::End => seconds(query.end_ms),
        }
    }
}
