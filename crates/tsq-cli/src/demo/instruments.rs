//! What an instrumented program holds in memory: gauges, counters and histograms, written out a round at a time.

use std::collections::{BTreeMap, BTreeSet};

use tsq::{Batch, Db, Histogram, Kind, Labels, METRIC_NAME, Metadata, SeriesHandle, Span};

use crate::failure::Result;

/// All instruments of the demo.
#[derive(Debug)]
pub(super) struct Instruments {
    db: Db,
    floats: Vec<(SeriesHandle, Option<f64>)>,
    /// Places of `floats` whose series has ended.
    free: Vec<usize>,
    natives: Vec<(SeriesHandle, Native)>,
    described: BTreeSet<&'static str>,
    /// Written once, with the next round.
    metadata: Vec<Metadata>,
}

/// A gauge or counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Float(usize);

/// A histogram with fixed bounds: one counter per bucket, and count and sum.
#[derive(Clone, Debug)]
pub(super) struct Classic {
    bounds: &'static [f64],
    buckets: Vec<Float>,
    count: Float,
    sum: Float,
}

/// A histogram with exponential buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct NativeRef(usize);

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub name: &'static str,
    pub metric_type: &'static str,
    pub unit: &'static str,
    pub help: &'static str,
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

impl Instruments {
    pub(super) fn new(db: &Db) -> Self {
        Self {
            db: db.clone(),
            floats: Vec::new(),
            free: Vec::new(),
            natives: Vec::new(),
            described: BTreeSet::new(),
            metadata: Vec::new(),
        }
    }

    /// Number of series.
    pub(super) fn count(&self) -> usize {
        self.floats.len() - self.free.len() + self.natives.len()
    }

    fn describe(&mut self, metric: &Metric) {
        if !self.described.insert(metric.name) {
            return;
        }
        self.metadata.push(Metadata {
            metric: metric.name.into(),
            metric_type: metric.metric_type.into(),
            unit: metric.unit.into(),
            help: metric.help.into(),
        });
    }

    fn handle(&self, kind: Kind, name: &str, labels: Pairs<'_>) -> Result<SeriesHandle> {
        let pairs = labels.iter().copied().chain([(METRIC_NAME, name)]);
        Ok(self.db.series(kind, &Labels::from_pairs(pairs)?)?)
    }

    fn float(&mut self, name: &str, labels: Pairs<'_>, first: Option<f64>) -> Result<Float> {
        let handle = self.handle(Kind::Float, name, labels)?;
        if let Some(place) = self.free.pop() {
            self.floats[place] = (handle, first);
            return Ok(Float(place));
        }
        self.floats.push((handle, first));
        Ok(Float(self.floats.len() - 1))
    }

    /// A gauge without a value yet.
    pub(super) fn gauge(&mut self, metric: &Metric, labels: Pairs<'_>) -> Result<Float> {
        self.describe(metric);
        self.float(metric.name, labels, None)
    }

    /// A counter at zero.
    pub(super) fn counter(&mut self, metric: &Metric, labels: Pairs<'_>) -> Result<Float> {
        self.describe(metric);
        self.float(metric.name, labels, Some(0.0))
    }

    /// An empty histogram with these upper bounds.
    pub(super) fn classic(&mut self, metric: &Metric, bounds: &'static [f64], labels: Pairs<'_>) -> Result<Classic> {
        self.describe(metric);
        let name = format!("{}_bucket", metric.name);
        let mut buckets = Vec::with_capacity(bounds.len() + 1);
        for bound in bounds.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]) {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            buckets.push(self.float(&name, &labels, Some(0.0))?);
        }
        let count = self.float(&format!("{}_count", metric.name), labels, Some(0.0))?;
        let sum = self.float(&format!("{}_sum", metric.name), labels, Some(0.0))?;
        Ok(Classic { bounds, buckets, count, sum })
    }

    /// An empty histogram with buckets that grow by 9 %.
    pub(super) fn native(&mut self, metric: &Metric, labels: Pairs<'_>) -> Result<NativeRef> {
        self.describe(metric);
        self.natives.push((self.handle(Kind::Histogram, metric.name, labels)?, Native::default()));
        Ok(NativeRef(self.natives.len() - 1))
    }

    pub(super) fn set(&mut self, gauge: Float, value: f64) {
        self.floats[gauge.0].1 = Some(value);
    }

    pub(super) fn add(&mut self, counter: Float, more: f64) {
        *self.floats[counter.0].1.get_or_insert(0.0) += more;
    }

    pub(super) fn observe(&mut self, histogram: &Classic, value: f64) {
        let from = histogram.bounds.partition_point(|bound| *bound < value);
        for bucket in &histogram.buckets[from..] {
            self.add(*bucket, 1.0);
        }
        self.add(histogram.count, 1.0);
        self.add(histogram.sum, value);
    }

    pub(super) fn observe_native(&mut self, histogram: NativeRef, value: f64) {
        self.natives[histogram.0].1.observe(value);
    }

    /// The instrument is gone: its series ends with a staleness marker in the next round.
    pub(super) fn end(&mut self, gauge: Float) {
        self.floats[gauge.0].1 = Some(tsq::stale_nan());
    }

    /// Adds the values as of `time_ms` to a batch.
    pub(super) fn write(&mut self, time_ms: i64, batch: &mut Batch) {
        for (place, (handle, value)) in self.floats.iter_mut().enumerate() {
            if let Some(shown) = *value {
                batch.series_handle(handle);
                batch.float(time_ms, shown);
                if tsq::is_stale(shown) {
                    *value = None;
                    self.free.push(place);
                }
            }
        }
        for (handle, native) in &self.natives {
            batch.series_handle(handle);
            batch.histogram(time_ms, native.histogram());
        }
        for metadata in self.metadata.drain(..) {
            batch.metadata(metadata);
        }
    }
}

/// Buckets per doubling: 2^3.
const SCHEMA: i8 = 3;

#[derive(Debug, Default)]
struct Native {
    buckets: BTreeMap<i32, f64>,
    zero_count: f64,
    count: f64,
    sum: f64,
}

impl Native {
    fn observe(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        if value > 1e-9 {
            let bucket = (value.log2() * f64::from(SCHEMA).exp2()).ceil() as i32;
            *self.buckets.entry(bucket).or_default() += 1.0;
        } else {
            self.zero_count += 1.0;
        }
    }

    fn histogram(&self) -> Histogram {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for &bucket in self.buckets.keys() {
            match spans.last_mut() {
                Some(span) if bucket == next => span.length += 1,
                _ => spans.push(Span { offset: bucket - next, length: 1 }),
            }
            next = bucket + 1;
        }
        Histogram {
            schema: SCHEMA,
            integer: true,
            zero_threshold: 1e-9,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans: spans,
            positive: self.buckets.values().copied().collect(),
            ..Histogram::default()
        }
    }
}
