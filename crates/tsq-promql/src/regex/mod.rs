//! Regular expressions as Prometheus takes them: Go's (RE2) syntax, matched against whole label values, a dot matching
//! line breaks too.
//!
//! The syntax is parsed here and written again for the regex crate, whose own syntax differs in what classes such as `\d`
//! hold, in set operations within brackets, in `\Q..\E` and in what it refuses. Many patterns never need the regex
//! engine: a few literals, or literals between wildcards.

mod emit;
mod glob;
mod parse;
mod shape;

use std::sync::Arc;

use tsq_core::Pattern;

use shape::Shape;

/// Longest pattern in bytes.
const PATTERN_BYTES_MAX: usize = 4 << 10;

/// Memory of one compiled pattern in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Memory of all compiled patterns of a query in bytes.
const BUDGET_BYTES: usize = 8 << 20;

/// Deepest nesting of groups.
const NESTING_MAX: usize = 250;

/// A compiled pattern of Go's syntax that matches whole values.
#[derive(Debug)]
pub struct GoPattern {
    source: String,
    prefix: String,
    shape: Shape,
}

impl Pattern for GoPattern {
    fn is_match(&self, value: &str) -> bool {
        self.shape.is_match(value)
    }

    fn literals(&self) -> Option<&[String]> {
        match &self.shape {
            Shape::Literals(literals) => Some(literals),
            _ => None,
        }
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn source(&self) -> &str {
        &self.source
    }
}

/// Compiles a pattern. It must not be longer than 4 KiB nor take more than 1 MiB once compiled.
///
/// # Errors
/// What is wrong, in the words of Go's regexp package: `error parsing regexp: missing closing ): ...`.
pub fn compile_pattern(source: &str) -> Result<Arc<dyn Pattern>, String> {
    PatternBudget::default().compile(source)
}

/// Memory that the patterns of one query may still take together: 8 MiB at first.
#[derive(Debug)]
pub struct PatternBudget {
    bytes: usize,
}

impl Default for PatternBudget {
    fn default() -> Self {
        Self { bytes: BUDGET_BYTES }
    }
}

impl PatternBudget {
    /// As [`compile_pattern`], and charges the memory to the budget. Patterns that need no engine cost nothing.
    ///
    /// # Errors
    /// As [`compile_pattern`], and when the budget is used up.
    pub fn compile(&mut self, source: &str) -> Result<Arc<dyn Pattern>, String> {
        let node = parsed(source)?;
        let shape = match shape::shape_without_engine(&node) {
            Some(shape) => shape,
            None => Shape::Engine(engine(source, &node, self)?),
        };
        let prefix = shape.prefix().unwrap_or_else(|| shape::prefix(&node));
        Ok(Arc::new(GoPattern { source: source.to_owned(), prefix, shape }))
    }
}

/// Compiles a pattern for its capture groups, which are numbered and named as in Go; of several groups with one name only
/// the first has it. Matches whole values. The memory is charged to a budget.
///
/// # Errors
/// As [`compile_pattern`].
pub(crate) fn compile_captures(source: &str, budget: &mut PatternBudget) -> Result<regex::Regex, String> {
    engine(source, &parsed(source)?, budget)
}

fn parsed(source: &str) -> Result<parse::Node, String> {
    if source.len() > PATTERN_BYTES_MAX {
        let bytes = source.len();
        return Err(format!(
            "error parsing regexp: expression too large: {bytes} bytes, at most {PATTERN_BYTES_MAX} are allowed"
        ));
    }
    parse::parse(source).map_err(|error| format!("error parsing regexp: {error}"))
}

fn engine(source: &str, node: &parse::Node, budget: &mut PatternBudget) -> Result<regex::Regex, String> {
    let text = emit::anchored(node);
    // The crate does not tell how large a program became. The smallest limit it fits into is close enough.
    for limit in [16 << 10, 64 << 10, 256 << 10, COMPILED_BYTES_MAX] {
        if limit > budget.bytes {
            return Err(format!(
                "the regular expressions of one query take more than {BUDGET_BYTES} bytes, with `{source}`"
            ));
        }
        let mut builder = regex::RegexBuilder::new(&text);
        builder.size_limit(limit).dfa_size_limit(COMPILED_BYTES_MAX.min(8 * limit));
        // Groups may nest 250 deep; each adds a few levels of its own.
        builder.nest_limit(5 * u32::try_from(NESTING_MAX).expect("a small constant"));
        if let Ok(regex) = builder.build() {
            budget.bytes -= limit;
            return Ok(regex);
        }
    }
    Err(format!("error parsing regexp: expression too large: `{source}`"))
}

#[cfg(test)]
mod tests;
