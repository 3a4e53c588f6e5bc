//! A real server on a small file system that fills up: writes are refused with an error that says to try again, reads go
//! on, writes resume by themselves when space returns, and nothing acknowledged is lost by a `kill -9` before or after.
//!
//! Needs the right to mount a tmpfs; without it the test says that it did not run, and fails with `TSQ_TEST_REQUIRE=1`.

mod volume;

use std::time::{Duration, Instant};

use tsq_tests::batches::encoded;
use tsq_tests::http::{Client, Response};
use tsq_tests::ledger::Ledger;
use tsq_tests::server::Server;
use volume::Volume;

const VOLUME_BYTES: u64 = 24 << 20;

/// Space that is left for writing until a disk counts as full.
const ROOM_BYTES: u64 = 1 << 20;

/// More batches than fit into the room.
const BATCHES_MAX: u64 = 40_000;

/// One writer, which sends a refused batch again until it is taken.
struct Writer {
    client: Client,
    ledger: Ledger,
}

impl Writer {
    fn new(server: &Server, ledger: Ledger) -> Self {
        Self { client: server.client(), ledger }
    }

    /// Sends the next batch.
    fn send(&mut self) -> Response {
        let number = self.ledger.acknowledged.len() as u64;
        let response = self.client.remote_write(&encoded(self.ledger.writer, number)).expect("the server answers");
        if response.status == 204 {
            self.ledger.acknowledged.push(true);
        }
        response
    }

    fn send_all(&mut self, count: u64) {
        for _ in 0..count {
            let response = self.send();
            assert_eq!(response.status, 204, "{}", response.text());
        }
    }

    /// Writes until the disk is full; the refusal asks for another try.
    fn send_until_refused(&mut self) {
        for _ in 0..BATCHES_MAX {
            let response = self.send();
            if response.status != 204 {
                return assert_retryable(&response);
            }
        }
        panic!("{BATCHES_MAX} batches and the disk is not full");
    }

    /// Writes until the server takes batches again.
    fn send_until_taken(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let started = Instant::now();
        loop {
            let response = self.send();
            if response.status == 204 {
                return;
            }
            assert_retryable(&response);
            assert!(started.elapsed() < PATIENCE, "there is space, but {}", response.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All acknowledged batches are there, and nothing of the refused one.
    fn check(&mut self) {
        let found = self.ledger.check(&mut self.client, 0).expect("queries answer");
        assert_eq!(found.whole, self.ledger.acknowledged.len() as u64);
    }
}

fn assert_retryable(response: &Response) {
    assert_eq!(response.status, 503, "{}", response.text());
    let seconds = response.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{:?}", response.headers);
}

fn fill_and_free(low_space: u64) {
    let Some(volume) = Volume::mount(VOLUME_BYTES) else { return };
    let data = volume.path().join("data");
    let low_space_flag = low_space.to_string();
    let flags = ["--segment-bytes", "128KiB", "--flush-bytes", "4MiB", "--low-space-bytes", &low_space_flag];
    let flags = [&flags[..], &["--log", "error,tsq_server=info"]].concat();
    let server = Server::start(&data, &flags).expect("the server starts");
    let mut writer = Writer::new(&server, Ledger::new(0));
    writer.send_all(100);

    // Full by writing: what is left is below the mark, or nothing.
    volume.leave(low_space + ROOM_BYTES);
    writer.send_until_refused();
    writer.check();

    // Full to the last byte.
    volume.fill();
    for _ in 0..20 {
        assert_retryable(&writer.send());
    }
    writer.check();
    let compact = writer.client.request("POST", "/api/v1/admin/tsdb/compact", &[], &[]).expect("the server answers");
    assert!([204, 503].contains(&compact.status), "{} {}", compact.status, compact.text());
    writer.check();

    // Space returns: the same process takes writes again, and flushes.
    volume.free();
    writer.send_until_taken();
    writer.send_all(200);
    let compact = writer.client.request("POST", "/api/v1/admin/tsdb/compact", &[], &[]).expect("the server answers");
    assert_eq!(compact.status, 204, "{}", compact.text());
    writer.send_all(50);
    writer.check();
    server.kill().expect("the server was alive");

    // A start after that.
    let server = Server::start(&data, &flags).expect("the server starts again");
    let mut writer = Writer::new(&server, writer.ledger);
    writer.check();
    writer.send_all(50);

    // Killed while the disk is full, started while it is full.
    volume.fill();
    assert_retryable(&send_until_not_taken(&mut writer));
    server.kill().expect("the server was alive");
    let server = Server::start(&data, &flags).expect("the server starts on a full disk");
    let mut writer = Writer::new(&server, writer.ledger);
    writer.check();
    // The start has given back what the log had reserved: some batches may still fit.
    assert_retryable(&send_until_not_taken(&mut writer));
    writer.check();
    volume.free();
    writer.send_until_taken();
    writer.check();

    let (status, _) = server.terminate().expect("the server stops");
    assert!(status.success(), "{status}");
    let report = tsq_core::Db::verify(&data).expect("the database is there");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    println!("{} batches acknowledged, none lost", writer.ledger.acknowledged.len());
}

/// Writes into what a segment has reserved, until that is used up.
fn send_until_not_taken(writer: &mut Writer) -> Response {
    for _ in 0..BATCHES_MAX {
        let response = writer.send();
        if response.status != 204 {
            return response;
        }
    }
    panic!("{BATCHES_MAX} batches on a full disk");
}

/// The usual case: writes stop at the low-water mark.
#[test]
fn writes_stop_at_the_low_water_mark_and_resume() {
    fill_and_free(4 << 20);
}

/// Others fill the disk faster than the mark can help: the log itself meets the end of the disk.
#[test]
fn writes_stop_at_the_end_of_the_disk_and_resume() {
    fill_and_free(1);
}
