//! What is accepted, and what tree comes of it.

use tsq_core::MatchOp;

use crate::ast::{At, BinaryOp, ContextValue, DurationNode, Expr, Extended, Group, Node, Selector};
use crate::{ValueType, parse, position};

fn parsed(text: &str) -> Expr {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The tree with every operation in brackets.
fn grouped(expr: &Expr) -> String {
    match &expr.node {
        Node::Binary(binary) => {
            format!("[{} {} {}]", grouped(&binary.left), binary.op.name(), grouped(&binary.right))
        }
        Node::Unary { negate, expr } => format!("{}[{}]", if *negate { "-" } else { "+" }, grouped(expr)),
        Node::Paren(inner) => format!("({})", grouped(inner)),
        _ => expr.to_string(),
    }
}

fn selector(expr: &Expr) -> &Selector {
    match &expr.node {
        Node::Selector(selector) | Node::Matrix { selector, .. } => selector,
        other => panic!("no selector: {other:?}"),
    }
}

#[test]
fn precedence() {
    for (text, want) in [
        ("a + b * c ^ d", "[a + [b * [c ^ d]]]"),
        ("a ^ b ^ c", "[a ^ [b ^ c]]"),
        ("a - b - c", "[[a - b] - c]"),
        ("a * b atan2 c % d", "[[[a * b] atan2 c] % d]"),
        ("a or b and c unless d", "[a or [[b and c] unless d]]"),
        ("a == b > c", "[[a == b] > c]"),
        ("a </ b + c >/ d", "[[a </ [b + c]] >/ d]"),
        ("a > b or c < d", "[[a > b] or [c < d]]"),
        ("-a ^ b", "-[[a ^ b]]"),
        ("-a * b", "[-[a] * b]"),
        ("-2 ^ 2", "-[[2 ^ 2]]"),
        ("-2 * 2", "[-2 * 2]"),
        ("2 ^ -3 * a", "[[2 ^ -3] * a]"),
        ("2 ^ -a ^ b", "[2 ^ -[[a ^ b]]]"),
        ("--1", "1"),
        ("-+-a", "-[+[-[a]]]"),
        ("-a[5m:1m]", "-[a[5m:1m]]"),
        ("-a offset 5m", "-[a offset 5m]"),
        ("a + b offset 5m", "[a + b offset 5m]"),
        ("a offset -2 * 2", "[a offset -2s * 2]"),
        ("a offset (-2) * 2", "a offset (-2) * 2"),
        ("a offset -(2) * 2", "[a offset -(2) * 2]"),
        ("a offset +(2) * 2", "[a offset +(2) * 2]"),
        ("a offset step() ^ 2", "[a offset step() ^ 2]"),
        ("a offset max_of(1, 2) + 3", "[a offset max_of(1, 2) + 3]"),
    ] {
        let expr = match parse(text) {
            Ok(expr) => expr,
            // Unary operators do not apply to ranges; the shape is what counts here.
            Err(error) => {
                assert!(error.message.starts_with("unary expression"), "{text}: {error}");
                continue;
            }
        };
        assert_eq!(grouped(&expr), want, "{text}");
    }
}

#[test]
fn literals() {
    for (text, want) in [
        ("0x1F", 31.0),
        ("0755", 493.0),
        ("1_000.5", 1000.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("-5m", -300.0),
        ("iNf", f64::INFINITY),
        ("-INF", f64::NEG_INFINITY),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("5.", 5.0),
        ("# what\n 7 # it is\r\n", 7.0),
    ] {
        match parsed(text).node {
            Node::Number { value, .. } => assert_eq!(value, want, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(parsed("nan").node, Node::Number { value, .. } if value.is_nan()));
    for (text, want) in [
        (r#""a\"\n""#, "a\"\n"),
        (r#"'a"\''"#, "a\"'"),
        (r"`\n`", "\\n"),
        ("`a\nb`", "a\nb"),
        (r"'\u00e9\xc3\xa9\101'", "ééA"),
    ] {
        assert!(matches!(parsed(text).node, Node::String(value) if value == want), "{text}");
    }
}

#[test]
fn words_are_names_too() {
    for name in [
        "sum",
        "by",
        "without",
        "and",
        "or",
        "unless",
        "offset",
        "start",
        "end",
        "step",
        "range",
        "min_of",
        "anchored",
        "smoothed",
        "fill",
        "fill_left",
        "limitk",
        "group",
        "SUM",
        "a:b",
        ":a",
        "_x",
    ] {
        assert_eq!(selector(&parsed(name)).name.as_deref(), Some(name));
        assert_eq!(grouped(&parsed(&format!("{name} + {name}"))), format!("[{name} + {name}]"));
        let expr = parsed(&format!("{name}{{{}=\"1\"}}", name.replace(':', "_")));
        assert_eq!(selector(&expr).matchers.len(), 2, "{name}");
    }
    parsed("sum by (sum, by, on, bool, ignoring, group_left, offset, atan2, step, fill, min_of, anchored) (a)");
    parsed("a + on (and, or, unless, start, end) group_left (fill_right, \"a b\",) b");
    parsed("and and and");
    parsed("offset offset 5m");
    parsed("fill + fill (1) fill_left");
}

#[test]
fn selectors_and_modifiers() {
    let expr = parsed("a.b".replace('.', ":").as_str());
    assert_eq!(selector(&expr).matchers.len(), 1);

    let expr = parsed(r#"{"a.b", "c d"!~"x|y", e!=`f`,}"#);
    let found = selector(&expr);
    assert_eq!(found.name, None);
    assert!(matches!(&found.matchers[0].op, MatchOp::Equal(value) if value == "a.b"));
    assert_eq!((found.matchers[1].name.as_str(), found.matchers[2].name.as_str()), ("c d", "e"));
    assert!(matches!(&found.matchers[1].op, MatchOp::NotMatch(pattern) if pattern.source() == "x|y"));

    let all = "a[5m] @ 1.5 smoothed offset -1m";
    for text in [all, "a[5m] offset -1m @ 1.5 smoothed", "a smoothed [5m] offset -1m @ 1.5"] {
        let expr = parsed(text);
        let modifiers = &selector(&expr).modifiers;
        assert_eq!((modifiers.at, modifiers.extended), (Some(At::Time(1500)), Some(Extended::Smoothed)), "{text}");
        assert!(matches!(modifiers.offset.as_ref().unwrap().node, DurationNode::Literal { seconds: -60.0, .. }));
        assert_eq!((expr.range.start, expr.range.end), (0, text.len()));
    }
    assert_eq!(selector(&parsed("a @ end() anchored")).modifiers.at, Some(At::End));

    let Node::Subquery(subquery) = parsed("(a + b)[1h:step()] offset step() @ start()").node else {
        panic!("no subquery");
    };
    assert_eq!(subquery.modifiers.at, Some(At::Start));
    assert!(matches!(subquery.step.unwrap().node, DurationNode::Context(ContextValue::Step)));
    parsed("a[step():1m]");
    parsed("a[RANGE() * 2 : Max_Of(step(), 5m)]");
}

#[test]
fn matching() {
    let Node::Binary(binary) = parsed("a == bool on (x, y) group_right (z) fill_right (-1) fill_left (2m) b").node
    else {
        panic!("no operation");
    };
    let matching = &binary.matching;
    assert!(binary.return_bool && matching.on && matching.explicit);
    assert_eq!((matching.labels.join(","), matching.include.join(",")), ("x,y".to_owned(), "z".to_owned()));
    assert_eq!((matching.group, matching.fill_left, matching.fill_right), (Group::Right, Some(120.0), Some(-1.0)));
}

#[test]
fn aggregations_and_calls() {
    for text in ["sum by (a, b) (c)", "sum(c) by (a, b)", "SUM(c) BY (a, b,)"] {
        let Node::Aggregate(aggregate) = parsed(text).node else { panic!("{text}") };
        assert_eq!((aggregate.labels.join(","), aggregate.without), ("a,b".to_owned(), false), "{text}");
        assert!(aggregate.param.is_none());
    }
    let Node::Aggregate(aggregate) = parsed("limit_ratio(-0.5, c) without ()").node else { panic!("no aggregation") };
    assert!(aggregate.without && aggregate.param.is_some());

    assert!(matches!(parsed("end()").node, Node::Context(ContextValue::End)));
    assert!(matches!(parsed("max_of(step(), 5m)").node, Node::Call { function: "max_of", .. }));
    for (text, want) in [
        ("rate(a[5m])", ValueType::Vector),
        ("time() + 1", ValueType::Scalar),
        ("scalar(a) > bool 1", ValueType::Scalar),
        ("-(a)", ValueType::Vector),
        ("a[5m:]", ValueType::Matrix),
        ("('x')", ValueType::String),
        ("info(a)", ValueType::Vector),
        ("info(a, {})", ValueType::Vector),
        ("hour()", ValueType::Vector),
        ("label_join(a, 'b', ',')", ValueType::Vector),
        ("histogram_quantiles(a, 'q', 0.5, 0.9)", ValueType::Vector),
    ] {
        assert_eq!(parsed(text).value_type(), want, "{text}");
    }
}

/// Every node stands where its text is.
#[test]
fn ranges() {
    let text = "sum by (x) ( rate(a [5m]) ) +\n -b";
    let Node::Binary(binary) = parsed(text).node else { panic!("no operation") };
    let slice = |expr: &Expr| &text[expr.range.start..expr.range.end];
    assert_eq!(slice(&binary.left), "sum by (x) ( rate(a [5m]) )");
    assert_eq!(slice(&binary.right), "-b");
    assert_eq!(position(text, binary.right.range.start), (2, 2));
    let Node::Aggregate(aggregate) = &binary.left.node else { panic!("no aggregation") };
    assert_eq!(slice(&aggregate.expr), "rate(a [5m])");
    let Node::Call { args, .. } = &aggregate.expr.node else { panic!("no call") };
    assert_eq!(slice(&args[0]), "a [5m]");
    let Node::Matrix { range, .. } = &args[0].node else { panic!("no range") };
    assert_eq!(&text[range.range.start..range.range.end], "5m");
    assert_eq!(binary.op, BinaryOp::Add);
}

#[test]
fn positions() {
    assert_eq!(position("", 0), (1, 1));
    assert_eq!(position("ab\ncd", 2), (1, 3));
    assert_eq!(position("ab\ncd", 3), (2, 1));
    assert_eq!(position("é\nx", 99), (2, 2));
    assert_eq!(position("éx", 2), (1, 3));
}
