//! Samples: what a series holds, in columns.

use crate::histogram::Histogram;

/// Bits of the NaN that marks a series as ended (Prometheus's staleness marker).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Bits of an ordinary NaN as Prometheus writes it.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The staleness marker as a float. Only its bits tell it from other NaNs: compare with [`is_stale`].
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the staleness marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// What a series holds. Kinds are separate namespaces of one label set; a chunk has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// One float a time.
    Float = 0,
    /// One native histogram a time.
    Histogram = 1,
    /// A float with a training step; several a time.
    Run = 2,
    /// A native histogram with a training step; several a time.
    RunHistogram = 3,
}

impl Kind {
    /// All kinds, in order of their numbers.
    pub const ALL: [Self; 4] = [Self::Float, Self::Histogram, Self::Run, Self::RunHistogram];

    /// The kind with this number on disk.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether samples carry a step beside their time.
    pub fn has_step(self) -> bool {
        matches!(self, Self::Run | Self::RunHistogram)
    }

    /// Whether samples are native histograms.
    pub fn is_histogram(self) -> bool {
        matches!(self, Self::Histogram | Self::RunHistogram)
    }

    /// Name in messages and exports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Histogram => "histogram",
            Self::Run => "run",
            Self::RunHistogram => "run_histogram",
        }
    }
}

/// An inclusive range of times in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First time inside.
    pub min_ms: i64,
    /// Last time inside.
    pub max_ms: i64,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self { min_ms: i64::MIN, max_ms: i64::MAX };

    /// The range from `min_ms` to `max_ms`, both inside.
    pub fn new(min_ms: i64, max_ms: i64) -> Self {
        Self { min_ms, max_ms }
    }

    /// Whether a time lies inside.
    pub fn contains(&self, time_ms: i64) -> bool {
        self.min_ms <= time_ms && time_ms <= self.max_ms
    }

    /// Whether two ranges share a time.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min_ms <= other.max_ms && other.min_ms <= self.max_ms
    }
}

/// Samples of one series and one kind, in columns of equal length, ordered by the merge rule:
/// by time for `Float` and `Histogram` (one a time), by (time, step, value) for the run kinds.
///
/// `steps` is empty for kinds without a step; of `values` and `histograms` the one that the kind does not use is empty.
/// `starts` is empty when no sample has a start time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds since 1970.
    pub times: Vec<i64>,
    /// Training steps, for the run kinds.
    pub steps: Vec<i64>,
    /// Float values.
    pub values: Vec<f64>,
    /// Native histograms.
    pub histograms: Vec<Histogram>,
    /// Start times in milliseconds since 1970: since when a counter or histogram has counted up to the sample. 0: unknown.
    pub starts: Vec<i64>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Start time of a sample, 0 when it is unknown.
    pub fn start(&self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or(0)
    }

    /// Gives the sample that was added last its start time.
    pub(crate) fn push_start(&mut self, start_ms: i64) {
        push_start(&mut self.starts, self.times.len(), start_ms);
    }

    /// Completes the start times after samples without were appended: from the first known one on, every sample has one.
    pub(crate) fn pad_starts(&mut self) {
        if !self.starts.is_empty() {
            self.starts.resize(self.times.len(), 0);
        }
    }

    /// Appends start times, none or one for each of the samples that were appended last, beside `before` earlier ones.
    pub(crate) fn append_starts(&mut self, before: usize, starts: &[i64]) {
        if !starts.is_empty() {
            self.starts.resize(before, 0);
            self.starts.extend_from_slice(starts);
        }
        self.pad_starts();
    }

    /// Drops all samples, keeping the allocations.
    pub fn clear(&mut self) {
        self.times.clear();
        self.steps.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    /// Bytes on the heap.
    pub(crate) fn memory(&self) -> usize {
        let numbers = self.times.capacity() + self.steps.capacity() + self.starts.capacity() + self.values.capacity();
        let histograms = self.histograms.capacity() * size_of::<Histogram>();
        numbers * 8 + histograms + self.histograms.iter().map(Histogram::memory).sum::<usize>()
    }
}

/// Gives the last of `len` samples its start time. The column stays empty up to the first known one.
pub(crate) fn push_start(starts: &mut Vec<i64>, len: usize, start_ms: i64) {
    if start_ms != 0 || !starts.is_empty() {
        starts.resize(len - 1, 0);
        starts.push(start_ms);
    }
}
