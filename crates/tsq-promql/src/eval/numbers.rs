//! Functions of numbers that have more than one argument.

use crate::ast::Expr;
use crate::kernels::math;

use super::calls::{Call, map_floats};
use super::context::Result;
use super::grid::Grid;
use super::operator::{BoxOperator, Column};
use super::plan::Planner;

/// `clamp(v, min, max)`
pub(crate) fn clamp<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let (min, max) = (planner.scalar(&call.args[1], call.grid)?, planner.scalar(&call.args[2], call.grid)?);
    let input = planner.vector(&call.args[0], call.grid)?;
    Ok(map_floats(input, move |step, value| math::clamp(value, min.at(step), max.at(step))))
}

/// `clamp_max(v, max)`
pub(crate) fn clamp_max<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let max = planner.scalar(&call.args[1], call.grid)?;
    let input = planner.vector(&call.args[0], call.grid)?;
    Ok(map_floats(input, move |step, value| Some(math::min_of(max.at(step), value))))
}

/// `clamp_min(v, min)`
pub(crate) fn clamp_min<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let min = planner.scalar(&call.args[1], call.grid)?;
    let input = planner.vector(&call.args[0], call.grid)?;
    Ok(map_floats(input, move |step, value| Some(math::max_of(min.at(step), value))))
}

/// `round(v, to_nearest = 1)`
pub(crate) fn round<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let to_nearest = match call.args.get(1) {
        Some(to_nearest) => planner.scalar(to_nearest, call.grid)?,
        None => Column::constant(1.0),
    };
    let input = planner.vector(&call.args[0], call.grid)?;
    Ok(map_floats(input, move |step, value| Some(math::round(value, to_nearest.at(step)))))
}

/// `max_of(a, b)`
pub(crate) fn max_of<'q>(planner: Planner<'q>, args: &'q [Expr], grid: Grid) -> Result<Column<'q>> {
    Ok(planner.scalar(&args[0], grid)?.zip(planner.scalar(&args[1], grid)?, math::max_of))
}

/// `min_of(a, b)`
pub(crate) fn min_of<'q>(planner: Planner<'q>, args: &'q [Expr], grid: Grid) -> Result<Column<'q>> {
    Ok(planner.scalar(&args[0], grid)?.zip(planner.scalar(&args[1], grid)?, math::min_of))
}

/// `pi()`
pub(crate) fn pi<'q>(_planner: Planner<'q>, _args: &'q [Expr], _grid: Grid) -> Result<Column<'q>> {
    Ok(Column::constant(std::f64::consts::PI))
}
