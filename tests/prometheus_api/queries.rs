//! Queries whose syntax trees and formatted texts have to be those of Prometheus.

use crate::Pair;
use crate::wire::Reply;

/// Queries that 3.5 prints in another way, and why.
const PRINTED_OTHERWISE: [(&str, &str); 3] = [
    (r#"a + on("a.b") group_left("c d") b"#, "3.5 does not quote label names here"),
    ("up offset (5m)", "3.5 drops parentheses around a single duration"),
    ("up offset -(1m)", "3.5 drops parentheses around a single duration"),
];

/// What errors of tsq say for a reason of its own.
const ERRORS_OTHERWISE: [(&str, &str); 2] = [
    ("string is not valid UTF-8", "strings of tsq are UTF-8 after their escapes, see docs/promql.md"),
    ("expected number, duration, step(), or range()", "3.5 knows no step() and range() in durations"),
];

/// Words of the language that Prometheus 3.5 does not know yet, each with the version that brought it.
const NEWER: [(&str, &str); 14] = [
    ("min_of", "3.13"),
    ("max_of", "3.13"),
    ("anchored", "3.7"),
    ("smoothed", "3.7"),
    ("fill", "3.10"),
    ("fill_left", "3.10"),
    ("fill_right", "3.10"),
    ("histogram_quantiles", "3.10"),
    ("first_over_time", "3.7"),
    ("start", "3.10"),
    ("end", "3.10"),
    ("range", "3.8"),
    ("step", "3.6"),
    ("start_timestamp", "3.12"),
];

/// The queries of a list: one a line, `\n` for a line end.
pub(crate) fn parse(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.replace("\\n", "\n")).collect()
}

/// The queries of a script in the `.test` language.
pub(crate) fn of_script(text: &str) -> Vec<String> {
    let query = |line: &str| {
        let rest = line.trim_start().strip_prefix("eval")?;
        let (_, rest) = rest.split_once(' ').filter(|(kind, _)| kind.is_empty() || kind.starts_with('_'))?;
        let words = match rest.split(' ').next()? {
            "instant" if rest.starts_with("instant at ") => 3,
            "instant" => 1,
            "range" => 7,
            _ => return None,
        };
        rest.splitn(words + 1, ' ').nth(words).map(|query| query.trim().to_owned())
    };
    text.lines().filter_map(query).collect()
}

/// How the two servers print and parse a query differently, if they do.
pub(crate) fn difference(pair: &Pair, query: &str) -> Option<String> {
    let ask = |endpoint: &str| pair.ask(&post(endpoint, query));
    let format = ask("format_query").map(|(want, got)| text_difference(query, &want, &got));
    let parse = ask("parse_query").map(|(want, got)| tree_difference(query, &want, &got));
    match (format, parse) {
        (Err(error), _) | (_, Err(error)) => Some(error),
        (Ok(format), Ok(parse)) => format.or(parse),
    }
}

fn post(endpoint: &str, query: &str) -> Vec<u8> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let head = "host: a\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded";
    let len = encoded.len() + 6;
    format!("POST /api/v1/{endpoint} HTTP/1.1\r\n{head}\r\ncontent-length: {len}\r\n\r\nquery={encoded}").into_bytes()
}

fn text_difference(query: &str, want: &Reply, got: &Reply) -> Option<String> {
    match (want.status, got.status) {
        (400, 200) if is_newer(query) => None,
        (200, 200) if PRINTED_OTHERWISE.iter().any(|(other, _)| query == *other) => None,
        (_, 400) if is_own_error(&got.text()) => None,
        _ if want.body == got.body => None,
        _ => Some(format!("want {}\n    got  {}", want.text(), got.text())),
    }
}

fn tree_difference(query: &str, want: &Reply, got: &Reply) -> Option<String> {
    match (want.status, got.status) {
        (400, 200) if is_newer(query) => return None,
        (_, 400) if is_own_error(&got.text()) => return None,
        _ => {}
    }
    let got_text = as_3_5(&got.text());
    (want.text() != got_text).then(|| format!("want {}\n    got  {got_text}", want.text()))
}

/// A tree without what trees of 3.5 do not have.
fn as_3_5(tree: &str) -> String {
    let without_flags = tree.replace(r#""anchored":false,"#, "").replace(r#","smoothed":false"#, "");
    without_flags.replace(r#""fillValues":{"lhs":null,"rhs":null},"#, "")
}

fn is_own_error(text: &str) -> bool {
    ERRORS_OTHERWISE.iter().any(|(own, _)| text.contains(own))
}

fn is_newer(query: &str) -> bool {
    let query = query.to_lowercase();
    let words = query.split(|c: char| !(c == '_' || c.is_ascii_alphanumeric()));
    words.into_iter().any(|word| NEWER.iter().any(|(newer, _)| word == *newer))
        || query.contains("</")
        || query.contains(">/")
}

#[test]
fn queries_are_found_in_scripts() {
    let script = "load 1m\n  a 1\n\neval instant at 50m SUM(a)\n  {} 1\neval_fail range from 0 to 1m step 1m a b\n  eval instant  x";
    assert_eq!(of_script(script), ["SUM(a)", "a b", "x"]);
}
