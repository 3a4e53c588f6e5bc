//! Queries that are too heavy for the server end in clean errors, while writes are acknowledged and small queries are
//! answered beside them.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::{Fixture, Http, Reply, V1, series};
use tsq_ingest::remote_write::{WriteRequest, encode_v1};

/// Series that heavy queries read.
const SERIES: usize = 2000;
/// Samples of each of them.
const SAMPLES: i64 = 200;

/// Writes, with a small query after each.
const WRITES: i64 = 30;

/// A server on which few queries run at once, and which has little memory for them.
fn small_server() -> Fixture {
    let server = Fixture::with(|config| {
        config.limits.queries_running = 4;
        config.engine.query_bytes = 4 << 20;
        config.engine.total_bytes = 10 << 20;
    });
    for first in (0..SERIES).step_by(500) {
        let one = |number: usize| {
            let samples: Vec<(i64, f64)> = (0..SAMPLES).map(|step| (step * 1000, number as f64)).collect();
            series(&[("__name__", "loss"), ("run", &number.to_string())], &samples)
        };
        server.store((first..first + 500).map(one).collect());
    }
    server
}

/// Heavy queries, and what becomes of each.
const HEAVY: [(&str, &[&str]); 3] = [
    // More memory than a query may take, or than is left.
    ("query=loss+%2B+on%28run%29+loss&start=0&end=199&step=0.1", &["execution"]),
    // More time than it has.
    (
        "query=sum%28quantile_over_time%280.5,loss%5B1m%5D%29%29&start=0&end=199&step=1&timeout=1ms",
        &["timeout", "execution"],
    ),
    // Much to read, little to keep.
    ("query=sum%28rate%28loss%5B1m%5D%29%29&start=0&end=199&step=1", &["success", "execution"]),
];

/// What became of a request: `success` or the type of the error, which has its code and says something.
fn outcome(reply: &Reply) -> String {
    let json = reply.json();
    if reply.status.is_success() {
        assert_eq!(json["status"], "success", "{json}");
        return "success".to_owned();
    }
    assert_eq!(json["status"], "error", "{json}");
    assert!(json["error"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    let error_type = json["errorType"].as_str().expect("an error has a type").to_owned();
    let codes = [("execution", 422), ("timeout", 503), ("unavailable", 503)];
    assert!(codes.contains(&(error_type.as_str(), reply.status.as_u16())), "{}: {json}", reply.status);
    assert_eq!(reply.header("retry-after").is_some(), error_type == "unavailable");
    error_type
}

#[test]
fn heavy_queries_fail_cleanly_beside_writes_and_small_queries() {
    let server = small_server();
    let stop = AtomicBool::new(false);
    let (rounds, failed, timed_out) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (number, (params, allowed)) in HEAVY.iter().cycle().take(6).enumerate() {
            let (stop, rounds, failed, timed_out) = (&stop, &rounds, &failed, &timed_out);
            let client = server.another();
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let outcome = outcome(&client.post_form("/api/v1/query_range", params));
                    assert!(allowed.contains(&outcome.as_str()), "heavy query {number}: {outcome}");
                    failed.fetch_or(outcome == "execution", Ordering::Relaxed);
                    timed_out.fetch_or(outcome == "timeout", Ordering::Relaxed);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Ends the others whatever happens here.
        let _stop = StopOnDrop(&stop);
        let client = server.another();
        for step in 0..WRITES {
            write(&client, step);
            assert_eq!(small_query(&client), "[1,\"2\"]");
        }
        let seen = || failed.load(Ordering::Relaxed) && timed_out.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < 30 || !seen() {
            assert_eq!(small_query(&client), "[1,\"2\"]");
        }
    });
    // Everything that was acknowledged is there, and nothing is left of the queries.
    let reply = server.get("/api/v1/query?query=count_over_time%28written%5B1h%5D%29&time=60").json();
    assert_eq!(reply["data"]["result"][0]["value"][1], WRITES.to_string());
    assert_eq!(server.metric("tsq_query_memory_bytes"), 0.0);
    assert_eq!((server.metric("tsq_queries_running"), server.metric("tsq_queries_waiting")), (0.0, 0.0));
    for error_type in ["execution", "timeout"] {
        let line = format!("tsq_query_failures_total{{type=\"{error_type}\"}}");
        assert!(server.metric(&line) > 0.0, "{line}");
    }
    assert_eq!(server.metric("tsq_handler_panics_total"), 0.0);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A write that has to be acknowledged.
fn write(client: &Http, step: i64) {
    let one = series(&[("__name__", "written")], &[(step * 1000, step as f64)]);
    let body = encode_v1(&WriteRequest { series: vec![one], metadata: Vec::new() });
    let reply = client.write(V1, body);
    assert_eq!(reply.status.as_u16(), 204, "{}", reply.text());
}

/// The result of a small query, which has to be answered.
fn small_query(client: &Http) -> String {
    let reply = client.get("/api/v1/query?query=1%2B1&time=1");
    assert_eq!(outcome(&reply), "success");
    reply.json()["data"]["result"].to_string()
}
