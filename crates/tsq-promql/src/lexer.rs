//! Cuts a query text into tokens. The rules depend on whether braces or brackets are open.

use crate::ast::{AggregateOp, BinaryOp, TextRange};
use crate::go_text::{code_point, quote, quote_char};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    End,
    /// The text cannot be cut further: see [`Lexer::error`].
    Error,
    Identifier,
    /// An identifier with a colon.
    MetricIdentifier,
    String,
    Number,
    Duration,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    Equal,
    EqualRegex,
    NotEqualRegex,
    At,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Word(Word),
}

/// Words of the language that are neither operators nor aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: TextRange,
}

impl Token {
    /// How error messages name the token.
    pub(crate) fn describe(&self, text: &str) -> String {
        let word = &text[self.range.start..self.range.end];
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", quote(word)),
            Kind::MetricIdentifier => format!("metric identifier {}", quote(word)),
            Kind::String => format!("string {}", quote_short(word)),
            Kind::Number => format!("number {}", quote_short(word)),
            Kind::Duration => format!("duration {}", quote_short(word)),
            Kind::Op(_) | Kind::At | Kind::EqualRegex | Kind::NotEqualRegex => format!("<op:{word}>"),
            Kind::Aggregate(_) => format!("<aggr:{word}>"),
            Kind::Word(Word::Start | Word::End | Word::Step | Word::Range | Word::MaxOf | Word::MinOf) => {
                quote_short(word)
            }
            Kind::Word(_) => format!("<{word}>"),
            _ => quote_short(word),
        }
    }
}

fn quote_short(word: &str) -> String {
    if word.len() <= 10 {
        return quote(word);
    }
    let cut: String = word.chars().take(10).collect();
    format!("{}...", quote(&cut))
}

/// The lexer: [`next_token`](Self::next_token) until [`Kind::End`] or [`Kind::Error`].
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    pos: usize,
    start: usize,
    parens: usize,
    in_braces: bool,
    brackets: Brackets,
    /// What is wrong when the last token was [`Kind::Error`].
    pub(crate) error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brackets {
    Closed,
    /// Before the first number: only durations may follow.
    Duration {
        any: bool,
        colon: bool,
    },
    /// After it: other tokens are cut as well, so that the parser can name them.
    Open {
        colon: bool,
    },
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0, start: 0, parens: 0, in_braces: false, brackets: Brackets::Closed, error: String::new() }
    }

    /// The next token; comments and blanks are skipped.
    pub(crate) fn next_token(&mut self) -> Token {
        let duration = matches!(self.brackets, Brackets::Duration { .. });
        self.skip_blanks(!duration);
        self.start = self.pos;
        let kind = match (self.in_braces, self.brackets) {
            (true, _) => self.in_braces(),
            (false, Brackets::Duration { any, colon }) => self.in_duration(any, colon),
            (false, _) => self.in_statement(),
        };
        let end = if kind == Kind::Error { self.text.len() } else { self.pos };
        Token { kind, range: TextRange { start: self.start, end } }
    }

    fn in_statement(&mut self) -> Kind {
        let Some(c) = self.next() else {
            return match self.brackets {
                _ if self.parens > 0 => self.fail("unclosed left parenthesis"),
                Brackets::Closed => Kind::End,
                _ => self.fail("unclosed left bracket"),
            };
        };
        if let Some(kind) = self.arithmetic(c) {
            return kind;
        }
        match c {
            ',' => Kind::Comma,
            '@' => Kind::At,
            '=' | '!' | '<' | '>' => self.comparison(c),
            '0'..='9' => self.number_or_duration(),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number_or_duration(),
            '"' | '\'' | '`' => self.string(c),
            '(' | ')' => self.paren(c),
            '{' => {
                self.in_braces = true;
                Kind::LeftBrace
            }
            '[' if self.brackets == Brackets::Closed => {
                self.brackets = Brackets::Duration { any: false, colon: false };
                Kind::LeftBracket
            }
            '[' => self.fail("unexpected left bracket '['"),
            ']' if self.brackets == Brackets::Closed => self.fail("unexpected right bracket ']'"),
            ']' => {
                self.brackets = Brackets::Closed;
                Kind::RightBracket
            }
            c if is_alpha(c) || c == ':' => match self.brackets {
                Brackets::Open { colon } => self.alpha_in_brackets(c, colon),
                _ => self.keyword_or_identifier(),
            },
            c => self.fail(format!("unexpected character: {}", quote_char(c))),
        }
    }

    fn alpha_in_brackets(&mut self, c: char, colon: bool) -> Kind {
        if c == ':' {
            if colon {
                return self.fail("unexpected colon ':'");
            }
            self.brackets = Brackets::Open { colon: true };
            return Kind::Colon;
        }
        self.duration_word()
            .unwrap_or_else(|| self.fail(format!("unexpected character: {}, expected ':'", quote_char(c))))
    }

    /// Inside brackets, before the first number.
    fn in_duration(&mut self, any: bool, colon: bool) -> Kind {
        let Some(c) = self.next() else {
            return self.fail("unexpected end of input in duration expression");
        };
        if let Some(kind) = self.arithmetic(c) {
            return kind;
        }
        match c {
            ']' => {
                self.brackets = Brackets::Closed;
                Kind::RightBracket
            }
            ':' if !any => self.fail_after("unexpected colon before duration in duration expression"),
            ':' if colon => self.fail_after("unexpected repeated colon in duration expression"),
            ':' => {
                self.brackets = Brackets::Duration { any, colon: true };
                Kind::Colon
            }
            '(' | ')' => self.paren(c),
            ',' => Kind::Comma,
            '0'..='9' => self.number_in_brackets(colon),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number_in_brackets(colon),
            c => {
                let word = if is_alpha(c) { self.duration_word() } else { None };
                if word.is_some() {
                    self.brackets = Brackets::Duration { any: true, colon };
                }
                word.unwrap_or_else(|| {
                    self.fail(format!("unexpected character in duration expression: {}", quote_char(c)))
                })
            }
        }
    }

    fn number_in_brackets(&mut self, colon: bool) -> Kind {
        self.brackets = Brackets::Open { colon };
        self.number_or_duration()
    }

    /// Inside braces words are no keywords.
    fn in_braces(&mut self) -> Kind {
        let Some(c) = self.next() else {
            return self.fail("unexpected end of input inside braces");
        };
        match c {
            ',' => Kind::Comma,
            '"' | '\'' | '`' => self.string(c),
            '=' if self.accept(|c| c == '~') => Kind::EqualRegex,
            '=' => Kind::Equal,
            '!' => match self.next() {
                Some('~') => Kind::NotEqualRegex,
                Some('=') => Kind::Op(BinaryOp::NotEqual),
                other => self.fail(format!("unexpected character after '!' inside braces: {}", quote_next(other))),
            },
            '{' => self.fail("unexpected left brace '{'"),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            c if is_alpha(c) => {
                self.accept_run(is_alphanumeric);
                Kind::Identifier
            }
            c => self.fail(format!("unexpected character inside braces: {}", quote_char(c))),
        }
    }

    fn arithmetic(&self, c: char) -> Option<Kind> {
        Some(Kind::Op(match c {
            '+' => BinaryOp::Add,
            '-' => BinaryOp::Sub,
            '*' => BinaryOp::Mul,
            '/' => BinaryOp::Div,
            '%' => BinaryOp::Mod,
            '^' => BinaryOp::Pow,
            _ => return None,
        }))
    }

    fn comparison(&mut self, c: char) -> Kind {
        if c == '!' {
            return match self.next() {
                Some('=') => Kind::Op(BinaryOp::NotEqual),
                other => self.fail(format!("unexpected character after '!': {}", quote_next(other))),
            };
        }
        if c == '=' {
            return match self.peek() {
                Some('=') => {
                    self.next();
                    Kind::Op(BinaryOp::Equal)
                }
                Some('~') => self.fail("unexpected character after '=': '~'"),
                _ => Kind::Equal,
            };
        }
        let less = c == '<';
        let or_equal = self.accept(|c| c == '=');
        let trim = !or_equal && self.accept(|c| c == '/');
        Kind::Op(match (less, or_equal, trim) {
            (true, true, _) => BinaryOp::LessEqual,
            (true, _, true) => BinaryOp::TrimUpper,
            (true, ..) => BinaryOp::Less,
            (false, true, _) => BinaryOp::GreaterEqual,
            (false, _, true) => BinaryOp::TrimLower,
            (false, ..) => BinaryOp::Greater,
        })
    }

    fn paren(&mut self, c: char) -> Kind {
        if c == '(' {
            self.parens += 1;
            return Kind::LeftParen;
        }
        match self.parens.checked_sub(1) {
            Some(parens) => {
                self.parens = parens;
                Kind::RightParen
            }
            None => self.fail_after("unexpected right parenthesis ')'"),
        }
    }

    /// A word that may stand in brackets; its first letter has been read.
    fn duration_word(&mut self) -> Option<Kind> {
        let start = self.pos;
        self.accept_run(is_alpha);
        let word = match self.text[self.start..self.pos].to_ascii_lowercase().as_str() {
            "step" => Word::Step,
            "range" => Word::Range,
            "max_of" => Word::MaxOf,
            "min_of" => Word::MinOf,
            _ => {
                self.pos = start;
                return None;
            }
        };
        Some(Kind::Word(word))
    }

    fn keyword_or_identifier(&mut self) -> Kind {
        self.accept_run(|c| is_alphanumeric(c) || c == ':');
        let word = &self.text[self.start..self.pos];
        match keyword(word) {
            // So that metrics of these names keep working.
            Some(Kind::Word(Word::Fill | Word::FillLeft | Word::FillRight)) if !self.paren_follows() => {
                Kind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        }
    }

    fn paren_follows(&self) -> bool {
        self.text[self.pos..].trim_start_matches(is_blank).starts_with('(')
    }

    /// The first character, a digit or a dot, has been read.
    fn number_or_duration(&mut self) -> Kind {
        self.pos = self.start;
        if self.scan_number() {
            return Kind::Number;
        }
        if self.scan_duration() {
            return Kind::Duration;
        }
        self.fail(format!("bad number or duration syntax: {}", quote(&self.text[self.start..self.pos])))
    }

    /// Reads what can begin a number; false if that is no number. Follows Prometheus step by step, because its error
    /// messages and the start of a duration depend on how far it got.
    fn scan_number(&mut self) -> bool {
        let mut is_digit: fn(char) -> bool = |c| c.is_ascii_digit();
        let mut hex = false;
        if self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X')) {
            self.accept(|c| c == '_');
            is_digit = |c| c.is_ascii_hexdigit();
            hex = true;
        }
        self.accept(|c| c == '.');
        self.accept(is_digit);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek() {
            match c {
                c if is_digit(c) => self.accept_run(is_digit),
                '.' => {
                    self.next();
                    if dot || hex || self.accept(|c| matches!(c, '_' | '.')) {
                        return false;
                    }
                    dot = true;
                }
                'e' | 'E' => {
                    self.next();
                    if exponent {
                        return false;
                    }
                    exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    self.next();
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                _ => break,
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    /// Reads the rest of a duration after its first number. Order and names of units are checked later.
    fn scan_duration(&mut self) -> bool {
        if !self.accept(|c| "smhdwy".contains(c)) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_run(|c| c.is_ascii_digit());
            if !self.accept(|c| "smhdw".contains(c)) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        !self.accept(is_alphanumeric)
    }

    /// The opening quote has been read.
    fn string(&mut self, quote: char) -> Kind {
        loop {
            match self.next() {
                Some(c) if c == quote => return Kind::String,
                None if quote == '`' => return self.fail("unterminated raw string"),
                Some(_) if quote == '`' => {}
                None | Some('\n') => return self.fail("unterminated quoted string"),
                Some('\\') => {
                    if let Err(message) = self.escape(quote) {
                        return self.fail(message);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), String> {
        let unterminated = || "escape sequence not terminated".to_owned();
        let c = self.next().ok_or_else(unterminated)?;
        let (digits, base, max, mut value) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => (2, 8, 255, u32::from(c) - u32::from('0')),
            'x' => (2, 16, 255, 0),
            'u' => (4, 16, u32::from(char::MAX), 0),
            'U' => (8, 16, u32::from(char::MAX), 0),
            c => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        for _ in 0..digits {
            let c = self.next().ok_or_else(unterminated)?;
            let digit =
                c.to_digit(base).ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            value = value.wrapping_mul(base) + digit;
        }
        if value > max || (0xD800..0xE000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn skip_blanks(&mut self, comments: bool) {
        loop {
            self.accept_run(is_blank);
            if !(comments && self.peek() == Some('#')) {
                return;
            }
            self.accept_run(|c| !matches!(c, '\r' | '\n'));
        }
    }

    fn fail(&mut self, message: impl Into<String>) -> Kind {
        self.error = message.into();
        Kind::Error
    }

    /// Fails behind the character just read, where Prometheus reports some errors.
    fn fail_after(&mut self, message: &str) -> Kind {
        self.start = self.pos;
        self.fail(message)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.next();
        }
        found
    }

    fn accept_run(&mut self, wanted: impl Fn(char) -> bool) {
        while self.accept(&wanted) {}
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// Go shows the end of the text as the replacement character.
fn quote_next(c: Option<char>) -> String {
    quote_char(c.unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn keyword(word: &str) -> Option<Kind> {
    let kind = match word.to_ascii_lowercase().as_str() {
        "and" => Kind::Op(BinaryOp::And),
        "or" => Kind::Op(BinaryOp::Or),
        "unless" => Kind::Op(BinaryOp::Unless),
        "atan2" => Kind::Op(BinaryOp::Atan2),
        "inf" | "nan" => Kind::Number,
        "bool" => Kind::Word(Word::Bool),
        "by" => Kind::Word(Word::By),
        "group_left" => Kind::Word(Word::GroupLeft),
        "group_right" => Kind::Word(Word::GroupRight),
        "fill" => Kind::Word(Word::Fill),
        "fill_left" => Kind::Word(Word::FillLeft),
        "fill_right" => Kind::Word(Word::FillRight),
        "ignoring" => Kind::Word(Word::Ignoring),
        "offset" => Kind::Word(Word::Offset),
        "smoothed" => Kind::Word(Word::Smoothed),
        "anchored" => Kind::Word(Word::Anchored),
        "on" => Kind::Word(Word::On),
        "without" => Kind::Word(Word::Without),
        "start" => Kind::Word(Word::Start),
        "end" => Kind::Word(Word::End),
        "step" => Kind::Word(Word::Step),
        "range" => Kind::Word(Word::Range),
        "max_of" => Kind::Word(Word::MaxOf),
        "min_of" => Kind::Word(Word::MinOf),
        other => return aggregate(other).map(Kind::Aggregate),
    };
    Some(kind)
}

fn aggregate(word: &str) -> Option<AggregateOp> {
    AggregateOp::ALL.iter().copied().find(|op| op.name() == word)
}
