//! What the start times of samples tell of a counter: a new one began after the sample before.
//!
//! A sample whose start time is unknown tells nothing; nor does one that starts at its own time or later, as senders
//! write it who know no better.

use super::{Note, Notes, Window};

/// When a sample was taken, and since when it has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) time_ms: i64,
    /// 0 when it is unknown.
    pub(super) start_ms: i64,
}

impl Since {
    /// Whether it began to count between another sample and its own time.
    pub(super) fn is_reset_after(self, before: Self) -> bool {
        self.is_within(before.time_ms) && self.start_ms != before.start_ms
    }

    /// Whether it claims what another sample has counted already: neither went it on, nor did it begin after that.
    pub(super) fn overlaps(self, before: Self) -> bool {
        self.start_ms != 0 && self.start_ms < before.time_ms && self.start_ms != before.start_ms
    }

    fn is_within(self, from_ms: i64) -> bool {
        self.start_ms != 0 && from_ms <= self.start_ms && self.start_ms < self.time_ms
    }
}

/// Times and start times of the floats or of the histograms of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Starts<'a> {
    times: &'a [i64],
    /// Empty when none is known.
    starts: &'a [i64],
}

impl<'a> Starts<'a> {
    /// Those of the floats.
    pub(super) fn of_floats(window: &Window<'a>) -> Self {
        Self { times: window.times, starts: window.starts }
    }

    /// Those of the histograms.
    pub(super) fn of_histograms(window: &Window<'a>) -> Self {
        Self { times: window.histogram_times, starts: window.histogram_starts }
    }

    /// Time and start of a sample.
    pub(super) fn since(&self, at: usize) -> Since {
        Since { time_ms: self.times[at], start_ms: self.starts.get(at).copied().unwrap_or(0) }
    }

    /// Whether the counter began anew between a sample and the one before it.
    pub(super) fn is_reset(&self, at: usize) -> bool {
        !self.starts.is_empty() && self.since(at).is_reset_after(self.since(at - 1))
    }

    /// When the counter of the first sample began, if that was after the start of the range: all of it was counted
    /// within.
    pub(super) fn first_start(&self, range_start_ms: i64) -> Option<i64> {
        let first = self.starts.first().map(|_| self.since(0))?;
        (first.start_ms != range_start_ms && first.is_within(range_start_ms)).then_some(first.start_ms)
    }

    /// Notes start times that overlap with the sample before.
    pub(super) fn note_overlaps(&self, notes: &mut Notes) {
        if (1..self.starts.len()).any(|at| self.since(at).overlaps(self.since(at - 1))) {
            notes.add(Note::StartOverlap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(time_ms: i64, start_ms: i64) -> Since {
        Since { time_ms, start_ms }
    }

    #[test]
    fn a_counter_began_anew_when_its_start_lies_between_two_samples() {
        let before = since(100, 50);
        for (start_ms, is_reset, overlaps) in [
            (0, false, false),
            (50, false, false),
            (49, false, true),
            (99, false, true),
            (100, true, false),
            (199, true, false),
            (200, false, false),
            (201, false, false),
        ] {
            let after = since(200, start_ms);
            assert_eq!((after.is_reset_after(before), after.overlaps(before)), (is_reset, overlaps), "{start_ms}");
        }
        assert!(!since(200, 100).is_reset_after(since(100, 100)), "what has the same start goes on");
    }

    #[test]
    fn a_first_start_counts_only_inside_of_the_range() {
        let first_start = |start_ms, range_start_ms| {
            Starts { times: &[100, 200], starts: &[start_ms, 0] }.first_start(range_start_ms)
        };
        assert_eq!(first_start(60, 50), Some(60));
        assert_eq!([first_start(50, 50), first_start(40, 50), first_start(100, 50), first_start(0, -50)], [None; 4]);
        assert_eq!(Starts { times: &[100], starts: &[] }.first_start(50), None);
    }
}
