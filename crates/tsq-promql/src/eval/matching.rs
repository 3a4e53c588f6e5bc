//! How elements of two vectors find each other, and groups of labels in general.

use std::collections::HashMap;

use tsq_core::{Labels, LabelsBuilder, METRIC_NAME};

use crate::ast::Matching;

use super::context::{Query, Result, execution};
use super::memory::Charge;
use super::row::{Batch, Row, Sample};

/// Label that holds the type of a metric.
pub(crate) const TYPE_LABEL: &str = "__type__";

/// Labels that describe the metric as a whole; dropped together with its name.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(name, METRIC_NAME | TYPE_LABEL | "__unit__")
}

/// Appends what elements must have in common to match: the labels of `on`, or all but the name and those of `ignoring`.
pub(crate) fn signature(labels: &Labels, matching: &Matching, out: &mut Vec<u8>) {
    out.clear();
    for (name, value) in labels.iter() {
        let named = matching.labels.iter().any(|label| label == name);
        if if matching.on { named } else { !named && name != METRIC_NAME } {
            push(out, name);
            push(out, value);
        }
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The labels that elements of a group have in common.
pub(crate) fn common_labels(labels: &Labels, matching: &Matching) -> Labels {
    labels.without(|name| {
        let named = matching.labels.iter().any(|label| label == name);
        if matching.on { !named } else { named || name == METRIC_NAME }
    })
}

/// A label set with one label set, or removed where the value is empty.
pub(crate) fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let mut builder = LabelsBuilder::default();
    for (label, old) in labels.iter().filter(|(label, _)| *label != name) {
        builder.push(label, old);
    }
    builder.push(name, value);
    builder.build().expect("names of a set are distinct and the new one replaces its like")
}

/// Builds rows by label set, a sample at a time.
pub(crate) struct Assembler<'q> {
    by_labels: HashMap<Labels, usize>,
    rows: Vec<Row>,
    charge: Charge<'q>,
    steps: usize,
}

/// The error of two elements with the same labels at one time.
pub(crate) fn same_labelset() -> crate::answer::QueryError {
    execution("vector cannot contain metrics with the same labelset")
}

impl<'q> Assembler<'q> {
    pub(crate) fn new(query: &'q Query<'q>, steps: usize) -> Result<Self> {
        let charge = query.memory.charge(0)?;
        Ok(Self { by_labels: HashMap::new(), rows: Vec::new(), charge, steps })
    }

    /// The row with these labels; a new one is empty.
    pub(crate) fn row(&mut self, labels: &Labels, drop_name: bool) -> Result<&mut Row> {
        let index = match self.by_labels.get(labels) {
            Some(&index) => index,
            None => {
                self.charge.grow(self.steps * size_of::<f64>() + size_of::<Row>() + 2 * labels.as_bytes().len())?;
                self.rows.push(Row::absent(labels.clone(), drop_name, self.steps));
                self.by_labels.insert(labels.clone(), self.rows.len() - 1);
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[index];
        row.drop_name |= drop_name;
        Ok(row)
    }

    /// Adds a whole row.
    ///
    /// # Errors
    /// When a row with the same labels has a sample at one of its steps.
    pub(crate) fn add(&mut self, row: Row) -> Result<()> {
        match self.by_labels.get(&row.labels) {
            Some(&index) => {
                if !self.rows[index].merge(&row) {
                    return Err(same_labelset());
                }
            }
            None => {
                self.charge.grow(row.bytes() + 2 * row.labels.as_bytes().len())?;
                self.by_labels.insert(row.labels.clone(), self.rows.len());
                self.rows.push(row);
            }
        }
        Ok(())
    }

    /// The rows that have samples, in the order they came.
    pub(crate) fn finish(mut self) -> Result<Batch<'q>> {
        self.rows.retain(|row| !row.is_empty());
        self.charge.resize(self.rows.iter().map(Row::bytes).sum())?;
        Ok(Batch { rows: self.rows, charge: self.charge })
    }
}

/// Puts a sample into a row.
pub(crate) fn put(row: &mut Row, step: usize, sample: Sample<'_>) {
    match sample {
        Sample::Absent => row.remove(step),
        Sample::Float(value) => row.set_float(step, value),
        Sample::Histogram(histogram) => row.set_histogram(step, histogram.clone()),
    }
}
