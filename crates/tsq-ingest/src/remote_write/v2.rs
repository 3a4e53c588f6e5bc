//! Remote write 2.0: `io.prometheus.write.v2.Request`.

use std::collections::HashSet;

use tsq_core::{Batch, Error, LabelSource, LabelsBuilder, METRIC_NAME, Metadata, RejectReason};

use super::decode::{Counts, Decoder, Dialect, ExemplarFault, Parts, metric_type, shown};
use super::v1::{push_label, require_name};
use crate::error::DecodeError;
use crate::protobuf::{Reader, VARINT, bytes_key, key, utf8};

/// Keeps the keys of this form apart from those of other forms of label bytes.
const KEY_TAG: u128 = 0x31e9_aa57_c06d_4b18_94f2_7be0_d35c_1829;

/// An odd number of 128 random bits.
const PLACE_FACTOR: u128 = 0xa3f1_96c5_0b7e_42d9_5c8d_e1f3_7096_b24b;

/// Decodes a request into `batch`. Append the batch with the returned [`V2Labels`], which borrow the symbols of `body`.
///
/// The symbol table may stand anywhere in the body. A series with references outside of it or an odd number of them is
/// refused; label sets that are no valid set are refused when the engine asks for them.
///
/// # Errors
/// The first byte that is no part of a `Request`, or the bound [`DECODED_BYTES_MAX`](super::DECODED_BYTES_MAX).
/// The batch is cleared then.
pub fn decode_v2<'a>(body: &'a [u8], batch: &mut Batch) -> Result<(Counts, V2Labels<'a>), DecodeError> {
    let mut request = Request {
        decoder: Decoder::new(batch),
        parts: Parts::default(),
        table: V2Labels::default(),
        hashes: Vec::new(),
        label_bytes: Vec::new(),
        described: HashSet::new(),
    };
    let outcome = request.symbols(Reader::new(body)).and_then(|()| request.read(Reader::new(body)));
    let (counts, table) = (request.decoder.counts, request.table);
    if outcome.is_err() {
        batch.clear();
    }
    outcome.map(|()| (counts, table))
}

const TIMESERIES: u32 = bytes_key(5);
const SYMBOLS: u32 = bytes_key(4);

/// The symbol table of a request; reads the label bytes of [`decode_v2`], which are references into it, `u32` LE each.
#[derive(Clone, Debug, Default)]
pub struct V2Labels<'a> {
    symbols: Vec<&'a [u8]>,
}

impl<'a> V2Labels<'a> {
    fn get(&self, reference: u32) -> Option<&'a [u8]> {
        self.symbols.get(reference as usize).copied()
    }

    fn pairs(&self, references: impl Iterator<Item = u32>, out: &mut LabelsBuilder) -> tsq_core::Result<bool> {
        let mut references = references.map(|reference| {
            self.get(reference).ok_or_else(|| Error::invalid(format!("symbol reference {reference} is out of range")))
        });
        let mut named = false;
        while let Some(name) = references.next() {
            let value = references.next().ok_or_else(|| Error::invalid("odd number of label references"))??;
            let name = push_label(name?, value, out)?;
            named |= name == METRIC_NAME && !value.is_empty();
        }
        Ok(named)
    }
}

fn references(label_bytes: &[u8]) -> impl Iterator<Item = u32> {
    label_bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

impl LabelSource for V2Labels<'_> {
    fn labels(&self, bytes: &[u8], out: &mut LabelsBuilder) -> tsq_core::Result<()> {
        let named = self.pairs(references(bytes), out)?;
        require_name(named, out)
    }
}

impl<'a> Dialect<'a> for V2Labels<'a> {
    fn exemplar_labels(
        &mut self,
        message: &mut Reader<'a>,
        key: u32,
        out: &mut LabelsBuilder,
    ) -> Result<(), ExemplarFault> {
        let mut refs = Vec::new();
        read_references(message, key, &mut refs)?;
        self.pairs(references(&refs), out).map_err(|_| ExemplarFault::Labels)?;
        Ok(())
    }

    fn has_starts(&self) -> bool {
        true
    }

    fn show(&self, label_bytes: &[u8]) -> String {
        let mut builder = LabelsBuilder::default();
        shown(self.labels(label_bytes, &mut builder).and_then(|()| builder.build()))
    }
}

/// How many references one series may have; far above the limit of labels, and a bound on the scratch space.
const REFERENCES_MAX: usize = 8_192;

/// Reads `repeated uint32 labels_refs = 1`, packed or not, as label bytes. References above 32 bits are out of range
/// anyway; of those above the bound one more is kept, which shows that it was exceeded.
#[inline]
fn read_references(message: &mut Reader<'_>, key_: u32, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    const PACKED: u32 = bytes_key(1);
    const SINGLE: u32 = key(1, VARINT);
    let mut push = |reference: u64| {
        if out.len() <= 4 * REFERENCES_MAX {
            out.extend_from_slice(&u32::try_from(reference).unwrap_or(u32::MAX).to_le_bytes());
        }
    };
    match key_ {
        PACKED => message.packed_varints(push),
        SINGLE => {
            push(message.varint()?);
            Ok(())
        }
        other => message.skip(other, 0b10),
    }
}

/// What a series says about its metric: type, and symbols of help and unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Description {
    metric_type: u64,
    help: u32,
    unit: u32,
}

struct Request<'a, 'b> {
    decoder: Decoder<'b>,
    parts: Parts<'a>,
    table: V2Labels<'a>,
    /// Hash of each symbol, under the seed of the batch.
    hashes: Vec<u128>,
    /// Label bytes of the current series.
    label_bytes: Vec<u8>,
    /// Metric names (as symbols) with their descriptions, so that each goes into the batch once.
    described: HashSet<(u32, Description)>,
}

impl<'a> Request<'a, '_> {
    fn symbols(&mut self, mut body: Reader<'a>) -> Result<(), DecodeError> {
        while let Some(field) = body.key()? {
            if field != SYMBOLS {
                body.skip(field, 0)?;
                continue;
            }
            let symbol = body.bytes()?;
            self.decoder.budget.charge(size_of::<&[u8]>() + 16, body.pos())?;
            self.table.symbols.push(symbol);
            self.hashes.push(self.decoder.batch.hash(symbol));
        }
        Ok(())
    }

    fn read(&mut self, mut body: Reader<'a>) -> Result<(), DecodeError> {
        while let Some(field) = body.key()? {
            match field {
                TIMESERIES => self.series(body.message()?)?,
                SYMBOLS => body.skip(field, 0)?,
                other => body.skip(other, 0b11_0000)?,
            }
        }
        Ok(())
    }

    fn series(&mut self, message: Reader<'a>) -> Result<(), DecodeError> {
        self.decoder.counts.series += 1;
        self.parts.clear();
        let description = self.read_series(message)?;
        let series = match self.identify() {
            Ok(series) => series,
            Err(fault) => {
                let samples = self.parts.samples();
                self.decoder.counts.reject(RejectReason::InvalidLabels, samples, || fault);
                return Ok(());
            }
        };
        self.decoder.emit(series, &self.label_bytes, &mut self.parts, &mut self.table)?;
        match description {
            Some(description) if description != Description::default() => self.describe(description),
            _ => Ok(()),
        }
    }

    #[inline]
    fn read_series(&mut self, mut message: Reader<'a>) -> Result<Option<Description>, DecodeError> {
        const SAMPLES: u32 = bytes_key(2);
        const HISTOGRAMS: u32 = bytes_key(3);
        const EXEMPLARS: u32 = bytes_key(4);
        const METADATA: u32 = bytes_key(5);
        let mut description = None;
        self.label_bytes.clear();
        let budget = &mut self.decoder.budget;
        while let Some(field) = message.key()? {
            match field {
                SAMPLES => self.parts.sample_with_start(message.message()?, budget)?,
                HISTOGRAMS => self.parts.histogram(message.message()?, budget)?,
                EXEMPLARS => self.parts.exemplar(message.message()?, budget)?,
                METADATA => description = Some(decode_description(message.message()?)?),
                labels if labels >> 3 == 1 => read_references(&mut message, labels, &mut self.label_bytes)?,
                other => message.skip(other, 0b11_1110)?,
            }
        }
        Ok(description)
    }

    /// The key of the series: its symbols' hashes, each times the power of an odd number that stands for its place.
    /// The hashes are seeded and of 128 bits, so sums of two different lists are as unlikely to be equal as two hashes.
    #[inline]
    fn identify(&self) -> Result<u128, String> {
        if self.label_bytes.len() > 4 * REFERENCES_MAX {
            return Err(format!("a series has more than {} labels", REFERENCES_MAX / 2));
        }
        let (mut sum, mut place) = (KEY_TAG, PLACE_FACTOR);
        for (index, reference) in references(&self.label_bytes).enumerate() {
            let Some(hash) = self.hashes.get(reference as usize) else {
                let symbols = self.hashes.len();
                return Err(format!("labels_refs[{index}] is {reference}, the request has {symbols} symbols"));
            };
            sum = sum.wrapping_add(hash.wrapping_mul(place));
            place = place.wrapping_mul(PLACE_FACTOR);
        }
        if !self.label_bytes.len().is_multiple_of(8) {
            let count = self.label_bytes.len() / 4;
            return Err(format!("{count} label references are no pairs of name and value"));
        }
        Ok(sum)
    }

    fn describe(&mut self, description: Description) -> Result<(), DecodeError> {
        let names = references(&self.label_bytes).step_by(2);
        let mut pairs = names.zip(references(&self.label_bytes).skip(1).step_by(2));
        let name = pairs.find(|(name, _)| self.table.get(*name) == Some(METRIC_NAME.as_bytes()));
        let Some((_, name)) = name else { return Ok(()) };
        if !self.described.insert((name, description)) {
            return Ok(());
        }
        match self.metadata(name, description) {
            Ok(metadata) => {
                let text = metadata.metric.len() + metadata.unit.len() + metadata.help.len();
                self.decoder.budget.charge(2 * size_of::<Metadata>() + text, 0)?;
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

    fn metadata(&self, name: u32, description: Description) -> Result<Metadata, String> {
        let text = |reference: u32, what: &str| {
            let symbol = if reference == 0 { Some(&[][..]) } else { self.table.get(reference) };
            let symbol = symbol.ok_or_else(|| format!("{what} reference {reference} is out of range"))?;
            utf8(symbol, what)
        };
        let metric_type = metric_type(description.metric_type);
        Ok(Metadata {
            metric: family(text(name, "metric name")?, metric_type).to_owned(),
            metric_type: metric_type.to_owned(),
            unit: text(description.unit, "unit")?.to_owned(),
            help: text(description.help, "help")?.to_owned(),
        })
    }
}

/// The family that a series of this name and type belongs to: 2.0 describes series, metadata is kept by family.
fn family<'n>(name: &'n str, metric_type: &str) -> &'n str {
    let suffixes: &[&str] = match metric_type {
        "histogram" => &["_bucket", "_sum", "_count"],
        "gaugehistogram" => &["_bucket", "_gsum", "_gcount"],
        "summary" => &["_sum", "_count"],
        _ => &[],
    };
    let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    base.filter(|base| !base.is_empty()).unwrap_or(name)
}

fn decode_description(mut message: Reader<'_>) -> Result<Description, DecodeError> {
    const TYPE: u32 = key(1, VARINT);
    const HELP: u32 = key(3, VARINT);
    const UNIT: u32 = key(4, VARINT);
    let narrow = |reference: u64| u32::try_from(reference).unwrap_or(u32::MAX);
    let mut description = Description::default();
    while let Some(field) = message.key()? {
        match field {
            TYPE => description.metric_type = message.varint()?,
            HELP => description.help = narrow(message.varint()?),
            UNIT => description.unit = narrow(message.varint()?),
            other => message.skip(other, 0b1_1010)?,
        }
    }
    Ok(description)
}
