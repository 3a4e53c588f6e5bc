//! A real Prometheus beside a test.

use std::net::SocketAddr;
use std::path::Path;

use crate::not_run;
use crate::process::{Process, prometheus, start_prometheus};

/// A Prometheus that takes remote writes and scrapes nothing. Dropping it kills the process.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Prometheus {
    /// Starts the program that `TSQ_TEST_PROMETHEUS` names, with its data in `dir`, all features of the language and the
    /// admin API on. `None` where the variable names no file; that fails where every test has to run.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start(dir: &Path) -> Option<Self> {
        let Some(program) = prometheus() else {
            not_run("TSQ_TEST_PROMETHEUS names no file");
            return None;
        };
        let features = "exemplar-storage,native-histograms,promql-experimental-functions,promql-duration-expr,promql-delayed-name-removal";
        let flags = [
            format!("--enable-feature={features}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--web.enable-admin-api".to_owned(),
            "--storage.tsdb.retention.time=100y".to_owned(),
        ];
        let (process, address) = start_prometheus(&program, dir, &flags, |_| "{}".to_owned());
        Some(Self { _process: process, address })
    }
}
