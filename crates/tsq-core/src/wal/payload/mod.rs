//! A batch as the payload of a record. Byte-exact in docs/format.md, "Batch payload".
//! ~~~text
//! version      u8, = 1; = 2 when samples have start times
//! sections     u8, a bit for each of the following that is present, in this order:
//! starts       u8, version 2 only: of which of the four kinds samples have start times, by the same bits
//!   1 strings      varint number, each: varint len, bytes (UTF-8); the ones below name them by position
//!   2 definitions  varint number, each: log_ref signed varint (difference to the one before), kind u8, labels
//!   4 floats  8 histograms  16 runs  32 run histograms
//!                  varint number of samples; values (values.rs) or histograms (histograms.rs);
//!                  references, times, for the run kinds steps, start times if there are any (column.rs)
//!  64 exemplars    varint number, each: labels of the series, labels, value 8 bytes, time signed varint
//! 128 metadata     varint number, each: metric, type, unit, help: a string each
//! labels       varint number, each: name, value: a string each; sorted by name
//! ~~~
//! A record decodes alone: it shares no state with the one before it. What it refers to by number was defined in a
//! record of the same generation.

mod bytes;
mod column;
mod histograms;
#[cfg(test)]
mod tests;
mod values;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Exemplar, Metadata};
use crate::error::{Error, ErrorKind, Result};
use crate::histogram::Histogram;
use crate::labels::{self, Labels};
use crate::sample::Kind;
use bytes::{Reader, push_varint, zigzag};
use column::ColumnScratch;

/// Version of a batch without start times, and with them.
const VERSION: u8 = 1;
const VERSION_STARTS: u8 = 2;

const STRINGS: u8 = 1;
const DEFINITIONS: u8 = 2;
const GROUPS: u8 = 4;
const EXEMPLARS: u8 = 64;
const METADATA: u8 = 128;

/// What one batch adds to the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BatchRecord {
    /// Series that this record and later ones of the generation refer to.
    pub(crate) definitions: Vec<Definition>,
    /// Samples by kind, in the order of [`Kind::ALL`].
    pub(crate) groups: [Group; 4],
    /// Exemplars with the labels of their series.
    pub(crate) exemplars: Vec<(Labels, Exemplar)>,
    /// What is known about metrics.
    pub(crate) metadata: Vec<Metadata>,
}

/// A series and the number by which records refer to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    /// The number, within a generation.
    pub(crate) log_ref: u32,
    /// The kind.
    pub(crate) kind: Kind,
    /// The labels.
    pub(crate) labels: Labels,
}

/// Samples of one kind, in columns: one of each that the kind has for every sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    /// Series of the sample.
    pub(crate) refs: Vec<u32>,
    /// Milliseconds since 1970.
    pub(crate) times: Vec<i64>,
    /// Steps, for the run kinds.
    pub(crate) steps: Vec<i64>,
    /// Values, for the float kinds.
    pub(crate) values: Vec<f64>,
    /// Histograms, for the histogram kinds.
    pub(crate) histograms: Vec<Histogram>,
    /// Start times, 0 for unknown; none when all are.
    pub(crate) starts: Vec<i64>,
}

impl BatchRecord {
    /// Drops the content, keeping the allocations.
    pub(crate) fn clear(&mut self) {
        self.definitions.clear();
        self.groups.iter_mut().for_each(Group::clear);
        self.exemplars.clear();
        self.metadata.clear();
    }

    /// Whether there is nothing to log.
    pub(crate) fn is_empty(&self) -> bool {
        self.definitions.is_empty()
            && self.groups.iter().all(|group| group.refs.is_empty())
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
    }

    /// The samples of a kind.
    #[cfg(test)]
    pub(crate) fn group_mut(&mut self, kind: Kind) -> &mut Group {
        &mut self.groups[kind as usize]
    }
}

impl Group {
    fn clear(&mut self) {
        self.refs.clear();
        self.times.clear();
        self.steps.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
    }
}

/// Buffers for encoding and decoding, reused from record to record.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    column: ColumnScratch,
    integers: Vec<i64>,
    strings: Strings,
    /// Sections that name strings: written behind the strings, which are complete only afterwards.
    naming: Vec<u8>,
    tail: Vec<u8>,
}

/// Distinct strings, numbered in the order of their first use.
#[derive(Debug, Default)]
struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    table: HashTable<u32>,
}

impl Strings {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.table.clear();
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    fn number(&mut self, text: &str) -> u32 {
        let hash = xxh3_64(text.as_bytes());
        if let Some(&number) = self.table.find(hash, |&number| self.get(number as usize) == text.as_bytes()) {
            return number;
        }
        let number = self.ends.len() as u32;
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
        let Self { bytes, ends, table } = self;
        let rehash = |&number: &u32| {
            let start = (number as usize).checked_sub(1).map_or(0, |before| ends[before]);
            xxh3_64(&bytes[start..ends[number as usize]])
        };
        table.insert_unique(hash, number, rehash);
        number
    }

    fn encode(&self, out: &mut Vec<u8>) {
        push_varint(out, self.ends.len() as u64);
        for index in 0..self.ends.len() {
            let text = self.get(index);
            push_varint(out, text.len() as u64);
            out.extend_from_slice(text);
        }
    }
}

/// Appends the encoding of a record to `out`. The columns of each group have equal lengths (those its kind has).
pub(crate) fn encode(record: &BatchRecord, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Scratch { column, strings, naming, tail, .. } = scratch;
    strings.clear();
    naming.clear();
    tail.clear();
    encode_definitions(&record.definitions, strings, naming);
    encode_exemplars(&record.exemplars, strings, tail);
    encode_metadata(&record.metadata, strings, tail);
    let groups = record.groups.iter().enumerate().filter(|(_, group)| !group.refs.is_empty());
    let mut sections = groups.clone().fold(0, |sections, (index, _)| sections | GROUPS << index);
    for (bit, present) in [
        (STRINGS, !strings.ends.is_empty()),
        (DEFINITIONS, !record.definitions.is_empty()),
        (EXEMPLARS, !record.exemplars.is_empty()),
        (METADATA, !record.metadata.is_empty()),
    ] {
        if present {
            sections |= bit;
        }
    }
    let has_starts = groups.clone().filter(|(_, group)| !group.starts.is_empty());
    match has_starts.fold(0, |starts, (index, _)| starts | GROUPS << index) {
        0 => out.extend_from_slice(&[VERSION, sections]),
        starts => out.extend_from_slice(&[VERSION_STARTS, sections, starts]),
    }
    if sections & STRINGS != 0 {
        strings.encode(out);
    }
    out.extend_from_slice(naming);
    for (index, group) in groups {
        encode_group(Kind::ALL[index], group, column, out);
    }
    out.extend_from_slice(tail);
}

fn encode_definitions(definitions: &[Definition], strings: &mut Strings, out: &mut Vec<u8>) {
    if definitions.is_empty() {
        return;
    }
    push_varint(out, definitions.len() as u64);
    let mut last = 0;
    for definition in definitions {
        push_varint(out, zigzag(i64::from(definition.log_ref) - last));
        last = i64::from(definition.log_ref);
        out.push(definition.kind as u8);
        encode_labels(&definition.labels, strings, out);
    }
}

fn encode_labels(labels: &Labels, strings: &mut Strings, out: &mut Vec<u8>) {
    push_varint(out, labels.len() as u64);
    for (name, value) in labels.iter() {
        push_varint(out, u64::from(strings.number(name)));
        push_varint(out, u64::from(strings.number(value)));
    }
}

fn encode_exemplars(exemplars: &[(Labels, Exemplar)], strings: &mut Strings, out: &mut Vec<u8>) {
    if exemplars.is_empty() {
        return;
    }
    push_varint(out, exemplars.len() as u64);
    for (series, exemplar) in exemplars {
        encode_labels(series, strings, out);
        encode_labels(&exemplar.labels, strings, out);
        out.extend_from_slice(&exemplar.value.to_le_bytes());
        push_varint(out, zigzag(exemplar.time_ms));
    }
}

fn encode_metadata(metadata: &[Metadata], strings: &mut Strings, out: &mut Vec<u8>) {
    if metadata.is_empty() {
        return;
    }
    push_varint(out, metadata.len() as u64);
    for entry in metadata {
        for text in [&entry.metric, &entry.metric_type, &entry.unit, &entry.help] {
            push_varint(out, u64::from(strings.number(text)));
        }
    }
}

fn encode_group(kind: Kind, group: &Group, column: &mut ColumnScratch, out: &mut Vec<u8>) {
    let count = group.refs.len();
    assert_eq!(group.times.len(), count, "every sample has a time");
    push_varint(out, count as u64);
    if kind.is_histogram() {
        assert_eq!(group.histograms.len(), count, "every sample has a histogram");
        group.histograms.iter().for_each(|histogram| histograms::encode(histogram, out));
    } else {
        assert_eq!(group.values.len(), count, "every sample has a value");
        values::encode(&group.values, out);
    }
    column::encode(group.refs.iter().map(|&number| i64::from(number)), column, out);
    column::encode(group.times.iter().copied(), column, out);
    if kind.has_step() {
        assert_eq!(group.steps.len(), count, "every sample has a step");
        column::encode(group.steps.iter().copied(), column, out);
    }
    if !group.starts.is_empty() {
        assert_eq!(group.starts.len(), count, "every sample has a start time, or none has");
        column::encode(group.starts.iter().copied(), column, out);
    }
}

/// Replaces `record` by what `payload` holds. Never panics and allocates in proportion to the bytes of the payload
/// (label sets: to what they spell out), whatever it holds; `record` is in a valid state even after an error.
///
/// # Errors
/// `Corrupt` when a rule of the format is broken; `UnsupportedFormat` for a newer version.
pub(crate) fn decode(payload: &[u8], scratch: &mut Scratch, record: &mut BatchRecord) -> Result<()> {
    record.clear();
    let mut reader = Reader::new(payload);
    let version = reader.u8()?;
    if version > VERSION_STARTS {
        let message = format!("a batch in the log of version {version}; this tsq reads up to version {VERSION_STARTS}");
        return Err(Error::new(ErrorKind::UnsupportedFormat, message));
    }
    if version == 0 {
        return Err(reader.corrupt("batch version 0"));
    }
    let sections = reader.u8()?;
    let starts = if version == VERSION_STARTS { decode_starts(&mut reader, sections)? } else { 0 };
    let strings = if sections & STRINGS != 0 { decode_strings(&mut reader)? } else { Vec::new() };
    let mut decoder = Decoder { reader, strings, labels: Vec::new() };
    if sections & DEFINITIONS != 0 {
        decoder.definitions(&mut record.definitions)?;
    }
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        if sections & GROUPS << index != 0 {
            let Scratch { column, integers, .. } = scratch;
            let group = &mut record.groups[index];
            decoder.group(kind, column, integers, group)?;
            if starts & GROUPS << index != 0 {
                column::decode(&mut decoder.reader, group.times.len(), column, &mut group.starts)?;
            }
        }
    }
    if sections & EXEMPLARS != 0 {
        decoder.exemplars(&mut record.exemplars)?;
    }
    if sections & METADATA != 0 {
        decoder.metadata(&mut record.metadata)?;
    }
    match decoder.reader.remaining() {
        0 => Ok(()),
        more => Err(decoder.reader.corrupt(&format!("{more} bytes behind the last section"))),
    }
}

/// Of which kinds there are start times: of some, and only of such that have samples.
fn decode_starts(reader: &mut Reader<'_>, sections: u8) -> Result<u8> {
    const KINDS: u8 = GROUPS | GROUPS << 1 | GROUPS << 2 | GROUPS << 3;
    let starts = reader.u8()?;
    if starts == 0 || starts & !(sections & KINDS) != 0 {
        return Err(reader.corrupt(&format!("start times of kinds {starts:#x} in sections {sections:#x}")));
    }
    Ok(starts)
}

fn decode_strings<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a str>> {
    let number = reader.count(1)?;
    (0..number)
        .map(|_| {
            let len = reader.count(1)?;
            if len >= labels::TEXT_MAX {
                return Err(reader.corrupt(&format!("a string of {len} bytes")));
            }
            let bytes = reader.bytes(len)?;
            std::str::from_utf8(bytes).map_err(|_| reader.corrupt("a string that is not UTF-8"))
        })
        .collect()
}

struct Decoder<'a> {
    reader: Reader<'a>,
    strings: Vec<&'a str>,
    labels: Vec<u8>,
}

impl<'a> Decoder<'a> {
    fn string(&mut self) -> Result<&'a str> {
        let number = self.reader.varint()?;
        let text = usize::try_from(number).ok().and_then(|number| self.strings.get(number));
        text.copied().ok_or_else(|| self.reader.corrupt(&format!("string {number} of {}", self.strings.len())))
    }

    fn label_set(&mut self) -> Result<Labels> {
        let number = self.reader.count(2)?;
        self.labels.clear();
        for _ in 0..number {
            let (name, value) = (self.string()?, self.string()?);
            labels::push_pair(&mut self.labels, name, value);
        }
        Labels::from_canonical(&self.labels).map_err(|error| self.reader.corrupt(&error.to_string()))
    }

    fn definitions(&mut self, out: &mut Vec<Definition>) -> Result<()> {
        let number = self.reader.count(3)?;
        let mut last = 0_i64;
        for _ in 0..number {
            last = last.wrapping_add(self.reader.signed()?);
            let log_ref = u32::try_from(last).map_err(|_| self.reader.corrupt(&format!("reference {last}")))?;
            let kind = self.reader.u8()?;
            let kind = Kind::from_u8(kind).ok_or_else(|| self.reader.corrupt(&format!("sample kind {kind}")))?;
            let labels = self.label_set()?;
            out.push(Definition { log_ref, kind, labels });
        }
        Ok(())
    }

    fn group(
        &mut self,
        kind: Kind,
        column: &mut ColumnScratch,
        integers: &mut Vec<i64>,
        group: &mut Group,
    ) -> Result<()> {
        let reader = &mut self.reader;
        let count = reader.count(if kind.is_histogram() { histograms::LEN_MIN } else { 1 })?;
        if kind.is_histogram() {
            for _ in 0..count {
                group.histograms.push(histograms::decode(reader)?);
            }
        } else {
            values::decode(reader, count, &mut group.values)?;
        }
        integers.clear();
        column::decode(reader, count, column, integers)?;
        for &number in &*integers {
            group.refs.push(u32::try_from(number).map_err(|_| reader.corrupt(&format!("reference {number}")))?);
        }
        column::decode(reader, count, column, &mut group.times)?;
        if kind.has_step() {
            column::decode(reader, count, column, &mut group.steps)?;
        }
        Ok(())
    }

    fn exemplars(&mut self, out: &mut Vec<(Labels, Exemplar)>) -> Result<()> {
        let number = self.reader.count(11)?;
        for _ in 0..number {
            let (series, labels) = (self.label_set()?, self.label_set()?);
            let (value, time_ms) = (self.reader.f64()?, self.reader.signed()?);
            out.push((series, Exemplar { labels, value, time_ms }));
        }
        Ok(())
    }

    fn metadata(&mut self, out: &mut Vec<Metadata>) -> Result<()> {
        let number = self.reader.count(4)?;
        for _ in 0..number {
            let mut text = || self.string().map(str::to_owned);
            out.push(Metadata { metric: text()?, metric_type: text()?, unit: text()?, help: text()? });
        }
        Ok(())
    }
}
