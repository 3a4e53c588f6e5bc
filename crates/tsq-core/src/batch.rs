//! One write request: series, their samples in columns, exemplars and metadata. Reusable, so that a steady writer
//! allocates nothing.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::error::Result;
use crate::histogram::Histogram;
use crate::labels::{Labels, LabelsBuilder};
use crate::sample::Kind;

/// Turns the label bytes of a wire format into labels. Called only for series the engine has not seen in that form.
pub trait LabelSource {
    /// Pushes the labels that `bytes` stand for, in any order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when they are no label set; the series'
    /// samples are then refused, the rest of the batch is not.
    fn labels(&self, bytes: &[u8], out: &mut LabelsBuilder) -> Result<()>;
}

/// The label bytes of [`Batch::series`]: canonical ones.
#[derive(Clone, Copy, Debug)]
pub struct CanonicalLabels;

impl LabelSource for CanonicalLabels {
    fn labels(&self, bytes: &[u8], out: &mut LabelsBuilder) -> Result<()> {
        for (name, value) in Labels::from_canonical(bytes)?.iter() {
            out.push(name, value);
        }
        Ok(())
    }
}

/// A known series of one open database: appending through it needs no labels. See [`Db::series`](crate::Db::series).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesHandle {
    pub(crate) key: u128,
    pub(crate) labels: Labels,
    pub(crate) kind: Kind,
}

impl SeriesHandle {
    /// The labels of the series.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The kind of the series.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// An exemplar: a trace or request that stands for one observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Labels of the exemplar itself, such as `trace_id`.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
}

/// What is known about a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Metric family name.
    pub metric: String,
    /// `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset` or `unknown`.
    pub metric_type: String,
    /// Unit, may be empty.
    pub unit: String,
    /// Help text, may be empty.
    pub help: String,
}

/// One series of a batch and how many of the batch's samples belong to it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Seeded hash under which the series is looked up.
    pub key: u128,
    /// Where its label bytes lie in [`Batch::label_bytes`].
    pub labels: Range<usize>,
    pub kind: Kind,
    /// Number of samples.
    pub samples: usize,
}

/// A write request. Series come one after another, each followed by its samples:
///
/// ```
/// # use tsq_core::{Batch, Kind, Labels};
/// let mut batch = Batch::default();
/// batch.series(Kind::Float, &Labels::from_pairs([("__name__", "up"), ("job", "api")])?);
/// batch.float(1_700_000_000_000, 1.0);
/// batch.float(1_700_000_015_000, 1.0);
/// # Ok::<(), tsq_core::Error>(())
/// ```
///
/// A batch is atomic: it becomes visible and durable as a whole. See [`Db::append`](crate::Db::append).
#[derive(Clone, Debug, Default)]
pub struct Batch {
    seed: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) label_bytes: Vec<u8>,
    /// One a sample, over all entries in order.
    pub(crate) times: Vec<i64>,
    /// One a sample of the run kinds.
    pub(crate) steps: Vec<i64>,
    /// One a sample of the float kinds.
    pub(crate) values: Vec<f64>,
    /// One a sample of the histogram kinds.
    pub(crate) histograms: Vec<Histogram>,
    /// Start times of the first samples; those beyond have none.
    pub(crate) starts: Vec<i64>,
    /// Exemplars with the index of the entry they belong to.
    pub(crate) exemplars: Vec<(usize, Exemplar)>,
    pub(crate) metadata: Vec<Metadata>,
}

impl Batch {
    /// An empty batch whose series are hashed with a database's seed; [`Db::batch`](crate::Db::batch) makes one.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Drops the content, keeping the allocations.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.label_bytes.clear();
        self.times.clear();
        self.steps.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
        self.exemplars.clear();
        self.metadata.clear();
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Number of series.
    pub fn series_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.metadata.is_empty()
    }

    /// The hash under which label bytes are looked up. Formats whose label bytes are not stable between requests
    /// hash something that is, and pass it to [`Batch::series_keyed`].
    pub fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, self.seed)
    }

    /// Starts a series.
    pub fn series(&mut self, kind: Kind, labels: &Labels) {
        let key = self.hash(labels.as_bytes());
        self.series_keyed(kind, key, labels.as_bytes());
    }

    /// Starts a series that the engine gave a handle for.
    pub fn series_handle(&mut self, handle: &SeriesHandle) {
        self.series_keyed(handle.kind, handle.key, handle.labels.as_bytes());
    }

    /// Starts a series whose label bytes a [`LabelSource`] can read. Equal keys must mean equal label sets.
    pub fn series_keyed(&mut self, kind: Kind, key: u128, label_bytes: &[u8]) {
        let start = self.label_bytes.len();
        self.label_bytes.extend_from_slice(label_bytes);
        self.entries.push(Entry { key, labels: start..self.label_bytes.len(), kind, samples: 0 });
    }

    fn count_sample(&mut self, time_ms: i64, kind: Kind) {
        let entry = self.entries.last_mut().expect("a series was started before its samples");
        assert_eq!(entry.kind, kind, "a sample goes into a series of its kind");
        entry.samples += 1;
        self.times.push(time_ms);
    }

    /// Adds a sample to the last series, which is of kind `Float`.
    pub fn float(&mut self, time_ms: i64, value: f64) {
        self.count_sample(time_ms, Kind::Float);
        self.values.push(value);
    }

    /// Adds a sample to the last series, which is of kind `Histogram`.
    pub fn histogram(&mut self, time_ms: i64, histogram: Histogram) {
        self.count_sample(time_ms, Kind::Histogram);
        self.histograms.push(histogram);
    }

    /// Adds a sample to the last series, which is of kind `Run`.
    pub fn run(&mut self, time_ms: i64, step: i64, value: f64) {
        self.count_sample(time_ms, Kind::Run);
        self.steps.push(step);
        self.values.push(value);
    }

    /// Adds a sample to the last series, which is of kind `RunHistogram`.
    pub fn run_histogram(&mut self, time_ms: i64, step: i64, histogram: Histogram) {
        self.count_sample(time_ms, Kind::RunHistogram);
        self.steps.push(step);
        self.histograms.push(histogram);
    }

    /// Gives the last sample its start time in milliseconds since 1970: since when a counter or histogram has counted.
    /// 0, as a sample without this call, means that it is unknown. A batch without start times pays nothing for them.
    pub fn start(&mut self, start_ms: i64) {
        let last = self.times.len().checked_sub(1).expect("a sample was added before its start time");
        if start_ms != 0 || last < self.starts.len() {
            self.starts.resize(last, 0);
            self.starts.push(start_ms);
        }
    }

    /// Adds an exemplar to the last series.
    pub fn exemplar(&mut self, exemplar: Exemplar) {
        let entry = self.entries.len().checked_sub(1).expect("a series was started before its exemplars");
        self.exemplars.push((entry, exemplar));
    }

    /// Adds what is known about a metric.
    pub fn metadata(&mut self, metadata: Metadata) {
        self.metadata.push(metadata);
    }
}

/// Why a sample was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RejectReason {
    /// Empty or duplicate label name, no metric name, invalid UTF-8.
    InvalidLabels,
    /// Too many labels, or a name or value that is too long.
    LabelLimit,
    /// Further in the future than the limit allows.
    TooFarInFuture,
    /// Another value is stored for the newest time of the series.
    DuplicateTime,
    /// The head holds as many series as it may.
    SeriesLimit,
    /// Spans and counts do not fit, schema unknown, bounds unsorted, too many buckets.
    InvalidHistogram,
    /// Older than the retention.
    TooOld,
    /// A data point that says too little or contradicts itself.
    InvalidPoint,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::InvalidLabels,
        Self::LabelLimit,
        Self::TooFarInFuture,
        Self::DuplicateTime,
        Self::SeriesLimit,
        Self::InvalidHistogram,
        Self::TooOld,
        Self::InvalidPoint,
    ];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidLabels => "invalid_labels",
            Self::LabelLimit => "label_limit",
            Self::TooFarInFuture => "too_far_in_future",
            Self::DuplicateTime => "duplicate_time",
            Self::SeriesLimit => "series_limit",
            Self::InvalidHistogram => "invalid_histogram",
            Self::TooOld => "too_old",
            Self::InvalidPoint => "invalid_point",
        }
    }
}

/// A refusal, for the answer to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: RejectReason,
    /// What and where: the series, the label or time, found and allowed.
    pub message: String,
    /// How many samples it concerns.
    pub samples: u64,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Float samples stored, exact repetitions among them.
    pub floats: u64,
    /// Histogram samples stored, exact repetitions among them.
    pub histograms: u64,
    /// Exemplars stored.
    pub exemplars: u64,
    /// Samples refused.
    pub rejected: u64,
    /// The first refusals, at most [`Appended::MAX_REJECTIONS`].
    pub rejections: Vec<Rejection>,
    /// The places in the batch, counted from 0, of the series of which samples were refused. In no order, and several
    /// times where several samples were.
    pub rejected_series: Vec<usize>,
}

impl Appended {
    /// How many refusals are described.
    pub const MAX_REJECTIONS: usize = 16;
}
