//! Samples of one series in one generation.

use crate::codec::{OpenChunk, decode_prefix};
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
    bytes: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Histograms {
    ordered: Samples,
    late: Samples,
    newest_step: i64,
}

fn push_columns(samples: &mut Samples, kind: Kind, time_ms: i64, step: i64, value: SampleValue<'_>) {
    samples.times.push(time_ms);
    if kind.has_step() {
        samples.steps.push(step);
    }
    match value {
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

    fn newest_step(&self) -> i64 {
        match &self.body {
            Body::Empty => 0,
            Body::Floats(_, extra) => extra.as_ref().map_or(0, |extra| extra.newest_step),
            Body::Histograms(histograms) => histograms.newest_step,
        }
    }

    /// Takes a sample in, unless it repeats or contradicts the newest one. Amortised O(1).
    pub(super) fn push(&mut self, kind: Kind, time_ms: i64, step: i64, value: SampleValue<'_>) -> Pushed {
        let bits = value_bits(value);
        let late = match self.newest {
            Some(newest) if newest.time_ms == time_ms => {
                let same = newest.bits == bits && (!kind.has_step() || self.newest_step() == step);
                match (same, kind.has_step()) {
                    (true, false) => return Pushed::Repeated,
                    // After a rotation the step of the newest sample is unknown: the merge on read drops repetitions.
                    (true, true) if !self.is_empty() => return Pushed::Repeated,
                    (false, false) => return Pushed::Conflict,
                    _ => false,
                }
            }
            Some(newest) => time_ms < newest.time_ms,
            None => false,
        };
        if late {
            self.push_late(kind, time_ms, step, value);
        } else {
            self.push_ordered(kind, time_ms, step, value);
            self.newest = Some(Newest { time_ms, bits });
        }
        Pushed::Stored
    }

    /// Takes a sample of the log in. What the log holds was accepted, whatever the newest sample is now.
    pub(super) fn replay(&mut self, kind: Kind, time_ms: i64, step: i64, value: SampleValue<'_>) {
        if self.push(kind, time_ms, step, value) == Pushed::Conflict {
            self.push_late(kind, time_ms, step, value);
        }
    }

    fn push_ordered(&mut self, kind: Kind, time_ms: i64, step: i64, value: SampleValue<'_>) {
        self.ordered += 1;
        match value {
            SampleValue::Float(value) => {
                let (chunk, extra) = self.floats();
                if chunk.len() >= CHUNK_SAMPLES {
                    let sealed = seal(chunk, kind.has_step());
                    extra.get_or_insert_default().sealed.push(sealed);
                }
                chunk.push(time_ms, kind.has_step().then_some(step), value);
                if kind.has_step() {
                    extra.get_or_insert_default().newest_step = step;
                }
            }
            SampleValue::Histogram(_) => {
                let histograms = self.histograms();
                histograms.newest_step = step;
                push_columns(&mut histograms.ordered, kind, time_ms, step, value);
            }
        }
    }

    fn push_late(&mut self, kind: Kind, time_ms: i64, step: i64, value: SampleValue<'_>) {
        let late = match value {
            SampleValue::Float(_) => &mut self.floats().1.get_or_insert_default().late,
            SampleValue::Histogram(_) => &mut self.histograms().late,
        };
        push_columns(late, kind, time_ms, step, value);
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
                            decode_prefix(&sealed.bytes, kind.has_step(), count as usize, out)?;
                        }
                    }
                    extend_prefix(out, &extra.late, counts.late as usize);
                }
                decode_prefix(chunk.bytes(), kind.has_step(), left as usize, out)
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
        for_each(kind, &kept, |time_ms, step, value| {
            self.push_ordered(kind, time_ms, step, value);
            self.newest = Some(Newest { time_ms, bits: value_bits(value) });
        });
        for_each(kind, &late, |time_ms, step, value| self.push_late(kind, time_ms, step, value));
        Ok(())
    }

    /// Heap bytes held.
    pub(super) fn memory(&self) -> usize {
        let columns = |s: &Samples| {
            let histograms: usize = s.histograms.iter().map(Histogram::memory).sum();
            (s.times.capacity() + s.steps.capacity() + s.values.capacity()) * 8 + histograms
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

fn seal(chunk: &mut OpenChunk, has_step: bool) -> Sealed {
    let full = std::mem::take(chunk);
    let mut first = Samples::default();
    decode_prefix(full.bytes(), has_step, 1, &mut first).expect("a chunk of our own decodes");
    Sealed { min_ms: first.times[0], max_ms: full.last_time(), count: full.len(), bytes: full.bytes().into() }
}

fn extend_prefix(out: &mut Samples, from: &Samples, count: usize) {
    let count = count.min(from.len());
    let part = |len: usize| count.min(len);
    out.times.extend_from_slice(&from.times[..count]);
    out.steps.extend_from_slice(&from.steps[..part(from.steps.len())]);
    out.values.extend_from_slice(&from.values[..part(from.values.len())]);
    out.histograms.extend_from_slice(&from.histograms[..part(from.histograms.len())]);
}

fn for_each(kind: Kind, samples: &Samples, mut visit: impl FnMut(i64, i64, SampleValue<'_>)) {
    for index in 0..samples.len() {
        let step = if kind.has_step() { samples.steps[index] } else { 0 };
        let value = match kind.is_histogram() {
            true => SampleValue::Histogram(&samples.histograms[index]),
            false => SampleValue::Float(samples.values[index]),
        };
        visit(samples.times[index], step, value);
    }
}

/// Brings what [`SeriesData::read`] appended into order and range.
pub(super) fn finish(kind: Kind, range: TimeRange, samples: &mut Samples) {
    merge::normalise(kind, samples);
    merge::clip(samples, range);
}
