//! Texts made to exhaust the stack, and noise.

use proptest::prelude::*;

use crate::{format, parse, parse_selector};

/// Parses, prints and drops on a small stack; true if the text is a query.
fn survives(text: String) -> bool {
    let run = move || {
        let parsed = parse(&text);
        let _ = parse_selector(&text);
        if let Ok(expr) = &parsed {
            let printed = expr.to_string();
            assert_eq!(parse(&printed).unwrap().to_string(), printed);
            assert!(!format(expr).is_empty());
            let _ = (expr.clone(), expr.value_type());
        }
        parsed.is_ok()
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().expect("no overflow, no panic")
}

#[test]
fn nesting_is_bounded() {
    let around = |levels: usize, open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, inner, close) in [
        ("(", "a", ")"),
        ("-", "a", ""),
        ("-", "1", ""),
        ("abs(", "a", ")"),
        ("sum(", "a", ")"),
        ("1 ^ ", "1", ""),
        ("-(", "a", ")"),
        ("sum by (x) (-", "a", ")"),
        ("abs(1 + ", "a", ")"),
        ("1 + a * 2 ^ (", "1", ")"),
        ("a[5m:1m] + (", "a", ")"),
        ("topk(scalar(", "a", "), b)"),
    ] {
        for levels in [1, 60, 250, 300, 5000, 200_000] {
            let _ = survives(around(levels, open, inner, close));
            let _ = survives(open.repeat(levels));
        }
    }
    assert!(survives(around(255, "(", "a", ")")));
    assert!(!survives(around(256, "(", "a", ")")));
    let error = parse(&around(5000, "(", "a", ")")).unwrap_err().to_string();
    assert_eq!(error, "1:257: parse error: expression is nested more than 256 levels deep");
}

#[test]
fn duration_nesting_is_bounded() {
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("-", "1", ""),
        ("-(", "1", ")"),
        ("min_of(", "1", ", 2)"),
        ("2 ^ ", "1", ""),
        ("1 * -", "1", ""),
    ] {
        for levels in [1, 60, 250, 300, 200_000] {
            let duration = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
            let _ = survives(format!("a[{duration}]"));
            let _ = survives(format!("a offset {duration}"));
            let _ = survives(format!("a[1:{duration}]"));
        }
    }
}

/// Chains nest in the tree though not in the text.
#[test]
fn chains_are_bounded() {
    let chain = |count: usize, part: &str| format!("1{}", part.repeat(count));
    assert!(survives(chain(511, "+1")));
    assert!(!survives(chain(512, "+1")));
    assert!(!survives(chain(200_000, "+1")));
    assert!(!survives(format!("a{}", "[1m:]".repeat(200_000))));
    assert!(!survives(format!("a{}", " or a".repeat(200_000))));
    assert!(survives(format!("a[{}]", chain(500, "+1"))));
    assert!(!survives(format!("a[{}]", chain(200_000, "+1"))));
    let error = parse(&chain(600, "+1")).unwrap_err().to_string();
    assert_eq!(error, "1:1: parse error: expression is a tree of more than 512 levels");
}

/// What is wide is not deep.
#[test]
fn width_is_not_bounded() {
    assert!(survives(format!("label_join(a, 'b', ','{})", ", 'c'".repeat(20_000))));
    assert!(survives(format!("a{{{}}}", "b='c',".repeat(20_000))));
    assert!(survives(format!("sum by ({}) (a)", "b,".repeat(20_000))));
    assert!(survives(format!("sum by (a) (# {}\n a)", "comment ".repeat(20_000))));
    assert!(survives(format!("'{}'", "x".repeat(200_000))));
}

/// Anything a query may be made of.
const TOKENS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "</",
    ">/",
    "=",
    "=~",
    "!~",
    "@",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "and",
    "or",
    "unless",
    "atan2",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "by",
    "without",
    "offset",
    "anchored",
    "smoothed",
    "fill",
    "fill_left",
    "fill_right",
    "start",
    "end",
    "step",
    "range",
    "min_of",
    "max_of",
    "step()",
    "start()",
    "sum",
    "topk",
    "count_values",
    "rate",
    "abs",
    "info",
    "foo",
    "a:b",
    "1",
    "0x1f",
    "5m",
    "1.5",
    "inf",
    "NaN",
    "'s'",
    "\"a.b\"",
    "`r`",
    "# c\n",
    "[5m]",
    "[5m:]",
    "{a='b'}",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200000, ..ProptestConfig::default() })]

    #[test]
    fn token_soup(picks in proptest::collection::vec(0..TOKENS.len(), 0..24), glue in any::<bool>()) {
        let parts: Vec<&str> = picks.iter().map(|&pick| TOKENS[pick]).collect();
        let text = parts.join(if glue { "" } else { " " });
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            prop_assert_eq!(parse(&printed).unwrap().to_string(), printed);
        }
        let _ = parse_selector(&text);
    }

    #[test]
    fn any_text(text in "\\PC{0,40}|[ -~\\n]{0,60}") {
        match parse(&text) {
            Ok(expr) => prop_assert!(expr.range.end <= text.len()),
            Err(error) => {
                prop_assert!(text.get(error.range.start..error.range.end).is_some());
                prop_assert!(!error.message.is_empty());
            }
        }
        let _ = parse_selector(&text);
    }
}
