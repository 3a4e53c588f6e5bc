//! The samples of one series as protocols see them: floats and histograms, one a time, whatever kinds they are stored as.

use tsq::{Kind, Samples, Series, TimeRange};

/// Reads series; keeps its buffers between them.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) floats: Samples,
    pub(crate) histograms: Samples,
    buffer: Samples,
}

impl Columns {
    /// Replaces the columns by the samples of a series in a range. Of several samples of a run with one time, the last
    /// counts, as in queries.
    pub(crate) fn read(&mut self, series: &Series, range: TimeRange) -> tsq::Result<()> {
        self.floats.clear();
        self.histograms.clear();
        for kind in series.kinds() {
            series.read(kind, range, &mut self.buffer)?;
            let column = if kind.is_histogram() { &mut self.histograms } else { &mut self.floats };
            let several = !column.is_empty();
            column.times.append(&mut self.buffer.times);
            column.values.append(&mut self.buffer.values);
            column.histograms.append(&mut self.buffer.histograms);
            if several || matches!(kind, Kind::Run | Kind::RunHistogram) {
                keep_last(column);
            }
        }
        Ok(())
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }
}

/// Orders samples by time and keeps the last one of each.
fn keep_last(samples: &mut Samples) {
    let times = &samples.times;
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|&at| times[at]);
    let is_last = |at: usize| order.get(at + 1).is_none_or(|&next| times[next] != times[order[at]]);
    let kept: Vec<usize> = (0..order.len()).filter(|&at| is_last(at)).map(|at| order[at]).collect();
    if kept.len() == times.len() && kept.is_sorted() {
        return;
    }
    pick(&mut samples.times, &kept);
    pick(&mut samples.values, &kept);
    pick(&mut samples.histograms, &kept);
}

fn pick<T: Clone>(column: &mut Vec<T>, kept: &[usize]) {
    if !column.is_empty() {
        *column = kept.iter().map(|&at| column[at].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_samples_with_one_time_the_last_counts() {
        let (times, values) = (vec![1, 1, 3, 2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0]);
        let mut samples = Samples { times, values, ..Samples::default() };
        keep_last(&mut samples);
        assert_eq!((samples.times, samples.values), (vec![1, 2, 3], vec![1.0, 3.0, 4.0]));
    }
}
