//! `tsq demo`: a server that feeds itself.

mod gpus;
mod inference;
mod instruments;
mod random;
mod training;

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tsq::{Clock, Db, Durability, Kind, Matcher, Options, Samples, Source, SystemClock, TimeRange};
use tsq_server::{Server, ServerConfig};

use crate::args::Demo;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::serve::start_log;
use gpus::Gpus;
use inference::Inference;
use instruments::Instruments;
use random::Random;
use training::Training;

/// Makes up the past, then serves and makes up the present until SIGTERM or Ctrl-C.
pub(crate) fn run(args: &Demo, program: &str, console: &mut Console) -> Result<Exit> {
    start_log(&args.log, console)?;
    let clock = SystemClock::new();
    // Made-up data is worth no waiting for the disk.
    let durability = Durability::Interval(Duration::from_secs(1));
    let db = Db::open(&args.data, Options { durability, ..Options::default() })?;
    let config = ServerConfig { data: args.data.clone(), listen: args.listen, ..ServerConfig::default() };
    // Before the backfill: an address that is taken should be known at once.
    let server = Server::start(config, db.clone())?;
    let mut feeder = Feeder::new(&db, &clock, args)?;
    let backfilled = feeder.catch_up(clock.now_ms())?;
    let address = format!("http://{}", server.local_addr());
    console.out.write_all(welcome(program, &address, &args.data, backfilled, feeder.instruments.count()).as_bytes())?;
    console.out.flush()?;
    let (stop, stopped) = mpsc::channel::<()>();
    let feeding = std::thread::spawn(move || feed(feeder, &clock, &stopped));
    server.wait()?;
    drop(stop);
    feeding.join().map_err(|_| Failure::failed("the demo's workload stopped by a mistake of ours"))?;
    db.close()?;
    Ok(Exit::Ok)
}

/// Goes on after a failed write, as any client would: the disk may have room again later.
fn feed(mut feeder: Feeder, clock: &SystemClock, stopped: &mpsc::Receiver<()>) {
    loop {
        let now_ms = clock.now_ms();
        if let Err(Failure::Message(_, message)) = feeder.catch_up(now_ms) {
            tracing::warn!("the demo's workload could not write: {message}");
        }
        let pause_ms = (feeder.next_ms - now_ms).max(1).unsigned_abs();
        if stopped.recv_timeout(Duration::from_millis(pause_ms)) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Advances the workload and writes what it shows.
struct Feeder {
    db: Db,
    instruments: Instruments,
    inference: Inference,
    gpus: Gpus,
    training: Training,
    period_ms: i64,
    next_ms: i64,
}

/// Rounds of samples in one write of the past.
const ROUNDS: usize = 50;

impl Feeder {
    /// A workload that begins `backfill` ago, or where an earlier demo in the directory stopped.
    fn new(db: &Db, clock: &SystemClock, args: &Demo) -> Result<Self> {
        let (now_ms, period_ms) = (clock.now_ms(), args.period);
        let wanted_ms = now_ms.saturating_sub(args.backfill).max(0);
        let start_ms = newest(db, wanted_ms, now_ms)?.map_or(wanted_ms, |newest_ms| newest_ms + period_ms);
        let mut instruments = Instruments::new(db);
        let mut random = Random::new(start_ms.unsigned_abs());
        Ok(Self {
            db: db.clone(),
            inference: Inference::new(&mut instruments, random.fork())?,
            gpus: Gpus::new(&mut instruments, random.fork())?,
            training: Training::new(&mut instruments, random.fork(), start_ms)?,
            instruments,
            period_ms,
            next_ms: start_ms,
        })
    }

    /// Writes all rounds up to now; gives the number of samples.
    fn catch_up(&mut self, now_ms: i64) -> Result<u64> {
        let (mut samples, mut batch) = (0, self.db.batch());
        while self.next_ms <= now_ms {
            batch.clear();
            for _ in 0..ROUNDS {
                if self.next_ms > now_ms {
                    break;
                }
                let seconds = self.period_ms as f64 / 1000.0;
                let load = self.inference.advance(self.next_ms, seconds, &mut self.instruments);
                self.gpus.advance(self.next_ms, seconds, load, &mut self.instruments);
                self.training.advance(self.next_ms, seconds, &mut self.instruments)?;
                self.instruments.write(self.next_ms, &mut batch);
                self.next_ms += self.period_ms;
            }
            let appended = self.db.append(&batch)?;
            samples += appended.floats + appended.histograms;
        }
        Ok(samples)
    }
}

/// Time of the newest sample of an earlier demo since `from_ms`.
fn newest(db: &Db, from_ms: i64, now_ms: i64) -> Result<Option<i64>> {
    let snapshot = db.snapshot()?;
    let range = TimeRange::new(from_ms, now_ms);
    let mut stream = snapshot.select(&[Matcher::equal(tsq::METRIC_NAME, "up")], range)?;
    let (mut newest, mut samples) = (None, Samples::default());
    loop {
        let batch = stream.next_batch(64)?;
        if batch.is_empty() {
            return Ok(newest);
        }
        for series in batch {
            series.read(Kind::Float, range, &mut samples)?;
            newest = newest.max(samples.times.last().copied());
        }
    }
}

fn welcome(program: &str, address: &str, data: &Path, backfilled: u64, series: usize) -> String {
    let queries = [
        "sum by (model_name) (rate(vllm:request_success_total[1m]))",
        "histogram_quantile(0.95, sum by (le, model_name) (rate(vllm:e2e_request_latency_seconds_bucket[2m])))",
        "train_loss",
    ];
    let mut text = format!(
        "A made-up ML service is running: {} samples of {series} series are there already, more come in.\n\
         It answers on {address} (add that to Grafana as a Prometheus data source); its data lies in {}.\n\n\
         Try in another terminal:\n",
        crate::units::format_count(backfilled),
        data.display(),
    );
    for query in queries {
        text.push_str(&format!("  {program} query --url {address} --last 30m -o plot \\\n    '{query}'\n"));
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn demo(dir: &Path, backfill: &str) -> (Db, Feeder, i64) {
        let data = dir.to_str().unwrap();
        let cli = Cli::try_parse_from(["tsq", "demo", "--data", data, "--backfill", backfill]).unwrap();
        let Command::Demo(args) = cli.command else { unreachable!("the arguments say demo") };
        let (clock, db) = (SystemClock::new(), Db::open(dir, Options::default()).unwrap());
        let feeder = Feeder::new(&db, &clock, &args).unwrap();
        (db, feeder, clock.now_ms())
    }

    fn count(db: &Db, metric: &str) -> usize {
        let snapshot = db.snapshot().unwrap();
        let mut stream = snapshot.select(&[Matcher::equal(tsq::METRIC_NAME, metric)], TimeRange::ALL).unwrap();
        stream.next_batch(1000).unwrap().len()
    }

    #[test]
    fn the_past_is_there_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (db, mut feeder, now_ms) = demo(dir.path(), "5m");
        let samples = feeder.catch_up(now_ms).unwrap();
        assert!(samples > 150 * 250, "{samples}");
        for metric in ["up", "train_loss", "DCGM_FI_DEV_GPU_UTIL", "vllm:e2e_request_latency_seconds_bucket"] {
            assert!(count(&db, metric) >= 3, "{metric}");
        }
        assert_eq!(feeder.catch_up(now_ms).unwrap(), 0);
        db.close().unwrap();
    }

    /// A second demo in the same directory must not write over the first one's past: counters would jump back and
    /// forth between two made-up histories.
    #[test]
    fn a_second_demo_goes_on_where_the_first_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let (db, mut feeder, now_ms) = demo(dir.path(), "5m");
        feeder.catch_up(now_ms).unwrap();
        let newest_ms = newest(&db, 0, now_ms).unwrap().unwrap();
        let cli = Cli::try_parse_from(["tsq", "demo", "--backfill", "1h"]).unwrap();
        let Command::Demo(args) = cli.command else { unreachable!("the arguments say demo") };
        let second = Feeder::new(&db, &SystemClock::new(), &args).unwrap();
        assert_eq!(second.next_ms, newest_ms + 2000);
    }
}
