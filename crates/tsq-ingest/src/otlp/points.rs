//! Data points, read from their messages.

use super::buckets::{Buckets, Exponential};
use super::delta::Explicit;
use crate::error::DecodeError;
use crate::protobuf::{FIXED64, Reader, VARINT, bytes_key, key};
use crate::remote_write::Budget;

/// Where fields of one kind stand in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldsAt {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Other fields stand between them.
    pub(super) scattered: bool,
}

impl FieldsAt {
    #[inline]
    fn note(&mut self, start: usize, end: usize) {
        if self.end == 0 {
            self.start = start;
        } else {
            self.scattered |= self.end != start;
        }
        self.end = end;
    }
}

/// What points of all kinds have.
#[derive(Clone, Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) attributes: FieldsAt,
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    flags: u64,
    /// Reused from point to point.
    pub(super) exemplars: Vec<Reader<'a>>,
}

const START: u32 = key(2, FIXED64);
const TIME: u32 = key(3, FIXED64);
const COUNT: u32 = key(4, FIXED64);
const SUM: u32 = key(5, FIXED64);

impl<'a> Head<'a> {
    /// Whether it says that there is no value any more.
    pub(super) fn is_stale(&self) -> bool {
        self.flags & 1 != 0
    }

    pub(super) fn time_ms(&self) -> i64 {
        (self.time_ns / 1_000_000) as i64
    }

    /// Since when it counts; 0 when that is unknown, as a start at or after the time says too.
    pub(super) fn start_ms(&self) -> i64 {
        let start_ms = (self.start_ns / 1_000_000) as i64;
        if start_ms < self.time_ms() { start_ms } else { 0 }
    }

    fn clear(&mut self) {
        let mut exemplars = std::mem::take(&mut self.exemplars);
        exemplars.clear();
        *self = Self { exemplars, ..Self::default() };
    }

    fn exemplar(&mut self, message: Reader<'a>, budget: &mut Budget) -> Result<(), DecodeError> {
        budget.charge(size_of::<Reader<'_>>() + size_of::<tsq_core::Exemplar>(), message.pos())?;
        self.exemplars.push(message);
        Ok(())
    }
}

/// Numbers of the fields of a kind of points.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    attributes: u32,
    exemplars: u32,
    flags: u32,
    /// The bit of each field that is read.
    known: u32,
}

const NUMBER: Numbers = Numbers { attributes: 7, exemplars: 5, flags: 8, known: 0b1_1111_1100 };
const EXPLICIT: Numbers = Numbers { attributes: 9, exemplars: 8, flags: 10, known: 0b111_1111_1100 };
const EXPONENTIAL: Numbers = Numbers { attributes: 1, exemplars: 11, flags: 10, known: 0b100_1111_1111_1110 };
// A summary has no exemplars: none of its fields has the number 31.
const SUMMARY: Numbers = Numbers { attributes: 7, exemplars: 31, flags: 8, known: 0b1_1111_1100 };

/// The number of the field with the attributes of number, explicit, exponential and summary points.
pub(super) const ATTRIBUTES: [u32; 4] =
    [NUMBER.attributes, EXPLICIT.attributes, EXPONENTIAL.attributes, SUMMARY.attributes];

/// Reads a field that points of all kinds have, or skips one that none has.
#[inline]
fn common<'a>(
    numbers: Numbers,
    field: u32,
    field_start: usize,
    message: &mut Reader<'a>,
    head: &mut Head<'a>,
    budget: &mut Budget,
) -> Result<(), DecodeError> {
    match field {
        START => head.start_ns = message.fixed64()?,
        TIME => head.time_ns = message.fixed64()?,
        other if other == bytes_key(numbers.attributes) => {
            message.message()?;
            head.attributes.note(field_start, message.pos());
        }
        other if other == key(numbers.flags, VARINT) => head.flags = message.varint()?,
        other if other == bytes_key(numbers.exemplars) => head.exemplar(message.message()?, budget)?,
        other => message.skip(other, numbers.known)?,
    }
    Ok(())
}

/// Reads a `NumberDataPoint`: its value, if it has one.
#[inline]
pub(super) fn number<'a>(
    mut message: Reader<'a>,
    head: &mut Head<'a>,
    budget: &mut Budget,
) -> Result<Option<f64>, DecodeError> {
    const DOUBLE: u32 = key(4, FIXED64);
    const INT: u32 = key(6, FIXED64);
    head.clear();
    let mut value = None;
    loop {
        let start = message.pos();
        let Some(field) = message.key()? else { return Ok(value) };
        match field {
            DOUBLE => value = Some(message.double()?),
            INT => value = Some(message.fixed64()? as i64 as f64),
            other => common(NUMBER, other, start, &mut message, head, budget)?,
        }
    }
}

/// Reads a `HistogramDataPoint` into `out`, whose content is replaced.
pub(super) fn explicit<'a>(
    mut message: Reader<'a>,
    head: &mut Head<'a>,
    out: &mut Explicit,
    budget: &mut Budget,
) -> Result<(), DecodeError> {
    const BUCKET_COUNTS: u32 = bytes_key(6);
    const BUCKET_COUNT: u32 = key(6, FIXED64);
    const BOUNDS: u32 = bytes_key(7);
    const BOUND: u32 = key(7, FIXED64);
    head.clear();
    (out.count, out.sum) = (0, None);
    out.bounds.clear();
    out.counts.clear();
    loop {
        let start = message.pos();
        let Some(field) = message.key()? else { return Ok(()) };
        match field {
            COUNT => out.count = message.fixed64()?,
            SUM => out.sum = Some(message.double()?),
            BUCKET_COUNTS => {
                let mut packed = message.message()?;
                while !packed.is_empty() {
                    out.counts.push(packed.fixed64()?);
                }
            }
            BUCKET_COUNT => out.counts.push(message.fixed64()?),
            BOUNDS => {
                let mut packed = message.message()?;
                while !packed.is_empty() {
                    out.bounds.push(packed.double()?);
                }
            }
            BOUND => out.bounds.push(message.double()?),
            other => common(EXPLICIT, other, start, &mut message, head, budget)?,
        }
    }
}

/// What is wrong with the bounds and counts of a histogram.
pub(super) fn explicit_fault(point: &Explicit) -> Option<String> {
    let (bounds, counts) = (point.bounds.len(), point.counts.len());
    if let Some(pair) = point.bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Some(format!("its bounds do not ascend: {} then {}", pair[0], pair[1]));
    }
    if point.bounds.iter().any(|bound| bound.is_nan()) {
        return Some("one of its bounds is NaN".to_owned());
    }
    let fits = counts == bounds + 1 || bounds == 0 && counts == 0;
    (!fits).then(|| format!("it has {counts} bucket counts for {bounds} bounds, one more is needed"))
}

/// Reads an `ExponentialHistogramDataPoint`. The inner error says why it is refused.
pub(super) fn exponential<'a>(
    mut message: Reader<'a>,
    head: &mut Head<'a>,
    budget: &mut Budget,
) -> Result<Result<Exponential, String>, DecodeError> {
    const SCALE: u32 = key(6, VARINT);
    const ZERO_COUNT: u32 = key(7, FIXED64);
    const POSITIVE: u32 = bytes_key(8);
    const NEGATIVE: u32 = bytes_key(9);
    const ZERO_THRESHOLD: u32 = key(14, FIXED64);
    head.clear();
    let (mut scale, mut count, mut zero_count, mut sum, mut zero_threshold) = (0, 0, 0, None, 0.0);
    let (mut positive, mut negative) = (Buckets::default(), Buckets::default());
    loop {
        let start = message.pos();
        let Some(field) = message.key()? else { break };
        match field {
            COUNT => count = message.fixed64()?,
            SUM => sum = Some(message.double()?),
            SCALE => scale = message.zigzag()?,
            ZERO_COUNT => zero_count = message.fixed64()?,
            POSITIVE => positive = buckets(message.message()?, budget)?,
            NEGATIVE => negative = buckets(message.message()?, budget)?,
            ZERO_THRESHOLD => zero_threshold = message.double()?,
            other => common(EXPONENTIAL, other, start, &mut message, head, budget)?,
        }
    }
    let histogram = Exponential::new(scale, positive, negative).map(|mut histogram| {
        (histogram.zero_threshold, histogram.zero_count) = (zero_threshold, zero_count);
        (histogram.count, histogram.sum) = (count, sum);
        histogram
    });
    Ok(histogram)
}

fn buckets(mut message: Reader<'_>, budget: &mut Budget) -> Result<Buckets, DecodeError> {
    const OFFSET: u32 = key(1, VARINT);
    const COUNTS: u32 = bytes_key(2);
    const COUNT: u32 = key(2, VARINT);
    let mut buckets = Buckets::default();
    while let Some(field) = message.key()? {
        match field {
            OFFSET => buckets.offset = message.zigzag()?,
            COUNTS => message.packed_varints(|count| buckets.counts.push(count))?,
            COUNT => buckets.counts.push(message.varint()?),
            other => message.skip(other, 0b110)?,
        }
    }
    budget.charge(16 * buckets.counts.len(), message.pos())?;
    Ok(buckets)
}

/// A `SummaryDataPoint`; reused from point to point.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Quantiles and their values.
    pub(super) quantiles: Vec<(f64, f64)>,
}

/// Reads a `SummaryDataPoint` into `out`, whose content is replaced.
pub(super) fn summary<'a>(
    mut message: Reader<'a>,
    head: &mut Head<'a>,
    out: &mut Summary,
    budget: &mut Budget,
) -> Result<(), DecodeError> {
    const QUANTILES: u32 = bytes_key(6);
    head.clear();
    (out.count, out.sum) = (0, 0.0);
    out.quantiles.clear();
    loop {
        let start = message.pos();
        let Some(field) = message.key()? else { return Ok(()) };
        match field {
            COUNT => out.count = message.fixed64()?,
            SUM => out.sum = message.double()?,
            QUANTILES => {
                let quantile = quantile(message.message()?)?;
                budget.charge(size_of::<(f64, f64)>(), message.pos())?;
                out.quantiles.push(quantile);
            }
            other => common(SUMMARY, other, start, &mut message, head, budget)?,
        }
    }
}

fn quantile(mut message: Reader<'_>) -> Result<(f64, f64), DecodeError> {
    const QUANTILE: u32 = key(1, FIXED64);
    const VALUE: u32 = key(2, FIXED64);
    let (mut quantile, mut value) = (0.0, 0.0);
    while let Some(field) = message.key()? {
        match field {
            QUANTILE => quantile = message.double()?,
            VALUE => value = message.double()?,
            other => message.skip(other, 0b110)?,
        }
    }
    Ok((quantile, value))
}
