//! A run that clients log to now: its series and latest values, in memory.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use tsq_core::{Batch, Db, Kind, Labels, METRIC_NAME, SeriesHandle};

use crate::catalog::{Latest, Ordered, RunInfo, is_later};
use crate::error::{Error, Result};
use crate::names::check_key;
use crate::runs::Point;

/// A run and its state.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its number in the catalog.
    pub(crate) id: i64,
    pub(crate) run_id: String,
    /// Label `source` of its series.
    source: String,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) deleted: bool,
    /// The catalog knows that the engine may hold newer samples than its cache.
    pub(crate) unsettled: bool,
    /// Batches that are being appended now.
    pub(crate) in_flight: u32,
    /// When it was logged to last.
    pub(crate) used: Instant,
    metrics: Vec<Metric>,
    places: HashMap<Box<str>, usize>,
    /// Places of metrics whose latest value is not in the catalog yet.
    dirty: Vec<usize>,
}

#[derive(Debug)]
struct Metric {
    key: Box<str>,
    series: SeriesHandle,
    /// None: nothing was appended yet.
    latest: Option<Ordered>,
    is_dirty: bool,
}

impl Live {
    /// The run, with what the catalog's cache holds.
    pub(crate) fn new(db: &Db, info: RunInfo, latest: &[Latest]) -> Result<Self> {
        let state = State {
            deleted: info.deleted,
            unsettled: false,
            in_flight: 0,
            used: Instant::now(),
            metrics: Vec::new(),
            places: HashMap::new(),
            dirty: Vec::new(),
        };
        let live = Self { id: info.id, run_id: info.run_id, source: info.source, state: Mutex::new(state) };
        live.reset(db, &mut live.state.lock(), latest)?;
        Ok(live)
    }

    /// Replaces all latest values; the catalog has them.
    pub(crate) fn reset(&self, db: &Db, state: &mut State, latest: &[Latest]) -> Result<()> {
        state.dirty.clear();
        for metric in &mut state.metrics {
            (metric.latest, metric.is_dirty) = (None, false);
        }
        for known in latest {
            let place = match state.places.get(known.key.as_str()) {
                Some(&place) => place,
                None => self.add(db, state, &known.key)?,
            };
            state.metrics[place].latest = Some((known.step, known.time_ms, known.value));
        }
        Ok(())
    }

    fn add(&self, db: &Db, state: &mut State, key: &str) -> Result<usize> {
        let labels = [(METRIC_NAME, key), ("run_id", self.run_id.as_str()), ("source", self.source.as_str())];
        let series = db.series(Kind::Run, &Labels::from_pairs(labels)?)?;
        let place = state.metrics.len();
        state.metrics.push(Metric { key: key.into(), series, latest: None, is_dirty: false });
        state.places.insert(key.into(), place);
        Ok(place)
    }

    /// Checks points and puts them into a batch, series by series. Gives the place of each point's metric.
    pub(crate) fn fill(
        &self,
        db: &Db,
        state: &mut State,
        points: &[Point<'_>],
        batch: &mut Batch,
    ) -> Result<Vec<usize>> {
        let mut places: Vec<usize> = Vec::with_capacity(points.len());
        for (index, point) in points.iter().enumerate() {
            if point.time_ms < 0 {
                let message = format!("Invalid timestamp {} of metric {:?}: it is negative", point.time_ms, point.key);
                return Err(Error::invalid(message));
            }
            let again = index.checked_sub(1).filter(|&before| points[before].key == point.key);
            places.push(match again {
                Some(before) => places[before],
                None => match state.places.get(point.key) {
                    Some(&place) => place,
                    None => {
                        check_key("metric", point.key)?;
                        self.add(db, state, point.key)?
                    }
                },
            });
        }
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by_key(|&index| places[index]);
        let mut current = None;
        for index in order {
            if current != Some(places[index]) {
                current = Some(places[index]);
                batch.series_handle(&state.metrics[places[index]].series);
            }
            let point = &points[index];
            batch.run(point.time_ms, point.step, point.value);
        }
        Ok(places)
    }
}

impl State {
    /// Takes note of points that the engine holds now.
    pub(crate) fn appended(&mut self, points: &[Point<'_>], places: &[usize]) {
        for (point, &place) in points.iter().zip(places) {
            let metric = &mut self.metrics[place];
            let candidate = (point.step, point.time_ms, point.value);
            if metric.latest.is_none_or(|latest| is_later(candidate, latest)) {
                metric.latest = Some(candidate);
                if !metric.is_dirty {
                    metric.is_dirty = true;
                    self.dirty.push(place);
                }
            }
        }
    }

    /// Whether the catalog has all latest values.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Whether nothing of it is in memory only.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_clean() && !self.unsettled && self.in_flight == 0
    }

    /// Latest values that the catalog has not got; they count as written from now on.
    pub(crate) fn take_dirty(&mut self) -> Vec<Latest> {
        let places = std::mem::take(&mut self.dirty);
        places
            .into_iter()
            .filter_map(|place| {
                let metric = &mut self.metrics[place];
                metric.is_dirty = false;
                metric.latest()
            })
            .collect()
    }

    /// The write of latest values failed: all have to be written again.
    pub(crate) fn soil(&mut self) {
        self.dirty = (0..self.metrics.len()).filter(|&place| self.metrics[place].latest.is_some()).collect();
        for &place in &self.dirty {
            self.metrics[place].is_dirty = true;
        }
    }

    /// All latest values, by key.
    pub(crate) fn latest(&self) -> Vec<Latest> {
        let mut all: Vec<_> = self.metrics.iter().filter_map(Metric::latest).collect();
        all.sort_by(|left, right| left.key.cmp(&right.key));
        all
    }
}

impl Metric {
    fn latest(&self) -> Option<Latest> {
        let (step, time_ms, value) = self.latest?;
        Some(Latest { key: self.key.to_string(), value, time_ms, step })
    }
}
