//! Whether two servers answer alike.

use serde_json::Value;
use tsq_tests::answers::{by_labels, value_difference};

/// How two answers to one query differ, if they do. `ordered`: the order of vector elements counts.
pub(crate) fn difference(want: &Value, got: &Value, ordered: bool) -> Option<String> {
    for kind in ["warnings", "infos"] {
        if notes(want, kind).is_empty() != notes(got, kind).is_empty() {
            return Some(format!("{kind}: want {}, got {}", want[kind], got[kind]));
        }
    }
    let (want, got) = (&want["data"], &got["data"]);
    if want["resultType"] != got["resultType"] {
        return Some(format!("result type: want {}, got {}", want["resultType"], got["resultType"]));
    }
    let (Some(want), Some(got)) = (want["result"].as_array(), got["result"].as_array()) else {
        return Some(format!("no lists: want {}, got {}", want["result"], got["result"]));
    };
    if ordered {
        let labels = |list: &[Value]| list.iter().map(|series| series["metric"].clone()).collect::<Vec<_>>();
        let (want, got) = (labels(want), labels(got));
        if want != got {
            return Some(format!("order: want {want:?}, got {got:?}"));
        }
    }
    series_difference(want, got)
}

/// What an answer says besides its result, without tsq's hints from metadata, which Prometheus has not.
fn notes<'a>(answer: &'a Value, kind: &str) -> Vec<&'a str> {
    let texts = answer[kind].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter(|text| !text.contains(", metadata type is ")).collect()
}

/// The number of series or elements of an answer.
pub(crate) fn series_count(answer: &Value) -> usize {
    answer["data"]["result"].as_array().map_or(0, Vec::len)
}

fn series_difference(want: &[Value], got: &[Value]) -> Option<String> {
    let (want, got) = (by_labels(want), by_labels(got));
    for labels in want.keys() {
        if !got.contains_key(labels) {
            return Some(format!("missing: {labels:?} ({} series wanted, {} there)", want.len(), got.len()));
        }
    }
    for (labels, series) in &got {
        let Some(wanted) = want.get(labels) else {
            return Some(format!("not wanted: {labels:?} ({} series wanted, {} there)", want.len(), got.len()));
        };
        for key in ["value", "values", "histogram", "histograms"] {
            if let Some(problem) = value_difference(&wanted[key], &series[key]) {
                return Some(format!("{labels:?} {key}: {problem}"));
            }
        }
    }
    None
}

#[test]
fn differences_are_found() {
    let answer = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let vector = |result: &str| answer(&format!(r#"{{"data":{{"resultType":"vector","result":[{result}]}}}}"#));
    let (one, two) = (r#"{"metric":{"a":"1"},"value":[7,"3"]}"#, r#"{"metric":{"a":"2"},"value":[7,"NaN"]}"#);
    let want = vector(&format!("{one},{two}"));
    let differ = |got: &str| difference(&want, &vector(got), false).is_some();
    assert!(!differ(&format!("{two},{one}")));
    assert!(difference(&want, &vector(&format!("{two},{one}")), true).is_some(), "another order");
    assert!(!differ(&format!("{one},{two}").replace("\"3\"", "\"3.000000000001\"")));
    assert!(differ(&format!("{one},{two}").replace("\"3\"", "\"3.0000000001\"")), "another value");
    for value in ["+Inf", "-Inf", "0", "x"] {
        assert!(differ(&format!("{one},{two}").replace("NaN", value)), "{value} is no NaN");
    }
    assert!(differ(&format!("{one},{two}").replace('7', "7.001")), "another time");
    assert!(differ(&format!("{one},{two}").replace("\"2\"", "\"\"")), "other labels");
    assert!(differ(one) && differ(&format!("{one},{two},{}", one.replace("\"1\"", "\"4\""))), "other series");
    assert!(difference(&want, &answer(&want.to_string().replace("vector", "matrix")), false).is_some());
    let noted = want.to_string().replacen('{', "{\"infos\":[\"x\"],", 1);
    assert!(difference(&want, &answer(&noted), false).is_some(), "an annotation");
}
