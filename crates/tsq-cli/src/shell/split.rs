//! Where statements begin and end.

use std::ops::Range;

use tsq::promql::{TokenKind, tokens};

use super::command::is_command;

/// A text cut into statements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The statements that are more than blanks and comments.
    pub statements: Vec<Range<usize>>,
    /// Where the last one begins, blank or not.
    pub last: usize,
    /// Whether the last one goes on: a bracket or a raw string is open, or an operator waits for its right side.
    pub open: bool,
}

/// Cuts at line ends and semicolons outside of brackets and strings. A statement that begins with `.` is a command and
/// ends with its line at the latest.
pub(super) fn split(text: &str) -> Cut {
    let mut cut = Cut { statements: Vec::new(), last: 0, open: false };
    let mut state = State::default();
    for (at, c) in text.char_indices() {
        let ends = match c {
            '\n' => state.line_end() && !waits(&text[cut.last..at]),
            ';' => state.is_outside(),
            c => {
                state.read(c);
                false
            }
        };
        if ends {
            cut.add(text, at);
            cut.last = at + c.len_utf8();
        }
    }
    cut.open = state.depth > 0 || state.quote == Some('`') || waits(&text[cut.last..]);
    cut.add(text, text.len());
    cut
}

impl Cut {
    fn add(&mut self, text: &str, end: usize) {
        let statement = &text[self.last..end];
        let trimmed = statement.trim();
        let is_command = is_command(trimmed);
        let says_something = is_command || tokens(trimmed).iter().any(|token| token.kind != TokenKind::Comment);
        if says_something {
            let start = self.last + (statement.len() - statement.trim_start().len());
            self.statements.push(start..start + trimmed.len());
        }
    }
}

/// Whether a statement ends with an operator.
fn waits(statement: &str) -> bool {
    let is_command = is_command(statement.trim_start());
    let last = || tokens(statement).into_iter().rfind(|token| token.kind != TokenKind::Comment);
    !is_command
        && last().is_some_and(|token| {
            let word = &statement[token.range.start..token.range.end];
            token.kind == TokenKind::Operator || matches!(word, "and" | "or" | "unless" | "atan2")
        })
}

/// What is open.
#[derive(Debug, Default)]
struct State {
    depth: usize,
    quote: Option<char>,
    escaped: bool,
    comment: bool,
}

impl State {
    fn is_outside(&self) -> bool {
        self.depth == 0 && self.quote.is_none() && !self.comment
    }

    /// Whether a line end ends the statement.
    fn line_end(&mut self) -> bool {
        self.comment = false;
        // Only raw strings go over several lines.
        if self.quote != Some('`') {
            (self.quote, self.escaped) = (None, false);
        }
        self.is_outside()
    }

    fn read(&mut self, c: char) {
        match (self.quote, c) {
            _ if self.comment => {}
            (Some(_), _) if self.escaped => self.escaped = false,
            (Some('"' | '\''), '\\') => self.escaped = true,
            (Some(quote), c) if c == quote => self.quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => self.quote = Some(c),
            (None, '#') => self.comment = true,
            (None, '(' | '[' | '{') => self.depth += 1,
            (None, ')' | ']' | '}') => self.depth = self.depth.saturating_sub(1),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<&str> {
        split(text).statements.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn line_ends_and_semicolons_separate() {
        assert_eq!(statements("up; down\n\n .timer on \nrate(x[5m])\n"), ["up", "down", ".timer on", "rate(x[5m])"]);
        assert_eq!(statements("sum(\n  up;\n)\nx"), ["sum(\n  up;\n)", "x"]);
        assert_eq!(statements("up{a=\"}\\\";\"} ; x"), ["up{a=\"}\\\";\"}", "x"]);
        assert_eq!(statements("up{a=`\\`};x"), ["up{a=`\\`}", "x"]);
        assert_eq!(statements("# only; this\n; ;\n"), [""; 0]);
        assert_eq!(statements("up # (;\ndown"), ["up # (;", "down"]);
        assert_eq!(statements("a +\n b\nc and # and\nd"), ["a +\n b", "c and # and\nd"]);
        assert_eq!(statements("'open\nup"), ["'open", "up"]);
        assert_eq!(statements(") up"), [") up"]);
    }

    #[test]
    fn open_ones_go_on() {
        for open in ["sum(", "up{", "x[5m", "up{a=`b\nc", "a *", "a; b(", "a or", "up{a=\"b"] {
            assert!(split(open).open, "{open}");
        }
        for closed in ["", "up", "sum(up)", ".watch 5s", ".range -1h now", "a # (", "a offset 5m", "'x", "sum(up))"] {
            assert!(!split(closed).open, "{closed}");
        }
        assert_eq!(split("a; b").last, 2);
    }
}
