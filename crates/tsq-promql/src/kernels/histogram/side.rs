//! The buckets of one sign by absolute index: what arithmetic works on instead of spans.

use tsq_core::Span;

use super::bounds::{coarser_index, exponential_bound};
use crate::kernels::kahan::Kahan;

/// Indexes are kept this far from the ends of their type: no bucket of finite width lies beyond, and neighbours can be
/// computed without a check.
const INDEX_MAX: i64 = 1 << 30;

/// Buckets by ascending index, each index once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Side(pub(super) Vec<(i32, Kahan)>);

impl Side {
    /// Reads buckets. Spans that name more buckets than there are end early; buckets without a span are left out; spans
    /// that go backwards are put in order, their common buckets added.
    pub(crate) fn read(spans: &[Span], counts: &[f64]) -> Self {
        let mut buckets = Vec::with_capacity(counts.len());
        let mut counts = counts.iter();
        let mut index = 0_i64;
        'spans: for span in spans {
            index += i64::from(span.offset);
            for _ in 0..span.length {
                let Some(&count) = counts.next() else { break 'spans };
                buckets.push((index.clamp(-INDEX_MAX, INDEX_MAX) as i32, Kahan::new(count)));
                index += 1;
            }
        }
        let mut side = Self(buckets);
        side.restore_order();
        side
    }

    /// The spans and counts of these buckets.
    pub(crate) fn write(&self) -> (Vec<Span>, Vec<f64>) {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for &(index, _) in &self.0 {
            match spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                // The first offset counts from 0, as `next` does then.
                _ => spans.push(Span { offset: index - next, length: 1 }),
            }
            next = index + 1;
        }
        (spans, self.0.iter().map(|(_, count)| count.value()).collect())
    }

    /// Merges buckets into those of a coarser schema.
    pub(crate) fn coarsen(&mut self, from: i8, to: i8) {
        if from > to {
            self.map_indexes(|index| coarser_index(index, from, to));
        }
    }

    /// Gives buckets other indexes, in the same order; buckets of one index are added.
    pub(crate) fn map_indexes(&mut self, mut index_of: impl FnMut(i32) -> i32) {
        self.0.iter_mut().for_each(|(index, _)| *index = index_of(*index));
        self.merge_equal();
    }

    /// Drops buckets that end at or before `threshold`.
    pub(crate) fn drop_below(&mut self, threshold: f64, schema: i8) {
        let kept = self.0.partition_point(|&(index, _)| exponential_bound(index, schema) <= threshold);
        self.0.drain(..kept);
    }

    /// Drops buckets that begin before `threshold`, and empty ones.
    pub(crate) fn drop_inside(&mut self, threshold: f64, schema: i8) {
        self.0.retain(|&(index, count)| count.value() != 0.0 && exponential_bound(index - 1, schema) >= threshold);
    }

    /// Adds the buckets of another side, or takes them away.
    pub(crate) fn add(&mut self, other: &Self, negate: bool) {
        let sign = if negate { -1.0 } else { 1.0 };
        let signed = |mut count: Kahan| {
            count.scale(sign);
            count
        };
        if self.has_layout_of(other) {
            for ((_, count), &(_, more)) in self.0.iter_mut().zip(&other.0) {
                count.merge(signed(more));
            }
            return;
        }
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        let mut left = self.0.iter().copied().peekable();
        for &(index, count) in &other.0 {
            while let Some(bucket) = left.next_if(|bucket| bucket.0 < index) {
                merged.push(bucket);
            }
            match left.next_if(|bucket| bucket.0 == index) {
                Some((_, mut sum)) => {
                    sum.merge(signed(count));
                    merged.push((index, sum));
                }
                None => merged.push((index, signed(count))),
            }
        }
        merged.extend(left);
        self.0 = merged;
    }

    /// Whether the buckets have the same indexes.
    fn has_layout_of(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.0 == b.0)
    }

    /// Indexes and counts.
    pub(crate) fn counts(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + '_ {
        self.0.iter().map(|&(index, count)| (index, count.value()))
    }

    fn restore_order(&mut self) {
        if !self.0.is_sorted_by(|a, b| a.0 < b.0) {
            self.0.sort_by_key(|&(index, _)| index);
            self.merge_equal();
        }
    }

    fn merge_equal(&mut self) {
        self.0.dedup_by(|bucket, kept| {
            let equal = bucket.0 == kept.0;
            if equal {
                kept.1.merge(bucket.1);
            }
            equal
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    fn counts(side: &Side) -> Vec<(i32, f64)> {
        side.counts().collect()
    }

    #[test]
    fn spans_round_trip() {
        let (spans, values) = (vec![span(-3, 2), span(1, 1), span(4, 2)], vec![1.0, 2.0, 3.0, 4.0, 5.0]);
        let side = Side::read(&spans, &values);
        assert_eq!(counts(&side), [(-3, 1.0), (-2, 2.0), (0, 3.0), (5, 4.0), (6, 5.0)]);
        assert_eq!(side.write(), (spans, values));
    }

    #[test]
    fn broken_spans_are_read_as_far_as_they_go() {
        assert_eq!(counts(&Side::read(&[span(0, u32::MAX)], &[1.0])), [(0, 1.0)]);
        assert_eq!(counts(&Side::read(&[span(0, 1)], &[1.0, 2.0])), [(0, 1.0)]);
        assert_eq!(counts(&Side::read(&[], &[1.0])), []);
        assert_eq!(
            counts(&Side::read(&[span(2, 2), span(-2, 1), span(-9, 1)], &[1.0, 2.0, 3.0, 4.0])),
            [(-6, 4.0), (2, 4.0), (3, 2.0)]
        );
        let far = Side::read(&[span(i32::MAX, 2), span(i32::MAX, 1)], &[1.0, 2.0, 4.0]);
        assert_eq!(far.counts().map(|(_, count)| count).sum::<f64>(), 7.0);
    }

    #[test]
    fn coarsening_keeps_the_total() {
        let mut side = Side::read(&[span(0, 6)], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        side.coarsen(1, 0);
        // (0, 1] holds indexes -1 and 0; (1, 2] holds 1 and 2; (2, 4] holds 3 and 4.
        assert_eq!(counts(&side), [(0, 1.0), (1, 5.0), (2, 9.0), (3, 6.0)]);
    }

    #[test]
    fn sums_insert_what_is_missing() {
        let mut a = Side::read(&[span(1, 1), span(1, 1)], &[1.0, 3.0]);
        a.add(&Side::read(&[span(0, 2), span(2, 1)], &[10.0, 20.0, 40.0]), false);
        assert_eq!(counts(&a), [(0, 10.0), (1, 21.0), (3, 3.0), (4, 40.0)]);
        let same = a.clone();
        a.add(&same, true);
        assert_eq!(counts(&a), [(0, 0.0), (1, 0.0), (3, 0.0), (4, 0.0)]);
    }
}
