//! Errors in MLflow's words.

use axum::http::StatusCode;
use tsq_runs::ErrorKind;

/// The `error_code` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidParameterValue,
    ResourceAlreadyExists,
    BadRequest,
    PermissionDenied,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
    InternalError,
}

impl Code {
    fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidParameterValue => ("INVALID_PARAMETER_VALUE", StatusCode::BAD_REQUEST),
            Self::ResourceAlreadyExists => ("RESOURCE_ALREADY_EXISTS", StatusCode::BAD_REQUEST),
            Self::BadRequest => ("BAD_REQUEST", StatusCode::BAD_REQUEST),
            Self::PermissionDenied => ("PERMISSION_DENIED", StatusCode::FORBIDDEN),
            Self::ResourceDoesNotExist => ("RESOURCE_DOES_NOT_EXIST", StatusCode::NOT_FOUND),
            Self::TemporarilyUnavailable => ("TEMPORARILY_UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
            Self::InternalError => ("INTERNAL_ERROR", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The name in the answer.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        self.row().1
    }
}

/// A failed request of MLflow's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceDoesNotExist, message)
    }

    /// The JSON of the answer.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({"error_code": self.code.name(), "message": self.message})
    }
}

impl From<tsq_runs::Error> for Failure {
    fn from(error: tsq_runs::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::InvalidParameterValue,
            ErrorKind::NotFound => Code::ResourceDoesNotExist,
            ErrorKind::Exists => Code::ResourceAlreadyExists,
            ErrorKind::Unavailable => Code::TemporarilyUnavailable,
            _ => Code::InternalError,
        };
        Self::new(code, error.message())
    }
}

impl From<tsq::Error> for Failure {
    fn from(error: tsq::Error) -> Self {
        tsq_runs::Error::from(error).into()
    }
}
