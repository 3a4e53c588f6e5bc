//! The programs of this test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tsq_tests::process::{PROMETHEUS_FEATURES, Process, program, prometheus};

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
        if let (Some(prometheus), Some(python)) = (prometheus(), program("TSQ_TEST_PYTHON")) {
            return Some(Self { prometheus, python });
        }
        tsq_tests::not_run(
            "TSQ_TEST_PROMETHEUS (a Prometheus 3) and TSQ_TEST_PYTHON (a Python with prometheus_client) name no files",
        );
        None
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

/// Starts Prometheus with the configuration that `config` makes of its own address. Its files lie in `dir`, which is
/// created.
pub(crate) fn start_prometheus(
    programs: &Programs,
    dir: &Path,
    config: impl Fn(SocketAddr) -> String,
) -> (Process, SocketAddr) {
    std::fs::create_dir_all(dir).expect("a folder can be created");
    let flags = [format!("--enable-feature={PROMETHEUS_FEATURES}")];
    tsq_tests::process::start_prometheus(&programs.prometheus, dir, &flags, config)
}
