//! Interned label names, values and pairs of the head.
//!
//! A pair (name, value) has one number; a label set is a run of pair numbers in name order. Pairs are never removed:
//! the index is rebuilt without idle series instead (see `index.rs`).

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::labels::Labels;
use crate::query::{MatchOp, Matcher};

/// Number of a (name, value) pair.
pub(super) type PairId = u32;

#[derive(Debug, Default)]
pub(super) struct Symbols {
    text: Vec<u8>,
    /// Where each string ends in `text`.
    ends: Vec<u32>,
    strings: HashTable<u32>,
    /// String numbers of each pair's name and value.
    pairs: Vec<(u32, u32)>,
    pair_table: HashTable<u32>,
    /// Pairs of each name.
    names: HashTable<(u32, Vec<PairId>)>,
    hasher: DefaultHashBuilder,
}

impl Symbols {
    fn string(&self, id: u32) -> &str {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        let text = &self.text[start..self.ends[id] as usize];
        // SAFETY: `text` holds whole strings one behind the other, and `ends` where each of them ends; nothing else
        // ever writes to the two.
        unsafe { std::str::from_utf8_unchecked(text) }
    }

    fn find_string(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.strings.find(hash, |&id| self.string(id) == text).copied()
    }

    fn intern_string(&mut self, text: &str) -> u32 {
        if let Some(id) = self.find_string(text) {
            return id;
        }
        let id = self.ends.len() as u32;
        self.text.extend_from_slice(text.as_bytes());
        self.ends.push(u32::try_from(self.text.len()).expect("the series limit keeps symbols below 4 GiB"));
        let hash = self.hasher.hash_one(text);
        let (ends, bytes, hasher) = (&self.ends, &self.text, &self.hasher);
        let string = |id: usize| &bytes[if id == 0 { 0 } else { ends[id - 1] as usize }..ends[id] as usize];
        self.strings.insert_unique(hash, id, |&id| {
            hasher.hash_one(std::str::from_utf8(string(id as usize)).expect("only strings are interned"))
        });
        id
    }

    /// Number of the pair, if it is known.
    pub(super) fn find(&self, name: &str, value: &str) -> Option<PairId> {
        let pair = (self.find_string(name)?, self.find_string(value)?);
        self.pair_table.find(self.hasher.hash_one(pair), |&id| self.pairs[id as usize] == pair).copied()
    }

    /// Number of the pair, new if need be.
    pub(super) fn intern(&mut self, name: &str, value: &str) -> PairId {
        let pair = (self.intern_string(name), self.intern_string(value));
        let hash = self.hasher.hash_one(pair);
        if let Some(&id) = self.pair_table.find(hash, |&id| self.pairs[id as usize] == pair) {
            return id;
        }
        let id = self.pairs.len() as u32;
        self.pairs.push(pair);
        let (pairs, hasher) = (&self.pairs, &self.hasher);
        self.pair_table.insert_unique(hash, id, |&id| hasher.hash_one(pairs[id as usize]));
        let hash = self.hasher.hash_one(pair.0);
        match self.names.find_mut(hash, |(name, _)| *name == pair.0) {
            Some((_, ids)) => ids.push(id),
            None => {
                let hasher = &self.hasher;
                self.names.insert_unique(hash, (pair.0, vec![id]), |(name, _)| hasher.hash_one(name));
            }
        }
        id
    }

    /// Name and value of a pair.
    pub(super) fn pair(&self, id: PairId) -> (&str, &str) {
        let (name, value) = self.pairs[id as usize];
        (self.string(name), self.string(value))
    }

    /// The label set of a run of pairs.
    pub(super) fn labels(&self, pairs: &[PairId]) -> Labels {
        Labels::from_sorted(pairs.iter().map(|&id| self.pair(id)))
    }

    /// Order of two label sets. Cost: one string comparison at the first difference.
    pub(super) fn compare(&self, left: &[PairId], right: &[PairId]) -> std::cmp::Ordering {
        let differ = left.iter().zip(right).find(|(left, right)| left != right);
        match differ {
            Some((&left, &right)) => self.pair(left).cmp(&self.pair(right)),
            None => left.len().cmp(&right.len()),
        }
    }

    /// All pairs of a label name.
    pub(super) fn pairs_of(&self, name: &str) -> &[PairId] {
        let Some(name) = self.find_string(name) else { return &[] };
        let hash = self.hasher.hash_one(name);
        self.names.find(hash, |(candidate, _)| *candidate == name).map_or(&[], |(_, ids)| ids)
    }

    /// Adds all label names.
    pub(super) fn names(&self, out: &mut std::collections::BTreeSet<String>) {
        out.extend(self.names.iter().map(|(name, _)| self.string(*name).to_owned()));
    }

    /// Pairs of the matcher's label whose value passes; each distinct value is tested once.
    pub(super) fn matching(&self, matcher: &Matcher) -> Vec<PairId> {
        let exact = |value: &str| self.find(&matcher.name, value);
        match &matcher.op {
            MatchOp::Equal(value) => exact(value).into_iter().collect(),
            MatchOp::Match(pattern) if pattern.literals().is_some() => {
                pattern.literals().into_iter().flatten().filter_map(|value| exact(value)).collect()
            }
            _ => {
                let passes = |id: &PairId| matcher.matches(self.pair(*id).1);
                self.pairs_of(&matcher.name).iter().copied().filter(passes).collect()
            }
        }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        let names: usize = self.names.iter().map(|(_, ids)| ids.capacity() * 4 + 32).sum();
        self.text.capacity()
            + self.ends.capacity() * 4
            + self.pairs.capacity() * 8
            + names
            + (self.strings.capacity() + self.pair_table.capacity()) * 6
    }
}
