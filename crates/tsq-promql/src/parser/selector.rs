//! Selectors, their matchers and modifiers, ranges and subqueries.

use tsq_core::{MatchOp, Matcher};

use super::{Parse, Parsed, Parser, Within, fail, join};
use crate::ast::{
    At, BinaryOp, DurationExpr, DurationNode, Expr, Extended, Modifiers, Node, Selector, Subquery, TextRange,
};
use crate::go_text::decimal;
use crate::lexer::{Kind, Token, Word};

const METRIC_NAME: &str = "__name__";

const DURATION: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// A selector whose name, if it has one, has been read.
    #[inline(never)]
    pub(super) fn selector(&mut self, name: Option<Token>) -> Parse<Parsed> {
        let start = name.unwrap_or(self.token).range.start;
        let mut matchers = Vec::new();
        if self.token.kind == Kind::LeftBrace {
            self.advance()?;
            matchers = self.matchers()?;
        }
        let name = name.map(|name| self.text_of(name.range).to_owned());
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        let selector = Selector { name, matchers, modifiers: Modifiers::default() };
        self.expr(0, self.since(start), Node::Selector(selector))
    }

    fn matchers(&mut self) -> Parse<Vec<Matcher>> {
        let mut matchers = Vec::new();
        while self.token.kind != Kind::RightBrace {
            matchers.push(self.matcher()?);
            match self.token.kind {
                Kind::Comma => {
                    self.advance()?;
                }
                Kind::RightBrace => {}
                _ => return self.unexpected().within("label matching", "\",\" or \"}\""),
            }
        }
        self.advance()?;
        Ok(matchers)
    }

    /// `name="value"`, `"name"="value"` or `"metric name"`.
    fn matcher(&mut self) -> Parse<Matcher> {
        if !matches!(self.token.kind, Kind::Identifier | Kind::String) {
            return self.unexpected().within("label matching", "identifier or \"}\"");
        }
        let name = self.advance()?;
        let quoted = name.kind == Kind::String;
        let label = if quoted { self.string(name)? } else { self.text_of(name.range).to_owned() };
        let op = self.token.kind;
        match op {
            Kind::Equal | Kind::EqualRegex | Kind::NotEqualRegex | Kind::Op(BinaryOp::NotEqual) => self.advance()?,
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, label)),
            _ => return self.unexpected().within("label matching", "label matching operator"),
        };
        let value = self.expect(Kind::String).within("label matching", "string")?;
        let text = self.string(value)?;
        let range = join(name.range, value.range);
        let mut pattern = || self.patterns.compile(&text).or_else(|message| fail(range, message));
        let op = match op {
            Kind::EqualRegex => MatchOp::Match(pattern()?),
            Kind::NotEqualRegex => MatchOp::NotMatch(pattern()?),
            Kind::Equal => MatchOp::Equal(text),
            _ => MatchOp::NotEqual(text),
        };
        Ok(Matcher { name: label, op })
    }

    /// `[range]` or `[range:step]` after an expression.
    #[inline(never)]
    pub(super) fn brackets(&mut self, expr: Parsed) -> Parse<Parsed> {
        let open = self.advance()?;
        let range = self.positive_duration().within("subquery or range selector", DURATION)?;
        match self.token.kind {
            Kind::RightBracket => {
                let close = self.advance()?;
                let depth = expr.depth.max(range.depth);
                let start = expr.node.range.start;
                let selector = ranged_selector(*expr.node, join(open.range, close.range))?;
                self.expr(depth, self.since(start), Node::Matrix { selector, range: range.node })
            }
            Kind::Colon => {
                self.advance()?;
                let (step, step_depth) = self.step()?;
                let depth = expr.depth.max(range.depth).max(step_depth);
                let start = expr.node.range.start;
                let subquery = Subquery { expr: *expr.node, range: range.node, step, modifiers: Modifiers::default() };
                self.expr(depth, self.since(start), Node::Subquery(Box::new(subquery)))
            }
            _ => self.unexpected().within("subquery or range", "\":\" or \"]\""),
        }
    }

    /// The step of a subquery and the closing bracket.
    fn step(&mut self) -> Parse<(Option<DurationExpr>, usize)> {
        const CONTEXT: &str = "subquery selector";
        if self.accept(Kind::RightBracket)? {
            return Ok((None, 0));
        }
        let step = self.positive_duration().within(CONTEXT, "number, duration, step(), range(), or \"]\"")?;
        self.expect(Kind::RightBracket).within(CONTEXT, "\"]\"")?;
        Ok((Some(step.node), step.depth))
    }

    /// `offset duration` after an expression.
    #[inline(never)]
    pub(super) fn offset(&mut self, expr: Parsed) -> Parse<Parsed> {
        self.advance()?;
        let offset = self.offset_duration().within("offset", DURATION)?;
        let (mut node, mut depth) = (expr.node, expr.depth);
        let range = node.range;
        let Some(modifiers) = modifiers(&mut node) else {
            return fail(range, modifier_misplaced("offset"));
        };
        if modifiers.offset.as_ref().is_some_and(|offset| !is_zero(offset)) {
            return fail(range, "offset may not be set multiple times");
        }
        modifiers.offset = Some(offset.node);
        depth = depth.max(offset.depth + 1);
        Ok(self.extended_to_here(node, depth))
    }

    /// `@ time`, `@ start()` or `@ end()` after an expression.
    #[inline(never)]
    pub(super) fn at(&mut self, expr: Parsed) -> Parse<Parsed> {
        self.advance()?;
        let mut node = expr.node;
        let range = node.range;
        let at = match self.token.kind {
            Kind::Word(word @ (Word::Start | Word::End)) => self.at_context(word),
            _ => self.signed_number().within("@", "timestamp").and_then(|seconds| at_time(seconds, range)),
        }?;
        let Some(modifiers) = modifiers(&mut node) else {
            return fail(range, modifier_misplaced("@"));
        };
        if modifiers.at.is_some() {
            return fail(range, "@ <timestamp> may not be set multiple times");
        }
        modifiers.at = Some(at);
        Ok(self.extended_to_here(node, expr.depth))
    }

    fn at_context(&mut self, word: Word) -> Parse<At> {
        const EXPECTED: &str = "timestamp";
        self.advance()?;
        self.expect(Kind::LeftParen).within("@", EXPECTED)?;
        self.expect(Kind::RightParen).within("@", EXPECTED)?;
        Ok(if word == Word::Start { At::Start } else { At::End })
    }

    /// `anchored` or `smoothed` after an expression.
    #[inline(never)]
    pub(super) fn extended(&mut self, expr: Parsed) -> Parse<Parsed> {
        let (extended, name) = match self.advance()?.kind {
            Kind::Word(Word::Smoothed) => (Extended::Smoothed, "smoothed"),
            _ => (Extended::Anchored, "anchored"),
        };
        let mut node = expr.node;
        let range = node.range;
        if matches!(node.node, Node::Subquery(_)) {
            return fail(range, format!("{name} modifier is not supported for subqueries"));
        }
        let Some(modifiers) = modifiers(&mut node) else {
            return fail(range, format!("{name} modifier not implemented"));
        };
        if modifiers.extended.is_some_and(|other| other != extended) {
            return fail(range, "anchored and smoothed modifiers cannot be used together");
        }
        modifiers.extended = Some(extended);
        Ok(self.extended_to_here(node, expr.depth))
    }

    fn extended_to_here(&self, mut node: Box<Expr>, depth: usize) -> Parsed {
        node.range.end = self.end;
        Parsed { node, depth }
    }
}

fn modifiers(expr: &mut Expr) -> Option<&mut Modifiers> {
    match &mut expr.node {
        Node::Selector(selector) | Node::Matrix { selector, .. } => Some(&mut selector.modifiers),
        Node::Subquery(subquery) => Some(&mut subquery.modifiers),
        _ => None,
    }
}

fn modifier_misplaced(name: &str) -> String {
    format!("{name} modifier must be preceded by an instant vector selector or range vector selector or a subquery")
}

fn is_zero(duration: &DurationExpr) -> bool {
    matches!(duration.node, DurationNode::Literal { seconds: 0.0, .. })
}

/// The selector that a range in these `brackets` applies to.
fn ranged_selector(expr: Expr, brackets: TextRange) -> Parse<Selector> {
    match expr.node {
        Node::Selector(Selector { modifiers: Modifiers { offset: Some(offset), .. }, .. }) if !is_zero(&offset) => {
            fail(brackets, "no offset modifiers allowed before range")
        }
        Node::Selector(Selector { modifiers: Modifiers { at: Some(_), .. }, .. }) => {
            fail(brackets, "no @ modifiers allowed before range")
        }
        Node::Selector(selector) => Ok(selector),
        _ => fail(brackets, "ranges only allowed for vector selectors"),
    }
}

fn at_time(seconds: f64, range: TextRange) -> Parse<At> {
    // The bounds of 64 bits, which is where Prometheus draws the line for seconds; milliseconds saturate.
    let bound = i64::MAX as f64;
    if !(seconds > -bound && seconds < bound) {
        let shown = if seconds.is_finite() { format!("{seconds:.6}") } else { decimal(seconds) };
        return fail(range, format!("timestamp out of bounds for @ modifier: {shown}"));
    }
    Ok(At::Time((seconds * 1000.0).round() as i64))
}
