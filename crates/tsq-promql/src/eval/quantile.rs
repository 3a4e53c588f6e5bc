//! Quantiles and fractions of histograms: native ones sample by sample, classic ones by bringing their `le` series
//! together.
//!
//! Selectors deliver series in label order, in which the buckets of a histogram are not neighbours: `le` comes in
//! between the other labels. But all of them have the same labels in front of `le`, so histograms are evaluated as soon
//! as those have passed. With nothing but the name in front, or after an operator that changes the order, all buckets
//! are held: their counts at each step, without their labels.

use hashbrown::HashMap;
use tsq_core::{Histogram, Labels};

use crate::ast::{Expr, TextRange};
use crate::format::format_label;
use crate::kernels::classic::{self, ClassicBucket};
use crate::kernels::histogram;
use crate::kernels::{Note, Notes};

use super::calls::Call;
use super::context::{Query, Result, execution};
use super::grid::Grid;
use super::matching::{Assembler, same_labelset, with_label};
use super::memory::Charge;
use super::operator::{BoxOperator, Column, Operator};
use super::plan::{Planner, in_label_order, inside_parens};
use super::row::{Batch, LABELS_OVERHEAD, Row};

const BUCKET_LABEL: &str = "le";

/// `histogram_quantile(phi, v)`
pub(crate) fn histogram_quantile<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let phi = planner.scalar(&call.args[0], call.grid)?;
    let measured =
        Measured { measure: Measure::Quantile(phi), label: None, text_range: inside_parens(&call.args[0]).range };
    measure(planner, call, &call.args[1], vec![measured])
}

/// `histogram_fraction(lower, upper, v)`
pub(crate) fn histogram_fraction<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let (lower, upper) = (planner.scalar(&call.args[0], call.grid)?, planner.scalar(&call.args[1], call.grid)?);
    let measured = Measured {
        measure: Measure::Fraction(lower, upper),
        label: None,
        text_range: inside_parens(&call.args[0]).range,
    };
    measure(planner, call, &call.args[2], vec![measured])
}

/// `histogram_quantiles(v, label, phi...)`: a series for each phi, told apart by the label.
pub(crate) fn histogram_quantiles<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let label = planner.string(&call.args[1])?;
    if label.is_empty() {
        return Err(execution(format!("invalid label name in histogram_quantiles(): {label}")));
    }
    let measured = call.args[2..].iter().map(|arg| {
        let phi = planner.scalar(arg, call.grid)?;
        Ok(Measured { measure: Measure::Quantile(phi), label: Some(label), text_range: inside_parens(arg).range })
    });
    let measured: Result<Vec<Measured<'q>>> = measured.collect();
    measure(planner, call, &call.args[0], measured?)
}

fn measure<'q>(
    planner: Planner<'q>,
    call: Call<'q>,
    vector: &'q Expr,
    measured: Vec<Measured<'q>>,
) -> Result<BoxOperator<'q>> {
    Ok(Box::new(HistogramCall {
        query: planner.query,
        input: Some(planner.vector(vector, call.grid)?),
        grid: call.grid,
        text_range: inside_parens(vector).range,
        whole: call.expr.range,
        in_label_order: in_label_order(vector),
        measured,
        pending: Vec::new(),
    }))
}

/// What is computed of one histogram.
enum Measure<'q> {
    Quantile(Column<'q>),
    Fraction(Column<'q>, Column<'q>),
}

/// A measure, and the label that results get with its parameter as the value.
struct Measured<'q> {
    measure: Measure<'q>,
    label: Option<&'q str>,
    text_range: TextRange,
}

impl Measured<'_> {
    fn native(&self, step: usize, histogram: &Histogram, notes: &mut Notes) -> f64 {
        match &self.measure {
            Measure::Quantile(phi) => histogram::quantile(phi.at(step), histogram, notes),
            Measure::Fraction(lower, upper) => histogram::fraction(lower.at(step), upper.at(step), histogram, notes),
        }
    }

    fn classic(&self, step: usize, buckets: &mut Vec<ClassicBucket>, time_ms: i64, notes: &mut Notes) -> f64 {
        match &self.measure {
            Measure::Quantile(phi) => {
                let quantile = classic::bucket_quantile(phi.at(step), buckets, time_ms);
                if let Some(forced) = quantile.forced {
                    notes.add(Note::ForcedMonotonicity(forced));
                }
                quantile.value
            }
            Measure::Fraction(lower, upper) => classic::bucket_fraction(lower.at(step), upper.at(step), buckets),
        }
    }

    /// The label of results at a step and its value; `None` without one.
    fn label_value(&self, step: usize) -> Option<(&str, String)> {
        match (&self.measure, self.label) {
            (Measure::Quantile(phi), Some(label)) => Some((label, format_label(phi.at(step)))),
            _ => None,
        }
    }

    /// Whether results have the same labels at all steps.
    fn has_one_label(&self) -> bool {
        match (&self.measure, self.label) {
            (Measure::Quantile(phi), Some(_)) => phi.as_constant().is_some(),
            _ => true,
        }
    }

    /// Adds what `value` gives at each step to the results.
    fn put(
        &self,
        labels: &Labels,
        steps: usize,
        out: &mut Assembler<'_>,
        mut value: impl FnMut(usize) -> Option<f64>,
    ) -> Result<()> {
        let result_labels = |step| match self.label_value(step) {
            Some((label, value)) => with_label(labels, label, &value),
            None => labels.clone(),
        };
        if self.has_one_label() {
            let mut row = Row::absent(result_labels(0), true, steps);
            for step in 0..steps {
                if let Some(value) = value(step) {
                    row.set_float(step, value);
                }
            }
            return if row.is_empty() { Ok(()) } else { out.add(row) };
        }
        for step in 0..steps {
            let Some(value) = value(step) else { continue };
            let row = out.row(&result_labels(step), true)?;
            if row.is_present(step) {
                return Err(same_labelset());
            }
            row.set_float(step, value);
        }
        Ok(())
    }
}

struct HistogramCall<'q> {
    query: &'q Query<'q>,
    /// `None` at its end.
    input: Option<BoxOperator<'q>>,
    grid: Grid,
    /// Where the vector stands in the query text.
    text_range: TextRange,
    /// The whole call.
    whole: TextRange,
    in_label_order: bool,
    measured: Vec<Measured<'q>>,
    /// Histograms that may still get buckets; the labels in front of `le` of each begin with those of the one before.
    pending: Vec<Histograms<'q>>,
}

impl<'q> Operator<'q> for HistogramCall<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let Some(input) = &mut self.input else { return Ok(None) };
        let mut out = Batch { rows: Vec::new(), charge: self.query.memory.charge(0)? };
        let Some(batch) = input.next()? else {
            self.input = None;
            self.note_invalid();
            while let Some(done) = self.pending.pop() {
                self.evaluate(&done, &mut out)?;
            }
            return Ok(Some(out));
        };
        for row in batch.rows {
            self.take(row, &mut out)?;
        }
        Ok(Some(out))
    }
}

/// The labels in front of `le`.
fn front(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().take_while(|(name, _)| *name < BUCKET_LABEL)
}

impl<'q> HistogramCall<'q> {
    fn note_invalid(&self) {
        for measured in &self.measured {
            let Measure::Quantile(phi) = &measured.measure else { continue };
            for phi in (0..self.grid.count).map(|step| phi.at(step)).filter(|phi| !(0.0..=1.0).contains(phi)) {
                self.query.note_param(Note::InvalidQuantile(phi), measured.text_range, self.whole);
            }
        }
    }

    /// Takes a row in; evaluates the histograms that are complete now.
    fn take(&mut self, row: Row, out: &mut Batch<'q>) -> Result<()> {
        if self.in_label_order {
            let begins = |known: &Histograms<'_>| {
                let mut labels = front(&row.labels);
                front(&known.first).all(|label| labels.next() == Some(label))
            };
            while let Some(done) = self.pending.pop_if(|last| !begins(last)) {
                self.evaluate(&done, out)?;
            }
        }
        let is_same = |known: &Histograms<'_>| !self.in_label_order || front(&known.first).eq(front(&row.labels));
        if !self.pending.last().is_some_and(is_same) {
            self.pending.push(Histograms::new(self.query, row.labels.clone())?);
        }
        let last = self.pending.last_mut().expect("it was pushed above");
        last.take(row, self.query, self.text_range)
    }

    fn evaluate(&self, histograms: &Histograms<'q>, out: &mut Batch<'q>) -> Result<()> {
        let mut rows = Assembler::new(self.query, self.grid.count)?;
        for measured in &self.measured {
            self.evaluate_one(histograms, measured, &mut rows)?;
        }
        let batch = rows.finish()?;
        out.rows.extend(batch.rows);
        out.charge.absorb(batch.charge);
        Ok(())
    }

    /// Measures each histogram at each step.
    fn evaluate_one(&self, all: &Histograms<'q>, measured: &Measured<'q>, out: &mut Assembler<'q>) -> Result<()> {
        let steps = self.grid.count;
        let mut conflicts: Vec<Vec<bool>> = vec![Vec::new(); all.classic.len()];
        for row in &all.native {
            self.query.check()?;
            let classic = all.by_labels.get(&row.labels).copied();
            let mut notes = Notes::default();
            measured.put(&row.labels.without(|name| name == BUCKET_LABEL), steps, out, |step| {
                let histogram = row.histogram(step)?;
                if let Some(classic) = classic.filter(|&classic| all.classic[classic].is_present(step)) {
                    notes.add(Note::MixedClassicNative);
                    conflicts[classic].resize(steps, false);
                    conflicts[classic][step] = true;
                    return None;
                }
                Some(measured.native(step, histogram, &mut notes))
            })?;
            self.query.annotate(&mut notes, row.labels.metric_name(), self.text_range);
        }
        for (classic, conflicts) in all.classic.iter().zip(&conflicts) {
            self.query.check()?;
            let mut notes = Notes::default();
            let mut order: Vec<&Bucket> = classic.buckets.iter().collect();
            order.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
            let mut buckets = Vec::with_capacity(order.len());
            measured.put(&classic.labels, steps, out, |step| {
                if conflicts.get(step).copied().unwrap_or(false) {
                    return None;
                }
                buckets.clear();
                buckets.extend(order.iter().filter_map(|bucket| bucket.at(step)));
                let time_ms = self.grid.time(step);
                (!buckets.is_empty()).then(|| measured.classic(step, &mut buckets, time_ms, &mut notes))
            })?;
            self.query.annotate(&mut notes, classic.labels.metric_name(), self.text_range);
        }
        Ok(())
    }
}

/// Histograms with the same labels in front of `le`, or all there are.
struct Histograms<'q> {
    /// The labels of the first series.
    first: Labels,
    classic: Vec<Classic>,
    /// Classic histograms by their labels.
    by_labels: HashMap<Labels, usize>,
    /// Series with native histograms.
    native: Vec<Row>,
    charge: Charge<'q>,
}

/// Series with the same labels but for `le`.
struct Classic {
    /// Those labels.
    labels: Labels,
    buckets: Vec<Bucket>,
}

struct Bucket {
    upper_bound: f64,
    /// The column of the series.
    counts: Vec<f64>,
}

impl Bucket {
    fn at(&self, step: usize) -> Option<ClassicBucket> {
        let count = self.counts[step];
        (!tsq_core::is_stale(count)).then_some(ClassicBucket { upper_bound: self.upper_bound, count })
    }
}

impl Classic {
    fn is_present(&self, step: usize) -> bool {
        self.buckets.iter().any(|bucket| bucket.at(step).is_some())
    }
}

impl<'q> Histograms<'q> {
    fn new(query: &'q Query<'q>, first: Labels) -> Result<Self> {
        let charge = query.memory.charge(size_of::<Self>() + first.as_bytes().len() + LABELS_OVERHEAD)?;
        Ok(Self { first, classic: Vec::new(), by_labels: HashMap::new(), native: Vec::new(), charge })
    }

    fn take(&mut self, row: Row, query: &Query<'_>, text_range: TextRange) -> Result<()> {
        if row.has_floats() {
            let bound = row.labels.get(BUCKET_LABEL).unwrap_or("");
            match bound.parse::<f64>() {
                Ok(upper_bound) => self.take_bucket(&row, upper_bound)?,
                Err(_) => query.note(Note::BadBucketLabel(bound.to_owned()), row.labels.metric_name(), text_range),
            }
        }
        if row.has_histograms() {
            self.charge.grow(row.bytes())?;
            self.native.push(row);
        }
        Ok(())
    }

    fn take_bucket(&mut self, row: &Row, upper_bound: f64) -> Result<()> {
        let labels = row.labels.without(|name| name == BUCKET_LABEL);
        let at = match self.by_labels.get(&labels) {
            Some(&at) => at,
            None => {
                let entry = size_of::<Classic>() + 2 * size_of::<(Labels, usize)>();
                self.charge.grow(labels.as_bytes().len() + LABELS_OVERHEAD + entry)?;
                self.classic.push(Classic { labels: labels.clone(), buckets: Vec::new() });
                self.by_labels.insert(labels, self.classic.len() - 1);
                self.classic.len() - 1
            }
        };
        self.charge.grow(size_of_val(row.column()) + 2 * size_of::<Bucket>())?;
        self.classic[at].buckets.push(Bucket { upper_bound, counts: row.column().to_vec() });
        Ok(())
    }
}
