//! The databases that queries are measured over. Each is built when a query that needs it first runs.

use tsq_core::{Db, Durability, Kind, Labels, Options, SeriesHandle};

/// First sample of every series, milliseconds since 1970.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// An open database and the directory it lies in.
pub(crate) struct Data {
    pub db: Db,
    // Removed after the database is closed.
    _dir: tempfile::TempDir,
}

impl Data {
    fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = Options { durability: Durability::Os, background: false, ..Options::default() };
        Self { db: Db::open(dir.path(), options).expect("an empty directory opens"), _dir: dir }
    }

    fn series(&self, pairs: &[(&str, &str)]) -> SeriesHandle {
        let labels = Labels::from_pairs(pairs.iter().copied()).expect("good labels");
        self.db.series(Kind::Float, &labels).expect("within limits")
    }

    /// Appends `count` samples, `interval_ms` apart, to each series: `value(series, sample)`.
    fn fill(&self, handles: &[SeriesHandle], interval_ms: i64, count: i64, value: impl Fn(usize, i64) -> f64) {
        let mut batch = self.db.batch();
        for sample in 0..count {
            for (part, handles) in handles.chunks(50_000).enumerate() {
                batch.clear();
                for (index, handle) in handles.iter().enumerate() {
                    batch.series_handle(handle);
                    batch.float(START_MS + sample * interval_ms, value(part * 50_000 + index, sample));
                }
                self.db.append(&batch).expect("the batch is taken");
            }
        }
    }
}

/// A counter of requests: `instances` x 4 series, a sample a minute.
pub(crate) fn requests(instances: usize, minutes: i64) -> Data {
    let data = Data::empty();
    let mut handles = Vec::new();
    for instance in 0..instances {
        let instance = format!("host-{instance}");
        for code in ["200", "400", "404", "500"] {
            let name = ("__name__", "requests_total");
            handles.push(data.series(&[name, ("instance", &instance), ("code", code), ("job", "api")]));
        }
    }
    data.fill(&handles, 60_000, minutes, |series, minute| (minute * (series as i64 % 13 + 1)) as f64);
    data.db.flush().expect("the flush succeeds");
    data
}

/// An hour of a training and inference cluster: 10,500 series, a sample every 15 s, curves of runs every 5 s.
pub(crate) fn cluster() -> Data {
    let data = Data::empty();
    let mut curves = Vec::new();
    for run in 0..200 {
        let run = format!("run-{run:03}");
        curves.push(data.series(&[("__name__", "train_loss"), ("run_id", &run), ("source", "mlflow")]));
    }
    data.fill(&curves, 5_000, 721, |run, step| {
        let noise = (run as i64 * 31 + step * 17).rem_euclid(101) as f64 / 1000.0;
        2.0 + 5.0 / (1.0 + step as f64 / (20.0 + run as f64)) + noise
    });
    let mut gauges = Vec::new();
    for node in 0..100 {
        let node = format!("node-{node:02}");
        for gpu in ["0", "1", "2", "3", "4", "5", "6", "7"] {
            for name in ["gpu_utilization_ratio", "gpu_memory_used_bytes"] {
                gauges.push(data.series(&[("__name__", name), ("gpu", gpu), ("node", &node)]));
            }
        }
    }
    data.fill(&gauges, 15_000, 241, |series, sample| {
        let wave = (series as i64 * 7 + sample * 13).rem_euclid(97) as f64;
        if series % 2 == 0 { wave / 97.0 } else { wave * 1e9 }
    });
    let (mut counters, mut buckets) = (Vec::new(), Vec::new());
    for model in 0..50 {
        let family = ["llama", "mixtral", "qwen", "gemma", "phi"][model % 5];
        let model = format!("{family}-{model}b");
        for replica in 0..10 {
            let replica = format!("replica-{replica}");
            let place = [("model", model.as_str()), ("replica", replica.as_str())];
            counters.push(data.series(&[("__name__", "inference_tokens_total"), place[0], place[1]]));
            for status in ["ok", "error", "timeout"] {
                let name = ("__name__", "inference_requests_total");
                counters.push(data.series(&[name, place[0], place[1], ("status", status)]));
            }
            for le in ["0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "+Inf"] {
                let name = ("__name__", "inference_latency_seconds_bucket");
                buckets.push(data.series(&[name, ("le", le), place[0], place[1]]));
            }
        }
    }
    // Replicas start anew every 150 samples, each at another time.
    data.fill(&counters, 15_000, 241, |series, sample| ((sample + series as i64 % 150) % 150 * 37) as f64);
    data.fill(&buckets, 15_000, 241, |series, sample| (sample * (series as i64 % 12 + 1)) as f64);
    data.db.flush().expect("the flush succeeds");
    data
}
