//! Prometheus text (0.0.4 and 1.0.0) and OpenMetrics 1.0.
//!
//! | | [`TextFormat::Prometheus`] | [`TextFormat::OpenMetrics`] |
//! |---|---|---|
//! | times | integer milliseconds | decimal seconds |
//! | blanks, tabs, empty lines, trailing commas, other comments | allowed | refused |
//! | exemplars, UNIT, `# EOF` | refused, a comment, a comment | read, read, required |
//! | quoted UTF-8 names, `{"my.name", label="v"}` | read | read |
//! | hexadecimal floats | read | read |
//! | types | counter gauge histogram summary untyped | those and unknown info stateset gaugehistogram |
//!
//! As in Prometheus's own parsers, names are not checked against types, and families may interleave. Backslash escapes
//! other than `\\`, `\"` and `\n` stay as they are. NaN is read as Prometheus's ordinary NaN. Metadata is kept under the
//! name of the TYPE, HELP or UNIT line.

mod cursor;
mod line;
mod read;
mod write;

pub use read::{TextCounts, TextImporter, parse};
pub use write::{TextExporter, family_order};
pub(crate) use write::{is_bare, quote};

/// Which of the text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextFormat {
    /// `text/plain; version=0.0.4` and `version=1.0.0`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}
