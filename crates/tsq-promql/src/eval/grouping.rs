//! Which series an aggregation puts together.

use hashbrown::HashMap;
use tsq_core::Labels;

use crate::ast::Aggregate;

use super::context::Result;
use super::matching::is_reserved;
use super::memory::Charge;
use super::row::LABELS_OVERHEAD;

/// Bytes of a group's key beside its text: its place in the table and what the allocator adds.
const KEY_OVERHEAD: usize = 64;

/// How series are put into groups.
#[derive(Clone, Copy)]
pub(crate) struct Grouping<'q> {
    labels: &'q [String],
    without: bool,
    /// A label that `by` keeps though it is not listed.
    also_by: Option<&'q str>,
}

impl<'q> Grouping<'q> {
    pub(crate) fn of(aggregate: &'q Aggregate) -> Self {
        Self { labels: &aggregate.labels, without: aggregate.without, also_by: None }
    }

    /// The same groups, told apart by one more label unless that is named by `without`.
    pub(crate) fn with(self, label: &'q str) -> Self {
        Self { also_by: Some(label), ..self }
    }

    /// Whether all series are in one group.
    pub(crate) fn is_single(&self) -> bool {
        self.labels.is_empty() && !self.without && self.also_by.is_none()
    }

    fn keeps(&self, name: &str) -> bool {
        let named = self.labels.iter().any(|label| label == name);
        if self.without { !named && !is_reserved(name) } else { named || self.also_by == Some(name) }
    }

    /// Writes what tells the group of a series from others.
    fn key(&self, labels: &Labels, out: &mut Vec<u8>) {
        out.clear();
        if self.is_single() {
            return;
        }
        for (name, value) in labels.iter().filter(|(name, _)| self.keeps(name)) {
            for text in [name, value] {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// The labels of the group of a series.
    pub(crate) fn labels(&self, labels: &Labels) -> Labels {
        labels.without(|name| !self.keeps(name))
    }
}

/// Groups by their keys, numbered in the order of their first series. Series of one group often come one after
/// another, so the last group is tried first.
pub(crate) struct Groups<'q, T> {
    grouping: Grouping<'q>,
    by_key: HashMap<Box<[u8]>, usize>,
    groups: Vec<T>,
    key: Vec<u8>,
    last_key: Vec<u8>,
    last: usize,
}

impl<'q, T> Groups<'q, T> {
    pub(crate) fn new(grouping: Grouping<'q>) -> Self {
        Self { grouping, by_key: HashMap::new(), groups: Vec::new(), key: Vec::new(), last_key: Vec::new(), last: 0 }
    }

    /// The group of a series; made from the labels of the group if it is the first one, and charged with `bytes` then.
    pub(crate) fn of(
        &mut self,
        labels: &Labels,
        charge: &mut Charge<'_>,
        bytes: usize,
        make: impl FnOnce(Labels) -> T,
    ) -> Result<&mut T> {
        self.grouping.key(labels, &mut self.key);
        if self.groups.is_empty() || self.key != self.last_key {
            self.last = match self.by_key.get(self.key.as_slice()) {
                Some(&group) => group,
                None => {
                    let group_labels = self.grouping.labels(labels);
                    let text = 2 * self.key.len() + group_labels.as_bytes().len() + LABELS_OVERHEAD + KEY_OVERHEAD;
                    charge.grow(bytes.saturating_add(size_of::<T>() + text))?;
                    self.groups.push(make(group_labels));
                    self.by_key.insert(self.key.as_slice().into(), self.groups.len() - 1);
                    self.groups.len() - 1
                }
            };
            std::mem::swap(&mut self.key, &mut self.last_key);
        }
        Ok(&mut self.groups[self.last])
    }

    /// The groups in the order of their first series.
    pub(crate) fn into_groups(self) -> Vec<T> {
        self.groups
    }

    /// The groups seen so far.
    pub(crate) fn all(&self) -> &[T] {
        &self.groups
    }
}
