//! Samples of one series in one generation.

use crate::codec::{Columns, OpenChunk, decode_prefix};
use crate::error::Result;
use crate::histogram::Histogram;
use crate::merge;
use crate::sample::{Kind, Samples, TimeRange};

/// Samples of an open chunk before it is sealed: a reader of a short range decodes at most this many in vain.
const CHUNK_SAMPLES: u32 = 240;

/// A value on its way into the head.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SampleValue<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

/// A sample on its way into the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadSample<'a> {
    pub(crate) time_ms: i64,
    /// Training step; 0 for the kinds without.
    pub(crate) step: i64,
    /// Start time; 0 when it is unknown.
    pub(crate) start_ms: i64,
    pub(crate) value: SampleValue<'a>,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in the chunk or the late buffer.
    Stored,
    /// The newest sample says the same.
    Repeated,
    /// The newest sample has this time and another value.
    Conflict,
}

/// How many samples of a series a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// In the order of arrival, non-descending in time.
    pub(super) ordered: u32,
    /// Older than the newest at their arrival.
    pub(super) late: u32,
}

#[derive(Debug, Default)]
pub(crate) struct SeriesData {
    /// Number in the log of this generation plus one; 0 before its definition is logged.
    pub(super) log_ref: u32,
    ordered: u32,
    /// Newest sample by time, also of the generation before: repeated and conflicting samples are seen against it.
    newest: Option<Newest>,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Newest {
    time_ms: i64,
    /// Bits of a float, or a hash of a histogram.
    bits: u64,
}

#[derive(Debug, Default)]
enum Body {
    #[default]
    Empty,
    Floats(OpenChunk, Option<Box<Extra>>),
    Histograms(Box<Histograms>),
}

/// What few series have.
#[derive(Debug, Default)]
struct Extra {
    sealed: Vec<Sealed>,
    late: Samples,
    newest_step: i64,
}

#[derive(Debug)]
struct Sealed {
    min_ms: i64,
    max_ms: i64,
    count: u32,
    has_starts: bool,
    bytes: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Histograms {
    ordered: Samples,
    late: Samples,
    newest_step: i64,
}

fn push_columns(samples: &mut Samples, kind: Kind, sample: &HeadSample<'_>) {
    samples.times.push(sample.time_ms);
    samples.push_start(sample.start_ms);
    if kind.has_step() {
        samples.steps.push(sample.step);
    }
    match sample.value {
        SampleValue::Float(value) => samples.values.push(value),
        SampleValue::Histogram(histogram) => samples.histograms.push(histogram.clone()),
    }
}

fn value_bits(value: SampleValue<'_>) -> u64 {
    match value {
        SampleValue::Float(value) => value.to_bits(),
        SampleValue::Histogram(histogram) => histogram.digest(),
    }
}

impl SeriesData {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.body, Body::Empty)
    }

    pub(super) fn counts(&self) -> Counts {
        let late = match &self.body {
            Body::Empty => 0,
            Body::Floats(_, extra) => extra.as_ref().map_or(0, |extra| extra.late.len()),
            Body::Histograms(histograms) => histograms.late.len(),
        };
        Counts { ordered: self.ordered, late: late as u32 }
    }

    /// An empty successor for the next generation that still knows the newest sample.
    pub(super) fn successor(&self) -> Self {
        Self { newest: self.newest, ..Self::default() }
    }

    /// Forgets the newest sample if it is one of the generations before and lies in `range`.
    pub(super) fn forget(&mut self, range: TimeRange) {
        if self.ordered == 0 && self.newest.is_some_and(|newest| range.contains(newest.time_ms)) {
            self.newest = None;
        }
    }

    fn newest_step(&self) -> i64 {
        match &self.body {
            Body::Empty => 0,
            Body::Floats(_, extra) => extra.as_ref().map_or(0, |extra| extra.newest_step),
            Body::Histograms(histograms) => histograms.newest_step,
        }
    }

    fn newest_start(&self) -> i64 {
        match &self.body {
            Body::Empty => 0,
            Body::Floats(chunk, _) => chunk.last_start(),
            Body::Histograms(histograms) => histograms.ordered.starts.last().copied().unwrap_or(0),
        }
    }

    /// Takes a sample in, unless it repeats or contradicts the newest one. Amortised O(1).
    pub(super) fn push(&mut self, kind: Kind, sample: &HeadSample<'_>) -> Pushed {
        let bits = value_bits(sample.value);
        let late = match self.newest {
            Some(newest) if newest.time_ms == sample.time_ms => {
                if newest.bits == bits && self.repeats_newest(kind, sample) {
                    return Pushed::Repeated;
                }
                if newest.bits != bits && !kind.has_step() {
                    return Pushed::Conflict;
                }
                false
            }
            Some(newest) => sample.time_ms < newest.time_ms,
            None => false,
        };
        if late {
            self.push_late(kind, sample);
        } else {
            self.push_ordered(kind, sample);
            self.newest = Some(Newest { time_ms: sample.time_ms, bits });
        }
        Pushed::Stored
    }

    /// Whether a sample with the time and value of the newest one says nothing new. After a rotation step and start of
    /// that are unknown: the merge on read drops repetitions.
    fn repeats_newest(&self, kind: Kind, sample: &HeadSample<'_>) -> bool {
        if self.is_empty() {
            return !kind.has_step() && sample.start_ms == 0;
        }
        (!kind.has_step() || self.newest_step() == sample.step)
            && merge::compare_starts(sample.start_ms, self.newest_start()).is_le()
    }

    /// Takes a sample of the log in. What the log holds was accepted, whatever the newest sample is now.
    pub(super) fn replay(&mut self, kind: Kind, sample: &HeadSample<'_>) {
        if self.push(kind, sample) == Pushed::Conflict {
            self.push_late(kind, sample);
        }
    }

    fn push_ordered(&mut self, kind: Kind, sample: &HeadSample<'_>) {
        let &HeadSample { time_ms, step, start_ms, value } = sample;
        self.ordered += 1;
        match value {
            SampleValue::Float(value) => {
                let (chunk, extra) = self.floats();
                // A chunk of samples without start times is not continued with such that have one.
                if chunk.len() >= CHUNK_SAMPLES || start_ms != 0 && chunk.len() > 0 && !chunk.columns().starts {
                    let sealed = seal(chunk);
                    extra.get_or_insert_default().sealed.push(sealed);
                }
                let start = (start_ms != 0 || chunk.columns().starts).then_some(start_ms);
                chunk.push(time_ms, kind.has_step().then_some(step), start, value);
                if kind.has_step() {
                    extra.get_or_insert_default().newest_step = step;
                }
            }
            SampleValue::Histogram(_) => {
                let histograms = self.histograms();
                histograms.newest_step = step;
                push_columns(&mut histograms.ordered, kind, sample);
            }
        }
    }

    fn push_late(&mut self, kind: Kind, sample: &HeadSample<'_>) {
        let late = match sample.value {
            SampleValue::Float(_) => &mut self.floats().1.get_or_insert_default().late,
            SampleValue::Histogram(_) => &mut self.histograms().late,
        };
        push_columns(late, kind, sample);
    }

    fn floats(&mut self) -> (&mut OpenChunk, &mut Option<Box<Extra>>) {
        if self.is_empty() {
            self.body = Body::Floats(OpenChunk::default(), None);
        }
        match &mut self.body {
            Body::Floats(chunk, extra) => (chunk, extra),
            _ => unreachable!("a series has one kind"),
        }
    }

    fn histograms(&mut self) -> &mut Histograms {
        if self.is_empty() {
            self.body = Body::Histograms(Box::default());
        }
        match &mut self.body {
            Body::Histograms(histograms) => histograms,
            _ => unreachable!("a series has one kind"),
        }
    }

    /// Appends the samples that `counts` lets be seen and that may lie in `range` to `out`, in no guaranteed order.
    pub(super) fn read(&self, kind: Kind, range: TimeRange, counts: Counts, out: &mut Samples) -> Result<()> {
        match &self.body {
            Body::Empty => Ok(()),
            Body::Floats(chunk, extra) => {
                let mut left = counts.ordered;
                if let Some(extra) = extra {
                    for sealed in &extra.sealed {
                        let count = sealed.count.min(left);
                        left -= count;
                        let inside = range.overlaps(&TimeRange::new(sealed.min_ms, sealed.max_ms));
                        if inside && count > 0 {
                            let columns = Columns { steps: kind.has_step(), starts: sealed.has_starts };
                            decode_prefix(&sealed.bytes, columns, count as usize, out)?;
                        }
                    }
                    extend_prefix(out, &extra.late, counts.late as usize);
                }
                // Times never fall: the last one tells whether any is in the range.
                match chunk.last_time() < range.min_ms {
                    true => Ok(()),
                    false => decode_prefix(chunk.bytes(), chunk.columns(), left as usize, out),
                }
            }
            Body::Histograms(histograms) => {
                extend_prefix(out, &histograms.ordered, counts.ordered as usize);
                extend_prefix(out, &histograms.late, counts.late as usize);
                Ok(())
            }
        }
    }

    /// Forgets the samples beyond `counts`: their batch could not be logged. Rebuilds the chunk; rare.
    pub(super) fn roll_back(&mut self, kind: Kind, counts: Counts) -> Result<()> {
        let mut kept = Samples::default();
        self.read(kind, TimeRange::ALL, Counts { late: 0, ..counts }, &mut kept)?;
        let mut late = Samples::default();
        match &self.body {
            Body::Floats(_, Some(extra)) => extend_prefix(&mut late, &extra.late, counts.late as usize),
            Body::Histograms(histograms) => extend_prefix(&mut late, &histograms.late, counts.late as usize),
            _ => {}
        }
        *self = Self { log_ref: self.log_ref, ..Self::default() };
        for_each(kind, &kept, |sample| {
            self.push_ordered(kind, sample);
            self.newest = Some(Newest { time_ms: sample.time_ms, bits: value_bits(sample.value) });
        });
        for_each(kind, &late, |sample| self.push_late(kind, sample));
        Ok(())
    }

    /// Heap bytes held.
    pub(super) fn memory(&self) -> usize {
        let columns = |s: &Samples| {
            let histograms: usize = s.histograms.iter().map(Histogram::memory).sum();
            (s.times.capacity() + s.steps.capacity() + s.values.capacity() + s.starts.capacity()) * 8 + histograms
        };
        match &self.body {
            Body::Empty => 0,
            Body::Floats(chunk, extra) => {
                let extra = extra.as_ref().map_or(0, |extra| {
                    let sealed: usize =
                        extra.sealed.iter().map(|sealed| sealed.bytes.len() + size_of::<Sealed>()).sum();
                    size_of::<Extra>() + sealed + columns(&extra.late)
                });
                chunk.allocated() + extra
            }
            Body::Histograms(histograms) => columns(&histograms.ordered) + columns(&histograms.late),
        }
    }
}

fn seal(chunk: &mut OpenChunk) -> Sealed {
    let full = std::mem::take(chunk);
    let columns = full.columns();
    let mut first = Samples::default();
    decode_prefix(full.bytes(), columns, 1, &mut first).expect("a chunk of our own decodes");
    Sealed {
        min_ms: first.times[0],
        max_ms: full.last_time(),
        count: full.len(),
        has_starts: columns.starts,
        bytes: full.bytes().into(),
    }
}

fn extend_prefix(out: &mut Samples, from: &Samples, count: usize) {
    let (before, count) = (out.len(), count.min(from.len()));
    let part = |len: usize| count.min(len);
    out.times.extend_from_slice(&from.times[..count]);
    out.steps.extend_from_slice(&from.steps[..part(from.steps.len())]);
    out.values.extend_from_slice(&from.values[..part(from.values.len())]);
    out.histograms.extend_from_slice(&from.histograms[..part(from.histograms.len())]);
    out.append_starts(before, &from.starts[..part(from.starts.len())]);
}

fn for_each(kind: Kind, samples: &Samples, mut visit: impl FnMut(&HeadSample<'_>)) {
    for index in 0..samples.len() {
        let step = if kind.has_step() { samples.steps[index] } else { 0 };
        let value = match kind.is_histogram() {
            true => SampleValue::Histogram(&samples.histograms[index]),
            false => SampleValue::Float(samples.values[index]),
        };
        visit(&HeadSample { time_ms: samples.times[index], step, start_ms: samples.start(index), value });
    }
}

/// Brings what [`SeriesData::read`] appended into order and range.
pub(super) fn finish(kind: Kind, range: TimeRange, samples: &mut Samples) {
    merge::normalise(kind, samples);
    merge::clip(samples, range);
}
