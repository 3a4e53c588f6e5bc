//! How a command ends: exit codes, and failures that carry one.

use std::fmt;
use std::io;
use std::process::ExitCode;

use tsq::promql::{QueryError, QueryErrorKind};
use tsq::{Error, ErrorKind};

/// Exit codes of `tsq`. They are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for was done.
    Ok = 0,
    /// It could not be done: a file, the network, the disk, a lock.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The query is wrong, hit a limit or took too long.
    Query = 3,
    /// Stored data is damaged.
    Damaged = 4,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of our output went away: not worth a message.
    BrokenPipe,
    /// An exit code, and the text after `error: `.
    Message(Exit, String),
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Message(Exit::Failed, message.to_string())
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Message(Exit::Usage, message.to_string())
    }
}

/// Writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Corrupt => Exit::Damaged,
            _ => Exit::Failed,
        };
        Self::Message(exit, error.to_string())
    }
}

impl From<tsq_runs::Error> for Failure {
    fn from(error: tsq_runs::Error) -> Self {
        Self::failed(error)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let exit = match error.kind {
            QueryErrorKind::Storage => Exit::Damaged,
            _ => Exit::Query,
        };
        Self::Message(exit, error.message)
    }
}
