//! Which series the head knows: label sets, lookup by key, postings. Samples live in generations.
//!
//! Sharded by a hash of the label set without `le` and `quantile`, so that one classic histogram lies in one shard.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashTable};
use parking_lot::RwLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::symbols::{PairId, Symbols};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::query::Matcher;
use crate::sample::Kind;

/// A series of one index: shard in the low bits, slot above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SeriesRef(u32);

#[derive(Debug)]
pub(crate) struct SeriesIndex {
    seed: u64,
    shard_bits: u32,
    symbols: RwLock<Symbols>,
    aliases: Box<[RwLock<HashTable<Alias>>]>,
    shards: Box<[RwLock<IndexShard>]>,
    count: std::sync::atomic::AtomicUsize,
}

/// A key under which a series was written before: 20 bytes of content, no label bytes.
#[derive(Clone, Copy, Debug)]
struct Alias {
    high: u64,
    low: u64,
    series: SeriesRef,
}

#[derive(Debug, Default)]
struct IndexShard {
    /// Pair numbers of all label sets, one after another.
    pairs: Vec<PairId>,
    /// Where each slot's label set ends in `pairs`, and its kind.
    slots: Vec<(u32, Kind)>,
    /// Slots by hash of canonical labels and kind.
    table: HashTable<(u32, u32)>,
    postings: HashMap<PairId, Posting>,
}

/// Slots that have a pair, ascending. Most pairs of high cardinality have one.
#[derive(Debug)]
#[allow(clippy::box_collection, reason = "16 bytes an entry instead of 32, over millions of entries")]
enum Posting {
    One(u32),
    Many(Box<Vec<u32>>),
}

impl Posting {
    fn slots(&self) -> &[u32] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }

    fn push(&mut self, slot: u32) {
        match self {
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, slot])),
            Self::Many(slots) => slots.push(slot),
        }
    }
}

impl IndexShard {
    fn label_pairs(&self, slot: u32) -> &[PairId] {
        let slot = slot as usize;
        let start = if slot == 0 { 0 } else { self.slots[slot - 1].0 as usize };
        &self.pairs[start..self.slots[slot].0 as usize]
    }

    /// How many slots have one of the pairs, repetitions counted.
    fn candidates(&self, pairs: &[PairId]) -> usize {
        pairs.iter().filter_map(|pair| self.postings.get(pair)).map(|posting| posting.slots().len()).sum()
    }

    fn union(&self, pairs: &[PairId]) -> Vec<u32> {
        let mut slots = Vec::new();
        for posting in pairs.iter().filter_map(|pair| self.postings.get(pair)) {
            slots.extend_from_slice(posting.slots());
        }
        if pairs.len() > 1 {
            slots.sort_unstable();
            slots.dedup();
        }
        slots
    }
}

/// A matcher with its label's pairs that pass, or, when it passes without the label too, those that do not.
struct Resolved {
    pairs: Vec<PairId>,
    exclude: bool,
}

impl SeriesIndex {
    pub(crate) fn new(shards: usize, seed: u64) -> Self {
        assert!(shards.is_power_of_two() && shards <= 256, "the number of shards is a power of two up to 256");
        Self {
            seed,
            shard_bits: shards.trailing_zeros(),
            symbols: RwLock::default(),
            aliases: (0..shards).map(|_| RwLock::default()).collect(),
            shards: (0..shards).map(|_| RwLock::default()).collect(),
            count: 0.into(),
        }
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Number of series, kinds apart.
    pub(crate) fn len(&self) -> usize {
        self.count.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn shard_of(&self, series: SeriesRef) -> usize {
        series.0 as usize & (self.shards.len() - 1)
    }

    pub(crate) fn slot_of(&self, series: SeriesRef) -> u32 {
        series.0 >> self.shard_bits
    }

    pub(crate) fn reference(&self, shard: usize, slot: u32) -> SeriesRef {
        SeriesRef(slot << self.shard_bits | shard as u32)
    }

    fn alias_key(key: u128, kind: Kind) -> (u64, u64) {
        ((key >> 64) as u64, key as u64 ^ (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The series last written under a key. O(1), no label bytes touched.
    pub(crate) fn lookup(&self, key: u128, kind: Kind) -> Option<SeriesRef> {
        let (high, low) = Self::alias_key(key, kind);
        let table = self.aliases[low as usize & (self.aliases.len() - 1)].read();
        table.find(high, |alias| alias.high == high && alias.low == low).map(|alias| alias.series)
    }

    /// Lets a key stand for a series from now on.
    pub(crate) fn remember(&self, key: u128, kind: Kind, series: SeriesRef) {
        let (high, low) = Self::alias_key(key, kind);
        let mut table = self.aliases[low as usize & (self.aliases.len() - 1)].write();
        if table.find(high, |alias| alias.high == high && alias.low == low).is_none() {
            table.insert_unique(high, Alias { high, low, series }, |alias| alias.high);
        }
    }

    fn hash(&self, labels: &Labels, kind: Kind) -> u64 {
        xxh3_64_with_seed(labels.as_bytes(), self.seed ^ kind as u64)
    }

    fn shard_for(&self, labels: &Labels) -> usize {
        let mut hash = Xxh3::with_seed(self.seed);
        for (name, value) in labels.iter().filter(|(name, _)| !matches!(*name, "le" | "quantile")) {
            hash.update(name.as_bytes());
            hash.update(&[0xff]);
            hash.update(value.as_bytes());
            hash.update(&[0xff]);
        }
        hash.digest() as usize & (self.shards.len() - 1)
    }

    /// The series with these labels, if it is known.
    pub(crate) fn find(&self, labels: &Labels, kind: Kind) -> Option<SeriesRef> {
        let shard_number = self.shard_for(labels);
        let hash = self.hash(labels, kind);
        let symbols = self.symbols.read();
        let shard = self.shards[shard_number].read();
        self.find_in(&symbols, &shard, labels, kind, hash).map(|slot| self.reference(shard_number, slot))
    }

    fn find_in(&self, symbols: &Symbols, shard: &IndexShard, labels: &Labels, kind: Kind, hash: u64) -> Option<u32> {
        let same = |slot: u32| {
            let pairs = shard.label_pairs(slot);
            shard.slots[slot as usize].1 == kind && labels.iter().eq(pairs.iter().map(|&pair| symbols.pair(pair)))
        };
        shard.table.find(spread(hash as u32), |&(slot, tag)| tag == hash as u32 && same(slot)).map(|&(slot, _)| slot)
    }

    /// The series with these labels, created if there is room for it.
    ///
    /// # Errors
    /// `LimitExceeded` when the head holds `limit` series.
    pub(crate) fn find_or_create(&self, labels: &Labels, kind: Kind, limit: usize) -> Result<SeriesRef> {
        if let Some(series) = self.find(labels, kind) {
            return Ok(series);
        }
        let full = || Error::limit(format!("the head holds {limit} series, its limit (limits.head_series)"));
        let is_full = || self.count.load(std::sync::atomic::Ordering::Relaxed) >= limit;
        if is_full() {
            // Before interning: refused series must not grow the symbols.
            return Err(full());
        }
        let pairs = self.intern(labels);
        let shard_number = self.shard_for(labels);
        let hash = self.hash(labels, kind);
        let symbols = self.symbols.read();
        let mut shard = self.shards[shard_number].write();
        if let Some(slot) = self.find_in(&symbols, &shard, labels, kind, hash) {
            return Ok(self.reference(shard_number, slot));
        }
        let slot = shard.slots.len() as u32;
        if is_full() || slot >= u32::MAX >> self.shard_bits {
            return Err(full());
        }
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let shard = &mut *shard;
        shard.pairs.extend_from_slice(&pairs);
        let end = u32::try_from(shard.pairs.len()).map_err(|_| full())?;
        shard.slots.push((end, kind));
        // The table is keyed by the low half of the hash, which the entry keeps: growing needs no label bytes.
        shard.table.insert_unique(spread(hash as u32), (slot, hash as u32), |&(_, tag)| spread(tag));
        for pair in pairs {
            match shard.postings.get_mut(&pair) {
                Some(posting) => posting.push(slot),
                None => {
                    shard.postings.insert(pair, Posting::One(slot));
                }
            }
        }
        Ok(self.reference(shard_number, slot))
    }

    fn intern(&self, labels: &Labels) -> Vec<PairId> {
        let known = {
            let symbols = self.symbols.read();
            labels.iter().map(|(name, value)| symbols.find(name, value)).collect::<Option<Vec<_>>>()
        };
        known.unwrap_or_else(|| {
            let mut symbols = self.symbols.write();
            labels.iter().map(|(name, value)| symbols.intern(name, value)).collect()
        })
    }

    pub(crate) fn labels(&self, series: SeriesRef) -> Labels {
        let symbols = self.symbols.read();
        let shard = self.shards[self.shard_of(series)].read();
        symbols.labels(shard.label_pairs(self.slot_of(series)))
    }

    pub(crate) fn kind(&self, series: SeriesRef) -> Kind {
        self.shards[self.shard_of(series)].read().slots[self.slot_of(series) as usize].1
    }

    /// All series that pass the matchers, in no order.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        let resolved = self.resolve(matchers);
        if resolved.iter().any(|matcher| !matcher.exclude && matcher.pairs.is_empty()) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            let shard = shard.read();
            let slots = select_slots(&shard, &resolved);
            found.extend(slots.into_iter().map(|slot| self.reference(number, slot)));
        }
        found
    }

    fn resolve(&self, matchers: &[Matcher]) -> Vec<Resolved> {
        let symbols = self.symbols.read();
        matchers
            .iter()
            .map(|matcher| {
                let exclude = matcher.matches_empty();
                if !exclude {
                    return Resolved { pairs: symbols.matching(matcher), exclude };
                }
                let fails = |id: &PairId| !matcher.matches(symbols.pair(*id).1);
                let pairs = symbols.pairs_of(&matcher.name).iter().copied().filter(fails).collect();
                Resolved { pairs, exclude }
            })
            .collect()
    }

    /// Adds the names of all labels.
    pub(crate) fn label_names(&self, out: &mut BTreeSet<String>) {
        self.symbols.read().names(out);
    }

    /// Adds the values of one label.
    pub(crate) fn label_values(&self, name: &str, out: &mut Vec<String>) {
        let symbols = self.symbols.read();
        out.extend(symbols.pairs_of(name).iter().map(|&pair| symbols.pair(pair).1.to_owned()));
    }

    /// The value of a label of a series, behind a number that tells it from the other values of that label.
    pub(crate) fn label_value<T>(&self, series: SeriesRef, name: &str, read: impl FnOnce(u32, &str) -> T) -> Option<T> {
        let symbols = self.symbols.read();
        let shard = self.shards[self.shard_of(series)].read();
        let labels = shard.label_pairs(self.slot_of(series)).iter().map(|&pair| (pair, symbols.pair(pair)));
        let found = labels.into_iter().find(|(_, (label, _))| *label == name);
        found.map(|(pair, (_, value))| read(pair, value))
    }

    /// Sorts series by labels, then kind.
    pub(crate) fn sort(&self, series: &mut [SeriesRef]) {
        let symbols = self.symbols.read();
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.read()).collect();
        let key = |series: SeriesRef| {
            let (shard, slot) = (&shards[self.shard_of(series)], self.slot_of(series));
            (shard.label_pairs(slot), shard.slots[slot as usize].1)
        };
        series.sort_unstable_by(|&left, &right| {
            let ((left, left_kind), (right, right_kind)) = (key(left), key(right));
            symbols.compare(left, right).then(left_kind.cmp(&right_kind))
        });
    }

    /// Calls `visit` with each key and the series it stands for.
    pub(crate) fn for_each_alias(&self, mut visit: impl FnMut(u64, u64, SeriesRef)) {
        for table in &self.aliases {
            for alias in table.read().iter() {
                visit(alias.high, alias.low, alias.series);
            }
        }
    }

    /// Takes over a key of another index, as [`SeriesIndex::for_each_alias`] gave it.
    pub(crate) fn adopt_alias(&self, high: u64, low: u64, series: SeriesRef) {
        let mut table = self.aliases[low as usize & (self.aliases.len() - 1)].write();
        table.insert_unique(high, Alias { high, low, series }, |alias| alias.high);
    }

    /// Bytes held, roughly.
    pub(crate) fn memory(&self) -> usize {
        let mut bytes = self.symbols.read().memory();
        for table in &self.aliases {
            bytes += table.read().capacity() * (size_of::<Alias>() + 1);
        }
        for shard in &self.shards {
            let shard = shard.read();
            bytes += shard.pairs.capacity() * 4 + shard.slots.capacity() * 8 + shard.table.capacity() * 9;
            bytes += shard.postings.capacity() * (size_of::<(PairId, Posting)>() + 1);
        }
        bytes
    }
}

/// A table hash from half a hash: the table looks at both ends of it.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn select_slots(shard: &IndexShard, matchers: &[Resolved]) -> Vec<u32> {
    let mut including: Vec<_> = matchers.iter().filter(|matcher| !matcher.exclude).collect();
    // The fewest candidates first: the cost follows what matches.
    including.sort_by_cached_key(|matcher| shard.candidates(&matcher.pairs));
    let mut including = including.into_iter();
    let mut slots = match including.next() {
        Some(first) => shard.union(&first.pairs),
        None => (0..shard.slots.len() as u32).collect(),
    };
    for matcher in including {
        if slots.is_empty() {
            return slots;
        }
        retain(shard, &mut slots, &matcher.pairs, true);
    }
    for matcher in matchers.iter().filter(|matcher| matcher.exclude && !matcher.pairs.is_empty()) {
        retain(shard, &mut slots, &matcher.pairs, false);
    }
    slots
}

/// Keeps the slots that have (or have not) one of the pairs: by their label sets when they are few, else by postings.
fn retain(shard: &IndexShard, slots: &mut Vec<u32>, pairs: &[PairId], keep: bool) {
    if slots.len() <= 64 || pairs.len() > slots.len() {
        let mut sorted = pairs.to_vec();
        sorted.sort_unstable();
        slots.retain(|&slot| shard.label_pairs(slot).iter().any(|pair| sorted.binary_search(pair).is_ok()) == keep);
        return;
    }
    let others = shard.union(pairs);
    let mut next = 0;
    slots.retain(|slot| {
        next += others[next..].partition_point(|other| other < slot);
        (others.get(next) == Some(slot)) == keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn series_are_found_by_labels_key_and_matchers() {
        let index = SeriesIndex::new(4, 7);
        let mut all = Vec::new();
        for job in ["a", "b"] {
            for instance in 0..50 {
                let set = labels(&[("__name__", "up"), ("job", job), ("instance", &instance.to_string())]);
                let series = index.find_or_create(&set, Kind::Float, 1000).unwrap();
                assert_eq!(index.find_or_create(&set, Kind::Float, 1000).unwrap(), series);
                index.remember(u128::from(series.0) << 70, Kind::Float, series);
                assert_eq!(index.lookup(u128::from(series.0) << 70, Kind::Float), Some(series));
                assert_eq!(index.lookup(u128::from(series.0) << 70, Kind::Run), None);
                assert_eq!(index.labels(series), set);
                all.push((set, series));
            }
        }
        let select = |matchers: &[Matcher]| {
            let mut found = index.select(matchers);
            index.sort(&mut found);
            found.iter().map(|&s| index.labels(s)).collect::<Vec<_>>()
        };
        all.sort_by(|left, right| left.0.cmp(&right.0));
        let every: Vec<_> = all.iter().map(|(set, _)| set.clone()).collect();
        assert_eq!(select(&[]), every);
        assert_eq!(select(&[Matcher::equal("job", "a")]).len(), 50);
        assert_eq!(select(&[Matcher::equal("job", "a"), Matcher::equal("instance", "7")]).len(), 1);
        assert_eq!(select(&[Matcher::equal("zone", "")]).len(), 100);
        let not_b = Matcher { name: "job".into(), op: crate::MatchOp::NotEqual("b".into()) };
        assert_eq!(select(&[not_b]).len(), 50);
        assert_eq!(select(&[Matcher::equal("job", "c")]).len(), 0);
        let more = labels(&[("__name__", "more")]);
        assert_eq!(index.find_or_create(&more, Kind::Float, 100).unwrap_err().kind(), crate::ErrorKind::LimitExceeded);
    }
}
