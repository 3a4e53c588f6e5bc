//! The only doors to files.
//!
//! The engine never calls `std::fs`: it goes through [`Disk`], which has two implementations. [`RealDisk`] is the
//! operating system; [`SimDisk`] is a model of what a machine may lose in a power cut, used by the crash tests.
//! Published blocks are immutable, so a simulated map is a plain copy and hot reads never pass through this trait.
//! All `unsafe` about files is in `mmap` and `fault`.

mod fault;
mod mmap;
mod real;
mod sim;

pub use fault::survive_lost_maps;
pub use mmap::Map;
pub use real::RealDisk;
pub use sim::{CrashImage, Fault, SimDisk};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// A file system, as far as the engine needs one.
///
/// Nothing is durable before the matching sync: a file's bytes and length after [`DiskFile::sync_data`], a name in a
/// directory after [`Disk::sync_dir`].
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a new, empty file for writing; an existing one is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for writing (the log's tail is cut and synced at recovery).
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Reads `buf.len()` bytes at `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// The whole file, copied into memory.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens a published, immutable file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>>;
    /// Length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Renames a file within one directory, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives an immutable file a second name; copies it where links are not possible.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents; an existing one is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names of the entries of a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the writer's lock on a file, or says who holds it.
    fn lock(&self, path: &Path) -> io::Result<LockOutcome>;
    /// Bytes that an unprivileged process may still write below `dir`, and the size of that file system.
    fn free_space(&self, dir: &Path) -> io::Result<Space>;
}

/// A file open for writing.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Writes all of `data` at `offset`, extending the file when needed.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes bytes and length durable. After an error the file's state is unknown: never retry on this handle.
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space and extends the file with zeros to `len`.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// A published, immutable file open for reading. It stays readable when its name is gone.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a published file is empty")]
pub trait DiskRead: fmt::Debug + Send + Sync {
    /// Length in bytes when it was opened.
    fn len(&self) -> u64;
    /// Reads `buf.len()` bytes at `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Tells that it will be read from front to back.
    fn expect_all(&self);
    /// Whether a map of it depends on more than this machine: on a server, or on another process.
    fn is_remote(&self) -> bool;
    /// Its bytes, mapped.
    fn map(&self) -> io::Result<Map>;
}

/// A file in memory.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFile(pub(crate) Bytes);

impl DiskRead for MemoryFile {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start.checked_add(buf.len()).and_then(|end| self.0.get(start..end));
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn expect_all(&self) {}

    fn is_remote(&self) -> bool {
        false
    }

    fn map(&self) -> io::Result<Map> {
        Ok(Map::in_memory(self.0.clone()))
    }
}

/// Free and total bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
}

/// Result of trying to take the writer's lock.
#[derive(Debug)]
pub enum LockOutcome {
    /// The lock is ours until the guard is dropped.
    Taken(Box<dyn LockGuard>),
    /// Another process holds it; this is what it wrote into the lock file.
    Held(String),
}

/// The writer's lock. Dropping it releases the lock.
pub trait LockGuard: fmt::Debug + Send + Sync {
    /// Replaces the note that others read when they find the lock held (process id, address).
    fn annotate(&self, note: &str) -> io::Result<()>;
}

/// Writes a small file under a temporary name, syncs it, renames it into place and syncs the directory.
///
/// After `Ok` the new content is durable; after a crash at any point either the old or the new content is there.
pub(crate) fn publish(disk: &dyn Disk, path: &Path, data: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    if disk.len(&temporary).is_ok() {
        disk.unlink(&temporary)?;
    }
    let file = disk.create(&temporary)?;
    file.write_at(0, data)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path))
}

/// Extension of files that are being written; anything bearing it may be deleted at opening.
pub(crate) const TEMPORARY_EXTENSION: &str = "tmp";

/// The name under which a file is written before it is renamed to `path`.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY_EXTENSION);
    PathBuf::from(name)
}

/// The directory of a file the engine made; all of them have one.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().expect("files of a database lie in its directory")
}
