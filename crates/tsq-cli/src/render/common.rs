//! What all series of a chart have in common is said once, in a title; beside each series stands what is its own.

use tsq::Labels;

use super::plot::shortened;

/// The labels that several series share, and their names.
#[derive(Debug)]
pub(super) struct Common {
    shared: Labels,
}

impl Common {
    /// What all sets have in common; nothing if there is one set only, which then keeps all of its labels.
    pub(super) fn of<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Self {
        let Some(first) = sets.next() else { return Self { shared: Labels::empty() } };
        let (mut shared, mut several) = (first.clone(), false);
        for set in sets {
            several = true;
            shared = shared.without(|name| shared.get(name) != set.get(name));
        }
        Self { shared: if several { shared } else { Labels::empty() } }
    }

    /// A line with them, or nothing.
    pub(super) fn title(&self, width: usize) -> String {
        if self.shared.is_empty() { String::new() } else { format!("{}\n", shortened(&self.shared.to_string(), width)) }
    }

    /// What a set has beyond them.
    pub(super) fn rest(&self, set: &Labels) -> String {
        set.without(|name| self.shared.get(name).is_some()).to_string()
    }
}
