//! Samples from CSV.

use std::io::{self, Read};

use tsq_core::{Batch, Kind, Labels, LabelsBuilder, METRIC_NAME};

use super::header::{CsvOptions, Header, Role, column_name};
use crate::error::{ImportError, ParseError};
use crate::format::{ImportOptions, Importer, Input, add_labels};
use crate::number::parse_value;

/// Longest row, in bytes. The parser keeps a row in memory.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// Reads CSV, row by row.
pub struct CsvImporter {
    rows: csv::Reader<Bounded>,
    record: csv::StringRecord,
    options: CsvOptions,
    extra: Vec<(String, String)>,
    header: Option<Header>,
    builder: LabelsBuilder,
    /// The series that the batch ends with.
    open: Option<(Kind, Labels)>,
}

impl std::fmt::Debug for CsvImporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvImporter").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Ends the input with an error when a row grows too long.
struct Bounded {
    input: Input,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!("a row is longer than {ROW_BYTES_MAX} bytes")));
        }
        let len = self.input.read(out)?;
        self.left = self.left.saturating_sub(len as u64);
        Ok(len)
    }
}

impl CsvImporter {
    /// Starts to read; the header is read with the first batch.
    ///
    /// # Errors
    /// The delimiter cannot be one.
    pub fn new(input: Input, options: &ImportOptions) -> Result<Self, ImportError> {
        let delimiter = options.csv.delimiter;
        if matches!(delimiter, b'"' | b'\r' | b'\n') || !delimiter.is_ascii() {
            return Err(ImportError::Options(format!("{:?} cannot separate fields", delimiter as char)));
        }
        let bounded = Bounded { input, left: ROW_BYTES_MAX };
        let rows =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bounded);
        Ok(Self {
            rows,
            record: csv::StringRecord::new(),
            options: options.csv.clone(),
            extra: options.labels.clone(),
            header: None,
            builder: LabelsBuilder::default(),
            open: None,
        })
    }

    /// Reads the next row into `record`. Returns its line, or `None` at the end.
    fn row(&mut self) -> Result<Option<u64>, ImportError> {
        self.rows.get_mut().left = ROW_BYTES_MAX;
        let line = self.rows.position().line();
        match self.rows.read_record(&mut self.record) {
            Ok(true) => Ok(Some(self.record.position().map_or(line, csv::Position::line))),
            Ok(false) => Ok(None),
            Err(error) => Err(csv_error(line, error)),
        }
    }

    fn read_header(&mut self) -> Result<(), ImportError> {
        let Some(line) = self.row()? else {
            return Err(ParseError::new(1, 1, "the file is empty: expected a header row").into());
        };
        let columns: Vec<_> = self.record.iter().map(|name| column_name(name).to_owned()).collect();
        let header = Header::new(&columns, &self.options).map_err(|message| ParseError::new(line, 1, message))?;
        self.header = Some(header);
        Ok(())
    }

    /// Puts the samples of the row into the batch.
    fn samples(&mut self, line: u64, batch: &mut Batch) -> Result<(), ParseError> {
        let header = self.header.as_ref().expect("the header was read before the first row");
        let roles = &header.roles;
        if self.record.len() != roles.len() {
            let message = format!("the row has {} fields, the header has {}", self.record.len(), roles.len());
            return Err(ParseError::new(line, self.record.len().min(roles.len()) as u64 + 1, message));
        }
        let row = Row::new(line, &self.record, header)?;
        for (index, role) in roles.iter().enumerate() {
            let Role::Value(metric) = role else { continue };
            let field = self.record[index].trim();
            if field.is_empty() && metric.is_some() {
                continue;
            }
            let value = parse_value(field);
            let value = value.ok_or_else(|| fault(line, index, &format!("expected a number, found {field:?}")))?;
            let kind = if row.step.is_some() { Kind::Run } else { Kind::Float };
            let metric = metric.as_deref().or(self.options.metric.as_deref());
            self.builder.clear();
            for (index, role) in roles.iter().enumerate() {
                if let Role::Label(name) = role {
                    self.builder.push(name, &self.record[index]);
                }
            }
            if let Some(metric) = metric.filter(|_| !self.builder.iter().any(|(name, _)| name == METRIC_NAME)) {
                self.builder.push(METRIC_NAME, metric);
            }
            add_labels(&self.extra, &mut self.builder);
            let labels = self.builder.build().map_err(|error| ParseError::new(line, 1, error.to_string()))?;
            let series = Some((kind, labels));
            if self.open != series {
                self.open = series;
                let (kind, labels) = self.open.as_ref().expect("it was set in the line above");
                batch.series(*kind, labels);
            }
            match row.step {
                Some(step) => batch.run(row.time_ms, step, value),
                None => batch.float(row.time_ms, value),
            }
        }
        Ok(())
    }
}

/// What all samples of a row share.
struct Row {
    time_ms: i64,
    step: Option<i64>,
}

impl Row {
    fn new(line: u64, record: &csv::StringRecord, header: &Header) -> Result<Self, ParseError> {
        let mut row = Self { time_ms: 0, step: None };
        for (index, role) in header.roles.iter().enumerate() {
            let field = record[index].trim();
            match role {
                Role::Time => {
                    let time = header.time_unit.parse(field);
                    row.time_ms =
                        time.ok_or_else(|| fault(line, index, &format!("expected a time, found {field:?}")))?;
                }
                Role::Step if !field.is_empty() => {
                    let step = parse_step(field);
                    row.step =
                        Some(step.ok_or_else(|| {
                            fault(line, index, &format!("expected an integer step, found {field:?}"))
                        })?);
                }
                Role::Step | Role::Value(_) | Role::Label(_) => (),
            }
        }
        Ok(row)
    }
}

/// An integer; tables with gaps often write it with a fraction of zero.
fn parse_step(text: &str) -> Option<i64> {
    let whole = text.split_once('.').map_or(
        text,
        |(whole, fraction)| {
            if fraction.bytes().all(|byte| byte == b'0') { whole } else { text }
        },
    );
    whole.parse().ok()
}

#[cold]
fn fault(line: u64, index: usize, message: &str) -> ParseError {
    ParseError::new(line, index as u64 + 1, message)
}

fn csv_error(line: u64, error: csv::Error) -> ImportError {
    let line = error.position().map_or(line, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        csv::ErrorKind::Utf8 { err, .. } => {
            ParseError::new(line, err.field() as u64 + 1, "the field is not valid UTF-8").into()
        }
        other => ParseError::new(line, 1, format!("{other:?}")).into(),
    }
}

impl Importer for CsvImporter {
    fn read(&mut self, batch: &mut Batch, samples: usize) -> Result<bool, ImportError> {
        if self.header.is_none() {
            self.read_header()?;
        }
        // The caller may have cleared the batch: its last series is started again.
        self.open = None;
        let end = batch.len() + samples.max(1);
        while batch.len() < end {
            let Some(line) = self.row()? else { return Ok(false) };
            self.samples(line, batch)?;
        }
        Ok(true)
    }
}
