//! From the state of a disk to the states it may be found in after a power cut.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::content::Content;
use super::state::{DirNode, Entries, Fate, FileChange, FileNode, Node, NodeId, ROOT, State};
use super::{Rng, SECTOR, SimDisk};

/// One state in which a disk may be found after a power cut.
#[derive(Clone, Debug)]
pub struct CrashImage {
    state: Arc<State>,
    what: String,
}

impl CrashImage {
    /// A disk that holds this state, all of it durable; no lock is held.
    pub fn into_disk(self) -> SimDisk {
        SimDisk::with_state(self.state)
    }

    /// Which of the pending changes survived, for messages.
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// What the crash does to one pending change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Choice {
    Keep,
    Drop,
    /// The length a write gives the file, but zeros instead of its bytes.
    LengthOnly,
    /// The first bytes of a write.
    Prefix(usize),
    /// Each sector of a write or not, by a seeded coin.
    Sectors(u64),
}

type Plan = Vec<Choice>;

/// One pending change, in the order of all changes of the disk.
#[derive(Clone, Copy, Debug)]
struct Pending {
    seq: usize,
    node: NodeId,
    index: usize,
    kind: PendingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PendingKind {
    Dir,
    Length,
    Write { len: usize, crosses_sector: bool },
}

/// At most `count` images, all by different choices: none, all, each change dropped alone, every prefix, only names,
/// only contents, the last write torn, its length without content; then seeded random subsets.
pub(super) fn images(state: &State, seed: u64, count: usize) -> Vec<CrashImage> {
    let pending = pending_of(state);
    let mut plans = Plans { seen: HashSet::new(), list: Vec::new(), count };
    systematic(&pending, &mut plans);
    let mut rng = Rng::new(seed);
    // Few pending changes have few distinct subsets: stop trying when new ones have become rare.
    for _ in 0..count * 4 {
        if plans.is_full() || pending.is_empty() {
            break;
        }
        plans.push("random", pending.iter().map(|op| random_choice(op.kind, &mut rng)).collect());
    }
    plans
        .list
        .into_iter()
        .map(|(what, plan)| CrashImage {
            what: describe(what, &plan),
            state: Arc::new(survive(state, &pending, &plan)),
        })
        .collect()
}

struct Plans {
    seen: HashSet<Plan>,
    list: Vec<(&'static str, Plan)>,
    count: usize,
}

impl Plans {
    fn is_full(&self) -> bool {
        self.list.len() >= self.count
    }

    fn push(&mut self, what: &'static str, plan: Plan) {
        if !self.is_full() && self.seen.insert(plan.clone()) {
            self.list.push((what, plan));
        }
    }
}

fn pending_of(state: &State) -> Vec<Pending> {
    let mut pending = Vec::new();
    for (&node, content) in &state.nodes {
        match &**content {
            Node::Dir(dir) => pending.extend(dir.ops.iter().enumerate().map(|(index, op)| Pending {
                seq: op.seq,
                node,
                index,
                kind: PendingKind::Dir,
            })),
            Node::File(file) => {
                let open = file.ops.iter().enumerate().filter(|(_, op)| op.fate != Fate::Certain);
                pending.extend(open.map(|(index, op)| Pending { seq: op.seq, node, index, kind: kind_of(&op.change) }));
            }
        }
    }
    pending.sort_by_key(|op| op.seq);
    pending
}

fn kind_of(change: &FileChange) -> PendingKind {
    match change {
        FileChange::SetLen(_) => PendingKind::Length,
        FileChange::Write { offset, data } => {
            PendingKind::Write { len: data.len(), crosses_sector: offset % SECTOR + data.len() as u64 > SECTOR }
        }
    }
}

fn systematic(pending: &[Pending], plans: &mut Plans) {
    let count = pending.len();
    let all = vec![Choice::Keep; count];
    plans.push("none", vec![Choice::Drop; count]);
    plans.push("all", all.clone());
    let last_write = pending.iter().rposition(|op| matches!(op.kind, PendingKind::Write { .. }));
    if let Some(at) = last_write
        && let PendingKind::Write { len, crosses_sector } = pending[at].kind
    {
        let with = |choice| {
            let mut plan = all.clone();
            plan[at] = choice;
            plan
        };
        plans.push("length only", with(Choice::LengthOnly));
        plans.push("half of the last write", with(Choice::Prefix(len / 2)));
        plans.push("last write short of a byte", with(Choice::Prefix(len.saturating_sub(1))));
        if crosses_sector {
            plans.push("sectors of the last write", with(Choice::Sectors(len as u64)));
        }
    }
    let only = |names: bool| -> Plan {
        let keep = |op: &Pending| if (op.kind == PendingKind::Dir) == names { Choice::Keep } else { Choice::Drop };
        pending.iter().map(keep).collect()
    };
    plans.push("only names", only(true));
    plans.push("only contents", only(false));
    for dropped in (0..count).rev() {
        let mut plan = all.clone();
        plan[dropped] = Choice::Drop;
        plans.push("one dropped", plan);
    }
    for kept in (1..count).rev() {
        let mut plan = vec![Choice::Drop; count];
        plan[..kept].fill(Choice::Keep);
        plans.push("prefix", plan);
    }
}

fn random_choice(kind: PendingKind, rng: &mut Rng) -> Choice {
    let keep_or_drop = |rng: &mut Rng| if rng.below(2) == 0 { Choice::Keep } else { Choice::Drop };
    let PendingKind::Write { len, crosses_sector } = kind else { return keep_or_drop(rng) };
    match rng.below(8) {
        0 => Choice::LengthOnly,
        1 => Choice::Prefix(rng.below(len.max(1) as u64) as usize),
        2 | 3 if crosses_sector => Choice::Sectors(rng.next()),
        _ => keep_or_drop(rng),
    }
}

fn describe(what: &str, plan: &Plan) -> String {
    let mut text = format!("{what}: ");
    for choice in plan {
        match choice {
            Choice::Keep => text.push('+'),
            Choice::Drop => text.push('-'),
            Choice::LengthOnly => text.push('0'),
            Choice::Prefix(len) => text.push_str(&format!("[{len}]")),
            Choice::Sectors(seed) => text.push_str(&format!("[~{seed:x}]")),
        }
    }
    text
}

/// The durable state plus the chosen changes, of everything that can be reached by a surviving name.
fn survive(state: &State, pending: &[Pending], plan: &Plan) -> State {
    let choices: BTreeMap<(NodeId, usize), Choice> =
        pending.iter().zip(plan).map(|(op, &choice)| ((op.node, op.index), choice)).collect();
    let mut nodes = BTreeMap::new();
    let mut queue = vec![ROOT];
    while let Some(id) = queue.pop() {
        let Some(node) = state.nodes.get(&id).filter(|_| !nodes.contains_key(&id)) else { continue };
        let choice = |index| choices.get(&(id, index)).copied().unwrap_or(Choice::Keep);
        let survivor = match &**node {
            Node::File(file) if file.ops.is_empty() && file.durable.len() == file.current.len() => node.clone(),
            Node::File(file) => Arc::new(Node::File(survive_file(file, choice))),
            Node::Dir(dir) => {
                let entries = survive_dir(dir, choice);
                queue.extend(entries.values());
                Arc::new(Node::Dir(DirNode { current: entries.clone(), durable: entries, ops: Vec::new() }))
            }
        };
        nodes.insert(id, survivor);
    }
    State::from_nodes(nodes)
}

fn survive_dir(dir: &DirNode, choice: impl Fn(usize) -> Choice) -> Entries {
    let mut entries = dir.durable.clone();
    for (_, op) in dir.ops.iter().enumerate().filter(|(index, _)| choice(*index) == Choice::Keep) {
        op.change.apply(&mut entries);
    }
    entries
}

fn survive_file(file: &FileNode, choice: impl Fn(usize) -> Choice) -> FileNode {
    let mut content = file.durable.clone();
    for (index, op) in file.ops.iter().enumerate() {
        let choice = if op.fate == Fate::Certain { Choice::Keep } else { choice(index) };
        apply(&op.change, choice, &mut content);
    }
    FileNode { current: content.clone(), durable: content, ops: Vec::new() }
}

fn apply(change: &FileChange, choice: Choice, content: &mut Content) {
    match (choice, change) {
        (Choice::Drop, _) => {}
        (Choice::Keep, _) | (_, FileChange::SetLen(_)) => change.apply(content),
        (Choice::LengthOnly, FileChange::Write { offset, data }) => {
            let end = offset + data.len() as u64;
            content.set_len(content.len().max(end));
        }
        (Choice::Prefix(len), FileChange::Write { offset, data }) => {
            content.write(*offset, &data[..len.min(data.len())]);
        }
        (Choice::Sectors(seed), FileChange::Write { offset, data }) => {
            let mut rng = Rng::new(seed);
            let mut rest = &data[..];
            let mut at = *offset;
            while !rest.is_empty() {
                let within = (SECTOR - at % SECTOR) as usize;
                let (sector, later) = rest.split_at(within.min(rest.len()));
                if rng.below(2) == 0 {
                    content.write(at, sector);
                }
                at += sector.len() as u64;
                rest = later;
            }
        }
    }
}
