//! A service that keeps its own metrics: it records every request and asks its own database for rates and latencies.
//!
//! `cargo run --release -p tsq --example inference_metrics [DIR]`; without a directory it uses a temporary one.

use std::time::{SystemTime, UNIX_EPOCH};

use tsq::promql::{SampleValue, Value};
use tsq::{Db, DbExt, Durability, Histogram, Kind, Labels, METRIC_NAME, Options, SeriesHandle, Span};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What one model's instruments hold, and the handles that write them.
struct Instruments {
    requests: (SeriesHandle, f64),
    tokens: (SeriesHandle, f64),
    latency: (SeriesHandle, Histogram),
}

/// Buckets per doubling of the latency: 2^3, so that neighbours are 9 % apart.
const SCHEMA: i8 = 3;
/// Buckets from 2^-8 s (4 ms) to 2^6 s, eight per doubling.
const FIRST_BUCKET: i32 = -64;
const BUCKETS: usize = 112;

impl Instruments {
    fn new(db: &Db, model: &str) -> Result<Self> {
        let labels = |name: &str| Labels::from_pairs([(METRIC_NAME, name), ("model", model)]);
        let latency = Histogram {
            schema: SCHEMA,
            integer: true,
            positive_spans: vec![Span { offset: FIRST_BUCKET, length: BUCKETS as u32 }],
            positive: vec![0.0; BUCKETS],
            ..Histogram::default()
        };
        Ok(Self {
            requests: (db.series(Kind::Float, &labels("requests_total")?)?, 0.0),
            tokens: (db.series(Kind::Float, &labels("generated_tokens_total")?)?, 0.0),
            latency: (db.series(Kind::Histogram, &labels("request_duration_seconds")?)?, latency),
        })
    }

    fn request(&mut self, seconds: f64, tokens: f64) {
        self.requests.1 += 1.0;
        self.tokens.1 += tokens;
        let histogram = &mut self.latency.1;
        let bucket = (seconds.log2() * f64::from(SCHEMA).exp2()).ceil() as i32 - FIRST_BUCKET;
        histogram.positive[bucket.clamp(0, BUCKETS as i32 - 1) as usize] += 1.0;
        histogram.count += 1.0;
        histogram.sum += seconds;
    }
}

fn main() -> Result<()> {
    let temporary = std::env::temp_dir().join(format!("tsq-inference-{}", std::process::id()));
    let dir = std::env::args_os().nth(1).map_or_else(|| temporary.clone(), Into::into);
    let options =
        Options { durability: Durability::Interval(std::time::Duration::from_millis(200)), ..Options::default() };
    let db = Db::open(&dir, options)?;

    // Ten minutes of two models, written every five seconds as a service would.
    let end_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut models = [("chat", Instruments::new(&db, "chat")?), ("code", Instruments::new(&db, "code")?)];
    let mut batch = db.batch();
    let mut random = 1_u64;
    for time_ms in (end_ms - 600_000..=end_ms).step_by(5000) {
        batch.clear();
        for (index, (_, model)) in models.iter_mut().enumerate() {
            for _ in 0..20 / (index + 1) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let unit = (random >> 40) as f64 / (1_u64 << 24) as f64;
                model.request(0.05 * (index + 1) as f64 * (4.0 * unit * unit).exp(), 20.0 + 400.0 * unit);
            }
            for (handle, value) in [&model.requests, &model.tokens] {
                batch.series_handle(handle);
                batch.float(time_ms, *value);
            }
            batch.series_handle(&model.latency.0);
            batch.histogram(time_ms, model.latency.1.clone());
        }
        db.append(&batch)?;
    }

    for (title, query) in [
        ("requests per second", "sum by (model) (rate(requests_total[5m]))"),
        ("tokens per second", "sum by (model) (rate(generated_tokens_total[5m]))"),
        ("median latency in s", "histogram_quantile(0.5, sum by (model) (rate(request_duration_seconds[5m])))"),
        ("99 % of requests take less than, in s", "histogram_quantile(0.99, rate(request_duration_seconds[5m]))"),
    ] {
        println!("{title}: {query}");
        let Value::Vector(elements) = db.query(query, end_ms)?.value else { continue };
        for element in elements {
            let SampleValue::Float(value) = element.value else { continue };
            println!("  {:6} {value:8.3}", element.labels.get("model").unwrap_or("all"));
        }
    }
    db.close()?;
    if dir == temporary {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}
