//! Errors of the formats: what was expected and where.

use std::fmt;
use std::io;

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

/// Text that breaks the rules of its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line of the input, from 1.
    pub line: u64,
    /// Where in the line: the character, from 1, or in CSV the field.
    pub column: u64,
    /// What was expected and what was found.
    pub message: String,
}

impl ParseError {
    #[cold]
    pub(crate) fn new(line: u64, column: u64, message: impl Into<String>) -> Self {
        Self { line, column, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Why an import stopped. What was read before stays valid.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// The input could not be read.
    Io(io::Error),
    /// A text format is broken at this line.
    Parse(ParseError),
    /// A binary format is broken.
    Corrupt {
        /// Byte of the decompressed input.
        offset: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// The options do not fit the format or the input.
    Options(String),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the input: {error}"),
            Self::Parse(error) => error.fmt(f),
            Self::Corrupt { offset, message } => write!(f, "byte {offset}: {message}"),
            Self::Options(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ImportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Parse(error) => Some(error),
            Self::Corrupt { .. } | Self::Options(_) => None,
        }
    }
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ParseError> for ImportError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

/// Why an export stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// The output could not be written.
    Io(io::Error),
    /// The options do not fit what is exported.
    Options(String),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot write the output: {error}"),
            Self::Options(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Options(_) => None,
        }
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
