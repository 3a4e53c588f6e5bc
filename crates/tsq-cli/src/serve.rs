//! `tsq serve`.

use tracing_subscriber::EnvFilter;
use tsq_server::{ServeError, ServerConfig};

use crate::args::{Log, Serve};
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};

/// Serves until SIGTERM or Ctrl-C.
pub(crate) fn run(args: Serve, console: &mut Console) -> Result<Exit> {
    start_log(&args.log, console)?;
    avoid_huge_pages();
    let config: ServerConfig = args.settings.0;
    tracing::info!(data = %config.data.display(), "tsq {}", env!("CARGO_PKG_VERSION"));
    tsq_server::run(config)?;
    Ok(Exit::Ok)
}

/// Asks for memory in small pages. A query touches a few hundred KiB of fresh memory here and there, and in huge pages
/// each such place costs the clearing of 2 MiB, and keeps it.
fn avoid_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("memory may come in huge pages: {error}");
    }
}

/// Sends log lines to standard error.
pub(crate) fn start_log(log: &Log, console: &Console) -> Result<()> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| Failure::usage(format!("--log: {error}")))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that was set up before, by a program that calls `run` itself, stays.
    let _ = subscriber.with_ansi(console.err_colour).with_target(false).try_init();
    Ok(())
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Storage(error) => error.into(),
            ServeError::NotLoopback(_) | ServeError::NoPages(_) => Self::usage(error),
            ServeError::Listen(address, ref cause) if cause.kind() == std::io::ErrorKind::AddrInUse => {
                let hint = "choose another with --listen, port 0 for a free one";
                Self::failed(format!("something else listens on {address} already; {hint}"))
            }
            _ => Self::failed(error),
        }
    }
}
