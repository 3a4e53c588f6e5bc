//! MLflow's tracking API against the real server: the unmodified client where there is one, and `kill -9` in the middle of
//! concurrent batches.
//!
//! `TSQ_TEST_PYTHON` names a Python that has `mlflow-skinny`, `TSQ_TEST_BINARY` the executable.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tsq_tests::http::Client;
use tsq_tests::process::program;
use tsq_tests::server::Server;

/// Runs that are logged to at once.
const WRITERS: usize = 4;
/// Kills of one test.
const KILLS: usize = 4;
/// Points of one batch.
const POINTS: i64 = 50;

#[test]
fn the_unmodified_client_reads_back_what_it_logs() {
    let Some(python) = program("TSQ_TEST_PYTHON") else {
        return tsq_tests::not_run("TSQ_TEST_PYTHON (a Python with mlflow-skinny) names no file");
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&dir.path().join("data"), &[]).expect("a server");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("mlflow/client.py");
    let output = Command::new(python).arg(script).arg(server.url()).output().expect("Python starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", text(&output.stdout), text(&output.stderr), server.log());
}

fn post(client: &mut Client, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
    let headers = [("content-type", "application/json")];
    let target = format!("/api/2.0/mlflow/{path}");
    let response = client.request("POST", &target, &headers, body.to_string().as_bytes())?;
    Ok((response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null)))
}

/// What one writer logged.
#[derive(Debug)]
struct Writer {
    run_id: String,
    /// Batches that were sent, and those of them that were answered.
    sent: i64,
    acknowledged: BTreeSet<i64>,
}

fn batch(run_id: &str, number: i64) -> Value {
    let points: Vec<Value> = (0..POINTS)
        .map(|index| {
            let step = number * POINTS + index;
            // Half of the points lie in a time that others have too.
            json!({"key": "loss", "value": 1.0 / (step + 1) as f64, "timestamp": 1_700_000_000_000_i64 + step / 2, "step": step})
        })
        .collect();
    let params = [json!({"key": format!("batch_{number}"), "value": number.to_string()})];
    json!({"run_id": run_id, "metrics": points, "params": params})
}

impl Writer {
    fn new(client: &mut Client, name: usize) -> Self {
        let body =
            json!({"experiment_id": "0", "run_name": format!("writer-{name}"), "start_time": 1_700_000_000_000_i64});
        let (status, answer) = post(client, "runs/create", &body).expect("the server answers");
        assert_eq!(status, 200, "{answer}");
        let run_id = answer["run"]["info"]["run_id"].as_str().expect("a run has an id").to_owned();
        Self { run_id, sent: 0, acknowledged: BTreeSet::new() }
    }

    /// Sends batches until the server is gone. The first one is that which was not answered before: as clients do.
    fn write(&mut self, mut client: Client, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let number = (0..self.sent).find(|number| !self.acknowledged.contains(number)).unwrap_or(self.sent);
            self.sent = self.sent.max(number + 1);
            match post(&mut client, "runs/log-batch", &batch(&self.run_id, number)) {
                Ok((200, _)) => _ = self.acknowledged.insert(number),
                Ok((status, answer)) => panic!("{status}: {answer}"),
                // The server was killed.
                Err(_) => return,
            }
        }
    }

    /// Everything acknowledged is there once; of what was not, each batch is there whole or not at all.
    fn check(&self, client: &mut Client) {
        let target = format!("/api/2.0/mlflow/metrics/get-history?run_id={}&metric_key=loss", self.run_id);
        let response = client.get(&target).expect("the server answers");
        let history: Value = serde_json::from_slice(&response.body).expect("a whole answer");
        let points = history["metrics"].as_array().cloned().unwrap_or_default();
        let steps: Vec<i64> = points.iter().map(|point| point["step"].as_i64().expect("a step")).collect();
        let distinct: BTreeSet<i64> = steps.iter().copied().collect();
        assert_eq!(steps.len(), distinct.len(), "points are there twice");
        for point in &points {
            let step = point["step"].as_i64().expect("a step");
            assert_eq!(point["value"].as_f64(), Some(1.0 / (step + 1) as f64), "step {step}");
        }
        for number in 0..self.sent {
            let found = (0..POINTS).filter(|index| distinct.contains(&(number * POINTS + index))).count() as i64;
            let is_whole = found == POINTS || (found == 0 && !self.acknowledged.contains(&number));
            assert!(is_whole, "batch {number}: {found} of {POINTS} points");
        }
        let target = format!("/api/2.0/mlflow/runs/get?run_id={}", self.run_id);
        let run: Value = serde_json::from_slice(&client.get(&target).expect("an answer").body).expect("JSON");
        let latest = &run["run"]["data"]["metrics"][0];
        assert_eq!(latest["step"].as_i64(), distinct.last().copied(), "the latest value is that of the last step");
        let params = run["run"]["data"]["params"].as_array().map_or(0, Vec::len);
        assert!(params >= self.acknowledged.len(), "{params} params of {} batches", self.acknowledged.len());
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let flags = ["--flush-bytes", "64KiB", "--segment-bytes", "32KiB"];
    let mut server = Server::start(&data, &flags).expect("a server");
    let mut writers: Vec<Writer> = (0..WRITERS).map(|name| Writer::new(&mut server.client(), name)).collect();
    for kill in 0..KILLS {
        let is_over = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let client = server.client();
                scope.spawn(move || writer.write(client, is_over));
            }
            std::thread::sleep(Duration::from_millis(400 + 130 * kill as u64));
            server.kill().expect("the server runs until it is killed");
            is_over.store(true, Ordering::Relaxed);
        });
        server = Server::start(&data, &flags).expect("the server starts again");
        writers.iter().for_each(|writer| writer.check(&mut server.client()));
    }
    let acknowledged: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
    assert!(acknowledged > WRITERS, "{acknowledged} batches were acknowledged");
    let (status, _) = server.terminate().expect("the server stops");
    assert!(status.success());
}
