//! What clients log: into the catalog and into the engine, in an order that a crash cannot break.
//!
//! A batch is checked, its params and tags are committed, its points are appended to the log, then it is answered. A run
//! is marked in the catalog before its first points go to the engine, and unmarked when the cache of latest values is
//! complete: what is marked at opening is read again from the engine. A crash may leave params of a batch without its
//! points, which was not acknowledged then; sending it again makes it whole.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tsq_core::{Batch, Db, Deleted, Kind, Matcher, Samples, Source, TimeRange};

use crate::catalog::{self, Catalog, LatestUpdate, ModelMetric, Ordered, Page, Pair, Run, RunSearch, is_later};
use crate::error::{Error, Result};
use crate::live::Live;
use crate::source::{AxisName, RunSource};

/// Directory of the catalog and of artifacts within a data directory.
const DIR: &str = "runs";
const CATALOG_FILE: &str = "catalog.db";
const ARTIFACTS_DIR: &str = "artifacts";

/// How often latest values are written to the catalog.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How long a run must be idle before its mark is taken away.
const SETTLE_AFTER: Duration = Duration::from_secs(10);

/// Runs whose latest values are completed in one transaction.
const SETTLED_AT_ONCE: usize = 256;

/// Runs kept in memory, beyond those that are being logged to.
const LIVE_MAX: usize = 10_000;

/// Batches kept for the next requests.
const BATCHES_KEPT: usize = 64;

/// A point of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<'a> {
    /// Key of the metric.
    pub key: &'a str,
    /// Milliseconds since 1970; not negative.
    pub time_ms: i64,
    /// Training step.
    pub step: i64,
    /// Value, any float.
    pub value: f64,
}

/// What a client logs at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logged<'a> {
    /// Points, in any order; exact repetitions are kept once.
    pub points: &'a [Point<'a>],
    /// Params, which cannot change once they are logged.
    pub params: &'a [Pair],
    /// Tags, over earlier values.
    pub tags: &'a [Pair],
    /// Points that are metrics of logged models too, by the models' ids.
    pub model_metrics: &'a [(String, ModelMetric)],
}

/// The runs of a database: catalog, engine and what is being logged. Cheap to clone; `Send` and `Sync`.
#[derive(Clone, Debug)]
pub struct Runs(Arc<Keeper>);

/// Ends the thread that writes latest values with the last handle.
#[derive(Debug)]
struct Keeper {
    inner: Arc<Inner>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    catalog: Arc<Catalog>,
    artifacts: PathBuf,
    live: Mutex<HashMap<String, Arc<Live>>>,
    batches: Mutex<Vec<Batch>>,
    /// Whether a latest value may be missing in the catalog.
    dirty: AtomicBool,
    /// Held while latest values are written, so that none is overwritten by an older one.
    writing: Mutex<()>,
    stop: Mutex<bool>,
    stopping: Condvar,
}

impl Runs {
    /// Opens or creates the catalog of a database, and completes the cache of latest values where a crash left it.
    ///
    /// # Errors
    /// `UnsupportedFormat` for a newer catalog, `Storage`, `Unavailable`.
    pub fn open(db: Db, now_ms: i64) -> Result<Self> {
        let dir = db.path().join(DIR);
        let artifacts = dir.join(ARTIFACTS_DIR);
        std::fs::create_dir_all(&artifacts).map_err(|error| cannot("create", &artifacts, &error))?;
        let catalog = Catalog::open(&dir.join(CATALOG_FILE), "mlflow-artifacts:", now_ms)?;
        let inner = Arc::new(Inner {
            db,
            catalog: Arc::new(catalog),
            artifacts,
            live: Mutex::default(),
            batches: Mutex::default(),
            dirty: AtomicBool::new(false),
            writing: Mutex::new(()),
            stop: Mutex::new(false),
            stopping: Condvar::new(),
        });
        inner.settle_all()?;
        let keeper = inner.clone();
        let thread = std::thread::Builder::new().name("tsq-runs".to_owned()).spawn(move || keeper.keep());
        let thread = thread.map_err(|error| cannot("start a thread for", &dir, &error))?;
        Ok(Self(Arc::new(Keeper { inner, thread: Mutex::new(Some(thread)) })))
    }

    /// The catalog of a data directory for reading, also while a server writes to it; `None` where there is none.
    ///
    /// # Errors
    /// As [`Catalog::open_read_only`].
    pub fn read_catalog(data: &Path) -> Result<Option<Catalog>> {
        Catalog::open_read_only(&data.join(DIR).join(CATALOG_FILE))
    }

    fn inner(&self) -> &Inner {
        &self.0.inner
    }

    /// The catalog. What deletes or restores runs goes through [`Runs`] instead.
    pub fn catalog(&self) -> &Catalog {
        &self.inner().catalog
    }

    /// What is stored now, with the labels and axes of runs.
    ///
    /// # Errors
    /// `Closed`.
    pub fn source(&self, axis: AxisName, lookback_ms: i64) -> tsq_core::Result<RunSource> {
        Ok(RunSource::new(self.db().snapshot()?, Some(self.inner().catalog.clone()), axis, lookback_ms))
    }

    /// The engine.
    pub fn db(&self) -> &Db {
        &self.inner().db
    }

    /// The directory of artifacts.
    pub fn artifacts(&self) -> &Path {
        &self.inner().artifacts
    }

    /// Stores what a client logs to a run that is not deleted. On return everything is as durable as the database makes
    /// its batches; when it fails before the engine is reached, nothing is written.
    ///
    /// # Errors
    /// `NotFound` for the run; `Invalid` for a deleted one, for names, values and times that are not allowed, and for
    /// params that would change; `Unavailable` when the engine takes no writes.
    pub fn log(&self, run_id: &str, logged: &Logged<'_>) -> Result<()> {
        catalog::check_params(logged.params)?;
        catalog::check_tags(logged.tags)?;
        self.inner().log(run_id, logged)
    }

    /// A run with its data, deleted or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn run(&self, run_id: &str) -> Result<Run> {
        let mut run = self.catalog().run(run_id)?;
        let live = self.inner().live.lock().get(run_id).cloned();
        if let Some(live) = live {
            run.metrics = live.state.lock().latest();
        }
        Ok(run)
    }

    /// A page of the runs that pass a search, and the offset of the next page.
    ///
    /// # Errors
    /// As [`Catalog::search_runs`].
    pub fn search(&self, search: &RunSearch<'_>, page: &Page) -> Result<(Vec<Run>, Option<u64>)> {
        self.inner().write_latest()?;
        self.catalog().search_runs(search, page)
    }

    /// Marks a run as deleted.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete_run(&self, run_id: &str, now_ms: i64) -> Result<()> {
        self.catalog().delete_run(run_id, now_ms)?;
        self.inner().refresh(run_id);
        Ok(())
    }

    /// Takes a deleted run back.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn restore_run(&self, run_id: &str) -> Result<()> {
        self.catalog().restore_run(run_id)?;
        self.inner().refresh(run_id);
        Ok(())
    }

    /// Marks an experiment and its runs as deleted.
    ///
    /// # Errors
    /// As [`Catalog::delete_experiment`].
    pub fn delete_experiment(&self, id: i64, now_ms: i64) -> Result<()> {
        self.catalog().delete_experiment(id, now_ms)?;
        self.inner().refresh_all();
        Ok(())
    }

    /// Takes a deleted experiment back.
    ///
    /// # Errors
    /// As [`Catalog::restore_experiment`].
    pub fn restore_experiment(&self, id: i64, now_ms: i64) -> Result<()> {
        self.catalog().restore_experiment(id, now_ms)?;
        self.inner().refresh_all();
        Ok(())
    }

    /// Deletes samples as [`Db::delete`], and brings the latest values of the runs among them up to what is left.
    ///
    /// # Errors
    /// As [`Db::delete`]; `Storage` when what is left cannot be read.
    pub fn delete_samples(&self, matchers: &[Matcher], range: TimeRange) -> Result<Deleted> {
        let run_ids = self.db().snapshot()?.label_values("run_id", matchers, range)?;
        let deleted = self.db().delete(matchers, range)?;
        for run_id in run_ids.iter().filter(|run_id| self.catalog().run_info(run_id).is_ok()) {
            self.inner().reread(run_id)?;
        }
        Ok(deleted)
    }

    /// Makes a copy of the database, its catalog and its artifacts in another directory, by hard links where the file
    /// system can.
    ///
    /// # Errors
    /// As [`Db::backup`]; `Storage`.
    pub fn backup(&self, target: &Path) -> Result<()> {
        let dir = target.join(DIR);
        std::fs::create_dir_all(&dir).map_err(|error| cannot("create", &dir, &error))?;
        self.catalog().backup(&dir.join(CATALOG_FILE))?;
        link_all(self.artifacts(), &dir.join(ARTIFACTS_DIR)).map_err(|error| cannot("copy to", &dir, &error))?;
        Ok(self.db().backup(target)?)
    }

    /// Writes what is only in memory to the catalog and stops.
    ///
    /// # Errors
    /// `Storage`, `Unavailable`. Nothing is lost: the engine holds all metrics.
    pub fn close(&self) -> Result<()> {
        self.0.stop();
        self.inner().write_latest()?;
        self.inner().settle_idle(Duration::ZERO)
    }
}

impl Keeper {
    fn stop(&self) {
        *self.inner.stop.lock() = true;
        self.inner.stopping.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread was reported by it; the runs stay marked and are read again at opening.
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn keep(&self) {
        let mut stop = self.stop.lock();
        while !*stop {
            self.stopping.wait_for(&mut stop, WRITE_EVERY);
            drop(stop);
            // A full disk, mostly: what could not be written stays in memory, and the next round tries again.
            let _ = self.write_latest().and_then(|()| self.settle_idle(SETTLE_AFTER));
            stop = self.stop.lock();
        }
    }

    fn live(&self, run_id: &str) -> Result<Arc<Live>> {
        let mut live = self.live.lock();
        if let Some(found) = live.get(run_id) {
            return Ok(found.clone());
        }
        let info = self.catalog.run_info(run_id)?;
        let latest = self.catalog.latest(info.id)?;
        if live.len() >= LIVE_MAX {
            live.retain(|_, run| Arc::strong_count(run) > 1 || !run.state.lock().is_settled());
        }
        let found = Arc::new(Live::new(&self.db, info, &latest)?);
        live.insert(run_id.to_owned(), found.clone());
        Ok(found)
    }

    fn log(&self, run_id: &str, logged: &Logged<'_>) -> Result<()> {
        let live = self.live(run_id)?;
        let mut batch = self.batches.lock().pop().unwrap_or_else(|| self.db.batch());
        let result = self.log_batch(&live, logged, &mut batch);
        batch.clear();
        let mut batches = self.batches.lock();
        if batches.len() < BATCHES_KEPT {
            batches.push(batch);
        }
        result
    }

    fn log_batch(&self, live: &Live, logged: &Logged<'_>, batch: &mut Batch) -> Result<()> {
        let Logged { points, params, tags, model_metrics } = *logged;
        let mut state = live.state.lock();
        if state.deleted {
            return Err(catalog::not_active(&live.run_id));
        }
        let places = live.fill(&self.db, &mut state, points, batch)?;
        let unsettle = !points.is_empty() && !state.unsettled;
        if unsettle || !params.is_empty() || !tags.is_empty() || !model_metrics.is_empty() {
            let part = catalog::CatalogPart { params, tags, model_metrics, unsettle };
            self.catalog.put_logged(&live.run_id, part)?;
        }
        if points.is_empty() {
            return Ok(());
        }
        state.unsettled = true;
        state.in_flight += 1;
        drop(state);
        let appended = self.db.append(batch);
        let mut state = live.state.lock();
        state.in_flight -= 1;
        state.used = Instant::now();
        let appended = appended?;
        if appended.rejected == 0 {
            state.appended(points, &places);
            self.dirty.store(true, Ordering::Release);
            return Ok(());
        }
        drop(state);
        self.reread(&live.run_id)?;
        let refused = appended.rejections.first().map_or("", |rejection| rejection.message.as_str());
        Err(Error::invalid(format!("{} points of run {} were refused: {refused}", appended.rejected, live.run_id)))
    }

    /// Brings the cache up to what is in memory.
    fn write_latest(&self) -> Result<()> {
        if !self.dirty.load(Ordering::Acquire) {
            return Ok(());
        }
        let _writing = self.writing.lock();
        self.dirty.store(false, Ordering::Release);
        let all: Vec<Arc<Live>> = self.live.lock().values().cloned().collect();
        let updates: Vec<LatestUpdate> = all
            .iter()
            .filter_map(|live| {
                let values = live.state.lock().take_dirty();
                (!values.is_empty()).then(|| LatestUpdate { run: live.id, values, ..LatestUpdate::default() })
            })
            .collect();
        let written = self.catalog.put_latest(&updates);
        if written.is_err() {
            all.iter().for_each(|live| live.state.lock().soil());
            self.dirty.store(true, Ordering::Release);
        }
        written
    }

    /// Unmarks runs that nothing was logged to for a while.
    fn settle_idle(&self, idle: Duration) -> Result<()> {
        let all: Vec<Arc<Live>> = self.live.lock().values().cloned().collect();
        for live in all {
            let mut state = live.state.lock();
            if state.unsettled && state.in_flight == 0 && state.is_clean() && state.used.elapsed() >= idle {
                let update = LatestUpdate { run: live.id, settled: true, ..LatestUpdate::default() };
                self.catalog.put_latest(&[update])?;
                state.unsettled = false;
            }
        }
        Ok(())
    }

    /// Completes the cache for runs that were marked when the process before this one ended.
    fn settle_all(&self) -> Result<()> {
        for runs in self.catalog.unsettled()?.chunks(SETTLED_AT_ONCE) {
            let update = |(run, run_id): &(i64, String)| {
                // What cannot be read stays marked: the engine reports the damage.
                let values = self.latest_of(run_id).ok()?;
                Some(LatestUpdate { run: *run, values, whole: true, settled: true })
            };
            let updates: Vec<_> = runs.iter().filter_map(update).collect();
            self.catalog.put_latest(&updates)?;
        }
        Ok(())
    }

    /// Reads the latest values of a run from the engine.
    fn latest_of(&self, run_id: &str) -> Result<Vec<catalog::Latest>> {
        let snapshot = self.db.snapshot()?;
        let mut stream = snapshot.select(&[Matcher::equal("run_id", run_id)], TimeRange::ALL)?;
        let (mut found, mut samples) = (Vec::new(), Samples::default());
        while let Some(series) = stream.next_batch(1)?.pop() {
            let mut latest: Option<Ordered> = None;
            for piece in series.pieces(TimeRange::ALL, 64 << 10) {
                series.read(Kind::Run, piece, &mut samples)?;
                for index in 0..samples.len() {
                    let point = (samples.steps[index], samples.times[index], samples.values[index]);
                    if latest.is_none_or(|latest| is_later(point, latest)) {
                        latest = Some(point);
                    }
                }
            }
            if let Some((step, time_ms, value)) = latest {
                let key = series.labels().metric_name().to_owned();
                found.push(catalog::Latest { key, value, time_ms, step });
            }
        }
        Ok(found)
    }

    /// Reads the latest values of a run again from the engine.
    fn reread(&self, run_id: &str) -> Result<()> {
        let live = self.live(run_id)?;
        let _writing = self.writing.lock();
        let mut state = live.state.lock();
        let values = self.latest_of(run_id)?;
        // Batches that are on their way are added when they have arrived.
        live.reset(&self.db, &mut state, &values)?;
        state.unsettled = state.in_flight > 0;
        let settled = !state.unsettled;
        self.catalog.put_latest(&[LatestUpdate { run: live.id, values, whole: true, settled }])
    }

    /// Looks at the catalog whether a run is deleted.
    fn refresh(&self, run_id: &str) {
        let live = self.live.lock().get(run_id).cloned();
        if let Some(live) = live {
            let mut state = live.state.lock();
            state.deleted = self.catalog.run_info(run_id).is_ok_and(|info| info.deleted);
        }
    }

    fn refresh_all(&self) {
        let ids: Vec<String> = self.live.lock().keys().cloned().collect();
        ids.iter().for_each(|run_id| self.refresh(run_id));
    }
}

/// Gives the files of a folder second names in another one. Files are replaced, never changed: a link is as good as a copy.
fn link_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_all(&entry.path(), &target)?;
        } else if std::fs::hard_link(entry.path(), &target).is_err() {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::ReadOnlyFilesystem => crate::ErrorKind::Unavailable,
        _ => crate::ErrorKind::Storage,
    };
    Error::new(kind, format!("cannot {what} {}: {error}", path.display()))
}
