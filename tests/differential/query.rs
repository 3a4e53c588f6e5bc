//! A query: what is asked, and for which times.

use std::fmt;

use serde_json::Value;
use tsq_tests::http::Client;

use crate::tree::Tree;

/// A query of the HTTP API.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) tree: Tree,
    pub(crate) times: Times,
}

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    Instant { at: i64 },
    Range { start: i64, end: i64, step: i64 },
}

impl Query {
    /// The answer of a server, an error of the query included.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn ask(&self, client: &mut Client) -> Value {
        let text = self.tree.to_string();
        let answer = match self.times {
            Times::Instant { at } => client.form("/api/v1/query", &[("query", &text), ("time", &seconds(at))]),
            Times::Range { start, end, step } => {
                let times = [("start", &*seconds(start)), ("end", &seconds(end)), ("step", &seconds(step))];
                client.form("/api/v1/query_range", &[[("query", &*text)].as_slice(), &times].concat())
            }
        };
        answer.unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// How large it is: its text, then its evaluation times.
    pub(crate) fn size(&self) -> (usize, i64) {
        let steps = match self.times {
            Times::Instant { .. } => 0,
            Times::Range { start, end, step } => 1 + (end - start).max(0) / step.max(1),
        };
        (self.tree.to_string().len(), steps)
    }

    /// Queries that are smaller by one change, the smallest first.
    pub(crate) fn smaller(&self) -> Vec<Query> {
        let trees = self.tree.smaller().into_iter().map(|tree| Query { tree, times: self.times });
        let times = self.times.smaller().into_iter().map(|times| Query { tree: self.tree.clone(), times });
        times.chain(trees).collect()
    }
}

impl Times {
    fn smaller(self) -> Vec<Times> {
        let Times::Range { start, end, step } = self else { return Vec::new() };
        if step <= 0 || start >= end {
            return Vec::new();
        }
        let half = start + (end - start) / step / 2 * step;
        let mut found: Vec<Times> =
            (0..=4).map(|part| Times::Instant { at: start + (end - start) / step * part / 4 * step }).collect();
        if half > start {
            found.push(Times::Range { start, end: half - step, step });
            found.push(Times::Range { start: half, end, step });
        }
        found
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.times {
            Times::Instant { at } => write!(f, "{} at {}", self.tree, seconds(at)),
            Times::Range { start, end, step } => {
                write!(f, "{} from {} to {} step {}", self.tree, seconds(start), seconds(end), seconds(step))
            }
        }
    }
}

/// Seconds as the HTTP API takes them.
pub(crate) fn seconds(time_ms: i64) -> String {
    let sign = if time_ms < 0 { "-" } else { "" };
    let (whole, rest) = (time_ms.unsigned_abs() / 1000, time_ms.unsigned_abs() % 1000);
    if rest == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:03}") }
}
