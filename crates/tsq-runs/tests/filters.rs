//! Filters and orders against a naive evaluation of the same runs.

use std::cmp::Ordering;

use proptest::prelude::*;
use tsq_core::{Db, Options};
use tsq_runs::{Logged, NewRun, Page, Pair, Point, RunSearch, Runs, View};

/// A run as the naive side knows it.
#[derive(Clone, Debug)]
struct Model {
    metrics: Vec<(&'static str, f64)>,
    params: Vec<(&'static str, &'static str)>,
    start_ms: i64,
    deleted: bool,
}

/// A condition with its text.
#[derive(Clone, Debug)]
enum Condition {
    Metric(&'static str, &'static str, f64),
    Param(&'static str, &'static str, &'static str),
    Missing(&'static str, bool),
    Start(&'static str, i64),
}

const METRICS: [&str; 3] = ["loss", "val/acc", "a b"];
const PARAMS: [&str; 2] = ["lr", "opt"];
const VALUES: [&str; 5] = ["0.1", "0.01", "Adam", "adam", ""];
const NUMBERS: [f64; 6] = [0.0, 1.0, -1.5, f64::NAN, f64::INFINITY, 0.25];

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Metric(key, operator, number) => format!("metrics.`{key}` {operator} {number:?}"),
            Self::Param(key, operator, text) => format!("params.\"{key}\" {operator} '{text}'"),
            Self::Missing(key, negated) => format!("params.{key} IS {}NULL", if *negated { "NOT " } else { "" }),
            Self::Start(operator, number) => format!("attributes.start_time {operator} {number}"),
        }
    }

    fn holds(&self, run: &Model) -> bool {
        match self {
            Self::Metric(key, operator, number) => {
                let found = run.metrics.iter().find(|(known, _)| known == key);
                found.is_some_and(|(_, value)| compares(operator, value.partial_cmp(number)))
            }
            Self::Param(key, operator, text) => {
                let found = run.params.iter().find(|(known, _)| known == key);
                found.is_some_and(|(_, value)| match *operator {
                    "=" => value == text,
                    "!=" => value != text,
                    "LIKE" => value.contains(text.trim_matches('%')),
                    _ => value.to_lowercase().contains(&text.trim_matches('%').to_lowercase()),
                })
            }
            Self::Missing(key, negated) => run.params.iter().any(|(known, _)| known == key) == *negated,
            Self::Start(operator, number) => compares(operator, run.start_ms.partial_cmp(number)),
        }
    }
}

/// What an operator says of an order; numbers that have none differ.
fn compares(operator: &str, order: Option<Ordering>) -> bool {
    match operator {
        "=" => order == Some(Ordering::Equal),
        "!=" => order != Some(Ordering::Equal),
        "<" => order == Some(Ordering::Less),
        "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        ">" => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn runs() -> impl Strategy<Value = Vec<Model>> {
    let metric = proptest::option::weighted(0.7, prop::sample::select(NUMBERS.to_vec()));
    let param = proptest::option::weighted(0.7, prop::sample::select(VALUES.to_vec()));
    let run = (prop::collection::vec(metric, 3), prop::collection::vec(param, 2), 1..5_i64, any::<bool>());
    let run = run.prop_map(|(metrics, params, start_ms, deleted)| Model {
        metrics: METRICS.into_iter().zip(metrics).filter_map(|(key, value)| Some((key, value?))).collect(),
        params: PARAMS.into_iter().zip(params).filter_map(|(key, value)| Some((key, value?))).collect(),
        start_ms,
        deleted,
    });
    prop::collection::vec(run, 1..24)
}

fn condition() -> impl Strategy<Value = Condition> {
    let operator = || prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let number = prop::sample::select(vec![0.0, 1.0, -1.5, 0.25]);
    let text_operator = prop::sample::select(vec!["=", "!=", "LIKE", "ILIKE"]);
    prop_oneof![
        (prop::sample::select(METRICS.to_vec()), operator(), number).prop_map(|(k, o, n)| Condition::Metric(k, o, n)),
        (prop::sample::select(PARAMS.to_vec()), text_operator, prop::sample::select(vec!["0.1", "Adam", "adam"]))
            .prop_map(|(key, operator, text)| {
                let text = match (operator, text) {
                    ("LIKE" | "ILIKE", "0.1") => "%0.%",
                    ("LIKE" | "ILIKE", _) => "%dam%",
                    (_, text) => text,
                };
                Condition::Param(key, operator, text)
            }),
        (prop::sample::select(PARAMS.to_vec()), any::<bool>())
            .prop_map(|(key, negated)| Condition::Missing(key, negated)),
        (operator(), 1..5_i64).prop_map(|(operator, number)| Condition::Start(operator, number)),
    ]
}

/// Numbers, then NaN, then runs without the metric, in both directions; newer runs first, then by id.
fn naive_order(left: (&str, &Model), right: (&str, &Model), key: &str, descending: bool) -> Ordering {
    let value = |run: &Model| run.metrics.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
    let class = |value: Option<f64>| value.map_or(2, |value| u8::from(value.is_nan()));
    let (one, other) = (value(left.1), value(right.1));
    let by_value = match (one, other) {
        (Some(one), Some(other)) if !one.is_nan() && !other.is_nan() => {
            let order = one.partial_cmp(&other).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
        _ => Ordering::Equal,
    };
    class(one).cmp(&class(other)).then(by_value).then(right.1.start_ms.cmp(&left.1.start_ms)).then(left.0.cmp(right.0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn filters_find_what_a_naive_search_finds(
        models in runs(),
        conditions in prop::collection::vec(condition(), 0..3),
        (by, descending) in (prop::sample::select(METRICS.to_vec()), any::<bool>()),
        view in prop::sample::select(vec![View::Active, View::Deleted, View::All]),
        limit in 1..6_u32,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), Options { background: false, ..Options::default() }).unwrap();
        let runs = Runs::open(db, 1).unwrap();
        let mut known: Vec<(String, &Model)> = Vec::new();
        for model in &models {
            let new = NewRun { start_ms: Some(model.start_ms), source: "mlflow", ..NewRun::default() };
            let id = runs.catalog().create_run(&new).unwrap().info.run_id;
            let points: Vec<_> =
                model.metrics.iter().map(|&(key, value)| Point { key, time_ms: 5, step: 1, value }).collect();
            let params: Vec<Pair> = model.params.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            runs.log(&id, &Logged { points: &points, params: &params, ..Logged::default() }).unwrap();
            if model.deleted {
                runs.delete_run(&id, 9).unwrap();
            }
            known.push((id, model));
        }
        let seen = |run: &Model| view == View::All || (view == View::Deleted) == run.deleted;
        let mut want: Vec<_> =
            known.iter().filter(|(_, run)| seen(run) && conditions.iter().all(|condition| condition.holds(run))).collect();
        want.sort_by(|left, right| naive_order((&left.0, left.1), (&right.0, right.1), by, descending));
        let filter = conditions.iter().map(Condition::text).collect::<Vec<_>>().join(" AND ");
        let order_by = [format!("metrics.`{by}` {}", if descending { "DESC" } else { "ASC" })];
        let search = RunSearch { experiments: &[0], filter: &filter, order_by: &order_by, view };
        let (mut found, mut offset) = (Vec::new(), 0);
        loop {
            let (page, next) = runs.search(&search, &Page { limit, offset }).unwrap();
            prop_assert!(page.len() <= limit as usize);
            found.extend(page.into_iter().map(|run| run.info.run_id));
            let Some(next) = next else { break };
            offset = next;
        }
        let want: Vec<_> = want.into_iter().map(|(id, _)| id.clone()).collect();
        prop_assert_eq!(found, want, "{} {}", filter, order_by[0]);
    }
}
