//! Evaluation times, and the times that selectors look at.

/// Evenly spaced evaluation times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// First time, milliseconds since 1970.
    pub start_ms: i64,
    /// Between two times; at least 1.
    pub step_ms: i64,
    /// Number of times; at least 1 but for empty subqueries.
    pub count: usize,
}

impl Grid {
    /// Times from `start_ms` to `end_ms`, both inside.
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let count = if end_ms < start_ms { 0 } else { (end_ms.abs_diff(start_ms) / step_ms as u64) as usize + 1 };
        Self { start_ms, step_ms, count }
    }

    /// The first time alone.
    pub(crate) fn first(&self) -> Self {
        Self { count: self.count.min(1), ..*self }
    }

    /// The time with this index.
    pub(crate) fn time(&self, index: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(index as i64))
    }
}

/// Where `offset` and `@` move a selector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// The time of `@`, if there is one.
    pub at_ms: Option<i64>,
    /// Subtracted from the evaluation time or from that of `@`.
    pub offset_ms: i64,
}

impl Shift {
    /// The time a selector looks at when the evaluation time is `time_ms`.
    pub(crate) fn apply(&self, time_ms: i64) -> i64 {
        self.at_ms.unwrap_or(time_ms).saturating_sub(self.offset_ms)
    }
}

/// A range behind each evaluation time of a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranges {
    /// Evaluation times.
    pub grid: Grid,
    /// Moves the ends of the ranges.
    pub shift: Shift,
    /// Length of each range.
    pub range_ms: i64,
}

impl Ranges {
    /// Start (outside) and end (inside) of the range of the evaluation time with this index. Both never fall.
    pub(crate) fn bounds(&self, index: usize) -> (i64, i64) {
        let end_ms = self.shift.apply(self.grid.time(index));
        (end_ms.saturating_sub(self.range_ms), end_ms)
    }

    /// Start (outside) of the first range and end (inside) of the last one.
    pub(crate) fn hull(&self) -> (i64, i64) {
        (self.bounds(0).0, self.bounds(self.grid.count.saturating_sub(1)).1)
    }

    /// The times of a subquery that has such a range: multiples of `step_ms` inside of the hull.
    pub(crate) fn subquery_grid(&self, step_ms: i64) -> Grid {
        let (start_ms, end_ms) = self.hull();
        let first = start_ms.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
        Grid::new(first, end_ms, step_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subqueries_start_at_the_first_multiple_inside() {
        let ranges = |start_ms, end_ms| Ranges {
            grid: Grid::new(start_ms, end_ms, 1000),
            shift: Shift { at_ms: None, offset_ms: 500 },
            range_ms: 3000,
        };
        assert_eq!(ranges(10_000, 12_000).subquery_grid(1000), Grid { start_ms: 7000, step_ms: 1000, count: 5 });
        assert_eq!(ranges(500, 500).subquery_grid(1000), Grid { start_ms: -2000, step_ms: 1000, count: 3 });
    }

    #[test]
    fn extreme_times_saturate() {
        let grid = Grid::new(i64::MAX - 5, i64::MAX, 10);
        assert_eq!((grid.count, grid.time(9)), (1, i64::MAX));
        assert_eq!(Shift { at_ms: Some(i64::MIN), offset_ms: 5 }.apply(0), i64::MIN);
    }
}
