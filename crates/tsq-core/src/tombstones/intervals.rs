//! Sorted, disjoint ranges of time.

use crate::merge;
use crate::sample::{Samples, TimeRange};

/// Times that are deleted: ranges in order, with at least one millisecond between two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Intervals(Vec<TimeRange>);

impl Intervals {
    /// All of time.
    pub(crate) fn all() -> Self {
        Self(vec![TimeRange::ALL])
    }

    /// Takes ranges over that are in order and do not touch each other; `None` when they are not.
    pub(super) fn from_ranges(ranges: Vec<TimeRange>) -> Option<Self> {
        let apart = |pair: &[TimeRange]| pair[0].max_ms.checked_add(1).is_some_and(|next| next < pair[1].min_ms);
        let sound = ranges.iter().all(|range| range.min_ms <= range.max_ms) && ranges.windows(2).all(apart);
        sound.then_some(Self(ranges))
    }

    pub(super) fn ranges(&self) -> &[TimeRange] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_all(&self) -> bool {
        self.0 == [TimeRange::ALL]
    }

    /// Adds the times of a range.
    pub(crate) fn add(&mut self, range: TimeRange) {
        let start = self.0.partition_point(|known| known.max_ms.saturating_add(1) < range.min_ms);
        let end = self.0.partition_point(|known| known.min_ms <= range.max_ms.saturating_add(1));
        let merged = self.0[start..end.max(start)].iter().fold(range, |merged, known| {
            TimeRange::new(merged.min_ms.min(known.min_ms), merged.max_ms.max(known.max_ms))
        });
        self.0.splice(start..end.max(start), [merged]);
    }

    /// The first range that ends at a time or later.
    fn ending_at(&self, time_ms: i64) -> Option<&TimeRange> {
        self.0.get(self.0.partition_point(|known| known.max_ms < time_ms))
    }

    pub(crate) fn contains(&self, time_ms: i64) -> bool {
        self.ending_at(time_ms).is_some_and(|known| known.min_ms <= time_ms)
    }

    /// Whether every time of a range is inside.
    pub(crate) fn covers(&self, range: TimeRange) -> bool {
        self.ending_at(range.min_ms).is_some_and(|known| known.min_ms <= range.min_ms && range.max_ms <= known.max_ms)
    }

    /// Whether any time of a range is inside.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.ending_at(range.min_ms).is_some_and(|known| known.min_ms <= range.max_ms)
    }

    /// Drops the samples whose times are inside. O(n) when there are any.
    pub(crate) fn drop_from(&self, samples: &mut Samples) {
        if samples.times.iter().any(|time_ms| self.contains(*time_ms)) {
            let kept: Vec<usize> = (0..samples.len()).filter(|row| !self.contains(samples.times[*row])).collect();
            merge::pick_rows(samples, &kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_time_are_times() {
        let mut times = Intervals::default();
        times.add(TimeRange::new(i64::MIN, -1));
        times.add(TimeRange::new(1, i64::MAX));
        assert_eq!(times.len(), 2);
        assert!(times.contains(i64::MIN) && times.contains(i64::MAX) && !times.contains(0));
        times.add(TimeRange::new(0, 0));
        assert!(times.is_all() && times == Intervals::all());
        times.add(TimeRange::new(i64::MAX, i64::MAX));
        assert!(times.is_all());
    }

    #[test]
    fn only_ranges_in_order_and_apart_are_taken_over() {
        let take = |ranges: &[(i64, i64)]| {
            Intervals::from_ranges(ranges.iter().map(|(min, max)| TimeRange::new(*min, *max)).collect())
        };
        assert!(take(&[(0, 1), (3, 3)]).is_some());
        assert!(take(&[(0, 1), (2, 3)]).is_none(), "they touch");
        assert!(take(&[(3, 3), (0, 1)]).is_none());
        assert!(take(&[(1, 0)]).is_none());
        assert!(take(&[(0, i64::MAX), (i64::MIN, 0)]).is_none());
    }

    proptest! {
        /// Intervals say of every time and range what a set of times says.
        #[test]
        fn they_are_a_set(ranges in prop::collection::vec((0_i64..30, 0_i64..8), 0..12), from in 0_i64..40, len in 0_i64..10) {
            let mut times = Intervals::default();
            let mut set = std::collections::BTreeSet::new();
            for (min, len) in ranges {
                times.add(TimeRange::new(min, min + len));
                set.extend(min..=min + len);
            }
            for time in -1..50 {
                prop_assert_eq!(times.contains(time), set.contains(&time));
            }
            let range = TimeRange::new(from, from + len);
            prop_assert_eq!(times.covers(range), (from..=from + len).all(|time| set.contains(&time)));
            prop_assert_eq!(times.overlaps(range), (from..=from + len).any(|time| set.contains(&time)));
            prop_assert!(Intervals::from_ranges(times.ranges().to_vec()).is_some());
            let stored: Vec<i64> = (from..=from + len).collect();
            let mut samples = Samples { values: vec![1.0; stored.len()], times: stored, ..Samples::default() };
            times.drop_from(&mut samples);
            prop_assert!(samples.times.iter().all(|time| !set.contains(time)));
            prop_assert_eq!(samples.times.len(), (from..=from + len).filter(|time| !set.contains(time)).count());
            prop_assert_eq!(samples.times.len(), samples.values.len());
        }
    }
}
