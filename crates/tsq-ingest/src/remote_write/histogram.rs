//! Native histograms on the wire: one message for both versions.

use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Span};

use super::decode::Budget;
use crate::error::DecodeError;
use crate::protobuf::{FIXED64, Reader, VARINT, bytes_key, key};

/// Largest integer count that a float holds exactly.
const EXACT_MAX: u64 = 1 << 53;

/// A count field: its type says whether the sender counted in integers.
#[derive(Clone, Copy, Debug)]
enum Count {
    Integer(u64),
    Float(f64),
}

impl Count {
    fn value(self, what: &str) -> Result<f64, String> {
        match self {
            Self::Integer(count) if count > EXACT_MAX => Err(format!("{what} {count} is above 2^53")),
            Self::Integer(count) => Ok(count as f64),
            Self::Float(count) if count < 0.0 => Err(format!("{what} {count} is negative")),
            Self::Float(count) => Ok(count),
        }
    }
}

/// Buckets of one sign. Deltas are summed up as they are read.
#[derive(Debug, Default)]
struct Buckets {
    counts: Vec<f64>,
    last: i64,
    from_deltas: bool,
    from_counts: bool,
}

impl Buckets {
    fn push_delta(&mut self, delta: i64, fault: &mut Option<String>) {
        self.from_deltas = true;
        match self.last.checked_add(delta) {
            Some(count) if count >= 0 && count as u64 <= EXACT_MAX => self.last = count,
            Some(count) if count < 0 => note(fault, || format!("bucket {} has the count {count}", self.counts.len())),
            _ => note(fault, || format!("the count of bucket {} is above 2^53", self.counts.len())),
        }
        self.counts.push(self.last as f64);
    }
}

fn note(fault: &mut Option<String>, message: impl FnOnce() -> String) {
    if fault.is_none() {
        *fault = Some(message());
    }
}

/// A histogram message, read but not yet known to be consistent.
#[derive(Debug)]
pub(crate) struct RawHistogram {
    pub(crate) time_ms: i64,
    /// 0 when it is unknown.
    pub(crate) start_ms: i64,
    has_start: bool,
    count: Count,
    zero_count: Count,
    schema: i64,
    reset_hint: u64,
    positive: Buckets,
    negative: Buckets,
    /// Holds what needs no check; counts move in at the end.
    histogram: Histogram,
    /// The first fault found while reading.
    fault: Option<String>,
}

const COUNT_INT: u32 = key(1, VARINT);
const COUNT_FLOAT: u32 = key(2, FIXED64);
const SUM: u32 = key(3, FIXED64);
const SCHEMA: u32 = key(4, VARINT);
const ZERO_THRESHOLD: u32 = key(5, FIXED64);
const ZERO_COUNT_INT: u32 = key(6, VARINT);
const ZERO_COUNT_FLOAT: u32 = key(7, FIXED64);
const NEGATIVE_SPANS: u32 = bytes_key(8);
const NEGATIVE_DELTAS: u32 = bytes_key(9);
const NEGATIVE_DELTA: u32 = key(9, VARINT);
const NEGATIVE_COUNTS: u32 = bytes_key(10);
const NEGATIVE_COUNT: u32 = key(10, FIXED64);
const POSITIVE_SPANS: u32 = bytes_key(11);
const POSITIVE_DELTAS: u32 = bytes_key(12);
const POSITIVE_DELTA: u32 = key(12, VARINT);
const POSITIVE_COUNTS: u32 = bytes_key(13);
const POSITIVE_COUNT: u32 = key(13, FIXED64);
const RESET_HINT: u32 = key(14, VARINT);
const TIMESTAMP: u32 = key(15, VARINT);
const CUSTOM_VALUES: u32 = bytes_key(16);
const CUSTOM_VALUE: u32 = key(16, FIXED64);
/// Of 2.0.
const START: u32 = key(17, VARINT);
/// Fields 1 to 16 and of 2.0 also 17.
const KNOWN: u32 = 0x1_fffe;
const KNOWN_WITH_START: u32 = 0x3_fffe;

impl RawHistogram {
    pub(crate) fn decode(mut message: Reader<'_>, budget: &mut Budget, has_start: bool) -> Result<Self, DecodeError> {
        let mut raw = Self {
            time_ms: 0,
            start_ms: 0,
            has_start,
            count: Count::Integer(0),
            zero_count: Count::Integer(0),
            schema: 0,
            reset_hint: 0,
            positive: Buckets::default(),
            negative: Buckets::default(),
            histogram: Histogram::default(),
            fault: None,
        };
        while let Some(field) = message.key()? {
            raw.field(field, &mut message, budget)?;
        }
        Ok(raw)
    }

    fn field(&mut self, field: u32, message: &mut Reader<'_>, budget: &mut Budget) -> Result<(), DecodeError> {
        match field {
            COUNT_INT => self.count = Count::Integer(message.varint()?),
            COUNT_FLOAT => self.count = Count::Float(message.double()?),
            SUM => self.histogram.sum = message.double()?,
            SCHEMA => self.schema = message.zigzag()?,
            ZERO_THRESHOLD => self.histogram.zero_threshold = message.double()?,
            ZERO_COUNT_INT => self.zero_count = Count::Integer(message.varint()?),
            ZERO_COUNT_FLOAT => self.zero_count = Count::Float(message.double()?),
            NEGATIVE_SPANS => span(message, &mut self.histogram.negative_spans, budget)?,
            POSITIVE_SPANS => span(message, &mut self.histogram.positive_spans, budget)?,
            NEGATIVE_DELTAS | NEGATIVE_DELTA => deltas(field, message, &mut self.negative, &mut self.fault, budget)?,
            POSITIVE_DELTAS | POSITIVE_DELTA => deltas(field, message, &mut self.positive, &mut self.fault, budget)?,
            NEGATIVE_COUNTS | NEGATIVE_COUNT => {
                self.negative.from_counts = true;
                doubles(field, message, &mut self.negative.counts, budget)?;
            }
            POSITIVE_COUNTS | POSITIVE_COUNT => {
                self.positive.from_counts = true;
                doubles(field, message, &mut self.positive.counts, budget)?;
            }
            CUSTOM_VALUES | CUSTOM_VALUE => doubles(field, message, &mut self.histogram.custom_values, budget)?,
            RESET_HINT => self.reset_hint = message.varint()?,
            TIMESTAMP => self.time_ms = message.varint()? as i64,
            START if self.has_start => self.start_ms = message.varint()? as i64,
            other => message.skip(other, if self.has_start { KNOWN_WITH_START } else { KNOWN })?,
        }
        Ok(())
    }

    /// The histogram, if it is consistent; else what is wrong with it.
    pub(crate) fn finish(self) -> Result<Histogram, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let integer = matches!(self.count, Count::Integer(_));
        for buckets in [&self.positive, &self.negative] {
            if integer && buckets.from_counts || !integer && buckets.from_deltas {
                return Err("its count and its buckets are of different types, integer and float".to_owned());
            }
        }
        let hint = u8::try_from(self.reset_hint).ok().and_then(ResetHint::from_u8);
        let histogram = Histogram {
            schema: schema(self.schema)?,
            reset_hint: hint.ok_or_else(|| format!("reset hint {} is unknown", self.reset_hint))?,
            integer,
            count: self.count.value("the count")?,
            zero_count: self.zero_count.value("the zero count")?,
            positive: self.positive.counts,
            negative: self.negative.counts,
            ..self.histogram
        };
        check(&histogram)?;
        Ok(histogram)
    }
}

fn span(message: &mut Reader<'_>, out: &mut Vec<Span>, budget: &mut Budget) -> Result<(), DecodeError> {
    const OFFSET: u32 = key(1, VARINT);
    const LENGTH: u32 = key(2, VARINT);
    let mut fields = message.message()?;
    budget.charge(size_of::<Span>(), fields.pos())?;
    let (mut offset, mut length) = (0, 0);
    let start = fields.pos();
    while let Some(field) = fields.key()? {
        match field {
            OFFSET => offset = fields.zigzag()?,
            LENGTH => length = fields.varint()?,
            other => fields.skip(other, 0b110)?,
        }
    }
    let (Ok(offset), Ok(length)) = (i32::try_from(offset), u32::try_from(length)) else {
        return Err(DecodeError::malformed(start, format!("span offset {offset} or length {length} exceeds 32 bits")));
    };
    out.push(Span { offset, length });
    Ok(())
}

fn deltas(
    field: u32,
    message: &mut Reader<'_>,
    out: &mut Buckets,
    fault: &mut Option<String>,
    budget: &mut Budget,
) -> Result<(), DecodeError> {
    if field & 7 == VARINT {
        budget.charge(8, message.pos())?;
        out.push_delta(message.zigzag()?, fault);
        return Ok(());
    }
    let mut packed = message.message()?;
    while !packed.is_empty() {
        budget.charge(8, packed.pos())?;
        out.push_delta(packed.zigzag()?, fault);
    }
    Ok(())
}

fn doubles(field: u32, message: &mut Reader<'_>, out: &mut Vec<f64>, budget: &mut Budget) -> Result<(), DecodeError> {
    if field & 7 == FIXED64 {
        budget.charge(8, message.pos())?;
        out.push(message.double()?);
        return Ok(());
    }
    let mut packed = message.message()?;
    while !packed.is_empty() {
        budget.charge(8, packed.pos())?;
        out.push(packed.double()?);
    }
    Ok(())
}

fn schema(number: i64) -> Result<i8, String> {
    match i8::try_from(number) {
        Ok(schema) if (-4..=8).contains(&schema) || schema == CUSTOM_BUCKETS_SCHEMA => Ok(schema),
        _ => Err(format!("schema {number} is none of -4 to 8 and {CUSTOM_BUCKETS_SCHEMA}")),
    }
}

/// The rules that a histogram's parts must keep among each other.
fn check(h: &Histogram) -> Result<(), String> {
    check_side("positive", &h.positive_spans, &h.positive)?;
    check_side("negative", &h.negative_spans, &h.negative)?;
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        check_custom(h)?;
    } else if !h.custom_values.is_empty() {
        return Err(format!("schema {} has {} custom bucket bounds", h.schema, h.custom_values.len()));
    }
    if h.zero_threshold.is_nan() || h.zero_threshold < 0.0 {
        return Err(format!("the zero threshold is {}", h.zero_threshold));
    }
    if h.integer {
        check_total(h)?;
    }
    Ok(())
}

fn check_side(side: &str, spans: &[Span], counts: &[f64]) -> Result<(), String> {
    let buckets: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if buckets != counts.len() as u64 {
        return Err(format!("the {side} spans have {buckets} buckets, but there are {} counts", counts.len()));
    }
    let mut index = 0_i64;
    for (at, span) in spans.iter().enumerate() {
        if at > 0 && span.offset < 0 {
            return Err(format!("{side} span {at} has the negative offset {}", span.offset));
        }
        index += i64::from(span.offset) + i64::from(span.length);
        if i32::try_from(index).is_err() {
            return Err(format!("{side} span {at} ends at bucket {index}, outside of 32 bits"));
        }
    }
    match counts.iter().position(|&count| count < 0.0) {
        Some(at) => Err(format!("{side} bucket {at} has the count {}", counts[at])),
        None => Ok(()),
    }
}

fn check_custom(h: &Histogram) -> Result<(), String> {
    if h.zero_count != 0.0 || h.zero_threshold != 0.0 || !h.negative_spans.is_empty() {
        return Err("custom buckets have neither a zero bucket nor negative ones".to_owned());
    }
    let bounds = &h.custom_values;
    if let Some(bound) = bounds.iter().find(|bound| !bound.is_finite()) {
        return Err(format!("custom bucket bound {bound} is not finite"));
    }
    if let Some(pair) = bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("custom bucket bounds are not ascending: {} then {}", pair[0], pair[1]));
    }
    let mut end = 0_i64;
    for span in &h.positive_spans {
        if span.offset < 0 {
            return Err(format!("a custom bucket span has the negative offset {}", span.offset));
        }
        end += i64::from(span.offset) + i64::from(span.length);
    }
    // One more bucket than bounds: the last one ends at +Inf.
    if end > bounds.len() as i64 + 1 {
        return Err(format!("{end} custom buckets, but only {} bounds", bounds.len()));
    }
    Ok(())
}

/// Observations of NaN are counted but fall into no bucket, and make the sum NaN.
fn check_total(h: &Histogram) -> Result<(), String> {
    let buckets: f64 = h.positive.iter().chain(&h.negative).sum::<f64>() + h.zero_count;
    let fits = if h.sum.is_nan() { buckets <= h.count } else { buckets == h.count };
    if fits {
        return Ok(());
    }
    Err(format!("its buckets hold {buckets} observations, its count is {}", h.count))
}
