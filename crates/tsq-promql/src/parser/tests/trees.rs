//! Printing a tree and parsing the text gives the tree again.

use proptest::prelude::*;
use tsq_core::{MatchOp, Matcher};

use super::super::binary::binding;
use crate::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, ContextValue, DurationExpr, DurationNode, Expr, Extended, Group,
    Matching, Modifiers, Node, Selector, Subquery, TextRange,
};
use crate::same::same_expr;
use crate::signatures::SIGNATURES;
use crate::{ValueType, compile_pattern, format, parse};

/// Builds a tree out of bytes: each byte decides one thing. When they run out, trees end.
struct Builder<'a> {
    bytes: &'a [u8],
    depth: usize,
}

const NAMES: [&str; 8] = ["a", "sum", "by", "offset", "fill", "a:b", "_", "step"];
const LABELS: [&str; 8] = ["job", "by", "a.b", "é", "0", "and", "a\"b", "__x"];
const STRINGS: [&str; 6] = ["", "x", "a\"b\\c", "line\nbreak", "😀\u{200b}", "`'"];
const PATTERNS: [&str; 5] = ["a|b", "x.*", "\\d+", "[^a]", "(?i)q"];
const NUMBERS: [(f64, &str); 9] = [
    (0.0, "0"),
    (1.0, "1"),
    (2.5, "2.5"),
    (1e30, "1e30"),
    (1e-9, "1e-9"),
    (f64::INFINITY, "Inf"),
    (f64::NAN, "NaN"),
    (300.0, "5m"),
    (0.001, "1ms"),
];

fn at(node: Node) -> Expr {
    Expr { node, range: TextRange::default() }
}

fn parens(expr: Expr) -> Expr {
    at(Node::Paren(Box::new(expr)))
}

fn duration_at(node: DurationNode) -> DurationExpr {
    DurationExpr { node, range: TextRange::default() }
}

impl Builder<'_> {
    fn below(&mut self, count: usize) -> usize {
        let Some((&byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(byte) % count
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn pick_some(&mut self, from: &[&str]) -> Vec<String> {
        (0..self.below(3)).map(|_| self.pick(from).to_owned()).collect()
    }

    fn ends(&self) -> bool {
        self.bytes.is_empty() || self.depth > 8
    }

    fn of_type(&mut self, wanted: ValueType) -> Expr {
        self.depth += 1;
        let expr = match wanted {
            ValueType::Scalar => self.scalar(),
            ValueType::Vector => self.vector(),
            ValueType::Matrix => self.matrix(),
            ValueType::String => self.string(),
        };
        self.depth -= 1;
        expr
    }

    fn string(&mut self) -> Expr {
        let text = at(Node::String(self.pick(&STRINGS).to_owned()));
        if self.coin() { parens(text) } else { text }
    }

    fn scalar(&mut self) -> Expr {
        match if self.ends() { 0 } else { self.below(6) } {
            0 => self.number(),
            1 => at(Node::Context(self.pick(&[
                ContextValue::Step,
                ContextValue::Range,
                ContextValue::Start,
                ContextValue::End,
            ]))),
            2 => self.binary(ValueType::Scalar, ValueType::Scalar),
            3 => self.call(ValueType::Scalar),
            4 => self.unary(ValueType::Scalar),
            _ => parens(self.of_type(ValueType::Scalar)),
        }
    }

    fn vector(&mut self) -> Expr {
        match if self.ends() { 0 } else { self.below(7) } {
            0 | 1 => {
                let selector = self.selector();
                at(Node::Selector(selector))
            }
            2 => self.aggregate(),
            3 => self.call(ValueType::Vector),
            4 => self.unary(ValueType::Vector),
            5 => parens(self.of_type(ValueType::Vector)),
            _ => {
                let (left, right) = self.pick(&[
                    (ValueType::Vector, ValueType::Vector),
                    (ValueType::Vector, ValueType::Scalar),
                    (ValueType::Scalar, ValueType::Vector),
                ]);
                self.binary(left, right)
            }
        }
    }

    fn matrix(&mut self) -> Expr {
        if self.ends() || self.coin() {
            let mut selector = self.selector();
            selector.modifiers.extended = self.extended();
            return at(Node::Matrix { selector, range: self.positive_duration() });
        }
        let expr = match self.of_type(ValueType::Vector) {
            expr @ Expr { node: Node::Binary(_) | Node::Unary { .. }, .. } => parens(expr),
            expr => expr,
        };
        let step = if self.coin() { Some(self.positive_duration()) } else { None };
        let range = self.positive_duration();
        let modifiers = self.modifiers();
        at(Node::Subquery(Box::new(Subquery { expr, range, step, modifiers })))
    }

    fn number(&mut self) -> Expr {
        let (value, text) = self.pick(&NUMBERS);
        let negate = self.coin();
        at(Node::Number { value: if negate { -value } else { value }, text: text.to_owned() })
    }

    /// A sign before a number would become part of it.
    fn unary(&mut self, wanted: ValueType) -> Expr {
        let expr = match self.of_type(wanted) {
            expr @ Expr { node: Node::Number { .. }, .. } => parens(expr),
            Expr { node: Node::Binary(binary), range } if binary.op != BinaryOp::Pow => {
                parens(Expr { node: Node::Binary(binary), range })
            }
            expr => expr,
        };
        at(Node::Unary { negate: self.coin(), expr: Box::new(expr) })
    }

    fn binary(&mut self, left: ValueType, right: ValueType) -> Expr {
        let vectors = left == ValueType::Vector && right == ValueType::Vector;
        let op = self.pick(if vectors { &BinaryOp::ALL } else { &BinaryOp::ALL[..15] });
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        let return_bool = op.is_comparison() && (scalars || self.coin());
        let matching = if vectors { self.matching(op) } else { Matching::default() };
        let left = left_side(op, self.of_type(left));
        let right = right_side(op, self.of_type(right));
        at(Node::Binary(Box::new(Binary { op, left, right, return_bool, matching })))
    }

    fn matching(&mut self, op: BinaryOp) -> Matching {
        let mut matching = Matching::default();
        if self.coin() {
            matching.explicit = true;
            matching.on = self.coin();
            matching.labels = self.pick_some(&LABELS);
        }
        if op.is_set() {
            return matching;
        }
        if matching.explicit {
            matching.group = self.pick(&[Group::None, Group::Left, Group::Right]);
            if matching.group != Group::None {
                matching.include = self.pick_some(&["included", "c d"]);
            }
        }
        let (left, right) = (self.pick(&NUMBERS).0, -self.pick(&NUMBERS).0);
        (matching.fill_left, matching.fill_right) =
            self.pick(&[(None, None), (Some(left), None), (None, Some(right)), (Some(left), Some(right))]);
        matching
    }

    fn aggregate(&mut self) -> Expr {
        let op = self.pick(&AggregateOp::ALL);
        let param = op
            .has_param()
            .then(|| self.of_type(if op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar }));
        let expr = self.of_type(ValueType::Vector);
        let (labels, without) = (self.pick_some(&LABELS), self.coin());
        at(Node::Aggregate(Box::new(Aggregate { op, expr, param, labels, without })))
    }

    fn call(&mut self, returns: ValueType) -> Expr {
        let context = ["step", "range", "start", "end"];
        let known: Vec<_> = SIGNATURES.iter().filter(|f| f.returns == returns && !context.contains(&f.name)).collect();
        let function = self.pick(&known);
        let max = function.args_max().unwrap_or(function.args_min() + 2);
        let count = function.args_min() + self.below(max - function.args_min() + 1);
        let args = (0..count)
            .map(|index| {
                if function.name == "info" && index == 1 {
                    let matchers = self.matchers();
                    return at(Node::Selector(Selector { name: None, matchers, modifiers: Modifiers::default() }));
                }
                self.of_type(function.arg(index).unwrap())
            })
            .collect();
        at(Node::Call { function: function.name, args })
    }

    fn selector(&mut self) -> Selector {
        let mut matchers = self.matchers();
        let name = if self.coin() {
            matchers.push(Matcher::equal("__name__", "a.b"));
            None
        } else {
            let name = self.pick(&NAMES);
            matchers.push(Matcher::equal("__name__", name));
            Some(name.to_owned())
        };
        Selector { name, matchers, modifiers: self.modifiers() }
    }

    fn matchers(&mut self) -> Vec<Matcher> {
        (0..self.below(3))
            .map(|_| {
                let text = self.pick(&STRINGS).to_owned();
                let pattern = compile_pattern(self.pick(&PATTERNS)).unwrap();
                let op = match self.below(4) {
                    0 => MatchOp::Equal(text),
                    1 => MatchOp::NotEqual(text),
                    2 => MatchOp::Match(pattern),
                    _ => MatchOp::NotMatch(pattern),
                };
                Matcher { name: self.pick(&LABELS).to_owned(), op }
            })
            .collect()
    }

    fn modifiers(&mut self) -> Modifiers {
        let at = self.pick(&[None, None, Some(At::Start), Some(At::End), Some(At::Time(-1)), Some(At::Time(61_500))]);
        let offset = if self.coin() { Some(self.offset()) } else { None };
        Modifiers { at, offset, extended: None }
    }

    fn extended(&mut self) -> Option<Extended> {
        self.pick(&[None, Some(Extended::Anchored), Some(Extended::Smoothed)])
    }

    fn duration_literal(&mut self) -> DurationExpr {
        let (seconds, text) = self.pick(&[(300.0, "5m"), (1.5, "1.5"), (0.0005, "0.0005"), (604_801.0, "1w1s")]);
        duration_at(DurationNode::Literal { seconds, text: text.to_owned() })
    }

    fn positive_duration(&mut self) -> DurationExpr {
        if self.coin() { self.duration_literal() } else { self.duration() }
    }

    /// Only what begins with a parenthesis may go on behind it.
    fn offset(&mut self) -> DurationExpr {
        match self.below(3) {
            0 => self.duration_literal(),
            1 => duration_at(DurationNode::Context(ContextValue::Step)),
            _ => {
                let paren = duration_at(DurationNode::Paren(Box::new(self.duration())));
                duration_at(DurationNode::Unary { negate: true, expr: Box::new(paren) })
            }
        }
    }

    fn duration(&mut self) -> DurationExpr {
        self.depth += 1;
        let expr = match if self.ends() { 0 } else { self.below(5) } {
            0 => self.duration_literal(),
            1 => duration_at(DurationNode::Context(self.pick(&[ContextValue::Step, ContextValue::Range]))),
            2 => duration_at(DurationNode::Paren(Box::new(self.duration()))),
            3 => {
                let (left, right) = (Box::new(self.duration()), Box::new(self.duration()));
                duration_at(DurationNode::MinMax { max: self.coin(), left, right })
            }
            _ => {
                let paren = |expr| Box::new(duration_at(DurationNode::Paren(Box::new(expr))));
                let (left, right) = (paren(self.duration()), paren(self.duration()));
                duration_at(DurationNode::Binary { op: self.pick(&BinaryOp::ALL[..6]), left, right })
            }
        };
        self.depth -= 1;
        expr
    }
}

/// In parentheses where the operator would tear it apart.
fn left_side(op: BinaryOp, expr: Expr) -> Expr {
    let torn = match &expr.node {
        Node::Binary(inner) => binding(inner.op).1 <= binding(op).0,
        Node::Unary { .. } => op == BinaryOp::Pow,
        Node::Number { value, .. } => op == BinaryOp::Pow && value.is_sign_negative() && !value.is_nan(),
        _ => false,
    };
    if torn { parens(expr) } else { expr }
}

fn right_side(op: BinaryOp, expr: Expr) -> Expr {
    let torn = matches!(&expr.node, Node::Binary(inner) if binding(inner.op).0 < binding(op).1);
    if torn { parens(expr) } else { expr }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn printed_trees_parse_to_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut builder = Builder { bytes: &bytes, depth: 0 };
        let wanted = [ValueType::Vector, ValueType::Scalar, ValueType::Matrix][builder.below(3)];
        let tree = builder.of_type(wanted);
        prop_assert_eq!(tree.value_type(), wanted);
        for text in [tree.to_string(), format(&tree)] {
            let again = parse(&text).map_err(|error| TestCaseError::fail(format!("{text}\n{error}")))?;
            prop_assert!(same_expr(&tree, &again), "{}\nbecame\n{}\n{:?}\n{:?}", text, again, tree, again);
        }
    }
}
