//! Remote write 1.0: `prometheus.WriteRequest`.

use tsq_core::{Batch, Error, LabelSource, LabelsBuilder, METRIC_NAME, Metadata, RejectReason};

use super::decode::{Budget, Counts, Decoder, Dialect, ExemplarFault, Parts, metric_type, shown};
use crate::error::DecodeError;
use crate::protobuf::{Reader, VARINT, bytes_key, key, utf8};

/// Keeps the keys of this form apart from those of other forms of label bytes.
const KEY_TAG: u128 = 0x7d1c_5a0e_93b4_42f1_b8e6_0d97_2fa3_7765;

/// Decodes a request into `batch`. Append the batch with [`V1Labels`].
///
/// Label sets are not read here: those that are no valid set are refused when the engine asks for them.
///
/// # Errors
/// The first byte that is no part of a `WriteRequest`, or the bound [`DECODED_BYTES_MAX`](super::DECODED_BYTES_MAX).
/// The batch is cleared then.
pub fn decode_v1(body: &[u8], batch: &mut Batch) -> Result<Counts, DecodeError> {
    let mut request = Request { decoder: Decoder::new(batch), parts: Parts::default(), scattered: Vec::new() };
    let outcome = request.read(Reader::new(body));
    let counts = request.decoder.counts;
    if outcome.is_err() {
        batch.clear();
    }
    outcome.map(|()| counts)
}

struct Request<'a, 'b> {
    decoder: Decoder<'b>,
    parts: Parts<'a>,
    /// Label fields of a series that does not have them in one piece.
    scattered: Vec<u8>,
}

impl<'a> Request<'a, '_> {
    fn read(&mut self, mut body: Reader<'a>) -> Result<(), DecodeError> {
        const TIMESERIES: u32 = bytes_key(1);
        const METADATA: u32 = bytes_key(3);
        while let Some(field) = body.key()? {
            match field {
                TIMESERIES => self.series(body.message()?)?,
                METADATA => self.metadata(body.message()?)?,
                other => body.skip(other, 0b1010)?,
            }
        }
        Ok(())
    }

    fn series(&mut self, message: Reader<'a>) -> Result<(), DecodeError> {
        self.decoder.counts.series += 1;
        self.parts.clear();
        let labels = read_series(message.clone(), &mut self.parts, &mut self.decoder.budget)?;
        let label_bytes = match labels {
            Some(bytes) => bytes,
            None => {
                collect_labels(message, &mut self.scattered)?;
                &self.scattered
            }
        };
        let series = self.decoder.batch.hash(label_bytes) ^ KEY_TAG;
        self.decoder.emit(series, label_bytes, &mut self.parts, &mut V1Labels)
    }

    fn metadata(&mut self, message: Reader<'a>) -> Result<(), DecodeError> {
        let offset = message.pos();
        match decode_metadata(message)? {
            Ok(metadata) => {
                let text = metadata.metric.len() + metadata.unit.len() + metadata.help.len();
                self.decoder.budget.charge(size_of::<Metadata>() + text, offset)?;
                self.decoder.batch.metadata(metadata);
                self.decoder.counts.metadata += 1;
            }
            Err(fault) => {
                self.decoder.counts.dropped += 1;
                self.decoder.counts.reject(RejectReason::InvalidLabels, 0, || format!("metadata: {fault}"));
            }
        }
        Ok(())
    }
}

const LABELS: u32 = bytes_key(1);

/// Reads all but the labels; returns the bytes of the label fields when they stand together.
#[inline]
fn read_series<'a>(
    mut message: Reader<'a>,
    parts: &mut Parts<'a>,
    budget: &mut Budget,
) -> Result<Option<&'a [u8]>, DecodeError> {
    const SAMPLES: u32 = bytes_key(2);
    const EXEMPLARS: u32 = bytes_key(3);
    const HISTOGRAMS: u32 = bytes_key(4);
    let (mut labels, mut labels_end, mut together) = (&[][..], message.pos(), true);
    let mut labels_start = message.pos();
    loop {
        let start = message.pos();
        let Some(field) = message.key()? else { break };
        match field {
            LABELS => {
                message.message()?;
                if labels.is_empty() {
                    labels_start = start;
                } else {
                    together &= start == labels_end;
                }
                labels_end = message.pos();
                labels = message.since(labels_start);
            }
            SAMPLES => parts.sample(message.message()?, budget)?,
            EXEMPLARS => parts.exemplar(message.message()?, budget)?,
            HISTOGRAMS => parts.histogram(message.message()?, budget)?,
            other => message.skip(other, 0b11110)?,
        }
    }
    Ok(together.then_some(labels))
}

fn collect_labels(mut message: Reader<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    out.clear();
    loop {
        let start = message.pos();
        let Some(field) = message.key()? else { return Ok(()) };
        message.skip(field, 0)?;
        if field == LABELS {
            out.extend_from_slice(message.since(start));
        }
    }
}

fn decode_metadata(mut message: Reader<'_>) -> Result<Result<Metadata, String>, DecodeError> {
    const TYPE: u32 = key(1, VARINT);
    const FAMILY: u32 = bytes_key(2);
    const HELP: u32 = bytes_key(4);
    const UNIT: u32 = bytes_key(5);
    let (mut number, mut family, mut help, mut unit) = (0, &[][..], &[][..], &[][..]);
    while let Some(field) = message.key()? {
        match field {
            TYPE => number = message.varint()?,
            FAMILY => family = message.bytes()?,
            HELP => help = message.bytes()?,
            UNIT => unit = message.bytes()?,
            other => message.skip(other, 0b11_0110)?,
        }
    }
    let text = |bytes, what| utf8(bytes, what).map(str::to_owned);
    let metadata = || -> Result<Metadata, String> {
        let metric = text(family, "metric family name")?;
        if metric.is_empty() {
            return Err("the metric family name is empty".to_owned());
        }
        let (unit, help) = (text(unit, "unit")?, text(help, "help")?);
        Ok(Metadata { metric, metric_type: metric_type(number).to_owned(), unit, help })
    };
    Ok(metadata())
}

/// The labels of one `Label` message.
pub(crate) fn decode_label<'a>(mut message: Reader<'a>) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    const NAME: u32 = bytes_key(1);
    const VALUE: u32 = bytes_key(2);
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(field) = message.key()? {
        match field {
            NAME => name = message.bytes()?,
            VALUE => value = message.bytes()?,
            other => message.skip(other, 0b110)?,
        }
    }
    Ok((name, value))
}

/// Reads the label bytes of [`decode_v1`]: consecutive `labels` fields of a `TimeSeries`.
#[derive(Clone, Copy, Debug)]
pub struct V1Labels;

impl LabelSource for V1Labels {
    fn labels(&self, bytes: &[u8], out: &mut LabelsBuilder) -> tsq_core::Result<()> {
        let mut reader = Reader::new(bytes);
        let mut named = false;
        while let Some(field) = reader.key().map_err(|error| not_labels(&error))? {
            if field != LABELS {
                return Err(Error::invalid(format!("expected a label, found field {}", field >> 3)));
            }
            let (name, value) = reader.message().and_then(decode_label).map_err(|error| not_labels(&error))?;
            let name = push_label(name, value, out)?;
            named |= name == METRIC_NAME && !value.is_empty();
        }
        require_name(named, out)
    }
}

#[cold]
fn not_labels(error: &DecodeError) -> Error {
    Error::invalid(format!("the labels are no protobuf messages: {error}"))
}

/// Checks one label and adds it.
pub(crate) fn push_label<'a>(name: &'a [u8], value: &[u8], out: &mut LabelsBuilder) -> tsq_core::Result<&'a str> {
    const LEN_MAX: usize = 16 << 20;
    if name.len() > LEN_MAX || value.len() > LEN_MAX {
        let len = name.len().max(value.len());
        return Err(Error::limit(format!("a label of {len} bytes is longer than {LEN_MAX}")));
    }
    let name = utf8(name, "label name").map_err(Error::invalid)?;
    let value = utf8(value, "label value").map_err(|error| Error::invalid(format!("label {name:?}: {error}")))?;
    if name.is_empty() {
        return Err(Error::invalid(format!("a label name is empty (its value is {value:?})")));
    }
    out.push(name, value);
    Ok(name)
}

/// Refuses a set without a metric name.
pub(super) fn require_name(named: bool, out: &mut LabelsBuilder) -> tsq_core::Result<()> {
    if named {
        return Ok(());
    }
    let series = shown(out.build());
    Err(Error::invalid(format!("series {series} has no metric name (label {METRIC_NAME})")))
}

impl<'a> Dialect<'a> for V1Labels {
    fn exemplar_labels(
        &mut self,
        message: &mut Reader<'a>,
        key: u32,
        out: &mut LabelsBuilder,
    ) -> Result<(), ExemplarFault> {
        if key != LABELS {
            return Ok(message.skip(key, 0b10)?);
        }
        let (name, value) = decode_label(message.message()?)?;
        push_label(name, value, out).map_err(|_| ExemplarFault::Labels)?;
        Ok(())
    }

    fn has_starts(&self) -> bool {
        false
    }

    fn show(&self, label_bytes: &[u8]) -> String {
        let mut builder = LabelsBuilder::default();
        shown(self.labels(label_bytes, &mut builder).and_then(|()| builder.build()))
    }
}
