//! Aggregations with a parameter: those that choose elements of each group, quantiles, and counts of equal values.

use hashbrown::HashMap;
use tsq_core::{Histogram, Labels};

use crate::ast::{Aggregate, AggregateOp, Expr, Node, TextRange};
use crate::format::format_plain;
use crate::go_text::shortest;
use crate::kernels::histogram::listed_buckets;
use crate::kernels::{self, Note, Notes};

use super::context::{Query, Result, execution};
use super::grid::Grid;
use super::grouping::{Grouping, Groups};
use super::matching::{Assembler, with_label};
use super::memory::Charge;
use super::operator::{BoxOperator, Column, Map, Operator, once};
use super::plan::{Planner, inside_parens};
use super::row::{Batch, Row, Sample};
use super::topk;

/// Plans such an aggregation over `input`.
pub(crate) fn plan<'q>(
    planner: Planner<'q>,
    aggregate: &'q Aggregate,
    input: BoxOperator<'q>,
    text_range: TextRange,
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
    let extent = Extent::of(&column, grid);
    extent.check(aggregate.op)?;
    extent.annotate(query, aggregate.op, inside_parens(param).range, text_range);
    match aggregate.op {
        AggregateOp::Quantile => Ok(once(query, move || quantiles(query, aggregate, &column, input, grid))),
        AggregateOp::Limitk => Ok(Box::new(Limit {
            input,
            groups: Groups::new(Grouping::of(aggregate)),
            charge: query.memory.charge(0)?,
            stops_early: Grouping::of(aggregate).is_single() && is_plain(&aggregate.expr),
            counts: (0..grid.count).map(|step| topk::chosen_count(column.at(step))).collect(),
        })),
        AggregateOp::LimitRatio => Ok(limit_ratio(column, input, grid)),
        _ => Ok(once(query, move || topk::choose(query, aggregate, &column, input, (grid.count, text_range)))),
    }
}

/// What a parameter is over all steps: it is judged as a whole.
#[derive(Clone, Copy)]
struct Extent {
    min: f64,
    max: f64,
    has_nan: bool,
}

impl Extent {
    fn of(column: &Column<'_>, grid: Grid) -> Self {
        let mut extent = Self { min: f64::INFINITY, max: f64::NEG_INFINITY, has_nan: false };
        for value in (0..grid.count).map(|step| column.at(step)) {
            extent.min = extent.min.min(value);
            extent.max = extent.max.max(value);
            extent.has_nan |= value.is_nan();
        }
        extent
    }

    fn check(self, op: AggregateOp) -> Result<()> {
        let number = crate::format::format_value;
        match op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                if self.has_nan {
                    return Err(execution("Parameter value is NaN"));
                }
                // Where no element is chosen at any step, how far below zero it is does not matter.
                if self.max >= 1.0 && self.min <= i64::MIN as f64 {
                    return Err(execution(format!("Scalar value {} underflows int64", number(self.min))));
                }
                if self.max >= i64::MAX as f64 {
                    return Err(execution(format!("Scalar value {} overflows int64", number(self.max))));
                }
            }
            AggregateOp::LimitRatio if self.has_nan => return Err(execution("Ratio value is NaN")),
            _ => {}
        }
        Ok(())
    }

    /// Says what is wrong with it, whether there is anything to aggregate or not.
    fn annotate(self, query: &Query<'_>, op: AggregateOp, param: TextRange, whole: TextRange) {
        let note = |note| query.note_param(note, param, whole);
        match op {
            AggregateOp::LimitRatio => {
                if self.max > 1.0 {
                    note(Note::InvalidRatio { got: self.max, used: 1.0 });
                }
                if self.min < -1.0 {
                    note(Note::InvalidRatio { got: self.min, used: -1.0 });
                }
            }
            AggregateOp::Quantile => {
                if self.has_nan {
                    note(Note::InvalidQuantile(f64::NAN));
                }
                if self.max > 1.0 {
                    note(Note::InvalidQuantile(self.max));
                }
                if self.min < 0.0 {
                    note(Note::InvalidQuantile(self.min));
                }
            }
            _ => {}
        }
    }
}

/// Whether nothing can be said of an expression and nothing fails in it: that it is not evaluated to its end is not seen.
fn is_plain(expr: &Expr) -> bool {
    matches!(&inside_parens(expr).node, Node::Selector(selector) if selector.modifiers.extended.is_none())
}

/// `limitk`: the first elements of each group, as they come.
struct Limit<'q> {
    input: BoxOperator<'q>,
    /// How many elements of each group are still to come at each step.
    groups: Groups<'q, Vec<usize>>,
    charge: Charge<'q>,
    /// Whether reading stops once all elements are there.
    stops_early: bool,
    counts: Vec<usize>,
}

impl<'q> Operator<'q> for Limit<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let is_done = |left: &Vec<usize>| left.iter().all(|&left| left == 0);
        if self.stops_early && self.groups.all().first().is_some_and(is_done) {
            return Ok(None);
        }
        let Some(mut batch) = self.input.next()? else { return Ok(None) };
        let mut kept = Vec::new();
        for mut row in batch.rows {
            let bytes = self.counts.len() * size_of::<usize>();
            let left = self.groups.of(&row.labels, &mut self.charge, bytes, |_| self.counts.clone())?;
            for (step, left) in left.iter_mut().enumerate() {
                match left.checked_sub(1) {
                    _ if !row.is_present(step) => {}
                    Some(rest) => *left = rest,
                    None => row.remove(step),
                }
            }
            if !row.is_empty() {
                kept.push(row);
            }
        }
        batch.charge.resize(kept.iter().map(Row::bytes).sum())?;
        Ok(Some(Batch { rows: kept, charge: batch.charge }))
    }
}

/// `limit_ratio`: each element is chosen by its labels alone.
fn limit_ratio<'q>(column: Column<'q>, input: BoxOperator<'q>, grid: Grid) -> BoxOperator<'q> {
    let change = move |row: &mut Row| {
        for step in 0..grid.count {
            let ratio = column.at(step).clamp(-1.0, 1.0);
            if row.is_present(step) && !in_ratio(ratio, &row.labels) {
                row.remove(step);
            }
        }
        Ok(!row.is_empty())
    };
    Box::new(Map { input, change })
}

/// Whether a series belongs to the share of all label sets that a ratio stands for; a negative ratio stands for the
/// complement of 1 + ratio.
fn in_ratio(ratio: f64, labels: &Labels) -> bool {
    let offset = xxhash_rust::xxh64::xxh64(labels.as_bytes(), 0) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

fn quantiles<'q>(
    query: &'q Query<'q>,
    aggregate: &'q Aggregate,
    column: &Column<'q>,
    mut input: BoxOperator<'q>,
    grid: Grid,
) -> Result<Batch<'q>> {
    let mut notes = Notes::default();
    let mut groups = Groups::new(Grouping::of(aggregate));
    let mut charge = query.memory.charge(0)?;
    while let Some(batch) = input.next()? {
        for row in &batch.rows {
            if (0..grid.count).any(|step| row.histogram(step).is_some()) {
                notes.add(Note::HistogramIgnoredInAggregation(aggregate.op.name()));
            }
            let make = |labels| Quantiles { labels, drop_name: false, values: Vec::new() };
            groups.of(&row.labels, &mut charge, 0, make)?.add(row, &mut charge)?;
        }
    }
    query.annotate(&mut notes, "", inside_parens(&aggregate.expr).range);
    let rows = groups.into_groups().into_iter().map(|group| group.finish(column, grid.count));
    query.batch(rows.filter(|row| !row.is_empty()).collect())
}

/// The values of one group. A quantile needs them all.
struct Quantiles {
    labels: Labels,
    drop_name: bool,
    /// The columns of all series one after another.
    values: Vec<f64>,
}

impl Quantiles {
    fn add(&mut self, row: &Row, charge: &mut Charge<'_>) -> Result<()> {
        self.drop_name |= row.drop_name;
        let column = row.column();
        if self.values.capacity() - self.values.len() < column.len() {
            let more = column.len().max(self.values.len() / 2);
            charge.grow(more * size_of::<f64>())?;
            self.values.reserve_exact(more);
        }
        self.values.extend_from_slice(column);
        Ok(())
    }

    fn finish(self, column: &Column<'_>, steps: usize) -> Row {
        let mut row = Row::absent(self.labels, self.drop_name, steps);
        let mut present = Vec::new();
        for step in 0..steps {
            present.clear();
            let values = self.values[step..].iter().step_by(steps);
            present.extend(values.copied().filter(|&value| !tsq_core::is_stale(value)));
            if !present.is_empty() {
                row.set_float(step, kernels::aggregate::quantile(column.at(step), &mut present));
            }
        }
        row
    }
}

fn count_values<'q>(
    query: &'q Query<'q>,
    aggregate: &'q Aggregate,
    label: &'q str,
    mut input: BoxOperator<'q>,
    grid: Grid,
) -> Result<Batch<'q>> {
    let mut counts = Assembler::new(query, grid.count)?;
    // Rows that differ in the new label alone are in one group here; the groups of the results are told apart by it.
    let mut groups = Groups::new(Grouping::of(aggregate));
    let results = Grouping::of(aggregate).with(label);
    let mut charge = query.memory.charge(0)?;
    while let Some(batch) = input.next()? {
        for row in &batch.rows {
            let make = |labels| ValueLabels { group: labels, known: HashMap::new() };
            let group = groups.of(&row.labels, &mut charge, 0, make)?;
            for step in 0..grid.count {
                let labels = match row.sample(step) {
                    Sample::Absent => continue,
                    Sample::Float(value) => group.of_float(value, (label, results), &mut charge)?,
                    Sample::Histogram(histogram) => {
                        results.labels(&with_label(&group.group, label, &histogram_text(histogram)))
                    }
                };
                // The name stays with `by (__name__)` even where it is to be dropped, as Prometheus has it.
                let count = counts.row(&labels, false)?;
                let before = count.float(step).unwrap_or(0.0);
                count.set_float(step, before + 1.0);
            }
        }
    }
    counts.finish()
}

/// The labels of a group's results by value.
struct ValueLabels {
    group: Labels,
    known: HashMap<u64, Labels>,
}

impl ValueLabels {
    fn of_float(
        &mut self,
        value: f64,
        (label, results): (&str, Grouping<'_>),
        charge: &mut Charge<'_>,
    ) -> Result<Labels> {
        if let Some(labels) = self.known.get(&value.to_bits()) {
            return Ok(labels.clone());
        }
        let labels = results.labels(&with_label(&self.group, label, &format_plain(value)));
        charge.grow(labels.as_bytes().len() + 2 * size_of::<(u64, Labels)>())?;
        self.known.insert(value.to_bits(), labels.clone());
        Ok(labels)
    }
}

/// A histogram as Prometheus prints it.
fn histogram_text(histogram: &Histogram) -> String {
    let mut parts = vec![format!("count:{}", shortest(histogram.count)), format!("sum:{}", shortest(histogram.sum))];
    for bucket in listed_buckets(histogram).iter().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(shortest);
        parts.push(format!("{open}{lower},{upper}{close}:{count}"));
    }
    format!("{{{}}}", parts.join(", "))
}
