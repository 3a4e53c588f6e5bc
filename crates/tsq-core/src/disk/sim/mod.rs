//! A disk in memory that knows what a power cut may lose.
//!
//! For every file it keeps the durable bytes and the ordered changes since the last sync (writes, which may tear at
//! sector borders, and changes of length); for every directory the durable names and the changes of names since its
//! last sync. A crash keeps any subset of those changes: see [`SimDisk::crash_images`]. It is deliberately worse than
//! real file systems: names of a file and its bytes are independent, a directory made but never synced in its parent
//! is lost with all it holds, and a failed sync leaves changes that no later sync makes durable.

mod content;
mod crash;
mod state;
#[cfg(test)]
mod tests;

pub use crash::CrashImage;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskFile, DiskRead, LockGuard, LockOutcome, MemoryFile, Space};
use state::{DirChange, DirNode, FileChange, FileNode, Node, NodeId, State, split};

/// Bytes that a disk writes as a whole or not at all.
const SECTOR: u64 = 512;

const DEFAULT_SPACE: u64 = 1 << 30;

/// An error to inject into one disk operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails and changes nothing; a failing sync leaves the changes in doubt for good.
    Error(io::ErrorKind),
    /// A write stores its first half, then fails; other operations fail as with `Error`.
    Short(io::ErrorKind),
}

/// The simulated disk. Clones are handles of the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    /// Number of changing operations so far.
    ops: usize,
    /// State after each operation since the recording began, with what the operation was.
    journal: Option<Journal>,
    faults: BTreeMap<usize, Fault>,
    locks: HashMap<PathBuf, NodeId>,
    free: u64,
    total: u64,
}

#[derive(Debug)]
struct Journal {
    first: usize,
    states: Vec<(Arc<State>, String)>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            ops: 0,
            journal: None,
            faults: BTreeMap::new(),
            locks: HashMap::new(),
            free: DEFAULT_SPACE,
            total: DEFAULT_SPACE,
        }
    }
}

impl SimDisk {
    /// An empty disk: a root directory, 1 GiB of free space.
    pub fn new() -> Self {
        Self::default()
    }

    fn with_state(state: Arc<State>) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { state, ..Inner::default() })) }
    }

    /// Number of operations so far that change the disk or make a change durable. Operation `n` is the one after
    /// which this is `n`.
    pub fn op_count(&self) -> usize {
        self.inner.lock().ops
    }

    /// Keeps the state after every operation from now on, so that [`SimDisk::crash_images`] can go back. Costs memory
    /// in proportion to what is written.
    pub fn record(&self) {
        let mut inner = self.inner.lock();
        let states = vec![(inner.state.clone(), "start of the recording".to_owned())];
        inner.journal = Some(Journal { first: inner.ops, states });
    }

    /// What recorded operation `op` was, for messages.
    ///
    /// # Panics
    /// When `op` was not recorded.
    pub fn describe(&self, op: usize) -> String {
        let inner = self.inner.lock();
        let journal = inner.journal.as_ref().expect("a recording was started");
        journal.states[op - journal.first].1.clone()
    }

    /// States in which the disk may be found when the power fails right after recorded operation `op` (which covers a
    /// failure during the next one): at most `count`, all by different choices among the pending changes. Only one
    /// when nothing is pending.
    ///
    /// # Panics
    /// When `op` was not recorded.
    pub fn crash_images(&self, op: usize, seed: u64, count: usize) -> Vec<CrashImage> {
        let state = {
            let inner = self.inner.lock();
            let journal = inner.journal.as_ref().expect("a recording was started");
            journal.states[op - journal.first].0.clone()
        };
        crash::images(&state, seed ^ (op as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), count)
    }

    /// As [`SimDisk::crash_images`], for a failure now; needs no recording.
    pub fn crash_now(&self, seed: u64, count: usize) -> Vec<CrashImage> {
        let state = self.inner.lock().state.clone();
        crash::images(&state, seed, count)
    }

    /// Makes operation number `op` (counted as [`SimDisk::op_count`] does) fail.
    pub fn fail_at(&self, op: usize, fault: Fault) {
        self.inner.lock().faults.insert(op, fault);
    }

    /// Forgets faults that were not reached yet.
    pub fn clear_faults(&self) {
        self.inner.lock().faults.clear();
    }

    /// Sets how many bytes may still be written. Growing files use it up, shrinking and removing gives back; beyond
    /// it writes store what fits and fail with `StorageFull`.
    pub fn set_free_space(&self, bytes: u64) {
        let mut inner = self.inner.lock();
        inner.free = bytes;
        inner.total = inner.total.max(bytes);
    }

    /// Changes the bytes of a file behind everyone's back and durably: damage, not an operation.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let (id, file) = inner.state.file(path)?;
        let mut bytes = file.current.to_vec();
        change(&mut bytes);
        let node = inner.file_mut(id)?;
        *node = FileNode::default();
        node.change(0, FileChange::Write { offset: 0, data: bytes.into() });
        node.sync();
        Ok(())
    }

    /// The process that used the disk is gone, the machine is not: its locks are free, its writes stay pending.
    pub fn end_process(&self) {
        self.inner.lock().locks.clear();
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let inner = self.inner.lock();
        let mut files = Vec::new();
        let mut queue = vec![(PathBuf::from("/"), state::ROOT)];
        while let Some((path, id)) = queue.pop() {
            match inner.state.nodes.get(&id).map(|node| &**node) {
                Some(Node::Dir(dir)) => queue.extend(dir.current.iter().map(|(name, id)| (path.join(name), *id))),
                Some(Node::File(_)) => files.push(path),
                None => {}
            }
        }
        files.sort();
        files
    }
}

impl Inner {
    /// The number of the operation that begins now, and the fault that was ordered for it.
    fn begin(&mut self) -> (usize, Option<Fault>) {
        self.ops += 1;
        (self.ops, self.faults.remove(&self.ops))
    }

    fn finish(&mut self, what: impl FnOnce() -> String) {
        if let Some(journal) = &mut self.journal {
            journal.states.push((self.state.clone(), what()));
        }
    }

    /// One operation that either fails as ordered or runs `run`.
    fn operate<T>(
        &mut self,
        what: impl FnOnce() -> String,
        run: impl FnOnce(&mut Self, usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let (seq, fault) = self.begin();
        let result = match fault {
            Some(Fault::Error(kind) | Fault::Short(kind)) => Err(injected(kind)),
            None => run(self, seq),
        };
        self.finish(what);
        result
    }

    fn state_mut(&mut self) -> &mut State {
        Arc::make_mut(&mut self.state)
    }

    fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        self.state_mut().file_mut(id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn add_file(&mut self, seq: usize, path: &Path) -> io::Result<NodeId> {
        let (parent, name) = split(path)?;
        let (dir, entries) = self.state.dir(&parent)?;
        if entries.current.contains_key(&name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("file exists: {}", path.display())));
        }
        let node = self.state_mut().add(Node::File(FileNode::default()));
        self.state_mut().dir_mut(dir).change(seq, DirChange::Add { name, node });
        Ok(node)
    }

    fn write(&mut self, seq: usize, id: NodeId, offset: u64, data: &[u8]) -> io::Result<()> {
        let free = self.free;
        let Ok(file) = self.file_mut(id) else { return Ok(()) };
        let len = file.current.len();
        let room = (len + free).saturating_sub(offset);
        let stored = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        if !stored.is_empty() {
            file.change(seq, FileChange::Write { offset, data: stored.into() });
        }
        let grown = file.current.len() - len;
        self.free -= grown;
        if stored.len() < data.len() { Err(full()) } else { Ok(()) }
    }

    fn set_len(&mut self, seq: usize, id: NodeId, len: u64) -> io::Result<()> {
        let free = self.free;
        let Ok(file) = self.file_mut(id) else { return Ok(()) };
        let before = file.current.len();
        if len > before + free {
            return Err(full());
        }
        file.change(seq, FileChange::SetLen(len));
        self.free = free + before - len;
        Ok(())
    }

    /// Gives back the space of a file whose last name is about to go.
    fn release(&mut self, id: NodeId) {
        if self.state.links(id) == 1
            && let Some(Node::File(file)) = self.state.nodes.get(&id).map(|node| &**node)
        {
            self.free += file.current.len();
        }
    }
}

fn injected(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, "injected by the simulated disk")
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full")
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.inner.lock();
        let node = inner.operate(|| format!("create {}", path.display()), |inner, seq| inner.add_file(seq, path))?;
        Ok(Box::new(SimFile { disk: self.clone(), node, path: path.to_path_buf() }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (node, _) = self.inner.lock().state.file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), node, path: path.to_path_buf() }))
    }

    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let inner = self.inner.lock();
        let (_, file) = inner.state.file(path)?;
        if file.current.read(offset, buf) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inner = self.inner.lock();
        Ok(inner.state.file(path)?.1.current.to_vec())
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        Ok(Box::new(MemoryFile(Bytes::from(self.read(path)?))))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let inner = self.inner.lock();
        Ok(inner.state.file(path)?.1.current.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let what = || format!("rename {} to {}", from.display(), to.display());
        self.inner.lock().operate(what, |inner, seq| {
            let ((parent, from_name), (to_parent, to_name)) = (split(from)?, split(to)?);
            if parent != to_parent {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a rename stays within one directory"));
            }
            let node = inner.state.find(from)?;
            let (dir, entries) = inner.state.dir(&parent)?;
            if let Some(&replaced) = entries.current.get(&to_name).filter(|replaced| **replaced != node) {
                inner.release(replaced);
            }
            let change = DirChange::Rename { from: from_name, to: to_name, node };
            inner.state_mut().dir_mut(dir).change(seq, change);
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let what = || format!("link {} to {}", from.display(), to.display());
        self.inner.lock().operate(what, |inner, seq| {
            let (node, _) = inner.state.file(from)?;
            let (parent, name) = split(to)?;
            let (dir, entries) = inner.state.dir(&parent)?;
            if entries.current.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            inner.state_mut().dir_mut(dir).change(seq, DirChange::Add { name, node });
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.inner.lock().operate(
            || format!("unlink {}", path.display()),
            |inner, seq| {
                let (node, _) = inner.state.file(path)?;
                let (parent, name) = split(path)?;
                let (dir, _) = inner.state.dir(&parent)?;
                inner.release(node);
                inner.state_mut().dir_mut(dir).change(seq, DirChange::Remove { name });
                Ok(())
            },
        )
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for component in path.components() {
            made.push(component);
            self.create_one_dir(&made)?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.inner.lock();
        Ok(inner.state.dir(dir)?.1.current.keys().cloned().collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.lock().operate(
            || format!("sync_dir {}", dir.display()),
            |inner, _| {
                let (id, node) = inner.state.dir(dir)?;
                if !node.ops.is_empty() {
                    let state = inner.state_mut();
                    state.dir_mut(id).sync();
                    state.collect();
                }
                Ok(())
            },
        )
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut inner = self.inner.lock();
        if let Some(&node) = inner.locks.get(path) {
            let note = match inner.state.nodes.get(&node).map(|node| &**node) {
                Some(Node::File(file)) => file.current.to_vec(),
                _ => Vec::new(),
            };
            return Ok(LockOutcome::Held(String::from_utf8_lossy(&note).into_owned()));
        }
        let node = match inner.state.file(path) {
            Ok((node, _)) => node,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                inner.operate(|| format!("lock {}", path.display()), |inner, seq| inner.add_file(seq, path))?
            }
            Err(error) => return Err(error),
        };
        inner.locks.insert(path.to_path_buf(), node);
        let file = SimFile { disk: self.clone(), node, path: path.to_path_buf() };
        Ok(LockOutcome::Taken(Box::new(SimLock(file))))
    }

    fn free_space(&self, dir: &Path) -> io::Result<Space> {
        let inner = self.inner.lock();
        inner.state.find(dir)?;
        Ok(Space { free: inner.free, total: inner.total })
    }
}

impl SimDisk {
    fn create_one_dir(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner.lock();
        match inner.state.dir(path) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        inner.operate(
            || format!("create_dir {}", path.display()),
            |inner, seq| {
                let (parent, name) = split(path)?;
                let (dir, _) = inner.state.dir(&parent)?;
                let node = inner.state_mut().add(Node::Dir(DirNode::default()));
                inner.state_mut().dir_mut(dir).change(seq, DirChange::Add { name, node });
                Ok(())
            },
        )
    }
}

/// A file open for writing. Writes to a file that lost its last name go nowhere, as in a real system.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: NodeId,
    path: PathBuf,
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.inner.lock();
        let (seq, fault) = inner.begin();
        let result = match fault {
            Some(Fault::Error(kind)) => Err(injected(kind)),
            Some(Fault::Short(kind)) => {
                inner.write(seq, self.node, offset, &data[..data.len() / 2]).and(Err(injected(kind)))
            }
            None => inner.write(seq, self.node, offset, data),
        };
        inner.finish(|| format!("write {} bytes at {offset} of {}", data.len(), self.path.display()));
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner.lock();
        let (_, fault) = inner.begin();
        let result = match (fault, inner.file_mut(self.node)) {
            (_, Err(_)) => Ok(()),
            (None, Ok(file)) => {
                file.sync();
                Ok(())
            }
            (Some(Fault::Error(kind) | Fault::Short(kind)), Ok(file)) => {
                file.fail_sync();
                Err(injected(kind))
            }
        };
        inner.finish(|| format!("sync {}", self.path.display()));
        result
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let what = || format!("preallocate {len} bytes of {}", self.path.display());
        self.disk.inner.lock().operate(what, |inner, seq| {
            let current = inner.file_mut(self.node).map_or(len, |file| file.current.len());
            if len > current { inner.set_len(seq, self.node, len) } else { Ok(()) }
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let what = || format!("truncate {} to {len} bytes", self.path.display());
        self.disk.inner.lock().operate(what, |inner, seq| inner.set_len(seq, self.node, len))
    }
}

#[derive(Debug)]
struct SimLock(SimFile);

impl LockGuard for SimLock {
    fn annotate(&self, note: &str) -> io::Result<()> {
        self.0.truncate(0)?;
        self.0.write_at(0, note.as_bytes())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.disk.inner.lock().locks.remove(&self.0.path);
    }
}

/// Steele and Vigna's SplitMix64: enough chance for tests, and the same everywhere.
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
