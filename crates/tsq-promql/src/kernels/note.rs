//! What kernels have to say about their input: the annotations of Prometheus, without metric name and position.

use crate::format::format_time_s;
use crate::go_text::{quote, scientific, shortest};

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The result is missing something or is wrong.
    Warning,
    /// The result is what it should be, but the query may not mean what its author thinks.
    Info,
}

/// What was done to two histograms when a note came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramOperation {
    /// `+`
    Addition,
    /// `-`
    Subtraction,
    /// `sum`, `avg` and their `_over_time` forms.
    Aggregation,
}

impl HistogramOperation {
    fn name(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// One remark about the input of a kernel.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// The parameter of `limit_ratio` is outside [-1, 1].
    InvalidRatio { got: f64, used: f64 },
    /// A quantile is outside [0, 1].
    InvalidQuantile(f64),
    /// The `le` label of a classic bucket, as it is written, is no number.
    BadBucketLabel(String),
    /// A series holds floats and histograms where only one kind can be used.
    MixedFloatsHistograms,
    /// An aggregation met floats and histograms in one group.
    MixedFloatsHistogramsAggregation,
    /// One set of labels has classic buckets and native histograms.
    MixedClassicNative,
    /// A gauge histogram was used as a counter.
    NativeHistogramNotCounter,
    /// A counter histogram was used as a gauge.
    NativeHistogramNotGauge,
    /// Exponential and custom buckets cannot be combined.
    MixedExponentialCustom,
    /// The operator cannot combine exponential and custom buckets.
    IncompatibleBucketLayout(&'static str),
    /// `sort` does nothing in a range query.
    SortInRangeQuery,
    /// The name of a metric that is used as a counter does not look like one.
    NotCounter,
    /// The `__type__` of a metric that is used as a counter says something else.
    NotCounterLabel(String),
    /// The metadata of a metric that is used as a counter says that it is a gauge.
    GaugeByMetadata,
    /// The named aggregation gets a metric that is a counter by its metadata, as it is.
    CounterAggregated(&'static str),
    /// The named operator gets a metric that is a counter by its metadata, as it is.
    CounterComputed(&'static str),
    /// Classic buckets were not monotonic.
    ForcedMonotonicity(ForcedMonotonicity),
    /// An operator has no meaning for these kinds of samples ("float" or "histogram").
    IncompatibleTypes { left: &'static str, operator: &'static str, right: &'static str },
    /// The named aggregation leaves out histograms.
    HistogramIgnoredInAggregation(&'static str),
    /// A function of floats left out the histograms of a mixed range.
    HistogramIgnoredInMixedRange,
    /// The quantile lies among the NaN observations.
    QuantileNanResult,
    /// NaN observations shift the quantile upwards.
    QuantileNanSkewed,
    /// NaN observations belong to no fraction.
    FractionNans,
    /// A sample started before the one before it, and not where that did.
    StartOverlap,
    /// Some histograms say "reset", others "no reset".
    CounterResetCollision(HistogramOperation),
    /// Custom bounds differed and the common ones were used.
    MismatchedCustomBuckets(HistogramOperation),
}

/// Where and by how much classic buckets were not monotonic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForcedMonotonicity {
    /// Upper bound of the first bucket that was changed.
    pub bucket_min: f64,
    /// Upper bound of the last bucket that was changed.
    pub bucket_max: f64,
    /// Largest change of a count.
    pub diff_max: f64,
    /// First time it happened, milliseconds since 1970.
    pub time_min_ms: i64,
    /// Last time it happened, milliseconds since 1970.
    pub time_max_ms: i64,
    /// How many times.
    pub samples: u64,
}

impl ForcedMonotonicity {
    fn merge(&mut self, other: &Self) {
        self.bucket_min = self.bucket_min.min(other.bucket_min);
        self.bucket_max = self.bucket_max.max(other.bucket_max);
        self.diff_max = self.diff_max.max(other.diff_max);
        self.time_min_ms = self.time_min_ms.min(other.time_min_ms);
        self.time_max_ms = self.time_max_ms.max(other.time_max_ms);
        self.samples += other.samples;
    }

    fn details(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            shortest(self.bucket_min),
            shortest(self.bucket_max),
            two_digits(self.diff_max),
            self.samples,
            format_time_s(self.time_min_ms.div_euclid(1000)),
            format_time_s(self.time_max_ms.div_euclid(1000)),
        )
    }
}

impl Note {
    /// Whether it is a warning or an info.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::InvalidRatio { .. }
            | Self::InvalidQuantile(_)
            | Self::BadBucketLabel(_)
            | Self::MixedFloatsHistograms
            | Self::MixedFloatsHistogramsAggregation
            | Self::MixedClassicNative
            | Self::NativeHistogramNotCounter
            | Self::NativeHistogramNotGauge
            | Self::MixedExponentialCustom
            | Self::IncompatibleBucketLayout(_)
            | Self::SortInRangeQuery
            | Self::StartOverlap
            | Self::CounterResetCollision(_) => Severity::Warning,
            Self::NotCounter
            | Self::NotCounterLabel(_)
            | Self::GaugeByMetadata
            | Self::CounterAggregated(_)
            | Self::CounterComputed(_)
            | Self::ForcedMonotonicity(_)
            | Self::IncompatibleTypes { .. }
            | Self::HistogramIgnoredInAggregation(_)
            | Self::HistogramIgnoredInMixedRange
            | Self::QuantileNanResult
            | Self::QuantileNanSkewed
            | Self::FractionNans
            | Self::MismatchedCustomBuckets(_) => Severity::Info,
        }
    }

    /// The whole text as clients know it, "PromQL warning: " or "PromQL info: " in front; the position is to follow in
    /// parentheses. An empty metric name is left out where Prometheus leaves it out.
    pub(crate) fn text(&self, metric: &str) -> String {
        match self {
            Self::ForcedMonotonicity(what) => self.gist(metric) + &what.details(),
            _ => self.gist(metric),
        }
    }

    /// The text but for the numbers that add up when it is said several times.
    pub(crate) fn gist(&self, metric: &str) -> String {
        let severity = match self.severity() {
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        format!("PromQL {severity}: {}", self.body(metric))
    }

    /// Takes in another note that says the same; `false` if it says something else.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::ForcedMonotonicity(a), Self::ForcedMonotonicity(b)) => {
                a.merge(b);
                true
            }
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b) && a.body("") == b.body(""),
        }
    }

    fn body(&self, metric: &str) -> String {
        let metric_quoted = quote(metric);
        let for_metric = if metric.is_empty() { String::new() } else { format!(" for metric name {metric_quoted}") };
        match self {
            Self::InvalidRatio { got, used } => format!(
                "ratio value should be between -1 and 1, got {}, capping to {}",
                shortest(*got),
                shortest(*used)
            ),
            Self::InvalidQuantile(phi) => {
                format!("quantile value should be between 0 and 1, got {}", shortest(*phi))
            }
            Self::BadBucketLabel(text) => {
                format!("bucket label \"le\" is missing or has a malformed value of {}{for_metric}", quote(text))
            }
            Self::MixedFloatsHistograms => {
                format!("encountered a mix of histograms and floats for metric name {metric_quoted}")
            }
            Self::MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            Self::MixedClassicNative => format!("vector contains a mix of classic and native histograms{for_metric}"),
            Self::StartOverlap => {
                format!("sample has start time that overlaps with previous sample timestamp for metric {metric_quoted}")
            }
            Self::NativeHistogramNotCounter => {
                format!("this native histogram metric is not a counter: {metric_quoted}")
            }
            Self::NativeHistogramNotGauge => format!("this native histogram metric is not a gauge: {metric_quoted}"),
            Self::MixedExponentialCustom => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric_quoted}"
            ),
            Self::IncompatibleBucketLayout(operator) => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels".to_owned()
            }
            Self::NotCounter => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric_quoted}"
            ),
            Self::NotCounterLabel(kind) => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", \
                 got {}: {metric_quoted}",
                quote(kind)
            ),
            Self::GaugeByMetadata => format!(
                "metric might not be a counter, metadata type is not \"counter\" or \"histogram\", got \"gauge\": \
                 {metric_quoted}"
            ),
            Self::CounterAggregated(by) => format!(
                "metric is a counter, its total is aggregated by {} without rate or increase, metadata type is \
                 \"counter\": {metric_quoted}",
                quote(by)
            ),
            Self::CounterComputed(by) => format!(
                "metric is a counter, its total is an operand of {} without rate or increase, metadata type is \
                 \"counter\": {metric_quoted}",
                quote(by)
            ),
            Self::ForcedMonotonicity(_) => format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){for_metric}"
            ),
            Self::IncompatibleTypes { left, operator, right } => format!(
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            Self::HistogramIgnoredInAggregation(name) => format!("ignored histogram in {name} aggregation"),
            Self::HistogramIgnoredInMixedRange => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric_quoted}"
            ),
            Self::QuantileNanResult => {
                format!("input to histogram_quantile has NaN observations, result is NaN{for_metric}")
            }
            Self::QuantileNanSkewed => {
                format!("input to histogram_quantile has NaN observations, result is skewed higher{for_metric}")
            }
            Self::FractionNans => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{for_metric}"
            ),
            Self::CounterResetCollision(operation) => {
                format!("conflicting counter resets during histogram {}", operation.name())
            }
            Self::MismatchedCustomBuckets(operation) => {
                format!("mismatched custom buckets were reconciled during {}", operation.name())
            }
        }
    }
}

/// A set of notes. Most kernels add none: an empty set allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    /// Adds a note unless one says the same.
    pub(crate) fn add(&mut self, note: Note) {
        if !self.0.iter_mut().any(|known| known.absorb(&note)) {
            self.0.push(note);
        }
    }

    /// Takes the note that was added last out, leaving none.
    pub(crate) fn take_last(&mut self) -> Option<Note> {
        self.0.drain(..).next_back()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The notes in the order they came up.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Note> {
        self.0.iter()
    }

    /// Takes the notes out, leaving none.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Note> {
        self.0.drain(..)
    }
}

/// Two significant digits, with an exponent below 1e-4 and from 100 (`%.2g`).
fn two_digits(value: f64) -> String {
    let rounded = format!("{value:.1e}").parse().unwrap_or(value);
    if rounded.is_finite() && rounded.abs() >= 100.0 { scientific(rounded) } else { shortest(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forced(bucket: f64, diff_max: f64, time_s: i64) -> Note {
        Note::ForcedMonotonicity(ForcedMonotonicity {
            bucket_min: bucket,
            bucket_max: bucket,
            diff_max,
            time_min_ms: time_s * 1000,
            time_max_ms: time_s * 1000,
            samples: 1,
        })
    }

    #[test]
    fn texts_name_the_metric_where_there_is_one() {
        assert_eq!(
            Note::QuantileNanResult.text("m"),
            "PromQL info: input to histogram_quantile has NaN observations, result is NaN for metric name \"m\""
        );
        assert_eq!(
            Note::BadBucketLabel("x\"".to_owned()).text(""),
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\\\"\""
        );
        assert_eq!(
            Note::InvalidRatio { got: -1.1, used: -1.0 }.text("m"),
            "PromQL warning: ratio value should be between -1 and 1, got -1.1, capping to -1"
        );
        assert_eq!(
            Note::NotCounterLabel("gauge".to_owned()).text("m"),
            "PromQL info: metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", \
             got \"gauge\": \"m\""
        );
    }

    #[test]
    fn notes_that_say_the_same_are_kept_once() {
        let mut notes = Notes::default();
        assert!(notes.is_empty());
        for _ in 0..3 {
            notes.add(Note::InvalidQuantile(f64::NAN));
            notes.add(Note::InvalidQuantile(2.0));
            notes.add(Note::NotCounter);
        }
        assert_eq!(notes.iter().count(), 3);
        assert_eq!(notes.drain().count(), 3);
        assert!(notes.is_empty());
    }

    #[test]
    fn repairs_of_buckets_add_up() {
        let mut notes = Notes::default();
        notes.add(forced(2.0, 1.0, 60));
        notes.add(forced(0.5, 123.0, 0));
        let texts: Vec<String> = notes.iter().map(|note| note.text("")).collect();
        assert_eq!(texts.len(), 1);
        assert!(
            texts[0].ends_with(
                ", from buckets 0.5 to 2, with a max diff of 1.2e+02, over 2 samples from 1970-01-01T00:00:00Z \
                 to 1970-01-01T00:01:00Z"
            ),
            "{}",
            texts[0]
        );
    }
}
