//! What the shell asks: a data directory or a server.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tsq::promql::CancelFlag;
use tsq_runs::RunSource;

use super::names::Origin;
use crate::console::Console;
use crate::failure::Result;
use crate::query::{Request, local, remote};
use crate::store;

/// Where queries go.
#[derive(Debug)]
pub(super) enum Target {
    Directory(Directory),
    /// The address of a server.
    Server(String),
}

/// A directory, read anew when something in it has changed.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    seen: Fingerprint,
    source: RunSource,
}

impl Target {
    /// A server if it looks like an address, else a directory.
    pub(super) fn open(text: &str, console: &mut Console) -> Result<Self> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Server(text.trim_end_matches('/').to_owned()));
        }
        let path = PathBuf::from(text);
        store::check_exists(&path)?;
        let seen = Fingerprint::of(&path);
        Ok(Self::Directory(Directory { source: store::source(&path, console)?, path, seen }))
    }

    /// The answer of the API.
    pub(super) fn query(
        &mut self,
        request: &Request<'_>,
        cancel: &CancelFlag,
        console: &mut Console,
    ) -> Result<Vec<u8>> {
        match self {
            Self::Server(url) => remote::query(url, request, cancel),
            Self::Directory(directory) => {
                directory.refresh(console)?;
                local::query(&directory.source, request, cancel)
            }
        }
    }

    /// Where names are looked up.
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::Server(url) => Origin::Server(url.clone()),
            Self::Directory(directory) => Origin::Directory(directory.source.clone()),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Server(url) => url.clone(),
            Self::Directory(directory) => directory.path.display().to_string(),
        }
    }
}

impl Directory {
    fn refresh(&mut self, console: &mut Console) -> Result<()> {
        let now = Fingerprint::of(&self.path);
        if now != self.seen {
            self.source = store::source(&self.path, console)?;
            self.seen = now;
        }
        Ok(())
    }
}

/// Names, sizes and times of the files in a directory and in those directly inside.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Fingerprint {
    /// What cannot be read has no part in it: opening the directory says why.
    fn of(path: &Path) -> Self {
        let mut files = Vec::new();
        collect(path, 1, &mut files);
        files.sort();
        Self(files)
    }
}

fn collect(path: &Path, levels: usize, files: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && levels > 0 {
            collect(&entry.path(), levels - 1, files);
        } else if meta.is_file() {
            files.push((entry.path(), meta.len(), meta.modified().ok()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tsq::{Db, DbExt, Labels, Options};

    use super::*;
    use crate::query::{Limits, When};

    #[test]
    fn what_a_server_adds_to_a_directory_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
        let db = Db::open(dir.path(), Options::default()).unwrap();
        db.write(&labels, 1000, 1.0).unwrap();
        let (mut console, _) = Console::captured();
        let mut target = Target::open(dir.path().to_str().unwrap(), &mut console).unwrap();
        let mut value = || {
            let request =
                Request { expr: "up", when: When::At(2000), limits: Limits::default(), explain: false, axis: None };
            let json = target.query(&request, &CancelFlag::default(), &mut console).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            json["data"]["result"][0]["value"][1].as_str().unwrap().to_owned()
        };
        assert_eq!((value(), value()), ("1".into(), "1".into()));
        db.write(&labels, 2000, 2.0).unwrap();
        db.flush().unwrap();
        assert_eq!(value(), "2");
        db.close().unwrap();
    }
}
