//! Names of metrics, labels and values for completion: looked up beside the prompt, kept for a while, and never waited
//! for long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tsq::promql::CancelFlag;
use tsq::{METRIC_NAME, Matcher, Source, TimeRange};
use tsq_runs::RunSource;

use crate::client::{self, encoded, percent_encoded};
use crate::failure::Result;

/// How long Tab waits. What comes later is there at the next Tab.
const PATIENCE: Duration = Duration::from_millis(400);

/// How long a look-up may take in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long names are taken for current.
const FRESH: Duration = Duration::from_secs(30);

/// Lists that are kept, names in each, look-ups at once, and series that are looked at for one.
const LISTS_MAX: usize = 64;
const NAMES_MAX: usize = 5_000;
const LOOKUPS_MAX: usize = 4;
const SERIES_MAX: usize = 20_000;

/// Where names are looked up.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Directory(RunSource),
    Server(String),
}

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Metrics,
    /// Labels of a metric, or of all.
    Labels(Option<String>),
    /// Values of a label of a metric, or of all.
    Values(String, Option<String>),
}

/// Names, and when they were found.
type Known = (Instant, Arc<[String]>);

/// Looks up names and keeps them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    origin: Arc<Mutex<Origin>>,
    known: Arc<Mutex<HashMap<Wanted, Known>>>,
    running: Arc<AtomicUsize>,
}

impl Names {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin: Arc::new(Mutex::new(origin)), known: Arc::default(), running: Arc::default() }
    }

    /// From now on names are looked up here.
    pub(super) fn set_origin(&self, origin: Origin) {
        *lock(&self.origin) = origin;
    }

    /// The names, or none if they take too long to find.
    pub(super) fn get(&self, wanted: &Wanted) -> Arc<[String]> {
        if let Some((since, names)) = lock(&self.known).get(wanted)
            && since.elapsed() < FRESH
        {
            return names.clone();
        }
        if self.running.fetch_add(1, Ordering::Relaxed) >= LOOKUPS_MAX {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Arc::default();
        }
        let (send, receive) = mpsc::channel();
        let (names, wanted) = (self.clone(), wanted.clone());
        std::thread::spawn(move || {
            let origin = lock(&names.origin).clone();
            // Completion has no place for errors: the query itself reports them.
            let found: Arc<[String]> = origin.look_up(&wanted).unwrap_or_default().into();
            names.keep(wanted, found.clone());
            names.running.fetch_sub(1, Ordering::Relaxed);
            // Whoever asked may have stopped waiting.
            let _ = send.send(found);
        });
        receive.recv_timeout(PATIENCE).unwrap_or_default()
    }

    fn keep(&self, wanted: Wanted, names: Arc<[String]>) {
        let mut known = lock(&self.known);
        if known.len() >= LISTS_MAX {
            known.clear();
        }
        known.insert(wanted, (Instant::now(), names));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Origin {
    /// The names, sorted, at most [`NAMES_MAX`].
    pub(super) fn look_up(&self, wanted: &Wanted) -> Result<Vec<String>> {
        let mut names = match self {
            Self::Directory(source) => local(source, wanted)?,
            Self::Server(url) => remote(url, wanted)?,
        };
        names.truncate(NAMES_MAX);
        Ok(names)
    }
}

fn local(source: &RunSource, wanted: &Wanted) -> Result<Vec<String>> {
    let all = TimeRange::ALL;
    match wanted {
        Wanted::Metrics => Ok(source.label_values(METRIC_NAME, &[], all)?),
        Wanted::Labels(None) => Ok(source.label_names(&[], all)?),
        Wanted::Values(label, None) => Ok(source.label_values(label, &[], all)?),
        Wanted::Labels(Some(metric)) => of_metric(source, metric, |labels, names| {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }),
        Wanted::Values(label, Some(metric)) => of_metric(source, metric, |labels, names| {
            names.extend(labels.get(label).map(str::to_owned));
        }),
    }
}

/// What the first series of a metric have.
fn of_metric(
    source: &RunSource,
    metric: &str,
    add: impl Fn(&tsq::Labels, &mut std::collections::BTreeSet<String>),
) -> Result<Vec<String>> {
    let (begin, mut names, mut seen) = (Instant::now(), std::collections::BTreeSet::new(), 0);
    let mut stream = source.select(&[Matcher::equal(METRIC_NAME, metric)], TimeRange::ALL)?;
    while seen < SERIES_MAX && names.len() < NAMES_MAX && begin.elapsed() < TIMEOUT {
        let batch = stream.next_batch(256)?;
        if batch.is_empty() {
            break;
        }
        seen += batch.len();
        batch.iter().for_each(|series| add(series.labels(), &mut names));
    }
    Ok(names.into_iter().collect())
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    data: Vec<String>,
}

fn remote(url: &str, wanted: &Wanted) -> Result<Vec<String>> {
    let (path, metric) = match wanted {
        Wanted::Metrics => (format!("label/{METRIC_NAME}/values"), None),
        Wanted::Labels(metric) => ("labels".to_owned(), metric.as_ref()),
        Wanted::Values(label, metric) => (format!("label/{}/values", percent_encoded(label)), metric.as_ref()),
    };
    let mut params = vec![("limit", NAMES_MAX.to_string())];
    // A JSON string is a PromQL string.
    params
        .extend(metric.map(|metric| ("match[]", format!("{{__name__={}}}", serde_json::Value::from(metric.as_str())))));
    let url = format!("{url}/api/v1/{path}?{}", encoded(&params));
    let answer = client::Request { url: &url, form: None, timeout: TIMEOUT, cancel: CancelFlag::default() }.send()?;
    Ok(serde_json::from_slice::<Listed>(&answer.body).map(|listed| listed.data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tsq::{Db, DbExt, Labels, Options};

    use super::*;

    #[test]
    fn names_of_a_directory_and_of_a_server_agree() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), Options::default()).unwrap();
        for (metric, job) in [("up", "a"), ("up", "b c"), ("down", "x")] {
            db.write(&Labels::from_pairs([("__name__", metric), ("job", job)]).unwrap(), 1000, 1.0).unwrap();
        }
        let config = tsq_server::ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), ..Default::default() };
        let server = tsq_server::Server::start(config, db.clone()).unwrap();
        let origins = [
            Origin::Directory(RunSource::new(db.snapshot().unwrap(), None, tsq_runs::AxisName::Wall, 1)),
            Origin::Server(format!("http://{}", server.local_addr())),
        ];
        for origin in origins {
            let names = |wanted: Wanted| origin.look_up(&wanted).unwrap();
            assert_eq!(names(Wanted::Metrics), ["down", "up"]);
            assert_eq!(names(Wanted::Labels(None)), ["__name__", "job"]);
            assert_eq!(names(Wanted::Labels(Some("nothing".into()))), [""; 0]);
            assert_eq!(names(Wanted::Values("job".into(), None)), ["a", "b c", "x"]);
            assert_eq!(names(Wanted::Values("job".into(), Some("up".into()))), ["a", "b c"]);
        }
        server.shutdown().unwrap();
        let names = Names::new(Origin::Server("http://127.0.0.1:1".into()));
        assert_eq!(names.get(&Wanted::Metrics).len(), 0, "nobody answers there");
    }
}
