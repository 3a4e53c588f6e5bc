//! The model itself: what survives a crash, and what does not.

use super::*;
use crate::disk::publish;

const FILE: &str = "/db/a";

fn disk_with_dir() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/db")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// What the file holds in each image; `None` where it does not exist.
fn contents(images: Vec<CrashImage>) -> Vec<Option<Vec<u8>>> {
    images.into_iter().map(|image| image.into_disk().read(Path::new(FILE)).ok()).collect()
}

fn distinct(disk: &SimDisk) -> Vec<Option<Vec<u8>>> {
    let mut all = contents(disk.crash_now(1, 64));
    all.sort();
    all.dedup();
    all
}

#[test]
fn synced_bytes_and_names_survive_every_crash() {
    let disk = disk_with_dir();
    let file = disk.create(Path::new(FILE)).unwrap();
    file.write_at(0, b"hello").unwrap();
    assert!(distinct(&disk).contains(&None), "the name was never synced");
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    assert_eq!(distinct(&disk), [Some(b"hello".to_vec())]);
    file.write_at(5, b" world").unwrap();
    let seen = distinct(&disk);
    for want in [&b"hello"[..], b"hello world", b"hello\0\0\0\0\0\0", b"hello wo"] {
        assert!(seen.contains(&Some(want.to_vec())), "{}", String::from_utf8_lossy(want));
    }
    assert!(seen.iter().all(|content| content.as_ref().is_some_and(|bytes| bytes.starts_with(b"hello"))));
}

#[test]
fn a_name_may_survive_without_its_bytes_and_bytes_without_a_name() {
    let disk = disk_with_dir();
    let file = disk.create(Path::new(FILE)).unwrap();
    file.write_at(0, b"bytes").unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    assert!(distinct(&disk).contains(&Some(Vec::new())), "name without bytes");
    let disk = disk_with_dir();
    let file = disk.create(Path::new(FILE)).unwrap();
    file.write_at(0, b"bytes").unwrap();
    file.sync_data().unwrap();
    let seen = distinct(&disk);
    assert_eq!(seen, [None, Some(b"bytes".to_vec())]);
}

#[test]
fn a_directory_never_synced_in_its_parent_is_lost_with_all_it_holds() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/db")).unwrap();
    publish(&disk, Path::new(FILE), b"x").unwrap();
    assert_eq!(distinct(&disk), [None, Some(b"x".to_vec())]);
}

#[test]
fn publishing_leaves_the_old_or_the_new_content_at_every_operation() {
    let disk = disk_with_dir();
    publish(&disk, Path::new(FILE), b"old").unwrap();
    disk.record();
    let first = disk.op_count();
    publish(&disk, Path::new(FILE), b"new content").unwrap();
    for op in first..=disk.op_count() {
        for content in contents(disk.crash_images(op, 7, 64)) {
            let content = content.expect("the file exists at every moment");
            assert!(content == b"old" || content == b"new content", "{}: {content:?}", disk.describe(op));
        }
    }
    assert_eq!(distinct(&disk), [Some(b"new content".to_vec())]);
}

#[test]
fn renaming_without_a_sync_is_caught() {
    let disk = disk_with_dir();
    publish(&disk, Path::new(FILE), b"old").unwrap();
    let file = disk.create(Path::new("/db/b")).unwrap();
    file.write_at(0, b"new").unwrap();
    disk.rename(Path::new("/db/b"), Path::new(FILE)).unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    assert!(distinct(&disk).contains(&Some(Vec::new())), "renamed before its bytes were durable");
}

#[test]
fn writes_tear_at_sectors() {
    let disk = disk_with_dir();
    publish(&disk, Path::new(FILE), &[1; 2048]).unwrap();
    let file = disk.open_write(Path::new(FILE)).unwrap();
    file.write_at(0, &[2; 2048]).unwrap();
    let torn = |content: &Option<Vec<u8>>| {
        let bytes = content.as_ref().expect("published");
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        let whole = bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0]));
        whole && sectors.contains(&1) && sectors.contains(&2)
    };
    assert!(distinct(&disk).iter().filter(|content| torn(content)).count() >= 4);
}

#[test]
fn unlinking_and_cutting_are_pending_until_synced() {
    let disk = disk_with_dir();
    publish(&disk, Path::new(FILE), b"0123456789").unwrap();
    let file = disk.open_write(Path::new(FILE)).unwrap();
    file.truncate(4).unwrap();
    assert_eq!(distinct(&disk), [Some(b"0123".to_vec()), Some(b"0123456789".to_vec())]);
    file.sync_data().unwrap();
    disk.unlink(Path::new(FILE)).unwrap();
    assert_eq!(distinct(&disk), [None, Some(b"0123".to_vec())]);
    disk.sync_dir(Path::new("/db")).unwrap();
    assert_eq!(distinct(&disk), [None]);
    file.write_at(0, b"into the void").unwrap();
    assert_eq!(distinct(&disk), [None]);
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let disk = disk_with_dir();
    publish(&disk, Path::new(FILE), b"").unwrap();
    let file = disk.open_write(Path::new(FILE)).unwrap();
    file.write_at(0, b"first").unwrap();
    disk.fail_at(disk.op_count() + 1, Fault::Error(io::ErrorKind::Other));
    assert!(file.sync_data().is_err());
    file.write_at(5, b"second").unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.read(Path::new(FILE)).unwrap(), b"firstsecond", "the process still sees it");
    let seen = distinct(&disk);
    assert!(seen.contains(&Some(b"\0\0\0\0\0second".to_vec())) && seen.contains(&Some(b"firstsecond".to_vec())));
    assert!(seen.iter().all(|content| content.as_ref().is_some_and(|bytes| bytes.ends_with(b"second"))));
}

#[test]
fn faults_hit_the_chosen_operation_only() {
    let disk = disk_with_dir();
    publish(&disk, Path::new(FILE), b"").unwrap();
    let file = disk.open_write(Path::new(FILE)).unwrap();
    disk.fail_at(disk.op_count() + 1, Fault::Short(io::ErrorKind::StorageFull));
    assert_eq!(file.write_at(0, b"12345678").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(Path::new(FILE)).unwrap(), b"1234");
    file.write_at(0, b"abcdefgh").unwrap();
    assert_eq!(disk.read(Path::new(FILE)).unwrap(), b"abcdefgh");
}

#[test]
fn a_full_disk_stores_what_fits_and_gives_space_back() {
    let disk = disk_with_dir();
    disk.set_free_space(6);
    let file = disk.create(Path::new(FILE)).unwrap();
    assert_eq!(file.preallocate(7).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(0, b"12345678").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(Path::new(FILE)).unwrap(), b"123456");
    file.write_at(0, b"654321").unwrap();
    file.truncate(2).unwrap();
    assert_eq!(disk.free_space(Path::new("/db")).unwrap().free, 4);
    disk.unlink(Path::new(FILE)).unwrap();
    assert_eq!(disk.free_space(Path::new("/db")).unwrap().free, 6);
}

#[test]
fn locks_end_with_their_guard_and_with_a_crash() {
    let disk = disk_with_dir();
    let path = Path::new("/db/LOCK");
    let LockOutcome::Taken(guard) = disk.lock(path).unwrap() else { panic!("nobody holds it") };
    guard.annotate("pid 7").unwrap();
    assert!(matches!(disk.lock(path).unwrap(), LockOutcome::Held(note) if note == "pid 7"));
    for image in disk.crash_now(3, 8) {
        assert!(matches!(image.into_disk().lock(path).unwrap(), LockOutcome::Taken(_)));
    }
    drop(guard);
    assert!(matches!(disk.lock(path).unwrap(), LockOutcome::Taken(_)));
}

#[test]
fn images_are_distinct_reproducible_and_cheap() {
    let disk = disk_with_dir();
    disk.record();
    let first = disk.op_count();
    let file = disk.create(Path::new(FILE)).unwrap();
    file.preallocate(64 << 20).unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    for record in 0..3_000_u64 {
        file.write_at(record * 100, &[record as u8; 100]).unwrap();
        if record % 3 == 2 {
            file.sync_data().unwrap();
        }
    }
    let mut images = 0;
    for op in first..=disk.op_count() {
        let list = disk.crash_images(op, 5, 8);
        let again = disk.crash_images(op, 5, 8);
        assert!(list.iter().map(CrashImage::what).eq(again.iter().map(CrashImage::what)));
        images += list.len();
    }
    assert!(images > 16_000, "{images}");
}
