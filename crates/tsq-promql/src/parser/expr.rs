//! Expressions: prefix, postfix, binary, calls and aggregations.

use super::binary::{POWER, binding};
use super::{Deep, Parse, Parsed, Parser, Within, fail, is_metric_name, join};
use crate::ast::{Aggregate, AggregateOp, Binary, BinaryOp, ContextValue, Expr, Matching, Node, TextRange};
use crate::go_text::quote;
use crate::lexer::{Kind, Token, Word};
use crate::signatures::signature;

impl Parser<'_> {
    /// An expression of operators that bind at least as strongly as `binding_min`.
    pub(super) fn expression(&mut self, binding_min: u8) -> Parse<Parsed> {
        self.nested(|parser| {
            let mut left = parser.prefix()?;
            while let Kind::Op(op) = parser.token.kind {
                let (left_binding, right_binding) = binding(op);
                if left_binding < binding_min {
                    break;
                }
                parser.advance()?;
                let modifiers = parser.binary_modifiers()?;
                let right = parser.expression(right_binding)?;
                left = parser.binary(op, modifiers, left, right)?;
            }
            Ok(left)
        })
    }

    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "waits in the frame of a recursive rule")]
    fn binary(&self, op: BinaryOp, modifiers: Box<(bool, Matching)>, left: Parsed, right: Parsed) -> Parse<Parsed> {
        let (return_bool, matching) = *modifiers;
        let (range, depth) = (join(left.node.range, right.node.range), left.depth.max(right.depth));
        let binary = Binary { op, left: *left.node, right: *right.node, return_bool, matching };
        self.expr(depth, range, Node::Binary(Box::new(binary)))
    }

    fn prefix(&mut self) -> Parse<Parsed> {
        use crate::ast::BinaryOp::{Add, Sub};
        let Kind::Op(sign @ (Add | Sub)) = self.token.kind else {
            return self.postfix();
        };
        let start = self.advance()?.range.start;
        let operand = self.expression(POWER)?;
        let range = self.since(start);
        self.signed(sign == Sub, operand, range)
    }

    /// A sign before a number is part of the number.
    fn signed(&self, negate: bool, operand: Parsed, range: TextRange) -> Parse<Parsed> {
        let Deep { node: mut operand, depth } = operand;
        let Node::Number { value, text } = &mut operand.node else {
            return self.expr(depth, range, Node::Unary { negate, expr: operand });
        };
        (*value, *text) = signed_literal(negate, *value, std::mem::take(text));
        operand.range = range;
        Ok(Deep { node: operand, depth })
    }

    fn postfix(&mut self) -> Parse<Parsed> {
        let mut expr = self.primary()?;
        loop {
            expr = match self.token.kind {
                Kind::LeftBracket => self.brackets(expr)?,
                Kind::At => self.at(expr)?,
                Kind::Word(Word::Offset) => self.offset(expr)?,
                Kind::Word(Word::Anchored | Word::Smoothed) => self.extended(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    fn primary(&mut self) -> Parse<Parsed> {
        match self.token.kind {
            Kind::Number | Kind::Duration | Kind::String => self.literal(),
            Kind::LeftParen => {
                let start = self.advance()?.range.start;
                let inner = self.expression(0)?;
                self.expect(Kind::RightParen)?;
                self.expr(inner.depth, self.since(start), Node::Paren(inner.node))
            }
            Kind::LeftBrace => self.selector(None),
            kind if is_metric_name(kind) => self.named(),
            _ => self.unexpected(),
        }
    }

    #[inline(never)]
    fn literal(&mut self) -> Parse<Parsed> {
        let token = self.advance()?;
        let node = match token.kind {
            Kind::String => Node::String(self.string(token)?),
            _ => Node::Number { value: self.number(token)?, text: self.text_of(token.range).to_owned() },
        };
        self.expr(0, token.range, node)
    }

    /// An aggregation, a call or a selector: what follows the name tells which.
    fn named(&mut self) -> Parse<Parsed> {
        let name = self.advance()?;
        match (name.kind, self.token.kind) {
            (Kind::Aggregate(op), Kind::LeftParen | Kind::Word(Word::By | Word::Without)) => {
                self.aggregate(op, name).within("aggregation", "")
            }
            (Kind::Identifier, Kind::LeftParen) => self.call(name),
            (Kind::Word(word), Kind::LeftParen) if is_function(word) => self.call(name),
            _ => self.selector(Some(name)),
        }
    }

    fn call(&mut self, name: Token) -> Parse<Parsed> {
        let args = self.arguments()?;
        self.call_of(name, args)
    }

    #[inline(never)]
    fn call_of(&mut self, name: Token, args: Deep<Vec<Expr>>) -> Parse<Parsed> {
        let range = self.since(name.range.start);
        let text = self.text_of(name.range);
        let Some(function) = signature(text) else {
            return fail(name.range, format!("unknown function with name {}", quote(text)));
        };
        let context = match text {
            "step" => Some(ContextValue::Step),
            "range" => Some(ContextValue::Range),
            "start" => Some(ContextValue::Start),
            "end" => Some(ContextValue::End),
            _ => None,
        };
        match context {
            Some(value) if args.node.is_empty() => self.expr(0, range, Node::Context(value)),
            _ => self.expr(args.depth, range, Node::Call { function: function.name, args: args.node }),
        }
    }

    fn arguments(&mut self) -> Parse<Deep<Vec<Expr>>> {
        self.expect(Kind::LeftParen)?;
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.accept(Kind::RightParen)? {
            return Ok(Deep { node: args, depth });
        }
        loop {
            let arg = self.expression(0)?;
            depth = depth.max(arg.depth);
            args.push(*arg.node);
            if self.token.kind != Kind::Comma {
                break;
            }
            let comma = self.advance()?;
            if matches!(self.token.kind, Kind::Comma | Kind::RightParen) {
                return fail(comma.range, "trailing commas not allowed in function call args");
            }
        }
        self.expect(Kind::RightParen)?;
        Ok(Deep { node: args, depth })
    }

    fn aggregate(&mut self, op: AggregateOp, name: Token) -> Parse<Parsed> {
        let before = self.grouping()?;
        let args = self.arguments()?;
        let grouping = match before {
            None => self.grouping()?,
            before => before,
        };
        self.aggregate_of(op, self.since(name.range.start), grouping.unwrap_or_default(), args)
    }

    #[inline(never)]
    fn aggregate_of(
        &self,
        op: AggregateOp,
        range: TextRange,
        (without, labels): (bool, Vec<String>),
        args: Deep<Vec<Expr>>,
    ) -> Parse<Parsed> {
        let count = args.node.len();
        let mut exprs = args.node.into_iter();
        let param = if op.has_param() { exprs.next() } else { None };
        let (Some(expr), None) = (exprs.next(), exprs.next()) else {
            let message = match count {
                0 => "no arguments for aggregate expression provided".to_owned(),
                _ => format!(
                    "wrong number of arguments for aggregate expression provided, expected {}, got {count}",
                    1 + usize::from(op.has_param())
                ),
            };
            return fail(range, message);
        };
        let aggregate = Aggregate { op, expr, param, labels, without };
        self.expr(args.depth, range, Node::Aggregate(Box::new(aggregate)))
    }

    /// `by (labels)` or `without (labels)`; true for the latter.
    fn grouping(&mut self) -> Parse<Option<(bool, Vec<String>)>> {
        let Kind::Word(word @ (Word::By | Word::Without)) = self.token.kind else {
            return Ok(None);
        };
        self.advance()?;
        Ok(Some((word == Word::Without, self.grouping_labels()?)))
    }
}

/// A literal with its sign worked in.
pub(super) fn signed_literal(negate: bool, value: f64, text: String) -> (f64, String) {
    match (negate, text.strip_prefix('-')) {
        (false, _) => (value, text),
        (true, Some(positive)) => (-value, positive.to_owned()),
        (true, None) => (-value, format!("-{text}")),
    }
}

fn is_function(word: Word) -> bool {
    matches!(word, Word::Start | Word::End | Word::Step | Word::Range | Word::MaxOf | Word::MinOf)
}
