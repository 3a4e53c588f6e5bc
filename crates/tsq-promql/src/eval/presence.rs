//! Functions about whether there are elements: `absent`, `absent_over_time`, `scalar`, `vector`.

use tsq_core::{Labels, LabelsBuilder, METRIC_NAME, MatchOp};

use crate::ast::Expr;
use crate::kernels::{Out, WINDOW_FUNCTIONS};

use super::calls::{Call, kernel_for, selector_of};
use super::context::{Query, Result, execution};
use super::grid::Grid;
use super::operator::{BoxOperator, Column, once};
use super::plan::Planner;
use super::row::{Batch, Row};
use super::select::RangeCall;

/// `absent(v)`: 1 at steps without elements.
pub(crate) fn absent<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let input = planner.vector(&call.args[0], call.grid)?;
    let labels = labels_of_absent(&call.args[0])?;
    Ok(once(planner.query, move || complement(planner.query, input, labels, call.grid.count)))
}

/// `absent_over_time(range)`: 1 at steps whose range is empty in all series.
pub(crate) fn absent_over_time<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let range = planner.range(&call.args[0], call.grid)?;
    let function = WINDOW_FUNCTIONS.iter().find(|function| function.name == call.name);
    function.map(|function| kernel_for(function, range.extended)).transpose()?;
    let input = Box::new(RangeCall {
        query: planner.query,
        input: range.input,
        ranges: range.ranges,
        margin_ms: range.margin_ms,
        keeps_name: true,
        compute: Box::new(|_, _, _| Out::Float(1.0)),
        compute_all: None,
        remark: None,
        text_range: range.text_range,
    });
    let labels = labels_of_absent(&call.args[0])?;
    Ok(once(planner.query, move || complement(planner.query, input, labels, call.grid.count)))
}

fn complement<'q>(query: &'q Query<'q>, mut input: BoxOperator<'q>, labels: Labels, steps: usize) -> Result<Batch<'q>> {
    let _charge = query.memory.charge(steps * (1 + size_of::<f64>()))?;
    let mut present = vec![false; steps];
    while let Some(batch) = input.next()? {
        for row in &batch.rows {
            present.iter_mut().enumerate().for_each(|(step, present)| *present |= row.is_present(step));
        }
    }
    let mut row = Row::absent(labels, false, steps);
    present.iter().enumerate().filter(|(_, present)| !**present).for_each(|(step, _)| row.set_float(step, 1.0));
    query.batch(if row.is_empty() { Vec::new() } else { vec![row] })
}

/// The labels that a selector asks for by a single equality, behind any other conditions on them: elements would have
/// these if there were any. Prometheus forgets a label when a condition follows its equality.
fn labels_of_absent(expr: &Expr) -> Result<Labels> {
    let Some(selector) = selector_of(expr) else { return Ok(Labels::empty()) };
    let mut builder = LabelsBuilder::default();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        let same_name = || selector.matchers.iter().filter(|other| other.name == matcher.name);
        let equalities = same_name().filter(|other| matches!(other.op, MatchOp::Equal(_))).count();
        let is_last = same_name().next_back().is_some_and(|last| std::ptr::eq(last, matcher));
        if let (MatchOp::Equal(value), 1, true) = (&matcher.op, equalities, is_last) {
            builder.push(&matcher.name, value);
        }
    }
    builder.build().map_err(|error| execution(error.to_string()))
}

/// `scalar(v)`: the value of the only float at each step, or NaN.
pub(crate) fn scalar<'q>(planner: Planner<'q>, args: &'q [Expr], grid: Grid) -> Result<Column<'q>> {
    let mut input = planner.vector(&args[0], grid)?;
    let charge = planner.query.memory.charge(grid.count * size_of::<(f64, u8)>())?;
    let mut found = vec![(f64::NAN, 0_u8); grid.count];
    while let Some(batch) = input.next()? {
        for row in &batch.rows {
            for (step, found) in found.iter_mut().enumerate() {
                if let Some(value) = row.float(step) {
                    *found = (value, found.1.saturating_add(1));
                }
            }
        }
    }
    drop(charge);
    Column::steps(planner.query, grid.count, |step| if found[step].1 == 1 { found[step].0 } else { f64::NAN })
}

/// `vector(s)`
pub(crate) fn vector<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let column = planner.scalar(&call.args[0], call.grid)?;
    Ok(once(planner.query, move || planner.query.batch(vec![column.into_row(Labels::empty(), call.grid.count)])))
}
