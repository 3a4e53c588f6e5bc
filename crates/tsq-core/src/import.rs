//! Bulk import: samples are gathered, sorted and written straight into blocks, past log and head.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::batch::{Batch, Exemplar, Metadata};
use crate::codec::Effort;
use crate::error::Result;
use crate::families::Groups;
use crate::flush::Change;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::merge;
use crate::sample::{Kind, Samples};
use crate::store::Store;

/// Memory that gathered samples may take before they are written.
const GATHERED_BYTES_MAX: usize = 256 << 20;

/// Writes many samples, in any order of series and times, of any age, into blocks.
///
/// Samples become durable and visible in parts: each time the gathered ones fill the importer's memory (256 MiB), and at
/// [`Importer::finish`]. Importing again what is stored changes nothing: the merge on read sees to that. Dropping an
/// importer without finishing leaves out what is still gathered.
#[derive(Debug)]
pub struct Importer {
    store: Arc<Store>,
    gathered: BTreeMap<Labels, BTreeMap<Kind, Samples>>,
    metadata: BTreeMap<String, Metadata>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    gathered_bytes: usize,
    samples: u64,
}

impl Importer {
    pub(crate) fn new(store: Arc<Store>) -> Result<Self> {
        store.wal()?;
        Ok(Self {
            store,
            gathered: BTreeMap::new(),
            metadata: BTreeMap::new(),
            exemplars: BTreeMap::new(),
            gathered_bytes: 0,
            samples: 0,
        })
    }

    /// Adds samples of one series; their columns must be of equal length as [`Samples`] says, in any order.
    ///
    /// # Errors
    /// `InvalidArgument` for labels or histograms that break a rule or limit; errors of writing a full part.
    pub fn add(&mut self, labels: &Labels, kind: Kind, samples: &Samples) -> Result<()> {
        let count = samples.len();
        let expected = |used: bool| if used { count } else { 0 };
        assert_eq!(samples.steps.len(), expected(kind.has_step()), "one step a sample of the run kinds");
        assert_eq!(samples.histograms.len(), expected(kind.is_histogram()), "one histogram a sample of its kinds");
        assert_eq!(samples.values.len(), expected(!kind.is_histogram()), "one value a sample of the float kinds");
        assert!([0, count].contains(&samples.starts.len()), "one start time a sample, or none at all");
        if count == 0 {
            return Ok(());
        }
        let bytes = match self.gathered.entry(labels.clone()) {
            Entry::Occupied(mut known) => {
                merge::extend(known.get_mut().entry(kind).or_default(), samples);
                0
            }
            Entry::Vacant(new) => {
                self.store.check_import(labels)?;
                new.insert(BTreeMap::from([(kind, samples.clone())]));
                labels.as_bytes().len() + 200
            }
        };
        let buckets = self.store.options.limits.histogram_buckets;
        for histogram in &samples.histograms {
            let wrong = |message| crate::Error::invalid(format!("series {labels}: {message}"));
            histogram.validate(buckets).map_err(wrong)?;
        }
        let histograms: usize = samples.histograms.iter().map(Histogram::memory).sum();
        self.gathered_bytes +=
            bytes + 8 * (count + samples.steps.len() + samples.values.len() + samples.starts.len()) + histograms;
        self.samples += count as u64;
        if self.gathered_bytes > GATHERED_BYTES_MAX {
            self.write()?;
        }
        Ok(())
    }

    /// Adds all of a batch whose series were given by labels or handles.
    ///
    /// # Errors
    /// As [`Importer::add`]; series before the one that is refused have been added.
    pub fn batch(&mut self, batch: &Batch) -> Result<()> {
        let (mut times, mut steps, mut values, mut histograms) = (0, 0, 0, 0);
        let mut exemplars = batch.exemplars.iter().peekable();
        let mut samples = Samples::default();
        for (index, entry) in batch.entries.iter().enumerate() {
            let labels = Labels::from_canonical(&batch.label_bytes[entry.labels.clone()])?;
            let take = |used: bool, from: &mut usize| {
                let start = *from;
                *from += if used { entry.samples } else { 0 };
                start..*from
            };
            samples.clear();
            let range = take(true, &mut times);
            samples.times.extend_from_slice(&batch.times[range.clone()]);
            let starts = batch.starts.get(range.start..range.end.min(batch.starts.len()));
            samples.append_starts(0, starts.unwrap_or(&[]));
            samples.steps.extend_from_slice(&batch.steps[take(entry.kind.has_step(), &mut steps)]);
            samples.values.extend_from_slice(&batch.values[take(!entry.kind.is_histogram(), &mut values)]);
            let range = take(entry.kind.is_histogram(), &mut histograms);
            samples.histograms.extend_from_slice(&batch.histograms[range]);
            self.add(&labels, entry.kind, &samples)?;
            while let Some((_, exemplar)) = exemplars.next_if(|(of, _)| *of == index) {
                self.exemplar(&labels, exemplar.clone());
            }
        }
        batch.metadata.iter().cloned().for_each(|metadata| self.metadata(metadata));
        Ok(())
    }

    /// Adds what is known about a metric.
    pub fn metadata(&mut self, metadata: Metadata) {
        self.metadata.insert(metadata.metric.clone(), metadata);
    }

    /// Adds an exemplar of a series.
    pub fn exemplar(&mut self, labels: &Labels, exemplar: Exemplar) {
        self.exemplars.entry(labels.clone()).or_default().push(exemplar);
    }

    /// Samples added so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Writes what is gathered into a block.
    fn write(&mut self) -> Result<()> {
        if self.gathered.is_empty() && self.metadata.is_empty() {
            return Ok(());
        }
        // Imported data is in no record of the log: LSN range 0 to 0.
        let mut writer = self.store.new_block(0, (0, 0), Vec::new())?;
        writer.set_effort(Effort::Small);
        let mut take = |kinds: &mut BTreeMap<Kind, Samples>, kind: Kind, samples: &mut Samples| {
            *samples = kinds.remove(&kind).unwrap_or_default();
            merge::normalise(kind, samples);
            Ok(())
        };
        let mut groups = Groups::new();
        for (labels, kinds) in std::mem::take(&mut self.gathered) {
            if let Some(group) = groups.push(labels, kinds) {
                group.write(&mut writer, &mut take)?;
            }
        }
        groups.finish().map_or(Ok(()), |group| group.write(&mut writer, &mut take))?;
        let metadata: Vec<_> = std::mem::take(&mut self.metadata).into_values().collect();
        let mut exemplars: Vec<_> = std::mem::take(&mut self.exemplars).into_iter().collect();
        exemplars.iter_mut().for_each(|(_, list)| crate::snapshot::sort_exemplars(list));
        let meta = writer.finish(&metadata, &exemplars)?;
        self.gathered_bytes = 0;
        self.store.publish(&Change::add(meta)).map(drop)
    }

    /// Makes everything durable and visible. Returns the number of samples added.
    ///
    /// # Errors
    /// `StorageFull`, `Io`: what was written before stays, the rest is left out.
    pub fn finish(mut self) -> Result<u64> {
        self.write()?;
        Ok(self.samples)
    }
}
