//! Delta points summed up to cumulative ones.
//!
//! Each stream of delta points, that is each series, has a running total. A repetition of the newest point of a stream
//! gives the same total again, as a client sends it when it did not get the answer; an older point is refused. Gaps and
//! overlaps of the points' intervals are no errors.
//!
//! What is held is bounded: streams go into a young generation, and when that takes half of the memory, it becomes the
//! old one and what was in the old one is forgotten. A stream that comes back later, or after a restart, begins again
//! at zero, which is a counter reset.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tsq_core::Histogram;

use super::buckets::Exponential;

/// What a delta point holds, and what a stream sums up.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Total {
    Number(f64),
    Explicit(Explicit),
    Exponential(Box<Exponential>),
}

/// A histogram with explicit bounds; one more count than bounds, or neither.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Explicit {
    pub(super) bounds: Vec<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
}

impl Total {
    /// Adds what a point holds; starts over where the two cannot be added.
    fn add(&mut self, point: Self) -> Result<Began, String> {
        match (self, point) {
            (Self::Number(total), Self::Number(more)) => *total += more,
            (Self::Explicit(total), Self::Explicit(more)) if total.bounds == more.bounds => total.add(&more)?,
            (Self::Exponential(total), Self::Exponential(more)) => total.add(&more)?,
            (total, other) => {
                *total = other;
                return Ok(Began::Anew);
            }
        }
        Ok(Began::Before)
    }

    /// The number that numbers add up to.
    pub(super) fn number(self) -> f64 {
        match self {
            Self::Number(total) => total,
            Self::Explicit(_) | Self::Exponential(_) => unreachable!("a total is of the kind of its last point"),
        }
    }

    /// The histogram that histograms with explicit bounds add up to.
    pub(super) fn explicit(self) -> Explicit {
        match self {
            Self::Explicit(total) => total,
            Self::Number(_) | Self::Exponential(_) => unreachable!("a total is of the kind of its last point"),
        }
    }

    /// The native histogram that exponential ones add up to; an error says what is wrong with it.
    pub(super) fn native(&self) -> Result<Histogram, String> {
        match self {
            Self::Exponential(total) => total.native(),
            Self::Number(_) | Self::Explicit(_) => unreachable!("a total is of the kind of its last point"),
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Explicit(explicit) => 8 * (explicit.bounds.capacity() + explicit.counts.capacity()),
            Self::Exponential(exponential) => exponential.memory(),
        }
    }
}

/// Since when a total counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    Before,
    Anew,
}

impl Explicit {
    fn add(&mut self, more: &Self) -> Result<(), String> {
        let mut sums = self.counts.iter().zip(&more.counts).map(|(one, two)| one.checked_add(*two));
        let counts: Option<Vec<u64>> = sums.by_ref().collect();
        let (Some(counts), Some(count)) = (counts, self.count.checked_add(more.count)) else {
            return Err("its counts are above 2^64 in total".to_owned());
        };
        (self.counts, self.count) = (counts, count);
        self.sum = self.sum.zip(more.sum).map(|(one, two)| one + two);
        Ok(())
    }
}

/// A stream of delta points.
#[derive(Clone, Debug)]
struct Stream {
    /// Since when `total` counts, in milliseconds; 0 when that is unknown.
    start_ms: i64,
    /// Start and time of the newest point, in nanoseconds.
    newest: (u64, u64),
    /// Time of the newest sample.
    time_ms: i64,
    total: Total,
}

/// Bytes that an entry of a map takes beside what its total has on the heap.
const STREAM_BYTES: usize = 2 * (size_of::<u128>() + size_of::<Stream>());

impl Stream {
    fn memory(&self) -> usize {
        STREAM_BYTES + self.total.memory()
    }
}

#[derive(Debug, Default)]
struct Generation {
    streams: HashMap<u128, Stream>,
    bytes: usize,
}

impl Generation {
    fn insert(&mut self, key: u128, stream: Stream) {
        self.bytes += stream.memory();
        if let Some(replaced) = self.streams.insert(key, stream) {
            self.bytes -= replaced.memory();
        }
    }

    fn remove(&mut self, key: u128) -> Option<Stream> {
        let stream = self.streams.remove(&key)?;
        self.bytes -= stream.memory();
        Some(stream)
    }
}

/// The running totals of all streams of delta points, within a bound of memory. See the module's text for what happens
/// beyond it. Shared by all requests to one database.
#[derive(Debug)]
pub struct Deltas {
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    young: Generation,
    old: Generation,
    bytes_max: usize,
}

impl Deltas {
    /// No streams yet; at most about `bytes_max` bytes of them.
    pub fn new(bytes_max: usize) -> Self {
        Self { streams: Mutex::new(Streams { bytes_max, ..Streams::default() }) }
    }

    /// How many streams are held, and the bytes they take.
    pub fn held(&self) -> (usize, usize) {
        let streams = self.lock();
        (streams.young.streams.len() + streams.old.streams.len(), streams.young.bytes + streams.old.bytes)
    }

    /// Takes back what a request added whose samples were not stored, so that it can be sent again. Streams that went
    /// on since keep it: their later samples hold what this request brought.
    pub fn take_back(&self, changes: DeltaChanges) {
        let mut streams = self.lock();
        for change in changes.0.into_iter().rev() {
            let unchanged = streams.get(change.key).is_some_and(|stream| stream.newest == change.newest);
            match change.before {
                _ if !unchanged => {}
                Some(before) => streams.young.insert(change.key, before),
                None => drop(streams.young.remove(change.key)),
            }
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Streams> {
        // What a panic left is whole streams: each is replaced in one step.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request changed in [`Deltas`].
#[derive(Debug, Default)]
pub struct DeltaChanges(Vec<Change>);

#[derive(Debug)]
struct Change {
    key: u128,
    before: Option<Stream>,
    newest: (u64, u64),
}

/// A cumulative point made of delta points.
#[derive(Debug)]
pub(super) struct Cumulative<'s> {
    /// 0 when it is unknown.
    pub(super) start_ms: i64,
    pub(super) time_ms: i64,
    pub(super) total: &'s Total,
}

impl Streams {
    /// The stream, moved to the young ones.
    fn get(&mut self, key: u128) -> Option<&mut Stream> {
        if let Some(stream) = self.old.remove(key) {
            self.young.insert(key, stream);
        }
        self.young.streams.get_mut(&key)
    }

    /// Adds a point with this start and time in nanoseconds, and notes it in `changes`. An error says why it is
    /// refused.
    pub(super) fn add(
        &mut self,
        key: u128,
        newest: (u64, u64),
        point: Total,
        changes: &mut DeltaChanges,
    ) -> Result<Cumulative<'_>, String> {
        let known = self.get(key).map(|stream| (stream.newest, stream.time_ms));
        if known.is_some_and(|(known, _)| known == newest) {
            return Ok(self.cumulative(key));
        }
        let (start_ns, time_ns) = newest;
        let mut stream = Stream { start_ms: millis(start_ns), newest, time_ms: millis(time_ns), total: point };
        let mut before = None;
        if let Some((known, time_ms)) = known {
            if time_ns <= known.1 {
                let newest_ms = millis(known.1);
                return Err(format!("the delta point is not newer than the one before it, at {newest_ms}"));
            }
            let mut old = self.young.streams.get(&key).expect("it was just found").clone();
            before = Some(old.clone());
            if old.total.add(stream.total)? == Began::Before {
                stream.start_ms = old.start_ms;
            }
            stream.total = old.total;
            // Two points within one millisecond still are two samples.
            stream.time_ms = stream.time_ms.max(time_ms + 1);
        }
        changes.0.push(Change { key, before, newest });
        self.young.insert(key, stream);
        self.forget_some(key);
        Ok(self.cumulative(key))
    }

    /// Forgets the old streams when the young ones take half of the memory. `kept` stays.
    fn forget_some(&mut self, kept: u128) {
        if self.young.bytes <= self.bytes_max / 2 {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        let stream = self.old.remove(kept).expect("it was just put in");
        self.young.insert(kept, stream);
    }

    fn cumulative(&self, key: u128) -> Cumulative<'_> {
        let stream = &self.young.streams[&key];
        Cumulative { start_ms: stream.start_ms, time_ms: stream.time_ms, total: &stream.total }
    }
}

fn millis(ns: u64) -> i64 {
    (ns / 1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn add(
        deltas: &Deltas,
        key: u128,
        times: (u64, u64),
        value: f64,
    ) -> (Result<(i64, i64, f64), String>, DeltaChanges) {
        let mut changes = DeltaChanges::default();
        let mut streams = deltas.lock();
        let added = streams.add(key, times, Total::Number(value), &mut changes).map(|sum| match sum.total {
            Total::Number(total) => (sum.start_ms, sum.time_ms, *total),
            other => panic!("{other:?}"),
        });
        (added, changes)
    }

    #[test]
    fn points_are_summed_up_and_repetitions_are_not() {
        let deltas = Deltas::new(1 << 20);
        assert_eq!(add(&deltas, 1, (S, 2 * S), 3.0).0, Ok((1000, 2000, 3.0)));
        assert_eq!(add(&deltas, 1, (2 * S, 3 * S), 4.0).0, Ok((1000, 3000, 7.0)));
        assert_eq!(add(&deltas, 1, (2 * S, 3 * S), 4.0).0, Ok((1000, 3000, 7.0)), "a repetition");
        assert!(add(&deltas, 1, (S, 2 * S), 3.0).0.unwrap_err().contains("not newer"));
        assert_eq!(add(&deltas, 1, (5 * S, 6 * S), 1.0).0, Ok((1000, 6000, 8.0)), "after a gap");
        assert_eq!(add(&deltas, 1, (6 * S, 6 * S + 10), 1.0).0, Ok((1000, 6001, 9.0)), "within a millisecond");
        assert_eq!(add(&deltas, 2, (6 * S, 7 * S), 1.0).0, Ok((6000, 7000, 1.0)), "another stream");
        assert_eq!(deltas.held().0, 2);
    }

    #[test]
    fn what_was_not_stored_is_taken_back() {
        let deltas = Deltas::new(1 << 20);
        let (_, one) = add(&deltas, 1, (S, 2 * S), 3.0);
        deltas.take_back(one);
        assert_eq!(deltas.held().0, 0);
        add(&deltas, 1, (S, 2 * S), 3.0).0.unwrap();
        let (_, two) = add(&deltas, 1, (2 * S, 3 * S), 4.0);
        deltas.take_back(two);
        assert_eq!(add(&deltas, 1, (2 * S, 3 * S), 4.0).0, Ok((1000, 3000, 7.0)));
        // A stream that went on since keeps what its newer samples hold already.
        let (_, three) = add(&deltas, 1, (3 * S, 4 * S), 1.0);
        add(&deltas, 1, (4 * S, 5 * S), 1.0).0.unwrap();
        deltas.take_back(three);
        assert_eq!(add(&deltas, 1, (5 * S, 6 * S), 1.0).0, Ok((1000, 6000, 10.0)));
    }

    #[test]
    fn memory_is_bounded_and_streams_in_use_stay() {
        let bytes_max = 100 * STREAM_BYTES;
        let deltas = Deltas::new(bytes_max);
        for second in 1..1000_u64 {
            let (sum, _) = add(&deltas, 0, (second * S, (second + 1) * S), 1.0);
            assert_eq!(sum.unwrap().2, second as f64);
            add(&deltas, u128::from(second), (second * S, (second + 1) * S), 1.0).0.unwrap();
            let (streams, bytes) = deltas.held();
            assert!(bytes <= bytes_max + STREAM_BYTES && streams <= 101, "{streams} streams of {bytes} bytes");
        }
        // An idle one was forgotten: it begins again.
        assert_eq!(add(&deltas, 1, (2000 * S, 2001 * S), 5.0).0, Ok((2_000_000, 2_001_000, 5.0)));
    }

    #[test]
    fn other_bounds_begin_a_new_total() {
        let deltas = Deltas::new(1 << 20);
        let point = |bounds: &[f64], counts: &[u64]| {
            let (count, sum) = (counts.iter().sum(), Some(1.5));
            Total::Explicit(Explicit { bounds: bounds.to_vec(), counts: counts.to_vec(), count, sum })
        };
        let mut streams = deltas.lock();
        let mut changes = DeltaChanges::default();
        let mut add = |second: u64, total: Total| {
            let sum = streams.add(9, (second * S, (second + 1) * S), total, &mut changes).unwrap();
            (sum.start_ms, sum.total.clone())
        };
        add(1, point(&[1.0], &[1, 2]));
        let (start_ms, total) = add(2, point(&[1.0], &[1, 0]));
        assert_eq!(start_ms, 1000);
        let want = Explicit { bounds: vec![1.0], counts: vec![2, 2], count: 4, sum: Some(3.0) };
        assert_eq!(total, Total::Explicit(want));
        assert_eq!(add(3, point(&[2.0], &[1, 0])), (3000, point(&[2.0], &[1, 0])));
        assert_eq!(add(4, Total::Number(2.0)), (4000, Total::Number(2.0)));
    }
}
