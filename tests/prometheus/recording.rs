//! A minute in the life of Prometheus, written to two tsq servers at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tsq::{Db, Options};
use tsq_server::{RunningServer, Server, ServerConfig};
use tsq_tests::http::{self, Client};
use tsq_tests::process::Process;

use crate::process::{Programs, start_app, start_prometheus};

/// How long Prometheus scrapes before the recording ends.
const LENGTH: Duration = Duration::from_secs(48);
/// When the app of job `gone` is killed.
const GONE_AFTER: Duration = Duration::from_secs(22);

/// Servers that hold the same samples up to `end_s`.
pub(crate) struct Recording {
    pub(crate) prometheus: SocketAddr,
    /// Written to with remote write 1.0.
    pub(crate) v1: Tsq,
    /// Written to with remote write 2.0.
    pub(crate) v2: Tsq,
    /// Unix time of the end; all servers have gone on since.
    pub(crate) end_s: i64,
    // Killed before the folder goes away.
    processes: Vec<Process>,
    _dir: TempDir,
}

/// A tsq server in this process.
pub(crate) struct Tsq {
    pub(crate) name: &'static str,
    pub(crate) db: Db,
    v2: bool,
    pub(crate) address: SocketAddr,
    config: ServerConfig,
    server: RunningServer,
}

impl Tsq {
    pub(crate) fn start(v2: bool, mut config: ServerConfig) -> Self {
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let db = Db::open(&config.data, config.options.clone()).expect("a database opens");
        let server = Server::start(config.clone(), db.clone()).expect("a server can listen on a free port");
        let name = if v2 { "remote write 2.0" } else { "remote write 1.0" };
        Self { name, address: server.local_addr(), db, v2, config, server }
    }

    /// Whether samples with custom buckets were sent to it.
    pub(crate) fn has_custom_buckets(&self) -> bool {
        self.v2
    }

    /// The name under which it has the metadata of a family. Remote write 2.0 describes series, not families: of an
    /// OpenMetrics counter only the name with its suffix arrives.
    pub(crate) fn metadata_name(&self, family: &str, metric_type: &Value) -> String {
        match metric_type.as_str() {
            Some("counter") if self.v2 => format!("{family}_total"),
            Some("info") if self.v2 => format!("{family}_info"),
            _ => family.to_owned(),
        }
    }

    /// Stops the server and starts another one on its data.
    fn restart(self) -> Self {
        self.server.shutdown().expect("a server stops");
        self.db.close().expect("a database closes");
        Self::start(self.v2, self.config)
    }
}

impl Recording {
    /// Records. Takes about a minute.
    pub(crate) fn make(programs: &Programs) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be created");
        let config = |name: &str| ServerConfig { data: dir.path().join(name), ..ServerConfig::default() };
        let v1 = Tsq::start(false, config("v1"));
        // Small bounds, so that queries read several blocks and the head.
        let options = Options { segment_bytes: 16 << 10, flush_bytes: 48 << 10, ..Options::default() };
        let v2 = Tsq::start(true, ServerConfig { options, ..config("v2") });

        let (app, app_address) = start_app(programs, dir.path(), "app");
        let (gone, gone_address) = start_app(programs, dir.path(), "gone");
        let targets = [("app", app_address), ("gone", gone_address), ("custom", app_address)];
        let (process, prometheus) = start_prometheus(programs, dir.path(), |own| {
            prometheus_config(&[&[("prometheus", own)], targets.as_slice()].concat(), v1.address, v2.address)
        });
        live(prometheus, gone);
        let mut recording = Self { prometheus, v1, v2, end_s: unix_s(), processes: vec![process, app], _dir: dir };
        // A scrape is stored some time after the time of its samples.
        recording.end_s -= 3;
        recording.wait_until_written();
        recording
    }

    /// Waits until both servers hold everything that Prometheus scraped up to the end: with one shard, samples are
    /// sent in the order of scrapes.
    fn wait_until_written(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for server in [&self.v1, &self.v2] {
            loop {
                let now = unix_s().to_string();
                let params = [("query", "min(timestamp(up))"), ("time", now.as_str())];
                let answer = http::data(server.address, "/api/v1/query", &params).expect("tsq answers");
                let newest = answer["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
                if newest.is_some_and(|newest| newest > (self.end_s + 1) as f64) {
                    break;
                }
                assert!(Instant::now() < deadline, "{}: the newest sample is of {newest:?}", server.name);
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    /// Stops Prometheus and the app, and starts both servers anew on their data. Only they can be asked after that.
    pub(crate) fn restart_servers(mut self) -> (Tsq, Tsq, TempDir) {
        self.processes.clear();
        (self.v1.restart(), self.v2.restart(), self._dir)
    }
}

/// The time now.
pub(crate) fn unix_s() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    i64::try_from(now.as_secs()).expect("the clock is before the end of time")
}

/// Lets time pass: asks Prometheus now and then, so that it has something to measure, and kills `gone` halfway.
fn live(prometheus: SocketAddr, gone: Process) {
    let began = Instant::now();
    let mut gone = Some(gone);
    for path in ["/-/healthy", "/-/ready", "/api/v1/labels", "/api/v1/status/buildinfo"].iter().cycle() {
        if began.elapsed() > LENGTH {
            break;
        }
        if began.elapsed() > GONE_AFTER {
            gone.take();
        }
        let response = Client::new(prometheus).get(path).expect("Prometheus answers");
        assert_eq!(response.status, 200, "{path}");
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// The configuration of Prometheus, as JSON, which is YAML.
fn prometheus_config(targets: &[(&str, SocketAddr)], v1: SocketAddr, v2: SocketAddr) -> String {
    let jobs: Vec<Value> = targets.iter().map(|(name, address)| job(name, *address)).collect();
    let mut old = remote_write(v1, "prometheus.WriteRequest");
    old["write_relabel_configs"] = json!([{ "source_labels": ["job"], "regex": "custom", "action": "drop" }]);
    let config = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": jobs,
        "remote_write": [old, remote_write(v2, "io.prometheus.write.v2.Request")],
    });
    config.to_string()
}

fn job(name: &str, address: SocketAddr) -> Value {
    let mut job = json!({ "job_name": name, "static_configs": [{ "targets": [address.to_string()] }] });
    if name == "custom" {
        job["convert_classic_histograms_to_nhcb"] = json!(true);
        job["metric_relabel_configs"] =
            json!([{ "source_labels": ["__name__"], "regex": "app_(latency|payload)_.*", "action": "keep" }]);
    }
    job
}

fn remote_write(to: SocketAddr, message: &str) -> Value {
    json!({
        "url": format!("http://{to}/api/v1/write"),
        "protobuf_message": message,
        "send_exemplars": true,
        "send_native_histograms": true,
        "metadata_config": { "send": true, "send_interval": "2s" },
        "queue_config": { "min_shards": 1, "max_shards": 1, "batch_send_deadline": "500ms" },
    })
}

/// Every sample of the two minutes up to `end_s`, as `(samples, answer)`.
pub(crate) fn all_samples(server: SocketAddr, end_s: i64) -> Result<Value, String> {
    let time = end_s.to_string();
    http::json(server, "/api/v1/query", &[("query", r#"{__name__=~".+"}[2m]"#), ("time", &time)])
}
