//! Parse errors and the positions they speak of.

use std::fmt;

use crate::answer::{QueryError, QueryErrorKind};
use crate::ast::TextRange;

/// Why a query text is no query.
///
/// Displayed as Prometheus does: `line:column: parse error: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The bytes of the text that are wrong.
    pub range: TextRange,
    /// What is wrong with them.
    pub message: String,
    prefix: String,
}

impl ParseError {
    /// An error about the bytes `range` of `text`.
    pub(crate) fn new(text: &str, range: TextRange, message: impl Into<String>) -> Self {
        let prefix = if text.is_empty() {
            "unknown position: parse error: ".to_owned()
        } else {
            let (line, column) = position(text, range.start);
            format!("{line}:{column}: parse error: ")
        };
        Self { range, message: message.into(), prefix }
    }

    /// An error about the whole of `text`, shown without a position.
    pub(crate) fn whole(text: &str, message: impl Into<String>) -> Self {
        Self { range: TextRange { start: 0, end: text.len() }, message: message.into(), prefix: String::new() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, self.message)
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for QueryError {
    fn from(error: ParseError) -> Self {
        Self { kind: QueryErrorKind::BadData, message: error.to_string() }
    }
}

/// Line and column of a byte of `text`, both counted from one; columns count bytes, as Prometheus does.
///
/// A byte past the end stands at the end.
pub fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..byte.min(text.len())];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    (line, before.len() - line_start + 1)
}
