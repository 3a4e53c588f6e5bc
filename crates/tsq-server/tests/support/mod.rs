//! A server on a free port over a database in a temporary directory, and a small HTTP client.

#![allow(dead_code, reason = "each test binary uses a part")]

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tsq::{Db, Options};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, encode_v1};
use tsq_server::{RunningServer, Server, ServerConfig};

pub(crate) const V1: &str = "application/x-protobuf;proto=prometheus.WriteRequest";
pub(crate) const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// A running server, and a client of it. Dropping it stops the server.
pub(crate) struct Fixture {
    pub(crate) db: Db,
    server: Option<RunningServer>,
    http: Http,
    _dir: tempfile::TempDir,
}

/// A client of a server, for one thread.
pub(crate) struct Http {
    base: String,
    client: Client<HttpConnector, Body>,
    runtime: tokio::runtime::Runtime,
}

impl std::ops::Deref for Fixture {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The JSON, whose content type is checked too.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Floats, histograms and exemplars written, as the headers of remote write 2.0 say.
    pub(crate) fn written(&self) -> Option<[u64; 3]> {
        let count = |kind: &str| {
            let value = self.header(&format!("x-prometheus-remote-write-{kind}-written"))?;
            Some(value.parse().expect("a count"))
        };
        Some([count("samples")?, count("histograms")?, count("exemplars")?])
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A server with changed settings.
    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = ServerConfig { listen: "127.0.0.1:0".parse().expect("an address"), ..ServerConfig::default() };
        change(&mut config);
        let options = Options { background: false, ..config.options.clone() };
        let db = Db::open(dir.path(), options).expect("a new database");
        let server = Server::start(config, db.clone()).expect("a server");
        let http = Http::new(format!("http://{}", server.local_addr()));
        Self { db, server: Some(server), http, _dir: dir }
    }

    pub(crate) fn shutdown(mut self) {
        self.server.take().expect("it runs").shutdown().expect("a clean stop");
    }
}

impl Http {
    fn new(base: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { base, client, runtime }
    }

    /// Another client of the same server.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.base.clone())
    }

    pub(crate) fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("a valid request");
        self.runtime.block_on(async {
            let response = self.client.request(request).await.expect("an answer");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
            Reply { status: parts.status, headers: parts.headers, body }
        })
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Vec::new())
    }

    pub(crate) fn post_form(&self, path: &str, form: &str) -> Reply {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, path, &headers, form.as_bytes().to_vec())
    }

    pub(crate) fn write(&self, content_type: &str, body: Vec<u8>) -> Reply {
        let headers = [("content-type", content_type), ("content-encoding", "snappy")];
        self.send(Method::POST, "/api/v1/write", &headers, body)
    }

    /// Stores samples by remote write.
    pub(crate) fn store(&self, series: Vec<TimeSeries>) {
        let body = encode_v1(&WriteRequest { series, metadata: Vec::new() });
        let reply = self.write(V1, body);
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.text());
    }

    /// The value of a line of `/metrics`.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let page = self.get("/metrics");
        let found = page.text().lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in {}", page.text())).parse().expect("a number")
    }

    /// Opens a bare connection, for requests that no client library sends.
    pub(crate) fn connect(&self) -> std::net::TcpStream {
        std::net::TcpStream::connect(self.base.strip_prefix("http://").expect("the scheme")).expect("a connection")
    }
}

/// A series with samples at times in milliseconds.
pub(crate) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let labels = tsq::Labels::from_pairs(labels.iter().copied()).expect("valid labels");
    TimeSeries { labels, samples: samples.to_vec(), ..TimeSeries::default() }
}
