//! Durations in ranges, subquery steps and offsets: literals and arithmetic.

use super::binary::{POWER, binding};
use super::expr::signed_literal;
use super::{Deep, Parse, ParsedDuration, Parser, fail, join};
use crate::ast::{BinaryOp, ContextValue, DurationExpr, DurationNode, TextRange};
use crate::lexer::{Kind, Token, Word};

/// Seconds that fit into 63 bits of nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036.854_775;

impl Parser<'_> {
    /// The duration of a range or step. Whether arithmetic gives a positive result is known only when it is evaluated.
    pub(super) fn positive_duration(&mut self) -> Parse<ParsedDuration> {
        let duration = self.duration(0)?;
        match duration.node.node {
            DurationNode::Literal { seconds, .. } if seconds <= 0.0 => {
                fail(duration.node.range, "duration must be greater than 0")
            }
            _ => Ok(duration),
        }
    }

    /// The duration of an offset. Without parentheses it ends where a binary operator begins: `a offset 1m * 2` is
    /// `(a offset 1m) * 2`, but `a offset (1m) * 2` is `a offset (1m * 2)`, as in Prometheus.
    pub(super) fn offset_duration(&mut self) -> Parse<ParsedDuration> {
        match self.token.kind {
            Kind::LeftParen => self.duration(0),
            Kind::Op(BinaryOp::Add | BinaryOp::Sub) => self.signed_duration(Self::offset_duration_unsigned),
            _ => self.duration_primary(),
        }
    }

    fn offset_duration_unsigned(&mut self) -> Parse<ParsedDuration> {
        match self.token.kind {
            Kind::Op(BinaryOp::Add | BinaryOp::Sub) => {
                self.nested(|parser| parser.signed_duration(Self::offset_duration_unsigned))
            }
            _ => self.duration_primary(),
        }
    }

    /// Arithmetic of operators that bind at least as strongly as `binding_min`.
    fn duration(&mut self, binding_min: u8) -> Parse<ParsedDuration> {
        self.nested(|parser| {
            let mut left = parser.duration_prefix()?;
            while let Kind::Op(op) = parser.token.kind
                && is_arithmetic(op)
            {
                let (left_binding, right_binding) = binding(op);
                if left_binding < binding_min {
                    break;
                }
                let sign = parser.advance()?;
                let right = parser.duration(right_binding)?;
                left = parser.duration_binary(op, sign, left, right)?;
            }
            Ok(left)
        })
    }

    fn duration_binary(
        &self,
        op: BinaryOp,
        sign: Token,
        left: ParsedDuration,
        right: ParsedDuration,
    ) -> Parse<ParsedDuration> {
        if matches!(right.node.node, DurationNode::Literal { seconds: 0.0, .. }) {
            match op {
                BinaryOp::Div => return fail(sign.range, "division by zero"),
                BinaryOp::Mod => return fail(sign.range, "modulo by zero"),
                _ => {}
            }
        }
        let (range, depth) = (join(left.node.range, right.node.range), left.depth.max(right.depth));
        let node = DurationNode::Binary { op, left: Box::new(left.node), right: Box::new(right.node) };
        self.duration_expr(depth, range, node)
    }

    fn duration_prefix(&mut self) -> Parse<ParsedDuration> {
        match self.token.kind {
            Kind::Op(BinaryOp::Add | BinaryOp::Sub) => self.signed_duration(|parser| parser.duration(POWER)),
            _ => self.duration_primary(),
        }
    }

    /// A sign and what `operand` parses. A sign before a literal is part of it. A plus is kept before parentheses only:
    /// there it decides where an offset ends.
    fn signed_duration(&mut self, operand: fn(&mut Self) -> Parse<ParsedDuration>) -> Parse<ParsedDuration> {
        let sign = self.advance()?;
        let negate = sign.kind == Kind::Op(BinaryOp::Sub);
        let Deep { node: DurationExpr { node, range }, depth } = operand(self)?;
        let whole = join(sign.range, range);
        match node {
            DurationNode::Literal { seconds, text } => {
                let (seconds, text) = signed_literal(negate, seconds, text);
                let node = DurationNode::Literal { seconds, text };
                Ok(Deep { node: DurationExpr { node, range: whole }, depth })
            }
            node if negate || matches!(node, DurationNode::Paren(_)) => {
                let expr = Box::new(DurationExpr { node, range });
                self.duration_expr(depth, whole, DurationNode::Unary { negate, expr })
            }
            node => Ok(Deep { node: DurationExpr { node, range: whole }, depth }),
        }
    }

    fn duration_primary(&mut self) -> Parse<ParsedDuration> {
        match self.token.kind {
            Kind::Number | Kind::Duration => {
                let token = self.advance()?;
                let (seconds, text) = (self.number(token)?, self.text_of(token.range).to_owned());
                if !(-SECONDS_MAX..=SECONDS_MAX).contains(&seconds) {
                    return fail(token.range, "duration out of range");
                }
                self.duration_expr(0, token.range, DurationNode::Literal { seconds, text })
            }
            Kind::Word(Word::Step) => self.duration_context(ContextValue::Step),
            Kind::Word(Word::Range) => self.duration_context(ContextValue::Range),
            Kind::Word(Word::MinOf) => self.duration_choice(false),
            Kind::Word(Word::MaxOf) => self.duration_choice(true),
            Kind::LeftParen => {
                let start = self.advance()?.range.start;
                let inner = self.duration(0)?;
                self.expect(Kind::RightParen)?;
                self.duration_expr(inner.depth, self.since(start), DurationNode::Paren(Box::new(inner.node)))
            }
            _ => self.unexpected(),
        }
    }

    fn duration_context(&mut self, value: ContextValue) -> Parse<ParsedDuration> {
        let start = self.advance()?.range.start;
        self.expect(Kind::LeftParen)?;
        self.expect(Kind::RightParen)?;
        self.duration_expr(0, self.since(start), DurationNode::Context(value))
    }

    fn duration_choice(&mut self, max: bool) -> Parse<ParsedDuration> {
        let start = self.advance()?.range.start;
        self.expect(Kind::LeftParen)?;
        let left = self.duration(0)?;
        self.expect(Kind::Comma)?;
        let right = self.duration(0)?;
        self.expect(Kind::RightParen)?;
        let depth = left.depth.max(right.depth);
        let node = DurationNode::MinMax { max, left: Box::new(left.node), right: Box::new(right.node) };
        self.duration_expr(depth, self.since(start), node)
    }

    fn duration_expr(&self, depth: usize, range: TextRange, node: DurationNode) -> Parse<ParsedDuration> {
        self.above(depth, range, DurationExpr { node, range })
    }
}

fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow)
}
