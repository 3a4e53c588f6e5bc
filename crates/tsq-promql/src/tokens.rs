//! The pieces of a query text, for editors: what to colour how, and what may be completed where.

use crate::ast::{AggregateOp, TextRange};
use crate::lexer::{Kind, Lexer, Word};
use crate::signatures::{SIGNATURES, signature};

/// What a piece of a query text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// A metric, or a word that is nothing else.
    Name,
    /// A label, in braces or in a list such as that of `by`.
    Label,
    /// A function with its parenthesis behind it.
    Function,
    /// `sum` and its like.
    Aggregation,
    /// `by`, `offset`, `bool` and their like.
    Keyword,
    /// An operator, `@` and what compares labels.
    Operator,
    /// A number.
    Number,
    /// A duration.
    Duration,
    /// A string with its quotes.
    String,
    /// A bracket that opens.
    Open,
    /// A bracket that closes.
    Close,
    /// `,` and `:`.
    Punctuation,
    /// From `#` to the end of the line.
    Comment,
    /// The rest of a text that cannot be cut further, such as a string without its second quote.
    Rest,
}

/// A piece of a query text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub range: TextRange,
}

/// Words with a meaning of their own that are neither functions nor aggregations, sorted.
pub const KEYWORDS: &[&str] = &[
    "anchored",
    "and",
    "atan2",
    "bool",
    "by",
    "fill",
    "fill_left",
    "fill_right",
    "group_left",
    "group_right",
    "ignoring",
    "offset",
    "on",
    "or",
    "smoothed",
    "unless",
    "without",
];

/// Names of all functions, sorted.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    SIGNATURES.iter().map(|signature| signature.name)
}

/// Names of all aggregations.
pub fn aggregation_names() -> impl Iterator<Item = &'static str> {
    AggregateOp::ALL.into_iter().map(AggregateOp::name)
}

/// Cuts a text into its pieces, blanks left out. Any text will do: what is wrong is [`TokenKind::Rest`].
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(text);
    let mut tokens: Vec<Token> = Vec::new();
    let (mut in_braces, mut list) = (false, List::None);
    loop {
        let token = lexer.next_token();
        let end_before = tokens.last().map_or(0, |token| token.range.end);
        comments(text, end_before, token.range.start, &mut tokens);
        let kind = match token.kind {
            Kind::End => return tokens,
            Kind::Error => {
                if !token.range.is_empty_in(text) {
                    tokens.push(Token { kind: TokenKind::Rest, range: token.range });
                }
                return tokens;
            }
            Kind::Identifier if in_braces || list == List::Open => TokenKind::Label,
            Kind::Identifier if is_call(text, token.range) => TokenKind::Function,
            Kind::Identifier | Kind::MetricIdentifier => TokenKind::Name,
            Kind::String => TokenKind::String,
            Kind::Number => TokenKind::Number,
            Kind::Duration => TokenKind::Duration,
            Kind::LeftParen | Kind::LeftBrace | Kind::LeftBracket => TokenKind::Open,
            Kind::RightParen | Kind::RightBrace | Kind::RightBracket => TokenKind::Close,
            Kind::Comma | Kind::Colon => TokenKind::Punctuation,
            Kind::Op(op) if op.name().starts_with(|c: char| c.is_ascii_alphabetic()) => TokenKind::Keyword,
            Kind::Op(_) | Kind::At | Kind::Equal | Kind::EqualRegex | Kind::NotEqualRegex => TokenKind::Operator,
            // Labels may have the names of keywords.
            Kind::Aggregate(_) | Kind::Word(_) if list == List::Open => TokenKind::Label,
            Kind::Aggregate(_) => TokenKind::Aggregation,
            Kind::Word(Word::Start | Word::End | Word::Step | Word::Range | Word::MaxOf | Word::MinOf) => {
                TokenKind::Function
            }
            Kind::Word(_) => TokenKind::Keyword,
        };
        in_braces = match token.kind {
            Kind::LeftBrace => true,
            Kind::RightBrace => false,
            _ => in_braces,
        };
        list = list.after(token.kind);
        tokens.push(Token { kind, range: token.range });
    }
}

/// Whether a list of labels is open: that of `by`, `on` and their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    None,
    /// The word was there, the parenthesis not yet.
    Announced,
    Open,
}

impl List {
    fn after(self, kind: Kind) -> Self {
        match (self, kind) {
            (List::Open, Kind::RightParen) => List::None,
            (List::Open, _) | (List::Announced, Kind::LeftParen) => List::Open,
            (
                _,
                Kind::Word(Word::By | Word::Without | Word::On | Word::Ignoring | Word::GroupLeft | Word::GroupRight),
            ) => List::Announced,
            _ => List::None,
        }
    }
}

fn is_call(text: &str, range: TextRange) -> bool {
    signature(&text[range.start..range.end]).is_some() && text[range.end..].trim_start().starts_with('(')
}

/// Adds the comments between two tokens.
fn comments(text: &str, start: usize, end: usize, tokens: &mut Vec<Token>) {
    let mut at = start;
    for line in text[start..end].split_inclusive('\n') {
        if let Some(sign) = line.find('#') {
            let range = TextRange { start: at + sign, end: at + line.trim_end_matches(['\r', '\n']).len() };
            tokens.push(Token { kind: TokenKind::Comment, range });
        }
        at += line.len();
    }
}

impl TextRange {
    /// Whether it has nothing but blanks.
    fn is_empty_in(self, text: &str) -> bool {
        text[self.start.min(text.len())..self.end.min(text.len())].trim().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text).into_iter().map(|token| (token.kind, &text[token.range.start..token.range.end])).collect()
    }

    #[test]
    fn pieces_of_a_query() {
        use TokenKind::{
            Aggregation, Close, Comment, Duration, Function, Keyword, Label, Name, Number, Open, Operator, Punctuation,
            Rest, String,
        };
        assert_eq!(
            shown("sum by (job, offset) (rate(a:b{c=~\"d\"}[5m] offset 1h)) # why\n/ 2 and up"),
            [
                (Aggregation, "sum"),
                (Keyword, "by"),
                (Open, "("),
                (Label, "job"),
                (Punctuation, ","),
                (Label, "offset"),
                (Close, ")"),
                (Open, "("),
                (Function, "rate"),
                (Open, "("),
                (Name, "a:b"),
                (Open, "{"),
                (Label, "c"),
                (Operator, "=~"),
                (String, "\"d\""),
                (Close, "}"),
                (Open, "["),
                (Duration, "5m"),
                (Close, "]"),
                (Keyword, "offset"),
                (Duration, "1h"),
                (Close, ")"),
                (Close, ")"),
                (Comment, "# why"),
                (Operator, "/"),
                (Number, "2"),
                (Keyword, "and"),
                (Name, "up"),
            ]
        );
        assert_eq!(shown("up{a=\"b"), [(Name, "up"), (Open, "{"), (Label, "a"), (Operator, "="), (Rest, "\"b")]);
        assert_eq!(shown("rate"), [(Name, "rate")]);
        assert_eq!(shown("sum(up"), [(Aggregation, "sum"), (Open, "("), (Name, "up")]);
        assert_eq!(shown("ü"), [(Rest, "ü")]);
        assert_eq!(shown(""), []);
    }

    #[test]
    fn keywords_are_words_of_the_language() {
        assert!(KEYWORDS.is_sorted());
        for word in KEYWORDS {
            let text = format!("{word} (");
            assert_eq!(tokens(&text)[0].kind, TokenKind::Keyword, "{word}");
        }
        assert!(function_names().is_sorted());
        assert_eq!(aggregation_names().count(), AggregateOp::ALL.len());
    }
}
