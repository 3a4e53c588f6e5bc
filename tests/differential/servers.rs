//! Prometheus and tsq with the same data.

use tempfile::TempDir;
use tsq_tests::http::Client;
use tsq_tests::prometheus::Prometheus;
use tsq_tests::server::Server;

use crate::compare::{self, Order};
use crate::data::{Data, END_MS, START_MS};
use crate::query::seconds;

/// Two servers that hold the same samples.
pub(crate) struct Servers {
    pub(crate) prometheus: Client,
    pub(crate) tsq: Client,
    // Killed before the folder goes away.
    _processes: (Prometheus, Server),
    _dir: TempDir,
}

impl Servers {
    /// Starts both and writes the data to them. None where there is no Prometheus, which is said.
    pub(crate) fn start(data: &Data) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder can be created");
        let process = Prometheus::start(dir.path())?;
        let server = Server::start(&dir.path().join("tsq"), &[]).expect("tsq starts");
        let mut servers = Self {
            prometheus: Client::new(process.address),
            tsq: server.client(),
            _processes: (process, server),
            _dir: dir,
        };
        servers.load(data);
        Some(servers)
    }

    fn load(&mut self, data: &Data) {
        for (index, request) in data.requests().iter().enumerate() {
            for (name, client) in [("Prometheus", &mut self.prometheus), ("tsq", &mut self.tsq)] {
                let response = client.remote_write_v2(request).expect("a server answers");
                assert_eq!(response.status / 100, 2, "{name} refuses request {index}: {}", response.text());
            }
        }
        self.same_samples();
    }

    /// Both give back the same samples, every one of them.
    fn same_samples(&mut self) {
        let range = seconds(END_MS - START_MS + 1000);
        let fields = [("query", &*format!("{{__name__=~\".+\"}}[{range}]")), ("time", &seconds(END_MS))];
        let want = self.prometheus.form("/api/v1/query", &fields).expect("all samples can be read");
        let got = self.tsq.form("/api/v1/query", &fields).expect("all samples can be read");
        let different = compare::differences(&want, &got, Order::None);
        assert!(different.is_empty(), "the servers hold different samples: {different:?}");
        assert!(compare::has_data(&want), "the servers hold samples");
    }
}
