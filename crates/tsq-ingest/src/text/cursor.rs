//! A place in a line, and the tokens that can stand there.

use std::borrow::Cow;

/// What is wrong and at which byte of the line.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

pub(super) type Parsed<T> = Result<T, Fault>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    line: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { line, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.line[start..self.at]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    pub(super) fn is_end(&self) -> bool {
        self.at == self.line.len()
    }

    /// Skips blanks and tabs; returns how many.
    pub(super) fn blanks(&mut self) -> usize {
        self.take_while(|byte| byte == b' ' || byte == b'\t').len()
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.since(start)
    }

    /// Skips this ASCII character if it comes next.
    pub(super) fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, wanted: u8) -> Parsed<()> {
        if self.eat(wanted) { Ok(()) } else { Err(self.wanted(&format!("{:?}", wanted as char))) }
    }

    /// The next token is not what stands in the grammar.
    #[cold]
    pub(super) fn wanted(&self, what: &str) -> Fault {
        let found = match self.rest().chars().next() {
            Some(found) => format!("{found:?}"),
            None => "the end of the line".to_owned(),
        };
        Fault { at: self.at, message: format!("expected {what}, found {found}") }
    }

    /// An unquoted name: letters, digits, `_`, and `:` if `colons`; no digit first.
    pub(super) fn name(&mut self, colons: bool, what: &str) -> Parsed<&'a str> {
        if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wanted(what));
        }
        let name = self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || colons && byte == b':');
        if name.is_empty() { Err(self.wanted(what)) } else { Ok(name) }
    }

    /// A string in double quotes.
    pub(super) fn quoted(&mut self, what: &str) -> Parsed<Cow<'a, str>> {
        let start = self.at;
        if !self.eat(b'"') {
            return Err(self.wanted(what));
        }
        let mut escapes = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') if self.at + 1 < self.line.len() => {
                    escapes = true;
                    self.at += 1;
                    // The escaped character may be of several bytes; all but the first are no quotes.
                    self.at += 1;
                }
                Some(_) => self.at += 1,
                None => return Err(Fault { at: start, message: format!("{what} has no closing quote") }),
            }
        }
        let text = self.since(start + 1);
        self.at += 1;
        Ok(if escapes { Cow::Owned(unescape(text, true)) } else { Cow::Borrowed(text) })
    }

    /// A run of characters without blanks.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|byte| byte != b' ' && byte != b'\t')
    }
}

/// Resolves `\\` and `\n`, and `\"` if `quotes`; other escapes stay as they are.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (resolved, skip) = match after.as_bytes().first() {
            Some(b'\\') => ('\\', 1),
            Some(b'n') => ('\n', 1),
            Some(b'"') if quotes => ('"', 1),
            _ => ('\\', 0),
        };
        out.push(resolved);
        rest = &after[skip..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_once() {
        assert_eq!(unescape(r#"a\\n\n\"\x\"#, true), "a\\n\n\"\\x\\");
        assert_eq!(unescape(r#"\""#, false), "\\\"");
        for (text, want) in [(r#""a\"b""#, Some("a\"b")), (r#""é\é""#, Some("é\\é")), (r#""a\"#, None), ("a", None)]
        {
            assert_eq!(Cursor::new(text).quoted("a value").ok().as_deref(), want, "{text}");
        }
    }
}
