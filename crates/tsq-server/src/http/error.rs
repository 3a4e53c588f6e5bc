//! Errors of `/api/v1` and their codes.

use std::fmt;

use axum::http::StatusCode;
use tsq::promql::{QueryError, QueryErrorKind};

/// The `errorType` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorType {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    /// Too much is going on; the same request may succeed later.
    Unavailable,
    /// A page of another origin may not change anything.
    Forbidden,
}

impl ErrorType {
    /// All of them, in the order of their declaration.
    pub(crate) const ALL: [Self; 7] = [
        Self::BadData,
        Self::Execution,
        Self::Canceled,
        Self::Timeout,
        Self::Internal,
        Self::Unavailable,
        Self::Forbidden,
    ];

    fn row(self) -> (&'static str, u16) {
        match self {
            Self::BadData => ("bad_data", 400),
            Self::Execution => ("execution", 422),
            Self::Canceled => ("canceled", 499),
            Self::Timeout => ("timeout", 503),
            Self::Internal => ("internal", 500),
            Self::Unavailable => ("unavailable", 503),
            Self::Forbidden => ("forbidden", 403),
        }
    }

    /// The name in the answer.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// The status code of the answer.
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table holds valid codes")
    }
}

/// A failed request of `/api/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) error_type: ErrorType,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into() }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorType::BadData, message)
    }

    /// A parameter that cannot be used, in Prometheus's words.
    pub(crate) fn parameter(name: &str, message: impl fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {message}"))
    }

    /// What became of the query of parameter `query`.
    pub(crate) fn query(error: QueryError) -> Self {
        let error_type = match error.kind {
            QueryErrorKind::BadData => return Self::parameter("query", error.message),
            QueryErrorKind::Execution => ErrorType::Execution,
            QueryErrorKind::Timeout => ErrorType::Timeout,
            QueryErrorKind::Canceled => ErrorType::Canceled,
            _ => ErrorType::Internal,
        };
        Self::new(error_type, error.message)
    }
}

/// A failure of the engine while reading.
impl From<tsq::Error> for ApiError {
    fn from(error: tsq::Error) -> Self {
        let error_type = match error.kind() {
            tsq::ErrorKind::LimitExceeded => ErrorType::Execution,
            tsq::ErrorKind::InvalidArgument => ErrorType::BadData,
            tsq::ErrorKind::StorageFull
            | tsq::ErrorKind::ReadOnly
            | tsq::ErrorKind::Closed
            | tsq::ErrorKind::SnapshotExpired => ErrorType::Unavailable,
            _ => ErrorType::Internal,
        };
        Self::new(error_type, error.to_string())
    }
}

/// A failure of the catalog of runs.
impl From<tsq_runs::Error> for ApiError {
    fn from(error: tsq_runs::Error) -> Self {
        let error_type = match error.kind() {
            tsq_runs::ErrorKind::Invalid | tsq_runs::ErrorKind::NotFound | tsq_runs::ErrorKind::Exists => {
                ErrorType::BadData
            }
            tsq_runs::ErrorKind::Unavailable => ErrorType::Unavailable,
            _ => ErrorType::Internal,
        };
        Self::new(error_type, error.message())
    }
}
