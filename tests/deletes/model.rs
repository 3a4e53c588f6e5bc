//! What a database holds, kept in plain maps.

use std::collections::{BTreeMap, BTreeSet};

use tsq_core::{
    Batch, Deleted, Exemplar, Histogram, Kind, Labels, Matcher, Samples, Snapshot, Source, TimeRange, all_match,
};

/// A sample: time, step, and a number that its value is made of.
type Sample = (i64, i64, u64);

/// One write of one sample.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) series: u8,
    pub(crate) kind: Kind,
    pub(crate) time_ms: i64,
    pub(crate) step: i64,
    pub(crate) value: u64,
    pub(crate) exemplar: bool,
}

impl Write {
    pub(crate) fn labels(&self) -> Labels {
        let (name, shard) = (format!("metric_{}", self.series % 3), format!("shard_{}", self.series));
        let group = if self.series.is_multiple_of(2) { "even" } else { "odd" };
        let pairs = [("__name__", name.as_str()), ("shard", shard.as_str()), ("group", group)];
        Labels::from_pairs(pairs).expect("the labels are good")
    }

    pub(crate) fn add_to(&self, batch: &mut Batch) {
        batch.series(self.kind, &self.labels());
        match self.kind {
            Kind::Float => batch.float(self.time_ms, float(self.value)),
            Kind::Run => batch.run(self.time_ms, self.step, float(self.value)),
            Kind::Histogram => batch.histogram(self.time_ms, histogram(self.value)),
            Kind::RunHistogram => batch.run_histogram(self.time_ms, self.step, histogram(self.value)),
        }
        if self.exemplar {
            batch.exemplar(self.exemplar());
        }
    }

    fn exemplar(&self) -> Exemplar {
        let labels = Labels::from_pairs([("trace_id", "t")]).expect("the labels are good");
        Exemplar { labels, value: self.value as f64, time_ms: self.time_ms }
    }
}

fn float(value: u64) -> f64 {
    value as f64 + 0.25
}

fn histogram(value: u64) -> Histogram {
    Histogram { zero_count: value as f64, count: value as f64, integer: true, ..Histogram::default() }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    samples: BTreeMap<(Labels, Kind), BTreeSet<Sample>>,
    exemplars: BTreeMap<Labels, BTreeSet<(i64, u64)>>,
}

impl Model {
    pub(crate) fn write(&mut self, write: &Write) {
        let step = if write.kind.has_step() { write.step } else { 0 };
        let samples = self.samples.entry((write.labels(), write.kind)).or_default();
        samples.insert((write.time_ms, step, write.value));
    }

    pub(crate) fn write_exemplar(&mut self, write: &Write) {
        if write.exemplar {
            self.exemplars.entry(write.labels()).or_default().insert((write.time_ms, write.value));
        }
    }

    /// Deletes, and checks what the database says it has deleted.
    pub(crate) fn delete(&mut self, matchers: &[Matcher], range: TimeRange, deleted: Deleted) {
        let (mut series, mut count) = (BTreeSet::new(), 0);
        for ((labels, kind), samples) in &mut self.samples {
            if all_match(matchers, labels) {
                // Of several samples of a time a block keeps one.
                let in_range = samples.iter().filter(|(time_ms, ..)| range.contains(*time_ms));
                let lost = in_range.map(|(time_ms, step, value)| match kind.has_step() {
                    true => (*time_ms, *step, *value),
                    false => (*time_ms, 0, 0),
                });
                let lost: BTreeSet<_> = lost.collect();
                count += lost.len() as u64;
                samples.retain(|(time_ms, ..)| !range.contains(*time_ms));
                if !lost.is_empty() {
                    series.insert(labels.clone());
                }
            }
        }
        self.samples.retain(|_, samples| !samples.is_empty());
        let mut exemplars = 0;
        for (labels, list) in &mut self.exemplars {
            if all_match(matchers, labels) {
                let before = list.len();
                list.retain(|(time_ms, _)| !range.contains(*time_ms));
                exemplars += (before - list.len()) as u64;
            }
        }
        self.exemplars.retain(|_, list| !list.is_empty());
        assert_eq!(deleted.series, series.len() as u64);
        assert!(deleted.samples >= count, "{} samples deleted, at least {count} were there", deleted.samples);
        assert!(deleted.exemplars >= exemplars);
        assert_eq!(deleted.blocks == 0, deleted.samples + deleted.exemplars == 0);
    }

    fn labels(&self) -> BTreeSet<&Labels> {
        self.samples.keys().map(|(labels, _)| labels).collect()
    }

    /// What a reader must find of one label set and kind.
    fn wanted(&self, labels: &Labels, kind: Kind, range: TimeRange) -> Vec<Sample> {
        let stored = self.samples.get(&(labels.clone(), kind)).into_iter().flatten();
        let inside = stored.filter(|(time_ms, ..)| range.contains(*time_ms)).copied();
        if kind.has_step() {
            return inside.collect();
        }
        let greatest: BTreeMap<i64, Sample> = inside.map(|sample| (sample.0, sample)).collect();
        greatest.into_values().collect()
    }

    /// Compares with everything a snapshot shows.
    pub(crate) fn check(&self, snapshot: &Snapshot) {
        let all = TimeRange::ALL;
        let listed = self.check_samples(snapshot, all);
        assert_eq!(listed, self.labels().into_iter().cloned().collect::<Vec<_>>(), "series");
        for range in [TimeRange::new(0, 9), TimeRange::new(10, 19), TimeRange::new(15, 60)] {
            self.check_samples(snapshot, range);
        }
        let names: BTreeSet<String> =
            self.labels().iter().flat_map(|l| l.iter()).map(|(name, _)| name.into()).collect();
        assert_eq!(snapshot.label_names(&[], all).unwrap(), Vec::from_iter(names), "label names");
        for name in ["__name__", "shard", "group"] {
            let values: BTreeSet<String> =
                self.labels().iter().filter_map(|l| l.get(name)).map(str::to_owned).collect();
            let values = Vec::from_iter(values);
            assert_eq!(snapshot.label_values(name, &[], all).unwrap(), values, "values of {name}");
            let matcher = Matcher { name: "shard".into(), op: tsq_core::MatchOp::NotEqual(String::new()) };
            assert_eq!(snapshot.label_values(name, &[matcher], all).unwrap(), values, "matching values of {name}");
        }
        let exemplars = snapshot.exemplars(&[], all).unwrap().into_iter();
        let exemplars: BTreeMap<_, BTreeSet<_>> = exemplars
            .map(|(labels, list)| (labels, list.iter().map(|e| (e.time_ms, e.value as u64)).collect()))
            .collect();
        assert_eq!(exemplars, self.exemplars, "exemplars");
    }

    /// Compares with the series and samples of a snapshot that was made a while ago: labels without a matcher may come
    /// from series that are newer than it.
    pub(crate) fn check_held(&self, snapshot: &Snapshot) {
        let listed = self.check_samples(snapshot, TimeRange::ALL);
        assert_eq!(listed, self.labels().into_iter().cloned().collect::<Vec<_>>(), "series of a snapshot");
        self.check_samples(snapshot, TimeRange::new(5, 20));
    }

    /// Compares the samples in a range, and returns which label sets were found.
    fn check_samples(&self, snapshot: &Snapshot, range: TimeRange) -> Vec<Labels> {
        let mut stream = snapshot.select(&[], range).unwrap();
        let (mut listed, mut samples) = (Vec::new(), Samples::default());
        loop {
            let batch = stream.next_batch(3).unwrap();
            if batch.is_empty() {
                break;
            }
            for series in batch {
                for kind in Kind::ALL {
                    series.read(kind, range, &mut samples).unwrap();
                    let wanted = self.wanted(series.labels(), kind, range);
                    assert_eq!(found(kind, &samples), wanted, "{} {kind:?} in {range:?}", series.labels());
                }
                listed.push(series.labels().clone());
            }
        }
        let missing = self.labels().into_iter().filter(|labels| !listed.contains(*labels));
        for labels in missing {
            let empty = Kind::ALL.iter().all(|kind| self.wanted(labels, *kind, range).is_empty());
            assert!(empty, "{labels} is not found in {range:?}");
        }
        listed
    }
}

fn found(kind: Kind, samples: &Samples) -> Vec<Sample> {
    let row = |row: usize| {
        let step = if kind.has_step() { samples.steps[row] } else { 0 };
        let value = if kind.is_histogram() { samples.histograms[row].count } else { samples.values[row] - 0.25 };
        (samples.times[row], step, value as u64)
    };
    (0..samples.len()).map(row).collect()
}
