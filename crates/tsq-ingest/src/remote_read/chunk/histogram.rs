//! Chunks of native histograms.
//!
//! ~~~text
//! u16 BE   number of samples
//! u8       the two upper bits: 00 nothing is known about a counter reset before the first sample, 01 there was none,
//!          10 there was one, 11 gauge histograms
//! layout   see layout.rs
//! samples  time, count, zero count, sum, buckets (positive, then negative):
//!          sample 1    time bucketed, signed
//!             integer  counts bucketed; sum in 64 bits; buckets bucketed, signed, each less the one before it
//!             float    everything in 64 bits
//!          sample 2    time less the one before, bucketed
//!             integer  the others less those of the sample before, bucketed, signed; sum as an xor
//!             float    everything as an xor
//!          further     time step less the one before, bucketed, signed
//!             integer  differences less the differences before, bucketed, signed; sum as an xor
//!             float    everything as an xor
//! ~~~
//!
//! A staleness marker has no buckets, whatever the layout says. In a chunk of counters no reset happens after the first
//! sample: readers rely on that.

use tsq_core::{Histogram, ResetHint, Samples, Span, is_stale};

use super::bits::{BitReader, BitWriter};
use super::float::Xor;
use super::{CHUNK_BYTES_MAX, CHUNK_SAMPLES, layout, read_count};
use crate::error::DecodeError;

/// Memory that the samples of one chunk may take once decoded, in bytes.
const DECODED_BYTES_MAX: usize = 64 << 20;

/// Largest integer count that a float holds exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

const HEADER_LEN: usize = 3;

/// Whether all counts are whole numbers that an integer histogram can have.
pub(crate) fn has_integer_counts(h: &Histogram) -> bool {
    let whole = |count: &f64| (0.0..=EXACT_MAX).contains(count) && count.fract() == 0.0 && count.to_bits() >> 63 == 0;
    h.integer && [h.count, h.zero_count].iter().chain(&h.positive).chain(&h.negative).all(whole)
}

/// What a chunk holds of a histogram: staleness markers have nothing but their sum.
#[derive(Debug)]
struct Sample<'a> {
    h: std::borrow::Cow<'a, Histogram>,
    integer: bool,
}

impl<'a> Sample<'a> {
    fn new(h: &'a Histogram) -> Self {
        let h = match h.is_stale() {
            true => std::borrow::Cow::Owned(Histogram { integer: h.integer, ..Histogram::stale() }),
            false => std::borrow::Cow::Borrowed(h),
        };
        Self { integer: has_integer_counts(&h), h }
    }
}

/// Whether a chunk with `before` may go on with `after`: the same layout, and no counter reset.
fn goes_on(before: &Sample<'_>, after: &Sample<'_>) -> bool {
    let (b, a) = (&*before.h, &*after.h);
    let same_bits =
        |x: &[f64], y: &[f64]| x.len() == y.len() && x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits());
    let same_layout = before.integer == after.integer
        && b.schema == a.schema
        && b.zero_threshold.to_bits() == a.zero_threshold.to_bits()
        && b.positive_spans == a.positive_spans
        && b.negative_spans == a.negative_spans
        && same_bits(&b.custom_values, &a.custom_values);
    if b.is_stale() || a.is_stale() || !same_layout {
        return false;
    }
    let gauges = [b, a].map(|h| h.reset_hint == ResetHint::Gauge);
    gauges == [true, true] || gauges == [false, false] && a.reset_hint != ResetHint::Reset && has_grown(b, a)
}

/// Whether no count is smaller than before.
fn has_grown(before: &Histogram, after: &Histogram) -> bool {
    let grown = |before: &[f64], after: &[f64]| before.iter().zip(after).all(|(before, after)| after >= before);
    after.count >= before.count
        && after.zero_count >= before.zero_count
        && grown(&before.positive, &after.positive)
        && grown(&before.negative, &after.negative)
}

/// Encodes as many of the first samples as one chunk may hold. Whether it is one of integers, the bytes, how many.
pub(super) fn encode(times: &[i64], histograms: &[Histogram]) -> (bool, Vec<u8>, usize) {
    let mut last = Sample::new(&histograms[0]);
    let mut writer = Writer::new(&last);
    writer.push(times[0], &last.h);
    let mut count = 1;
    while count < times.len().min(CHUNK_SAMPLES) && writer.out.len() < CHUNK_BYTES_MAX {
        let next = Sample::new(&histograms[count]);
        if !goes_on(&last, &next) {
            break;
        }
        writer.push(times[count], &next.h);
        last = next;
        count += 1;
    }
    let integer = writer.integer;
    (integer, writer.finish(), count)
}

fn header_flags(hint: ResetHint) -> u8 {
    match hint {
        ResetHint::Unknown => 0,
        ResetHint::NotReset => 0b01 << 6,
        ResetHint::Reset => 0b10 << 6,
        ResetHint::Gauge => 0b11 << 6,
    }
}

/// What Prometheus makes of a chunk's flags for the sample at a place.
fn hint_of(flags: u8, at: usize) -> ResetHint {
    match flags >> 6 {
        0b11 => ResetHint::Gauge,
        _ if at > 0 => ResetHint::NotReset,
        0b10 => ResetHint::Reset,
        _ => ResetHint::Unknown,
    }
}

/// A column of integers, written as differences of differences.
#[derive(Clone, Copy, Debug, Default)]
struct Integer {
    last: i64,
    delta: i64,
}

impl Integer {
    /// What stands in the chunk for the next value of sample `at`, which is not the first.
    fn code(&mut self, at: usize, value: i64) -> i64 {
        let delta = value.wrapping_sub(self.last);
        let code = if at == 1 { delta } else { delta.wrapping_sub(self.delta) };
        (self.last, self.delta) = (value, delta);
        code
    }

    /// The next value, from what stands in the chunk for it.
    fn value(&mut self, at: usize, code: i64) -> i64 {
        self.delta = if at == 1 { code } else { self.delta.wrapping_add(code) };
        self.last = self.last.wrapping_add(self.delta);
        self.last
    }
}

/// The columns of a chunk but for the times: count, zero count, sum, positive and negative buckets.
#[derive(Debug, Default)]
struct Columns {
    time: Integer,
    /// Integer histograms: counts, then buckets.
    integers: Vec<Integer>,
    /// Integer histograms: the sum. Float histograms: counts, sum, buckets.
    floats: Vec<Xor>,
}

struct Writer {
    out: BitWriter,
    integer: bool,
    flags: u8,
    count: usize,
    columns: Columns,
}

/// Each bucket less the one before it, after both counts.
fn integer_row(h: &Histogram) -> impl Iterator<Item = i64> {
    let differences = |counts: &[f64]| {
        let before = std::iter::once(0.0).chain(counts.iter().copied());
        let pairs = counts.iter().zip(before);
        pairs.map(|(count, before)| *count as i64 - before as i64).collect::<Vec<_>>()
    };
    let counts = [h.count as i64, h.zero_count as i64];
    counts.into_iter().chain(differences(&h.positive)).chain(differences(&h.negative))
}

fn float_row(h: &Histogram) -> impl Iterator<Item = f64> {
    [h.count, h.zero_count, h.sum].into_iter().chain(h.positive.iter().copied()).chain(h.negative.iter().copied())
}

impl Writer {
    fn new(first: &Sample<'_>) -> Self {
        let mut out = BitWriter::after(vec![0; HEADER_LEN]);
        layout::write(&mut out, &first.h);
        let flags = header_flags(first.h.reset_hint);
        Self { out, integer: first.integer, flags, count: 0, columns: Columns::default() }
    }

    fn push(&mut self, time: i64, h: &Histogram) {
        match self.count {
            0 => {
                self.columns.time.last = time;
                self.out.bucketed_signed(time);
            }
            at => {
                let code = self.columns.time.code(at, time);
                if at == 1 { self.out.bucketed(code as u64) } else { self.out.bucketed_signed(code) }
            }
        }
        if self.integer {
            self.push_integers(h);
        } else {
            self.push_floats(h);
        }
        self.count += 1;
    }

    fn push_integers(&mut self, h: &Histogram) {
        let Self { out, columns, count, .. } = self;
        for (column, value) in integer_row(h).enumerate() {
            if *count == 0 {
                columns.integers.push(Integer { last: value, delta: 0 });
                if column < 2 { out.bucketed(value as u64) } else { out.bucketed_signed(value) }
            } else {
                out.bucketed_signed(columns.integers[column].code(*count, value));
            }
            // The sum stands between counts and buckets.
            if column == 1 && *count == 0 {
                columns.floats.push(Xor::after(h.sum));
                out.float(h.sum);
            } else if column == 1 {
                columns.floats[0].write(out, h.sum);
            }
        }
    }

    fn push_floats(&mut self, h: &Histogram) {
        for (column, value) in float_row(h).enumerate() {
            if self.count == 0 {
                self.columns.floats.push(Xor::after(value));
                self.out.float(value);
            } else {
                self.columns.floats[column].write(&mut self.out, value);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let [high, low] = (self.count as u16).to_be_bytes();
        self.out.patch(&[high, low, self.flags]);
        self.out.into_bytes()
    }
}

/// Appends the samples of a chunk.
pub(super) fn decode(data: &[u8], integer: bool, out: &mut Samples) -> Result<(), DecodeError> {
    let count = read_count(data)?;
    let flags = *data.get(2).ok_or_else(|| DecodeError::malformed(data.len(), "the chunk ends in its header"))?;
    let mut input = BitReader::new(data, HEADER_LEN);
    let layout = if count > 0 { layout::read(&mut input)? } else { Histogram::default() };
    let mut reader = Reader { input, columns: Columns::default(), layout, integer };
    let mut bytes = 0;
    for at in 0..count {
        let (time, mut h) = reader.sample(at)?;
        h.reset_hint = hint_of(flags, at);
        bytes += size_of::<Histogram>()
            + size_of::<Span>() * (h.positive_spans.len() + h.negative_spans.len())
            + size_of::<f64>() * (h.positive.len() + h.negative.len() + h.custom_values.len());
        if bytes > DECODED_BYTES_MAX {
            let message = format!("the chunk takes more than {DECODED_BYTES_MAX} bytes decoded");
            return Err(DecodeError::too_large(reader.input.offset(), message));
        }
        out.times.push(time);
        out.histograms.push(h);
    }
    Ok(())
}

struct Reader<'a> {
    input: BitReader<'a>,
    columns: Columns,
    layout: Histogram,
    integer: bool,
}

impl Reader<'_> {
    fn sample(&mut self, at: usize) -> Result<(i64, Histogram), DecodeError> {
        let time = match at {
            0 => {
                self.columns.time.last = self.input.bucketed_signed()?;
                self.columns.time.last
            }
            1 => {
                let code = self.input.bucketed()?;
                self.columns.time.value(1, code as i64)
            }
            at => {
                let code = self.input.bucketed_signed()?;
                self.columns.time.value(at, code)
            }
        };
        let (count, zero_count, sum) = if self.integer {
            let (count, zero_count) = (self.integer(at, 0)? as f64, self.integer(at, 1)? as f64);
            (count, zero_count, self.float(at, 0)?)
        } else {
            (self.float(at, 0)?, self.float(at, 1)?, self.float(at, 2)?)
        };
        if is_stale(sum) && at > 0 {
            return Ok((time, Histogram { integer: self.integer, ..Histogram::stale() }));
        }
        let mut h = self.layout.clone();
        (h.integer, h.count, h.zero_count, h.sum) = (self.integer, count, zero_count, sum);
        let mut column = if self.integer { 2 } else { 3 };
        for side in [&mut h.positive, &mut h.negative] {
            let mut last = 0_i64;
            for bucket in side.iter_mut() {
                *bucket = match self.integer {
                    true => {
                        last = last.wrapping_add(self.integer(at, column)?);
                        last as f64
                    }
                    false => self.float(at, column)?,
                };
                column += 1;
            }
        }
        Ok((time, h))
    }

    /// The next number of a column of integers.
    fn integer(&mut self, at: usize, column: usize) -> Result<i64, DecodeError> {
        if at == 0 {
            let value = if column < 2 { self.input.bucketed()? as i64 } else { self.input.bucketed_signed()? };
            self.columns.integers.push(Integer { last: value, delta: 0 });
            return Ok(value);
        }
        let code = self.input.bucketed_signed()?;
        Ok(self.columns.integers[column].value(at, code))
    }

    /// The next number of a column of floats.
    fn float(&mut self, at: usize, column: usize) -> Result<f64, DecodeError> {
        if at == 0 {
            let value = self.input.float()?;
            self.columns.floats.push(Xor::after(value));
            return Ok(value);
        }
        self.columns.floats[column].read(&mut self.input)
    }
}
