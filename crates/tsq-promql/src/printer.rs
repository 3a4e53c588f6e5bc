//! Queries as Prometheus prints them: on one line, and formatted over several.

use std::fmt::{self, Display, Write};

use tsq_core::{MatchOp, Matcher};

use crate::ast::{
    Aggregate, At, Binary, BinaryOp, DurationExpr, DurationNode, Expr, Extended, Group, Matching, Modifiers, Node,
    Selector, Subquery,
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
            Node::Binary(binary) => {
                if is_infinite_base(binary) {
                    f.write_str(INFINITE_BASE)?;
                } else {
                    write!(f, "{}", binary.left)?;
                }
                write!(f, " {} {}", operator(binary), binary.right)
            }
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
            DurationNode::Unary { negate, expr } => write!(f, "{}{expr}", sign(*negate)),
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

/// Infinity as base of a power. The sign of the usual `+Inf` would apply to the whole power.
const INFINITE_BASE: &str = "Inf";

fn is_infinite_base(binary: &Binary) -> bool {
    binary.op == BinaryOp::Pow && matches!(binary.left.node, Node::Number { value: f64::INFINITY, .. })
}

/// The outermost operator of an expression without its operands: `sum by (job)`, `rate`, `/ on (job)`; selectors whole.
pub(crate) fn operator_text(expr: &Expr) -> String {
    match &expr.node {
        Node::Paren(inner) => operator_text(inner),
        Node::Binary(binary) => operator(binary),
        Node::Aggregate(aggregate) => aggregate_head(aggregate).trim_end().to_owned(),
        Node::Call { function, .. } => (*function).to_owned(),
        Node::Subquery(subquery) => subquery_suffix(subquery),
        Node::Unary { negate, .. } => sign(*negate).to_owned(),
        Node::Selector(_) | Node::Matrix { .. } | Node::Number { .. } | Node::String(_) | Node::Context(_) => {
            expr.to_string()
        }
    }
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
    if let (Some(left), Some(right)) = (fill_left, fill_right)
        // As in Prometheus NaN is never the same; but neither are 0 and -0.
        && left == right
        && left.is_sign_negative() == right.is_sign_negative()
    {
        let _ = write!(out, " fill ({})", shortest(*left));
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
    format_within(expr, LINE_MAX)
}

fn format_within(expr: &Expr, line_max: usize) -> String {
    let mut formatter = Formatter { line_max, out: String::new() };
    formatter.expr(expr, 0);
    formatter.out
}

/// Writes expressions over several lines. Recursion is bounded by the depth of the tree.
struct Formatter {
    line_max: usize,
    out: String,
}

impl Formatter {
    /// Writes `expr`, indented by `level`.
    fn expr(&mut self, expr: &Expr, level: usize) {
        if let Node::Unary { negate, expr } = &expr.node {
            let start = self.out.len();
            self.expr(expr, level);
            let operand = self.out.split_off(start);
            self.line(level, sign(*negate));
            self.out.push_str(operand.trim());
            return;
        }
        if let Some(whole) = short_text(expr, self.line_max) {
            self.line(level, &whole);
            return;
        }
        match &expr.node {
            Node::Binary(binary) => {
                if is_infinite_base(binary) {
                    self.line(level + 1, INFINITE_BASE);
                } else {
                    self.expr(&binary.left, level + 1);
                }
                self.out.push('\n');
                self.line(level, &operator(binary));
                self.out.push('\n');
                self.expr(&binary.right, level + 1);
            }
            Node::Aggregate(aggregate) => {
                let args: Vec<&Expr> = aggregate.param.iter().chain([&aggregate.expr]).collect();
                self.call(&aggregate_head(aggregate), &args, level);
            }
            Node::Call { function, args } => self.call(function, &args.iter().collect::<Vec<_>>(), level),
            Node::Paren(inner) => self.call("", &[inner], level),
            Node::Subquery(subquery) => {
                self.expr(&subquery.expr, level);
                self.out.push_str(&subquery_suffix(subquery));
            }
            _ => self.line(level, &expr.to_string()),
        }
    }

    fn call(&mut self, head: &str, args: &[&Expr], level: usize) {
        self.line(level, head);
        self.out.push_str("(\n");
        for (index, arg) in args.iter().enumerate() {
            if index > 0 {
                self.out.push_str(",\n");
            }
            self.expr(arg, level + 1);
        }
        self.out.push('\n');
        self.line(level, ")");
    }

    fn line(&mut self, level: usize, text: &str) {
        self.out.extend(std::iter::repeat_n("  ", level));
        self.out.push_str(text);
    }
}

/// The text of an expression if it is not longer than `len_max` bytes. Prints no more than that.
fn short_text(expr: &Expr, len_max: usize) -> Option<String> {
    struct Bounded {
        text: String,
        len_max: usize,
    }
    impl Write for Bounded {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            if self.text.len() + part.len() > self.len_max {
                return Err(fmt::Error);
            }
            self.text.push_str(part);
            Ok(())
        }
    }
    let mut bounded = Bounded { text: String::new(), len_max };
    write!(bounded, "{expr}").ok().map(|()| bounded.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn printed(text: &str) -> String {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn canonical_text() {
        for (text, want) in [
            ("1_000+ 0x10", "1000 + 16"),
            ("90m * 2", "1h30m * 2"),
            ("-5m", "-5m"),
            ("up[300]", "up[5m]"),
            ("up[0.0005]", "up[0.0005]"),
            ("up offset -90", "up offset -1m30s"),
            ("up offset 0", "up"),
            ("up[1w] @ 1.5 offset 13d smoothed", "up[1w] smoothed @ 1.500 offset 13d"),
            ("up offset 1m anchored @ -0.25", "up @ -0.250 anchored offset 1m"),
            ("up[2*1m:step()] @ end()", "up[2 * 1m:step()] @ end()"),
            ("up[5m:] offset (1m)", "up[5m:] offset (1m)"),
            ("up{b='2',a=~\"1\",}", "up{a=~\"1\",b=\"2\"}"),
            ("{'a.b', 'c d'!=`\\`}", "{\"c d\"!=\"\\\\\",__name__=\"a.b\"}"),
            ("info(up, {})", "info(up, {})"),
            ("sum(up)by(a,'b.c')", "sum by (a, \"b.c\") (up)"),
            ("sum by()(up)", "sum(up)"),
            ("topk without()(3,up)", "topk without () (3, up)"),
            ("a==bool on()group_left b", "a == bool on () group_left () b"),
            ("a+ignoring(x)group_right(y)fill_left(0)b", "a + ignoring (x) group_right (y) fill_left (0) b"),
            ("a-ignoring()fill(-1e30)b", "a - fill (-1e+30) b"),
            ("- -a</-b", "--a </ -b"),
            ("a[STEP()]", "a[step()]"),
            ("inf ^ 2 + inf", "Inf ^ 2 + +Inf"),
        ] {
            assert_eq!(printed(text), want, "{text}");
        }
    }

    #[test]
    fn splits_long_lines() {
        let expr =
            parse("topk(2, sum by(job)(rate(a[5m]))) + -b / on(x) group_left() max_over_time((c+d)[1h:])").unwrap();
        let want = [
            "  topk(",
            "    2,",
            "    sum by (job) (",
            "      rate(",
            "        a[5m]",
            "      )",
            "    )",
            "  )",
            "+",
            "    -b",
            "  / on (x) group_left ()",
            "    max_over_time(",
            "      (c + d)[1h:]",
            "    )",
        ];
        assert_eq!(format_within(&expr, 8).lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn keeps_short_lines() {
        let text =
            "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (job) (rate(x[5m])) > 0.012345";
        assert_eq!(text.len(), 97);
        assert_eq!(format(&parse(text).unwrap()), text);
    }
}
