//! OpenTelemetry metrics from the bytes of a request to what the database gives back.

mod common;

use std::path::Path;

use common::TestDb;
use proptest::prelude::*;
use tsq_core::{Batch, Db, RejectReason, Samples, Source, TimeRange, is_stale};
use tsq_ingest::otlp::{
    Deltas, ExplicitHistograms, Form, OtlpOptions, Promoted, Report, Translation, decode, json_to_protobuf,
};
use tsq_ingest::{DecodeError, DecodeErrorKind};

/// Seconds since 1970 that the requests are about.
const T: i64 = 1_700_000_000;

/// A database, with what lasts from request to request.
struct Receiver {
    db: TestDb,
    options: OtlpOptions,
    deltas: Deltas,
}

impl Receiver {
    fn new() -> Self {
        Self::with(OtlpOptions::default())
    }

    fn with(options: OtlpOptions) -> Self {
        Self { db: TestDb::new(), options, deltas: Deltas::new(1 << 20) }
    }

    fn protobuf(&self, body: &[u8]) -> Result<Report, DecodeError> {
        let mut batch = self.db.db.batch();
        let mut decoded = decode(body, &self.options, &self.deltas, &mut batch)?;
        let appended = self.db.db.append_with(&batch, &decoded.labels).expect("the database takes writes");
        decoded.report.appended(&appended);
        Ok(decoded.report)
    }

    fn json(&self, body: &str) -> Result<Report, DecodeError> {
        let mut protobuf = Vec::new();
        json_to_protobuf(body.as_bytes(), 1 << 20, &mut protobuf)?;
        self.protobuf(&protobuf)
    }

    /// Stores metrics of one resource without attributes, all of them.
    #[track_caller]
    fn store(&self, metrics: &str) {
        let report = self.json(&request("", metrics)).expect("a valid request");
        assert_eq!(report.message(), None);
    }

    fn lines(&self) -> Vec<String> {
        lines(&self.db.db)
    }

    /// The samples of series with this name.
    fn samples(&self, name: &str) -> Vec<String> {
        let named = |line: &String| line.split(['{', ' ']).next() == Some(name);
        self.lines().into_iter().filter(named).collect()
    }
}

fn request(resource: &str, metrics: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},
            "scopeMetrics":[{{"scope":{{"name":"lib","version":"2"}},"metrics":[{metrics}]}}]}}]}}"#
    )
}

fn text_attribute(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
}

fn time(second: i64) -> String {
    format!(r#""timeUnixNano":"{}""#, (T + second) * 1_000_000_000)
}

fn interval(from: i64, to: i64) -> String {
    format!(r#""startTimeUnixNano":"{}",{}"#, (T + from) * 1_000_000_000, time(to))
}

fn gauge(name: &str, points: &str) -> String {
    format!(r#"{{"name":"{name}","gauge":{{"dataPoints":[{points}]}}}}"#)
}

fn of_kind(name: &str, kind: &str, temporality: u32, points: &str) -> String {
    let fields = format!(r#""aggregationTemporality":{temporality},"isMonotonic":true,"dataPoints":[{points}]"#);
    format!(r#"{{"name":"{name}","{kind}":{{{fields}}}}}"#)
}

/// All of a database as PromQL would write it, one sorted line a sample, exemplar and metadata entry; times count from `T`.
fn lines(db: &Db) -> Vec<String> {
    let snapshot = db.snapshot().unwrap();
    let mut lines = Vec::new();
    let mut samples = Samples::default();
    let mut stream = snapshot.select(&[], TimeRange::ALL).unwrap();
    loop {
        let batch = stream.next_batch(100).unwrap();
        if batch.is_empty() {
            break;
        }
        for (series, kind) in batch.iter().flat_map(|series| series.kinds().map(move |kind| (series, kind))) {
            series.read(kind, TimeRange::ALL, &mut samples).unwrap();
            for index in 0..samples.len() {
                let value = match samples.histograms.get(index) {
                    Some(histogram) if histogram.is_stale() => "stale histogram".to_owned(),
                    Some(h) => {
                        let side = |spans: &[tsq_core::Span], counts: &[f64]| {
                            let spans: Vec<_> = spans.iter().map(|span| (span.offset, span.length)).collect();
                            format!("{spans:?}{counts:?}")
                        };
                        let (positive, negative) =
                            (side(&h.positive_spans, &h.positive), side(&h.negative_spans, &h.negative));
                        let bounds = &h.custom_values;
                        let (schema, count, sum) = (h.schema, h.count, h.sum);
                        let zero = format!("{}@{}", h.zero_count, h.zero_threshold);
                        format!("schema {schema} n {count} sum {sum} zero {zero} {positive} {negative} {bounds:?}")
                    }
                    None if is_stale(samples.values[index]) => "stale".to_owned(),
                    None => samples.values[index].to_string(),
                };
                let start = match samples.start(index) {
                    0 => String::new(),
                    start => format!(" since {}", seconds(start)),
                };
                lines.push(format!("{} {} {value}{start}", series.labels(), seconds(samples.times[index])));
            }
        }
    }
    for (labels, exemplars) in snapshot.exemplars(&[], TimeRange::ALL).unwrap() {
        for exemplar in exemplars {
            let (own, at, value) = (&exemplar.labels, seconds(exemplar.time_ms), exemplar.value);
            lines.push(format!("exemplar {labels} {own} {at} {value}"));
        }
    }
    for metadata in snapshot.metadata().unwrap() {
        let tsq_core::Metadata { metric, metric_type, unit, help } = metadata;
        lines.push(format!("metadata {metric} {metric_type} {unit:?} {help:?}"));
    }
    lines.sort();
    lines
}

fn seconds(time_ms: i64) -> f64 {
    (time_ms - T * 1000) as f64 / 1000.0
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/otlp").join(name)).unwrap()
}

const GOLDEN: &str = r#"
exemplar latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="+Inf", r="a"} {trace_id="01010101010101010101010101010101"} 0 40
exemplar latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="10.5", r="a"} {trace_id="01010101010101010101010101010101"} 0 7
exemplar latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="5", r="a"} {trace_id="01010101010101010101010101010101"} 0 5
exemplar requests_total{a_b="2;1", instance="i-1", job="shop/infer", ok="false", raw="AP8="} {span_id="0001020304050607", trace_id="000102030405060708090a0b0c0d0e0f", user="u1"} -1 7
batches_total{instance="i-1", job="shop/infer"} 1 1 since 0
batches_total{instance="i-1", job="shop/infer"} 2 3 since 0
batches_total{instance="i-1", job="shop/infer"} 3 6 since 0
gpu_utilization_ratio{gpu="0", instance="i-1", job="shop/infer"} 0 0.25
gpu_utilization_ratio{gpu="1", instance="i-1", job="shop/infer"} 1 -1500000000
gpu_utilization_ratio{gpu="2", instance="i-1", job="shop/infer"} 2 inf
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="+Inf", r="a"} 0 6 since -60
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="+Inf", r="a"} 1 stale
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="+Inf", r="no bounds"} 0 2
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="10.5", r="a"} 0 3 since -60
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="10.5", r="a"} 1 stale
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="5", r="a"} 0 1 since -60
latency_milliseconds_bucket{instance="i-1", job="shop/infer", le="5", r="a"} 1 stale
latency_milliseconds_count{instance="i-1", job="shop/infer", r="a"} 0 6 since -60
latency_milliseconds_count{instance="i-1", job="shop/infer", r="a"} 1 stale
latency_milliseconds_count{instance="i-1", job="shop/infer", r="no bounds"} 0 2
latency_milliseconds_sum{instance="i-1", job="shop/infer", r="a"} 0 61.5 since -60
latency_milliseconds_sum{instance="i-1", job="shop/infer", r="a"} 1 stale
metadata batches_total counter "" ""
metadata gpu_utilization_ratio gauge "" "Share of time\nin use"
metadata latency_milliseconds histogram "milliseconds" ""
metadata queue_depth gauge "" ""
metadata requests_total counter "" ""
metadata rpc summary "" ""
metadata size_bytes histogram "bytes" ""
queue_depth{instance="i-1", job="shop/infer"} 0 -3
requests_total{a_b="2;1", instance="i-1", job="shop/infer", ok="false", raw="AP8="} 0 9007199254740991 since -60
rpc_count{instance="i-1", job="shop/infer"} 0 9 since -60
rpc_sum{instance="i-1", job="shop/infer"} 0 4.5 since -60
rpc{instance="i-1", job="shop/infer", quantile="0"} 0 0.1 since -60
rpc{instance="i-1", job="shop/infer", quantile="0.5"} 0 0.5 since -60
rpc{instance="i-1", job="shop/infer", quantile="1"} 0 2 since -60
size_bytes{instance="i-1", job="shop/infer"} 0 schema 8 n 21 sum 100.5 zero 1@0.001 [(-1, 3)][1.0, 2.0, 7.0] [(11, 1)][10.0] [] since -60
size_bytes{instance="i-1", job="shop/infer"} 1 stale histogram
target_info{host_cpus="8", instance="i-1", job="shop/infer", k8s_labels="{\"a\":[\"x\",1,2.5],\"b\":true}", service_version="1.2"} 0 1
target_info{host_cpus="8", instance="i-1", job="shop/infer", k8s_labels="{\"a\":[\"x\",1,2.5],\"b\":true}", service_version="1.2"} 3 1
"#;

fn assert_lines(got: &[String], want: &str) {
    let mut want: Vec<_> = want.lines().filter(|line| !line.is_empty()).collect();
    want.sort_unstable();
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got, want);
    }
    assert_eq!(got.len(), want.len(), "{got:#?}");
}

#[test]
fn requests_of_an_independent_encoder_are_stored_exactly() {
    let (protobuf, json) = (Receiver::new(), Receiver::new());
    let text = String::from_utf8(golden("metrics.json")).unwrap();
    for report in [protobuf.protobuf(&golden("metrics.pb")).unwrap(), json.json(&text).unwrap()] {
        assert_eq!((report.points, report.message()), (14, None));
    }
    // A repetition is a success that changes nothing; only older points of a delta stream cannot be told from new ones.
    let again = protobuf.protobuf(&golden("metrics.pb")).unwrap();
    assert_eq!((again.points, again.rejected), (12, 2), "{:?}", again.message());
    assert!(again.rejections.iter().all(|rejection| rejection.message.contains("not newer")));
    let once = |lines: Vec<String>| {
        // Exemplars are kept as often as they come.
        let mut lines = lines;
        lines.dedup();
        lines
    };
    assert_lines(&once(protobuf.lines()), GOLDEN);
    assert_lines(&once(json.lines()), GOLDEN);
}

#[test]
fn explicit_bounds_can_become_native_histograms() {
    let options = OtlpOptions { explicit_histograms: ExplicitHistograms::Native, ..OtlpOptions::default() };
    let receiver = Receiver::with(options);
    assert_eq!(receiver.protobuf(&golden("metrics.pb")).unwrap().message(), None);
    let want = r#"
latency_milliseconds{instance="i-1", job="shop/infer", r="a"} 0 schema -53 n 6 sum 61.5 zero 0@0 [(0, 3)][1.0, 2.0, 3.0] [][] [5.0, 10.5] since -60
latency_milliseconds{instance="i-1", job="shop/infer", r="a"} 1 stale histogram
latency_milliseconds{instance="i-1", job="shop/infer", r="no bounds"} 0 schema -53 n 2 sum NaN zero 0@0 [(0, 1)][2.0] [][] []
"#;
    assert_lines(&receiver.samples("latency_milliseconds"), want);
    assert!(receiver.samples("latency_milliseconds_bucket").is_empty());
    let exemplars = receiver.lines().iter().filter(|line| line.starts_with("exemplar latency_milliseconds{")).count();
    assert_eq!(exemplars, 3);
}

#[test]
fn resources_scopes_and_names_follow_the_options() {
    let resource = [
        text_attribute("service.name", "api"),
        text_attribute("service.instance.id", "7"),
        text_attribute("host.name", "h1"),
        text_attribute("cloud.zone", "z"),
    ]
    .join(",");
    let attributes =
        format!(r#""attributes":[{},{}]"#, text_attribute("host.name", "point"), text_attribute("job", "mine"));
    let body = request(&resource, &gauge("disk.io", &format!(r#"{{{},"asDouble":1,{attributes}}}"#, time(0))));
    let stored = |change: &dyn Fn(&mut OtlpOptions)| {
        let mut options = OtlpOptions::default();
        change(&mut options);
        let receiver = Receiver::with(options);
        assert_eq!(receiver.json(&body).unwrap().message(), None);
        receiver.lines().into_iter().filter(|line| !line.starts_with("metadata")).collect::<Vec<_>>()
    };
    // `job` and `instance` are those of the resource, whatever a point says.
    assert_lines(
        &stored(&|_| ()),
        r#"
disk_io{host_name="point", instance="7", job="api"} 0 1
target_info{cloud_zone="z", host_name="h1", instance="7", job="api"} 0 1
"#,
    );
    // A point's own attribute wins over one that is promoted.
    let names = ["host.name".to_owned(), "cloud.zone".to_owned()];
    assert_lines(
        &stored(&|options| options.promoted = Promoted::Only(names.to_vec())),
        r#"
disk_io{cloud_zone="z", host_name="point", instance="7", job="api"} 0 1
target_info{cloud_zone="z", host_name="h1", instance="7", job="api"} 0 1
"#,
    );
    assert_lines(
        &stored(&|options| {
            options.promoted = Promoted::AllBut(vec!["service.name".to_owned(), "service.instance.id".to_owned()]);
            options.keep_identifying = true;
            options.scope_labels = true;
        }),
        r#"
disk_io{cloud_zone="z", host_name="point", instance="7", job="api", otel_scope_name="lib", otel_scope_version="2"} 0 1
target_info{cloud_zone="z", host_name="h1", instance="7", job="api", service_instance_id="7", service_name="api"} 0 1
"#,
    );
    assert_lines(
        &stored(&|options| options.translation = Translation::NoTranslation),
        r#"
{"disk.io", "host.name"="point", instance="7", job="api"} 0 1
target_info{"cloud.zone"="z", "host.name"="h1", instance="7", job="api"} 0 1
"#,
    );
}

#[test]
fn target_info_needs_a_target_and_something_to_say() {
    let point = gauge("g", &format!(r#"{{{},"asInt":1}}"#, time(0)));
    for resource in [text_attribute("host.name", "h"), text_attribute("service.name", "s"), String::new()] {
        let receiver = Receiver::new();
        assert_eq!(receiver.json(&request(&resource, &point)).unwrap().message(), None);
        assert!(receiver.samples("target_info").is_empty(), "{resource}");
    }
}

#[test]
fn target_info_is_found_beside_old_points_too() {
    let resource = [text_attribute("service.name", "s"), text_attribute("host.name", "h")].join(",");
    let points: Vec<_> = [0, 1000].iter().map(|second| format!(r#"{{{},"asInt":1}}"#, time(*second))).collect();
    let receiver = Receiver::new();
    receiver.json(&request(&resource, &gauge("g", &points.join(",")))).unwrap();
    let times: Vec<_> =
        receiver.samples("target_info").iter().map(|line| line.split("\"} ").last().unwrap().to_owned()).collect();
    let want: Vec<_> = [0, 1000, 150, 300, 450, 600, 750, 900].iter().map(|second| format!("{second} 1")).collect();
    assert_eq!(times, want, "in order of text");
    // A point of 1970 beside one of today does not make millions of samples.
    let points = format!(r#"{{"timeUnixNano":"1000000","asInt":1}},{{{},"asInt":1}}"#, time(5));
    receiver.json(&request(&resource, &gauge("old", &points))).unwrap();
    assert!((100..150).contains(&receiver.samples("target_info").len()));
}

#[test]
fn delta_points_are_summed_up() {
    let receiver = Receiver::new();
    let number = |from, to, value: f64, attributes: &str| {
        format!(r#"{{{},"asDouble":{value},"attributes":[{attributes}]}}"#, interval(from, to))
    };
    let (one, two) = (text_attribute("a", "1"), text_attribute("b", "2"));
    let (there, back) = (format!("{one},{two}"), format!("{two},{one}"));
    // The order of attributes does not make another stream.
    receiver.store(&of_kind("c", "sum", 1, &number(0, 10, 3.0, &there)));
    receiver.store(&of_kind("c", "sum", 1, &number(10, 20, 4.0, &back)));
    receiver.store(&of_kind("c", "sum", 1, &number(10, 20, 4.0, &back)));
    receiver.store(&of_kind("c", "sum", 1, &number(50, 60, 0.5, &there)));
    let stale = format!(r#"{{{},"flags":1,"attributes":[{there}]}}"#, interval(60, 70));
    receiver.store(&of_kind("c", "sum", 1, &stale));
    assert_lines(
        &receiver.samples("c_total"),
        r#"
c_total{a="1", b="2"} 10 3 since 0
c_total{a="1", b="2"} 20 7 since 0
c_total{a="1", b="2"} 60 7.5 since 0
c_total{a="1", b="2"} 70 stale since 60
"#,
    );
    let old = receiver.json(&request("", &of_kind("c", "sum", 1, &number(30, 40, 9.0, &there)))).unwrap();
    let message = old.message().unwrap();
    assert!(message.contains("1 data points refused") && message.contains("not newer"), "{message}");
    assert!(message.contains(r#"c_total{a="1", b="2"}"#), "{message}");

    let histogram = |from, to, counts: &str, sum: f64| {
        let count: u64 = counts.split(',').map(|count| count.parse::<u64>().unwrap()).sum();
        let fields = format!(r#""count":{count},"sum":{sum},"bucketCounts":[{counts}],"explicitBounds":[1,2]"#);
        format!("{{{},{fields}}}", interval(from, to))
    };
    receiver.store(&of_kind("h", "histogram", 1, &histogram(0, 10, "1,2,0", 3.0)));
    receiver.store(&of_kind("h", "histogram", 1, &histogram(10, 20, "0,1,5", 30.5)));
    assert_eq!(receiver.samples("h_sum"), ["h_sum 10 3 since 0", "h_sum 20 33.5 since 0"]);
    assert_eq!(receiver.samples("h_bucket")[1], r#"h_bucket{le="+Inf"} 20 9 since 0"#);
    assert_eq!(receiver.samples("h_bucket")[5], r#"h_bucket{le="2"} 20 4 since 0"#);

    let exponential = |from, to, scale: i32, offset: i32, counts: &str| {
        let count: u64 = counts.split(',').map(|count| count.parse::<u64>().unwrap()).sum();
        let positive = format!(r#"{{"offset":{offset},"bucketCounts":[{counts}]}}"#);
        let fields = format!(r#""count":{count},"sum":1,"scale":{scale},"positive":{positive}"#);
        format!("{{{},{fields}}}", interval(from, to))
    };
    receiver.store(&of_kind("e", "exponentialHistogram", 1, &exponential(0, 10, 1, 0, "1,1,1,1")));
    receiver.store(&of_kind("e", "exponentialHistogram", 1, &exponential(10, 20, 0, 1, "5")));
    let want = "e 20 schema 0 n 9 sum 2 zero 0@0 [(1, 2)][2.0, 7.0] [][] [] since 0";
    assert_eq!(receiver.samples("e")[1], want);
    assert_eq!(receiver.deltas.held().0, 3);
}

#[test]
fn what_was_not_stored_can_be_sent_again() {
    let receiver = Receiver::new();
    let point = |from, to, value| format!(r#"{{{},"asInt":{value}}}"#, interval(from, to));
    receiver.store(&of_kind("c", "sum", 1, &point(0, 10, 3)));
    let two = of_kind("c", "sum", 1, &[point(10, 20, 4), point(20, 30, 5)].join(","));
    let mut protobuf = Vec::new();
    json_to_protobuf(request("", &two).as_bytes(), 1 << 20, &mut protobuf).unwrap();
    let mut batch = receiver.db.db.batch();
    let decoded = decode(&protobuf, &receiver.options, &receiver.deltas, &mut batch).unwrap();
    receiver.deltas.take_back(decoded.changes);
    // A body that breaks off behind its points leaves no trace either.
    let broken = [&protobuf[..], &[0x0a]].concat();
    assert!(receiver.protobuf(&broken).is_err());
    receiver.store(&two);
    let want = ["c_total 10 3 since 0", "c_total 20 7 since 0", "c_total 30 12 since 0"];
    assert_eq!(receiver.samples("c_total"), want);
}

#[test]
fn points_that_cannot_be_stored_are_counted_and_named() {
    let attribute = format!(r#""attributes":[{}]"#, text_attribute("x", "y"));
    let at = time(0);
    let bad: Vec<(String, u64, RejectReason, &[&str])> = vec![
        (
            gauge("g", &format!(r#"{{"asInt":1,{attribute}}}"#)),
            1,
            RejectReason::InvalidPoint,
            &["g{x=\"y\"}", "no time"],
        ),
        (gauge("g", &format!("{{{at}}}")), 1, RejectReason::InvalidPoint, &["no value"]),
        (gauge("", &format!("{{{at}}},{{{at}}}")), 2, RejectReason::InvalidPoint, &["name is empty"]),
        (gauge("*", &format!("{{{at}}}")), 1, RejectReason::InvalidPoint, &["\"*\"", "no letter"]),
        (of_kind("s", "sum", 0, &format!("{{{at},\"asInt\":1}}")), 1, RejectReason::InvalidPoint, &["temporality 0"]),
        (
            of_kind("h", "histogram", 2, &format!(r#"{{{at},"bucketCounts":[1,2],"explicitBounds":[1,2]}}"#)),
            1,
            RejectReason::InvalidPoint,
            &["series h at time 1700000000000", "2 bucket counts for 2 bounds"],
        ),
        (
            of_kind("h", "histogram", 2, &format!(r#"{{{at},"bucketCounts":[1,2,3],"explicitBounds":[2,2]}}"#)),
            1,
            RejectReason::InvalidPoint,
            &["do not ascend: 2 then 2"],
        ),
        (
            of_kind("e", "exponentialHistogram", 2, &format!(r#"{{{at},"scale":-5}}"#)),
            1,
            RejectReason::InvalidHistogram,
            &["series e at", "scale -5 is below -4"],
        ),
        (
            of_kind("e", "exponentialHistogram", 2, &format!(r#"{{{at},"count":3,"sum":1,"zeroCount":2}}"#)),
            1,
            RejectReason::InvalidHistogram,
            &["hold 2 observations, its count is 3"],
        ),
        (
            gauge("g", &format!(r#"{{{at},"asInt":1,"attributes":[{}]}}"#, text_attribute("", "v"))),
            1,
            RejectReason::InvalidLabels,
            &["metric \"g\"", "name of an attribute is empty"],
        ),
    ];
    let good = gauge("good", &format!(r#"{{{at},"asInt":1}}"#));
    for (metrics, points, reason, parts) in bad {
        let receiver = Receiver::new();
        let report = receiver.json(&request("", &format!("{metrics},{good}"))).unwrap();
        assert_eq!((report.rejected, report.points), (points, 1), "{metrics}: {:?}", report.message());
        assert_eq!(report.rejections[0].reason, reason, "{metrics}");
        let message = report.message().unwrap();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(receiver.samples("good"), ["good 0 1"], "the rest is stored");
        let answer: serde_json::Value = serde_json::from_slice(&Form::Json.response(&report)).unwrap();
        assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], points.to_string());
    }
}

#[test]
fn points_are_counted_once_however_many_samples_they_have() {
    let receiver = Receiver::new();
    let labels: Vec<_> = (0..600).map(|index| text_attribute(&format!("a{index}"), "x")).collect();
    let point = |attributes: &str| {
        let fields = r#""count":3,"sum":1,"bucketCounts":[1,1,1],"explicitBounds":[1,2]"#;
        format!(r#"{{{},{fields},"attributes":[{attributes}]}}"#, time(0))
    };
    let points = [point(""), point(&labels.join(",")), point(&text_attribute("b", "c"))].join(",");
    let report = receiver.json(&request("", &of_kind("h", "histogram", 2, &points))).unwrap();
    assert_eq!((report.points, report.rejected), (2, 1));
    let message = report.message().unwrap();
    assert!(message.starts_with("1 data points refused, 2 stored") && message.contains("labels"), "{message}");
    // Another value for a stored time, of all series of one point.
    let other =
        point("").replace("\"count\":3", "\"count\":9").replace("[1,1,1]", "[7,1,1]").replace(":1,\"b", ":2,\"b");
    let report = receiver.json(&request("", &of_kind("h", "histogram", 2, &other))).unwrap();
    assert_eq!((report.points, report.rejected), (0, 1), "{:?}", report.message());
    assert!(report.rejections.iter().all(|rejection| rejection.reason == RejectReason::DuplicateTime));
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

fn metric_request(metric: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, metric)))
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
}

#[test]
fn fields_may_stand_in_any_order_and_apart() {
    let time = [&[3 << 3 | 1][..], &(T as u64 * 1_000_000_000).to_le_bytes()].concat();
    let value = [&[4 << 3 | 1][..], &1.5_f64.to_le_bytes()].concat();
    // Attributes before and after the value, an unknown field, and the metric's name after its data.
    let unknown = [&[0xfa, 0x01][..], &[2, 0xff, 0xff]].concat();
    let point = [field(7, &pair("b", "2")), value, field(7, &pair("a", "1")), unknown, time.clone()].concat();
    let metric = [field(5, &field(1, &point)), field(3, b"s"), field(1, b"m")].concat();
    let receiver = Receiver::new();
    assert_eq!(receiver.protobuf(&metric_request(&metric)).unwrap().message(), None);
    assert_eq!(receiver.samples("m_seconds"), [r#"m_seconds{a="1", b="2"} 0 1.5"#]);

    // A resource behind its scopes, and a temporality before the points.
    let resource = field(1, &field(1, &pair("service.name", "late")));
    let int = [&[6 << 3 | 1][..], &(-4_i64).to_le_bytes()].concat();
    let sum = [vec![2 << 3, 2], field(1, &[int, time.clone()].concat())].concat();
    let metrics = field(2, &field(2, &[field(7, &sum), field(1, b"n")].concat()));
    assert_eq!(receiver.protobuf(&field(1, &[metrics, resource].concat())).unwrap().message(), None);
    assert_eq!(receiver.samples("n"), [r#"n{job="late"} 0 -4"#]);

    // Repeated numbers one by one instead of packed.
    let fixed = |number: u8, bits: u64| [&[number << 3 | 1][..], &bits.to_le_bytes()].concat();
    let point = [fixed(6, 2), fixed(6, 3), fixed(7, 0.5_f64.to_bits()), fixed(4, 5), time].concat();
    let histogram = [field(1, &point), vec![2 << 3, 2]].concat();
    let metric = [field(1, b"h"), field(9, &histogram)].concat();
    assert_eq!(receiver.protobuf(&metric_request(&metric)).unwrap().message(), None);
    assert_eq!(receiver.samples("h_bucket"), [r#"h_bucket{le="+Inf"} 0 5"#, r#"h_bucket{le="0.5"} 0 2"#]);
}

#[test]
fn broken_requests_are_refused_as_a_whole() {
    let good = golden("metrics.pb");
    let receiver = Receiver::new();
    for body in [&b"\xff\xff\xff"[..], b"\x0a\x05", &[&good[..], b"\x0a\x7f"].concat(), b"\x08\x01"] {
        let error = receiver.protobuf(body).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Malformed, "{error}");
        assert!(error.offset() <= body.len(), "{error}");
    }
    // A time as a varint.
    let metric = [field(1, b"m"), field(5, &field(1, &[3 << 3, 1]))].concat();
    let error = receiver.protobuf(&metric_request(&metric)).unwrap_err();
    assert!(error.message().contains("field 3 has the unexpected wire type 0"), "{error}");
    assert!(receiver.lines().is_empty() && receiver.deltas.held().0 == 0);
    assert_eq!(receiver.protobuf(b"").unwrap().message(), None, "an empty request is one");
}

#[test]
fn memory_of_a_request_is_bounded() {
    // Bounds of eight bytes each become a series each.
    let bounds: Vec<u8> = (0..1_000_000_u64).flat_map(|bound| (bound as f64).to_le_bytes()).collect();
    let counts = vec![0; bounds.len() + 8];
    let time = [&[3 << 3 | 1][..], &1_u64.to_le_bytes()].concat();
    let point = [time, field(7, &bounds), field(6, &counts)].concat();
    let points = field(1, &point).repeat(3);
    let histogram = [points, vec![2 << 3, 2]].concat();
    let body = metric_request(&[field(1, b"h"), field(9, &histogram)].concat());
    let mut batch = Batch::default();
    let options = OtlpOptions::default();
    let error = decode(&body, &options, &Deltas::new(1 << 20), &mut batch).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    assert!(batch.is_empty());
}

#[test]
fn json_follows_the_rules_of_otlp() {
    let receiver = Receiver::new();
    let nanos = T * 1_000_000_000;
    let point = format!(
        r#"{{"timeUnixNano":{nanos},"time_unix_nano":"5","asDouble":"-Infinity","unknown":{{"x":[1,{{}}]}},
            "attributes":[{{"key":"list","value":{{"arrayValue":{{"values":[{{"intValue":"-9223372036854775808"}},
                {{"boolValue":true}},{{"doubleValue":0.1}},{{"bytesValue":"AP-_"}},{{}}]}}}}}}],
            "flags":0,"exemplars":null,"startTimeUnixNano":null}}"#
    );
    receiver.store(&format!(r#"{{"name":"j","description":null,"gauge":{{"dataPoints":[{point}]}},"later":3}}"#));
    let want = r#"j{list="[-9223372036854775808,true,0.1,\"AP+/\",null]"} 0 -inf"#;
    assert_eq!(receiver.samples("j"), [want]);
    assert_eq!(receiver.json("{}").unwrap().message(), None);

    for (body, part) in [
        ("", "EOF"),
        ("[]", "expected an object with resourceMetrics"),
        ("{} x", "trailing characters"),
        (r#"{"resourceMetrics":{}}"#, "a list, the value of resourceMetrics"),
        (&of_request(r#"{"name":7}"#), "text, the value of name"),
        (&of_request(r#"{"name":"s","sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}"#), "an integer"),
        (&of_request(r#"{"name":"s","sum":{"isMonotonic":"yes"}}"#), "true or false"),
        (&of_request(&gauge("g", r#"{"timeUnixNano":"-1"}"#)), "-1 is outside of the range of timeUnixNano"),
        (&of_request(&gauge("g", r#"{"timeUnixNano":1.5}"#)), "an integer, the value of timeUnixNano"),
        (&of_request(&gauge("g", r#"{"asDouble":"wide"}"#)), "a number, the value of asDouble"),
        (&of_request(&gauge("g", r#"{"exemplars":[{"traceId":"xyz"}]}"#)), "hexadecimal"),
        (&of_request(&gauge("g", "null")), "an object with"),
        (&of_request(&format!(r#"{{"a":{}{}}}"#, "[".repeat(300), "]".repeat(300))), ""),
    ] {
        let outcome = receiver.json(body);
        if part.is_empty() {
            // Unknown content may be of any depth.
            assert_eq!(outcome.unwrap().message(), None);
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Malformed);
        assert!(error.to_string().contains(part), "{body}: {error}");
    }
    let deep = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(60), "]}}".repeat(60));
    let point = format!(r#"{{{},"asInt":1,"attributes":[{{"key":"k","value":{deep}}}]}}"#, time(0));
    assert!(receiver.json(&of_request(&gauge("deep", &point))).unwrap_err().message().contains("recursion"));
    let error = json_to_protobuf(&golden("metrics.json"), 100, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge);
    let error = receiver.json("{\n  \"resourceMetrics\": [\n 7 ]}").unwrap_err();
    assert_eq!(error.offset(), 26, "{error}");
}

fn of_request(metrics: &str) -> String {
    request("", metrics)
}

/// Both steps of a request, whatever its bytes are; what was decoded has labels or an error.
fn try_all(body: &[u8]) {
    let mut protobuf = Vec::new();
    let _ = json_to_protobuf(body, 1 << 20, &mut protobuf);
    for body in [body, &protobuf] {
        for options in all_options() {
            let db_free = Deltas::new(1 << 16);
            let mut batch = Batch::default();
            match decode(body, &options, &db_free, &mut batch) {
                Ok(decoded) => drop(Form::Json.response(&decoded.report)),
                Err(error) => assert!(error.offset() <= body.len() && batch.is_empty(), "{error}"),
            }
        }
    }
}

fn all_options() -> [OtlpOptions; 2] {
    let other = OtlpOptions {
        translation: Translation::NoUtf8EscapingWithSuffixes,
        explicit_histograms: ExplicitHistograms::Native,
        promoted: Promoted::AllBut(Vec::new()),
        keep_identifying: true,
        scope_labels: true,
        ..OtlpOptions::default()
    };
    [OtlpOptions::default(), other]
}

#[test]
fn no_damage_to_a_request_panics() {
    let body = golden("metrics.pb");
    for cut in 0..body.len() {
        try_all(&body[..cut]);
    }
    for bit in 0..body.len() * 8 {
        let mut body = body.clone();
        body[bit / 8] ^= 1 << (bit % 8);
        try_all(&body);
    }
    let receiver = Receiver::new();
    for byte in (0..body.len()).step_by(7) {
        let mut body = body.clone();
        body[byte] ^= 0x15;
        let _ = receiver.protobuf(&body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        try_all(&body);
        try_all(&metric_request(&body));
        for kind in [5, 7, 9, 10, 11] {
            try_all(&metric_request(&[field(1, b"m"), field(kind, &field(1, &body))].concat()));
        }
    }

    /// Delta histograms of any scale and place add up to what all of them hold.
    #[test]
    fn sums_of_exponential_histograms_lose_nothing(
        points in prop::collection::vec((-4..12_i32, -2000..2000_i32, prop::collection::vec(0..9_u64, 0..20)), 1..6)
    ) {
        let receiver = Receiver::new();
        let mut want = 0;
        for (second, (scale, offset, counts)) in points.iter().enumerate() {
            let count: u64 = counts.iter().sum();
            want += count;
            let positive = format!(r#"{{"offset":{offset},"bucketCounts":{counts:?}}}"#);
            let fields = format!(r#""count":{count},"sum":{count},"scale":{scale},"positive":{positive}"#);
            let point = format!("{{{},{fields}}}", interval(second as i64, second as i64 + 1));
            receiver.store(&of_kind("e", "exponentialHistogram", 1, &point));
        }
        let lines = receiver.samples("e");
        let last = format!("n {want} sum {want} ");
        prop_assert!(lines.iter().any(|line| line.contains(&last)), "{:?}", lines);
    }
}
