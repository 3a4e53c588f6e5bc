//! Quantiles and fractions of histograms: native ones sample by sample, classic ones by bringing their `le` series
//! together.

use std::collections::HashMap;

use tsq_core::{Histogram, Labels};

use crate::ast::TextRange;
use crate::format::format_label;
use crate::kernels::classic::{self, ClassicBucket};
use crate::kernels::histogram;
use crate::kernels::{Note, Notes};

use super::calls::Call;
use super::context::{Query, Result, execution};
use super::grid::Grid;
use super::matching::{Assembler, same_labelset, with_label};
use super::operator::{BoxOperator, Column, collect, once};
use super::plan::{Planner, inside_parens};
use super::row::{Batch, Row};

const BUCKET_LABEL: &str = "le";

/// `histogram_quantile(phi, v)`
pub(crate) fn histogram_quantile<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let phi = planner.scalar(&call.args[0], call.grid)?;
    let mut input = planner.vector(&call.args[1], call.grid)?;
    let query = planner.query;
    Ok(once(query, move || {
        note_invalid(query, &phi, call.grid, inside_parens(&call.args[0]).range);
        let found = Histograms::collect(query, input.as_mut(), inside_parens(&call.args[1]).range)?;
        let mut rows = Assembler::new(query, call.grid.count)?;
        found.evaluate(call.grid, &Quantile(&phi), &mut rows, None)?;
        rows.finish()
    }))
}

/// `histogram_fraction(lower, upper, v)`
pub(crate) fn histogram_fraction<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let (lower, upper) = (planner.scalar(&call.args[0], call.grid)?, planner.scalar(&call.args[1], call.grid)?);
    let mut input = planner.vector(&call.args[2], call.grid)?;
    let query = planner.query;
    Ok(once(query, move || {
        let found = Histograms::collect(query, input.as_mut(), inside_parens(&call.args[2]).range)?;
        let mut rows = Assembler::new(query, call.grid.count)?;
        found.evaluate(call.grid, &Fraction(&lower, &upper), &mut rows, None)?;
        rows.finish()
    }))
}

/// `histogram_quantiles(v, label, phi...)`: a series for each phi, told apart by the label.
pub(crate) fn histogram_quantiles<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let mut input = planner.vector(&call.args[0], call.grid)?;
    let label = planner.string(&call.args[1])?;
    if label.is_empty() {
        return Err(execution(format!("invalid label name in histogram_quantiles(): {label}")));
    }
    let phis: Result<Vec<Column<'q>>> = call.args[2..].iter().map(|arg| planner.scalar(arg, call.grid)).collect();
    let phis = phis?;
    let query = planner.query;
    Ok(once(query, move || {
        let found = Histograms::collect(query, input.as_mut(), inside_parens(&call.args[0]).range)?;
        let mut rows = Assembler::new(query, call.grid.count)?;
        for (phi, arg) in phis.iter().zip(&call.args[2..]) {
            note_invalid(query, phi, call.grid, inside_parens(arg).range);
            found.evaluate(call.grid, &Quantile(phi), &mut rows, Some((label, phi)))?;
        }
        rows.finish()
    }))
}

fn note_invalid(query: &Query<'_>, phi: &Column<'_>, grid: Grid, text_range: TextRange) {
    for step in 0..grid.count {
        if !(0.0..=1.0).contains(&phi.at(step)) {
            query.note(Note::InvalidQuantile(phi.at(step)), "", text_range);
        }
    }
}

/// What is computed of one histogram.
trait Measure {
    fn native(&self, step: usize, histogram: &Histogram, notes: &mut Notes) -> f64;
    fn classic(&self, step: usize, buckets: &mut Vec<ClassicBucket>, time_ms: i64, notes: &mut Notes) -> f64;
}

struct Quantile<'c, 'q>(&'c Column<'q>);

impl Measure for Quantile<'_, '_> {
    fn native(&self, step: usize, histogram: &Histogram, notes: &mut Notes) -> f64 {
        histogram::quantile(self.0.at(step), histogram, notes)
    }

    fn classic(&self, step: usize, buckets: &mut Vec<ClassicBucket>, time_ms: i64, notes: &mut Notes) -> f64 {
        let quantile = classic::bucket_quantile(self.0.at(step), buckets, time_ms);
        if let Some(forced) = quantile.forced {
            notes.add(Note::ForcedMonotonicity(forced));
        }
        quantile.value
    }
}

struct Fraction<'c, 'q>(&'c Column<'q>, &'c Column<'q>);

impl Measure for Fraction<'_, '_> {
    fn native(&self, step: usize, histogram: &Histogram, notes: &mut Notes) -> f64 {
        histogram::fraction(self.0.at(step), self.1.at(step), histogram, notes)
    }

    fn classic(&self, step: usize, buckets: &mut Vec<ClassicBucket>, _time_ms: i64, _notes: &mut Notes) -> f64 {
        classic::bucket_fraction(self.0.at(step), self.1.at(step), buckets)
    }
}

/// The histograms of a vector.
struct Histograms<'q> {
    query: &'q Query<'q>,
    rows: Batch<'q>,
    /// Series with the same labels but for `le`, and those labels.
    classic: Vec<Classic>,
    /// Rows with native histograms, and the classic histogram with the same labels.
    native: Vec<(usize, Option<usize>)>,
    text_range: TextRange,
}

struct Classic {
    labels: Labels,
    /// Upper bound and row of each bucket.
    buckets: Vec<(f64, usize)>,
}

impl<'q> Histograms<'q> {
    fn collect(
        query: &'q Query<'q>,
        input: &mut dyn super::operator::Operator<'q>,
        text_range: TextRange,
    ) -> Result<Self> {
        let rows = collect(query, input)?;
        let mut found = Self { query, rows, classic: Vec::new(), native: Vec::new(), text_range };
        let mut by_labels: HashMap<Labels, usize> = HashMap::new();
        for (index, row) in found.rows.rows.iter().enumerate() {
            let has_floats = (0..row.steps()).any(|step| row.float(step).is_some());
            if has_floats {
                let bound = row.labels.get(BUCKET_LABEL).unwrap_or("");
                let Ok(bound) = bound.parse::<f64>() else {
                    query.note(Note::BadBucketLabel(bound.to_owned()), row.labels.metric_name(), text_range);
                    continue;
                };
                let labels = row.labels.without(|name| name == BUCKET_LABEL);
                let at = *by_labels.entry(labels.clone()).or_insert_with(|| {
                    found.classic.push(Classic { labels, buckets: Vec::new() });
                    found.classic.len() - 1
                });
                found.classic[at].buckets.push((bound, index));
            }
        }
        for (index, row) in found.rows.rows.iter().enumerate().filter(|(_, row)| row.has_histograms()) {
            found.native.push((index, by_labels.get(&row.labels).copied()));
        }
        Ok(found)
    }

    /// Measures each histogram at each step. `extra` is a label that the results get, with a value a step.
    fn evaluate(
        &self,
        grid: Grid,
        measure: &dyn Measure,
        out: &mut Assembler<'q>,
        extra: Option<(&str, &Column<'q>)>,
    ) -> Result<()> {
        let mut conflicts: Vec<Vec<bool>> = vec![Vec::new(); self.classic.len()];
        for &(index, classic) in &self.native {
            self.query.check()?;
            self.native_row(index, classic, grid, measure, &mut conflicts, out, extra)?;
        }
        for (classic, conflicts) in self.classic.iter().zip(&conflicts) {
            self.query.check()?;
            self.classic_row(classic, conflicts, grid, measure, out, extra)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one loop body, split off for its length")]
    fn native_row(
        &self,
        index: usize,
        classic: Option<usize>,
        grid: Grid,
        measure: &dyn Measure,
        conflicts: &mut [Vec<bool>],
        out: &mut Assembler<'q>,
        extra: Option<(&str, &Column<'q>)>,
    ) -> Result<()> {
        let row = &self.rows.rows[index];
        let mut notes = Notes::default();
        for step in 0..grid.count {
            let Some(histogram) = row.histogram(step) else { continue };
            if let Some(classic) = classic
                && self.classic[classic].buckets.iter().any(|&(_, row)| self.rows.rows[row].float(step).is_some())
            {
                notes.add(Note::MixedClassicNative);
                conflicts[classic].resize(grid.count, false);
                conflicts[classic][step] = true;
                continue;
            }
            let value = measure.native(step, histogram, &mut notes);
            let labels = row.labels.without(|name| name == BUCKET_LABEL);
            put(out, &labels, extra, step, value)?;
        }
        self.query.annotate(&mut notes, row.labels.metric_name(), self.text_range);
        Ok(())
    }

    fn classic_row(
        &self,
        classic: &Classic,
        conflicts: &[bool],
        grid: Grid,
        measure: &dyn Measure,
        out: &mut Assembler<'q>,
        extra: Option<(&str, &Column<'q>)>,
    ) -> Result<()> {
        let mut notes = Notes::default();
        let mut buckets = Vec::with_capacity(classic.buckets.len());
        for step in (0..grid.count).filter(|&step| !conflicts.get(step).copied().unwrap_or(false)) {
            buckets.clear();
            buckets.extend(classic.buckets.iter().filter_map(|&(upper_bound, row)| {
                self.rows.rows[row].float(step).map(|count| ClassicBucket { upper_bound, count })
            }));
            if !buckets.is_empty() {
                let value = measure.classic(step, &mut buckets, grid.time(step), &mut notes);
                put(out, &classic.labels, extra, step, value)?;
            }
        }
        self.query.annotate(&mut notes, classic.labels.metric_name(), self.text_range);
        Ok(())
    }
}

fn put(
    out: &mut Assembler<'_>,
    labels: &Labels,
    extra: Option<(&str, &Column<'_>)>,
    step: usize,
    value: f64,
) -> Result<()> {
    let row: &mut Row = match extra {
        None => out.row(labels, true)?,
        Some((label, phi)) => out.row(&with_label(labels, label, &format_label(phi.at(step))), true)?,
    };
    if row.is_present(step) {
        return Err(same_labelset());
    }
    row.set_float(step, value);
    Ok(())
}
