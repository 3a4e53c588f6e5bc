//! PromQL over runs: a snapshot whose series of runs carry the names of the catalog and lie on the axis that is asked for.
//!
//! `run_name` and `experiment` can change, so they are not stored: they are joined when series are selected. Series of
//! runs are those whose `run_id` the catalog knows and that have neither of these labels themselves. A selection is one
//! stream for each experiment, in which the stored order is the order of the joined labels too, merged with the streams
//! of all other series.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use tsq_core::{
    Axis, Error, ErrorKind, Exemplar, Kind, Labels, METRIC_NAME, MatchOp, Matcher, Metadata, Pattern, Reach, Result,
    Samples, Series, SeriesStream, Snapshot, Source, TimeRange, all_match,
};

use crate::catalog::{Catalog, Run, RunNames};

/// The name of the matcher that asks for an axis.
pub const AXIS_LABEL: &str = "__axis__";

const RUN_ID: &str = "run_id";
const RUN_NAME: &str = "run_name";
const EXPERIMENT: &str = "experiment";
const RUN_INFO: &str = "run_info";

/// Series fetched at once from one of several streams.
const FETCH: usize = 16;

/// Runs that `run_info` may tell of at once.
const INFO_MAX: usize = 50_000;

/// Samples of `run_info` over the range of a query.
const INFO_SAMPLES: i64 = 1_000_000;

/// Bytes of a label's value that `run_info` shows.
const INFO_BYTES: usize = 4096;

/// An axis by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AxisName {
    /// The time of a point: `wall`.
    #[default]
    Wall,
    /// Its step, a second each: `step`.
    Step,
    /// The seconds since the run began: `elapsed`.
    Elapsed,
    /// The latest value, however old: `latest`.
    Latest,
}

impl AxisName {
    /// All axes.
    pub const ALL: [Self; 4] = [Self::Wall, Self::Step, Self::Elapsed, Self::Latest];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Step => "step",
            Self::Elapsed => "elapsed",
            Self::Latest => "latest",
        }
    }

    /// The axis with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.name() == name)
    }

    fn of_run(self, run: &RunNames) -> Axis {
        match self {
            Self::Wall => Axis::Wall,
            Self::Step => Axis::Step,
            Self::Elapsed => Axis::Elapsed { start_ms: run.start_ms.unwrap_or(0) },
            Self::Latest => Axis::Latest,
        }
    }

    /// The stored times that a range of the axis needs.
    fn times(self, range: TimeRange) -> TimeRange {
        match self {
            Self::Wall => range,
            Self::Step | Self::Elapsed => TimeRange::ALL,
            Self::Latest => TimeRange::new(i64::MIN, range.max_ms),
        }
    }
}

/// A snapshot with the labels and axes of runs.
#[derive(Clone, Debug)]
pub struct RunSource {
    snapshot: Snapshot,
    catalog: Option<Arc<Catalog>>,
    axis: AxisName,
    lookback_ms: i64,
}

/// Matchers, taken apart.
struct Wanted {
    /// Those on labels that series of runs store.
    stored: Vec<Matcher>,
    /// Those on labels that are joined.
    joined: Vec<Matcher>,
    axis: AxisName,
}

impl Wanted {
    /// All matchers, for series that store what is joined to others.
    fn all(&self) -> Vec<Matcher> {
        self.stored.iter().chain(&self.joined).cloned().collect()
    }

    fn stored_and<const N: usize>(&self, more: [Matcher; N]) -> Vec<Matcher> {
        self.stored.iter().cloned().chain(more).collect()
    }
}

/// Ids of runs, as a pattern.
#[derive(Debug)]
struct Ids(Vec<String>);

impl Pattern for Ids {
    fn is_match(&self, value: &str) -> bool {
        self.0.binary_search_by(|id| id.as_str().cmp(value)).is_ok()
    }

    fn literals(&self) -> Option<&[String]> {
        Some(&self.0)
    }

    fn prefix(&self) -> &str {
        ""
    }

    fn source(&self) -> &str {
        "the ids of some runs"
    }
}

fn among(ids: &Arc<Ids>) -> Matcher {
    Matcher { name: RUN_ID.to_owned(), op: MatchOp::Match(ids.clone()) }
}

fn not_among(ids: &Arc<Ids>) -> Matcher {
    Matcher { name: RUN_ID.to_owned(), op: MatchOp::NotMatch(ids.clone()) }
}

fn not_empty(name: &str) -> Matcher {
    Matcher { name: name.to_owned(), op: MatchOp::NotEqual(String::new()) }
}

fn empty(name: &str) -> Matcher {
    Matcher::equal(name, "")
}

/// The ids of runs, sorted.
fn ids(runs: &BTreeMap<String, RunNames>) -> Arc<Ids> {
    Arc::new(Ids(runs.keys().cloned().collect()))
}

fn storage(error: &crate::Error) -> Error {
    let kind = if error.kind() == crate::ErrorKind::Invalid { ErrorKind::LimitExceeded } else { ErrorKind::Io };
    Error::new(kind, error.message())
}

impl RunSource {
    /// A snapshot with the runs of a catalog, if there is one. `axis` is for selectors that do not say; `lookback_ms` is
    /// that of the queries.
    pub fn new(snapshot: Snapshot, catalog: Option<Arc<Catalog>>, axis: AxisName, lookback_ms: i64) -> Self {
        Self { snapshot, catalog, axis, lookback_ms: lookback_ms.max(1) }
    }

    /// The same with another axis for selectors that do not say, and for queries with another lookback.
    #[must_use]
    pub fn on(&self, axis: AxisName, lookback_ms: i64) -> Self {
        Self { axis, lookback_ms: lookback_ms.max(1), ..self.clone() }
    }

    fn wanted(&self, matchers: &[Matcher]) -> Result<Wanted> {
        let mut wanted = Wanted { stored: Vec::new(), joined: Vec::new(), axis: self.axis };
        for matcher in matchers {
            match matcher.name.as_str() {
                AXIS_LABEL => wanted.axis = axis_of(matcher)?,
                RUN_NAME | EXPERIMENT => wanted.joined.push(matcher.clone()),
                _ => wanted.stored.push(matcher.clone()),
            }
        }
        Ok(wanted)
    }

    fn catalog(&self) -> Result<Option<&Catalog>> {
        let Some(catalog) = &self.catalog else { return Ok(None) };
        Ok(catalog.has_runs().map_err(|error| storage(&error))?.then_some(&**catalog))
    }

    /// The runs that have series which pass the matchers on stored labels, by id.
    fn runs(&self, wanted: &Wanted, range: TimeRange) -> Result<BTreeMap<String, RunNames>> {
        let Some(catalog) = self.catalog()? else { return Ok(BTreeMap::new()) };
        let matchers = wanted.stored_and([not_empty(RUN_ID), empty(EXPERIMENT), empty(RUN_NAME)]);
        let found = self.snapshot.label_values(RUN_ID, &matchers, wanted.axis.times(range))?;
        let names = catalog.names(&found).map_err(|error| storage(&error))?;
        Ok(names.into_iter().map(|run| (run.run_id.clone(), run)).collect())
    }

    /// Series of runs, a stream for each experiment.
    fn run_streams(
        &self,
        wanted: &Wanted,
        runs: BTreeMap<String, RunNames>,
        range: TimeRange,
    ) -> Result<Vec<Joined<'_>>> {
        let mut by_experiment: BTreeMap<String, BTreeMap<String, RunNames>> = BTreeMap::new();
        for (id, run) in runs {
            if passes(&wanted.joined, &run) {
                by_experiment.entry(run.experiment.clone()).or_default().insert(id, run);
            }
        }
        let streams = by_experiment.into_values().map(|runs| {
            let matchers = wanted.stored_and([among(&ids(&runs)), empty(EXPERIMENT), empty(RUN_NAME)]);
            let stream = self.snapshot.select(&matchers, wanted.axis.times(range))?;
            Ok(Joined { stream, runs, axis: wanted.axis })
        });
        streams.collect()
    }

    /// All other series. Only the wall axis has any.
    fn other_streams(
        &self,
        wanted: &Wanted,
        known: &Arc<Ids>,
        range: TimeRange,
    ) -> Result<Vec<Box<dyn SeriesStream + '_>>> {
        if wanted.axis != AxisName::Wall {
            return Ok(Vec::new());
        }
        if known.0.is_empty() {
            return Ok(vec![self.snapshot.select(&wanted.all(), range)?]);
        }
        let parts = [
            vec![not_among(known)],
            vec![among(known), not_empty(EXPERIMENT)],
            vec![among(known), empty(EXPERIMENT), not_empty(RUN_NAME)],
        ];
        let select = |part: Vec<Matcher>| self.snapshot.select(&[wanted.all(), part].concat(), range);
        parts.into_iter().map(select).collect()
    }

    /// `run_info`, where it is asked for by name.
    fn infos(&self, wanted: &Wanted, range: TimeRange) -> Result<Vec<Series>> {
        if !asks_for_info(&wanted.stored) {
            return Ok(Vec::new());
        }
        let Some(catalog) = self.catalog()? else { return Ok(Vec::new()) };
        let pinned = wanted.stored.iter().find_map(|matcher| match &matcher.op {
            MatchOp::Equal(id) if matcher.name == RUN_ID => Some(vec![id.clone()]),
            MatchOp::Match(pattern) if matcher.name == RUN_ID => pattern.literals().map(<[_]>::to_vec),
            _ => None,
        });
        let runs = catalog.known_runs(pinned.as_deref(), INFO_MAX).map_err(|error| storage(&error))?;
        let samples = Arc::new(self.ones(range));
        let all = wanted.all();
        let mut found = Vec::new();
        for (run, experiment) in &runs {
            let labels = info_labels(run, experiment)?;
            if all_match(&all, &labels) {
                found.push(Series::of_samples(labels, Kind::Float, samples.clone()));
            }
        }
        found.sort_by(|left, right| left.labels().cmp(right.labels()));
        Ok(found)
    }

    /// Ones so close to each other that every instant sees one.
    fn ones(&self, range: TimeRange) -> Samples {
        // A range without a beginning is seen at its beginning however far it is.
        let min_ms = range.min_ms.max(range.max_ms.saturating_sub(self.lookback_ms.saturating_mul(INFO_SAMPLES)));
        let mut samples = Samples::default();
        let mut time_ms = min_ms;
        while time_ms <= range.max_ms && samples.len() < INFO_SAMPLES as usize {
            samples.times.push(time_ms);
            samples.values.push(1.0);
            let Some(next) = time_ms.checked_add(self.lookback_ms) else { break };
            time_ms = next;
        }
        samples
    }
}

fn axis_of(matcher: &Matcher) -> Result<AxisName> {
    let named = match &matcher.op {
        MatchOp::Equal(name) => AxisName::parse(name),
        _ => None,
    };
    named.ok_or_else(|| {
        let names = AxisName::ALL.map(AxisName::name).join(", ");
        Error::invalid(format!("{AXIS_LABEL} takes one of {names}, with the operator ="))
    })
}

/// Whether the labels that are joined pass.
fn passes(matchers: &[Matcher], run: &RunNames) -> bool {
    matchers.iter().all(|matcher| matcher.matches(if matcher.name == RUN_NAME { &run.name } else { &run.experiment }))
}

fn asks_for_info(matchers: &[Matcher]) -> bool {
    matchers.iter().filter(|matcher| matcher.name == METRIC_NAME).any(|matcher| match &matcher.op {
        MatchOp::Equal(name) => name == RUN_INFO,
        MatchOp::Match(pattern) => pattern.literals().is_some_and(|names| names.iter().any(|name| name == RUN_INFO)),
        _ => false,
    })
}

fn info_labels(run: &Run, experiment: &str) -> Result<Labels> {
    let info = &run.info;
    let fixed = [
        (METRIC_NAME, RUN_INFO),
        (EXPERIMENT, experiment),
        (RUN_ID, &info.run_id),
        (RUN_NAME, &info.name),
        ("source", &info.source),
        ("status", &info.status),
        ("user", &info.user_id),
    ];
    let mut labels: Vec<(String, &str)> = fixed.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    labels.extend(run.params.iter().map(|(key, value)| (format!("param_{key}"), value.as_str())));
    labels.extend(run.tags.iter().map(|(key, value)| (format!("tag_{key}"), value.as_str())));
    labels.retain(|(_, value)| !value.is_empty() && value.len() <= INFO_BYTES);
    Labels::from_pairs(labels)
}

/// The series of the runs of one experiment.
struct Joined<'a> {
    stream: Box<dyn SeriesStream + 'a>,
    runs: BTreeMap<String, RunNames>,
    axis: AxisName,
}

impl SeriesStream for Joined<'_> {
    fn next_batch(&mut self, max: usize) -> Result<Vec<Series>> {
        let batch = self.stream.next_batch(max)?;
        batch.into_iter().map(|series| self.join(series)).collect()
    }
}

impl Joined<'_> {
    fn join(&self, series: Series) -> Result<Series> {
        let id = series.labels().get(RUN_ID).unwrap_or_default();
        let run = self.runs.get(id).expect("the selection asked for these runs");
        let joined = [(EXPERIMENT, run.experiment.as_str()), (RUN_NAME, run.name.as_str())];
        let joined = joined.into_iter().filter(|(_, value)| !value.is_empty());
        let labels = Labels::from_pairs(series.labels().iter().chain(joined))?;
        Ok(series.laid_out(labels, self.axis.of_run(run)))
    }
}

/// Series that are there already.
struct Ready(VecDeque<Series>);

impl SeriesStream for Ready {
    fn next_batch(&mut self, max: usize) -> Result<Vec<Series>> {
        let count = max.min(self.0.len());
        Ok(self.0.drain(..count).collect())
    }
}

/// Several streams as one.
struct Merged<'a> {
    streams: Vec<(Box<dyn SeriesStream + 'a>, VecDeque<Series>)>,
    /// The labels at the head of each stream that has any left.
    heads: BinaryHeap<Reverse<(Labels, usize)>>,
}

impl<'a> Merged<'a> {
    fn new(streams: Vec<Box<dyn SeriesStream + 'a>>) -> Result<Self> {
        let streams: Vec<_> = streams.into_iter().map(|stream| (stream, VecDeque::new())).collect();
        let mut merged = Self { streams, heads: BinaryHeap::new() };
        for number in 0..merged.streams.len() {
            merged.refill(number)?;
        }
        Ok(merged)
    }

    fn refill(&mut self, number: usize) -> Result<()> {
        let (stream, waiting) = &mut self.streams[number];
        if waiting.is_empty() {
            waiting.extend(stream.next_batch(FETCH)?);
        }
        if let Some(series) = waiting.front() {
            self.heads.push(Reverse((series.labels().clone(), number)));
        }
        Ok(())
    }
}

impl SeriesStream for Merged<'_> {
    fn next_batch(&mut self, max: usize) -> Result<Vec<Series>> {
        let mut batch = Vec::new();
        while batch.len() < max {
            let Some(Reverse((_, number))) = self.heads.pop() else { break };
            batch.extend(self.streams[number].1.pop_front());
            self.refill(number)?;
        }
        Ok(batch)
    }
}

impl Source for RunSource {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Box<dyn SeriesStream + '_>> {
        let wanted = self.wanted(matchers)?;
        let runs = self.runs(&wanted, range)?;
        let mut streams = self.other_streams(&wanted, &ids(&runs), range)?;
        for stream in self.run_streams(&wanted, runs, range)? {
            streams.push(Box::new(stream));
        }
        let infos = self.infos(&wanted, range)?;
        if !infos.is_empty() {
            streams.push(Box::new(Ready(infos.into())));
        }
        if streams.len() == 1 {
            return Ok(streams.remove(0));
        }
        Ok(Box::new(Merged::new(streams)?))
    }

    fn reach(&self, matchers: &[Matcher]) -> Reach {
        // A matcher that names no axis is refused by the selection.
        match self.wanted(matchers).map_or(AxisName::Wall, |wanted| wanted.axis) {
            _ if asks_for_info(matchers) => Reach::Lookback,
            AxisName::Wall => Reach::Lookback,
            AxisName::Step | AxisName::Elapsed => Reach::UntilLast,
            AxisName::Latest => Reach::Forever,
        }
    }

    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
        let wanted = self.wanted(matchers)?;
        let runs = self.runs(&wanted, range)?;
        let mut names: BTreeSet<String> = self.snapshot.label_names(&wanted.all(), range)?.into_iter().collect();
        let passing: BTreeMap<_, _> = runs.into_iter().filter(|(_, run)| passes(&wanted.joined, run)).collect();
        if !passing.is_empty() {
            if !wanted.joined.is_empty() {
                let matchers = wanted.stored_and([among(&ids(&passing))]);
                names.extend(self.snapshot.label_names(&matchers, wanted.axis.times(range))?);
            }
            names.extend([EXPERIMENT.to_owned(), RUN_NAME.to_owned()]);
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
        let wanted = self.wanted(matchers)?;
        let mut values: BTreeSet<String> =
            self.snapshot.label_values(name, &wanted.all(), range)?.into_iter().collect();
        if wanted.joined.is_empty() && ![EXPERIMENT, RUN_NAME].contains(&name) {
            return Ok(values.into_iter().collect());
        }
        let runs = self.runs(&wanted, range)?;
        let passing: BTreeMap<_, _> = runs.into_iter().filter(|(_, run)| passes(&wanted.joined, run)).collect();
        match name {
            EXPERIMENT => values.extend(passing.into_values().map(|run| run.experiment)),
            RUN_NAME => values.extend(passing.into_values().map(|run| run.name)),
            _ if passing.is_empty() => {}
            _ => {
                let matchers = wanted.stored_and([among(&ids(&passing))]);
                values.extend(self.snapshot.label_values(name, &matchers, wanted.axis.times(range))?);
            }
        }
        values.remove("");
        Ok(values.into_iter().collect())
    }

    fn metadata(&self) -> Result<Vec<Metadata>> {
        self.snapshot.metadata()
    }

    fn metadata_of(&self, metric: &str) -> Result<Option<Metadata>> {
        self.snapshot.metadata_of(metric)
    }

    fn exemplars(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        let wanted = self.wanted(matchers)?;
        self.snapshot.exemplars(&wanted.all(), range)
    }
}
