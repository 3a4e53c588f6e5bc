//! A training loop that logs its metrics by step, and looks back at them while it runs and afterwards.
//!
//! `cargo run --release -p tsq --example training_loop [DIR]`; without a directory it uses a temporary one.

use std::time::{SystemTime, UNIX_EPOCH};

use tsq::{Db, Kind, Labels, METRIC_NAME, Options, SeriesHandle, SourceExt, TimeRange};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A linear model `w * x + b`, trained by gradient descent.
struct Model {
    w: f64,
    b: f64,
}

impl Model {
    /// One pass over the data; gives loss and norm of the gradient.
    fn step(&mut self, data: &[(f64, f64)], rate: f64) -> (f64, f64) {
        let (mut loss, mut grad_w, mut grad_b) = (0.0, 0.0, 0.0);
        for (x, y) in data {
            let error = self.w * x + self.b - y;
            loss += error * error;
            grad_w += 2.0 * error * x;
            grad_b += 2.0 * error;
        }
        let count = data.len() as f64;
        self.w -= rate * grad_w / count;
        self.b -= rate * grad_b / count;
        (loss / count, (grad_w / count).hypot(grad_b / count))
    }
}

/// The metrics of one run.
struct Run {
    loss: SeriesHandle,
    grad_norm: SeriesHandle,
}

impl Run {
    fn new(db: &Db, run_id: &str) -> Result<Self> {
        let series = |name: &str| -> Result<SeriesHandle> {
            Ok(db.series(Kind::Run, &Labels::from_pairs([(METRIC_NAME, name), ("run_id", run_id)])?)?)
        };
        Ok(Self { loss: series("loss")?, grad_norm: series("grad_norm")? })
    }
}

fn now_ms() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

fn main() -> Result<()> {
    let temporary = std::env::temp_dir().join(format!("tsq-training-{}", std::process::id()));
    let dir = std::env::args_os().nth(1).map_or_else(|| temporary.clone(), Into::into);
    let db = Db::open(&dir, Options::default())?;

    let data: Vec<_> =
        (0..64).map(|i| f64::from(i) / 64.0).map(|x| (x, 3.0 * x - 1.0 + 0.05 * (40.0 * x).sin())).collect();
    for (run_id, rate) in [("rate-0.05", 0.05), ("rate-0.5", 0.5), ("rate-1.7", 1.7)] {
        let (run, mut model, mut batch) = (Run::new(&db, run_id)?, Model { w: 0.0, b: 0.0 }, db.batch());
        for step in 0..400 {
            let (loss, grad_norm) = model.step(&data, rate);
            let time_ms = now_ms()?;
            batch.series_handle(&run.loss);
            batch.run(time_ms, step, loss);
            batch.series_handle(&run.grad_norm);
            batch.run(time_ms, step, grad_norm);
            // Many points may share a millisecond: steps keep them apart. One write for every 100 steps.
            if step % 100 == 99 {
                db.append(&batch)?;
                batch.clear();
            }
        }
    }

    println!("{:10} {:>6} {:>10} {:>10} {:>10}", "run", "steps", "first", "best", "last");
    let snapshot = db.snapshot()?;
    for series in snapshot.series("loss", TimeRange::ALL)? {
        let (labels, _, samples) = series?;
        let best = samples.values.iter().copied().fold(f64::INFINITY, f64::min);
        let (first, last) = (samples.values[0], samples.values[samples.len() - 1]);
        let run_id = labels.get("run_id").unwrap_or("");
        println!("{run_id:10} {:>6} {first:>10.5} {best:>10.5} {last:>10.5}", samples.len());
    }
    drop(snapshot);
    db.close()?;
    if dir == temporary {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}
