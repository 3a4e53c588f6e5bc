//! Programs that run beside the tests.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;

/// Features of Prometheus that tests with it count on.
pub const PROMETHEUS_FEATURES: &str = "native-histograms,exemplar-storage,metadata-wal-records,\
     promql-experimental-functions,promql-duration-expr";

/// The Prometheus 3 that `TSQ_TEST_PROMETHEUS` names.
pub fn prometheus() -> Option<PathBuf> {
    program("TSQ_TEST_PROMETHEUS")
}

/// The file that an environment variable names.
pub fn program(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

/// A running program. Dropped it is killed, and in a failing test its log is shown.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that logs to the file `NAME.log` in `dir`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command, dir: &Path, name: &str) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log can be created");
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        Self { child, log }
    }

    /// Waits until `GET path` is answered with 200. False when the program ends before.
    ///
    /// # Panics
    /// When it takes longer than 30 s.
    pub fn wait_until_ready(&mut self, address: SocketAddr, path: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if Client::new(address).get(path).is_ok_and(|response| response.status == 200) {
                return true;
            }
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{address} is not ready after 30 s");
    }

    /// The first line that a program says on standard output, which has to be piped.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn first_line(&mut self) -> String {
        let out = self.child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("standard output can be read");
        line
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- the end of {}:\n{}", self.log.display(), last.join("\n"));
        }
    }
}

/// Starts Prometheus with these flags and the configuration that `config` makes of its own address; its data and its log
/// lie in `dir`. Returns the process, and where it answers.
///
/// # Panics
/// When it does not start.
pub fn start_prometheus(
    program: &Path,
    dir: &Path,
    flags: &[String],
    config: impl Fn(SocketAddr) -> String,
) -> (Process, SocketAddr) {
    // It cannot be asked for a free port, and the one found here may be taken before it starts.
    for _ in 0..5 {
        let address = free_address();
        let file = dir.join("prometheus.json");
        std::fs::write(&file, config(address)).expect("a file can be written");
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()));
        command.arg(format!("--web.listen-address={address}")).args(flags);
        let mut process = Process::start(command.stdout(Stdio::null()), dir, "prometheus");
        if process.wait_until_ready(address, "/-/ready") {
            return (process, address);
        }
    }
    panic!("Prometheus does not start: see the logs above");
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("127.0.0.1 has a free port");
    listener.local_addr().expect("a listener has an address")
}
