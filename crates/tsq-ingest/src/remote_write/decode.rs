//! What both versions share: counting, refusing, and the bound on decoded memory.

use tsq_core::{Batch, Exemplar, Histogram, Kind, Labels, LabelsBuilder, RejectReason, Rejection};

use super::histogram::RawHistogram;
use crate::error::DecodeError;
use crate::protobuf::{FIXED64, Reader, VARINT, key};

/// How much memory one decoded request may take, in bytes. A body of tiny messages takes many times its own size once
/// decoded; the largest request of real senders (32 MiB of series with a sample each) takes about 100 MB.
pub const DECODED_BYTES_MAX: usize = 256 << 20;

/// What a request held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Time series messages.
    pub series: u64,
    /// Float samples put into the batch.
    pub floats: u64,
    /// Histogram samples put into the batch.
    pub histograms: u64,
    /// Exemplars put into the batch.
    pub exemplars: u64,
    /// Metadata put into the batch.
    pub metadata: u64,
    /// Exemplars and metadata left out because their text is unusable: no reason to refuse the samples beside them.
    pub dropped: u64,
    /// Samples refused, not in the batch.
    pub rejected: u64,
    /// The first refusals, at most [`Counts::MAX_REJECTIONS`].
    pub rejections: Vec<Rejection>,
}

impl Counts {
    /// How many refusals are described.
    pub const MAX_REJECTIONS: usize = 16;

    /// Counts a refusal; `message` is only called while there is room for it.
    #[cold]
    pub(super) fn reject(&mut self, reason: RejectReason, samples: u64, message: impl FnOnce() -> String) {
        self.rejected += samples;
        if self.rejections.len() < Self::MAX_REJECTIONS {
            self.rejections.push(Rejection { reason, message: message(), samples });
        }
    }
}

/// Counts the memory that a request takes while it is decoded.
#[derive(Debug, Default)]
pub(crate) struct Budget(usize);

impl Budget {
    #[inline]
    pub(crate) fn charge(&mut self, bytes: usize, offset: usize) -> Result<(), DecodeError> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 <= DECODED_BYTES_MAX {
            return Ok(());
        }
        Err(DecodeError::too_large(offset, format!("the request takes more than {DECODED_BYTES_MAX} bytes decoded")))
    }
}

/// Bytes that an entry of a batch takes beside its label bytes.
pub(super) const ENTRY_BYTES: usize = 64;

/// The samples, histograms and exemplars of one time series message, kept until all of it was read: its labels may
/// come last. Reused from series to series.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    samples: Vec<(i64, f64)>,
    /// Start times of the first samples; those beyond have none.
    starts: Vec<i64>,
    histograms: Vec<Reader<'a>>,
    pub(super) exemplars: Vec<Reader<'a>>,
}

impl<'a> Parts<'a> {
    pub(super) fn clear(&mut self) {
        self.samples.clear();
        self.starts.clear();
        self.histograms.clear();
        self.exemplars.clear();
    }

    /// How many samples a refusal of the whole series concerns.
    pub(super) fn samples(&self) -> u64 {
        (self.samples.len() + self.histograms.len()) as u64
    }

    #[inline]
    pub(super) fn sample(&mut self, message: Reader<'a>, budget: &mut Budget) -> Result<(), DecodeError> {
        budget.charge(16, message.pos())?;
        self.samples.push(decode_sample(message, false)?.0);
        Ok(())
    }

    /// As [`Parts::sample`], of 2.0, whose samples may have start times.
    #[inline]
    pub(super) fn sample_with_start(&mut self, message: Reader<'a>, budget: &mut Budget) -> Result<(), DecodeError> {
        let position = message.pos();
        budget.charge(16, position)?;
        let (sample, start_ms) = decode_sample(message, true)?;
        self.samples.push(sample);
        if start_ms != 0 {
            budget.charge(8 * (self.samples.len() - self.starts.len()), position)?;
            self.starts.resize(self.samples.len() - 1, 0);
            self.starts.push(start_ms);
        }
        Ok(())
    }

    pub(super) fn histogram(&mut self, message: Reader<'a>, budget: &mut Budget) -> Result<(), DecodeError> {
        budget.charge(size_of::<Reader<'_>>() + size_of::<Histogram>(), message.pos())?;
        self.histograms.push(message);
        Ok(())
    }

    pub(super) fn exemplar(&mut self, message: Reader<'a>, budget: &mut Budget) -> Result<(), DecodeError> {
        budget.charge(size_of::<Reader<'_>>() + size_of::<Exemplar>(), message.pos())?;
        self.exemplars.push(message);
        Ok(())
    }
}

/// Time and value, and the start time if the version has any.
#[inline]
pub(crate) fn decode_sample(mut message: Reader<'_>, has_start: bool) -> Result<((i64, f64), i64), DecodeError> {
    const VALUE: u32 = key(1, FIXED64);
    const TIMESTAMP: u32 = key(2, VARINT);
    const START: u32 = key(3, VARINT);
    let (mut time_ms, mut value, mut start_ms) = (0, 0.0, 0);
    while let Some(field) = message.key()? {
        match field {
            VALUE => value = message.double()?,
            TIMESTAMP => time_ms = message.varint()? as i64,
            START if has_start => start_ms = message.varint()? as i64,
            other => message.skip(other, if has_start { 0b1110 } else { 0b110 })?,
        }
    }
    Ok(((time_ms, value), start_ms))
}

/// A request being decoded into a batch.
#[derive(Debug)]
pub(super) struct Decoder<'b> {
    pub(super) batch: &'b mut Batch,
    pub(super) counts: Counts,
    pub(super) budget: Budget,
    pub(super) builder: LabelsBuilder,
}

/// Where the text of a version's labels stands.
pub(super) trait Dialect<'a> {
    /// Field number of an exemplar's labels or label references, read by [`Dialect::exemplar_labels`].
    fn exemplar_labels(
        &mut self,
        message: &mut Reader<'a>,
        key: u32,
        out: &mut LabelsBuilder,
    ) -> Result<(), ExemplarFault>;
    /// Whether histograms may have start times.
    fn has_starts(&self) -> bool;
    /// The series, for messages.
    fn show(&self, label_bytes: &[u8]) -> String;
}

/// Why an exemplar cannot be kept.
#[derive(Debug)]
pub(super) enum ExemplarFault {
    /// Its bytes are no message: the request is refused.
    Wire(DecodeError),
    /// Its labels are unusable: it is dropped and counted.
    Labels,
}

impl From<DecodeError> for ExemplarFault {
    fn from(error: DecodeError) -> Self {
        Self::Wire(error)
    }
}

impl<'b> Decoder<'b> {
    pub(super) fn new(batch: &'b mut Batch) -> Self {
        let (counts, budget, builder) = Default::default();
        Self { batch, counts, budget, builder }
    }

    /// Moves what was read of a series into the batch, as one entry a kind.
    #[inline]
    pub(super) fn emit<'a>(
        &mut self,
        series: u128,
        label_bytes: &[u8],
        parts: &mut Parts<'a>,
        dialect: &mut impl Dialect<'a>,
    ) -> Result<(), DecodeError> {
        if !parts.samples.is_empty() || parts.histograms.is_empty() && !parts.exemplars.is_empty() {
            self.budget.charge(ENTRY_BYTES + label_bytes.len(), 0)?;
            self.batch.series_keyed(Kind::Float, series, label_bytes);
            if parts.starts.is_empty() {
                parts.samples.iter().for_each(|&(time_ms, value)| self.batch.float(time_ms, value));
            } else {
                let starts = parts.starts.iter().copied().chain(std::iter::repeat(0));
                for (&(time_ms, value), start_ms) in parts.samples.iter().zip(starts) {
                    self.batch.float(time_ms, value);
                    self.batch.start(start_ms);
                }
            }
            self.counts.floats += parts.samples.len() as u64;
        }
        if !parts.histograms.is_empty() {
            self.emit_histograms(series, label_bytes, parts, dialect)?;
        }
        for exemplar in parts.exemplars.drain(..) {
            self.emit_exemplar(exemplar, dialect)?;
        }
        Ok(())
    }

    fn emit_histograms<'a>(
        &mut self,
        series: u128,
        label_bytes: &[u8],
        parts: &mut Parts<'a>,
        dialect: &impl Dialect<'a>,
    ) -> Result<(), DecodeError> {
        self.budget.charge(ENTRY_BYTES + label_bytes.len(), 0)?;
        self.batch.series_keyed(Kind::Histogram, series, label_bytes);
        for message in parts.histograms.drain(..) {
            let raw = RawHistogram::decode(message, &mut self.budget, dialect.has_starts())?;
            let (time_ms, start_ms) = (raw.time_ms, raw.start_ms);
            match raw.finish() {
                Ok(histogram) => {
                    self.batch.histogram(time_ms, histogram);
                    self.batch.start(start_ms);
                    self.counts.histograms += 1;
                }
                Err(fault) => self.counts.reject(RejectReason::InvalidHistogram, 1, || {
                    format!("histogram of series {} at time {time_ms}: {fault}", dialect.show(label_bytes))
                }),
            }
        }
        Ok(())
    }

    fn emit_exemplar<'a>(&mut self, message: Reader<'a>, dialect: &mut impl Dialect<'a>) -> Result<(), DecodeError> {
        let offset = message.pos();
        match decode_exemplar(message, &mut self.builder, dialect) {
            Ok(exemplar) => {
                self.budget.charge(exemplar.labels.as_bytes().len(), offset)?;
                self.batch.exemplar(exemplar);
                self.counts.exemplars += 1;
            }
            Err(ExemplarFault::Labels) => self.counts.dropped += 1,
            Err(ExemplarFault::Wire(error)) => return Err(error),
        }
        Ok(())
    }
}

fn decode_exemplar<'a>(
    mut message: Reader<'a>,
    builder: &mut LabelsBuilder,
    dialect: &mut impl Dialect<'a>,
) -> Result<Exemplar, ExemplarFault> {
    const VALUE: u32 = key(2, FIXED64);
    const TIMESTAMP: u32 = key(3, VARINT);
    let (mut value, mut time_ms) = (0.0, 0);
    builder.clear();
    while let Some(field) = message.key()? {
        match field {
            VALUE => value = message.double()?,
            TIMESTAMP => time_ms = message.varint()? as i64,
            labels if labels >> 3 == 1 => dialect.exemplar_labels(&mut message, labels, builder)?,
            other => message.skip(other, 0b1110)?,
        }
    }
    let labels = builder.build().map_err(|_| ExemplarFault::Labels)?;
    Ok(Exemplar { labels, value, time_ms })
}

/// Names of metric types by their number, which both versions share.
pub(super) const METRIC_TYPES: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// The name of a metric type; types of a later schema are unknown.
pub(super) fn metric_type(number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| METRIC_TYPES.get(number)).unwrap_or(&METRIC_TYPES[0])
}

/// A series for a message: at most 300 characters of it.
pub(super) fn shown(labels: Result<Labels, tsq_core::Error>) -> String {
    let Ok(labels) = labels else { return "with invalid labels".to_owned() };
    let text = labels.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
