//! Which series pass a list of matchers.
//!
//! Each matcher becomes a set of pairs of its name: those whose series pass, or, when a series without the label
//! passes as well, those whose series fail. A pattern is evaluated once per distinct value. The passing set with the
//! fewest postings is read; the other matchers only narrow it, by looking its series up in their postings or, where
//! that is cheaper, in the series table.

use std::ops::Range;

use super::Index;
use crate::error::Result;
use crate::query::{MatchOp, Matcher, Pattern};

/// A look at the series table costs about as much as so many postings of a list.
const SERIES_COST: u64 = 8;

/// What a matcher says about the pairs of its name.
struct Condition {
    /// Ascending.
    pairs: Vec<u32>,
    /// All pairs of the name.
    name: Range<u32>,
    /// Whether series with one of `pairs` pass, or fail and all others pass.
    keep: bool,
    /// Postings of `pairs`.
    postings: u64,
}

impl Index<'_> {
    /// Numbers of the series that pass all matchers, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Result<Vec<u32>> {
        let mut conditions = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            let condition = self.resolve(matcher)?;
            match (condition.keep, condition.pairs.is_empty()) {
                (true, true) => return Ok(Vec::new()),
                (false, true) => {}
                _ => conditions.push(condition),
            }
        }
        let base = (0..conditions.len()).filter(|i| conditions[*i].keep).min_by_key(|i| conditions[*i].postings);
        let mut selected = match base {
            Some(index) => self.union(&conditions.swap_remove(index).pairs)?,
            None => (0..self.series_count).collect(),
        };
        conditions.sort_by_key(|condition| condition.postings);
        let (listed, looked_up): (Vec<_>, Vec<_>) = conditions
            .into_iter()
            .partition(|c| c.pairs.len() == 1 || c.postings <= selected.len() as u64 * SERIES_COST);
        for condition in &listed {
            self.narrow(condition, &mut selected)?;
        }
        if !looked_up.is_empty() {
            self.look_up(&looked_up, &mut selected)?;
        }
        Ok(selected)
    }

    fn resolve(&self, matcher: &Matcher) -> Result<Condition> {
        let keep = !matcher.matches_empty();
        let Some(name) = self.find_name(&matcher.name)? else {
            return Ok(Condition { pairs: Vec::new(), name: 0..0, keep, postings: 0 });
        };
        let pairs = match &matcher.op {
            MatchOp::Equal(value) if keep => self.find_value(&name, value)?.into_iter().collect(),
            MatchOp::NotEqual(value) if !keep => self.find_value(&name, value)?.into_iter().collect(),
            // What remains compares with the empty value, and every pair has another one.
            MatchOp::Equal(_) | MatchOp::NotEqual(_) => name.clone().collect(),
            MatchOp::Match(pattern) => self.scan(&name, pattern.as_ref(), keep)?,
            MatchOp::NotMatch(pattern) => self.scan(&name, pattern.as_ref(), !keep)?,
        };
        let mut postings = 0;
        for pair in &pairs {
            postings += u64::from(self.postings.get(*pair)?.count());
        }
        Ok(Condition { pairs, name, keep, postings })
    }

    /// Pairs of a name that a pattern matches, or does not.
    fn scan(&self, name: &Range<u32>, pattern: &dyn Pattern, wanted: bool) -> Result<Vec<u32>> {
        let mut pairs = Vec::new();
        if let (Some(literals), true) = (pattern.literals(), wanted) {
            for literal in literals {
                pairs.extend(self.find_value(name, literal)?);
            }
            pairs.sort_unstable();
            pairs.dedup();
            return Ok(pairs);
        }
        let mut from = name.start;
        let within_prefix = |value: &str| !wanted || value.starts_with(pattern.prefix());
        if wanted && !pattern.prefix().is_empty() {
            from = self.values.lower_bound(name.start, name.end, pattern.prefix())?;
        }
        self.values.scan(from, name.end, |pair, value| {
            let go_on = within_prefix(value);
            if go_on && pattern.is_match(value) == wanted {
                pairs.push(pair);
            }
            go_on
        })?;
        Ok(pairs)
    }

    /// Series of any of the pairs, which are of one name, so that no series has two.
    fn union(&self, pairs: &[u32]) -> Result<Vec<u32>> {
        let mut series = Vec::new();
        for pair in pairs {
            self.postings.get(*pair)?.append(&mut series)?;
        }
        if pairs.len() > 1 {
            sort(&mut series, self.series_count);
        }
        Ok(series)
    }

    /// Applies a condition through its postings.
    fn narrow(&self, condition: &Condition, selected: &mut Vec<u32>) -> Result<()> {
        if let [pair] = condition.pairs[..] {
            return self.postings.get(pair)?.filter(selected, condition.keep);
        }
        let series = self.union(&condition.pairs)?;
        let mut rest = series.as_slice();
        selected.retain(|candidate| {
            let below = rest.iter().take_while(|series| *series < candidate).count();
            rest = &rest[below..];
            (rest.first() == Some(candidate)) == condition.keep
        });
        Ok(())
    }

    /// Applies conditions through the series table.
    fn look_up(&self, conditions: &[Condition], selected: &mut Vec<u32>) -> Result<()> {
        let mut cursor = self.series();
        let mut kept = 0;
        for index in 0..selected.len() {
            let pairs = &cursor.get(selected[index])?.pairs;
            if conditions.iter().all(|condition| condition.passes(pairs)) {
                selected[kept] = selected[index];
                kept += 1;
            }
        }
        selected.truncate(kept);
        Ok(())
    }
}

/// Sorts distinct numbers below `end`: many of them through a set of bits, few by comparing.
fn sort(numbers: &mut Vec<u32>, end: u32) {
    let words = end.div_ceil(64) as usize;
    if numbers.len() < 64 || numbers.len() * 4 < words {
        return numbers.sort_unstable();
    }
    let mut bits = vec![0_u64; words];
    for number in &*numbers {
        bits[*number as usize / 64] |= 1 << (number % 64);
    }
    numbers.clear();
    for (word, mut rest) in bits.into_iter().enumerate() {
        while rest != 0 {
            numbers.push(word as u32 * 64 + rest.trailing_zeros());
            rest &= rest - 1;
        }
    }
}

impl Condition {
    /// Whether a series with these ascending pairs passes.
    fn passes(&self, pairs: &[u32]) -> bool {
        let place = pairs.partition_point(|pair| *pair < self.name.start);
        let own = pairs.get(place).filter(|pair| self.name.contains(pair));
        own.is_some_and(|pair| self.pairs.binary_search(pair).is_ok()) == self.keep
    }
}
