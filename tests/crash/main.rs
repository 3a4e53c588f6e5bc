//! What survives a crash: a scripted workload on a simulated disk is crashed after every disk operation, in many ways
//! each; every image is opened, checked against what was acknowledged, written to, crashed and opened again.
//!
//! The rule: acknowledged <= recovered <= submitted, whole batches, every bit. `TSQ_CRASH_SEED` sets the seed (printed),
//! `TSQ_CRASH_IMAGES` the images per operation.

mod content;
mod faults;
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use content::{Digest, digest};
use tsq_core::{Clock, Durability, ManualClock, SimDisk};
use workload::{Script, Step, batch_of, open_at};

fn seed() -> u64 {
    let seed = std::env::var("TSQ_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |now| now.as_secs() / 86_400))
}

fn images_per_op() -> usize {
    std::env::var("TSQ_CRASH_IMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// After which operation a step was acknowledged, what the database held then, and when that was.
#[derive(Clone, Copy)]
struct Held {
    op: usize,
    digest: Digest,
    now_ms: i64,
}

struct Recorded {
    disk: SimDisk,
    first_op: usize,
    steps: Vec<Held>,
}

fn record(script: &Script, durability: Durability) -> Recorded {
    let disk = SimDisk::new();
    disk.record();
    let first_op = disk.op_count();
    let mut steps = vec![Held { op: first_op, digest: Digest::EMPTY, now_ms: script.now_ms() }];
    let mut db = None;
    for step in &script.steps {
        script.run(step, &disk, &mut db, durability);
        let digest = db.as_ref().map_or_else(|| steps.last().expect("it has a first").digest, digest);
        steps.push(Held { op: disk.op_count(), digest, now_ms: script.now_ms() });
    }
    drop(db);
    let last = *steps.last().expect("it has a first");
    steps.push(Held { op: disk.op_count(), ..last });
    Recorded { disk, first_op, steps }
}

/// What a database may hold after a crash following operation `op`.
fn allowed(steps: &[Held], op: usize, durability: Durability) -> &[Held] {
    let acknowledged = steps.iter().rposition(|held| held.op <= op).unwrap_or(0);
    let submitted = (acknowledged + 1).min(steps.len() - 1);
    match durability {
        Durability::Always => &steps[acknowledged..=submitted],
        _ => &steps[..=submitted],
    }
}

/// Opens one image, checks it, writes on, crashes again and checks that too. Returns how many recoveries that was.
fn check_image(
    recorded: &Recorded,
    op: usize,
    image: tsq_core::CrashImage,
    seed: u64,
    durability: Durability,
) -> Result<usize, String> {
    let what = image.what().to_owned();
    let context = |message: String| format!("after operation {op} ({}), {what}: {message}", recorded.disk.describe(op));
    let disk = image.into_disk();
    let allowed = allowed(&recorded.steps, op, durability);
    let clock = Arc::new(ManualClock::new(allowed[0].now_ms));
    let db = open_at(&disk, durability, clock.clone()).map_err(|error| context(format!("refuses to open: {error}")))?;
    if !db.damage().is_empty() {
        return Err(context(format!("reports damage: {}", db.damage()[0])));
    }
    // What has expired is not shown: each state is looked for at its own time.
    let mut is_held = |held: &&Held| {
        clock.advance(held.now_ms - clock.now_ms());
        digest(&db) == held.digest
    };
    let Some(found) = allowed.iter().find(&mut is_held).map(|held| held.digest) else {
        let held: Vec<_> = allowed.iter().map(|held| held.digest.samples).collect();
        return Err(context(format!("holds {} samples, allowed are states with {held:?}", digest(&db).samples)));
    };
    // Life goes on: a batch more, acknowledged, then a crash in the worst ways.
    let batch = batch_of(&db, 1_000_000 + op as u64, 40);
    db.append(&batch).map_err(|error| context(format!("refuses to be written: {error}")))?;
    let after = digest(&db);
    let mut recoveries = 1;
    for again in disk.crash_now(seed, 2) {
        let what_again = again.what().to_owned();
        let db = open_at(&again.into_disk(), durability, clock.clone())
            .map_err(|error| context(format!("then {what_again}: refuses to open: {error}")))?;
        let held = digest(&db);
        recoveries += 1;
        let fine = held == after || (durability != Durability::Always && held == found);
        if !fine {
            let message = format!("then {what_again}: holds {} samples instead of {}", held.samples, after.samples);
            return Err(context(message));
        }
    }
    Ok(recoveries)
}

fn crash_everywhere(script: &Script, durability: Durability, images: usize) -> usize {
    let seed = seed();
    println!("seed {seed} (TSQ_CRASH_SEED)");
    let recorded = record(script, durability);
    let ops: Vec<usize> = (recorded.first_op..=recorded.disk.op_count()).filter(|op| *op > recorded.first_op).collect();
    let (next, recoveries) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = on_all_cores(|| {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let op = *ops.get(index)?;
        let mut failed = Vec::new();
        for image in recorded.disk.crash_images(op, seed, images) {
            match check_image(&recorded, op, image, seed, durability) {
                Ok(count) => {
                    recoveries.fetch_add(count, Ordering::Relaxed);
                }
                Err(message) => failed.push(message),
            }
        }
        Some(failed)
    });
    let recoveries = recoveries.into_inner();
    println!("{} disk operations, {recoveries} recoveries, {} failures", ops.len(), failures.len());
    assert!(failures.is_empty(), "seed {seed}: {} failures, the first: {}", failures.len(), failures[0]);
    recoveries
}

/// Runs `work` on all cores until it gives nothing, and gathers what it gave.
fn on_all_cores(work: impl Fn() -> Option<Vec<String>> + Sync) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut gathered = Vec::new();
                    while let Some(more) = work() {
                        gathered.extend(more);
                    }
                    gathered
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    })
}

/// The whole life of a database in mode `always`: nothing acknowledged is lost, nothing appears that was not sent.
#[test]
fn nothing_acknowledged_is_lost_at_any_crash_point() {
    let script = Script::full_life();
    let recoveries = crash_everywhere(&script, Durability::Always, images_per_op());
    assert!(recoveries >= 24_000, "{recoveries} recoveries are too few to mean much");
}

/// In the other modes the newest batches may be lost, never the middle.
#[test]
fn other_modes_keep_a_prefix() {
    for durability in [Durability::Os, Durability::Interval(Duration::from_secs(3600))] {
        crash_everywhere(&Script::short_life(), durability, 8);
    }
}

/// The workload is what the promise speaks of: rotations, late data, flushes, compactions, retention, deletes,
/// snapshot, closes.
#[test]
fn the_workload_covers_what_it_claims() {
    let script = Script::full_life();
    let recorded = record(&script, Durability::Always);
    let count = |wanted: &dyn Fn(&Step) -> bool| script.steps.iter().filter(|step| wanted(step)).count();
    assert!(recorded.disk.op_count() - recorded.first_op >= 3000, "{} operations", recorded.disk.op_count());
    assert!(count(&|step| matches!(step, Step::Compact)) >= 2);
    assert!(count(&|step| matches!(step, Step::Flush)) >= 2);
    assert!(count(&|step| matches!(step, Step::CleanClose)) >= 1);
    assert!(count(&|step| matches!(step, Step::UncleanClose)) >= 1);
    assert!(count(&|step| matches!(step, Step::Backup(_))) >= 1);
    assert!(count(&|step| matches!(step, Step::Late(_))) >= 3);
    assert!(count(&|step| matches!(step, Step::Delete(_))) >= 12 && count(&|step| matches!(step, Step::Clean)) >= 5);
    let held = |at: usize| recorded.steps[at].digest;
    for (at, step) in script.steps.iter().enumerate() {
        // The first of the recorded states is that before the first step.
        match step {
            Step::Delete(_) => assert!(held(at + 1).samples < held(at).samples, "step {at} deletes something"),
            Step::Clean | Step::Flush => assert_eq!(held(at + 1), held(at), "step {at} changes nothing that is seen"),
            _ => {}
        }
    }
    let samples: Vec<u64> = recorded.steps.iter().map(|held| held.digest.samples).collect();
    assert!(samples.windows(2).any(|pair| pair[1] < pair[0]), "retention drops something");
    let rotations = (0..recorded.disk.op_count() - recorded.first_op)
        .map(|op| recorded.disk.describe(recorded.first_op + op + 1))
        .filter(|what| what.starts_with("create") && what.contains(".log"))
        .count();
    assert!(rotations >= 5, "{rotations} log segments");
}
