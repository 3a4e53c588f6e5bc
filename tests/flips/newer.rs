//! Files of a newer format: refused with a message that says so, and left as they are.

use std::path::{Path, PathBuf};

use tsq_core::{Db, ErrorKind, SimDisk};

use crate::database::{DIR, build, copy, files, open, open_read_only};

/// What is made newer, a part of the file's path, and how.
type Change = (&'static str, &'static str, fn(&mut [u8]));

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Writes the checksum of `bytes[from..to]` to `at`.
fn seal(bytes: &mut [u8], from: usize, to: usize, at: usize) {
    let crc = crc32fast::hash(&bytes[from..to]).to_le_bytes();
    bytes[at..at + 4].copy_from_slice(&crc);
}

fn newer_manifest(bytes: &mut [u8]) {
    bytes[4] = 3;
    let crc_at = bytes.len() - 4;
    seal(bytes, 0, crc_at, crc_at);
}

fn newer_tombstones(bytes: &mut [u8]) {
    bytes[4] = 2;
    let crc_at = bytes.len() - 4;
    seal(bytes, 0, crc_at, crc_at);
}

fn newer_segment(bytes: &mut [u8]) {
    bytes[4] = 2;
    seal(bytes, 0, 76, 76);
}

fn newer_block_header(bytes: &mut [u8]) {
    bytes[8] = 2;
    seal(bytes, 0, 60, 60);
}

fn newer_block_footer(bytes: &mut [u8]) {
    let tail = bytes.len() - 16;
    let footer = tail - u32_at(bytes, tail);
    bytes[footer] = 2;
    seal(bytes, footer, tail, tail + 4);
}

fn first_file(disk: &SimDisk, part: &str) -> PathBuf {
    let (path, _) = files(disk).into_iter().find(|(path, _)| path.display().to_string().contains(part)).expect(part);
    path
}

fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: &Path| tsq_core::Disk::read(disk, path).expect("the file is there");
    files(disk).into_iter().map(|(path, _)| (path.clone(), read(&path))).collect()
}

#[test]
fn a_newer_format_is_refused_by_name_and_not_touched() {
    let disk = build();
    let changes: [Change; 5] = [
        ("manifest", "MANIFEST", newer_manifest),
        ("tombstones", "/tombstones-", newer_tombstones),
        ("segment", "/log/", newer_segment),
        ("block header", "/blocks/", newer_block_header),
        ("block footer", "/blocks/", newer_block_footer),
    ];
    for (what, part, change) in changes {
        let newer = copy(&disk);
        let path = first_file(&newer, part);
        newer.damage(&path, |bytes| change(bytes)).expect("the file is there");
        let before = contents(&newer);
        for opened in [open(&newer), open_read_only(&newer)] {
            let error = opened.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{what}: {error}");
            let text = error.to_string();
            let version = if what == "manifest" { "version 3" } else { "version 2" };
            assert!(text.contains(version) && text.contains(&path.display().to_string()), "{what}: {text}");
        }
        if let Ok(report) = Db::builder().disk(newer.clone()).verify(DIR) {
            assert!(report.findings.iter().any(|finding| finding.path == path), "{what}: {:?}", report.findings);
        }
        assert!(contents(&newer) == before, "{what}: opening changed a file");
    }
}
