//! The pieces of a filter.

use crate::error::{Error, Result};

/// A piece and the number of its first character, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A word: a keyword, a number, or a name such as `metrics.loss`; the second part is a quoted end as in
    /// `metrics."my loss"`, without quotes.
    Word(String, Option<String>),
    /// A text in quotes, and which.
    Quoted(char, String),
    /// An operator.
    Operator(&'static str),
    Open,
    Close,
    Comma,
}

/// Operators, those first that others begin.
const OPERATORS: [&str; 7] = ["!=", "<=", ">=", "<>", "=", "<", ">"];

/// Characters of a filter or of one key of an order.
const CHARS_MAX: usize = 64 << 10;

/// Cuts a text into pieces.
///
/// # Errors
/// `Invalid` for a quote without end, for characters that begin no piece, and for a text that is too long.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>> {
    if text.len() > CHARS_MAX {
        return Err(Error::invalid(format!("Invalid filter: it has more than {CHARS_MAX} bytes")));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut found = Vec::new();
    while let Some(token) = lexer.token()? {
        found.push(token);
    }
    Ok(found)
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn token(&mut self) -> Result<Option<Token>> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        let kind = match first {
            '(' => self.single(TokenKind::Open),
            ')' => self.single(TokenKind::Close),
            ',' => self.single(TokenKind::Comma),
            '\'' | '"' | '`' => TokenKind::Quoted(first, self.quoted(first)?),
            _ => match OPERATORS.into_iter().find(|operator| self.starts_with(operator)) {
                Some(operator) => {
                    self.at += operator.len();
                    TokenKind::Operator(if operator == "<>" { "!=" } else { operator })
                }
                None => self.word()?,
            },
        };
        Ok(Some(Token { kind, at: start + 1 }))
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(offset, c)| self.chars.get(self.at + offset) == Some(&c))
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let start = self.at + 1;
        let Some(len) = self.chars[start..].iter().position(|&c| c == quote) else {
            return Err(Error::invalid(format!("Invalid filter: the quote at character {start} has no end")));
        };
        self.at = start + len + 1;
        Ok(self.chars[start..start + len].iter().collect())
    }

    fn word(&mut self) -> Result<TokenKind> {
        let ends = |c: char| c.is_whitespace() || "=!<>(),'\"`;".contains(c);
        let start = self.at;
        while self.peek().is_some_and(|c| !ends(c)) {
            self.at += 1;
        }
        if self.at == start {
            let found = self.chars[start];
            return Err(Error::invalid(format!("Invalid filter: unexpected {found:?} at character {}", start + 1)));
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match self.peek() {
            Some(quote @ ('`' | '"')) if word.ends_with('.') => Ok(TokenKind::Word(word, Some(self.quoted(quote)?))),
            _ => Ok(TokenKind::Word(word, None)),
        }
    }
}
