//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no part of the repository.
const SKIPPED: [&str; 6] = [".git", "target", "tsq-data", "__pycache__", "corpus", "artifacts"];

/// All files, sorted.
pub(crate) fn all_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut queue = vec![root.to_path_buf()];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the repository can be read").flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            match (is_dir, skipped) {
                (_, true) => {}
                (true, false) => queue.push(entry.path()),
                (false, false) => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

/// The text of a file; `None` for one that is none.
pub(crate) fn text_of(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).ok()?).ok()
}

/// Files of a folder with this extension, sorted.
pub(crate) fn in_dir(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

/// Names of the tests across crate boundaries and of each crate.
pub(crate) fn test_names(root: &Path) -> Vec<String> {
    let folders = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut names: Vec<PathBuf> = folders(root.join("tests")).filter(|path| path.join("main.rs").exists()).collect();
    names.extend(folders(root.join("crates")).flat_map(|path| in_dir(&path.join("tests"), "rs")));
    names.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}
