//! What readers see: matchers, and a source of series that match.

use std::fmt;
use std::sync::Arc;

use crate::batch::{Exemplar, Metadata};
use crate::error::Result;
use crate::labels::Labels;
use crate::sample::TimeRange;
use crate::series::Series;

/// A compiled, fully anchored pattern over label values. Implemented outside of the engine.
pub trait Pattern: fmt::Debug + Send + Sync {
    /// Whether the whole value matches.
    fn is_match(&self, value: &str) -> bool;
    /// The finite set of values it can match, if there is one and it is small.
    fn literals(&self) -> Option<&[String]>;
    /// A literal that every match starts with; may be empty.
    fn prefix(&self) -> &str;
    /// The pattern as it was written.
    fn source(&self) -> &str;
}

/// How a matcher compares.
#[derive(Clone, Debug)]
pub enum MatchOp {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`
    Match(Arc<dyn Pattern>),
    /// `!~`
    NotMatch(Arc<dyn Pattern>),
}

/// A condition on one label. A label that is absent has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// Comparison.
    pub op: MatchOp,
}

impl Matcher {
    /// `name = value`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal(value.into()) }
    }

    /// Whether a label value passes.
    pub fn matches(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal(want) => value == want,
            MatchOp::NotEqual(want) => value != want,
            MatchOp::Match(pattern) => pattern.is_match(value),
            MatchOp::NotMatch(pattern) => !pattern.is_match(value),
        }
    }

    /// Whether a series without the label passes.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl fmt::Display for Matcher {
    /// As it is written in a selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.op {
            MatchOp::Equal(value) => ("=", value.as_str()),
            MatchOp::NotEqual(value) => ("!=", value.as_str()),
            MatchOp::Match(pattern) => ("=~", pattern.source()),
            MatchOp::NotMatch(pattern) => ("!~", pattern.source()),
        };
        write!(f, "{}{operator}{value:?}", self.name)
    }
}

/// Whether a label set passes all matchers.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")))
}

/// How far back an instant looks for the newest sample of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// As far as the query's lookback.
    #[default]
    Lookback,
    /// However far; after the last sample of a series there is nothing.
    UntilLast,
    /// However far.
    Forever,
}

/// Series and their samples at one moment: a snapshot of a database, or several merged.
pub trait Source: Send + Sync {
    /// Series that pass all matchers and may have samples in `range`, in label order. No matcher means all series.
    ///
    /// Cost follows the series that match, not those that are stored.
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Box<dyn SeriesStream + '_>>;

    /// How far back instants look in the series that pass all matchers.
    fn reach(&self, _matchers: &[Matcher]) -> Reach {
        Reach::Lookback
    }

    /// Sorted names of the labels that such series have.
    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>>;

    /// Sorted values that such series have for one label.
    fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>>;

    /// What is known about metrics, sorted by name.
    fn metadata(&self) -> Result<Vec<Metadata>>;

    /// What is known about one metric.
    fn metadata_of(&self, metric: &str) -> Result<Option<Metadata>> {
        Ok(self.metadata()?.into_iter().find(|known| known.metric == metric))
    }

    /// Exemplars in `range` of series that pass all matchers, in label order, each list by time.
    fn exemplars(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>>;
}

/// Series in label order, a few at a time, so that a query over millions of them needs little memory.
pub trait SeriesStream: Send {
    /// At most `max` further series; none at the end.
    fn next_batch(&mut self, max: usize) -> Result<Vec<Series>>;
}
