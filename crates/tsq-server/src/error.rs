//! Why a server could not start or stopped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server could not start, or what went wrong when it stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address can be reached from other machines and `insecure` is not set.
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// The operating system refused a thread, a signal handler or a timer.
    Io(io::Error),
    /// The database could not be opened or closed.
    Storage(tsq::Error),
    /// The catalog of runs could not be opened or closed.
    Runs(tsq_runs::Error),
    /// The folder holds no pages of MLflow.
    NoPages(PathBuf),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "refusing to listen on {address}: other machines can reach it and tsq does not authenticate them; \
                 listen on 127.0.0.1, put a proxy in front, or pass --insecure"
            ),
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Io(error) => write!(f, "cannot run the server: {error}"),
            Self::Storage(error) => error.fmt(f),
            Self::Runs(error) => error.fmt(f),
            Self::NoPages(dir) => {
                write!(f, "no pages of MLflow in {}: name the folder of the installed package mlflow", dir.display())
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotLoopback(_) | Self::NoPages(_) => None,
            Self::Listen(_, error) | Self::Io(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Runs(error) => Some(error),
        }
    }
}

impl From<tsq::Error> for ServeError {
    fn from(error: tsq::Error) -> Self {
        Self::Storage(error)
    }
}

impl From<tsq_runs::Error> for ServeError {
    fn from(error: tsq_runs::Error) -> Self {
        Self::Runs(error)
    }
}
