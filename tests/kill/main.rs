//! `kill -9` against the real server while clients write, again and again on one data directory: during ordinary
//! writes, flushes and compactions. Clients remember what was acknowledged; after each restart every acknowledged batch
//! is there whole, every other one whole or not at all, and nothing else is there.
//!
//! `TSQ_KILLS` sets the number of kills (default 60), `TSQ_KILL_SEED` the seed (printed), `TSQ_TEST_BINARY` the
//! executable.

mod moment;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moment::{Aim, Hit};
use tsq_tests::batches::encoded;
use tsq_tests::ledger::{Ledger, check_whole};
use tsq_tests::number_from_env;
use tsq_tests::random::Random;
use tsq_tests::server::Server;

const WRITERS: u64 = 3;

/// Acknowledged batches between two kills, at least.
const ACKNOWLEDGED_MIN: u64 = 100;

/// Kills that must have hit a flush, and a compaction.
const HITS_MIN: usize = 10;

/// Small, so that log segments end and blocks are written all the time.
const FLAGS: [&str; 6] = ["--flush-bytes", "12KiB", "--segment-bytes", "8KiB", "--log", "warn,tsq_server=info"];

/// Kills between two checks of everything; the others check what is new since the last but one.
const FULL_CHECK: usize = 10;

#[derive(Debug, Default)]
struct Totals {
    kills: usize,
    flushes: usize,
    compactions: usize,
    acknowledged: u64,
    unacknowledged_but_there: u64,
    slowest_start: Duration,
}

struct Run<'a> {
    data: &'a Path,
    flags: Vec<&'a str>,
    /// Flushes, and compactions, that must be hit.
    hits_min: usize,
    random: Random,
    ledgers: Vec<Ledger>,
    /// Batches of each writer before the last round.
    recent: Vec<u64>,
    totals: Totals,
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    kill_again_and_again("always", number_from_env("TSQ_KILLS", 60) as usize, HITS_MIN);
}

/// In the modes that do not wait for the disk a power cut may lose something; the end of the process alone does not.
#[test]
fn nothing_acknowledged_is_lost_by_kill_9_in_the_other_modes() {
    for mode in ["interval:200ms", "os"] {
        kill_again_and_again(mode, number_from_env("TSQ_KILLS", 60) as usize / 6, 0);
    }
}

fn kill_again_and_again(durability: &str, kills: usize, hits_min: usize) {
    let seed = Random::seed_from_env("TSQ_KILL_SEED");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let mut run = Run {
        data: &data,
        flags: [&FLAGS[..], &["--durability", durability]].concat(),
        hits_min,
        random: Random::new(seed),
        ledgers: (0..WRITERS).map(Ledger::new).collect(),
        recent: vec![0; WRITERS as usize],
        totals: Totals::default(),
    };
    let outcome = run.all(kills);
    println!("durability {durability}: {:?}", run.totals);
    if let Err(message) = outcome {
        let kept = dir.keep();
        panic!("seed {seed}, after kill {}: {message}; the data is left in {}", run.totals.kills, kept.display());
    }
}

impl Run<'_> {
    fn all(&mut self, kills: usize) -> Result<(), String> {
        let mut server = Server::start(self.data, &self.flags)?;
        let too_many = 3 * kills + 60;
        while self.totals.kills < kills || self.totals.flushes.min(self.totals.compactions) < self.hits_min {
            if self.totals.kills == too_many {
                return Err("too few kills hit a flush or a compaction".to_owned());
            }
            server = self.round(server).map_err(|message| format!("round {}: {message}", self.totals.kills))?;
        }
        self.check(&server, true)?;
        let (status, took) = server.terminate()?;
        if !status.success() || took > Duration::from_secs(5) {
            return Err(format!("SIGTERM: {status} after {took:?}"));
        }
        self.check_at_rest()
    }

    /// Writes, kills, starts again, compares.
    fn round(&mut self, server: Server) -> Result<Server, String> {
        let before: Vec<u64> = self.ledgers.iter().map(|ledger| ledger.acknowledged.len() as u64).collect();
        let aim = [Aim::Flush, Aim::Compaction, Aim::Writes, Aim::Flush, Aim::Compaction][self.totals.kills % 5];
        self.write_and_kill(server, aim)?;
        let left = moment::blocks(self.data);
        let server = Server::start(self.data, &self.flags)?;
        let kept = moment::blocks(self.data);
        self.totals.kills += 1;
        match moment::hit(&left, &kept) {
            Hit::Flush => self.totals.flushes += 1,
            Hit::Compaction => self.totals.compactions += 1,
            Hit::Writes => {}
        }
        self.totals.slowest_start = self.totals.slowest_start.max(server.ready_after());
        self.check(&server, self.totals.kills.is_multiple_of(FULL_CHECK))?;
        self.recent = before;
        Ok(server)
    }

    fn write_and_kill(&mut self, server: Server, aim: Aim) -> Result<(), String> {
        let acknowledged = AtomicU64::new(0);
        let (data, random, recent, ledgers) = (self.data, &mut self.random, &self.recent, &mut self.ledgers);
        let outcome = std::thread::scope(|scope| {
            let writers: Vec<_> = ledgers
                .iter_mut()
                .map(|ledger| {
                    let (client, retry, acknowledged) = (server.client(), random.below(2) == 0, &acknowledged);
                    scope.spawn(move || writer::write_until_killed(client, ledger, retry, acknowledged))
                })
                .collect();
            let looked = look_while_written(&server, &acknowledged, recent);
            let mut admin = server.client();
            let compaction = (aim == Aim::Compaction).then(|| {
                // Killed in the middle, it gets no answer; one that comes says that it was done.
                scope.spawn(move || admin.request("POST", "/api/v1/admin/tsdb/compact", &[], &[]))
            });
            if aim != Aim::Writes {
                moment::wait_for(data, aim);
            }
            let longest_us = if aim == Aim::Writes { 20_000 } else { 3_000 };
            std::thread::sleep(Duration::from_micros(random.below(longest_us)));
            let killed = server.kill();
            let mut outcomes = vec![looked, killed];
            outcomes.extend(writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")));
            if let Some(Ok(answer)) = compaction.map(|request| request.join().expect("the request does not panic"))
                && answer.status != 200
                && answer.status != 204
            {
                outcomes.push(Err(format!("compact: {} {}", answer.status, answer.text())));
            }
            outcomes.into_iter().collect::<Result<Vec<()>, String>>()
        });
        self.totals.acknowledged += acknowledged.into_inner();
        outcome.map(drop)
    }

    fn check(&mut self, server: &Server, everything: bool) -> Result<(), String> {
        let mut client = server.client();
        for (ledger, recent) in self.ledgers.iter().zip(&self.recent) {
            let first = if everything { 0 } else { *recent };
            let found = ledger.check(&mut client, first)?;
            if everything {
                self.totals.unacknowledged_but_there = found.unacknowledged;
            }
        }
        Ok(())
    }

    /// After a clean stop every byte is as it was written.
    fn check_at_rest(&self) -> Result<(), String> {
        let report = tsq_core::Db::verify(self.data).map_err(|error| format!("verify: {error}"))?;
        match report.findings.first() {
            None => Ok(()),
            Some(finding) => Err(format!("verify after a clean stop: {finding}")),
        }
    }
}

/// The check is not blind: a batch that was acknowledged and cut from the log by hand is missed.
#[test]
fn a_lost_batch_is_noticed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]).expect("the server starts");
    let mut ledger = Ledger::new(0);
    let mut client = server.client();
    for number in 0..20 {
        let answer = client.remote_write(&encoded(0, number)).expect("the server answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
        ledger.acknowledged.push(true);
    }
    assert_eq!(ledger.check(&mut client, 0).expect("all is there").whole, 20);
    server.kill().expect("the server was alive");
    let mut segments: Vec<_> = std::fs::read_dir(data.join("log")).expect("a log").flatten().collect();
    segments.sort_by_key(std::fs::DirEntry::path);
    let path = segments.last().expect("a segment").path();
    let bytes = std::fs::read(&path).expect("the segment can be read");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("the segment holds records");
    std::fs::write(&path, &bytes[..used - 100]).expect("the segment can be written");
    let server = Server::start(&data, &[]).expect("a torn tail keeps no server from starting");
    let error = ledger.check(&mut server.client(), 0).expect_err("a batch is missing");
    assert!(error.contains("(acknowledged) has parts 000000"), "{error}");
}

/// Waits for enough acknowledged batches, and looks at the newest ones meanwhile.
fn look_while_written(server: &Server, acknowledged: &AtomicU64, recent: &[u64]) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let started = Instant::now();
    let mut client = server.client();
    let mut writers = (0..).zip(recent).cycle();
    while acknowledged.load(Ordering::Relaxed) < ACKNOWLEDGED_MIN {
        if started.elapsed() > PATIENCE {
            let count = acknowledged.load(Ordering::Relaxed);
            return Err(format!("only {count} batches were acknowledged; the server's log ends: {}", server.log()));
        }
        let (writer, first) = writers.next().expect("there are writers");
        check_whole(&mut client, writer, *first)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
