//! The history of a metric: read from the engine in its order (time, step, value), a piece at a time.

use tsq_core::{Kind, METRIC_NAME, Matcher, Samples, Series, Snapshot, Source, TimeRange};

use crate::error::{Error, Result};

/// Points read at once.
const PIECE: usize = 64 << 10;

/// Points that are sorted in memory, where steps go back in time.
const SORTED_MAX: usize = 20_000_000;

/// Where a page of a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Time of the first point.
    pub time_ms: i64,
    /// Points of that time that earlier pages had.
    pub skip: u64,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { time_ms: i64::MIN, skip: 0 }
    }
}

/// The history of one metric of one run at one moment.
#[derive(Debug)]
pub struct History {
    series: Option<Series>,
    /// Pieces that are still to be read, the next one last.
    pieces: Vec<TimeRange>,
    skip: u64,
    buffer: Samples,
}

/// The series of a metric of a run, if it has points in a range.
fn series(snapshot: &Snapshot, run_id: &str, key: &str, range: TimeRange) -> Result<Option<Series>> {
    let matchers = [Matcher::equal(METRIC_NAME, key), Matcher::equal("run_id", run_id)];
    let mut stream = snapshot.select(&matchers, range)?;
    loop {
        let Some(series) = stream.next_batch(1)?.pop() else { return Ok(None) };
        if series.kinds().any(|kind| kind == Kind::Run) {
            return Ok(Some(series));
        }
    }
}

impl History {
    /// The history from a cursor on. A metric that the run has not got has an empty one.
    ///
    /// # Errors
    /// When stored data cannot be read.
    pub fn new(snapshot: &Snapshot, run_id: &str, key: &str, from: Cursor) -> Result<Self> {
        let range = TimeRange::new(from.time_ms, i64::MAX);
        let series = series(snapshot, run_id, key, range)?;
        let mut pieces = series.as_ref().map_or(Vec::new(), |series| series.pieces(range, PIECE));
        pieces.reverse();
        Ok(Self { series, pieces, skip: from.skip, buffer: Samples::default() })
    }

    /// The next points; `None` at the end.
    ///
    /// # Errors
    /// When stored data cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<&Samples>> {
        let Some(series) = &self.series else { return Ok(None) };
        while let Some(piece) = self.pieces.pop() {
            series.read(Kind::Run, piece, &mut self.buffer)?;
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.buffer.len());
            self.skip -= skipped as u64;
            self.buffer.times.drain(..skipped);
            self.buffer.steps.drain(..skipped);
            self.buffer.values.drain(..skipped);
            if !self.buffer.is_empty() {
                return Ok(Some(&self.buffer));
            }
        }
        Ok(None)
    }

    /// At most `count` points from a cursor on, and where the next page begins if there is one.
    ///
    /// # Errors
    /// When stored data cannot be read.
    pub fn page(
        snapshot: &Snapshot,
        run_id: &str,
        key: &str,
        from: Cursor,
        count: usize,
    ) -> Result<(Samples, Option<Cursor>)> {
        let mut history = Self::new(snapshot, run_id, key, from)?;
        let mut page = Samples::default();
        while let Some(piece) = history.next_piece()? {
            let taken = piece.len().min(count - page.len());
            page.times.extend_from_slice(&piece.times[..taken]);
            page.steps.extend_from_slice(&piece.steps[..taken]);
            page.values.extend_from_slice(&piece.values[..taken]);
            if taken < piece.len() {
                let time_ms = piece.times[taken];
                let same = page.times.iter().rev().take_while(|&&time| time == time_ms).count() as u64;
                // A page that lies within one time goes on where it began.
                let before = if from.time_ms == time_ms && same == page.len() as u64 { from.skip } else { 0 };
                return Ok((page, Some(Cursor { time_ms, skip: before + same })));
            }
        }
        Ok((page, None))
    }

    /// At most `count` points of a metric with steps from `steps.0` to `steps.1`, in the order (step, time, value): evenly
    /// picked, the first and the last among them.
    ///
    /// # Errors
    /// When stored data cannot be read, or when more than 20 million points would have to be sorted.
    pub fn sampled(snapshot: &Snapshot, run_id: &str, key: &str, steps: (i64, i64), count: usize) -> Result<Samples> {
        let Some(series) = series(snapshot, run_id, key, TimeRange::ALL)? else { return Ok(Samples::default()) };
        let inside = |step: i64| steps.0 <= step && step <= steps.1;
        let (mut total, mut last, mut is_sorted) = (0_usize, (i64::MIN, i64::MIN), true);
        each_piece(&series, |piece| {
            for (&step, &time) in piece.steps.iter().zip(&piece.times).filter(|(step, _)| inside(**step)) {
                total += 1;
                is_sorted &= last <= (step, time);
                last = (step, time);
            }
            Ok(())
        })?;
        if !is_sorted && total > SORTED_MAX {
            return Err(Error::invalid(format!(
                "metric {key:?} has {total} points whose steps go back in time: at most {SORTED_MAX} can be sorted"
            )));
        }
        let mut picked = Samples::default();
        let mut sorted = Vec::new();
        let (mut place, mut next) = (0_usize, 0_usize);
        each_piece(&series, |piece| {
            for at in (0..piece.len()).filter(|&at| inside(piece.steps[at])) {
                if !is_sorted {
                    sorted.push((piece.steps[at], piece.times[at], piece.values[at]));
                } else if place == nth(next, count, total) {
                    push(&mut picked, piece.steps[at], piece.times[at], piece.values[at]);
                    next += 1;
                }
                place += 1;
            }
            Ok(())
        })?;
        if !is_sorted {
            // The sort is stable: points of one step and time stay in the order of their values.
            sorted.sort_by_key(|&(step, time, _)| (step, time));
            for index in 0..count.min(total) {
                let (step, time, value) = sorted[nth(index, count, total)];
                push(&mut picked, step, time, value);
            }
        }
        Ok(picked)
    }
}

fn each_piece(series: &Series, mut visit: impl FnMut(&Samples) -> Result<()>) -> Result<()> {
    let mut buffer = Samples::default();
    for piece in series.pieces(TimeRange::ALL, PIECE) {
        series.read(Kind::Run, piece, &mut buffer)?;
        visit(&buffer)?;
    }
    Ok(())
}

fn push(samples: &mut Samples, step: i64, time: i64, value: f64) {
    samples.steps.push(step);
    samples.times.push(time);
    samples.values.push(value);
}

/// Which of `total` points is the one with this index of at most `count`.
fn nth(index: usize, count: usize, total: usize) -> usize {
    if total <= count {
        return index;
    }
    if count < 2 {
        // Of one point the first is shown; what comes after it is never asked for.
        return if index == 0 { 0 } else { usize::MAX };
    }
    index.saturating_mul(total - 1) / (count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_even_and_keep_both_ends() {
        let picks = |count: usize, total: usize| {
            (0..count.min(total)).map(|index| nth(index, count, total)).collect::<Vec<_>>()
        };
        assert_eq!(picks(3, 11), [0, 5, 10]);
        assert_eq!(picks(4, 4), [0, 1, 2, 3]);
        assert_eq!(picks(5, 3), [0, 1, 2]);
        assert_eq!(picks(1, 9), [0]);
        let many = picks(320, 1_000_000);
        assert_eq!((many[0], many[319]), (0, 999_999));
        assert!(many.is_sorted_by(|left, right| left < right));
    }
}
