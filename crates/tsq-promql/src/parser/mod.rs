//! The parser: a Pratt parser over [`crate::lexer`], then type checking.
//!
//! Recursion follows nesting, which is bounded, and so is the depth of the tree: whoever walks a tree that was parsed
//! may recurse.

mod binary;
mod duration;
mod expr;
mod literal;
mod selector;
#[cfg(test)]
mod tests;

use tsq_core::Matcher;

use crate::ast::{DurationExpr, Expr, Node, Selector, TextRange};
use crate::check::check;
use crate::error::ParseError;
use crate::lexer::{Kind, Lexer, Token, Word};
use crate::regex::PatternBudget;

/// Deepest nesting of parentheses, calls, signs and right-hand sides.
pub(crate) const NESTING_MAX: usize = 256;

/// Deepest tree. Chains such as `a + b + c` make deep trees without nesting.
pub(crate) const DEPTH_MAX: usize = 512;

/// Parses and type-checks a query. Takes time and memory in proportion to the text.
///
/// # Errors
/// The first thing that is wrong, in Prometheus's words where Prometheus refuses it too. Beyond that, expressions nested
/// more than 256 deep and chains of more than 512 operators are refused, and so are strings that are not UTF-8 once
/// their escapes are resolved, and regular expressions that take more than 1 MiB each or 8 MiB together once compiled.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let expr = Parser::run(text, Parser::query)?;
    check(text, &expr)?;
    Ok(expr)
}

/// Parses a series selector, as the `match[]` parameter holds it.
///
/// # Errors
/// The text is no selector without modifiers, or every series would match it.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let matchers = parse_any_selector(text)?;
    if matchers.iter().all(Matcher::matches_empty) {
        return Err(ParseError::whole(text, "match[] must contain at least one non-empty matcher"));
    }
    Ok(matchers)
}

/// As [`parse_selector`], of a selector that may match every series there is, such as `{}`.
///
/// # Errors
/// As [`parse_selector`].
pub fn parse_any_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    Ok(Parser::run(text, Parser::lone_selector)?.matchers)
}

/// A part of the tree and how deep it is.
struct Deep<T> {
    node: T,
    depth: usize,
}

/// Boxed, so that the frames of the recursive rules stay small.
type Parsed = Deep<Box<Expr>>;
type ParsedDuration = Deep<DurationExpr>;

/// What stopped the parser.
struct Failure {
    range: TextRange,
    message: String,
    /// An unexpected token that no surrounding rule has named its context for.
    open: bool,
}

type Parse<T> = Result<T, Failure>;

/// Adds what was being parsed to a failure.
trait Within {
    /// Names the innermost rule that can say where an unexpected token stood and what was `expected` instead.
    fn within(self, context: &str, expected: &str) -> Self;
}

impl<T> Within for Parse<T> {
    fn within(self, context: &str, expected: &str) -> Self {
        self.map_err(|mut failure| {
            if failure.open {
                failure.message = format!("{} in {context}", failure.message);
                if !expected.is_empty() {
                    failure.message = format!("{}, expected {expected}", failure.message);
                }
                failure.open = false;
            }
            failure
        })
    }
}

fn fail<T>(range: TextRange, message: impl Into<String>) -> Parse<T> {
    Err(Failure { range, message: message.into(), open: false })
}

/// From the start of one part to the end of another.
fn join(first: TextRange, last: TextRange) -> TextRange {
    TextRange { start: first.start, end: last.end }
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The token to be parsed next.
    token: Token,
    /// End of the last token that was parsed.
    end: usize,
    nesting: usize,
    patterns: PatternBudget,
}

impl<'a> Parser<'a> {
    fn run<T>(text: &'a str, rule: impl FnOnce(&mut Self) -> Parse<T>) -> Result<T, ParseError> {
        let token = Token { kind: Kind::End, range: TextRange::default() };
        let mut parser =
            Self { text, lexer: Lexer::new(text), token, end: 0, nesting: 0, patterns: PatternBudget::default() };
        parser
            .advance()
            .and_then(|_| rule(&mut parser))
            .map_err(|failure| ParseError::new(text, failure.range, failure.message))
    }

    fn query(&mut self) -> Parse<Expr> {
        if self.token.kind == Kind::End {
            return fail(TextRange::default(), "no expression found in input");
        }
        let expr = self.expression(0)?.node;
        self.expect(Kind::End)?;
        Ok(*expr)
    }

    fn lone_selector(&mut self) -> Parse<Selector> {
        let name = match self.token.kind {
            Kind::LeftBrace => None,
            kind if is_metric_name(kind) => Some(self.advance()?),
            _ => return self.unexpected(),
        };
        let selector = self.selector(name)?.node;
        self.expect(Kind::End)?;
        match selector.node {
            Node::Selector(selector) => Ok(selector),
            _ => unreachable!("`selector` makes selectors"),
        }
    }

    /// Steps to the next token and returns the one passed. Fails if the text cannot be cut further.
    fn advance(&mut self) -> Parse<Token> {
        let passed = self.token;
        self.end = passed.range.end;
        self.token = self.lexer.next_token();
        if self.token.kind == Kind::Error {
            return fail(self.token.range, std::mem::take(&mut self.lexer.error));
        }
        Ok(passed)
    }

    fn expect(&mut self, kind: Kind) -> Parse<Token> {
        if self.token.kind == kind { self.advance() } else { self.unexpected() }
    }

    /// Passes the token if it is of this kind.
    fn accept(&mut self, kind: Kind) -> Parse<bool> {
        let found = self.token.kind == kind;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected<T>(&self) -> Parse<T> {
        let message = format!("unexpected {}", self.token.describe(self.text));
        Err(Failure { range: self.token.range, message, open: true })
    }

    fn text_of(&self, range: TextRange) -> &'a str {
        &self.text[range.start..range.end]
    }

    /// From `start` to the last token that was parsed.
    fn since(&self, start: usize) -> TextRange {
        TextRange { start, end: self.end }
    }

    /// Runs a rule one level further in.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.nesting == NESTING_MAX {
            return fail(self.token.range, format!("expression is nested more than {NESTING_MAX} levels deep"));
        }
        self.nesting += 1;
        let result = rule(self);
        self.nesting -= 1;
        result
    }

    /// A node above children of this depth.
    fn above<T>(&self, depth: usize, range: TextRange, node: T) -> Parse<Deep<T>> {
        if depth >= DEPTH_MAX {
            return fail(range, format!("expression is a tree of more than {DEPTH_MAX} levels"));
        }
        Ok(Deep { node, depth: depth + 1 })
    }

    #[inline(never)]
    fn expr(&self, depth: usize, range: TextRange, node: Node) -> Parse<Parsed> {
        self.above(depth, range, Box::new(Expr { node, range }))
    }
}

/// Whether the token can name a metric: most words of the language can.
fn is_metric_name(kind: Kind) -> bool {
    use crate::ast::BinaryOp::{And, Or, Unless};
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) | Kind::Op(And | Or | Unless) => true,
        Kind::Word(word) => {
            !matches!(word, Word::Bool | Word::On | Word::Ignoring | Word::GroupLeft | Word::GroupRight)
        }
        _ => false,
    }
}
