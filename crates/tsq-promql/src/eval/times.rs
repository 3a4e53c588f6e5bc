//! Functions that give times.

use crate::ast::{ContextValue, Expr, Node};

use super::calls::Call;
use super::context::Result;
use super::grid::Grid;
use super::operator::{BoxOperator, Broadcast, Column, Map, once};
use super::plan::{Planner, inside_parens};
use super::row::Row;
use super::select::Deliver;

/// `time()`
pub(crate) fn time<'q>(planner: Planner<'q>, _args: &'q [Expr], grid: Grid) -> Result<Column<'q>> {
    Column::steps(planner.query, grid.count, |step| grid.time(step) as f64 / 1000.0)
}

/// `start()`
pub(crate) fn start<'q>(planner: Planner<'q>, _args: &'q [Expr], _grid: Grid) -> Result<Column<'q>> {
    Ok(Column::constant(planner.context(ContextValue::Start)))
}

/// `end()`
pub(crate) fn end<'q>(planner: Planner<'q>, _args: &'q [Expr], _grid: Grid) -> Result<Column<'q>> {
    Ok(Column::constant(planner.context(ContextValue::End)))
}

/// `step()`
pub(crate) fn step<'q>(planner: Planner<'q>, _args: &'q [Expr], _grid: Grid) -> Result<Column<'q>> {
    Ok(Column::constant(planner.context(ContextValue::Step)))
}

/// `range()`
pub(crate) fn range<'q>(planner: Planner<'q>, _args: &'q [Expr], _grid: Grid) -> Result<Column<'q>> {
    Ok(Column::constant(planner.context(ContextValue::Range)))
}

/// `timestamp(v)`: of a selector the times of the samples, of anything else the evaluation time.
pub(crate) fn timestamp<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let arg = inside_parens(&call.args[0]);
    if let Node::Selector(selector) = &arg.node {
        return planner.select(selector, call.grid, Deliver::Time, arg.range);
    }
    let input = planner.vector(arg, call.grid)?;
    let change = move |row: &mut Row| {
        row.drop_name = true;
        for step in (0..row.steps()).filter(|&step| row.is_present(step)).collect::<Vec<_>>() {
            row.set_float(step, call.grid.time(step) as f64 / 1000.0);
        }
        Ok(true)
    };
    Ok(Box::new(Map { input, change }))
}

/// `start_timestamp(v)`: of a selector the start times of the samples, 0 where none is known; what was computed has none.
pub(crate) fn start_timestamp<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let arg = inside_parens(&call.args[0]);
    let Node::Selector(selector) = &arg.node else {
        return Ok(once(planner.query, || planner.query.batch(Vec::new())));
    };
    let is_pinned = selector.modifiers.at.is_some() && call.grid.count > 1;
    let grid = if is_pinned { call.grid.first() } else { call.grid };
    let input = planner.select(selector, grid, Deliver::Start, arg.range)?;
    if !is_pinned {
        return Ok(input);
    }
    Ok(Box::new(Broadcast { query: planner.query, input, steps: call.grid.count }))
}
