//! The answer to a query: names dropped, series with the same labels merged, values in the shape of the API.

use tsq_core::Labels;

use crate::answer::{MatrixSeries, QueryError, QueryErrorKind, SampleValue, Value, VectorElement};
use crate::ast::{AggregateOp, BinaryOp, Expr, Node};
use crate::functions::{Evaluate, function};
use crate::signatures::ValueType;

use super::context::{Query, Result};
use super::grid::Grid;
use super::matching::{Assembler, is_reserved};
use super::operator::BoxOperator;
use super::plan::{PlannedRange, Planner};
use super::row::{Batch, Row, Sample};

/// Evaluates a checked expression at the times of the query.
pub(crate) fn evaluate<'q>(query: &'q Query<'q>, expr: &'q Expr) -> Result<Value> {
    let planner = Planner { query, counts_only: false };
    let grid = query.grid;
    match (expr.value_type(), query.is_range) {
        (ValueType::Scalar, false) => {
            let value = planner.scalar(expr, grid)?.at(0);
            Ok(Value::Scalar { time_ms: grid.start_ms, value })
        }
        (ValueType::Scalar, true) => {
            let row = planner.scalar(expr, grid)?.into_row(Labels::empty(), grid.count);
            Ok(Value::Matrix(vec![series_of(row, grid)]))
        }
        (ValueType::String, false) => {
            let value = planner.string(expr)?.to_owned();
            Ok(Value::String { time_ms: grid.start_ms, value })
        }
        (ValueType::Vector, false) => {
            let all = merged(query, planner.vector(expr, grid)?)?;
            let _charge = query.memory.charge(all.rows.len() * size_of::<VectorElement>())?;
            let mut elements = elements_of(all.rows, grid);
            if !is_ordered(expr) {
                elements.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Ok(Value::Vector(elements))
        }
        (ValueType::Vector, true) => {
            let all = merged(query, planner.vector(expr, grid)?)?;
            let points = all.rows.iter().map(Row::steps).sum::<usize>();
            let _charge = query.memory.charge(points * size_of::<(i64, f64)>())?;
            let mut series: Vec<MatrixSeries> = all.rows.into_iter().map(|row| series_of(row, grid)).collect();
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Ok(Value::Matrix(series))
        }
        (ValueType::Matrix, false) => range_vector(query, planner.range(expr, grid)?),
        (found, true) => {
            let found = found.to_string();
            let message =
                format!("invalid expression type {found:?} for range query, must be Scalar or instant Vector");
            Err(QueryError { kind: QueryErrorKind::BadData, message })
        }
    }
}

/// All rows of an operator with their names dropped where they are to be; rows that become one are merged.
fn merged<'q>(query: &'q Query<'q>, mut input: BoxOperator<'q>) -> Result<Batch<'q>> {
    let mut rows = Assembler::new(query, query.grid.count)?;
    while let Some(batch) = input.next()? {
        for mut row in batch.rows {
            if row.drop_name && row.labels.iter().any(|(name, _)| is_reserved(name)) {
                row.labels = row.labels.without(is_reserved);
            }
            row.drop_name = false;
            rows.add(row)?;
        }
    }
    rows.finish()
}

fn elements_of(rows: Vec<Row>, grid: Grid) -> Vec<VectorElement> {
    let element = |row: Row| {
        let value = match row.sample(0) {
            Sample::Absent => return None,
            Sample::Float(value) => SampleValue::Float(value),
            Sample::Histogram(histogram) => SampleValue::Histogram(Box::new(histogram.as_ref().clone())),
        };
        Some(VectorElement { labels: row.labels, time_ms: grid.start_ms, value })
    };
    rows.into_iter().filter_map(element).collect()
}

fn series_of(row: Row, grid: Grid) -> MatrixSeries {
    let mut series = MatrixSeries::default();
    for step in 0..grid.count {
        match row.sample(step) {
            Sample::Absent => {}
            Sample::Float(value) => series.floats.push((grid.time(step), value)),
            Sample::Histogram(histogram) => series.histograms.push((grid.time(step), histogram.as_ref().clone())),
        }
    }
    series.labels = row.labels;
    series
}

/// The samples of a range vector at a single time.
fn range_vector<'q>(query: &'q Query<'q>, mut planned: PlannedRange<'q>) -> Result<Value> {
    let mut all: Vec<MatrixSeries> = Vec::new();
    let mut charge = query.memory.charge(0)?;
    while let Some(found) = planned.samples()? {
        for (labels, drop_name, points) in found {
            charge.grow(points.bytes())?;
            let labels = if drop_name { labels.without(is_reserved) } else { labels };
            let histograms = points.histograms.iter().map(|histogram| histogram.as_ref().clone());
            all.push(MatrixSeries {
                labels,
                floats: points.times.iter().copied().zip(points.values.iter().copied()).collect(),
                histograms: points.histogram_times.iter().copied().zip(histograms).collect(),
            });
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    if all.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
        return Err(super::matching::same_labelset());
    }
    Ok(Value::Matrix(all))
}

/// Whether the order of the elements of an instant query says something.
fn is_ordered(expr: &Expr) -> bool {
    match &expr.node {
        Node::Paren(inner) => is_ordered(inner),
        Node::Unary { expr, .. } => is_ordered(expr),
        Node::Aggregate(aggregate) => matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk),
        Node::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
            (ValueType::Vector, ValueType::Scalar) => is_ordered(&binary.left),
            (ValueType::Scalar, ValueType::Vector) => is_ordered(&binary.right),
            _ => matches!(binary.op, BinaryOp::And | BinaryOp::Unless) && is_ordered(&binary.left),
        },
        Node::Call { function: name, args } => match function(name).map(|function| function.evaluate) {
            _ if name.starts_with("sort") => true,
            Some(Evaluate::Float(_) | Evaluate::Calendar(_) | Evaluate::Histogram(_)) => {
                args.first().is_some_and(is_ordered)
            }
            _ => {
                matches!(
                    *name,
                    "round" | "clamp" | "clamp_min" | "clamp_max" | "label_replace" | "label_join" | "timestamp"
                ) && args.first().is_some_and(is_ordered)
            }
        },
        _ => false,
    }
}
