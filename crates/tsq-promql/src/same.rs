//! Whether two trees mean the same text: everything but positions, the spelling of literals and the order of matchers.

use crate::ast::{Aggregate, Binary, DurationExpr, DurationNode, Expr, Matching, Modifiers, Node, Selector, Subquery};
use crate::printer::matcher;

/// Whether two expressions are the same.
pub(crate) fn same_expr(a: &Expr, b: &Expr) -> bool {
    match (&a.node, &b.node) {
        (Node::Number { value: a, .. }, Node::Number { value: b, .. }) => same_float(*a, *b),
        (Node::String(a), Node::String(b)) => a == b,
        (Node::Selector(a), Node::Selector(b)) => same_selector(a, b),
        (Node::Matrix { selector: a, range: c }, Node::Matrix { selector: b, range: d }) => {
            same_selector(a, b) && same_duration(c, d)
        }
        (Node::Subquery(a), Node::Subquery(b)) => same_subquery(a, b),
        (Node::Unary { negate: c, expr: a }, Node::Unary { negate: d, expr: b }) => c == d && same_expr(a, b),
        (Node::Paren(a), Node::Paren(b)) => same_expr(a, b),
        (Node::Binary(a), Node::Binary(b)) => same_binary(a, b),
        (Node::Aggregate(a), Node::Aggregate(b)) => same_aggregate(a, b),
        (Node::Call { function: c, args: a }, Node::Call { function: d, args: b }) => {
            c == d && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_expr(a, b))
        }
        (Node::Context(a), Node::Context(b)) => a == b,
        _ => false,
    }
}

fn same_duration(a: &DurationExpr, b: &DurationExpr) -> bool {
    match (&a.node, &b.node) {
        (DurationNode::Literal { seconds: a, .. }, DurationNode::Literal { seconds: b, .. }) => same_float(*a, *b),
        (DurationNode::Context(a), DurationNode::Context(b)) => a == b,
        (DurationNode::Unary { negate: c, expr: a }, DurationNode::Unary { negate: d, expr: b }) => {
            c == d && same_duration(a, b)
        }
        (DurationNode::Paren(a), DurationNode::Paren(b)) => same_duration(a, b),
        (DurationNode::Binary { op, left, right }, DurationNode::Binary { op: op_b, left: left_b, right: right_b }) => {
            op == op_b && same_duration(left, left_b) && same_duration(right, right_b)
        }
        (
            DurationNode::MinMax { max, left, right },
            DurationNode::MinMax { max: max_b, left: left_b, right: right_b },
        ) => max == max_b && same_duration(left, left_b) && same_duration(right, right_b),
        _ => false,
    }
}

fn same_selector(a: &Selector, b: &Selector) -> bool {
    let texts = |selector: &Selector| {
        let mut texts: Vec<String> = selector.matchers.iter().map(matcher).collect();
        texts.sort_unstable();
        texts
    };
    a.name == b.name && texts(a) == texts(b) && same_modifiers(&a.modifiers, &b.modifiers)
}

fn same_modifiers(a: &Modifiers, b: &Modifiers) -> bool {
    a.at == b.at && a.extended == b.extended && same_optional(&a.offset, &b.offset, same_duration)
}

fn same_subquery(a: &Subquery, b: &Subquery) -> bool {
    same_expr(&a.expr, &b.expr)
        && same_duration(&a.range, &b.range)
        && same_optional(&a.step, &b.step, same_duration)
        && same_modifiers(&a.modifiers, &b.modifiers)
}

fn same_binary(a: &Binary, b: &Binary) -> bool {
    a.op == b.op
        && a.return_bool == b.return_bool
        && same_matching(&a.matching, &b.matching)
        && same_expr(&a.left, &b.left)
        && same_expr(&a.right, &b.right)
}

/// `ignoring ()` says nothing.
fn same_matching(a: &Matching, b: &Matching) -> bool {
    let same_fill = |a, b| same_optional(a, b, |a: &f64, b: &f64| same_float(*a, *b));
    (a.on, &a.labels, a.group, &a.include) == (b.on, &b.labels, b.group, &b.include)
        && same_fill(&a.fill_left, &b.fill_left)
        && same_fill(&a.fill_right, &b.fill_right)
}

fn same_aggregate(a: &Aggregate, b: &Aggregate) -> bool {
    (a.op, a.without, &a.labels) == (b.op, b.without, &b.labels)
        && same_expr(&a.expr, &b.expr)
        && same_optional(&a.param, &b.param, same_expr)
}

fn same_optional<T>(a: &Option<T>, b: &Option<T>, same: impl Fn(&T, &T) -> bool) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn same_float(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}
