//! The queries of queries.txt.

use std::net::SocketAddr;

use serde_json::Value;
use tsq_tests::http;

/// One line of queries.txt.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) line: usize,
    pub(crate) text: String,
    times: Times,
    pub(crate) only_v2: bool,
    pub(crate) ordered: bool,
}

/// When a query is evaluated, in Unix seconds.
#[derive(Debug)]
enum Times {
    Instant { at: f64 },
    Range { from: f64, to: f64, step: f64 },
}

impl Query {
    /// Asks a server: the whole answer, or what went wrong.
    pub(crate) fn ask(&self, server: SocketAddr) -> Result<Value, String> {
        let text = self.text.as_str();
        let answer = match &self.times {
            Times::Instant { at } => http::json(server, "/api/v1/query", &[("query", text), ("time", &at.to_string())]),
            Times::Range { from, to, step } => {
                let (from, to, step) = (from.to_string(), to.to_string(), step.to_string());
                let params = [("query", text), ("start", &from), ("end", &to), ("step", &step)];
                http::json(server, "/api/v1/query_range", &params)
            }
        }?;
        if answer["status"] == "success" { Ok(answer) } else { Err(answer.to_string()) }
    }
}

/// The queries of a file, with times before `end_s`.
pub(crate) fn parse(text: &str, end_s: i64) -> Vec<Query> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| query(index + 1, line, end_s)).collect()
}

fn query(line: usize, text: &str, end_s: i64) -> Query {
    let (head, query) = text.split_once(" | ").unwrap_or_else(|| panic!("queries.txt:{line}: no ' | '"));
    let mut words = head.split(' ');
    let kind = words.next().unwrap_or_default();
    let mut number = || -> f64 {
        let word = words.next().unwrap_or_else(|| panic!("queries.txt:{line}: a number is missing"));
        word.parse().unwrap_or_else(|error| panic!("queries.txt:{line}: {word:?}: {error}"))
    };
    let end = end_s as f64;
    let times = match kind {
        "instant" => Times::Instant { at: end + number() },
        "range" => Times::Range { from: end + number(), to: end + number(), step: number() },
        _ => panic!("queries.txt:{line}: {kind:?} is neither instant nor range"),
    };
    let mut query = Query { line, text: with_times(query, end_s), times, only_v2: false, ordered: false };
    for flag in words {
        match flag {
            "v2" => query.only_v2 = true,
            "ordered" => query.ordered = true,
            _ => panic!("queries.txt:{line}: unknown flag {flag:?}"),
        }
    }
    query
}

/// Puts Unix times in the place of `$(-20)`.
fn with_times(text: &str, end_s: i64) -> String {
    let mut parts = text.split("$(");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (offset, rest) = part.split_once(')').expect("$( has a closing bracket");
        let offset: i64 = offset.parse().expect("$( holds whole seconds");
        out.push_str(&(end_s + offset).to_string());
        out.push_str(rest);
    }
    out
}
