//! Aggregations that fold each group into one element: accumulated in place, a cell per group and step.
//!
//! Series are folded in the order they come in, which is label order under selectors, so that answers are the same
//! on every run. `topk` and its like, which choose elements instead, are in `choose.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use tsq_core::{Histogram, Labels};

use crate::ast::{Aggregate, AggregateOp, TextRange};
use crate::kernels::aggregate::{FloatMean, GroupHistograms, StdVar};
use crate::kernels::kahan::Kahan;
use crate::kernels::{self, Note, Notes};

use super::choose;
use super::context::{Query, Result};
use super::grid::Grid;
use super::matching::is_reserved;
use super::memory::Charge;
use super::operator::{BoxOperator, once};
use super::plan::Planner;
use super::row::{Batch, Row, Sample, histogram_bytes};

/// Plans an aggregation over `input`.
pub(crate) fn plan<'q>(
    planner: Planner<'q>,
    aggregate: &'q Aggregate,
    input: BoxOperator<'q>,
    grid: Grid,
) -> Result<BoxOperator<'q>> {
    match aggregate.op {
        AggregateOp::Topk
        | AggregateOp::Bottomk
        | AggregateOp::Limitk
        | AggregateOp::LimitRatio
        | AggregateOp::CountValues
        | AggregateOp::Quantile => choose::plan(planner, aggregate, input, grid),
        op => Ok(once(planner.query, move || {
            let mut fold = Fold::new(planner.query, aggregate, op, grid.count)?;
            fold.run(input)?;
            fold.finish()
        })),
    }
}

/// How series are put into groups.
pub(crate) struct Grouping<'q> {
    labels: &'q [String],
    without: bool,
}

impl<'q> Grouping<'q> {
    pub(crate) fn of(aggregate: &'q Aggregate) -> Self {
        Self { labels: &aggregate.labels, without: aggregate.without }
    }

    fn keeps(&self, name: &str) -> bool {
        let named = self.labels.iter().any(|label| label == name);
        if self.without { !named && !is_reserved(name) } else { named }
    }

    /// Writes what tells the group of a series from others.
    pub(crate) fn key(&self, labels: &Labels, out: &mut Vec<u8>) {
        out.clear();
        if self.labels.is_empty() && !self.without {
            return;
        }
        for (name, value) in labels.iter().filter(|(name, _)| self.keeps(name)) {
            for text in [name, value] {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// The labels of the group of a series.
    pub(crate) fn labels(&self, labels: &Labels) -> Labels {
        labels.without(|name| !self.keeps(name))
    }
}

/// The floats of one group at one step.
#[derive(Clone, Copy, Debug, Default)]
enum Cell {
    #[default]
    Empty,
    Sum(Kahan),
    Mean(FloatMean),
    Count(f64),
    Group,
    Min(f64),
    Max(f64),
    Variance(StdVar),
    Deviation(StdVar),
}

impl Cell {
    fn add(&mut self, op: AggregateOp, value: f64) {
        match self {
            Self::Empty => *self = Self::first(op, value),
            Self::Sum(sum) => sum.add(value),
            Self::Mean(mean) => mean.add(value),
            Self::Count(count) => *count += 1.0,
            Self::Group => {}
            Self::Min(so_far) => *so_far = kernels::aggregate::min(*so_far, value),
            Self::Max(so_far) => *so_far = kernels::aggregate::max(*so_far, value),
            Self::Variance(variance) | Self::Deviation(variance) => variance.add(value),
        }
    }

    fn first(op: AggregateOp, value: f64) -> Self {
        let mut mean = FloatMean::default();
        let mut variance = StdVar::default();
        match op {
            AggregateOp::Sum => Self::Sum(Kahan::new(value)),
            AggregateOp::Avg => {
                mean.add(value);
                Self::Mean(mean)
            }
            AggregateOp::Count => Self::Count(1.0),
            AggregateOp::Min => Self::Min(value),
            AggregateOp::Max => Self::Max(value),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                variance.add(value);
                if op == AggregateOp::Stddev { Self::Deviation(variance) } else { Self::Variance(variance) }
            }
            _ => Self::Group,
        }
    }

    fn finish(self) -> Option<f64> {
        Some(match self {
            Self::Empty => return None,
            Self::Sum(sum) => sum.value(),
            Self::Mean(mean) => mean.finish(),
            Self::Group => 1.0,
            Self::Count(value) | Self::Min(value) | Self::Max(value) => value,
            Self::Variance(variance) => variance.finish()?,
            Self::Deviation(variance) => variance.finish()?.sqrt(),
        })
    }
}

struct Group {
    labels: Labels,
    drop_name: bool,
    cells: Vec<Cell>,
    histograms: Vec<Option<Box<GroupHistograms>>>,
}

struct Fold<'q> {
    query: &'q Query<'q>,
    grouping: Grouping<'q>,
    op: AggregateOp,
    text_range: TextRange,
    by_key: HashMap<Vec<u8>, usize>,
    groups: Vec<Group>,
    charge: Charge<'q>,
    notes: Notes,
    steps: usize,
}

impl<'q> Fold<'q> {
    fn new(query: &'q Query<'q>, aggregate: &'q Aggregate, op: AggregateOp, steps: usize) -> Result<Self> {
        Ok(Self {
            query,
            grouping: Grouping::of(aggregate),
            op,
            text_range: aggregate.expr.range,
            by_key: HashMap::new(),
            groups: Vec::new(),
            charge: query.memory.charge(0)?,
            notes: Notes::default(),
            steps,
        })
    }

    fn run(&mut self, mut input: BoxOperator<'q>) -> Result<()> {
        let mut key = Vec::new();
        while let Some(batch) = input.next()? {
            for row in &batch.rows {
                self.grouping.key(&row.labels, &mut key);
                let index = self.group(&key, row)?;
                self.fold_row(index, row)?;
            }
        }
        Ok(())
    }

    fn group(&mut self, key: &[u8], row: &Row) -> Result<usize> {
        if let Some(&index) = self.by_key.get(key) {
            self.groups[index].drop_name |= row.drop_name;
            return Ok(index);
        }
        let labels = self.grouping.labels(&row.labels);
        let cells = self.steps * size_of::<Cell>();
        self.charge.grow(cells + size_of::<Group>() + 2 * key.len() + labels.as_bytes().len() + 64)?;
        let cells = vec![Cell::default(); self.steps];
        self.groups.push(Group { labels, drop_name: row.drop_name, cells, histograms: Vec::new() });
        self.by_key.insert(key.to_vec(), self.groups.len() - 1);
        Ok(self.groups.len() - 1)
    }

    fn fold_row(&mut self, index: usize, row: &Row) -> Result<()> {
        let mut notes = Notes::default();
        for step in 0..self.steps {
            match row.sample(step) {
                Sample::Absent => {}
                Sample::Float(value) => self.groups[index].cells[step].add(self.op, value),
                Sample::Histogram(histogram) => self.fold_histogram(index, step, histogram, &mut notes)?,
            }
        }
        self.query.annotate(&mut notes, row.labels.metric_name(), self.text_range);
        Ok(())
    }

    fn fold_histogram(&mut self, index: usize, step: usize, histogram: &Histogram, notes: &mut Notes) -> Result<()> {
        let group = &mut self.groups[index];
        match self.op {
            AggregateOp::Count | AggregateOp::Group => group.cells[step].add(self.op, 0.0),
            AggregateOp::Sum | AggregateOp::Avg => {
                if group.histograms.is_empty() {
                    self.charge.grow(self.steps * size_of::<Option<Box<GroupHistograms>>>())?;
                    group.histograms.resize(self.steps, None);
                }
                let cell = &mut group.histograms[step];
                if cell.is_none() {
                    self.charge.grow(size_of::<GroupHistograms>() + 3 * histogram_bytes(histogram))?;
                }
                let start = if self.op == AggregateOp::Avg { GroupHistograms::mean } else { GroupHistograms::sum };
                cell.get_or_insert_with(|| Box::new(start())).add(histogram, notes);
            }
            op => self.notes.add(Note::HistogramIgnoredInAggregation(op.name())),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Batch<'q>> {
        let mut rows = Vec::with_capacity(self.groups.len());
        for mut group in std::mem::take(&mut self.groups) {
            let mut row = Row::absent(std::mem::take(&mut group.labels), group.drop_name, self.steps);
            for (step, cell) in group.cells.iter().enumerate() {
                let histogram = group.histograms.get_mut(step).and_then(Option::take);
                match (cell.finish(), histogram.map(|histogram| histogram.finish(&mut self.notes))) {
                    (Some(_), Some(_)) => self.notes.add(Note::MixedFloatsHistogramsAggregation),
                    (Some(value), None) => row.set_float(step, value),
                    (None, Some(Some(histogram))) => row.set_histogram(step, Arc::new(histogram)),
                    (None, _) => {}
                }
            }
            if !row.is_empty() {
                rows.push(row);
            }
        }
        self.query.annotate(&mut self.notes, "", self.text_range);
        self.query.batch(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(op: AggregateOp, values: &[f64]) -> f64 {
        let mut cell = Cell::default();
        values.iter().for_each(|&value| cell.add(op, value));
        cell.finish().unwrap()
    }

    #[test]
    fn sums_and_means_are_compensated_and_do_not_overflow() {
        assert_eq!(folded(AggregateOp::Sum, &[2.0, 8.0, 1e100, -1e100]), 10.0);
        assert_eq!(folded(AggregateOp::Avg, &[2.0, 8.0, 1e100, -1e100]), 2.5);
        assert_eq!(folded(AggregateOp::Avg, &[f64::MAX, f64::MAX]), f64::MAX);
        assert!(folded(AggregateOp::Avg, &[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(folded(AggregateOp::Avg, &[52.0; 11]), 52.0);
    }

    #[test]
    fn extremes_prefer_numbers_to_nan() {
        assert_eq!(folded(AggregateOp::Max, &[f64::NAN, 1.0, f64::NAN, 3.0, 2.0]), 3.0);
        assert_eq!(folded(AggregateOp::Min, &[f64::NAN, 2.0, 1.0, f64::NAN]), 1.0);
        assert!(folded(AggregateOp::Max, &[f64::NAN]).is_nan());
    }

    #[test]
    fn deviations_of_what_is_not_finite_are_nan() {
        assert_eq!(folded(AggregateOp::Stdvar, &[1.0, 3.0]), 1.0);
        assert_eq!(folded(AggregateOp::Stddev, &[1.0, 5.0]), 2.0);
        assert!(folded(AggregateOp::Stddev, &[f64::INFINITY]).is_nan());
        assert_eq!(folded(AggregateOp::Group, &[7.0, 8.0]), 1.0);
        assert_eq!(folded(AggregateOp::Count, &[7.0, 8.0]), 2.0);
    }
}
