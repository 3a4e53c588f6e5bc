//! Errors at every disk operation: nothing panics, nothing acknowledged is lost, and what the disk refuses for lack of
//! space succeeds later.

use std::io;

use tsq_core::{Durability, ErrorKind, Fault, SimDisk};

use crate::content::{Digest, digest};
use crate::workload::{Script, Step, batch_of, delete, late_batch, open};

/// What became of the batches and deletes of a script, in order.
#[derive(Default)]
struct Outcome(Vec<(Step, Fate)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// Refused: may be there whole, or not at all.
    Doubtful,
}

impl Outcome {
    fn push(&mut self, step: Step, is_acknowledged: bool) {
        self.0.push((step, if is_acknowledged { Fate::Acknowledged } else { Fate::Doubtful }));
    }

    fn with(&self, fate: Fate) -> impl Iterator<Item = &Step> {
        self.0.iter().filter(move |(_, own)| *own == fate).map(|(step, _)| step)
    }

    fn count(&self, fate: Fate) -> usize {
        self.with(fate).count()
    }
}

/// Runs a script in which one operation fails; refused steps are tried once more.
fn run_with_fault(script: &Script, disk: &SimDisk) -> Outcome {
    let mut outcome = Outcome::default();
    let Ok(db) = open(disk, Durability::Always).or_else(|_| open(disk, Durability::Always)) else { return outcome };
    for step in &script.steps {
        match *step {
            Step::Batch(_) | Step::Late(_) => {
                let batch = content(&db, step);
                let mut result = db.append(&batch);
                if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) {
                    outcome.push(*step, false);
                    result = db.append(&batch);
                    assert!(result.is_ok(), "space is back, but: {result:?}");
                }
                assert!(result.as_ref().is_ok_and(|appended| appended.rejected == 0) || result.is_err());
                outcome.push(*step, result.is_ok());
            }
            Step::Delete(number) => outcome.push(*step, delete(&db, number).is_ok()),
            // A failed flush, compaction or cleaning loses nothing.
            Step::Clean => drop(db.clean_tombstones()),
            Step::Flush => drop(db.flush()),
            Step::Compact => drop(db.compact()),
            _ => {}
        }
    }
    let _ = db.close();
    outcome
}

fn content(db: &tsq_core::Db, step: &Step) -> tsq_core::Batch {
    match *step {
        Step::Batch(number) => batch_of(db, number, 12),
        Step::Late(number) => late_batch(db, number),
        _ => unreachable!("only batches have content"),
    }
}

/// The digests of all databases in which the acknowledged steps happened and any of the doubtful ones.
fn allowed(outcome: &Outcome) -> Vec<Digest> {
    let doubtful = outcome.count(Fate::Doubtful);
    assert!(doubtful <= 3 || outcome.count(Fate::Acknowledged) == 0 || doubtful_are_a_tail(outcome));
    let tail = doubtful.min(3);
    (0..1_u32 << tail)
        .map(|choice| {
            let db = open(&SimDisk::new(), Durability::Os).expect("an empty disk opens");
            let mut asked = 0;
            for (step, fate) in &outcome.0 {
                if *fate == Fate::Doubtful {
                    asked += 1;
                    if asked > tail || choice >> (asked - 1) & 1 == 0 {
                        continue;
                    }
                }
                match *step {
                    Step::Delete(number) => drop(delete(&db, number).expect("the model deletes")),
                    _ => drop(db.append(&content(&db, step)).expect("the model takes the batch")),
                }
            }
            digest(&db)
        })
        .collect()
}

/// After a failed sync the log takes nothing more: all later batches are refused before they are written anywhere.
fn doubtful_are_a_tail(outcome: &Outcome) -> bool {
    let number = |step: &Step| if let Step::Batch(number) = step { *number } else { 0 };
    let last = outcome.with(Fate::Acknowledged).map(number).max().unwrap_or(0);
    outcome.with(Fate::Doubtful).all(|step| number(step) >= last || matches!(step, Step::Late(_) | Step::Delete(_)))
}

/// An error of each sort at each operation of a short life.
#[test]
fn errors_at_any_operation_lose_nothing() {
    let script = Script::short_life();
    let clean = SimDisk::new();
    run_with_fault(&script, &clean);
    let ops = clean.op_count();
    let faults = [
        Fault::Error(io::ErrorKind::StorageFull),
        Fault::Short(io::ErrorKind::StorageFull),
        Fault::Error(io::ErrorKind::Other),
        Fault::Short(io::ErrorKind::Other),
    ];
    let mut injected = 0;
    for op in 1..=ops {
        for fault in faults {
            let disk = SimDisk::new();
            disk.fail_at(op, fault);
            let outcome = run_with_fault(&script, &disk);
            disk.clear_faults();
            disk.end_process();
            let db = open(&disk, Durability::Always)
                .unwrap_or_else(|error| panic!("operation {op} with {fault:?}: refuses to open: {error}"));
            assert!(db.damage().is_empty(), "operation {op} with {fault:?}: {:?}", db.damage());
            let found = digest(&db);
            let allowed = allowed(&outcome);
            assert!(
                allowed.contains(&found),
                "operation {op} with {fault:?}: {} samples, {} acknowledged batches, {} refused",
                found.samples,
                outcome.count(Fate::Acknowledged),
                outcome.count(Fate::Doubtful)
            );
            injected += 1;
        }
    }
    println!("{injected} errors injected into {ops} operations");
    assert!(injected >= 900, "{injected} errors are too few to mean much");
}

/// A disk that is full for a while: writes are refused as retryable, reads go on, and writes resume.
#[test]
fn a_full_disk_refuses_writes_and_recovers_by_itself() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::Always).expect("an empty disk opens");
    let mut acknowledged = 0;
    let mut refused = 0;
    for number in 0..400 {
        match number {
            100 => disk.set_free_space(3000),
            200 => disk.set_free_space(1 << 30),
            _ => {}
        }
        match db.append(&batch_of(&db, number, 12)) {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                assert!((100..200).contains(&number), "batch {number}: {error}");
                refused += 1;
                digest(&db);
            }
        }
    }
    assert!(refused > 50 && acknowledged > 300, "{refused} refused, {acknowledged} acknowledged");
    let before = digest(&db);
    std::mem::forget(db);
    for image in disk.crash_now(1, 16) {
        let db = open(&image.into_disk(), Durability::Always).expect("opens after the crash");
        assert_eq!(digest(&db), before);
    }
}
