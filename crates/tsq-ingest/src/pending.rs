//! A series that was read and goes into batches of bounded size piece by piece.

use tsq_core::{Batch, Exemplar, Kind, Labels, Samples};

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) labels: Labels,
    pub(crate) kind: Kind,
    pub(crate) samples: Samples,
    pub(crate) exemplars: Vec<Exemplar>,
    at: usize,
}

impl Pending {
    pub(crate) fn new(labels: Labels, kind: Kind, samples: Samples) -> Self {
        Self { labels, kind, samples, exemplars: Vec::new(), at: 0 }
    }

    /// Moves at most `max` samples, and the exemplars, into the batch. Returns how many; at most `max` are left over
    /// when it is as many.
    pub(crate) fn pour(&mut self, batch: &mut Batch, max: usize) -> usize {
        let count = max.min(self.samples.len() - self.at);
        if count == 0 && self.exemplars.is_empty() {
            return 0;
        }
        batch.series(self.kind, &self.labels);
        for index in self.at..self.at + count {
            let time_ms = self.samples.times[index];
            match self.kind {
                Kind::Float => batch.float(time_ms, self.samples.values[index]),
                Kind::Run => batch.run(time_ms, self.samples.steps[index], self.samples.values[index]),
                Kind::Histogram => batch.histogram(time_ms, std::mem::take(&mut self.samples.histograms[index])),
                Kind::RunHistogram => {
                    let histogram = std::mem::take(&mut self.samples.histograms[index]);
                    batch.run_histogram(time_ms, self.samples.steps[index], histogram);
                }
            }
            batch.start(self.samples.start(index));
        }
        self.at += count;
        self.exemplars.drain(..).for_each(|exemplar| batch.exemplar(exemplar));
        count
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.samples.len() && self.exemplars.is_empty()
    }
}
