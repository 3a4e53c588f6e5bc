//! The TSQREAL1 container: float series in columns, compressed with zstd.
//!
//! ~~~text
//! zstd of: magic b"TSQREAL1", then until the end one record a series:
//!     u32 LE  length of meta
//!     meta    UTF-8 JSON object: `labels` (object of strings); `starts`, if samples have start times: a list of
//!             [number of samples, start time in ms or 0 for unknown] that covers all of them in order; writers add
//!             `class` and `ts`, readers ignore the rest
//!     u32 LE  n
//!     n x i64 LE  times, ms since 1970, ascending
//!     n x f64 LE  values, raw bits
//! ~~~
//!
//! Reading holds one series in memory. The writer joins consecutive pieces of a series into one record of at most
//! 16 Mi samples and 8,192 entries of `starts`.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::Deserialize;
use tsq_core::{Batch, Exemplar, Kind, Labels, LabelsBuilder, Samples};

use crate::error::{ExportError, ImportError};
use crate::format::{ExportOptions, Exported, Exporter, ImportOptions, Importer, Input, Output, Skipped, add_labels};
use crate::jsonl::{LabelPairs, write_labels};
use crate::pending::Pending;

const MAGIC: [u8; 8] = *b"TSQREAL1";
const META_LEN_MAX: usize = 1 << 20;
const RECORD_SAMPLES_MAX: usize = 16 << 20;
/// Keeps the start times of a record, at most 32 bytes of JSON each, far below the bound of its meta.
const RECORD_STARTS_MAX: usize = 8192;

#[derive(Debug, Deserialize)]
struct Meta {
    labels: LabelPairs,
    #[serde(default)]
    starts: Vec<Since>,
}

/// A number of samples and their start time.
type Since = (u32, i64);

/// One start time a sample, when there are any.
fn spread(starts: &[Since], samples: usize) -> Result<Vec<i64>, String> {
    let total: u64 = starts.iter().map(|(count, _)| u64::from(*count)).sum();
    if !starts.is_empty() && total != samples as u64 {
        return Err(format!("`starts` has {total} samples, the record has {samples}"));
    }
    Ok(starts.iter().flat_map(|(count, start)| std::iter::repeat_n(*start, *count as usize)).collect())
}

/// Reads a container.
pub struct TsrImporter {
    input: BufReader<zstd::Decoder<'static, Input>>,
    /// Byte of the decompressed input.
    offset: u64,
    started: bool,
    extra: Vec<(String, String)>,
    pending: Option<Pending>,
}

impl std::fmt::Debug for TsrImporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TsrImporter").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl TsrImporter {
    /// Starts to read.
    ///
    /// # Errors
    /// The decompressor cannot be set up.
    pub fn new(input: Input, options: &ImportOptions) -> Result<Self, ImportError> {
        let input = BufReader::with_capacity(128 << 10, zstd::Decoder::with_buffer(input)?);
        Ok(Self { input, offset: 0, started: false, extra: options.labels.clone(), pending: None })
    }

    fn magic(&mut self) -> Result<(), ImportError> {
        let mut magic = [0; MAGIC.len()];
        let len = self.fill(&mut magic)?;
        if magic != MAGIC {
            let found = String::from_utf8_lossy(&magic[..len]).into_owned();
            let message = format!("expected the magic TSQREAL1, found {found:?}");
            return Err(ImportError::Corrupt { offset: 0, message });
        }
        self.offset = MAGIC.len() as u64;
        Ok(())
    }

    /// Bytes that must follow, for the `what` of a message.
    fn exact(&mut self, out: &mut [u8], what: &str) -> Result<(), ImportError> {
        let len = self.fill(out)?;
        if len < out.len() {
            let message = format!("expected {} bytes of {what}, found {len}", out.len());
            return Err(ImportError::Corrupt { offset: self.offset, message });
        }
        self.offset += len as u64;
        Ok(())
    }

    /// Reads until `out` is full or the input ends.
    fn fill(&mut self, out: &mut [u8]) -> Result<usize, ImportError> {
        let mut len = 0;
        while len < out.len() {
            match self.input.read(&mut out[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(self.io(error)),
            }
        }
        Ok(len)
    }

    /// An error of the operating system carries its number, one of the decompressor does not.
    fn io(&self, error: io::Error) -> ImportError {
        if error.raw_os_error().is_some() {
            return ImportError::Io(error);
        }
        ImportError::Corrupt { offset: self.offset, message: format!("invalid zstd: {error}") }
    }

    fn record(&mut self) -> Result<Option<Pending>, ImportError> {
        match self.input.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(_) => (),
            Err(error) => return Err(self.io(error)),
        }
        let mut word = [0; 4];
        self.exact(&mut word, "a meta length")?;
        let (labels, starts) = self.meta(u32::from_le_bytes(word) as usize)?;
        self.exact(&mut word, "a sample count")?;
        let count = u32::from_le_bytes(word) as usize;
        let mut samples = Samples::default();
        self.column(count, "times", |bytes| samples.times.push(i64::from_le_bytes(bytes)))?;
        self.column(count, "values", |bytes| samples.values.push(f64::from_le_bytes(bytes)))?;
        let corrupt = |message: String| ImportError::Corrupt { offset: self.offset, message };
        samples.starts = spread(&starts, count).map_err(corrupt)?;
        Ok(Some(Pending::new(labels, Kind::Float, samples)))
    }

    fn meta(&mut self, len: usize) -> Result<(Labels, Vec<Since>), ImportError> {
        let offset = self.offset;
        let corrupt = |message: String| ImportError::Corrupt { offset, message };
        if len > META_LEN_MAX {
            return Err(corrupt(format!("meta of {len} bytes is longer than {META_LEN_MAX}")));
        }
        let mut bytes = vec![0; len];
        self.exact(&mut bytes, "meta")?;
        let meta: Meta = serde_json::from_slice(&bytes).map_err(|error| corrupt(format!("meta: {error}")))?;
        let mut builder = LabelsBuilder::default();
        meta.labels.push(&mut builder);
        add_labels(&self.extra, &mut builder);
        let labels = builder.build().map_err(|error| corrupt(format!("meta: {error}")))?;
        Ok((labels, meta.starts))
    }

    /// Reads a column piece by piece: a false count costs no memory.
    fn column(&mut self, count: usize, what: &str, mut push: impl FnMut([u8; 8])) -> Result<(), ImportError> {
        let mut buffer = [0; 8192];
        let mut left = count;
        while left > 0 {
            let piece = &mut buffer[..8 * left.min(1024)];
            self.exact(piece, what)?;
            left -= piece.len() / 8;
            piece.as_chunks().0.iter().for_each(|bytes| push(*bytes));
        }
        Ok(())
    }
}

impl Importer for TsrImporter {
    fn read(&mut self, batch: &mut Batch, samples: usize) -> Result<bool, ImportError> {
        if !self.started {
            self.magic()?;
            self.started = true;
        }
        let mut left = samples.max(1);
        loop {
            if let Some(pending) = &mut self.pending {
                left -= pending.pour(batch, left);
                if !pending.is_done() || left == 0 {
                    return Ok(true);
                }
            }
            self.pending = self.record()?;
            if self.pending.is_none() {
                return Ok(false);
            }
        }
    }
}

/// Writes a container.
pub struct TsrExporter {
    output: Option<zstd::Encoder<'static, Output>>,
    labels: Labels,
    samples: Samples,
    starts: Vec<Since>,
    exported: Exported,
}

impl std::fmt::Debug for TsrExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TsrExporter").field("exported", &self.exported).finish_non_exhaustive()
    }
}

impl TsrExporter {
    /// Starts to write.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn new(output: Output, _options: &ExportOptions) -> Result<Self, ExportError> {
        let mut encoder = zstd::Encoder::new(output, 9)?;
        encoder.include_checksum(true)?;
        encoder.write_all(&MAGIC)?;
        let (labels, samples, starts, exported) = Default::default();
        Ok(Self { output: Some(encoder), labels, samples, starts, exported })
    }

    /// Writes the series that was collected.
    fn record(&mut self) -> io::Result<()> {
        if self.samples.is_empty() {
            return Ok(());
        }
        let output = self.output.as_mut().ok_or_else(|| io::Error::other("the container was finished"))?;
        let mut meta = b"{\"labels\":".to_vec();
        write_labels(&mut meta, &self.labels)?;
        if self.starts.iter().any(|(_, start)| *start != 0) {
            meta.extend_from_slice(b",\"starts\":");
            serde_json::to_writer(&mut meta, &self.starts)?;
        }
        meta.extend_from_slice(b",\"class\":\"\",\"ts\":\"real\"}");
        output.write_all(&(meta.len() as u32).to_le_bytes())?;
        output.write_all(&meta)?;
        output.write_all(&(self.samples.len() as u32).to_le_bytes())?;
        for time in &self.samples.times {
            output.write_all(&time.to_le_bytes())?;
        }
        for value in &self.samples.values {
            output.write_all(&value.to_le_bytes())?;
        }
        self.exported.samples += self.samples.len() as u64;
        self.samples.clear();
        self.starts.clear();
        Ok(())
    }

    fn push(&mut self, time_ms: i64, value: f64, start_ms: i64) -> io::Result<()> {
        let continues = self.starts.last().is_some_and(|(_, start)| *start == start_ms);
        if self.samples.len() == RECORD_SAMPLES_MAX || !continues && self.starts.len() == RECORD_STARTS_MAX {
            self.record()?;
        }
        match self.starts.last_mut().filter(|(_, start)| *start == start_ms) {
            Some((count, _)) => *count += 1,
            None => self.starts.push((1, start_ms)),
        }
        self.samples.times.push(time_ms);
        self.samples.values.push(value);
        Ok(())
    }
}

impl Exporter for TsrExporter {
    fn write(
        &mut self,
        labels: &Labels,
        kind: Kind,
        samples: &Samples,
        exemplars: &[Exemplar],
    ) -> Result<(), ExportError> {
        self.exported.skip(Skipped::Exemplar, exemplars.len());
        if !self.exported.floats_only(kind, samples.len()) {
            return Ok(());
        }
        if self.labels != *labels {
            self.record()?;
            self.labels = labels.clone();
        }
        for (index, (&time, &value)) in samples.times.iter().zip(&samples.values).enumerate() {
            self.push(time, value, samples.start(index))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Exported, ExportError> {
        self.record()?;
        if let Some(encoder) = self.output.take() {
            encoder.finish()?.flush()?;
        }
        Ok(std::mem::take(&mut self.exported))
    }
}
