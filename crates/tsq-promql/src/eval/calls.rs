//! Planning of calls.

use std::sync::{Arc, OnceLock};

use tsq_core::Labels;

use crate::ast::{Expr, Extended, Node, TextRange};
use crate::functions::{Evaluate, Function};
use crate::kernels::{
    Note, Notes, Sweep, WINDOW_FUNCTIONS, Window, WindowFunction, WindowKernel, check_smoothing_factors,
};
use crate::signatures::ValueType;

use super::context::{Result, execution};
use super::grid::Grid;
use super::matching::TYPE_LABEL;
use super::operator::{BoxOperator, Column, Map, Operator, once};
use super::plan::{PlannedRange, Planner, inside_parens};
use super::row::{Batch, Row, Sample};
use super::select::{ComputeAll, RangeCall, RangeInput};

/// Most scalar arguments beside a range.
const ARGS_MAX: usize = 4;

/// A call of a function at the times of a grid.
#[derive(Clone, Copy)]
pub(crate) struct Call<'q> {
    pub name: &'static str,
    pub expr: &'q Expr,
    pub args: &'q [Expr],
    pub grid: Grid,
}

/// Plans a call that gives a vector.
pub(crate) fn plan<'q>(planner: Planner<'q>, function: Function, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let counts_only = match call.name {
        "histogram_count" | "histogram_sum" | "histogram_avg" => true,
        "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
        _ => planner.counts_only,
    };
    let planner = Planner { counts_only, ..planner };
    match function.evaluate {
        Evaluate::OverRange(function) => {
            let range = call.args.iter().position(|arg| arg.value_type() == ValueType::Matrix);
            let range = range.ok_or_else(|| execution(format!("{} needs a range vector", call.name)))?;
            let scalars: Vec<&'q Expr> =
                call.args.iter().enumerate().filter(|(at, _)| *at != range).map(|(_, arg)| arg).collect();
            let columns: Result<Vec<Column<'q>>> =
                scalars.into_iter().map(|arg| planner.scalar(arg, call.grid)).collect();
            over_range(planner, call, function, planner.range(&call.args[range], call.grid)?, columns?)
        }
        Evaluate::Float(apply) => {
            let input = planner.vector(&call.args[0], call.grid)?;
            Ok(map_floats(input, move |_, value| Some(apply(value))))
        }
        Evaluate::Calendar(apply) => match call.args.first() {
            Some(arg) => Ok(map_floats(planner.vector(arg, call.grid)?, move |_, value| Some(apply(value)))),
            None => Ok(once(planner.query, move || {
                let seconds = |step| call.grid.time(step) as f64 / 1000.0;
                let column = Column::steps(planner.query, call.grid.count, |step| apply(seconds(step)))?;
                planner.query.batch(vec![column.into_row(Labels::empty(), call.grid.count)])
            })),
        },
        Evaluate::Histogram(apply) => {
            let input = planner.vector(&call.args[0], call.grid)?;
            Ok(Box::new(Map { input, change: move |row: &mut Row| Ok(of_histograms(row, apply)) }))
        }
        Evaluate::Vector(plan) => plan(planner, call),
        Evaluate::Scalar(_) => Err(execution(format!("{} gives a scalar, not a vector", call.name))),
    }
}

fn over_range<'q>(
    planner: Planner<'q>,
    call: Call<'q>,
    function: &'static WindowFunction,
    mut range: PlannedRange<'q>,
    columns: Vec<Column<'q>>,
) -> Result<BoxOperator<'q>> {
    let kernel = kernel_for(function, range.extended)?;
    // Found once a series, resets of histograms need not be looked for in each window.
    if let (RangeInput::Selector(selection), "rate" | "increase" | "irate" | "resets", None) =
        (&mut range.input, function.name, range.extended)
    {
        selection.finds_resets = true;
    }
    let smooths = function.name == "double_exponential_smoothing";
    let wrong_factors = Arc::new(OnceLock::new());
    let found = Arc::clone(&wrong_factors);
    let columns = Arc::new(columns);
    let sweep = function.sweep.filter(|_| range.extended.is_none());
    let compute_all = sweep.map(|sweep| -> Box<ComputeAll<'q>> {
        let columns = columns.clone();
        Box::new(move |points, frames, notes, out| {
            let arg = |step| columns.first().map_or(f64::NAN, |column| column.at(step));
            let is_stopped = || planner.query.check().is_err();
            let (times, values) = (&points.times, &points.values);
            sweep(&Sweep { times, values, frames, arg: &arg, is_stopped: &is_stopped }, notes, out);
        })
    });
    let compute = move |step: usize, window: &Window<'_>, notes: &mut Notes| {
        if smooths && let Err(error) = check_smoothing_factors(columns[0].at(step), columns[1].at(step)) {
            found.get_or_init(|| error);
        }
        let mut args = [0.0; ARGS_MAX];
        for (arg, column) in args.iter_mut().zip(columns.iter()) {
            *arg = column.at(step);
        }
        kernel(window, &args[..columns.len()], notes)
    };
    let results = Box::new(RangeCall {
        query: planner.query,
        input: range.input,
        ranges: range.ranges,
        margin_ms: range.margin_ms,
        keeps_name: function.keeps_name,
        compute: Box::new(compute),
        compute_all,
        remark: matches!(call.name, "rate" | "increase").then_some(remark_counter as fn(&Labels, &mut Notes)),
        text_range: noted_range(&call.args[0]),
    });
    Ok(if smooths { Box::new(FailIf { input: results, failure: wrong_factors }) } else { results })
}

/// Fails when its input found a reason to, which it can only tell this way. Wrong arguments of a call are no reason as
/// long as there is no series to call it for.
struct FailIf<'q> {
    input: BoxOperator<'q>,
    failure: Arc<OnceLock<String>>,
}

impl<'q> Operator<'q> for FailIf<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let batch = self.input.next()?;
        match self.failure.get() {
            Some(failure) => Err(execution(failure.clone())),
            None => Ok(batch),
        }
    }
}

/// Where notes about an argument point: inside of its parentheses, and for subqueries to the start of the query, as
/// Prometheus has it.
fn noted_range(arg: &Expr) -> TextRange {
    match inside_parens(arg) {
        Expr { node: Node::Subquery(_), .. } => TextRange::default(),
        arg => arg.range,
    }
}

/// Says when floats of a metric are used as a counter and its type or its name says something else.
fn remark_counter(labels: &Labels, notes: &mut Notes) {
    let name = labels.metric_name();
    if name.is_empty() {
        return;
    }
    match labels.get(TYPE_LABEL) {
        Some("counter" | "histogram") => {}
        Some(kind) => notes.add(Note::NotCounterLabel(kind.to_owned())),
        None if ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) => {}
        None => notes.add(Note::NotCounter),
    }
}

/// Replaces each float by what a function makes of it at its step, and leaves histograms out.
pub(crate) fn map_floats<'q>(
    input: BoxOperator<'q>,
    apply: impl Fn(usize, f64) -> Option<f64> + 'q,
) -> BoxOperator<'q> {
    let change = move |row: &mut Row| {
        row.drop_name = true;
        row.remove_histograms();
        let mut any = false;
        for step in 0..row.steps() {
            match row.float(step).map(|value| apply(step, value)) {
                None => {}
                Some(None) => row.remove(step),
                Some(Some(value)) => {
                    row.set_float(step, value);
                    any = true;
                }
            }
        }
        Ok(any)
    };
    Box::new(Map { input, change })
}

/// Replaces each histogram by what a function makes of it, and leaves floats out; whether there was any.
fn of_histograms(row: &mut Row, apply: impl Fn(&tsq_core::Histogram) -> f64) -> bool {
    row.drop_name = true;
    let mut any = false;
    for step in 0..row.steps() {
        match row.sample(step) {
            Sample::Histogram(histogram) => {
                let value = apply(histogram);
                row.set_float(step, value);
                any = true;
            }
            _ => row.remove(step),
        }
    }
    any
}

/// The selector of an expression that is nothing but one.
pub(crate) fn selector_of(expr: &Expr) -> Option<&crate::ast::Selector> {
    match &expr.node {
        Node::Selector(selector) | Node::Matrix { selector, .. } => Some(selector),
        _ => None,
    }
}

/// The kernel of a function for a kind of range.
pub(crate) fn kernel_for(function: &WindowFunction, extended: Option<Extended>) -> Result<WindowKernel> {
    let (kernel, modifier) = match extended {
        None => return Ok(function.kernel),
        Some(Extended::Anchored) => (function.anchored, "anchored"),
        Some(Extended::Smoothed) => (function.smoothed, "smoothed"),
    };
    kernel.ok_or_else(|| {
        let can = |function: &&WindowFunction| match modifier {
            "anchored" => function.anchored.is_some(),
            _ => function.smoothed.is_some(),
        };
        let names: Vec<&str> = WINDOW_FUNCTIONS.iter().filter(can).map(|function| function.name).collect();
        let names = names.join(", ");
        execution(format!("{modifier} modifier can only be used with: {names} - not with {}", function.name))
    })
}
