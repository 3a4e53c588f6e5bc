//! Text into batches: a whole scrape body, or a file line by line.

use tsq_core::{Batch, Exemplar, Kind, Labels};

use super::TextFormat;
use super::line::{Line, LineParser, Sample};
use crate::error::{ImportError, ParseError};
use crate::format::{ImportOptions, Importer, Input, add_labels};
use crate::lines::Lines;

/// Longest line of a text file, in bytes. The default limits allow 64 labels of 4 KiB each.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What a body held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCounts {
    /// Samples put into the batch.
    pub samples: u64,
    /// Exemplars put into the batch.
    pub exemplars: u64,
    /// Metric families described.
    pub metadata: u64,
}

/// Parses a whole body into `batch`; samples without a time get `default_time_ms`. Append the batch with
/// [`Db::append`](tsq_core::Db::append).
///
/// # Errors
/// The first line that breaks the format, or that has no time when there is no default. The batch is cleared then: a
/// body counts as a whole or not at all.
pub fn parse(
    input: &str,
    format: TextFormat,
    default_time_ms: Option<i64>,
    batch: &mut Batch,
) -> Result<TextCounts, ParseError> {
    let options = ImportOptions { default_time_ms, ..ImportOptions::default() };
    let mut reader = Reader::new(format, &options);
    let outcome = parse_all(input, &mut reader, batch);
    if outcome.is_err() {
        batch.clear();
    }
    outcome.map(|()| reader.counts)
}

fn parse_all(input: &str, reader: &mut Reader, batch: &mut Batch) -> Result<(), ParseError> {
    // The line feed after the last line ends it; it does not begin an empty one.
    let mut rest = input;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        reader.line(line, batch)?;
        rest = after;
    }
    reader.finish(batch)
}

/// Puts parsed lines into batches.
#[derive(Debug)]
struct Reader {
    parser: LineParser,
    default_time_ms: Option<i64>,
    extra: Vec<(String, String)>,
    /// The series that the batch ends with, as its lines write it.
    open_series: String,
    counts: TextCounts,
}

impl Reader {
    fn new(format: TextFormat, options: &ImportOptions) -> Self {
        Self {
            parser: LineParser::new(format),
            default_time_ms: options.default_time_ms,
            extra: options.labels.clone(),
            open_series: String::new(),
            counts: TextCounts::default(),
        }
    }

    fn line(&mut self, line: &str, batch: &mut Batch) -> Result<(), ParseError> {
        match self.parser.parse(line)? {
            Line::Nothing => Ok(()),
            Line::Metadata(metadata) => {
                self.counts.metadata += 1;
                batch.metadata(metadata);
                Ok(())
            }
            Line::Sample(sample) => self.sample(&sample, batch),
        }
    }

    fn sample(&mut self, sample: &Sample<'_>, batch: &mut Batch) -> Result<(), ParseError> {
        let line = self.parser.line();
        let time_ms = sample.time_ms.or(self.default_time_ms);
        let time_ms =
            time_ms.ok_or_else(|| ParseError::new(line, 1, "the sample has no time, and no default is set"))?;
        if self.open_series != sample.series {
            self.open_series.clear();
            add_labels(&self.extra, &mut self.parser.labels);
            let labels = self.parser.labels.build();
            let labels = labels.map_err(|error| ParseError::new(line, 1, error.to_string()))?;
            batch.series(Kind::Float, &labels);
            self.open_series.push_str(sample.series);
        }
        batch.float(time_ms, sample.value);
        self.counts.samples += 1;
        if let Some((value, own_time_ms)) = sample.exemplar {
            let labels: Result<Labels, _> = self.parser.exemplar_labels.build();
            let labels = labels.map_err(|error| ParseError::new(line, 1, format!("exemplar: {error}")))?;
            batch.exemplar(Exemplar { labels, value, time_ms: own_time_ms.unwrap_or(time_ms) });
            self.counts.exemplars += 1;
        }
        Ok(())
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), ParseError> {
        if let Some(metadata) = self.parser.finish()? {
            self.counts.metadata += 1;
            batch.metadata(metadata);
        }
        Ok(())
    }
}

/// Reads a text file of any size, a line at a time.
pub struct TextImporter {
    lines: Lines,
    reader: Reader,
}

impl TextImporter {
    /// Starts to read.
    pub fn new(input: Input, format: TextFormat, options: &ImportOptions) -> Self {
        Self { lines: Lines::new(input, LINE_BYTES_MAX), reader: Reader::new(format, options) }
    }
}

impl std::fmt::Debug for TextImporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextImporter").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Importer for TextImporter {
    fn read(&mut self, batch: &mut Batch, samples: usize) -> Result<bool, ImportError> {
        let end = batch.len() + samples;
        // The caller may have cleared the batch: its last series is started again.
        self.reader.open_series.clear();
        while batch.len() < end {
            let Some((_, line)) = self.lines.next()? else {
                self.reader.finish(batch)?;
                return Ok(false);
            };
            self.reader.line(line, batch)?;
        }
        Ok(true)
    }
}
