//! The database handle. This first head keeps everything in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::batch::{Appended, Batch, CanonicalLabels, Exemplar, LabelSource, Metadata, SeriesHandle};
use crate::error::Result;
use crate::labels::{Labels, LabelsBuilder};
use crate::options::Options;
use crate::query::{Matcher, SeriesStream, Source, all_match};
use crate::sample::{Kind, Samples, TimeRange};
use crate::series::Series;

type Table = BTreeMap<Labels, BTreeMap<Kind, Arc<Samples>>>;

/// An open database. Cheap to clone; all clones are the same database.
#[derive(Clone, Debug)]
pub struct Db {
    inner: Arc<Mutex<Inner>>,
    options: Arc<Options>,
}

#[derive(Debug, Default)]
struct Inner {
    series: Table,
    exemplars: Vec<(Labels, Exemplar)>,
    metadata: BTreeMap<String, Metadata>,
}

/// Everything acknowledged up to one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    series: Table,
    exemplars: Vec<(Labels, Exemplar)>,
    metadata: BTreeMap<String, Metadata>,
}

impl Db {
    /// Opens or creates the database in a directory.
    pub fn open(_path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self { inner: Arc::default(), options: Arc::new(options) })
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// An empty batch for this database.
    pub fn batch(&self) -> Batch {
        Batch::with_seed(0)
    }

    /// A handle for appending to one series without its labels.
    pub fn series(&self, kind: Kind, labels: &Labels) -> Result<SeriesHandle> {
        let key = self.batch().hash(labels.as_bytes());
        Ok(SeriesHandle { key, labels: labels.clone(), kind })
    }

    /// Appends a batch whose series were given by labels or handles.
    pub fn append(&self, batch: &Batch) -> Result<Appended> {
        self.append_with(batch, &CanonicalLabels)
    }

    /// Appends a batch whose label bytes `source` can read.
    pub fn append_with(&self, batch: &Batch, source: &dyn LabelSource) -> Result<Appended> {
        let mut inner = self.inner.lock();
        let mut appended = Appended::default();
        let mut builder = LabelsBuilder::default();
        let (mut times, mut steps) = (batch.times.iter(), batch.steps.iter());
        let (mut values, mut histograms) = (batch.values.iter(), batch.histograms.iter());
        let mut sets = Vec::new();
        for entry in &batch.entries {
            builder.clear();
            source.labels(&batch.label_bytes[entry.labels.clone()], &mut builder)?;
            let labels = builder.build()?;
            sets.push(labels.clone());
            let samples = inner.series.entry(labels).or_default().entry(entry.kind).or_default();
            let samples = Arc::make_mut(samples);
            for _ in 0..entry.samples {
                let time = *times.next().expect("one time a sample");
                let position = samples.times.partition_point(|&t| t <= time);
                let again = !entry.kind.has_step() && position > 0 && samples.times[position - 1] == time;
                let at = if again { position - 1 } else { position };
                if !again {
                    samples.times.insert(at, time);
                }
                if entry.kind.has_step() {
                    samples.steps.insert(at, *steps.next().expect("one step a run sample"));
                }
                if entry.kind.is_histogram() {
                    let histogram = histograms.next().expect("one histogram a histogram sample").clone();
                    if again {
                        samples.histograms[at] = histogram;
                    } else {
                        samples.histograms.insert(at, histogram);
                    }
                    appended.histograms += 1;
                } else {
                    let value = *values.next().expect("one value a float sample");
                    if again {
                        samples.values[at] = value;
                    } else {
                        samples.values.insert(at, value);
                    }
                    appended.floats += 1;
                }
            }
        }
        for (entry, exemplar) in &batch.exemplars {
            inner.exemplars.push((sets[*entry].clone(), exemplar.clone()));
            appended.exemplars += 1;
        }
        for metadata in &batch.metadata {
            inner.metadata.insert(metadata.metric.clone(), metadata.clone());
        }
        Ok(appended)
    }

    /// What is visible now.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let inner = self.inner.lock();
        let (series, exemplars) = (inner.series.clone(), inner.exemplars.clone());
        Ok(Snapshot { series, exemplars, metadata: inner.metadata.clone() })
    }

    /// Writes the head into a block.
    pub fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Flushes, merges blocks as far as the levels ask for it, applies retention.
    pub fn compact(&self) -> Result<()> {
        Ok(())
    }

    /// Makes everything durable and releases the directory. Further calls on any clone fail.
    pub fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl Snapshot {
    fn matching(&self, matchers: &[Matcher], range: TimeRange) -> Vec<Series> {
        let inside = |samples: &Samples| samples.times.iter().any(|&time| range.contains(time));
        let mut found = Vec::new();
        for (labels, kinds) in self.series.iter().filter(|(labels, _)| all_match(matchers, labels)) {
            let parts: Vec<_> = kinds.iter().filter(|(_, s)| inside(s)).map(|(k, s)| (*k, s.clone())).collect();
            if !parts.is_empty() {
                found.push(Series::new(labels.clone(), parts));
            }
        }
        found
    }
}

#[derive(Debug)]
struct Listed(std::vec::IntoIter<Series>);

impl SeriesStream for Listed {
    fn next_batch(&mut self, max: usize) -> Result<Vec<Series>> {
        Ok(self.0.by_ref().take(max).collect())
    }
}

impl Source for Snapshot {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Box<dyn SeriesStream + '_>> {
        Ok(Box::new(Listed(self.matching(matchers, range).into_iter())))
    }

    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for series in self.matching(matchers, range) {
            names.extend(series.labels().iter().map(|(name, _)| name.to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
        let mut values = BTreeSet::new();
        for series in self.matching(matchers, range) {
            values.extend(series.labels().get(name).map(str::to_owned));
        }
        Ok(values.into_iter().collect())
    }

    fn metadata(&self) -> Result<Vec<Metadata>> {
        Ok(self.metadata.values().cloned().collect())
    }

    fn exemplars(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for (labels, exemplar) in &self.exemplars {
            if all_match(matchers, labels) && range.contains(exemplar.time_ms) {
                found.entry(labels.clone()).or_default().push(exemplar.clone());
            }
        }
        for list in found.values_mut() {
            list.sort_by_key(|exemplar| exemplar.time_ms);
        }
        Ok(found.into_iter().collect())
    }
}
