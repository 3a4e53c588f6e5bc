//! `features`: what this server can do, for clients that adapt to it.

use std::collections::BTreeMap;

use tsq::promql::ast::{AggregateOp, BinaryOp};
use tsq::promql::{KEYWORDS, signatures};

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;

pub(super) static ENDPOINTS: &[Endpoint] =
    &[Endpoint { path: "/api/v1/features", methods: Methods::Get, cost: Cost::Small, run: features }];

/// Parts of the API, in Prometheus's words.
const API: [&str; 9] = [
    "admin",
    "exclude_alerts",
    "label_values_match",
    "otlp_write_receiver",
    "query_stats",
    "query_warnings",
    "remote_write_receiver",
    "time_range_labels",
    "time_range_series",
];

/// Parts of the language that no keyword names.
const LANGUAGE: [&str; 2] = ["at_modifier", "duration_expr"];

type Features = BTreeMap<&'static str, bool>;

fn features(call: &Call) -> Result<Answer, ApiError> {
    let all = |names: &[&'static str]| names.iter().map(|&name| (name, true)).collect::<Features>();
    let mut api = all(&API);
    api.insert("lifecycle", call.app.config.lifecycle);
    let operators = BinaryOp::ALL.iter().map(|op| op.name()).chain(AggregateOp::ALL.iter().map(|op| op.name()));
    let mut language = all(&LANGUAGE);
    let is_operator = |word: &str| BinaryOp::ALL.iter().any(|op| op.name() == word);
    language.extend(KEYWORDS.iter().filter(|word| !is_operator(word)).map(|&word| (word, true)));
    let mut answer = Answer::new();
    answer.serialize(&BTreeMap::from([
        ("api", api),
        ("promql", language),
        ("promql_functions", signatures().iter().map(|signature| (signature.name, true)).collect()),
        ("promql_operators", operators.map(|name| (name, true)).collect()),
        ("rules", Features::new()),
        ("scrape", Features::new()),
    ]));
    Ok(answer)
}
