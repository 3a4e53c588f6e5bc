//! What opening a database reads.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tsq_core::{
    Db, Disk, DiskFile, DiskRead, Kind, Labels, Limits, LockOutcome, Map, Matcher, Metadata, Options, ReadMode,
    Samples, SimDisk, Source, Space, TimeRange,
};

/// A disk that counts the bytes which are read of published files.
#[derive(Clone, Debug, Default)]
struct Counting {
    disk: SimDisk,
    bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountingRead {
    file: Box<dyn DiskRead>,
    bytes: Arc<AtomicU64>,
}

impl DiskRead for CountingRead {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.file.read_at(offset, buf)
    }

    fn expect_all(&self) {
        self.file.expect_all();
    }

    fn is_remote(&self) -> bool {
        self.file.is_remote()
    }

    fn map(&self) -> io::Result<Map> {
        panic!("a map would hide what is read");
    }
}

impl Disk for Counting {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open_write(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        Ok(Box::new(CountingRead { file: self.disk.open_read(path)?, bytes: Arc::clone(&self.bytes) }))
    }

    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(path, offset, buf)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.disk.len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.disk.unlink(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        self.disk.lock(path)
    }

    fn free_space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.free_space(dir)
    }
}

/// The header, and one read of the end: footer, tail and the few CRCs of pages. It must not grow with the block.
const READ_OF_A_BLOCK: u64 = 64 + 4096;

#[test]
fn opening_a_thousand_blocks_reads_their_footers_only() {
    const BLOCKS: i64 = 1000;
    let disk = Counting::default();
    let limits = Limits { future: None, ..Limits::default() };
    let options = Options {
        background: false,
        low_space_bytes: Some(0),
        read_mode: ReadMode::Pread,
        limits,
        ..Options::default()
    };
    let open = || Db::builder().disk(disk.clone()).open("/db", options.clone()).unwrap();
    let db = open();
    let labels = Labels::from_pairs([("__name__", "loss")]).unwrap();
    for block in 0..BLOCKS {
        let mut batch = db.batch();
        batch.series(Kind::Float, &labels);
        (0..2000_u64).for_each(|at| {
            let value = f64::from_bits((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
            batch.float(block * 10_000_000 + at as i64 * 1000, value);
        });
        batch.metadata(Metadata { metric: "loss".into(), help: format!("as in block {block}"), ..Metadata::default() });
        db.append(&batch).unwrap();
        db.flush().unwrap();
    }
    let stored = db.stats();
    drop(db);
    disk.bytes.store(0, Ordering::Relaxed);
    let db = open();
    let opened = disk.bytes.swap(0, Ordering::Relaxed);
    assert_eq!(db.stats().blocks, BLOCKS as u64);
    assert!(opened <= BLOCKS as u64 * READ_OF_A_BLOCK, "{opened} bytes were read");
    assert!(stored.block_bytes > 3 * opened, "the blocks have {} bytes", stored.block_bytes);

    let snapshot = db.snapshot().unwrap();
    let range = TimeRange::new(77 * 10_000_000, 77 * 10_000_000 + 9_999_999);
    let series = snapshot.select(&[Matcher::equal("__name__", "loss")], range).unwrap().next_batch(2).unwrap();
    let mut samples = Samples::default();
    series[0].read(Kind::Float, range, &mut samples).unwrap();
    let queried = disk.bytes.swap(0, Ordering::Relaxed);
    assert_eq!(samples.len(), 2000);
    assert!(queried < 2 * stored.block_bytes / BLOCKS as u64, "one block answers, {queried} bytes were read");

    assert_eq!(snapshot.metadata().unwrap()[0].help, format!("as in block {}", BLOCKS - 1));
    assert!(disk.bytes.load(Ordering::Relaxed) > queried, "metadata is read when somebody asks");
}
