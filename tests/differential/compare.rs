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
    /// What the answers have in common all the same.
    pub(crate) same: Same,
}

/// What two different answers have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Same {
    /// The largest relative distance of two values; infinite where something else differs.
    pub(crate) distance: f64,
    /// Whether each time has the same values but for their last digits, whichever series they are of.
    pub(crate) values: bool,
    /// Whether each time has as many elements.
    pub(crate) counts: bool,
    /// Of a note: whether the other answer has it too, at another place of the query.
    pub(crate) note: bool,
}

impl Same {
    const NOTHING: Self = Self { distance: f64::INFINITY, values: false, counts: false, note: false };

    fn of(want: &Value, got: &Value) -> Self {
        let (want_values, got_values) = (values_by_time(want), values_by_time(got));
        let counts = |values: &BTreeMap<String, Vec<String>>| -> Vec<(String, usize)> {
            values.iter().map(|(time, values)| (time.clone(), values.len())).collect()
        };
        Self {
            distance: distance(want, got),
            values: want_values == got_values,
            counts: counts(&want_values) == counts(&got_values),
            note: false,
        }
    }
}

/// The values of all series at each time, in order.
fn values_by_time(data: &Value) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rounded = |value: &Value| match value.as_str().map(str::parse::<f64>) {
        Some(Ok(value)) => format!("{value:.11e}"),
        _ => value.to_string(),
    };
    let mut add = |point: &Value| found.entry(point[0].to_string()).or_default().push(rounded(&point[1]));
    for series in data["result"].as_array().into_iter().flatten() {
        for key in ["value", "histogram"] {
            series.get(key).into_iter().for_each(&mut add);
        }
        for key in ["values", "histograms"] {
            series[key].as_array().into_iter().flatten().for_each(&mut add);
        }
    }
    found.values_mut().for_each(|values| values.sort());
    found
}

/// The largest distance of two numbers at the same place, relative to the larger one.
fn distance(want: &Value, got: &Value) -> f64 {
    match (want, got) {
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            want.iter().zip(got).map(|(want, got)| distance(want, got)).fold(0.0, f64::max)
        }
        (Value::Object(want), Value::Object(got)) if want.keys().eq(got.keys()) => {
            want.values().zip(got.values()).map(|(want, got)| distance(want, got)).fold(0.0, f64::max)
        }
        (Value::String(want), Value::String(got)) if want != got => match (want.parse::<f64>(), got.parse::<f64>()) {
            (Ok(want), Ok(got)) if want.is_finite() && got.is_finite() => {
                (want - got).abs() / want.abs().max(got.abs())
            }
            _ => f64::INFINITY,
        },
        _ if want == got => 0.0,
        _ => f64::INFINITY,
    }
}

/// How the answer of tsq differs from that of Prometheus: one difference of the results, or all of the notes.
pub(crate) fn differences(want: &Value, got: &Value, order: Order) -> Vec<Difference> {
    let found = |kind, text| vec![Difference { kind, text, same: Same::NOTHING }];
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
        Some((kind, text)) => vec![Difference { kind, text, same: Same::of(&want["data"], &got["data"]) }],
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

fn result_difference(want: &Value, got: &Value, order: Order) -> Option<(Kind, String)> {
    let found = |kind, text| Some((kind, text));
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
        let note = |what: &str, text: &str, others: &BTreeSet<&str>| {
            let note = others.iter().any(|other| without_place(other) == without_place(text));
            let same = Same { note, ..Same::NOTHING };
            Difference { kind: Kind::Note, text: format!("{what}: {text}"), same }
        };
        found.extend(want.difference(&got).map(|text| note("missing", text, &got)));
        found.extend(got.difference(&want).map(|text| note("not wanted", text, &want)));
    }
    found
}

/// The text of a note in front of its place in the query.
fn without_place(text: &str) -> &str {
    text.rsplit_once(" (").map_or(text, |(text, _)| text)
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
    let same = |got: &str| differences(&want, &vector(got), Order::None)[0].same;
    assert!((same(&both.replace("\"3\"", "\"3.000003\"")).distance - 1e-6).abs() < 1e-9);
    assert!(same(&both.replace("\"3\"", "\"NaN\"")).distance.is_infinite());
    let moved = same(&format!("{},{two}", one.replace("\"1\"", "\"4\"")));
    assert!(moved.values && moved.counts);
    assert!(!same(&both.replace("\"3\"", "\"4\"")).values && !same(one).counts);
    let changed = |from: &str, to: &str| answer(&want.to_string().replacen(from, to, 1));
    let kind = |got: &Value| differences(&want, got, Order::None).first().map(|difference| difference.kind);
    assert_eq!(kind(&changed("vector", "matrix")), Some(Kind::Type));
    assert_eq!(kind(&changed("success", "error")), Some(Kind::Error));
    assert_eq!(kind(&changed("{", "{\"infos\":[\"x\"],")), Some(Kind::Note));
}
