//! What a simulated disk holds: for every file and directory what is durable, what is visible, and what lies between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::Content;

pub(super) type NodeId = u32;

/// A change of a file that is not known to be durable.
#[derive(Clone, Debug)]
pub(super) struct FileOp {
    /// Number of the disk operation that made it: gives all pending changes of a disk one order.
    pub(super) seq: usize,
    pub(super) fate: Fate,
    pub(super) change: FileChange,
}

#[derive(Clone, Debug)]
pub(super) enum FileChange {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
}

/// What a crash may do to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A sync makes it durable; a crash may lose it.
    Pending,
    /// A sync of it failed: the kernel marked its pages clean, so no later sync writes it. It may be there or not.
    Doubtful,
    /// Synced after a doubtful change: durable, listed only because it comes later.
    Certain,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) current: Content,
    pub(super) durable: Content,
    pub(super) ops: Vec<FileOp>,
}

impl FileChange {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, data } => content.write(*offset, data),
            Self::SetLen(len) => content.set_len(*len),
        }
    }
}

impl FileNode {
    pub(super) fn change(&mut self, seq: usize, change: FileChange) {
        change.apply(&mut self.current);
        self.ops.push(FileOp { seq, fate: Fate::Pending, change });
    }

    pub(super) fn sync(&mut self) {
        if self.ops.iter().all(|op| op.fate == Fate::Pending) {
            for op in self.ops.drain(..) {
                op.change.apply(&mut self.durable);
            }
        }
        for op in self.ops.iter_mut().filter(|op| op.fate == Fate::Pending) {
            op.fate = Fate::Certain;
        }
    }

    pub(super) fn fail_sync(&mut self) {
        for op in self.ops.iter_mut().filter(|op| op.fate == Fate::Pending) {
            op.fate = Fate::Doubtful;
        }
    }
}

/// A change of a directory that is not known to be durable.
#[derive(Clone, Debug)]
pub(super) struct DirOp {
    pub(super) seq: usize,
    pub(super) change: DirChange,
}

#[derive(Clone, Debug)]
pub(super) enum DirChange {
    Add { name: String, node: NodeId },
    Remove { name: String },
    Rename { from: String, to: String, node: NodeId },
}

pub(super) type Entries = BTreeMap<String, NodeId>;

impl DirChange {
    pub(super) fn apply(&self, entries: &mut Entries) {
        match self {
            Self::Add { name, node } => {
                entries.insert(name.clone(), *node);
            }
            Self::Remove { name } => {
                entries.remove(name);
            }
            Self::Rename { from, to, node } => {
                if entries.get(from) == Some(node) {
                    entries.remove(from);
                }
                entries.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) current: Entries,
    pub(super) durable: Entries,
    pub(super) ops: Vec<DirOp>,
}

impl DirNode {
    pub(super) fn change(&mut self, seq: usize, change: DirChange) {
        change.apply(&mut self.current);
        self.ops.push(DirOp { seq, change });
    }

    pub(super) fn sync(&mut self) {
        for op in self.ops.drain(..) {
            op.change.apply(&mut self.durable);
        }
    }

    /// Everything this directory names now, after a crash, or might name after one.
    fn named(&self) -> impl Iterator<Item = NodeId> {
        let pending = self.ops.iter().filter_map(|op| match op.change {
            DirChange::Add { node, .. } | DirChange::Rename { node, .. } => Some(node),
            DirChange::Remove { .. } => None,
        });
        self.current.values().chain(self.durable.values()).copied().chain(pending)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// The whole disk. A copy shares all nodes; a change copies the node it touches.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) nodes: BTreeMap<NodeId, Arc<Node>>,
    next: NodeId,
}

pub(super) const ROOT: NodeId = 0;

impl Default for State {
    fn default() -> Self {
        Self::from_nodes(BTreeMap::from([(ROOT, Arc::new(Node::Dir(DirNode::default())))]))
    }
}

pub(super) fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or directory: {}", path.display()))
}

fn wrong_type(path: &Path, kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, format!("wrong type of file: {}", path.display()))
}

fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or_else(|| not_found(path))?),
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}

/// The directory of a path and the name in it.
pub(super) fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let mut names = names(path)?;
    let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    Ok((names.iter().collect(), name))
}

impl State {
    pub(super) fn from_nodes(nodes: BTreeMap<NodeId, Arc<Node>>) -> Self {
        let next = nodes.keys().next_back().map_or(0, |last| last + 1);
        Self { nodes, next }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for name in names(path)? {
            let dir = self.dir_node(at).ok_or_else(|| wrong_type(path, io::ErrorKind::NotADirectory))?;
            at = *dir.current.get(name).ok_or_else(|| not_found(path))?;
        }
        Ok(at)
    }

    fn dir_node(&self, id: NodeId) -> Option<&DirNode> {
        match self.nodes.get(&id).map(|node| &**node) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<(NodeId, &DirNode)> {
        let id = self.find(path)?;
        let dir = self.dir_node(id).ok_or_else(|| wrong_type(path, io::ErrorKind::NotADirectory))?;
        Ok((id, dir))
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<(NodeId, &FileNode)> {
        let id = self.find(path)?;
        match self.nodes.get(&id).map(|node| &**node) {
            Some(Node::File(file)) => Ok((id, file)),
            _ => Err(wrong_type(path, io::ErrorKind::IsADirectory)),
        }
    }

    /// The file with this id, unless it was removed while it was open.
    pub(super) fn file_mut(&mut self, id: NodeId) -> Option<&mut FileNode> {
        match Arc::make_mut(self.nodes.get_mut(&id)?) {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        }
    }

    pub(super) fn dir_mut(&mut self, id: NodeId) -> &mut DirNode {
        match self.nodes.get_mut(&id).map(Arc::make_mut) {
            Some(Node::Dir(dir)) => dir,
            _ => unreachable!("the caller found a directory under this id"),
        }
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Arc::new(node));
        id
    }

    /// How many names a node has now.
    pub(super) fn links(&self, id: NodeId) -> usize {
        let dirs = self.nodes.values().filter_map(|node| match &**node {
            Node::Dir(dir) => Some(dir),
            Node::File(_) => None,
        });
        dirs.map(|dir| dir.current.values().filter(|named| **named == id).count()).sum()
    }

    /// Forgets files that nothing names, now or after any crash.
    pub(super) fn collect(&mut self) {
        let mut reached = std::collections::BTreeSet::from([ROOT]);
        let mut queue = vec![ROOT];
        while let Some(id) = queue.pop() {
            let Some(dir) = self.dir_node(id) else { continue };
            queue.extend(dir.named().filter(|&id| reached.insert(id)));
        }
        self.nodes.retain(|id, _| reached.contains(id));
    }
}
