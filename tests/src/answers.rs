//! How JSON answers of the Prometheus API differ.

use std::collections::BTreeMap;

use serde_json::Value;

/// Largest relative difference of two values that count as equal.
const TOLERANCE: f64 = 1e-12;

/// A label set that a JSON object shows.
pub type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// The label set that a JSON object shows.
///
/// # Panics
/// When a label value is no string.
pub fn labels(object: &Value) -> Labels<'_> {
    let pairs = object.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.as_str(), value.as_str().expect("label values are strings"))).collect()
}

/// Series of an answer by their labels.
///
/// # Panics
/// When two of them have the same labels.
pub fn by_labels(series: &[Value]) -> BTreeMap<Labels<'_>, &Value> {
    let map: BTreeMap<_, _> = series.iter().map(|series| (labels(&series["metric"]), series)).collect();
    assert_eq!(map.len(), series.len(), "a server answered two series with the same labels");
    map
}

/// Where and how two values differ, if they do: numbers in strings by more than a relative 1e-12.
pub fn value_difference(want: &Value, got: &Value) -> Option<String> {
    match (want, got) {
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            let mut pairs = want.iter().zip(got).enumerate();
            pairs.find_map(|(index, (want, got))| Some(format!("[{index}]{}", value_difference(want, got)?)))
        }
        (Value::Object(want), Value::Object(got)) if want.keys().eq(got.keys()) => {
            let mut pairs = want.iter().zip(got.values());
            pairs.find_map(|((key, want), got)| Some(format!(".{key}{}", value_difference(want, got)?)))
        }
        // Times are numbers, values are strings.
        (Value::Number(want), Value::Number(got)) if want.as_f64() == got.as_f64() => None,
        (Value::String(want), Value::String(got)) if want == got || is_close(want, got) => None,
        (Value::Null, Value::Null) => None,
        _ => Some(format!(": want {}, got {}", shortened(want), shortened(got))),
    }
}

fn is_close(want: &str, got: &str) -> bool {
    let (Ok(want), Ok(got)) = (want.parse::<f64>(), got.parse::<f64>()) else { return false };
    want.is_finite() && (want - got).abs() <= TOLERANCE * want.abs()
}

/// The text of a value, cut where it is long.
pub fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 1000 { text } else { text.chars().take(1000).chain("...".chars()).collect() }
}
