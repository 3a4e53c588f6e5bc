//! Errors of the formats: what was expected and where.

use std::fmt;

/// What a receiver answers to a [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes break the rules of their format. Sending them again will not help.
    Malformed,
    /// The bytes exceed a bound, which the message names. Smaller requests pass.
    TooLarge,
}

/// A request body that cannot be decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: DecodeErrorKind,
    offset: usize,
    message: String,
}

impl DecodeError {
    #[cold]
    pub(crate) fn malformed(offset: usize, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind: DecodeErrorKind::Malformed, offset, message: message.into() }))
    }

    #[cold]
    pub(crate) fn too_large(offset: usize, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind: DecodeErrorKind::TooLarge, offset, message: message.into() }))
    }

    /// What a receiver answers.
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }

    /// Byte of the decoded body at which the error was found; for compression errors, of the body as sent.
    pub fn offset(&self) -> usize {
        self.0.offset
    }

    /// What was expected and what was found.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.0.offset, self.0.message)
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for DecodeError {}
