//! Series of intermediate results: one value a step.

use std::sync::Arc;

use tsq_core::{Histogram, Labels, STALE_NAN_BITS, is_stale};

use super::memory::Charge;

/// Fills the value column where a step has no float. Staleness markers end series before any operator sees them,
/// and arithmetic cannot make one, so their bits are free to mean "absent" and no second column is needed.
const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Bytes of a label set beside its text: counters and what the allocator adds.
pub(crate) const LABELS_OVERHEAD: usize = 32;

/// One histogram or none a step.
pub(crate) type HistogramColumn = Box<[Option<Arc<Histogram>>]>;

/// The sample of one series at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample<'a> {
    Absent,
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// One series over the steps of a grid.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Labels, the metric name among them even where it is to be dropped.
    pub labels: Labels,
    /// Whether the metric name (and type and unit) is dropped at the end of the evaluation.
    pub drop_name: bool,
    values: Vec<f64>,
    histograms: Option<HistogramColumn>,
}

impl Row {
    /// A row without samples.
    pub(crate) fn absent(labels: Labels, drop_name: bool, steps: usize) -> Self {
        Self { labels, drop_name, values: vec![ABSENT; steps], histograms: None }
    }

    /// A row of floats, absent where a column such as [`Row::column`] says so.
    pub(crate) fn of_column(labels: Labels, drop_name: bool, values: Vec<f64>) -> Self {
        Self { labels, drop_name, values, histograms: None }
    }

    /// Number of steps.
    pub(crate) fn steps(&self) -> usize {
        self.values.len()
    }

    /// The sample at a step.
    pub(crate) fn sample(&self, step: usize) -> Sample<'_> {
        let value = self.values[step];
        if !is_stale(value) {
            return Sample::Float(value);
        }
        match &self.histograms {
            Some(column) => column[step].as_ref().map_or(Sample::Absent, Sample::Histogram),
            None => Sample::Absent,
        }
    }

    /// The float at a step.
    pub(crate) fn float(&self, step: usize) -> Option<f64> {
        let value = self.values[step];
        (!is_stale(value)).then_some(value)
    }

    /// The histogram at a step.
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.as_ref().and_then(|column| column[step].as_ref())
    }

    /// Whether there is a sample at a step.
    pub(crate) fn is_present(&self, step: usize) -> bool {
        self.float(step).is_some() || self.histogram(step).is_some()
    }

    /// Whether there is no sample at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(|&value| is_stale(value)) && self.histograms.iter().flatten().all(Option::is_none)
    }

    /// Whether any step has a float.
    pub(crate) fn has_floats(&self) -> bool {
        self.values.iter().any(|&value| !is_stale(value))
    }

    /// The floats of all steps; a staleness marker stands where there is none.
    pub(crate) fn column(&self) -> &[f64] {
        &self.values
    }

    /// The floats, to be written where there are some. The row must not have histograms.
    pub(crate) fn column_mut(&mut self) -> &mut [f64] {
        debug_assert!(self.histograms.is_none(), "a step has a float or a histogram");
        &mut self.values
    }

    /// Whether there may be histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        self.histograms.is_some()
    }

    /// Puts a float at a step.
    pub(crate) fn set_float(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        if let Some(column) = &mut self.histograms {
            column[step] = None;
        }
    }

    /// Puts a histogram at a step.
    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        self.values[step] = ABSENT;
        let steps = self.values.len();
        self.histograms.get_or_insert_with(|| vec![None; steps].into())[step] = Some(histogram);
    }

    /// Removes the sample at a step.
    pub(crate) fn remove(&mut self, step: usize) {
        self.values[step] = ABSENT;
        if let Some(column) = &mut self.histograms {
            column[step] = None;
        }
    }

    /// Removes all histograms; whether there were any.
    pub(crate) fn remove_histograms(&mut self) -> bool {
        self.histograms.take().is_some_and(|column| column.iter().any(Option::is_some))
    }

    /// Replaces each float by what `change` makes of it.
    pub(crate) fn map_floats(&mut self, mut change: impl FnMut(usize, f64) -> f64) {
        for (step, value) in self.values.iter_mut().enumerate() {
            if !is_stale(*value) {
                *value = change(step, *value);
            }
        }
    }

    /// The same sample at each of `steps` steps.
    pub(crate) fn broadcast(self, steps: usize) -> Self {
        let values = vec![self.values[0]; steps];
        let histograms = self.histograms.map(|column| vec![column[0].clone(); steps].into());
        Self { values, histograms, ..self }
    }

    /// Adds the samples of another row to this one; `false` if both have one at the same step.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        for step in 0..other.steps() {
            if other.is_present(step) {
                if self.is_present(step) {
                    return false;
                }
                match other.sample(step) {
                    Sample::Histogram(histogram) => self.set_histogram(step, histogram.clone()),
                    _ => self.values[step] = other.values[step],
                }
            }
        }
        self.drop_name |= other.drop_name;
        true
    }

    /// Bytes it holds, but for a histogram that the step before has too. Labels may be shared: they count for each.
    pub(crate) fn bytes(&self) -> usize {
        let labels = self.labels.as_bytes().len() + LABELS_OVERHEAD;
        let mut bytes = size_of::<Self>() + labels + self.values.len() * size_of::<f64>();
        if let Some(column) = &self.histograms {
            bytes += column.len() * size_of::<Option<Arc<Histogram>>>();
            let mut last: Option<&Arc<Histogram>> = None;
            for histogram in column.iter().flatten() {
                if !last.is_some_and(|last| Arc::ptr_eq(last, histogram)) {
                    bytes += histogram_bytes(histogram);
                }
                last = Some(histogram);
            }
        }
        bytes
    }
}

/// Bytes a histogram holds.
pub(crate) fn histogram_bytes(histogram: &Histogram) -> usize {
    let numbers = histogram.positive.len() + histogram.negative.len() + histogram.custom_values.len();
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    size_of::<Histogram>() + (numbers + spans) * 8
}

/// Some series of an intermediate result and the memory they are charged with.
#[derive(Debug)]
pub(crate) struct Batch<'q> {
    pub rows: Vec<Row>,
    pub charge: Charge<'q>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_a_float_or_a_histogram_or_nothing() {
        let mut row = Row::absent(Labels::empty(), false, 3);
        assert!(row.is_empty());
        row.set_float(0, f64::NAN);
        row.set_histogram(1, Arc::default());
        assert!(row.float(0).is_some_and(f64::is_nan));
        assert!(matches!(row.sample(1), Sample::Histogram(_)));
        assert!(matches!(row.sample(2), Sample::Absent));
        row.set_float(1, 1.0);
        assert!(row.histogram(1).is_none());
        row.remove(1);
        assert!(!row.is_present(1));
    }

    #[test]
    fn rows_merge_unless_they_overlap() {
        let mut one = Row::absent(Labels::empty(), false, 2);
        one.set_float(0, 1.0);
        let mut two = Row::absent(Labels::empty(), true, 2);
        two.set_histogram(1, Arc::default());
        let mut three = one.clone();
        assert!(one.merge(&two));
        assert!(one.drop_name && one.histogram(1).is_some());
        assert!(!three.merge(&one));
    }
}
