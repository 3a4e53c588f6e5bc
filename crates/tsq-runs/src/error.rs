//! One error type of this crate; kinds are cut by what the caller does next.

use std::fmt;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller passed something that can never be accepted. Fix the call.
    Invalid,
    /// There is no such experiment, run, tag or model.
    NotFound,
    /// The name is taken.
    Exists,
    /// Too little space, or the store takes no writes now. The same call may succeed later.
    Unavailable,
    /// The catalog was written by a newer tsq. Upgrade; the data is fine.
    UnsupportedFormat,
    /// The catalog or the engine could not do its work; the message says why.
    Storage,
}

/// An error with a kind to act on and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of `kind` with a whole-sentence `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The caller passed something that can never be accepted.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The name is taken.
    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Exists, message)
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ReadOnly) => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Storage,
        };
        Self::new(kind, format!("the catalog of runs: {error}"))
    }
}

impl From<tsq_core::Error> for Error {
    fn from(error: tsq_core::Error) -> Self {
        let kind = match error.kind() {
            tsq_core::ErrorKind::InvalidArgument | tsq_core::ErrorKind::LimitExceeded => ErrorKind::Invalid,
            tsq_core::ErrorKind::StorageFull | tsq_core::ErrorKind::ReadOnly | tsq_core::ErrorKind::Closed => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Storage,
        };
        Self::new(kind, error.to_string())
    }
}
