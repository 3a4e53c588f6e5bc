//! How operators hand on series.

use super::context::{Query, Result};
use super::memory::Charge;
use super::row::{Batch, Row};

/// A part of a query that delivers series over the steps of its grid, a batch at a time.
pub(crate) trait Operator<'q> {
    /// The next series; `None` at the end. A batch may be empty.
    fn next(&mut self) -> Result<Option<Batch<'q>>>;
}

/// An operator of any kind.
pub(crate) type BoxOperator<'q> = Box<dyn Operator<'q> + 'q>;

/// All rows of an operator at once.
pub(crate) fn collect<'q>(query: &'q Query<'q>, operator: &mut dyn Operator<'q>) -> Result<Batch<'q>> {
    let mut all = Batch { rows: Vec::new(), charge: query.memory.charge(0)? };
    while let Some(batch) = operator.next()? {
        all.rows.extend(batch.rows);
        all.charge.absorb(batch.charge);
    }
    Ok(all)
}

/// Passes each row through a function that changes it or leaves it out.
pub(crate) struct Map<'q, F> {
    pub input: BoxOperator<'q>,
    pub change: F,
}

impl<'q, F: FnMut(&mut Row) -> Result<bool>> Operator<'q> for Map<'q, F> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let Some(mut batch) = self.input.next()? else { return Ok(None) };
        let mut failure = None;
        batch.rows.retain_mut(|row| {
            let changed = if failure.is_none() { (self.change)(row) } else { Ok(false) };
            changed.unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        batch.charge.resize(batch.rows.iter().map(Row::bytes).sum())?;
        Ok(Some(batch))
    }
}

/// Evaluates once what needs everything before it can say anything, and delivers the result.
pub(crate) struct Once<'q, F> {
    pub query: &'q Query<'q>,
    /// Taken at the first call.
    pub evaluate: Option<F>,
}

impl<'q, F: FnOnce() -> Result<Batch<'q>>> Operator<'q> for Once<'q, F> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        self.query.check()?;
        self.evaluate.take().map(|evaluate| evaluate()).transpose()
    }
}

/// An operator that delivers what a function returns, once.
pub(crate) fn once<'q>(query: &'q Query<'q>, evaluate: impl FnOnce() -> Result<Batch<'q>> + 'q) -> BoxOperator<'q> {
    Box::new(Once { query, evaluate: Some(evaluate) })
}

/// Repeats the single step of its input at all steps.
pub(crate) struct Broadcast<'q> {
    pub query: &'q Query<'q>,
    pub input: BoxOperator<'q>,
    pub steps: usize,
}

impl<'q> Operator<'q> for Broadcast<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        let Some(mut batch) = self.input.next()? else { return Ok(None) };
        batch.charge.grow(batch.rows.len() * self.steps * size_of::<f64>())?;
        let rows: Vec<Row> = batch.rows.into_iter().map(|row| row.broadcast(self.steps)).collect();
        Ok(Some(self.query.batch(rows)?))
    }
}

/// A number a step.
#[derive(Debug)]
pub(crate) struct Column<'q> {
    values: Values,
    _charge: Option<Charge<'q>>,
}

#[derive(Debug)]
enum Values {
    Constant(f64),
    Steps(Vec<f64>),
}

impl<'q> Column<'q> {
    /// The same number at each step.
    pub(crate) fn constant(value: f64) -> Self {
        Self { values: Values::Constant(value), _charge: None }
    }

    /// What `value` says for each of `steps` steps.
    pub(crate) fn steps(query: &'q Query<'q>, steps: usize, value: impl FnMut(usize) -> f64) -> Result<Self> {
        let charge = query.memory.charge(steps * size_of::<f64>())?;
        Ok(Self { values: Values::Steps((0..steps).map(value).collect()), _charge: Some(charge) })
    }

    /// The number at a step.
    pub(crate) fn at(&self, step: usize) -> f64 {
        match &self.values {
            Values::Constant(value) => *value,
            Values::Steps(values) => values[step],
        }
    }

    /// The number, if it is the same at each step.
    pub(crate) fn as_constant(&self) -> Option<f64> {
        match &self.values {
            Values::Constant(value) => Some(*value),
            Values::Steps(_) => None,
        }
    }

    /// The same with a function applied to each number.
    pub(crate) fn map(mut self, change: impl Fn(f64) -> f64) -> Self {
        match &mut self.values {
            Values::Constant(value) => *value = change(*value),
            Values::Steps(values) => values.iter_mut().for_each(|value| *value = change(*value)),
        }
        self
    }

    /// Two columns combined number by number.
    pub(crate) fn zip(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(left), Some(right)) => Self::constant(combine(left, right)),
            (Some(left), None) => other.map(|right| combine(left, right)),
            (None, Some(right)) => self.map(|left| combine(left, right)),
            (None, None) => {
                let mut step = 0;
                let mut next = || {
                    step += 1;
                    other.at(step - 1)
                };
                let Values::Steps(mut values) = self.values else { unreachable!("it is no constant") };
                values.iter_mut().for_each(|value| *value = combine(*value, next()));
                Self { values: Values::Steps(values), _charge: self._charge }
            }
        }
    }

    /// As a row with this label set.
    pub(crate) fn into_row(self, labels: tsq_core::Labels, steps: usize) -> Row {
        match self.values {
            Values::Constant(value) => Row::of_column(labels, false, vec![value; steps]),
            Values::Steps(values) => Row::of_column(labels, false, values),
        }
    }
}
