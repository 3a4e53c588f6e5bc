//! Aggregations with a parameter: those that choose elements of each group, quantiles, and counts of equal values.

use std::cmp::Ordering;
use std::collections::HashMap;

use tsq_core::Histogram;

use crate::ast::{Aggregate, AggregateOp, Expr};
use crate::format::format_plain;
use crate::go_text::shortest;
use crate::kernels::histogram::histogram_buckets;
use crate::kernels::{self, Note, Notes};

use super::aggregate::Grouping;
use super::context::{Query, Result, execution};
use super::grid::Grid;
use super::matching::{Assembler, with_label};
use super::operator::{BoxOperator, Column, collect, once};
use super::plan::Planner;
use super::row::{Batch, Row, Sample};

/// Plans such an aggregation over `input`.
pub(crate) fn plan<'q>(
    planner: Planner<'q>,
    aggregate: &'q Aggregate,
    input: BoxOperator<'q>,
    grid: Grid,
) -> Result<BoxOperator<'q>> {
    let query = planner.query;
    let missing = || execution(format!("{} needs a parameter", aggregate.op.name()));
    let param = aggregate.param.as_ref().ok_or_else(missing)?;
    if aggregate.op == AggregateOp::CountValues {
        let label = planner.string(param)?;
        if label.is_empty() {
            return Err(execution(format!("invalid label name {label:?}")));
        }
        return Ok(once(query, move || count_values(query, aggregate, label, input, grid)));
    }
    let column = planner.scalar(param, grid)?;
    check_parameter(aggregate.op, &column, grid)?;
    Ok(once(query, move || match aggregate.op {
        AggregateOp::Quantile => quantiles(query, aggregate, param, &column, input, grid),
        op => {
            let choice = Choice { query, aggregate, op, param, column: &column, steps: grid.count };
            choice.run(input)
        }
    }))
}

fn check_parameter(op: AggregateOp, column: &Column<'_>, grid: Grid) -> Result<()> {
    for step in 0..grid.count {
        let value = column.at(step);
        match op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                if value.is_nan() {
                    return Err(execution("Parameter value is NaN"));
                }
                if value >= i64::MAX as f64 {
                    return Err(execution(format!(
                        "Scalar value {} overflows int64",
                        crate::format::format_value(value)
                    )));
                }
                if value <= i64::MIN as f64 {
                    return Err(execution(format!(
                        "Scalar value {} underflows int64",
                        crate::format::format_value(value)
                    )));
                }
            }
            AggregateOp::LimitRatio if value.is_nan() => return Err(execution("Ratio value is NaN")),
            _ => {}
        }
    }
    Ok(())
}

/// Removes all histograms; whether there were any.
fn drop_histograms(rows: &mut [Row]) -> bool {
    rows.iter_mut().map(Row::remove_histograms).filter(|removed| *removed).count() > 0
}

/// The rows of each group, groups in the order of their first row.
fn groups_of(grouping: &Grouping<'_>, rows: &[Row]) -> Vec<Vec<usize>> {
    let mut by_key: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut key = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        grouping.key(&row.labels, &mut key);
        let group = match by_key.get(&key) {
            Some(&group) => group,
            None => {
                by_key.insert(key.clone(), groups.len());
                groups.push(Vec::new());
                groups.len() - 1
            }
        };
        groups[group].push(index);
    }
    groups
}

/// `topk`, `bottomk`, `limitk` and `limit_ratio`.
struct Choice<'c, 'q> {
    query: &'q Query<'q>,
    aggregate: &'q Aggregate,
    op: AggregateOp,
    param: &'q Expr,
    column: &'c Column<'q>,
    steps: usize,
}

impl<'q> Choice<'_, 'q> {
    fn run(&self, mut input: BoxOperator<'q>) -> Result<Batch<'q>> {
        let mut all = collect(self.query, input.as_mut())?;
        let mut notes = Notes::default();
        if self.orders() && drop_histograms(&mut all.rows) {
            notes.add(Note::HistogramIgnoredInAggregation(self.op.name()));
        }
        self.query.annotate(&mut notes, "", self.aggregate.expr.range);
        let mut order = Vec::new();
        for group in groups_of(&Grouping::of(self.aggregate), &all.rows) {
            for step in 0..self.steps {
                let present: Vec<usize> =
                    group.iter().copied().filter(|&index| all.rows[index].is_present(step)).collect();
                let chosen = self.choose(step, present.clone(), &all.rows);
                let mut kept = vec![false; 0];
                if chosen.len() < present.len() {
                    kept.resize(all.rows.len(), false);
                    chosen.iter().for_each(|&index| kept[index] = true);
                    for index in present.into_iter().filter(|&index| !kept[index]) {
                        all.rows[index].remove(step);
                    }
                }
                if self.steps == 1 {
                    order.extend(chosen);
                }
            }
        }
        if self.steps == 1 {
            let mut rows: Vec<Option<Row>> = all.rows.into_iter().map(Some).collect();
            all.rows = order.into_iter().filter_map(|index| rows[index].take()).collect();
        } else {
            all.rows.retain(|row| !row.is_empty());
        }
        Ok(all)
    }

    /// Whether elements are chosen by value.
    fn orders(&self) -> bool {
        matches!(self.op, AggregateOp::Topk | AggregateOp::Bottomk)
    }

    /// Those of the present rows that are chosen, best first.
    fn choose(&self, step: usize, mut present: Vec<usize>, rows: &[Row]) -> Vec<usize> {
        let param = self.column.at(step);
        if self.op == AggregateOp::LimitRatio {
            let ratio = param.clamp(-1.0, 1.0);
            if ratio != param {
                self.query.note(Note::InvalidRatio { got: param, used: ratio }, "", self.param.range);
            }
            present.retain(|&index| in_ratio(ratio, &rows[index].labels));
            return present;
        }
        let count = if param < 1.0 { 0 } else { (param as usize).min(present.len()) };
        if self.orders() {
            let value = |index: usize| rows[index].float(step).unwrap_or(f64::NAN);
            present.sort_by(|&a, &b| best_first(value(a), value(b), self.op == AggregateOp::Topk));
        }
        present.truncate(count);
        present
    }
}

/// Order of `topk` (largest first) or `bottomk` (smallest first); NaN comes last in both.
pub(crate) fn best_first(a: f64, b: f64, largest: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if largest => b.total_cmp(&a),
        (false, false) => a.total_cmp(&b),
    }
}

/// Whether a series belongs to the share of all label sets that a ratio stands for; a negative ratio stands for the
/// complement of 1 + ratio.
fn in_ratio(ratio: f64, labels: &tsq_core::Labels) -> bool {
    let offset = xxhash_rust::xxh64::xxh64(labels.as_bytes(), 0) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

fn quantiles<'q>(
    query: &'q Query<'q>,
    aggregate: &'q Aggregate,
    param: &'q Expr,
    column: &Column<'q>,
    mut input: BoxOperator<'q>,
    grid: Grid,
) -> Result<Batch<'q>> {
    let mut all = collect(query, input.as_mut())?;
    let mut notes = Notes::default();
    if drop_histograms(&mut all.rows) {
        notes.add(Note::HistogramIgnoredInAggregation(aggregate.op.name()));
    }
    query.annotate(&mut notes, "", aggregate.expr.range);
    for step in 0..grid.count {
        let phi = column.at(step);
        if !(0.0..=1.0).contains(&phi) {
            query.note(Note::InvalidQuantile(phi), "", param.range);
        }
    }
    let grouping = Grouping::of(aggregate);
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for group in groups_of(&grouping, &all.rows) {
        let drop_name = group.iter().any(|&index| all.rows[index].drop_name);
        let mut row = Row::absent(grouping.labels(&all.rows[group[0]].labels), drop_name, grid.count);
        for step in 0..grid.count {
            values.clear();
            values.extend(group.iter().filter_map(|&index| all.rows[index].float(step)));
            if !values.is_empty() {
                row.set_float(step, kernels::aggregate::quantile(column.at(step), &mut values));
            }
        }
        if !row.is_empty() {
            rows.push(row);
        }
    }
    query.batch(rows)
}

fn count_values<'q>(
    query: &'q Query<'q>,
    aggregate: &'q Aggregate,
    label: &'q str,
    mut input: BoxOperator<'q>,
    grid: Grid,
) -> Result<Batch<'q>> {
    let mut counts = Assembler::new(query, grid.count)?;
    let grouping = Grouping::of(aggregate);
    while let Some(batch) = input.next()? {
        for row in &batch.rows {
            let group = grouping.labels(&row.labels);
            for step in 0..grid.count {
                let text = match row.sample(step) {
                    Sample::Absent => continue,
                    Sample::Float(value) => format_plain(value),
                    Sample::Histogram(histogram) => histogram_text(histogram),
                };
                let count = counts.row(&with_label(&group, label, &text), row.drop_name)?;
                let before = count.float(step).unwrap_or(0.0);
                count.set_float(step, before + 1.0);
            }
        }
    }
    counts.finish()
}

/// A histogram as Prometheus prints it.
fn histogram_text(histogram: &Histogram) -> String {
    let mut parts = vec![format!("count:{}", shortest(histogram.count)), format!("sum:{}", shortest(histogram.sum))];
    for bucket in histogram_buckets(histogram).iter().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(shortest);
        parts.push(format!("{open}{lower},{upper}{close}:{count}"));
    }
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_comes_last() {
        let mut values = [1.0, f64::NAN, 3.0, 2.0];
        values.sort_by(|a, b| best_first(*a, *b, true));
        assert_eq!(values[..3], [3.0, 2.0, 1.0]);
        values.sort_by(|a, b| best_first(*a, *b, false));
        assert_eq!(values[..3], [1.0, 2.0, 3.0]);
    }
}
