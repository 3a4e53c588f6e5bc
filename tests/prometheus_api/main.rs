//! The HTTP API of tsq beside that of a real Prometheus: both hold the same samples, get the same bytes (requests.txt,
//! queries.txt), and have to answer alike. Differences that are accepted are listed with their reasons.
//!
//! Needs `TSQ_TEST_PROMETHEUS`, the path of a Prometheus 3.5 or later.

mod data;
mod queries;
mod request;
mod shape;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use request::{Alike, Request};
use shape::Shape;
use tempfile::TempDir;
use tsq::Db;
use tsq_ingest::remote_write::encode_v2;
use tsq_server::{RunningServer, Server, ServerConfig};
use tsq_tests::http::Client;
use tsq_tests::prometheus::Prometheus;
use wire::{Reply, exchange};

/// Headers that are part of the contract. `content-encoding` is looked at apart: small answers stay as they are in tsq.
const HEADERS: [&str; 8] = [
    "content-type",
    "allow",
    "location",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "www-authenticate",
];

/// Two servers with the same samples.
struct Pair {
    prometheus: Prometheus,
    tsq: SocketAddr,
    _server: RunningServer,
    _dir: TempDir,
}

impl Pair {
    /// `None` where there is no Prometheus.
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder can be created");
        let prometheus = Prometheus::start(dir.path())?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = ServerConfig { data: dir.path().join("tsq"), listen, ..ServerConfig::default() };
        let db = Db::open(&config.data, config.options.clone()).expect("a database opens");
        let server = Server::start(config, db).expect("a server can listen on a free port");
        let tsq = server.local_addr();
        let body = encode_v2(&data::request());
        for to in [prometheus.address, tsq] {
            let headers = [
                ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
                ("content-encoding", "snappy"),
            ];
            let reply = Client::new(to).request("POST", "/api/v1/write", &headers, &body).expect("an answer");
            assert_eq!(reply.status, 204, "{}", reply.text());
        }
        Some(Self { prometheus, tsq, _server: server, _dir: dir })
    }

    fn ask(&self, request: &[u8]) -> Result<(Reply, Reply), String> {
        Ok((exchange(self.prometheus.address, request)?, exchange(self.tsq, request)?))
    }
}

fn list(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus_api").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_request_is_answered_as_prometheus_does() {
    let Some(pair) = Pair::start() else { return };
    let requests = request::parse(&list("requests.txt"));
    let problems: Vec<String> = requests.iter().filter_map(|request| problem(&pair, request)).collect();
    println!("{} requests", requests.len());
    assert!(problems.is_empty(), "{} of {} differ:\n{}", problems.len(), requests.len(), problems.join("\n"));
}

/// The queries of queries.txt and, where `TSQ_CONFORMANCE_DIR` names directories, those of the scripts there.
#[test]
fn queries_are_parsed_and_printed_as_prometheus_does() {
    let Some(pair) = Pair::start() else { return };
    let mut queries = queries::parse(&list("queries.txt"));
    let directories = std::env::var_os("TSQ_CONFORMANCE_DIR").unwrap_or_default();
    // An empty list is one empty path.
    for directory in std::env::split_paths(&directories).filter(|path| !path.as_os_str().is_empty()) {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("a directory entry can be read").path();
            if path.extension().is_some_and(|extension| extension == "test") {
                queries.extend(queries::of_script(&std::fs::read_to_string(&path).expect("a script is text")));
            }
        }
    }
    queries.sort();
    queries.dedup();
    let differ = |query: &String| Some(format!("{query}\n    {}", queries::difference(&pair, query)?));
    let problems: Vec<String> = queries.iter().filter_map(differ).collect();
    println!("{} queries", queries.len());
    assert!(problems.is_empty(), "{} of {} differ:\n{}", problems.len(), queries.len(), problems.join("\n"));
}

fn problem(pair: &Pair, request: &Request) -> Option<String> {
    let found = match pair.ask(&request.bytes) {
        Ok((want, got)) => judge(request, &want, &got)
            .map(|what| format!("{what}\n    want {}\n    got  {}", shown(&want), shown(&got))),
        Err(error) => Some(error),
    };
    found.map(|what| format!("requests.txt:{} {}\n    {what}", request.line, request.shown))
}

/// What is not as `request` says.
fn judge(request: &Request, want: &Reply, got: &Reply) -> Option<String> {
    let equal = want.status == got.status && headers_differ(want, got).is_none() && want.body == got.body;
    match request.alike {
        Alike::Not => equal.then(|| format!("alike, although: {}", request.reason)),
        Alike::Error if equal => Some(format!("alike, although: {}", request.reason)),
        _ if want.status != got.status => Some("another status".to_owned()),
        _ if headers_differ(want, got).is_some() => headers_differ(want, got),
        Alike::Bytes => (want.body != got.body).then(|| "another body".to_owned()),
        Alike::Error => (error_type(want) != error_type(got)).then(|| "another type of error".to_owned()),
        Alike::Order => (sorted(want) != sorted(got)).then(|| "another body".to_owned()),
        Alike::Shape | Alike::More => match (Shape::of(&want.body), Shape::of(&got.body)) {
            (Ok(want), Ok(got)) => {
                (!want.matches(&got, request.alike == Alike::More)).then(|| "another shape".to_owned())
            }
            (_, Err(error)) => Some(format!("no JSON: {error}")),
            (Err(_), Ok(_)) => Some("JSON, which Prometheus does not answer".to_owned()),
        },
    }
}

fn headers_differ(want: &Reply, got: &Reply) -> Option<String> {
    let differ = |name: &str, want: Vec<&str>, got: Vec<&str>| {
        (want != got).then(|| format!("another header {name}: {want:?} and {got:?}"))
    };
    let plain = HEADERS.iter().find_map(|name| differ(name, want.header(name), got.header(name)));
    // tsq says that its answers depend on `Accept-Encoding`; those of Prometheus do too.
    let mut vary = got.header("vary");
    vary.retain(|&value| value != "Accept-Encoding");
    let coding = || differ("content-encoding", want.header("content-encoding"), got.header("content-encoding"));
    plain.or_else(|| differ("vary", want.header("vary"), vary)).or_else(|| coding().filter(|_| want.body.len() > 1400))
}

/// The body with the elements of all lists sorted.
fn sorted(reply: &Reply) -> serde_json::Value {
    fn sort(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(list) => {
                list.iter_mut().for_each(sort);
                list.sort_by_key(ToString::to_string);
            }
            serde_json::Value::Object(map) => map.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(&reply.body).unwrap_or_default();
    sort(&mut value);
    value
}

fn error_type(reply: &Reply) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
    Some(json["errorType"].as_str()?.to_owned())
}

fn shown(reply: &Reply) -> String {
    let text: String = reply.text().chars().take(1500).collect();
    format!("{} {text:?}", reply.status)
}
