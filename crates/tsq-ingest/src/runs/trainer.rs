//! Histories that hold steps and no times: HuggingFace's `trainer_state.json` and the CSV of Lightning.
//!
//! Their points stand one second a step from 1970 on, so that the same step of two files is the same point.

use std::io::Read;
use std::mem;

use super::event::{At, Queue, RunEvent, RunHeader, RunReader};
use super::json::Value;
use super::{Damages, RECORD_MAX};
use crate::error::{ImportError, ParseError};

/// Where a step stands.
fn at(step: i64) -> At {
    At { time_ms: step.saturating_mul(1000), step }
}

/// Reads a `trainer_state.json`: `log_history` is a list of objects with a `step`; the other numbers of the file are
/// parameters `trainer_state.<name>`.
#[derive(Debug)]
pub struct TrainerStateReader {
    queue: Queue,
    offset: u64,
    damages: Damages,
}

impl TrainerStateReader {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is no JSON or has no `log_history`.
    pub fn new(input: impl Read, run: RunHeader) -> Result<Self, ImportError> {
        let mut text = String::new();
        input.take(RECORD_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > RECORD_MAX {
            return Err(ImportError::Options(format!("more than {RECORD_MAX} bytes")));
        }
        let corrupt = |offset: usize, message: String| ImportError::Corrupt { offset: offset as u64, message };
        let state = Value::parse(&text).map_err(|error| corrupt(error.offset, error.message))?;
        let Value::Object(fields) = state else { return Err(corrupt(0, "expected an object".into())) };
        let mut reader = Self { queue: Queue::default(), offset: text.len() as u64, damages: Damages::default() };
        reader.queue.push(RunEvent::Run(Box::new(run)));
        let mut history = None;
        for (name, value) in fields {
            match value {
                Value::Array(rows) if name == "log_history" => history = Some(rows),
                Value::Array(_) | Value::Object(_) | Value::Null => {}
                Value::Text(text) => reader.param(&name, text),
                value => reader.param(&name, value.to_string()),
            }
        }
        let Some(history) = history else { return Err(corrupt(0, "there is no list \"log_history\"".into())) };
        history.into_iter().for_each(|row| reader.row(row));
        Ok(reader)
    }

    fn param(&mut self, name: &str, value: String) {
        self.queue.push(RunEvent::Param { key: format!("trainer_state.{name}"), value });
    }

    fn row(&mut self, row: Value) {
        let Some(step) = row.get("step").and_then(Value::as_integer) else {
            return self.damages.add(0, "an entry of \"log_history\" without a step");
        };
        let Value::Object(fields) = row else { return };
        for (key, value) in fields.into_iter().filter(|(key, _)| key != "step") {
            self.queue.value(key, at(step), value);
        }
    }
}

impl RunReader for TrainerStateReader {
    fn next_event(&mut self) -> Result<Option<RunEvent>, ImportError> {
        Ok(self.queue.next())
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn damages(&self) -> &Damages {
        &self.damages
    }
}

/// Reads the `metrics.csv` of Lightning's `CSVLogger`: a column `step`, others that are metrics; most cells are empty.
#[derive(Debug)]
pub struct LightningCsvReader<R> {
    rows: csv::Reader<R>,
    row: csv::StringRecord,
    columns: Vec<String>,
    step: usize,
    queue: Queue,
    damages: Damages,
}

impl<R: Read> LightningCsvReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// The file cannot be read, or it has no column `step`.
    pub fn new(input: R, run: RunHeader) -> Result<Self, ImportError> {
        let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(input);
        let columns: Vec<String> = rows.headers().map_err(csv_error)?.iter().map(str::to_owned).collect();
        let Some(step) = columns.iter().position(|column| column == "step") else {
            return Err(ImportError::Parse(ParseError::new(1, 1, "there is no column \"step\"")));
        };
        let (mut queue, row, damages) = (Queue::default(), csv::StringRecord::new(), Damages::default());
        queue.push(RunEvent::Run(Box::new(run)));
        Ok(Self { rows, row, columns, step, queue, damages })
    }

    /// Whether this is the first line of such a file.
    pub fn is_header(line: &str) -> bool {
        let has = |name| line.trim_end().split(',').any(|column| column == name);
        has("step") && (has("epoch") || line.contains('/') || line.contains("loss"))
    }

    fn values(&mut self) {
        let row = mem::take(&mut self.row);
        let start = row.position().map_or(0, csv::Position::byte);
        let step = row.get(self.step).and_then(|cell| cell.trim().parse::<f64>().ok());
        let Some(step) = step.and_then(|step| Value::Float(step).as_integer()) else {
            return self.damages.add(start, "a line without a step");
        };
        for (column, cell) in self.columns.iter().zip(&row) {
            if column == "step" || cell.is_empty() {
                continue;
            }
            let value = cell.trim().parse().map_or_else(|_| Value::Text(cell.to_owned()), Value::Float);
            self.queue.value(column.clone(), at(step), value);
        }
        self.row = row;
    }
}

fn csv_error(error: csv::Error) -> ImportError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => ImportError::Io(error),
        kind => ImportError::Parse(ParseError::new(line, 1, format!("no CSV: {kind:?}"))),
    }
}

impl<R: Read> RunReader for LightningCsvReader<R> {
    fn next_event(&mut self) -> Result<Option<RunEvent>, ImportError> {
        loop {
            if let Some(event) = self.queue.next() {
                return Ok(Some(event));
            }
            if !self.rows.read_record(&mut self.row).map_err(csv_error)? {
                return Ok(None);
            }
            self.values();
        }
    }

    fn offset(&self) -> u64 {
        self.rows.position().byte()
    }

    fn damages(&self) -> &Damages {
        &self.damages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(reader: &mut dyn RunReader) -> Vec<(String, i64, f64)> {
        let events = std::iter::from_fn(|| reader.next_event().unwrap());
        let point = |event| match event {
            RunEvent::Point { key, at, value } => Some((key, at.step, value)),
            _ => None,
        };
        events.filter_map(point).collect()
    }

    #[test]
    fn trainer_state() {
        let text = r#"{"best_metric": null, "global_step": 20, "log_history": [
            {"epoch": 0.5, "learning_rate": 5e-05, "loss": 1.25, "step": 10},
            {"eval_loss": NaN, "step": 20}, {"loss": 1}]}"#;
        let mut reader = TrainerStateReader::new(text.as_bytes(), RunHeader::default()).unwrap();
        assert_eq!(reader.damages().count(), 1);
        let points = points(&mut reader);
        assert_eq!(points[..3].iter().map(|point| point.2).collect::<Vec<_>>(), [0.5, 5e-05, 1.25]);
        assert_eq!((&*points[3].0, points[3].1), ("eval_loss", 20));
        assert!(points[3].2.is_nan());
        for wrong in ["", "[]", "{}", "{\"log_history\": 1}"] {
            assert!(TrainerStateReader::new(wrong.as_bytes(), RunHeader::default()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lightning() {
        let text = "epoch,step,train_loss,val/acc\n0,9,0.5,\n0,19,,0.75\n1,x,1,1\n1,29.0,nan,text\n";
        assert!(LightningCsvReader::<&[u8]>::is_header(text.lines().next().unwrap()));
        assert!(!LightningCsvReader::<&[u8]>::is_header("timestamp,value,labels"));
        let mut reader = LightningCsvReader::new(text.as_bytes(), RunHeader::default()).unwrap();
        let points = points(&mut reader);
        let names: Vec<_> = points.iter().map(|point| (&*point.0, point.1)).collect();
        let want = [("epoch", 9), ("train_loss", 9), ("epoch", 19), ("val/acc", 19), ("epoch", 29), ("train_loss", 29)];
        assert_eq!(names, want);
        assert_eq!(reader.damages().first()[0].offset, 50);
        assert!(LightningCsvReader::new(&b"a,b\n"[..], RunHeader::default()).is_err());
    }
}
