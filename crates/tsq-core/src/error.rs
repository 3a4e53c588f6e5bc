//! One error type for the engine; kinds are cut by what the caller does next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The engine's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Stored bytes break a rule of docs/format.md. Restore the file or run `tsq recover`; a retry will not help.
    Corrupt,
    /// Well formed, but written by a newer tsq. Upgrade; the data is fine.
    UnsupportedFormat,
    /// A bound of [`Limits`](crate::Limits) was hit. Narrow the request or raise the limit that the message names.
    LimitExceeded,
    /// The caller passed something that can never be accepted. Fix the call.
    InvalidArgument,
    /// Too little free space. Reads go on; the same write succeeds once space returns.
    StorageFull,
    /// The store takes no writes until it is opened again: damage was found, an fsync failed, or it was opened so.
    ReadOnly,
    /// Another process holds the data directory. Its address, when it serves one, is in the message.
    Locked,
    /// The database was closed.
    Closed,
    /// The reader's view is older than what the engine still holds. Take a new snapshot.
    SnapshotExpired,
    /// The operating system refused. The cause is attached.
    Io,
}

/// An error of the engine: a kind to act on, and a message that says which file, which byte, found and wanted.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    place: Option<(PathBuf, Option<u64>)>,
    source: Option<io::Error>,
}

impl Error {
    /// An error of `kind` with a whole-sentence `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), place: None, source: None }))
    }

    /// Stored bytes break the format.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The caller passed something that can never be accepted.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// A bound was hit; `message` names it.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, message)
    }

    /// An operating-system error while doing `what` to `path`. A full disk becomes [`ErrorKind::StorageFull`].
    pub fn io(what: &str, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
            _ => ErrorKind::Io,
        };
        let message = format!("cannot {what}");
        Self(Box::new(Inner { kind, message, place: Some((path.to_path_buf(), None)), source: Some(source) }))
    }

    /// The same error, naming the file and byte offset it was found at.
    #[must_use]
    pub fn at(mut self, path: &Path, offset: u64) -> Self {
        self.0.place = Some((path.to_path_buf(), Some(offset)));
        self
    }

    /// The same error, naming the file it was found in.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        if self.0.place.is_none() {
            self.0.place = Some((path.to_path_buf(), None));
        }
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file and, when known, the byte offset the error is about.
    pub fn place(&self) -> Option<(&Path, Option<u64>)> {
        self.0.place.as_ref().map(|(path, offset)| (path.as_path(), *offset))
    }

    /// A copy for another waiter on the same failed operation.
    pub(crate) fn duplicate(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            place: self.0.place.clone(),
            source: self.0.source.as_ref().map(|source| io::Error::new(source.kind(), source.to_string())),
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.place {
            Some((path, Some(offset))) => write!(f, " ({}, byte {offset})", path.display())?,
            Some((path, None)) => write!(f, " ({})", path.display())?,
            None => {}
        }
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}
