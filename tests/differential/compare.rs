//! Whether two answers to one query are the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tsq_tests::answers::{Labels, by_labels, shortened, value_difference};

/// Answers hold at most this many warnings, and as many infos. Prometheus leaves out others by chance, and says so.
const NOTES_MAX: usize = 10;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Only one of them fails, or they fail in different ways.
    Error,
    /// The type of the result.
    Type,
    /// The series.
    Labels,
    /// The order of series.
    Order,
    /// Times or values.
    Values,
    /// A warning or an info that only one of them has.
    Note,
}

/// What the order of the elements of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing.
    None,
    /// They are sorted by value; those with equal values are in any order.
    Values,
    /// They are sorted by labels.
    Labels,
}

impl Order {
    fn differs(self, want: &[Value], got: &[Value]) -> bool {
        let all = |key: &str, list: &[Value]| list.iter().map(|series| series[key].clone()).collect();
        match self {
            Self::None => false,
            Self::Values => {
                let values = |list| Value::Array(all("value", list));
                value_difference(&values(want), &values(got)).is_some()
            }
            Self::Labels => {
                let labels = |list| -> Vec<Value> { all("metric", list) };
                labels(want) != labels(got)
            }
        }
    }
}

/// How two answers differ.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// How the answer of tsq differs from that of Prometheus: one difference of the results, or all of the notes.
pub(crate) fn differences(want: &Value, got: &Value, order: Order) -> Vec<Difference> {
    let found = |kind, text| vec![Difference { kind, text }];
    if want["status"] != got["status"] || want["errorType"] != got["errorType"] {
        let text = format!("want {}, got {}", summary(want), summary(got));
        return found(Kind::Error, text);
    }
    if want["status"] == "error" {
        return Vec::new();
    }
    if want["data"]["resultType"] != got["data"]["resultType"] {
        let text = format!("want {}, got {}", want["data"]["resultType"], got["data"]["resultType"]);
        return found(Kind::Type, text);
    }
    match result_difference(&want["data"], &got["data"], order) {
        Some(difference) => vec![difference],
        None => note_differences(want, got),
    }
}

/// Whether an answer holds any data.
pub(crate) fn has_data(answer: &Value) -> bool {
    answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
}

fn summary(answer: &Value) -> String {
    if answer["status"] == "error" { answer.to_string() } else { shortened(&answer["data"]["result"]) }
}

fn result_difference(want: &Value, got: &Value, order: Order) -> Option<Difference> {
    let found = |kind, text| Some(Difference { kind, text });
    if want["resultType"] == "scalar" || want["resultType"] == "string" {
        let text = value_difference(&want["result"], &got["result"])?;
        return found(Kind::Values, text);
    }
    let list = |data: &Value| data["result"].as_array().cloned().unwrap_or_default();
    let (want, got) = (list(want), list(got));
    let (want_map, got_map) = (by_labels(&want), by_labels(&got));
    if want_map.len() != want.len() || got_map.len() != got.len() {
        return found(Kind::Labels, "series with the same labels".to_owned());
    }
    let difference = |a: &BTreeMap<Labels<'_>, &Value>, b: &BTreeMap<Labels<'_>, &Value>| {
        let missing = a.iter().find(|(labels, _)| !b.contains_key(*labels));
        missing.map(|(labels, series)| format!("{labels:?} {}", shortened(series)))
    };
    if let Some(missing) = difference(&want_map, &got_map) {
        let text = format!("missing: {missing} ({} series wanted, {} there)", want.len(), got.len());
        return found(Kind::Labels, text);
    }
    if let Some(extra) = difference(&got_map, &want_map) {
        let text = format!("not wanted: {extra} ({} series wanted, {} there)", want.len(), got.len());
        return found(Kind::Labels, text);
    }
    for (labels, series) in &got_map {
        for key in ["value", "values", "histogram", "histograms"] {
            if let Some(problem) = value_difference(&want_map[labels][key], &series[key]) {
                return found(Kind::Values, format!("{labels:?} {key}{problem}"));
            }
        }
    }
    if order.differs(&want, &got) {
        let shown = |list: Vec<Value>| shortened(&Value::Array(list));
        return found(Kind::Order, format!("want {}, got {}", shown(want), shown(got)));
    }
    None
}

/// The texts that only one of them has. A text that may have been left out counts as there.
fn note_differences(want: &Value, got: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for key in ["warnings", "infos"] {
        let (want, got) = (notes(&want[key]), notes(&got[key]));
        if want.len() > NOTES_MAX || got.len() > NOTES_MAX {
            continue;
        }
        let missing = want.difference(&got).map(|text| format!("missing: {text}"));
        let extra = got.difference(&want).map(|text| format!("not wanted: {text}"));
        found.extend(missing.chain(extra).map(|text| Difference { kind: Kind::Note, text }));
    }
    found
}

fn notes(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn differences_are_found() {
    let answer = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let vector = |result: &str| {
        answer(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#))
    };
    let (one, two) = (r#"{"metric":{"a":"1"},"value":[7,"3"]}"#, r#"{"metric":{"a":"2"},"value":[7,"NaN"]}"#);
    let both = format!("{one},{two}");
    let want = vector(&both);
    let kind = |got: &str| differences(&want, &vector(got), Order::None).first().map(|difference| difference.kind);
    assert_eq!(kind(&format!("{two},{one}")), None);
    let reversed =
        differences(&want, &vector(&format!("{two},{one}")), Order::Labels).first().map(|difference| difference.kind);
    assert_eq!(reversed, Some(Kind::Order));
    let reversed = differences(&want, &vector(&format!("{two},{one}")), Order::Values);
    assert_eq!(reversed.first().map(|difference| difference.kind), Some(Kind::Order));
    assert_eq!(kind(&both.replace("\"3\"", "\"3.000000000001\"")), None);
    assert_eq!(kind(&both.replace("\"3\"", "\"3.0000000001\"")), Some(Kind::Values));
    for value in ["+Inf", "-Inf", "0", "x"] {
        assert_eq!(kind(&both.replace("NaN", value)), Some(Kind::Values), "{value} is no NaN");
    }
    assert_eq!(kind(&both.replace('7', "7.001")), Some(Kind::Values), "another time");
    assert_eq!(kind(&both.replace("\"2\"", "\"\"")), Some(Kind::Labels), "other labels");
    assert_eq!(kind(one), Some(Kind::Labels), "a series is missing");
    assert_eq!(kind(&format!("{both},{}", one.replace("\"1\"", "\"4\""))), Some(Kind::Labels), "a series more");
    let changed = |from: &str, to: &str| answer(&want.to_string().replacen(from, to, 1));
    let kind = |got: &Value| differences(&want, got, Order::None).first().map(|difference| difference.kind);
    assert_eq!(kind(&changed("vector", "matrix")), Some(Kind::Type));
    assert_eq!(kind(&changed("success", "error")), Some(Kind::Error));
    assert_eq!(kind(&changed("{", "{\"infos\":[\"x\"],")), Some(Kind::Note));
}
