//! The log on a simulated disk: order, rotation, crashes, a full disk, a failed sync, damage.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::disk::{Fault, SimDisk};

const DIR: &str = "/db/log";
const DB_ID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

/// LSNs and payloads.
type Records = Vec<(u64, Vec<u8>)>;

/// A log over a disk, and the records it held when it was opened.
struct Bench {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    wal: Wal,
    end: ReplayEnd,
    records: Records,
}

fn read_back(disk: &SimDisk, from_lsn: u64) -> Result<(Records, ReplayEnd)> {
    let mut records = Vec::new();
    let end = replay(disk, Path::new(DIR), DB_ID, from_lsn, &mut |record| {
        records.push((record.lsn, record.payload.to_vec()));
        Ok(())
    })?;
    Ok((records, end))
}

fn fresh_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/db")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn open_with(disk: &SimDisk, options: WalOptions) -> Bench {
    let (records, end) = read_back(disk, 0).unwrap();
    assert_eq!(end.damage, [], "no damage");
    repair(disk, Path::new(DIR), &end).unwrap();
    let clock = Arc::new(ManualClock::new(1_000));
    let generation = end.generation().unwrap_or(0) + 1;
    let wal = Wal::create(Arc::new(disk.clone()), clock.clone(), DIR.into(), options, &end, generation).unwrap();
    Bench { disk: disk.clone(), clock, wal, end, records }
}

fn options(durability: Durability) -> WalOptions {
    WalOptions { durability, segment_bytes: 2_000, db_id: DB_ID }
}

fn open(disk: &SimDisk) -> Bench {
    open_with(disk, options(Durability::Always))
}

/// A payload that tells which record it is of, 20 to 120 bytes long.
fn payload(number: u64) -> Vec<u8> {
    let len = 20 + (number * 37 % 100) as usize;
    (0..len).map(|index| (number as usize * 31 + index) as u8).collect()
}

impl Bench {
    fn append(&self, number: u64) -> Result<u64> {
        self.wal.lock().append(RecordType::Batch, &payload(number))
    }

    fn write(&self, number: u64) -> Result<u64> {
        let lsn = self.append(number)?;
        self.wal.commit(lsn)?;
        Ok(lsn)
    }

    fn fail_next(&self, ahead: usize, fault: Fault) {
        self.disk.fail_at(self.disk.op_count() + ahead, fault);
    }
}

fn numbered(lsns: impl IntoIterator<Item = u64>) -> Records {
    lsns.into_iter().map(|lsn| (lsn, payload(lsn))).collect()
}

#[test]
fn records_come_back_in_order_over_segments_and_reopenings() {
    let disk = fresh_disk();
    for round in 0..4 {
        let bench = open(&disk);
        assert_eq!(bench.records, numbered(1..=round * 50));
        for number in round * 50 + 1..=round * 50 + 50 {
            assert_eq!(bench.write(number).unwrap(), number);
            assert_eq!(bench.wal.committed_lsn(), number);
            assert_eq!(bench.wal.durable_lsn(), number);
        }
        if round % 2 == 0 {
            bench.wal.close().unwrap();
            assert_eq!(bench.append(999).unwrap_err().kind(), ErrorKind::Closed);
        }
    }
    let bench = open(&disk);
    assert_eq!(bench.records.len(), 200);
    let segments = bench.wal.segments();
    assert!(segments.len() >= 8, "{segments:?}");
    assert!(segments.iter().all(|segment| segment.bytes <= 2_000));
    assert_eq!(bench.wal.total_bytes(), segments.iter().map(|segment| segment.bytes).sum::<u64>());
    assert_eq!(bench.end.torn, None);
}

#[test]
fn opening_without_writing_creates_no_segment() {
    let disk = fresh_disk();
    open(&disk).write(1).unwrap();
    for _ in 0..3 {
        let bench = open(&disk);
        assert_eq!(bench.end.next_segment, 2);
        bench.wal.close().unwrap();
    }
    assert_eq!(disk.list(Path::new(DIR)).unwrap().len(), 1);
}

#[test]
fn a_rotation_begins_a_generation_in_its_own_segment() {
    let disk = fresh_disk();
    let bench = open(&disk);
    for number in 1..=10 {
        bench.append(number).unwrap();
    }
    let segment = bench.wal.lock().rotate(7).unwrap();
    assert_eq!(bench.wal.generation_bytes(), 0);
    for number in 11..=13 {
        bench.append(number).unwrap();
    }
    bench.wal.commit(13).unwrap();
    assert!(bench.wal.generation_bytes() > 0);
    let mut generations = Vec::new();
    replay(&disk, Path::new(DIR), DB_ID, 0, &mut |record| {
        generations.push((record.lsn, record.generation));
        Ok(())
    })
    .unwrap();
    assert!(generations.iter().all(|&(lsn, generation)| generation == if lsn <= 10 { 1 } else { 7 }));
    bench.wal.delete_below(segment).unwrap();
    let (records, end) = read_back(&disk, 10).unwrap();
    assert_eq!(records, numbered(11..=13));
    assert!(end.damage.is_empty() && end.segments.len() == 1);
}

#[test]
fn everything_flushed_may_be_deleted_without_losing_count() {
    let disk = fresh_disk();
    let bench = open(&disk);
    for number in 1..=60 {
        bench.write(number).unwrap();
    }
    let segment = bench.wal.lock().rotate(2).unwrap();
    bench.wal.delete_below(segment).unwrap();
    assert_eq!(bench.wal.segments().len(), 1, "the newest stays until it is continued");
    let (records, end) = read_back(&disk, 60).unwrap();
    assert!(records.is_empty() && end.damage.is_empty());
    assert_eq!(end.next_lsn, 61);
    bench.write(61).unwrap();
    bench.wal.delete_below(segment).unwrap();
    let (records, end) = read_back(&disk, 60).unwrap();
    assert_eq!((records, end.damage), (numbered([61]), Vec::new()));
    let (_, end) = read_back(&disk, 30).unwrap();
    assert_eq!(end.damage.len(), 1, "an older manifest misses what was deleted");
    assert_eq!(end.damage[0].lost, 31..=60);
}

#[test]
fn sync_creates_the_segment_that_a_rotation_asked_for() {
    let disk = fresh_disk();
    let bench = open(&disk);
    bench.write(1).unwrap();
    let segment = bench.wal.lock().rotate(2).unwrap();
    bench.wal.sync().unwrap();
    bench.wal.delete_below(segment).unwrap();
    assert_eq!(bench.wal.segments().iter().map(|segment| segment.number).collect::<Vec<_>>(), [segment]);
    assert_eq!(bench.write(2).unwrap(), 2);
    assert_eq!(read_back(&disk, 1).unwrap().0, numbered([2]));
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let disk = fresh_disk();
    let bench = open(&disk);
    bench.write(1).unwrap();
    let large = vec![7; 10_000];
    let lsn = bench.wal.lock().append(RecordType::Batch, &large).unwrap();
    bench.wal.commit(lsn).unwrap();
    bench.write(3).unwrap();
    let (records, end) = read_back(&disk, 0).unwrap();
    assert_eq!(records, [(1, payload(1)), (2, large), (3, payload(3))]);
    assert_eq!(end.segments.len(), 3);
}

/// What the workload was told, for the oracle of the crash tests.
#[derive(Clone, Debug, Default)]
struct Told {
    /// Highest LSN acknowledged after each disk operation.
    acknowledged: Vec<u64>,
    appended: u64,
}

/// Appends, group commits, rotations, deletions, idleness, closing and reopening, recorded operation by operation.
fn workload(disk: &SimDisk, options: WalOptions, told: &mut Told) {
    for round in 0..3_u64 {
        let bench = open_with(disk, options);
        for step in 0..60_u64 {
            let count = if step % 7 == 0 { 3 } else { 1 };
            for _ in 0..count {
                told.appended += 1;
                assert_eq!(bench.append(told.appended).unwrap(), told.appended);
            }
            bench.wal.commit(told.appended).unwrap();
            told.acknowledged.resize(disk.op_count(), bench.end.next_lsn - 1);
            *told.acknowledged.last_mut().unwrap() = told.appended;
            let mut last = 0;
            for acknowledged in &mut told.acknowledged {
                *acknowledged = last.max(*acknowledged);
                last = *acknowledged;
            }
            bench.clock.advance(if step % 10 == 9 { 60 } else { 1 });
            bench.wal.idle().unwrap();
            if step == 30 {
                bench.wal.lock().rotate(round + 10).unwrap();
            }
        }
        if round == 1 {
            bench.wal.close().unwrap();
        }
    }
}

/// Crashes after every operation of the workload; each image must open without damage and hold, in order, at least
/// what was acknowledged and at most what was appended. Then it is written to and crashed again.
fn crash_everywhere(durability: Durability, images: usize, acknowledged_survives: bool) -> usize {
    let disk = fresh_disk();
    disk.record();
    let first = disk.op_count();
    let mut told = Told { acknowledged: vec![0; first], appended: 0 };
    workload(&disk, options(durability), &mut told);
    told.acknowledged.resize(disk.op_count(), told.appended);
    let mut recoveries = 0;
    for op in first..=disk.op_count() {
        let acknowledged = if op == 0 { 0 } else { told.acknowledged[op - 1] };
        for image in disk.crash_images(op, 42, images) {
            let what = format!("operation {op} ({}), {}", disk.describe(op), image.what());
            // When the process dies but not the machine, everything it wrote is there.
            let killed = image.what().starts_with("all");
            let crashed = image.into_disk();
            let (records, end) = read_back(&crashed, 0).unwrap();
            assert_eq!(end.damage, [], "{what}");
            assert_eq!(records, numbered(1..=records.len() as u64), "{what}");
            let recovered = records.len() as u64;
            assert!(recovered <= told.appended, "{what}");
            if acknowledged_survives || killed {
                assert!(recovered >= acknowledged, "{recovered} of {acknowledged} records after {what}");
            }
            crash_again(&crashed, recovered, durability, &what);
            recoveries += 1;
        }
    }
    recoveries
}

/// Recovery, two more records, and a crash at one of its operations.
fn crash_again(disk: &SimDisk, recovered: u64, durability: Durability, what: &str) {
    disk.record();
    let start = disk.op_count();
    let bench = open_with(disk, options(durability));
    assert_eq!(bench.records.len() as u64, recovered, "{what}");
    // Numbers of records that were cut are not used again, so later payloads are told apart by position.
    let first = bench.write(recovered + 1).unwrap();
    bench.write(recovered + 2).unwrap();
    assert!(first > recovered, "{what}");
    let op = start + recovered as usize % (disk.op_count() - start + 1);
    for image in disk.crash_images(op, recovered, 2) {
        let what = format!("{what}; then operation {op} ({}), {}", disk.describe(op), image.what());
        let (records, end) = read_back(&image.into_disk(), 0).unwrap();
        assert_eq!(end.damage, [], "{what}");
        assert!(records.len() as u64 >= recovered, "{what}");
        let payloads: Vec<_> = records.into_iter().map(|(_, payload)| payload).collect();
        let count = payloads.len() as u64;
        assert_eq!(payloads, (1..=count).map(payload).collect::<Vec<_>>(), "{what}");
    }
    let (records, _) = read_back(disk, 0).unwrap();
    assert_eq!(records.len() as u64, recovered + 2, "{what}");
}

#[test]
fn nothing_acknowledged_is_lost_at_any_crash_point() {
    let recoveries = crash_everywhere(Durability::Always, 8, true);
    assert!(recoveries > 2_000, "{recoveries} recoveries");
}

#[test]
fn in_the_other_modes_a_prefix_survives() {
    crash_everywhere(Durability::Interval(Duration::from_millis(20)), 8, false);
    crash_everywhere(Durability::Os, 8, false);
}

#[test]
fn interval_mode_syncs_when_due() {
    let disk = fresh_disk();
    let bench = open_with(&disk, options(Durability::Interval(Duration::from_millis(20))));
    bench.write(1).unwrap();
    assert_eq!((bench.wal.committed_lsn(), bench.wal.durable_lsn()), (1, 0));
    bench.wal.idle().unwrap();
    assert_eq!(bench.wal.durable_lsn(), 0);
    bench.clock.advance(20);
    bench.wal.idle().unwrap();
    assert_eq!(bench.wal.durable_lsn(), 1);
    bench.clock.advance(19);
    bench.write(2).unwrap();
    assert_eq!(bench.wal.durable_lsn(), 1);
    bench.clock.advance(1);
    bench.write(3).unwrap();
    assert_eq!(bench.wal.durable_lsn(), 3);
}

/// Prometheus answered requests after its disk had been full, and deleted them at the next start: its log went on
/// behind the half record that had not fitted, and recovery cut the log at that half record.
#[test]
fn a_full_disk_refuses_records_and_loses_none_that_came_after() {
    let disk = fresh_disk();
    let bench = open(&disk);
    for number in 1..=5 {
        bench.write(number).unwrap();
    }
    let mut kept: Records = numbered(1..=5);
    for (round, space) in [0_u64, 1, 25, 26, 60, 80, 85, 300].into_iter().enumerate() {
        disk.set_free_space(space);
        let mut last = bench.wal.committed_lsn();
        // Reserved space of the open segment is used up first.
        let failed = loop {
            let lsn = bench.append(last + 1).unwrap();
            assert_eq!(lsn, last + 1);
            last = lsn;
            match bench.wal.commit(lsn) {
                Ok(()) => kept.push((lsn, payload(lsn))),
                Err(failed) => break failed,
            }
        };
        assert_eq!(failed.error.kind(), ErrorKind::StorageFull);
        assert_eq!(failed.lost, last..=last);
        assert_eq!(bench.append(0).unwrap_err().kind(), ErrorKind::StorageFull, "until the engine took it back");
        for image in disk.crash_now(round as u64, 16) {
            let what = image.what().to_owned();
            let (mut records, end) = read_back(&image.into_disk(), 0).unwrap();
            assert_eq!(end.damage, [], "{what}");
            records.truncate(kept.len());
            assert_eq!(records, kept, "{what}");
        }
        disk.set_free_space(10_000);
        assert!(bench.wal.has_failed());
        bench.wal.resume();
        for _ in 0..3 {
            let next = bench.wal.lock().last_lsn() + 1;
            let lsn = bench.write(next).unwrap();
            assert!(lsn > *failed.lost.end(), "no number is used twice");
            kept.push((lsn, payload(lsn)));
        }
        for image in disk.crash_now(round as u64, 16) {
            let (records, end) = read_back(&image.into_disk(), 0).unwrap();
            assert_eq!((records, end.damage), (kept.clone(), Vec::new()));
        }
        assert_eq!(bench.wal.commit(*failed.lost.end()).unwrap_err().lost, failed.lost, "a late waiter is told too");
    }
}

#[test]
fn a_refused_write_fails_all_that_wait_and_nothing_before() {
    let disk = fresh_disk();
    let bench = open(&disk);
    bench.write(1).unwrap();
    for number in 2..=4 {
        bench.append(number).unwrap();
    }
    bench.fail_next(1, Fault::Short(std::io::ErrorKind::StorageFull));
    for lsn in 2..=4 {
        let failed = bench.wal.commit(lsn).unwrap_err();
        assert_eq!((failed.error.kind(), failed.lost), (ErrorKind::StorageFull, 2..=4));
    }
    bench.wal.commit(1).unwrap();
    assert_eq!((bench.wal.committed_lsn(), bench.wal.durable_lsn()), (1, 1));
    bench.wal.resume();
    assert_eq!(bench.write(5).unwrap(), 5);
    assert_eq!(read_back(&disk, 0).unwrap().0, numbered([1, 5]));
}

/// Writers go on as the engine does, while the disk is full now and then.
#[test]
fn writers_in_threads_survive_a_disk_that_is_full_now_and_then() {
    let disk = fresh_disk();
    let bench = open(&disk);
    let (threads, each) = (4, 150);
    let refusals = AtomicU64::new(0);
    let kept: Vec<Records> = std::thread::scope(|scope| {
        let (wal, refusals) = (&bench.wal, &refusals);
        let write = move |thread: usize| {
            let mut kept = Vec::new();
            while kept.len() < each {
                let payload = vec![thread as u8; 10 + kept.len()];
                let appended = wal.lock().append(RecordType::Batch, &payload);
                match appended.and_then(|lsn| wal.commit(lsn).map(|()| lsn).map_err(Error::from)) {
                    Ok(lsn) => kept.push((lsn, payload)),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::StorageFull);
                        refusals.fetch_add(1, Ordering::Relaxed);
                        wal.resume();
                    }
                }
            }
            kept
        };
        disk.set_free_space(50);
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || write(thread))).collect();
        while refusals.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        while handles.iter().any(|handle| !handle.is_finished()) {
            for bytes in [0, 50, 700, 10_000] {
                disk.set_free_space(bytes);
                std::thread::yield_now();
            }
        }
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let (records, end) = read_back(&disk, 0).unwrap();
    assert_eq!(end.damage, []);
    let all: std::collections::BTreeMap<u64, Vec<u8>> = records.into_iter().collect();
    assert_eq!(all.len(), threads * each, "what was refused is not there");
    assert!(kept.iter().flatten().all(|(lsn, payload)| all.get(lsn) == Some(payload)));
}

#[test]
fn a_failed_sync_ends_all_writing() {
    let disk = fresh_disk();
    let bench = open(&disk);
    bench.write(1).unwrap();
    bench.append(2).unwrap();
    bench.fail_next(2, Fault::Error(std::io::ErrorKind::Other));
    let failed = bench.wal.commit(2).unwrap_err();
    assert_eq!((failed.error.kind(), failed.lost), (ErrorKind::ReadOnly, 2..=2));
    let ops = disk.op_count();
    assert_eq!(bench.append(3).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(bench.wal.lock().rotate(9).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(bench.wal.sync().unwrap_err().kind(), ErrorKind::ReadOnly);
    bench.wal.idle().unwrap();
    assert_eq!(bench.wal.close().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(disk.op_count(), ops, "the file is not touched again");
    assert_eq!(bench.wal.committed_lsn(), 1);
    for image in disk.crash_now(1, 16) {
        let (records, end) = read_back(&image.into_disk(), 0).unwrap();
        assert!(end.damage.is_empty() && (records == numbered([1]) || records == numbered(1..=2)));
    }
}

/// Every operation fails once, with each kind of fault: nothing acknowledged is lost, and the log is either usable or
/// read-only.
#[test]
fn an_error_at_any_operation_loses_nothing() {
    let run = |fault: Option<(usize, Fault)>| {
        let disk = fresh_disk();
        if let Some((op, fault)) = fault {
            disk.fail_at(op, fault);
        }
        let made = Wal::create(
            Arc::new(disk.clone()),
            Arc::new(ManualClock::new(0)),
            DIR.into(),
            options(Durability::Always),
            &ReplayEnd::empty(0),
            1,
        );
        let mut kept = Vec::new();
        let Ok(wal) = made else { return (disk, kept, false) };
        let mut number = 0;
        for step in 0..60 {
            number += 1;
            let appended = wal.lock().append(RecordType::Batch, &payload(number));
            match appended.and_then(|lsn| wal.commit(lsn).map(|()| lsn).map_err(Error::from)) {
                Ok(lsn) => kept.push((lsn, payload(number))),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::Io | ErrorKind::ReadOnly));
                    number = wal.lock().last_lsn();
                    wal.resume();
                }
            }
            if step % 25 == 24 {
                let _ = wal.lock().rotate(step);
            }
        }
        let usable = wal.lock().append(RecordType::Batch, &payload(0)).is_ok();
        (disk, kept, usable)
    };
    let (disk, kept, _) = run(None);
    assert_eq!(kept.len(), 60);
    let mut injections = 0;
    for op in 3..=disk.op_count() {
        for fault in [
            Fault::Error(std::io::ErrorKind::StorageFull),
            Fault::Error(std::io::ErrorKind::Other),
            Fault::Short(std::io::ErrorKind::StorageFull),
            Fault::Short(std::io::ErrorKind::Other),
        ] {
            let (disk, kept, usable) = run(Some((op, fault)));
            assert!(kept.len() >= 58 || !usable, "operation {op}, {fault:?}: {} records, usable", kept.len());
            for image in disk.crash_now(op as u64, 4) {
                let what = format!("operation {op}, {fault:?}, {}", image.what());
                let (records, end) = read_back(&image.into_disk(), 0).unwrap();
                assert_eq!(end.damage, [], "{what}");
                let mut rest = records.iter();
                assert!(kept.iter().all(|kept| rest.any(|record| record == kept)), "{what}");
            }
            injections += 1;
        }
    }
    assert!(injections > 500, "{injections}");
}

#[test]
fn writers_in_threads_share_syncs_and_keep_order() {
    let disk = fresh_disk();
    let bench = open_with(&disk, WalOptions { segment_bytes: 1 << 20, ..options(Durability::Always) });
    let ops = disk.op_count();
    let (threads, each) = (8, 200);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let wal = &bench.wal;
            scope.spawn(move || {
                for index in 0..each {
                    let payload = [thread as u8, index as u8];
                    let lsn = wal.lock().append(RecordType::Batch, &payload).unwrap();
                    wal.commit(lsn).unwrap();
                    assert!(wal.durable_lsn() >= lsn);
                }
            });
        }
    });
    let (records, _) = read_back(&disk, 0).unwrap();
    assert_eq!(records.len(), threads * each);
    assert!(records.iter().enumerate().all(|(index, (lsn, _))| *lsn == index as u64 + 1));
    let mut seen = vec![0; threads];
    for (_, payload) in records {
        let next = &mut seen[usize::from(payload[0])];
        assert_eq!(usize::from(payload[1]), *next % 256, "each writer's records are in its order");
        *next += 1;
    }
    assert!(disk.op_count() - ops <= 2 * threads * each + 10);
}

/// A reader in another process sees a file while it is written: never damage, always a prefix.
#[test]
fn readers_beside_a_writer_see_a_prefix_on_the_real_disk() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::RealDisk);
    let options = WalOptions { segment_bytes: 20_000, ..options(Durability::Os) };
    let clock = Arc::new(crate::clock::SystemClock::new());
    let read_back = |from_lsn| {
        let mut records = Vec::new();
        let end = replay(&*disk, &dir, DB_ID, from_lsn, &mut |record| {
            records.push((record.lsn, record.payload.to_vec()));
            Ok(())
        });
        end.map(|end| (records, end))
    };
    let wal = Wal::create(disk.clone(), clock.clone(), dir.clone(), options, &ReplayEnd::empty(0), 1).unwrap();
    let total = 3_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=total {
                let lsn = wal.lock().append(RecordType::Batch, &payload(number)).unwrap();
                wal.commit(lsn).unwrap();
            }
        });
        let mut seen = 0;
        while seen < total {
            let (records, end) = read_back(0).unwrap();
            assert_eq!(end.damage, []);
            assert!(records.len() as u64 >= seen);
            seen = records.len() as u64;
            assert_eq!(records, numbered(1..=seen));
        }
    });
    wal.close().unwrap();
    let (_, end) = read_back(0).unwrap();
    assert_eq!((end.torn.clone(), end.next_lsn), (None, total + 1));
    repair(&*disk, &dir, &end).unwrap();
    let wal = Wal::create(disk.clone(), clock, dir.clone(), options, &end, 2).unwrap();
    let lsn = wal.lock().append(RecordType::Batch, &payload(total + 1)).unwrap();
    wal.commit(lsn).unwrap();
    drop(wal);
    assert_eq!(read_back(total - 1).unwrap().0, numbered(total..=total + 1));
}

#[test]
fn one_commit_covers_all_that_was_appended_before_it() {
    let disk = fresh_disk();
    let bench = open(&disk);
    bench.write(1).unwrap();
    let ops = disk.op_count();
    for number in 2..=9 {
        bench.append(number).unwrap();
    }
    bench.wal.commit(2).unwrap();
    assert_eq!(disk.op_count() - ops, 2, "one write, one sync");
    assert_eq!(bench.wal.durable_lsn(), 9);
    bench.wal.commit(9).unwrap();
    assert_eq!(disk.op_count() - ops, 2);
}

/// Files of the log, with their segment's number and the offset at which each record begins.
fn segment_path(number: u64) -> PathBuf {
    segment::path(Path::new(DIR), number)
}

#[test]
fn damage_that_the_log_proves_is_loud_and_the_rest_is_delivered() {
    let disk = fresh_disk();
    let bench = open(&disk);
    for number in 1..=40 {
        bench.write(number).unwrap();
    }
    bench.wal.close().unwrap();
    let segments = bench.wal.segments();
    assert!(segments.len() >= 3);
    for segment in &segments {
        let path = segment_path(segment.number);
        let len = disk.len(&path).unwrap();
        for at in 0..len {
            let image = disk.crash_now(0, 1).remove(0).into_disk();
            image.damage(&path, |bytes| bytes[at as usize] ^= 1 << (at % 8)).unwrap();
            let (records, end) = read_back(&image, 0).unwrap();
            let what = format!("byte {at} of segment {}", segment.number);
            // The very last commit record is not itself covered: nothing is lost with it, and it counts as a torn tail.
            let last = segment.number == segments.last().unwrap().number;
            let commit_record = last && at >= len - record::frame_len(0) as u64;
            assert_eq!(end.damage.is_empty(), commit_record, "{what}");
            assert_eq!(end.torn.is_some(), commit_record, "{what}");
            let lost: Vec<u64> = end.damage.iter().flat_map(|damage| damage.lost.clone()).collect();
            let want: Vec<u64> = (1..=40).filter(|lsn| !lost.contains(lsn)).collect();
            assert_eq!(records, numbered(want), "{what}");
            assert!(lost.len() <= usize::from(at >= segment::HEADER_LEN as u64), "{what}: {lost:?}");
            if at >= segment::HEADER_LEN as u64 {
                assert!(end.damage.iter().all(|damage| damage.path == path && damage.offset <= at), "{what}");
            }
            assert!(end.next_lsn > 40 && end.next_segment > segments.last().unwrap().number, "{what}");
        }
    }
}

#[test]
fn a_segment_without_a_readable_header_is_lost_as_a_whole() {
    let disk = fresh_disk();
    let bench = open(&disk);
    for number in 1..=40 {
        bench.write(number).unwrap();
    }
    bench.wal.close().unwrap();
    for segment in bench.wal.segments() {
        let image = disk.crash_now(0, 1).remove(0).into_disk();
        image.damage(&segment_path(segment.number), |bytes| bytes[20..40].fill(0x55)).unwrap();
        let (records, end) = read_back(&image, 0).unwrap();
        let [damage] = &end.damage[..] else { panic!("{:?}", end.damage) };
        assert!(records.iter().all(|(lsn, _)| !damage.lost.contains(lsn)));
        assert!((1..=40).all(|lsn| damage.lost.contains(&lsn) || records.iter().any(|(found, _)| *found == lsn)));
        assert!(end.next_lsn > 40);
    }
}

#[test]
fn a_missing_or_shortened_segment_is_loud() {
    let disk = fresh_disk();
    let bench = open(&disk);
    for number in 1..=40 {
        bench.write(number).unwrap();
    }
    let copy = || disk.crash_now(0, 1).remove(0).into_disk();
    let missing = copy();
    missing.unlink(&segment_path(2)).unwrap();
    let (records, end) = read_back(&missing, 0).unwrap();
    assert_eq!(end.damage.len(), 1);
    assert_eq!(records.len() as u64 + end.damage[0].lost.clone().count() as u64, 40);
    let (_, end) = read_back(&missing, *end.damage[0].lost.end()).unwrap();
    assert_eq!(end.damage, [], "what is stored elsewhere is not missed");
    let shortened = copy();
    let len = shortened.len(&segment_path(1)).unwrap();
    shortened.open_write(&segment_path(1)).unwrap().truncate(len - 10).unwrap();
    let (_, end) = read_back(&shortened, 0).unwrap();
    assert_eq!(end.damage.len(), 1);
    assert_eq!(end.damage[0].lost.clone().count(), 1);
}

#[test]
fn other_databases_and_newer_versions_are_refused() {
    let disk = fresh_disk();
    open(&disk).write(1).unwrap();
    let other = replay(&disk, Path::new(DIR), 1, 0, &mut |_| panic!("a foreign record")).unwrap();
    assert!(other.damage[0].message.contains("database id"));
    disk.damage(&segment_path(1), |bytes| {
        bytes[4] = 2;
        let crc = crc32fast::hash(&bytes[..76]);
        bytes[76..80].copy_from_slice(&crc.to_le_bytes());
    })
    .unwrap();
    assert_eq!(read_back(&disk, 0).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
}

#[test]
fn idleness_covers_the_last_record() {
    let disk = fresh_disk();
    let bench = open(&disk);
    bench.write(1).unwrap();
    let damaged = |disk: &SimDisk| {
        let image = disk.crash_now(0, 1).remove(0).into_disk();
        image.damage(&segment_path(1), |bytes| bytes[segment::HEADER_LEN + 30] ^= 1).unwrap();
        read_back(&image, 0).unwrap().1
    };
    let end = damaged(&disk);
    assert!(end.damage.is_empty() && end.torn.is_some(), "unprovable: cut and reported");
    bench.clock.advance(49);
    let ops = disk.op_count();
    bench.wal.idle().unwrap();
    assert_eq!(disk.op_count(), ops);
    bench.clock.advance(1);
    bench.wal.idle().unwrap();
    assert_eq!(disk.op_count(), ops + 2);
    bench.clock.advance(1_000);
    bench.wal.idle().unwrap();
    assert_eq!(disk.op_count(), ops + 2, "once is enough");
    let end = damaged(&disk);
    assert_eq!(end.damage.len(), 1);
    assert_eq!(end.damage[0].lost, 1..=1);
    assert_eq!(bench.write(2).unwrap(), 2);
    assert_eq!(read_back(&disk, 0).unwrap().0, numbered(1..=2));
}
