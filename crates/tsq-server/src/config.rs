//! What a server is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tsq::Options;
use tsq::promql::EngineOptions;
use tsq_ingest::otlp::OtlpOptions;

/// Settings of a server. Plain data: change the fields you care about.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Data directory. Default `tsq-data` in the working directory.
    pub data: PathBuf,
    /// Address to listen on; port 0 takes a free one. Default 127.0.0.1:9090.
    pub listen: SocketAddr,
    /// Serve an address that other machines can reach although nothing here authenticates them. Default false.
    pub insecure: bool,
    /// Let requests end the process (`/-/quit`) and reload its settings (`/-/reload`, which finds none to reload).
    /// Default false.
    pub lifecycle: bool,
    /// Folder of an installed package `mlflow`, or of its built pages: they are served at `/`. Default none.
    pub mlflow_ui: Option<PathBuf>,
    /// Settings of the database.
    pub options: Options,
    /// Limits of queries.
    pub engine: EngineOptions,
    /// How OpenTelemetry metrics become series. `target_info_interval_ms` is not used: it is half of `engine.lookback`.
    pub otlp: OtlpOptions,
    /// Limits of requests and connections.
    pub limits: ServerLimits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("tsq-data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            insecure: false,
            lifecycle: false,
            mlflow_ui: None,
            options: Options::default(),
            engine: EngineOptions::default(),
            otlp: OtlpOptions::default(),
            limits: ServerLimits::default(),
        }
    }
}

/// Bounds on what clients can make the server hold. What exceeds them is refused with an answer that names the limit.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Bytes of one write request once decoded. Default 32 MiB; the declared size is checked before decoding.
    pub request_bytes: usize,
    /// Bytes of all write requests in flight, received and decoded. Default 256 MiB; over it requests get 503.
    pub decoded_total_bytes: usize,
    /// Bytes of a form (POST parameters) or of a decoded remote read request. Default 1 MiB.
    pub form_bytes: usize,
    /// Open connections; further ones wait in the listen queue. Default 512.
    pub connections: usize,
    /// Queries that run at once. Default 20; each uses all cores.
    pub queries_running: usize,
    /// Queries that wait for a turn; further ones get 503. Default 256.
    pub queries_waiting: usize,
    /// Longest wait of a write or of maintenance for its turn, after which it gets 503. Default 10 s. A query may wait as
    /// long as it may take: the wait counts to its timeout.
    pub turn_wait: Duration,
    /// Bytes of the running totals of OpenTelemetry streams with delta temporality. Default 128 MiB; beyond it the streams
    /// that were idle longest are forgotten, and begin again at zero.
    pub delta_bytes: usize,
    /// Write requests that are decoded and appended at once; they share the log's group commit. Default 64.
    pub writes_running: usize,
    /// Remote reads that run at once; further ones wait like queries. Default 10, as in Prometheus.
    pub reads_running: usize,
    /// Samples of one answer to a remote read that asks for them one by one; chunks are streamed without a bound.
    /// Default 50 million, as in Prometheus.
    pub read_samples: usize,
    /// Bytes of one answer about series, labels or metadata, to a federating server, or to a remote read that asks for
    /// samples one by one. Default 256 MiB. All such answers to remote reads in flight may have twice as many.
    pub answer_bytes: usize,
    /// Time for the head of a request. Default 10 s; an idle connection is closed after it too.
    pub header_timeout: Duration,
    /// Time for the body of a request. Default 30 s.
    pub body_timeout: Duration,
    /// Time for requests in flight when the server stops. Default 4 s, so that a stop takes less than 5.
    pub stop_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            request_bytes: 32 << 20,
            decoded_total_bytes: 256 << 20,
            form_bytes: 1 << 20,
            connections: 512,
            queries_running: 20,
            queries_waiting: 256,
            turn_wait: Duration::from_secs(10),
            delta_bytes: 128 << 20,
            writes_running: 64,
            reads_running: 10,
            read_samples: 50_000_000,
            answer_bytes: 256 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(4),
        }
    }
}
