//! A real Prometheus beside a test.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::not_run;

/// Longest wait until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Prometheus that takes remote writes and scrapes nothing. Dropping it kills the process.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    log: PathBuf,
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
        let program = std::env::var_os("TSQ_TEST_PROMETHEUS").map(PathBuf::from).filter(|path| path.is_file());
        let Some(program) = program else {
            not_run("TSQ_TEST_PROMETHEUS names no file");
            return None;
        };
        let config = dir.join("prometheus.yml");
        std::fs::write(&config, "").expect("a file can be written");
        // It cannot be asked for a free port, and the one found here may be taken before it starts.
        (0..5).find_map(|_| Self::start_on(&program, dir, free_address()))
    }

    fn start_on(program: &Path, dir: &Path, address: SocketAddr) -> Option<Self> {
        let log = dir.join("prometheus.log");
        let file = File::create(&log).expect("a log can be created");
        let features = "exemplar-storage,native-histograms,promql-experimental-functions,promql-duration-expr,promql-delayed-name-removal";
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", dir.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()));
        command.arg(format!("--web.listen-address={address}")).arg(format!("--enable-feature={features}"));
        command.args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"]);
        command.arg("--storage.tsdb.retention.time=100y");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut started = Self { child, log, address };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if Client::new(address).get("/-/ready").is_ok_and(|response| response.status == 200) {
                return Some(started);
            }
            if started.child.try_wait().expect("a child can be waited for").is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Prometheus is not ready after {PATIENCE:?}; its log: {}", started.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only when the process is gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("127.0.0.1 has a free port");
    listener.local_addr().expect("a listener has an address")
}
