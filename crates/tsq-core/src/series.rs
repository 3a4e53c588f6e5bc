//! A selected series and the way to its samples.

use std::sync::Arc;

use crate::error::Result;
use crate::labels::Labels;
use crate::sample::{Kind, Samples, TimeRange};

/// One label set that a selection found, with access to its samples. Holds what it needs alive; `Send`, so that
/// workers may read different series at once.
#[derive(Clone, Debug)]
pub struct Series {
    labels: Labels,
    parts: Vec<(Kind, Arc<Samples>)>,
}

impl Series {
    pub(crate) fn new(labels: Labels, parts: Vec<(Kind, Arc<Samples>)>) -> Self {
        Self { labels, parts }
    }

    /// The labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The kinds of samples that may exist in the selected range, ascending.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.parts.iter().map(|(kind, _)| *kind)
    }

    /// Replaces `out` by the samples of one kind inside `range`, merged and in order. `range` should lie within the
    /// range of the selection: samples outside of that may be missing.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a page that the samples need is damaged.
    pub fn read(&self, kind: Kind, range: TimeRange, out: &mut Samples) -> Result<()> {
        out.clear();
        for (_, part) in self.parts.iter().filter(|(part_kind, _)| *part_kind == kind) {
            for (index, &time) in part.times.iter().enumerate().filter(|(_, time)| range.contains(**time)) {
                out.times.push(time);
                out.steps.extend(part.steps.get(index));
                out.values.extend(part.values.get(index));
                out.histograms.extend(part.histograms.get(index).cloned());
            }
        }
        Ok(())
    }
}
