//! Aggregations that fold each group into one element: accumulated in place, in columns over the steps.
//!
//! Series are folded in the order they come in, which is label order under selectors, so that answers are the same
//! on every run. `topk` and its like, which choose elements instead, are in `choose.rs`.

use std::sync::Arc;

use tsq_core::{Histogram, Labels, STALE_NAN_BITS};

use crate::ast::{Aggregate, AggregateOp, TextRange};
use crate::kernels::aggregate::GroupHistograms;
use crate::kernels::columns::{Columns, bytes_per_step};
use crate::kernels::{Note, Notes};

use super::choose;
use super::context::{Query, Result};
use super::grid::Grid;
use super::grouping::{Grouping, Groups};
use super::memory::Charge;
use super::operator::{BoxOperator, once};
use super::plan::{Planner, inside_parens};
use super::row::{Batch, Row, histogram_bytes};

/// Plans an aggregation over `input`.
pub(crate) fn plan<'q>(
    planner: Planner<'q>,
    aggregate: &'q Aggregate,
    input: BoxOperator<'q>,
    text_range: TextRange,
    grid: Grid,
) -> Result<BoxOperator<'q>> {
    match aggregate.op {
        AggregateOp::Topk
        | AggregateOp::Bottomk
        | AggregateOp::Limitk
        | AggregateOp::LimitRatio
        | AggregateOp::CountValues
        | AggregateOp::Quantile => choose::plan(planner, aggregate, input, text_range, grid),
        op => Ok(once(planner.query, move || {
            let mut fold = Fold::new(planner.query, aggregate, op, grid.count)?;
            fold.run(input)?;
            fold.finish()
        })),
    }
}

struct Group {
    labels: Labels,
    drop_name: bool,
    floats: Columns,
    histograms: Vec<Option<Box<GroupHistograms>>>,
}

struct Fold<'q> {
    query: &'q Query<'q>,
    op: AggregateOp,
    text_range: TextRange,
    groups: Groups<'q, Group>,
    charge: Charge<'q>,
    notes: Notes,
    steps: usize,
}

impl<'q> Fold<'q> {
    fn new(query: &'q Query<'q>, aggregate: &'q Aggregate, op: AggregateOp, steps: usize) -> Result<Self> {
        Ok(Self {
            query,
            op,
            text_range: inside_parens(&aggregate.expr).range,
            groups: Groups::new(Grouping::of(aggregate)),
            charge: query.memory.charge(0)?,
            notes: Notes::default(),
            steps,
        })
    }

    fn run(&mut self, mut input: BoxOperator<'q>) -> Result<()> {
        while let Some(batch) = input.next()? {
            batch.rows.iter().try_for_each(|row| self.fold_row(row))?;
        }
        Ok(())
    }

    fn fold_row(&mut self, row: &Row) -> Result<()> {
        let (op, steps) = (self.op, self.steps);
        let bytes = steps.saturating_mul(bytes_per_step(op));
        let make = |labels| Group { labels, drop_name: false, floats: Columns::new(op, steps), histograms: Vec::new() };
        let group = self.groups.of(&row.labels, &mut self.charge, bytes, make)?;
        group.drop_name |= row.drop_name;
        match group.without_misfits(row.column()) {
            Some(column) => group.floats.add(&column),
            None => group.floats.add(row.column()),
        }
        if !row.has_histograms() {
            return Ok(());
        }
        let mut notes = Notes::default();
        for step in 0..steps {
            if let Some(histogram) = row.histogram(step) {
                match op {
                    AggregateOp::Count | AggregateOp::Group => group.floats.count_at(step),
                    AggregateOp::Sum | AggregateOp::Avg => {
                        group.add_histogram(op, (step, steps), histogram, &mut self.charge, &mut notes)?;
                    }
                    op => self.notes.add(Note::HistogramIgnoredInAggregation(op.name())),
                }
            }
        }
        if !notes.is_empty() {
            self.query.annotate(&mut notes, row.labels.metric_name(), self.text_range);
        }
        Ok(())
    }

    fn finish(self) -> Result<Batch<'q>> {
        let Self { query, op, text_range, groups, steps, mut notes, charge: _charge } = self;
        let mut rows = Vec::new();
        for group in groups.into_groups() {
            let mut row = Row::of_column(group.labels, group.drop_name, group.floats.finish(op, steps));
            for (step, histograms) in group.histograms.into_iter().enumerate() {
                match (row.float(step), histograms.map(|histograms| histograms.finish(&mut notes))) {
                    (Some(_), Some(_)) => {
                        notes.add(Note::MixedFloatsHistogramsAggregation);
                        row.remove(step);
                    }
                    (None, Some(Some(histogram))) => row.set_histogram(step, Arc::new(histogram)),
                    _ => {}
                }
            }
            if !row.is_empty() {
                rows.push(row);
            }
        }
        query.annotate(&mut notes, "", text_range);
        query.batch(rows)
    }
}

impl Group {
    /// A column without the floats at steps whose histograms did not fit together: what comes after those does not
    /// count. `None` if there are none.
    fn without_misfits(&self, column: &[f64]) -> Option<Vec<f64>> {
        let misfits = |histograms: &Option<Box<GroupHistograms>>| histograms.as_ref().is_some_and(|h| h.is_misfit());
        if !self.histograms.iter().any(misfits) {
            return None;
        }
        let absent = f64::from_bits(STALE_NAN_BITS);
        let values = column.iter().zip(&self.histograms);
        Some(values.map(|(&value, histograms)| if misfits(histograms) { absent } else { value }).collect())
    }

    fn add_histogram(
        &mut self,
        op: AggregateOp,
        (step, steps): (usize, usize),
        histogram: &Histogram,
        charge: &mut Charge<'_>,
        notes: &mut Notes,
    ) -> Result<()> {
        if self.histograms.is_empty() {
            charge.grow(steps * size_of::<Option<Box<GroupHistograms>>>())?;
            self.histograms.resize(steps, None);
        }
        let cell = &mut self.histograms[step];
        if cell.is_none() {
            charge.grow(size_of::<GroupHistograms>() + 3 * histogram_bytes(histogram))?;
        }
        let start = if op == AggregateOp::Avg { GroupHistograms::mean } else { GroupHistograms::sum };
        let histograms = cell.get_or_insert_with(|| Box::new(start()));
        // After a float there is no total; whether the histograms fit together is not looked at then.
        if !histograms.is_empty() || !self.floats.is_total_at(step) {
            histograms.add(histogram, notes);
        }
        Ok(())
    }
}
