//! Why a server could not start or stopped.

use std::fmt;
use std::io;
use std::net::SocketAddr;

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
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotLoopback(_) => None,
            Self::Listen(_, error) | Self::Io(error) => Some(error),
            Self::Storage(error) => Some(error),
        }
    }
}

impl From<tsq::Error> for ServeError {
    fn from(error: tsq::Error) -> Self {
        Self::Storage(error)
    }
}
