//! The numbers of PromQL: what functions, operators and aggregations compute, without labels and without the tree.
//!
//! A kernel takes slices and returns values. What it wants to say about its input it adds to [`Notes`]; the evaluator
//! turns notes into annotations with a metric name and a position. Semantics are those of Prometheus 3.14.

pub(crate) mod aggregate;
pub(crate) mod binary;
pub(crate) mod calendar;
pub(crate) mod classic;
pub(crate) mod columns;
mod extended;
pub(crate) mod histogram;
pub(crate) mod kahan;
pub(crate) mod math;
mod note;
mod over_time;
mod rate;
mod starts;
mod sweep;
mod trend;
mod window_functions;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tsq_core::Histogram;

pub(crate) use extended::{extended_floats, smoothed_instant};
pub(crate) use note::{HistogramOperation, Note, Notes, Severity};
pub(crate) use sweep::{Frame, Sweep};
pub(crate) use trend::check_smoothing_factors;
pub(crate) use window_functions::{WINDOW_FUNCTIONS, WindowFunction};

/// The samples of one series in the range `(start_ms, end_ms]`, staleness markers removed, times ascending.
///
/// For `anchored` and `smoothed` ranges the slices also hold the samples up to one lookback before the range and, for
/// `smoothed`, up to one lookback after it; the kernels of extended ranges take what they need of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// Times of `values`, milliseconds since 1970.
    pub times: &'a [i64],
    /// Float samples.
    pub values: &'a [f64],
    /// Times of `histograms`, milliseconds since 1970.
    pub histogram_times: &'a [i64],
    /// Histogram samples.
    pub histograms: &'a [Arc<Histogram>],
    /// Start times of `values`, milliseconds since 1970, 0 for unknown; empty when none is known.
    pub starts: &'a [i64],
    /// Start times of `histograms`, as `starts`.
    pub histogram_starts: &'a [i64],
    /// Start of the range (outside of it).
    pub start_ms: i64,
    /// End of the range (inside of it).
    pub end_ms: i64,
    /// Evaluation time: later than the end by the offset, and the end itself without one.
    pub time_ms: i64,
}

impl Window<'_> {
    /// Length of the range in seconds.
    pub(crate) fn range_s(&self) -> f64 {
        self.end_ms.saturating_sub(self.start_ms) as f64 / 1000.0
    }

    /// Whether it holds both floats and histograms.
    pub(crate) fn is_mixed(&self) -> bool {
        !self.values.is_empty() && !self.histograms.is_empty()
    }
}

/// What a kernel makes of one window or one pair of samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Out {
    /// No sample.
    #[default]
    None,
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Box<Histogram>),
}

/// A function over a range: `args` are its scalar arguments in the order they are written, the range left out.
pub(crate) type WindowKernel = fn(&Window<'_>, args: &[f64], &mut Notes) -> Out;
