//! Queries as Prometheus prints them: on one line, and formatted over several.

use std::fmt::{self, Display, Write};

use tsq_core::{MatchOp, Matcher};

use crate::ast::{
    Aggregate, At, Binary, DurationExpr, DurationNode, Expr, Extended, Group, Matching, Modifiers, Node, Selector,
    Subquery,
};
use crate::check::match_text;
use crate::go_text::{decimal, quote, shortest};

/// Longest line that [`format`] leaves whole.
const LINE_MAX: usize = 100;

/// The canonical text, on one line. Parsing it gives the same tree but for positions and the spelling of literals.
impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number { value, text } => f.write_str(&number(*value, text)),
            Node::String(text) => f.write_str(&quote(text)),
            Node::Selector(selector) => write!(f, "{}", SelectorText { selector, range: None }),
            Node::Matrix { selector, range } => write!(f, "{}", SelectorText { selector, range: Some(range) }),
            Node::Subquery(subquery) => write!(f, "{}{}", subquery.expr, subquery_suffix(subquery)),
            Node::Unary { negate, expr } => write!(f, "{}{expr}", sign(*negate)),
            Node::Paren(expr) => write!(f, "({expr})"),
            Node::Binary(binary) => write!(f, "{} {} {}", binary.left, operator(binary), binary.right),
            Node::Aggregate(aggregate) => {
                f.write_str(&aggregate_head(aggregate))?;
                f.write_char('(')?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            Node::Call { function, args } => {
                write!(f, "{function}(")?;
                for (index, arg) in args.iter().enumerate() {
                    write!(f, "{}{arg}", if index > 0 { ", " } else { "" })?;
                }
                f.write_char(')')
            }
            Node::Context(value) => write!(f, "{}()", value.name()),
        }
    }
}

/// Arithmetic within a duration, as it stands in brackets or after `offset`.
impl Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            DurationNode::Literal { seconds, text } => f.write_str(&number(*seconds, text)),
            DurationNode::Context(value) => write!(f, "{}()", value.name()),
            DurationNode::Unary { negate, expr } => write!(f, "{}{expr}", if *negate { "-" } else { "" }),
            DurationNode::Paren(expr) => write!(f, "({expr})"),
            DurationNode::Binary { op, left, right } => write!(f, "{left} {} {right}", op.name()),
            DurationNode::MinMax { max, left, right } => {
                write!(f, "{}({left}, {right})", if *max { "max_of" } else { "min_of" })
            }
        }
    }
}

/// `name="value"`, with a quoted name where it is no plain word.
pub(crate) fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op {
        MatchOp::Equal(_) => "=",
        MatchOp::NotEqual(_) => "!=",
        MatchOp::Match(_) => "=~",
        MatchOp::NotMatch(_) => "!~",
    };
    format!("{}{op}{}", label(&matcher.name), quote(match_text(&matcher.op)))
}

fn label(name: &str) -> String {
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let word = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(plain);
    if word { name.to_owned() } else { quote(name) }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}

fn sign(negate: bool) -> &'static str {
    if negate { "-" } else { "+" }
}

/// A literal: a duration if it was written as one.
fn number(value: f64, text: &str) -> String {
    let text = text.trim_start_matches(['-', '+']);
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let is_duration = !hex && text.contains(|c: char| "smhdwy".contains(c));
    if is_duration { duration(value) } else { decimal(value) }
}

/// Seconds in units of time, or as a number where milliseconds cannot express them.
fn duration(seconds: f64) -> String {
    let ms = (seconds.abs() * 1000.0).round();
    if ms >= 9e18 || ms / 1000.0 != seconds.abs() {
        return decimal(seconds);
    }
    let mut ms = ms as u64;
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::from(if seconds < 0.0 { "-" } else { "" });
    // Years and weeks only where they fit: 90d reads better than 12w6d.
    let units: [(&str, u64, bool); 7] = [
        ("y", 365 * 86_400_000, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    for (unit, size, exact) in units {
        if ms >= size && (!exact || ms.is_multiple_of(size)) {
            let _ = write!(out, "{}{unit}", ms / size);
            ms %= size;
        }
    }
    out
}

/// A whole duration: a lone literal is shown in units however it was written.
fn whole_duration(expr: &DurationExpr) -> String {
    match &expr.node {
        DurationNode::Literal { seconds, .. } => duration(*seconds),
        _ => expr.to_string(),
    }
}

struct SelectorText<'a> {
    selector: &'a Selector,
    range: Option<&'a DurationExpr>,
}

impl Display for SelectorText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Selector { name, matchers, modifiers } = self.selector;
        f.write_str(name.as_deref().unwrap_or(""))?;
        let is_name = |found: &Matcher| matches!((&found.op, name), (MatchOp::Equal(text), Some(name)) if found.name == "__name__" && text == name);
        let mut parts: Vec<String> = matchers.iter().filter(|found| !is_name(found)).map(matcher).collect();
        parts.sort_unstable();
        if !parts.is_empty() || name.is_none() {
            write!(f, "{{{}}}", parts.join(","))?;
        }
        let (at, extended, offset) = modifier_texts(modifiers);
        match self.range {
            Some(range) => write!(f, "[{}]{extended}{at}{offset}", whole_duration(range)),
            None => write!(f, "{at}{extended}{offset}"),
        }
    }
}

/// ` @ time`, ` anchored` and ` offset duration`, or empty texts.
fn modifier_texts(modifiers: &Modifiers) -> (String, &'static str, String) {
    let at = match modifiers.at {
        None => String::new(),
        Some(At::Start) => " @ start()".to_owned(),
        Some(At::End) => " @ end()".to_owned(),
        Some(At::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            let ms = ms.unsigned_abs();
            format!(" @ {sign}{}.{:03}", ms / 1000, ms % 1000)
        }
    };
    let extended = match modifiers.extended {
        None => "",
        Some(Extended::Anchored) => " anchored",
        Some(Extended::Smoothed) => " smoothed",
    };
    let offset = match &modifiers.offset {
        None => String::new(),
        Some(DurationExpr { node: DurationNode::Literal { seconds: 0.0, .. }, .. }) => String::new(),
        Some(offset) => format!(" offset {}", whole_duration(offset)),
    };
    (at, extended, offset)
}

fn subquery_suffix(subquery: &Subquery) -> String {
    let step = subquery.step.as_ref().map(whole_duration).unwrap_or_default();
    let (at, _, offset) = modifier_texts(&subquery.modifiers);
    format!("[{}:{step}]{at}{offset}", whole_duration(&subquery.range))
}

/// An operator with `bool` and matching.
fn operator(binary: &Binary) -> String {
    let mut out = binary.op.name().to_owned();
    if binary.return_bool {
        out.push_str(" bool");
    }
    let Matching { on, labels: matched, group, include, fill_left, fill_right, .. } = &binary.matching;
    if !matched.is_empty() || *on || *group != Group::None {
        let _ = write!(out, " {} ({})", if *on { "on" } else { "ignoring" }, labels(matched));
    }
    match group {
        Group::None => {}
        Group::Left => out.push_str(&format!(" group_left ({})", labels(include))),
        Group::Right => out.push_str(&format!(" group_right ({})", labels(include))),
    }
    if fill_left.is_some() && fill_left == fill_right {
        let _ = write!(out, " fill ({})", shortest(fill_left.unwrap_or_default()));
        return out;
    }
    for (name, value) in [("fill_left", fill_left), ("fill_right", fill_right)] {
        if let Some(value) = value {
            let _ = write!(out, " {name} ({})", shortest(*value));
        }
    }
    out
}

/// An aggregation up to its arguments.
fn aggregate_head(aggregate: &Aggregate) -> String {
    let (op, grouping) = (aggregate.op.name(), &aggregate.labels);
    match (aggregate.without, grouping.is_empty()) {
        (true, _) => format!("{op} without ({}) ", labels(grouping)),
        (false, false) => format!("{op} by ({}) ", labels(grouping)),
        (false, true) => op.to_owned(),
    }
}

/// The canonical text over several lines, as Prometheus's `format_query` gives it: what is longer than 100 bytes is
/// split, parts indented by two spaces.
pub fn format(expr: &Expr) -> String {
    let mut out = String::new();
    pretty(expr, 0, &mut out);
    out
}

/// Writes `expr` indented by `level`. Recursion and repeated printing are bounded by the depth of the tree.
fn pretty(expr: &Expr, level: usize, out: &mut String) {
    let line = expr.to_string();
    if let Node::Unary { negate, expr } = &expr.node {
        let mut operand = String::new();
        pretty(expr, level, &mut operand);
        indent(level, out);
        out.push_str(sign(*negate));
        out.push_str(operand.trim());
        return;
    }
    if line.len() <= LINE_MAX {
        indent(level, out);
        out.push_str(&line);
        return;
    }
    match &expr.node {
        Node::Binary(binary) => {
            pretty(&binary.left, level + 1, out);
            out.push('\n');
            indent(level, out);
            out.push_str(&operator(binary));
            out.push('\n');
            pretty(&binary.right, level + 1, out);
        }
        Node::Aggregate(aggregate) => {
            let args: Vec<&Expr> = aggregate.param.iter().chain([&aggregate.expr]).collect();
            pretty_call(&aggregate_head(aggregate), &args, level, out);
        }
        Node::Call { function, args } => pretty_call(function, &args.iter().collect::<Vec<_>>(), level, out),
        Node::Paren(inner) => pretty_call("", &[inner], level, out),
        Node::Subquery(subquery) => {
            pretty(&subquery.expr, level, out);
            out.push_str(&subquery_suffix(subquery));
        }
        _ => {
            indent(level, out);
            out.push_str(&line);
        }
    }
}

fn pretty_call(head: &str, args: &[&Expr], level: usize, out: &mut String) {
    indent(level, out);
    out.push_str(head);
    out.push_str("(\n");
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            out.push_str(",\n");
        }
        pretty(arg, level + 1, out);
    }
    out.push('\n');
    indent(level, out);
    out.push(')');
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}
