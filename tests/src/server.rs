//! A real `tsq serve` process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Client;

/// Longest wait for a server to listen, to get ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Log lines that are kept for messages.
const LOG_LINES: usize = 40;

/// A server process with a data directory. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
    started: Instant,
    ready_after: Duration,
}

/// The `tsq` executable: `TSQ_TEST_BINARY`, else built from this workspace in the profile of the running test.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TSQ_TEST_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Builds the executable unless the one that is there is up to date: a stale one is never tested.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test is known");
    let profile_dir = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let executable = profile_dir.join("tsq");
    if is_fresh(&executable) {
        return executable;
    }
    let target = profile_dir.parent().expect("tests lie in target/<profile>/deps");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(["build", "--bin", "tsq", "--profile", profile]);
    let built = cargo.arg("--target-dir").arg(target).status().expect("cargo runs");
    assert!(built.success(), "cargo build --bin tsq failed");
    executable
}

/// Whether an executable is newer than all its sources, which Cargo lists in a file beside it. Asking Cargo itself would
/// compile everything a second time: features differ between a build of tests and one of executables.
fn is_fresh(executable: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let Ok(built) = modified(executable) else { return false };
    let Ok(list) = std::fs::read_to_string(executable.with_extension("d")) else { return false };
    let Some((_, sources)) = list.split_once(": ") else { return false };
    sources.split_whitespace().all(|source| modified(Path::new(source)).is_ok_and(|changed| changed <= built))
}

impl Server {
    /// Starts a server on `data` and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or does not get ready in a minute: with the end of its log.
    pub fn start(data: &Path, flags: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(flags);
        // Settings of the developer's shell are not those of the test.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TSQ_")) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("cannot start {}: {error}", binary().display()))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let lines = follow(child.stderr.take().expect("standard error is a pipe"), Arc::clone(&log));
        let unborn = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, address: unborn, log, started, ready_after: Duration::ZERO };
        server.address = lines
            .recv_timeout(PATIENCE)
            .map_err(|_| format!("the server does not listen; its log ends: {}", server.log()))?;
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let mut client = self.client();
        while self.started.elapsed() < PATIENCE {
            if client.get("/-/ready").is_ok_and(|response| response.status == 200) {
                self.ready_after = self.started.elapsed();
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended before it was ready: {status}; its log ends: {}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("the server did not get ready; its log ends: {}", self.log()))
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Time from the start of the process until it was ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The last lines that it logged.
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |all, line| all + "\n  " + line)
    }

    /// Ends it at once, by SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When it had ended by itself before.
    pub fn kill(mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the server ended by itself: {status}; its log ends: {}", self.log()));
        }
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(|error| format!("cannot kill: {error}"))
    }

    /// Asks it to stop, by SIGTERM. Returns how it ended and how long that took.
    ///
    /// # Errors
    /// When it does not end in a minute.
    pub fn terminate(mut self) -> Result<(ExitStatus, Duration), String> {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|error| format!("cannot signal: {error}"))?;
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(|error| format!("cannot wait: {error}"))? {
                return Ok((status, asked.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("the server does not stop; its log ends: {}", self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process is gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the last lines of a log; sends the address that the server says it listens on.
fn follow(stderr: ChildStderr, log: Arc<Mutex<VecDeque<String>>>) -> Receiver<SocketAddr> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("listening on http://")
                && let Ok(address) = address.trim().parse()
            {
                // The receiver is gone once it has the address.
                let _ = sender.send(address);
            }
            let mut kept = log.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LOG_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
    receiver
}
