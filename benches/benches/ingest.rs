//! Decoding: nanoseconds per sample of remote write, per data point of OTLP, and per sample of the text formats, with the size of what is decoded.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsq_core::{Batch, Histogram, Labels, Span};
use tsq_ingest::otlp::{Deltas, OtlpOptions, decode, json_to_protobuf};
use tsq_ingest::remote_write::{TimeSeries, WriteRequest, decode_v1, decode_v2, decompress, encode_v1, encode_v2};
use tsq_ingest::text::{TextFormat, parse};

/// Samples of one request, as many as Prometheus sends at once.
const SERIES: usize = 2000;
const TIME_MS: i64 = 1_700_000_000_000;

/// Nine labels, name included, as an inference service has them.
fn labels(index: usize) -> Labels {
    let (pod, instance, path) = (
        format!("llm-server-7d9c5b6f4-{:05}", index % 50),
        format!("10.12.{}.{}:9100", index % 50, index % 200),
        format!("/v1/models/{index}/infer"),
    );
    Labels::from_pairs([
        ("__name__", "inference_request_duration_seconds_bucket"),
        ("cluster", "eu-west-1a"),
        ("instance", &instance),
        ("job", "inference"),
        ("le", "0.25"),
        ("model", "llama-3-70b-instruct"),
        ("namespace", "serving"),
        ("path", &path),
        ("pod", &pod),
    ])
    .expect("the labels are distinct")
}

fn histogram(index: usize) -> Histogram {
    let positive: Vec<f64> = (0..20).map(|bucket| (bucket * 7 % 50 + index % 3) as f64).collect();
    Histogram {
        schema: 3,
        integer: true,
        count: positive.iter().sum(),
        sum: 12.5,
        zero_threshold: 1e-128,
        positive_spans: vec![Span { offset: -5, length: 12 }, Span { offset: 3, length: 8 }],
        positive,
        ..Histogram::default()
    }
}

fn request(histograms: bool) -> WriteRequest {
    let series = (0..SERIES).map(|index| {
        let mut series = TimeSeries { labels: labels(index), ..TimeSeries::default() };
        if histograms {
            series.histograms.push((TIME_MS, histogram(index)));
        } else {
            series.samples.push((TIME_MS + index as i64 % 15, index as f64 * 0.25));
        }
        series
    });
    WriteRequest { series: series.collect(), metadata: Vec::new() }
}

fn remote_write(c: &mut Criterion) {
    let mut group = c.benchmark_group("remote_write");
    group.throughput(Throughput::Elements(SERIES as u64)).measurement_time(Duration::from_secs(3));
    for (what, all) in [("floats", request(false)), ("histograms", request(true))] {
        let (mut plain_v1, mut plain_v2, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let (body_v1, body_v2) = (encode_v1(&all), encode_v2(&all));
        decompress(&body_v1, 32 << 20, &mut plain_v1).expect("the body was just made");
        decompress(&body_v2, 32 << 20, &mut plain_v2).expect("the body was just made");
        for (version, plain, body) in [("v1", &plain_v1, &body_v1), ("v2", &plain_v2, &body_v2)] {
            println!("{what} {version}: {} B per sample, {} B compressed", plain.len() / SERIES, body.len() / SERIES);
        }
        group.bench_function(format!("decompress_v1_{what}"), |b| {
            b.iter(|| decompress(&body_v1, 32 << 20, &mut out).expect("the body was just made"));
        });
        let mut batch = Batch::default();
        group.bench_function(format!("decode_v1_{what}"), |b| {
            b.iter(|| {
                batch.clear();
                decode_v1(&plain_v1, &mut batch).expect("the body was just made")
            });
        });
        group.bench_function(format!("decode_v2_{what}"), |b| {
            b.iter(|| {
                batch.clear();
                decode_v2(&plain_v2, &mut batch).expect("the body was just made").0
            });
        });
        assert_eq!(batch.len(), SERIES);
    }
    group.finish();
}

/// A request with the points of each index in the fields of one metric.
fn otlp_request(data: &str, point: impl Fn(usize) -> String) -> Vec<u8> {
    let attribute = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let points: Vec<_> = (0..SERIES)
        .map(|index| {
            let own = labels(index);
            let attributes: Vec<_> = ["model", "namespace", "path", "pod"]
                .iter()
                .map(|name| attribute(name, own.get(name).expect("every series has it")))
                .collect();
            let time = format!(r#""startTimeUnixNano":"{TIME_MS}000000","timeUnixNano":"{}000000""#, TIME_MS + 15_000);
            format!(r#"{{"attributes":[{}],{time},{}}}"#, attributes.join(","), point(index))
        })
        .collect();
    let resource =
        [attribute("service.name", "inference"), attribute("service.instance.id", "10.12.1.1:9100")].join(",");
    let metric = format!(r#"{{"name":"request.duration","unit":"s",{data}"dataPoints":[{}]}}}}"#, points.join(","));
    let request = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#
    );
    let mut body = Vec::new();
    json_to_protobuf(request.as_bytes(), 32 << 20, &mut body).expect("the request was just made");
    body
}

fn otlp(c: &mut Criterion) {
    let mut group = c.benchmark_group("otlp");
    group.throughput(Throughput::Elements(SERIES as u64)).measurement_time(Duration::from_secs(3));
    let bounds = "0.005,0.01,0.025,0.05,0.075,0.1,0.25,0.5,0.75,1,2.5,5,7.5,10";
    let counts: Vec<_> = (0..20).map(|bucket| (bucket * 7 % 50).to_string()).collect();
    let (explicit, exponential) = (counts[..15].join(","), counts.join(","));
    let sum_of = |counts: &[String]| counts.iter().map(|count| count.parse::<u64>().expect("a number")).sum::<u64>();
    let cumulative = r#""aggregationTemporality":2,"isMonotonic":true,"#;
    let delta = r#""aggregationTemporality":1,"isMonotonic":true,"#;
    let number = |index: usize| format!(r#""asDouble":{}"#, index as f64 * 0.25);
    let bodies = [
        ("sums", otlp_request(&format!(r#""sum":{{{cumulative}"#), number)),
        ("delta_sums", otlp_request(&format!(r#""sum":{{{delta}"#), number)),
        (
            "histograms",
            otlp_request(&format!(r#""histogram":{{{cumulative}"#), |_| {
                let count = sum_of(&counts[..15]);
                format!(r#""count":{count},"sum":3.5,"bucketCounts":[{explicit}],"explicitBounds":[{bounds}]"#)
            }),
        ),
        (
            "exponential_histograms",
            otlp_request(&format!(r#""exponentialHistogram":{{{cumulative}"#), |_| {
                let positive = format!(r#"{{"offset":-5,"bucketCounts":[{exponential}]}}"#);
                format!(r#""count":{},"sum":3.5,"scale":3,"positive":{positive}"#, sum_of(&counts))
            }),
        ),
    ];
    let (options, deltas) = (OtlpOptions::default(), Deltas::new(128 << 20));
    for (what, body) in &bodies {
        println!("{what}: {} B per point", body.len() / SERIES);
        let mut batch = Batch::default();
        group.bench_function(format!("decode_{what}"), |b| {
            b.iter(|| {
                batch.clear();
                decode(body, &options, &deltas, &mut batch).expect("the body was just made").report.points
            });
        });
        assert!(batch.len() >= SERIES);
    }
    group.finish();
}

fn text(c: &mut Criterion) {
    let mut group = c.benchmark_group("text");
    group.throughput(Throughput::Elements(SERIES as u64)).measurement_time(Duration::from_secs(3));
    let scrape: String =
        (0..SERIES).map(|index| format!("{} {}\n", line(&labels(index)), index as f64 * 0.25)).collect();
    let one = line(&labels(0));
    let dump: String =
        (0..SERIES).map(|index| format!("{one} {} {}\n", index as f64 * 0.25, TIME_MS + index as i64)).collect();
    for (name, input) in [("scrape", scrape), ("dump_of_one_series", dump)] {
        println!("{name}: {} B per sample", input.len() / SERIES);
        let mut batch = Batch::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                batch.clear();
                parse(&input, TextFormat::Prometheus, Some(TIME_MS), &mut batch).expect("the text was just made")
            });
        });
        assert_eq!(batch.len(), SERIES);
    }
    group.finish();
}

fn line(labels: &Labels) -> String {
    labels.to_string().replace("\", ", "\",")
}

criterion_group!(benches, remote_write, otlp, text);
criterion_main!(benches);
