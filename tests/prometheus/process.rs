//! Programs that run beside the tests.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http;

/// The programs that this machine offers.
pub(crate) struct Programs {
    /// Prometheus 3.
    pub(crate) prometheus: PathBuf,
    /// A Python that has `prometheus_client`.
    pub(crate) python: PathBuf,
}

impl Programs {
    /// What `TSQ_TEST_PROMETHEUS` and `TSQ_TEST_PYTHON` name. Without them says that nothing is tested, and fails when
    /// `TSQ_TEST_REQUIRE` is 1.
    pub(crate) fn find() -> Option<Self> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file());
        if let (Some(prometheus), Some(python)) = (named("TSQ_TEST_PROMETHEUS"), named("TSQ_TEST_PYTHON")) {
            return Some(Self { prometheus, python });
        }
        let why =
            "TSQ_TEST_PROMETHEUS (a Prometheus 3) and TSQ_TEST_PYTHON (a Python with prometheus_client) name no files";
        assert!(std::env::var_os("TSQ_TEST_REQUIRE").is_none_or(|value| value != "1"), "{why}, and they are required");
        // Not `eprintln`, which is not shown when a test passes.
        let _ = writeln!(std::io::stderr(), "\nNOT RUN: the test with a real Prometheus: {why}\n");
        None
    }
}

/// A running program. Dropped it is killed, and in a failing test its log is shown.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that logs to the file `NAME.log` in `dir`.
    pub(crate) fn start(command: &mut Command, dir: &Path, name: &str) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log can be created");
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        Self { child, log }
    }

    /// Waits until `GET path` is answered with 200. False when the program ends before.
    pub(crate) fn wait_until_ready(&mut self, address: SocketAddr, path: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if matches!(http::get(address, path, &[]), Ok((200, _))) {
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
    fn first_line(&mut self) -> String {
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

/// Starts app.py: the process, and where it answers.
pub(crate) fn start_app(programs: &Programs, dir: &Path, name: &str) -> (Process, SocketAddr) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus/app.py");
    let mut app = Process::start(Command::new(&programs.python).arg(script).stdout(Stdio::piped()), dir, name);
    let line = app.first_line();
    let port = line.trim().strip_prefix("port ").and_then(|port| port.parse().ok());
    let port: u16 = port.unwrap_or_else(|| panic!("app.py said {line:?}, not its port"));
    (app, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Starts Prometheus with the configuration that `config` makes of its own address.
pub(crate) fn start_prometheus(
    programs: &Programs,
    dir: &Path,
    config: impl Fn(SocketAddr) -> String,
) -> (Process, SocketAddr) {
    let features = "native-histograms,exemplar-storage,metadata-wal-records,promql-experimental-functions";
    // It cannot be asked for a free port, and the one found here may be taken before it starts.
    for _ in 0..5 {
        let address = free_address();
        let file = dir.join("prometheus.json");
        std::fs::write(&file, config(address)).expect("a file can be written");
        let mut command = Command::new(&programs.prometheus);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()));
        command.arg(format!("--web.listen-address={address}")).arg(format!("--enable-feature={features}"));
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
