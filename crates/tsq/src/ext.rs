//! The short way to write and to ask.

use tsq_core::{
    Appended, Db, Kind, Labels, Matcher, ReadCache, Result, Samples, Series, SeriesStream, Source, TimeRange,
};
use tsq_promql::{Answer, Engine, QueryError, QueryErrorKind, QueryOptions, parse_selector};

/// Writing one sample and asking in PromQL.
pub trait DbExt {
    /// Appends one float. A writer of many samples is faster with a [`Batch`](tsq_core::Batch).
    ///
    /// # Errors
    /// See [`Db::append`]. A sample that is refused is no error: it is counted in [`Appended`].
    fn write(&self, labels: &Labels, time_ms: i64, value: f64) -> Result<Appended>;

    /// Appends one float of a training step.
    ///
    /// # Errors
    /// As [`DbExt::write`].
    fn write_step(&self, labels: &Labels, time_ms: i64, step: i64, value: f64) -> Result<Appended>;

    /// Evaluates PromQL at a time, in milliseconds since 1970, with the default limits of
    /// [`EngineOptions`](tsq_promql::EngineOptions).
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    fn query(&self, text: &str, time_ms: i64) -> Result<Answer, QueryError>;

    /// Evaluates PromQL at `start_ms`, `start_ms + step_ms`, ... up to `end_ms`.
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    fn query_range(&self, text: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Answer, QueryError>;
}

impl DbExt for Db {
    fn write(&self, labels: &Labels, time_ms: i64, value: f64) -> Result<Appended> {
        let mut batch = self.batch();
        batch.series(Kind::Float, labels);
        batch.float(time_ms, value);
        self.append(&batch)
    }

    fn write_step(&self, labels: &Labels, time_ms: i64, step: i64, value: f64) -> Result<Appended> {
        let mut batch = self.batch();
        batch.series(Kind::Run, labels);
        batch.run(time_ms, step, value);
        self.append(&batch)
    }

    fn query(&self, text: &str, time_ms: i64) -> Result<Answer, QueryError> {
        self.snapshot().map_err(|error| storage(&error))?.query(text, time_ms)
    }

    fn query_range(&self, text: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Answer, QueryError> {
        self.snapshot().map_err(|error| storage(&error))?.query_range(text, start_ms, end_ms, step_ms)
    }
}

fn storage(error: &tsq_core::Error) -> QueryError {
    QueryError { kind: QueryErrorKind::Storage, message: error.to_string() }
}

/// Asking a snapshot, so that several questions see the same samples.
pub trait SourceExt: Source + Sized {
    /// Evaluates PromQL at a time. See [`DbExt::query`].
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    fn query(&self, text: &str, time_ms: i64) -> Result<Answer, QueryError> {
        Engine::default().instant(self, text, time_ms, &QueryOptions::default())
    }

    /// Evaluates PromQL over a range. See [`DbExt::query_range`].
    ///
    /// # Errors
    /// See [`QueryErrorKind`].
    fn query_range(&self, text: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Answer, QueryError> {
        Engine::default().range(self, text, start_ms, end_ms, step_ms, &QueryOptions::default())
    }

    /// The stored samples of all series that a selector such as `loss{run=~"a.*"}` matches, as they are: staleness
    /// markers too. Series come in label order, a kind at a time.
    ///
    /// # Errors
    /// `BadData` for a selector that does not parse or would match everything; `Storage`.
    fn series(&self, selector: &str, range: TimeRange) -> Result<Selected<'_>, QueryError> {
        self.matching(&parse_selector(selector)?, range).map_err(|error| storage(&error))
    }

    /// As [`SourceExt::series`] for matchers; no matcher means all series.
    ///
    /// # Errors
    /// When stored data cannot be read.
    fn matching(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selected<'_>> {
        Ok(Selected {
            stream: self.select(matchers, range)?,
            range,
            series: Vec::new().into_iter(),
            kinds: None,
            cache: ReadCache::default(),
        })
    }
}

impl<S: Source> SourceExt for S {}

/// Series in label order with their samples. A damaged page ends it with an error.
pub struct Selected<'a> {
    stream: Box<dyn SeriesStream + 'a>,
    range: TimeRange,
    /// Series fetched and not yet given out.
    series: std::vec::IntoIter<Series>,
    /// The series being given out and the kinds still to come.
    kinds: Option<(Series, std::vec::IntoIter<Kind>)>,
    cache: ReadCache,
}

/// Series fetched at once.
const FETCH: usize = 64;

impl Selected<'_> {
    fn step(&mut self) -> Result<Option<(Labels, Kind, Samples)>> {
        loop {
            if let Some((series, kinds)) = &mut self.kinds
                && let Some(kind) = kinds.next()
            {
                let mut samples = Samples::default();
                series.read_with(kind, self.range, &mut self.cache, &mut samples)?;
                if !samples.is_empty() {
                    return Ok(Some((series.labels().clone(), kind, samples)));
                }
                continue;
            }
            let next = match self.series.next() {
                Some(series) => Some(series),
                None => {
                    self.series = self.stream.next_batch(FETCH)?.into_iter();
                    self.series.next()
                }
            };
            let Some(series) = next else { return Ok(None) };
            let kinds = series.kinds().collect::<Vec<_>>().into_iter();
            self.kinds = Some((series, kinds));
        }
    }
}

impl Iterator for Selected<'_> {
    type Item = Result<(Labels, Kind, Samples)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl std::fmt::Debug for Selected<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selected").field("range", &self.range).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tsq_core::Options;

    use super::*;

    #[test]
    fn every_kind_is_iterated() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), Options::default()).unwrap();
        let labels = |run: &str| Labels::from_pairs([("__name__", "loss"), ("run", run)]).unwrap();
        for index in 0..150 {
            db.write(&labels(&format!("{index:03}")), 1000, f64::from(index)).unwrap();
        }
        db.write_step(&labels("000"), 1000, 7, 0.5).unwrap();
        let snapshot = db.snapshot().unwrap();
        let all: Vec<_> = snapshot.series("loss", TimeRange::ALL).unwrap().map(Result::unwrap).collect();
        assert_eq!(all.len(), 151);
        assert_eq!((all[0].1, all[1].1), (Kind::Float, Kind::Run));
        assert_eq!((all[1].2.steps.as_slice(), all[1].2.values.as_slice()), (&[7][..], &[0.5][..]));
        assert_eq!(all[150].0, labels("149"));
        let some: Vec<_> = snapshot.series(r#"loss{run=~"14."}"#, TimeRange::new(0, 999)).unwrap().collect();
        assert!(some.is_empty());
        for wrong in ["{}", "loss[5m]", "loss{", ""] {
            let error = snapshot.series(wrong, TimeRange::ALL).unwrap_err();
            assert_eq!(error.kind, QueryErrorKind::BadData, "{wrong}");
        }
    }
}
