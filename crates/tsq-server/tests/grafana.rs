//! What Grafana's Prometheus data source asks, request by request, and what its streaming parser needs of the answers:
//! keys in an order that it can use while it reads, no key twice, numbers and strings where they belong, never null.

mod support;

use std::fmt;

use axum::http::{Method, StatusCode};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use support::{Fixture, Reply, V1, V2};
use tsq::{Exemplar, Histogram, Labels, Metadata, Span};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, encode_v1, encode_v2};

/// JSON with the order of its keys. A repeated key is refused.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = access.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut pairs: Vec<(String, Json)> = Vec::new();
        while let Some((key, value)) = access.next_entry::<String, Json>()? {
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("the key {key:?} comes twice")));
            }
            pairs.push((key, value));
        }
        Ok(Json::Object(pairs))
    }
}

impl Json {
    #[track_caller]
    fn pairs(&self) -> &[(String, Json)] {
        let Json::Object(pairs) = self else { panic!("an object was expected, not {self:?}") };
        pairs
    }

    #[track_caller]
    fn keys(&self) -> Vec<&str> {
        self.pairs().iter().map(|(key, _)| key.as_str()).collect()
    }

    #[track_caller]
    fn get(&self, key: &str) -> &Json {
        let found = self.pairs().iter().find(|(known, _)| known == key);
        &found.unwrap_or_else(|| panic!("no {key:?} in {self:?}")).1
    }

    #[track_caller]
    fn list(&self) -> &[Json] {
        let Json::List(list) = self else { panic!("a list was expected, not {self:?}") };
        list
    }

    #[track_caller]
    fn text(&self) -> &str {
        let Json::Text(text) = self else { panic!("a string was expected, not {self:?}") };
        text
    }

    fn has_null(&self) -> bool {
        match self {
            Json::Null => true,
            Json::List(list) => list.iter().any(Json::has_null),
            Json::Object(pairs) => pairs.iter().any(|(_, value)| value.has_null()),
            _ => false,
        }
    }
}

/// The `data` of a successful answer, read as Grafana does.
#[track_caller]
fn data(reply: &Reply) -> Json {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let json: Json = serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    assert_eq!(&json.keys()[..2], ["status", "data"], "{}", reply.text());
    assert!(json.keys()[2..].iter().all(|key| ["warnings", "infos"].contains(key)), "{}", reply.text());
    assert_eq!(json.get("status").text(), "success");
    assert!(!json.has_null(), "{}", reply.text());
    json.get("data").clone()
}

/// Checks the data of a query's answer; the number of series, and of the points in them.
#[track_caller]
fn check_frames(data: &Json, result_type: &str) -> (usize, usize) {
    assert_eq!(&data.keys()[..2], ["resultType", "result"]);
    assert_eq!(data.get("resultType").text(), result_type);
    if ["scalar", "string"].contains(&result_type) {
        check_sample(data.get("result"));
        return (1, 1);
    }
    let series = data.get("result").list();
    (series.len(), series.iter().map(check_series).sum())
}

#[track_caller]
fn check_series(series: &Json) -> usize {
    let keys = series.keys();
    assert_eq!(keys[0], "metric", "labels come before values");
    check_labels(series.get("metric"));
    let points = |key: &str| match key {
        "value" => {
            check_sample(series.get(key));
            1
        }
        "values" => series.get(key).list().iter().map(check_sample).count(),
        "histogram" => {
            check_histogram(series.get(key));
            1
        }
        "histograms" => series.get(key).list().iter().map(check_histogram).count(),
        _ => panic!("{key:?} is no key that Grafana knows"),
    };
    keys[1..].iter().map(|key| points(key)).sum()
}

#[track_caller]
fn check_labels(labels: &Json) {
    labels.pairs().iter().for_each(|(_, value)| _ = value.text());
}

/// `[time, "value"]`
#[track_caller]
fn check_sample(sample: &Json) {
    let [time, value] = sample.list() else { panic!("{sample:?} is no pair") };
    check_time(time);
    value.text();
}

/// A number of seconds with at most three decimals.
#[track_caller]
fn check_time(time: &Json) {
    let Json::Number(seconds) = time else { panic!("{time:?} is no number") };
    assert!((seconds * 1000.0 - (seconds * 1000.0).round()).abs() < 1e-3, "{seconds}");
}

#[track_caller]
fn check_histogram(sample: &Json) {
    let [time, histogram] = sample.list() else { panic!("{sample:?} is no pair") };
    check_time(time);
    assert_eq!(&histogram.keys()[..2], ["count", "sum"]);
    histogram.get("count").text();
    histogram.get("sum").text();
    for bucket in histogram.keys().get(2).map_or(&[][..], |key| histogram.get(key).list()) {
        let [rule, low, high, count] = bucket.list() else { panic!("{bucket:?} has not four elements") };
        assert!(matches!(rule, Json::Number(0.0..=3.0)), "{rule:?}");
        let bounds = [low, high, count].map(|number| number.text().parse::<f64>().expect("a number"));
        assert!(bounds[0] < bounds[1] && bounds[2] > 0.0, "{bucket:?}");
    }
}

const START_S: i64 = 1_700_000_000;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).expect("valid labels")
}

fn seeded() -> Fixture {
    let server = Fixture::new();
    let time_ms = |step: i64| (START_S + 15 * step) * 1000;
    let mut series: Vec<TimeSeries> = ["0.1", "1", "10", "+Inf"]
        .iter()
        .enumerate()
        .map(|(index, le)| TimeSeries {
            labels: labels(&[("__name__", "wait_seconds_bucket"), ("le", le)]),
            samples: (0..40).map(|step| (time_ms(step), (step * (index as i64 + 1)) as f64)).collect(),
            exemplars: vec![Exemplar { labels: labels(&[("trace_id", "7")]), value: 0.25, time_ms: time_ms(3) + 500 }],
            ..TimeSeries::default()
        })
        .collect();
    series.push(TimeSeries {
        labels: labels(&[("__name__", "train.loss"), ("run", "a"), ("größe", "x")]),
        samples: (0..40).map(|step| (time_ms(step) + 50, 1.0 / (step as f64))).collect(),
        ..TimeSeries::default()
    });
    let histogram = |step: i64| Histogram {
        count: 4.0,
        sum: step as f64,
        zero_count: 1.0,
        zero_threshold: 0.25,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![1.0, 1.0],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative: vec![1.0],
        ..Histogram::default()
    };
    series.push(TimeSeries {
        labels: labels(&[("__name__", "native")]),
        histograms: (0..40).map(|step| (time_ms(step), histogram(step))).collect(),
        ..TimeSeries::default()
    });
    let reply = server.write(V2, encode_v2(&WriteRequest { series, metadata: Vec::new() }));
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.text());
    let metadata = vec![
        Metadata {
            metric: "wait_seconds".to_owned(),
            metric_type: "histogram".to_owned(),
            unit: "seconds".to_owned(),
            help: "Waiting.".to_owned(),
        },
        Metadata { metric: "train.loss".to_owned(), metric_type: "gauge".to_owned(), ..Metadata::default() },
    ];
    let reply = server.write(V1, encode_v1(&WriteRequest { series: Vec::new(), metadata }));
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.text());
    server
}

/// The headers that Grafana sends with everything.
const HEADERS: [(&str, &str); 7] = [
    ("accept-encoding", "identity"),
    ("user-agent", "Grafana/12.0.0"),
    ("x-grafana-org-id", "1"),
    ("x-dashboard-uid", "abc"),
    ("x-panel-id", "2"),
    ("x-datasource-uid", "prom"),
    ("fromalert", "false"),
];

/// Sends parameters both ways that the data source may be set to, and checks that the answers are the same.
#[track_caller]
fn both(server: &Fixture, path: &str, params: &str) -> Reply {
    let got = get(server, &format!("{path}?{params}"));
    let mut headers = HEADERS.to_vec();
    headers.push(("content-type", "application/x-www-form-urlencoded"));
    let posted = server.send(Method::POST, path, &headers, params.as_bytes().to_vec());
    assert_eq!((posted.status, posted.text()), (got.status, got.text()), "{path} {params}");
    got
}

fn get(server: &Fixture, path: &str) -> Reply {
    server.send(Method::GET, path, &HEADERS, Vec::new())
}

#[test]
fn save_and_test() {
    let server = Fixture::new();
    let reply = both(&server, "/api/v1/query", "query=1%2B1&time=4");
    assert_eq!(check_frames(&data(&reply), "scalar"), (1, 1));
    assert_eq!(data(&reply).get("result"), &Json::List(vec![Json::Number(4.0), Json::Text("2".to_owned())]));
    let info = data(&get(&server, "/api/v1/status/buildinfo"));
    assert!(info.get("version").text().starts_with("3."));
    assert!(!info.keys().contains(&"features"), "a server with features is taken for Mimir");
}

#[test]
fn opening_the_editor() {
    let server = seeded();
    let metadata = data(&get(&server, "/api/v1/metadata?limit=40000"));
    assert_eq!(metadata.keys(), ["train.loss", "wait_seconds"]);
    let wait = &metadata.get("wait_seconds").list()[0];
    assert_eq!(wait.keys(), ["type", "unit", "help"]);
    assert_eq!(wait.get("type").text(), "histogram");
    let times = "start=1699999980&end=1700000640";
    let names = data(&get(&server, &format!("/api/v1/label/__name__/values?limit=40000&{times}")));
    let names: Vec<&str> = names.list().iter().map(Json::text).collect();
    assert_eq!(names, ["native", "train.loss", "wait_seconds_bucket"]);
    let labels = data(&both(&server, "/api/v1/labels", &format!("limit=40000&{times}")));
    assert_eq!(labels.list().iter().map(Json::text).collect::<Vec<_>>(), ["__name__", "größe", "le", "run"]);
    assert!(data(&get(&server, "/api/v1/rules")).get("groups").list().is_empty());
    // The probe sends milliseconds.
    let probe = format!("query=test&start={}000&end={}000", START_S, START_S + 600);
    assert!(data(&both(&server, "/api/v1/query_exemplars", &probe)).list().is_empty());
}

#[test]
fn completion_and_variables() {
    let server = seeded();
    let times = "start=1699999980&end=1700000640";
    let texts =
        |reply: &Reply| -> Vec<String> { data(reply).list().iter().map(|text| text.text().to_owned()).collect() };
    let selector = "match%5B%5D=wait_seconds_bucket";
    let reply = both(&server, "/api/v1/labels", &format!("{times}&{selector}"));
    assert_eq!(texts(&reply), ["__name__", "le"]);
    let reply = get(&server, &format!("/api/v1/label/le/values?{times}&{selector}&limit=40000"));
    assert_eq!(texts(&reply), ["+Inf", "0.1", "1", "10"]);
    let reply = get(&server, "/api/v1/label/le/values?limit=2");
    assert_eq!(texts(&reply), ["+Inf", "0.1"]);
    assert!(reply.text().ends_with(r#""warnings":["results truncated due to limit"]}"#), "{}", reply.text());
    assert_eq!(texts(&get(&server, "/api/v1/label/le/values?limit=0")).len(), 4);
    let escaped = get(&server, "/api/v1/label/U__gr_f6__df_e/values?match%5B%5D=%7B%22train.loss%22%7D");
    assert_eq!(texts(&escaped), ["x"]);
    for (matches, want) in [("%7B__name__%21%3D%22%22%7D", 6), ("native&match%5B%5D=%7Brun%3D%22a%22%7D", 2)] {
        let reply = both(&server, "/api/v1/series", &format!("match%5B%5D={matches}&{times}&limit=40000"));
        let series = data(&reply);
        series.list().iter().for_each(check_labels);
        assert_eq!(series.list().len(), want, "{matches}");
    }
    // query_result()
    let reply = both(&server, "/api/v1/query", "query=count%28native%29&time=1700000300");
    assert_eq!(check_frames(&data(&reply), "vector"), (1, 1));
}

#[test]
fn panels() {
    let server = seeded();
    let times = "start=1700000010&end=1700000580&step=15";
    for (query, series, points) in [
        ("sum+by+%28le%29+%28rate%28wait_seconds_bucket%5B1m0s%5D%29%29", 4, 4 * 38),
        ("%7B%22train.loss%22%7D", 1, 39),
        ("native", 1, 39),
        ("nothing", 0, 0),
        ("1", 1, 39),
        ("histogram_quantile%280.9%2C+rate%28native%5B1m%5D%29%29", 1, 38),
    ] {
        let reply = both(&server, "/api/v1/query_range", &format!("query={query}&{times}&timeout=30s"));
        assert_eq!(check_frames(&data(&reply), "matrix"), (series, points), "{query}: {}", reply.text());
    }
    // A fractional step, and the times of panels, which are multiples of it.
    let times = "start=1700000000.25&end=1700000001.5&step=0.25";
    let reply = both(&server, "/api/v1/query_range", &format!("query=native&{times}"));
    assert_eq!(check_frames(&data(&reply), "matrix"), (1, 6));
    for query in ["native", "%7B%22train.loss%22%7D", "nothing"] {
        let reply = both(&server, "/api/v1/query", &format!("query={query}&time=1700000300.25"));
        let want = usize::from(query != "nothing");
        assert_eq!(check_frames(&data(&reply), "vector"), (want, want), "{query}");
    }
    let reply = both(&server, "/api/v1/query", "query=%22text%22&time=1700000300");
    assert_eq!(check_frames(&data(&reply), "string"), (1, 1));
    let reply = both(&server, "/api/v1/query", "query=native%5B1m%5D&time=1700000300");
    assert_eq!(check_frames(&data(&reply), "matrix"), (1, 4));
}

/// The overlap that an incremental query asks again has the same points as before.
#[test]
fn overlapping_ranges_agree() {
    let server = seeded();
    let points = |start: i64, end: i64| {
        let query = format!("query=rate%28wait_seconds_bucket%5B1m%5D%29&start={start}&end={end}&step=15");
        let answer = data(&both(&server, "/api/v1/query_range", &query));
        let values = |series: &Json| series.get("values").list().to_vec();
        answer.get("result").list().iter().map(values).collect::<Vec<_>>()
    };
    let (first, second) = (points(START_S + 60, START_S + 300), points(START_S + 180, START_S + 420));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first[8..], second[..9]);
    }
}

#[test]
fn exemplars_of_a_panel() {
    let server = seeded();
    let query = "histogram_quantile%280.9%2C+sum+by+%28le%29+%28rate%28wait_seconds_bucket%5B1m%5D%29%29%29";
    let reply = both(&server, "/api/v1/query_exemplars", &format!("query={query}&start=1700000000&end=1700000600"));
    let found = data(&reply);
    assert_eq!(found.list().len(), 4, "{}", reply.text());
    for series in found.list() {
        assert_eq!(series.keys(), ["seriesLabels", "exemplars"], "labels read later are lost");
        check_labels(series.get("seriesLabels"));
        for exemplar in series.get("exemplars").list() {
            assert_eq!(exemplar.keys(), ["labels", "value", "timestamp"]);
            check_labels(exemplar.get("labels"));
            exemplar.get("value").text();
            check_time(exemplar.get("timestamp"));
        }
    }
}

#[test]
fn the_alert_list() {
    let server = Fixture::new();
    assert!(data(&get(&server, "/api/v1/rules")).get("groups").list().is_empty());
    assert!(data(&get(&server, "/api/v1/alerts")).get("alerts").list().is_empty());
}

/// Errors that Grafana shows: the codes whose bodies it reads, with type and text.
#[test]
fn errors() {
    let server = Fixture::with(|config| config.engine.query_bytes = 1 << 20);
    let range = "/api/v1/query_range";
    for (path, params, status, error_type) in [
        ("/api/v1/query", "query=sum%28", 400, "bad_data"),
        ("/api/v1/query", "query=1&time=x", 400, "bad_data"),
        (range, "query=1&start=0&end=100000&step=1", 400, "bad_data"),
        (range, "query=1&start=5&end=0&step=1", 400, "bad_data"),
        (range, "query=1&start=0&end=1&step=0", 400, "bad_data"),
        (range, "query=%22a%22&start=0&end=1&step=1", 400, "bad_data"),
        ("/api/v1/query", "query=vector%281%29%2Bon%28%29vector%281%29%5B1d%3A1ms%5D&time=0", 400, "bad_data"),
        ("/api/v1/query", "query=count_over_time%28vector%281%29%5B20d%3A1ms%5D%29&time=0", 422, "execution"),
        ("/api/v1/query", "query=count_over_time%28vector%281%29%5B1d%3A1s%5D%29&time=0&timeout=0", 503, "timeout"),
    ] {
        let reply = both(&server, path, params);
        assert_eq!(reply.status.as_u16(), status, "{params}: {}", reply.text());
        let json: Json = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(json.keys(), ["status", "errorType", "error"]);
        assert_eq!((json.get("status").text(), json.get("errorType").text()), ("error", error_type));
        assert!(!json.get("error").text().is_empty());
    }
}
