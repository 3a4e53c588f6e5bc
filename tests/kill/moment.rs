//! When to kill, and what was going on in the server when it died.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the kill is meant to hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    Writes,
    Flush,
    Compaction,
}

/// What it hit, as the files say that were left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Writes,
    Flush,
    Compaction,
}

/// Files of the block directory: by name, whether it is unfinished, and the level in its header if that is written.
pub(crate) type Files = BTreeMap<String, Option<u8>>;

const HEADER_LEN: usize = 64;
const LEVEL_AT: usize = 40;

/// Lists the blocks of a data directory and their levels. Files may vanish meanwhile.
pub(crate) fn blocks(data: &Path) -> Files {
    let Ok(entries) = fs::read_dir(data.join("blocks")) else { return Files::new() };
    let level = |path: &Path| {
        let mut header = [0; HEADER_LEN];
        fs::File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
        header.starts_with(b"TSQBLOCK").then_some(header[LEVEL_AT])
    };
    entries.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), level(&entry.path()))).collect()
}

/// Waits until the server writes a block of the wanted sort; gives up after a while.
pub(crate) fn wait_for(data: &Path, aim: Aim) {
    const PATIENCE: Duration = Duration::from_secs(3);
    let started = Instant::now();
    let wanted = |(name, level): (&String, &Option<u8>)| {
        name.ends_with(".tmp")
            && match (aim, level) {
                (Aim::Writes, _) => true,
                (Aim::Flush, level) => level.is_none_or(|level| level == 0),
                (Aim::Compaction, level) => level.is_some_and(|level| level > 0),
            }
    };
    while started.elapsed() < PATIENCE && !blocks(data).iter().any(wanted) {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// What the kill hit: `left` are the files it left, `kept` those that the next start kept. A start removes unfinished
/// blocks, finished ones that were not yet published, and replaced ones that were not yet deleted.
pub(crate) fn hit(left: &Files, kept: &Files) -> Hit {
    let newest = left.keys().map(|name| name.trim_end_matches(".tmp")).max();
    let mut hit = Hit::Writes;
    for (name, level) in left.iter().filter(|(name, _)| !kept.contains_key(*name)) {
        // Outputs have the newest number; whatever else vanishes was an input of a compaction.
        let is_output = newest == Some(name.trim_end_matches(".tmp"));
        match level {
            Some(0) if is_output => hit = Hit::Flush,
            Some(_) => return Hit::Compaction,
            None => {}
        }
    }
    hit
}
