//! The transaction log of a Weights & Biases run, `run-<id>.wandb`.
//!
//! Specification: wandb/proto/wandb_internal.proto (records), the log format of LevelDB (framing), with two differences:
//! a header before the first block, and a plain CRC-32.
//!
//! ```text
//! header   ":W&B", u16 LE 0xbee1, u8 version 0
//! block    32 KiB, counted from the start of the file: chunks, then fewer than 7 zeros
//! chunk    crc u32 LE of type and payload, length u16 LE, type u8 (1 full, 2 first, 3 middle, 4 last), payload
//! ```
//! A record is the payload of a full chunk, or of a first, any number of middle and a last one.

use std::io::{self, Read};

use crate::error::DecodeError;
use crate::protobuf::{BYTES, FIXED64, Reader, VARINT, bytes_key, key, unzigzag, utf8};
use crate::runs::json::Value;
use crate::runs::{Damages, RECORD_MAX};

const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];
const BLOCK_LEN: usize = 32 << 10;
const CHUNK_HEADER_LEN: usize = 7;

/// One record. The kinds without meaning for a run's history are [`Record::Other`].
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// What was logged at one step, nested as it was logged, `_step` among it: an object.
    History(Value),
    /// Changes of the summary.
    Summary(Changes),
    /// Changes of the configuration.
    Config(Changes),
    /// What is known of the run.
    Run(Box<RunInfo>),
    /// Metrics of the machine.
    Stats {
        /// Microseconds since 1970.
        timestamp_us: i64,
        /// Metrics by name, without the prefix `system.` that they bear in the service.
        items: Vec<(String, Value)>,
    },
    /// The end of the run.
    Exit {
        /// Exit code of the process.
        exit_code: i32,
        /// Seconds.
        runtime_s: i64,
    },
    /// Lines of the console.
    Output(String),
    /// Another kind, by its field number in `Record`.
    Other(u32),
}

/// Changes of a nested object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// What was set, by path.
    pub update: Vec<(Vec<String>, Value)>,
    /// Paths that were removed.
    pub remove: Vec<Vec<String>>,
}

impl Changes {
    /// Changes an object.
    pub fn apply(self, object: &mut Value) {
        self.update.into_iter().for_each(|(path, value)| object.set(&path, value));
        self.remove.iter().for_each(|path| object.remove(path));
    }
}

/// What a run says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunInfo {
    /// Id, unique in the project.
    pub run_id: String,
    /// User or team; may be empty.
    pub entity: String,
    /// Project.
    pub project: String,
    /// The configuration it began with.
    pub config: Changes,
    /// The summary it began with.
    pub summary: Changes,
    /// Group of runs.
    pub group: String,
    /// Kind of job.
    pub job_type: String,
    /// Name for people.
    pub display_name: String,
    /// Notes.
    pub notes: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Sweep it belongs to.
    pub sweep_id: String,
    /// Host name.
    pub host: String,
    /// First step, of a run that was resumed.
    pub starting_step: i64,
    /// Microseconds since 1970.
    pub start_time_us: i64,
}

/// Reads the records of a file in order, once.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    block: Vec<u8>,
    /// Byte of the file at which the block begins.
    block_at: u64,
    pos: usize,
    record: Vec<u8>,
    /// Where the record that is being put together begins; none: none is.
    open: Option<u64>,
    damages: Damages,
    ended: bool,
}

/// One chunk of the log.
enum Step {
    /// A record is whole.
    Record(u64),
    /// Read on.
    More,
}

impl<R: Read> RecordReader<R> {
    /// Reads from the beginning of a file.
    ///
    /// # Errors
    /// The input cannot be read, or it does not begin with the header of the format (`InvalidData`).
    pub fn new(input: R) -> io::Result<Self> {
        let (block, damages) = (Vec::with_capacity(BLOCK_LEN), Damages::default());
        let mut reader =
            Self { input, block, block_at: 0, pos: 0, record: Vec::new(), open: None, damages, ended: false };
        reader.next_block()?;
        if !reader.block.starts_with(&HEADER) {
            let message = match reader.block.starts_with(&HEADER[..4]) {
                true => "byte 4: a version of W&B's log that is not known",
                false => "byte 0: not the log of a W&B run: \":W&B\" is missing",
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        reader.pos = HEADER.len();
        Ok(reader)
    }

    /// The next record. Damaged blocks are left out: see [`RecordReader::damages`].
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        while !self.ended {
            let Step::Record(start) = self.step()? else { continue };
            match record(&self.record) {
                Ok(record) => return Ok(Some(record)),
                Err(error) => {
                    let message = format!("no record, at its byte {}: {}", error.offset(), error.message());
                    self.damages.add(start, message);
                }
            }
        }
        Ok(None)
    }

    /// What could not be read up to here.
    pub fn damages(&self) -> &Damages {
        &self.damages
    }

    /// Bytes read.
    pub fn offset(&self) -> u64 {
        self.block_at + self.pos as u64
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.block_at += self.block.len() as u64;
        self.block.clear();
        self.pos = 0;
        self.input.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut self.block)?;
        Ok(())
    }

    /// Reads a chunk.
    fn step(&mut self) -> io::Result<Step> {
        let rest = &self.block[self.pos..];
        // A zero type stands where space was reserved and not used.
        if rest.len() < CHUNK_HEADER_LEN || rest[..CHUNK_HEADER_LEN] == [0; CHUNK_HEADER_LEN] {
            if self.block.len() < BLOCK_LEN {
                let cut = rest.iter().any(|&byte| byte != 0);
                self.end(cut);
            } else {
                self.next_block()?;
                self.ended = self.block.is_empty();
                if self.ended {
                    self.end(false);
                }
            }
            return Ok(Step::More);
        }
        let crc = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
        let (len, kind) = (usize::from(u16::from_le_bytes([rest[4], rest[5]])), rest[6]);
        let Some(payload) = rest.get(CHUNK_HEADER_LEN..CHUNK_HEADER_LEN + len) else {
            return self.overlong(len);
        };
        let mut hash = crc32fast::Hasher::new();
        hash.update(&rest[6..7]);
        hash.update(payload);
        if hash.finalize() != crc || !(1..=4).contains(&kind) {
            return self.leave_block("the checksum of a chunk is wrong; the rest of its block was left out");
        }
        let at = self.offset();
        let range = self.pos + CHUNK_HEADER_LEN..self.pos + CHUNK_HEADER_LEN + len;
        self.pos = range.end;
        Ok(self.chunk(at, kind, range))
    }

    fn chunk(&mut self, at: u64, kind: u8, payload: std::ops::Range<usize>) -> Step {
        if kind <= 2 {
            if let Some(start) = self.open.take() {
                self.damages.add(start, "a record without an end");
            }
            self.record.clear();
            self.open = Some(at);
        }
        // The rest of a record whose beginning was left out.
        let Some(start) = self.open else { return Step::More };
        if (self.record.len() + payload.len()) as u64 > RECORD_MAX {
            self.damages.add(start, format!("a record of more than {RECORD_MAX} bytes; it was left out"));
            self.open = None;
            return Step::More;
        }
        self.record.extend_from_slice(&self.block[payload]);
        if kind == 1 || kind == 4 {
            self.open = None;
            return Step::Record(start);
        }
        Step::More
    }

    /// A chunk that is longer than its block, or than what is left of the file.
    fn overlong(&mut self, len: usize) -> io::Result<Step> {
        if self.block.len() < BLOCK_LEN {
            self.end(true);
            return Ok(Step::More);
        }
        self.leave_block(&format!("a chunk of {len} bytes is longer than its block, which was left out"))
    }

    fn leave_block(&mut self, message: &str) -> io::Result<Step> {
        self.damages.add(self.offset(), message);
        self.open = None;
        if self.block.len() < BLOCK_LEN {
            self.ended = true;
        } else {
            self.next_block()?;
        }
        Ok(Step::More)
    }

    fn end(&mut self, cut: bool) {
        self.ended = true;
        let at = self.open.take().unwrap_or(self.offset());
        if cut {
            self.damages.add(at, "the file ends inside of a record");
        }
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let at = reader.pos();
    let bytes = reader.bytes()?;
    utf8(bytes, "a text").map(str::to_owned).map_err(|message| DecodeError::malformed(at, message))
}

fn record(payload: &[u8]) -> Result<Record, DecodeError> {
    const NUM: u32 = key(1, VARINT);
    let mut record = Record::Other(0);
    let mut reader = Reader::new(payload);
    while let Some(key) = reader.key()? {
        let (field, wire_type) = (key >> 3, key & 7);
        record = match (field, wire_type) {
            (2, BYTES) => history(reader.message()?)?,
            (3, BYTES) => Record::Summary(changes(reader.message()?)?),
            (4, BYTES) => output(reader.message()?, 3)?,
            (5, BYTES) => Record::Config(changes(reader.message()?)?),
            (7, BYTES) => stats(reader.message()?)?,
            (13, BYTES) => output(reader.message()?, 3)?,
            (17, BYTES) => Record::Run(Box::new(run(reader.message()?)?)),
            (18, BYTES) => exit(reader.message()?)?,
            _ => {
                reader.skip(key, 0)?;
                // Fields from 200 on say who sent the record.
                match key != NUM && wire_type == BYTES && field < 200 && record == Record::Other(0) {
                    true => Record::Other(field),
                    false => record,
                }
            }
        };
    }
    Ok(record)
}

fn history(mut reader: Reader<'_>) -> Result<Record, DecodeError> {
    const ITEM: u32 = bytes_key(1);
    const STEP: u32 = bytes_key(2);
    let (mut row, mut step) = (Value::Object(Vec::new()), None);
    while let Some(key) = reader.key()? {
        match key {
            ITEM => {
                let (path, value) = item(reader.message()?)?;
                row.set(&path, value);
            }
            STEP => step = Some(first_varint(reader.message()?)? as i64),
            _ => reader.skip(key, 0b110)?,
        }
    }
    if let (Some(step), None) = (step, row.get("_step")) {
        row.set(&["_step"], Value::Integer(step));
    }
    Ok(Record::History(row))
}

/// The varint of field 1.
fn first_varint(mut reader: Reader<'_>) -> Result<u64, DecodeError> {
    const FIRST: u32 = key(1, VARINT);
    let mut value = 0;
    while let Some(key) = reader.key()? {
        match key {
            FIRST => value = reader.varint()?,
            _ => reader.skip(key, 0b10)?,
        }
    }
    Ok(value)
}

/// A `HistoryItem`, `SummaryItem` or `ConfigItem`: its path and value.
fn item(mut reader: Reader<'_>) -> Result<(Vec<String>, Value), DecodeError> {
    let (mut name, mut nested, mut value) = (String::new(), Vec::new(), Value::Null);
    while let Some(key) = reader.key()? {
        match (key >> 3, key & 7) {
            (1, BYTES) => name = text(&mut reader)?,
            (2, BYTES) => nested.push(text(&mut reader)?),
            (3, VARINT) => {
                reader.varint()?;
                value = Value::Null;
            }
            (4, VARINT) => value = Value::Bool(reader.varint()? != 0),
            (5, VARINT) => value = Value::Integer(unzigzag(reader.varint()?)),
            (6, FIXED64) => value = Value::Float(reader.double()?),
            (7, BYTES) => value = Value::Text(text(&mut reader)?),
            (8 | 16, BYTES) => {
                let at = reader.pos();
                let json = text(&mut reader)?;
                value = Value::parse(&json).map_err(|error| DecodeError::malformed(at, error.to_string()))?;
            }
            _ => reader.skip(key, 0)?,
        }
    }
    if nested.is_empty() {
        nested.push(name);
    }
    Ok((nested, value))
}

fn changes(mut reader: Reader<'_>) -> Result<Changes, DecodeError> {
    const UPDATE: u32 = bytes_key(1);
    const REMOVE: u32 = bytes_key(2);
    let mut changes = Changes::default();
    while let Some(key) = reader.key()? {
        match key {
            UPDATE => changes.update.push(item(reader.message()?)?),
            REMOVE => changes.remove.push(item(reader.message()?)?.0),
            _ => reader.skip(key, 0b110)?,
        }
    }
    Ok(changes)
}

/// The text in a field of an `OutputRecord` or `OutputRawRecord`.
fn output(mut reader: Reader<'_>, field: u32) -> Result<Record, DecodeError> {
    let mut line = String::new();
    while let Some(key) = reader.key()? {
        match key == bytes_key(field) {
            true => line = text(&mut reader)?,
            false => reader.skip(key, 0)?,
        }
    }
    Ok(Record::Output(line))
}

/// A `Timestamp` in microseconds.
fn timestamp_us(mut reader: Reader<'_>) -> Result<i64, DecodeError> {
    const SECONDS: u32 = key(1, VARINT);
    const NANOS: u32 = key(2, VARINT);
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    while let Some(key) = reader.key()? {
        match key {
            SECONDS => seconds = reader.varint()? as i64,
            NANOS => nanos = reader.varint()? as i64,
            _ => reader.skip(key, 0b110)?,
        }
    }
    Ok(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}

fn stats(mut reader: Reader<'_>) -> Result<Record, DecodeError> {
    const TIMESTAMP: u32 = bytes_key(2);
    const ITEM: u32 = bytes_key(3);
    let (mut time, mut items) = (0, Vec::new());
    while let Some(key) = reader.key()? {
        match key {
            TIMESTAMP => time = timestamp_us(reader.message()?)?,
            ITEM => {
                let (mut path, value) = item(reader.message()?)?;
                items.push((path.pop().unwrap_or_default(), value));
            }
            _ => reader.skip(key, 0b1100)?,
        }
    }
    Ok(Record::Stats { timestamp_us: time, items })
}

fn exit(mut reader: Reader<'_>) -> Result<Record, DecodeError> {
    const EXIT_CODE: u32 = key(1, VARINT);
    const RUNTIME: u32 = key(2, VARINT);
    let (mut exit_code, mut runtime_s) = (0, 0);
    while let Some(key) = reader.key()? {
        match key {
            EXIT_CODE => exit_code = reader.varint()? as i32,
            RUNTIME => runtime_s = reader.varint()? as i64,
            _ => reader.skip(key, 0b110)?,
        }
    }
    Ok(Record::Exit { exit_code, runtime_s })
}

fn run(mut reader: Reader<'_>) -> Result<RunInfo, DecodeError> {
    let mut run = RunInfo::default();
    while let Some(key) = reader.key()? {
        match (key >> 3, key & 7) {
            (1, BYTES) => run.run_id = text(&mut reader)?,
            (2, BYTES) => run.entity = text(&mut reader)?,
            (3, BYTES) => run.project = text(&mut reader)?,
            (4, BYTES) => run.config = changes(reader.message()?)?,
            (5, BYTES) => run.summary = changes(reader.message()?)?,
            (6, BYTES) => run.group = text(&mut reader)?,
            (7, BYTES) => run.job_type = text(&mut reader)?,
            (8, BYTES) => run.display_name = text(&mut reader)?,
            (9, BYTES) => run.notes = text(&mut reader)?,
            (10, BYTES) => run.tags.push(text(&mut reader)?),
            (12, BYTES) => run.sweep_id = text(&mut reader)?,
            (13, BYTES) => run.host = text(&mut reader)?,
            (14, VARINT) => run.starting_step = reader.varint()? as i64,
            (17, BYTES) => run.start_time_us = timestamp_us(reader.message()?)?,
            _ => reader.skip(key, 0)?,
        }
    }
    Ok(run)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protobuf::Writer;
    use crate::runs::Damage;

    /// Lays records out as the format says.
    pub(in crate::runs) fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        for record in records {
            let mut rest = &record[..];
            let mut first = true;
            loop {
                let left = BLOCK_LEN - out.len() % BLOCK_LEN;
                if left < CHUNK_HEADER_LEN {
                    out.resize(out.len() + left, 0);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(left - CHUNK_HEADER_LEN));
                let kind = match (first, later.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                out.extend(crc32fast::hash(&[&[kind], now].concat()).to_le_bytes());
                out.extend((now.len() as u16).to_le_bytes());
                out.push(kind);
                out.extend(now);
                (rest, first) = (later, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        out
    }

    pub(in crate::runs) fn json_item(out: &mut Writer, path: &[&str], json: &str) {
        match path {
            [one] => out.bytes(1, one.as_bytes()),
            many => many.iter().for_each(|key| out.bytes(2, key.as_bytes())),
        }
        out.bytes(16, json.as_bytes());
    }

    fn history_record(step: u64, pad: usize) -> Vec<u8> {
        let mut out = Writer::default();
        out.varint(1, step + 1);
        out.message(2, |out| {
            out.message(1, |out| json_item(out, &["loss"], "NaN"));
            out.message(1, |out| json_item(out, &["val", "f1"], "0.25"));
            out.message(1, |out| json_item(out, &["pad"], &format!("\"{}\"", "x".repeat(pad))));
            out.message(2, |out| out.varint(1, step));
        });
        out.0
    }

    fn read(file: &[u8]) -> (Vec<Record>, Vec<Damage>) {
        let mut reader = RecordReader::new(file).unwrap();
        let records = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
        (records, reader.damages().first().to_vec())
    }

    fn steps(file: &[u8]) -> (Vec<i64>, usize) {
        let (records, damages) = read(file);
        let step = |record: &Record| match record {
            Record::History(row) => row.get("_step").and_then(Value::as_integer).unwrap(),
            other => panic!("{other:?}"),
        };
        (records.iter().map(step).collect(), damages.len())
    }

    #[test]
    fn records_over_any_number_of_blocks() {
        for pad in [0, 1000, 32_000, BLOCK_LEN - 14, 100_000] {
            let records: Vec<_> = (0..20).map(|step| history_record(step, pad)).collect();
            assert_eq!(steps(&file(&records)), ((0..20).collect(), 0), "{pad}");
        }
        let (records, _) = read(&file(&[history_record(4, 2)]));
        let Record::History(row) = &records[0] else { panic!("{records:?}") };
        assert_eq!(row.to_string(), r#"{"loss":"NaN","val":{"f1":0.25},"pad":"xx","_step":4}"#);
    }

    #[test]
    fn a_cut_file_gives_what_was_whole() {
        let records: Vec<_> = (0..100).map(|step| history_record(step, 1000)).collect();
        let whole = file(&records);
        for len in (HEADER.len()..whole.len()).step_by(997) {
            let (steps, damages) = steps(&whole[..len]);
            assert_eq!(steps, (0..steps.len() as i64).collect::<Vec<_>>());
            assert!(steps.len() >= (len / 1100).saturating_sub(1), "{len}");
            assert!(damages <= 1, "{len}");
        }
    }

    #[test]
    fn a_damaged_byte_costs_its_block() {
        let records: Vec<_> = (0..200).map(|step| history_record(step, 1000)).collect();
        let mut file = file(&records);
        file[BLOCK_LEN + 10_000] ^= 4;
        let (steps, damages) = steps(&file);
        assert_eq!(damages, 1);
        assert!((165..185).contains(&steps.len()), "{}", steps.len());
        assert_eq!((steps[0], steps[steps.len() - 1]), (0, 199));
        assert!(steps.is_sorted());
    }

    #[test]
    fn every_kind_of_record() {
        let mut run = Writer::default();
        run.message(17, |out| {
            out.bytes(1, b"abcd1234");
            out.bytes(3, b"demo");
            out.message(4, |out| out.message(1, |out| json_item(out, &["lr"], "0.1")));
            out.bytes(8, b"name");
            out.bytes(10, b"x");
            out.bytes(10, b"y");
            out.message(17, |out| {
                out.varint(1, 12);
                out.varint(2, 3_456_000);
            });
        });
        let mut stats = Writer::default();
        stats.message(7, |out| {
            out.message(2, |out| out.varint(1, 5));
            out.message(3, |out| json_item(out, &["gpu.0.gpu"], "71.5"));
        });
        let mut config = Writer::default();
        config.message(5, |out| {
            out.message(1, |out| {
                out.bytes(1, b"typed");
                out.varint(5, crate::protobuf::zigzag(-3));
            });
            out.message(2, |out| out.bytes(1, b"lr"));
        });
        let mut exit = Writer::default();
        exit.message(18, |out| {
            out.varint(1, 3);
            out.varint(2, 60);
        });
        let mut other = Writer::default();
        other.message(10, |out| out.bytes(1, b"telemetry"));
        let (records, damages) = read(&file(&[run.0, stats.0, config.0, exit.0, other.0]));
        assert!(damages.is_empty());
        let Record::Run(run) = &records[0] else { panic!("{records:?}") };
        assert_eq!((&*run.run_id, &*run.display_name, run.tags.len()), ("abcd1234", "name", 2));
        assert_eq!(run.start_time_us, 12_003_456);
        let Record::Config(changes) = &records[2] else { panic!("{records:?}") };
        let mut object = Value::default();
        run.config.clone().apply(&mut object);
        assert_eq!(object.to_string(), r#"{"lr":0.1}"#);
        changes.clone().apply(&mut object);
        assert_eq!(object.to_string(), r#"{"typed":-3}"#);
        let stats = Record::Stats { timestamp_us: 5_000_000, items: vec![("gpu.0.gpu".into(), Value::Float(71.5))] };
        assert_eq!(records[1], stats);
        assert_eq!(records[3..], [Record::Exit { exit_code: 3, runtime_s: 60 }, Record::Other(10)]);
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b":W&B", b":W&B\xe1\xbe\x01", b"PK\x03\x04aaaaaaa"] {
            assert_eq!(RecordReader::new(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, byte: u8) {
            read(&[&HEADER[..], &bytes].concat());
            let mut file = file(&[bytes, history_record(1, 70_000), history_record(2, 5)]);
            let at = HEADER.len() + at.index(file.len() - HEADER.len());
            file[at] = byte;
            read(&file);
        }
    }
}
