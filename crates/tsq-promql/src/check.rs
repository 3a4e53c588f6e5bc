//! Type checking, after parsing: a query of the right shape may still add a string to a vector.

use tsq_core::{MatchOp, Matcher};

use crate::ast::{Aggregate, AggregateOp, Binary, Expr, Group, Node, Selector, TextRange};
use crate::error::ParseError;
use crate::go_text::quote;
use crate::signatures::{Signature, ValueType, signature};

impl Expr {
    /// The type of its value. Cost follows the size of the expression.
    pub fn value_type(&self) -> ValueType {
        match &self.node {
            Node::Number { .. } | Node::Context(_) => ValueType::Scalar,
            Node::String(_) => ValueType::String,
            Node::Selector(_) | Node::Aggregate(_) => ValueType::Vector,
            Node::Matrix { .. } | Node::Subquery(_) => ValueType::Matrix,
            Node::Unary { expr, .. } | Node::Paren(expr) => expr.value_type(),
            Node::Binary(binary) => binary_type(binary.left.value_type(), binary.right.value_type()),
            Node::Call { function, .. } => known(function).returns,
        }
    }
}

fn binary_type(left: ValueType, right: ValueType) -> ValueType {
    if left == ValueType::Scalar && right == ValueType::Scalar { ValueType::Scalar } else { ValueType::Vector }
}

fn known(function: &str) -> &'static Signature {
    signature(function).expect("a call names a known function")
}

/// Checks types, argument counts and matching; gives the first error in Prometheus's order.
pub(crate) fn check(text: &str, expr: &Expr) -> Result<(), ParseError> {
    Checker { text }.expr(expr).map(|_| ())
}

struct Checker<'a> {
    text: &'a str,
}

type Checked<T = ()> = Result<T, ParseError>;

impl Checker<'_> {
    fn fail<T>(&self, range: TextRange, message: impl Into<String>) -> Checked<T> {
        Err(ParseError::new(self.text, range, message))
    }

    fn expr(&self, expr: &Expr) -> Checked<ValueType> {
        match &expr.node {
            Node::Number { .. } | Node::Context(_) => Ok(ValueType::Scalar),
            Node::String(_) => Ok(ValueType::String),
            Node::Selector(selector) => {
                self.selector(selector, expr.range)?;
                Ok(ValueType::Vector)
            }
            Node::Matrix { selector, .. } => {
                self.selector(selector, expr.range)?;
                Ok(ValueType::Matrix)
            }
            Node::Subquery(subquery) => match self.expr(&subquery.expr)? {
                ValueType::Vector => Ok(ValueType::Matrix),
                other => self.fail(
                    expr.range,
                    format!("subquery is only allowed on instant vector, got {} instead", other.name()),
                ),
            },
            Node::Paren(inner) => self.expr(inner),
            Node::Unary { expr: operand, .. } => match self.expr(operand)? {
                found @ (ValueType::Scalar | ValueType::Vector) => Ok(found),
                other => {
                    let found = quote(&other.to_string());
                    self.fail(
                        expr.range,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {found}"
                        ),
                    )
                }
            },
            Node::Binary(binary) => self.binary(binary, expr.range),
            Node::Aggregate(aggregate) => self.aggregate(aggregate),
            Node::Call { function, args } => self.call(known(function), args, expr.range),
        }
    }

    fn expect(&self, expr: &Expr, want: ValueType, place: &str) -> Checked {
        match self.expr(expr)? {
            found if found == want => Ok(()),
            found => self.fail(expr.range, format!("expected type {want} in {place}, got {found}")),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Checked<ValueType> {
        self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
        if let Some(param) = &aggregate.param {
            let want = match aggregate.op {
                AggregateOp::CountValues => ValueType::String,
                _ => ValueType::Scalar,
            };
            self.expect(param, want, "aggregation parameter")?;
        }
        Ok(ValueType::Vector)
    }

    fn selector(&self, selector: &Selector, range: TextRange) -> Checked {
        let Some(name) = &selector.name else {
            if selector.matchers.iter().all(Matcher::matches_empty) {
                return self.fail(range, "vector selector must contain at least one non-empty matcher");
            }
            return Ok(());
        };
        let (_, within) = selector.matchers.split_last().expect("the name is the last matcher");
        match within.iter().find(|matcher| matcher.name == "__name__") {
            None => Ok(()),
            Some(second) => self.fail(
                range,
                format!("metric name must not be set twice: {} or {}", quote(name), quote(match_text(&second.op))),
            ),
        }
    }

    fn call(&self, function: &Signature, args: &[Expr], range: TextRange) -> Checked<ValueType> {
        self.argument_count(function, args.len(), range)?;
        let place = || format!("call to function {}", quote(function.name));
        // The second argument of `info` picks labels: it is no selector of series and may match everything.
        let labels_only = function.name == "info" && args.len() > 1;
        if labels_only {
            self.info_labels(&args[1], range, &place())?;
        }
        for (index, arg) in args.iter().enumerate() {
            if labels_only && index == 1 {
                continue;
            }
            let want = function.arg(index).expect("a function that takes no arguments has none");
            self.expect(arg, want, &place())?;
        }
        Ok(function.returns)
    }

    fn argument_count(&self, function: &Signature, count: usize, range: TextRange) -> Checked {
        let (min, max) = (function.args_min(), function.args_max());
        let wanted = if max == Some(min) && count != min {
            format!("{min}")
        } else if count < min {
            format!("at least {min}")
        } else if let Some(max) = max.filter(|&max| count > max) {
            format!("at most {max}")
        } else {
            return Ok(());
        };
        let name = quote(function.name);
        self.fail(range, format!("expected {wanted} argument(s) in call to {name}, got {count}"))
    }

    fn info_labels(&self, arg: &Expr, call: TextRange, place: &str) -> Checked {
        let found = arg.value_type();
        if found != ValueType::Vector {
            return self.fail(call, format!("expected type {} in {place}, got {found}", ValueType::Vector));
        }
        match &arg.node {
            Node::Selector(Selector { name: None, .. }) => Ok(()),
            Node::Selector(_) => self.fail(arg.range, "expected label selectors only, got vector selector instead"),
            _ => self.fail(arg.range, "expected label selectors only"),
        }
    }

    fn binary(&self, binary: &Binary, range: TextRange) -> Checked<ValueType> {
        let (left, right) = (self.expr(&binary.left)?, self.expr(&binary.right)?);
        let (op, matching) = (binary.op, &binary.matching);
        if binary.return_bool && !op.is_comparison() {
            return self.fail(self.operator(binary), "bool modifier can only be used on comparison operators");
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && scalars {
            return self.fail(self.operator(binary), "comparisons between scalars must use BOOL modifier");
        }
        if matching.on
            && let Some(label) = matching.labels.iter().find(|label| matching.include.contains(label))
        {
            let message = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
            return self.fail(self.operator(binary), message);
        }
        for (side, found) in [(&binary.left, left), (&binary.right, right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.fail(side.range, message);
            }
        }
        let vectors = left == ValueType::Vector && right == ValueType::Vector;
        match matching_error(binary, vectors) {
            Some(message) => self.fail(range, message),
            None => Ok(binary_type(left, right)),
        }
    }

    /// Where the operator stands, with its modifiers.
    fn operator(&self, binary: &Binary) -> TextRange {
        let (mut start, end) = (binary.left.range.end, binary.right.range.start);
        loop {
            let rest = &self.text[start..end];
            let blank = rest.len() - rest.trim_start().len();
            let comment = rest.trim_start().starts_with('#');
            start += blank;
            if !comment {
                break;
            }
            start += self.text[start..end].find(['\r', '\n']).unwrap_or(end - start);
        }
        TextRange { start, end: start + self.text[start..end].trim_end().len() }
    }
}

/// What is wrong with how the sides of a binary operation match; `vectors` when both are vectors.
fn matching_error(binary: &Binary, vectors: bool) -> Option<String> {
    let (op, matching) = (binary.op, &binary.matching);
    let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
    if !vectors {
        if !matching.labels.is_empty() {
            return Some("vector matching only allowed between instant vectors".to_owned());
        }
        if filled {
            return Some("filling in missing series only allowed between instant vectors".to_owned());
        }
        let name = quote(op.name());
        return op.is_set().then(|| format!("set operator {name} not allowed in binary scalar expression"));
    }
    if !op.is_set() {
        return None;
    }
    if matching.group != Group::None {
        return Some(format!("no grouping allowed for {} operation", quote(op.name())));
    }
    filled.then(|| "filling in missing series not allowed for set operators".to_owned())
}

/// What a matcher compares with, as it was written.
pub(crate) fn match_text(op: &MatchOp) -> &str {
    match op {
        MatchOp::Equal(text) | MatchOp::NotEqual(text) => text,
        MatchOp::Match(pattern) | MatchOp::NotMatch(pattern) => pattern.source(),
    }
}
