//! The records of a W&B run as statements about a run.

use std::io::{self, Read};

use super::{Record, RecordReader, RunInfo};
use crate::error::ImportError;
use crate::runs::Damages;
use crate::runs::event::{
    At, Queue, RunEvent, RunHeader, RunReader, RunStatus, histogram_of_edges, into_fields, millis,
};
use crate::runs::json::Value;

/// Reads `run-<id>.wandb`.
///
/// | in the log | becomes |
/// |---|---|
/// | history | points and other values at (`_timestamp`, `_step`); `_timestamp` and `_runtime` are series too, so that rows read back exactly |
/// | typed histograms | native histograms with the bins as bounds |
/// | system metrics | points under `system.<name>`, at step 0 |
/// | configuration, summary | whole, at the end; parameters |
/// | tags, group, job type, notes, host, sweep | tags `wandb.tags`, `wandb.group`, ... |
#[derive(Debug)]
pub struct WandbReader<R> {
    records: RecordReader<R>,
    queue: Queue,
    config: Value,
    summary: Value,
    start_ms: i64,
    last_ms: i64,
    /// Whether the end was given out.
    ended: bool,
    exit: Option<(RunStatus, i64)>,
}

impl<R: Read> WandbReader<R> {
    /// Reads from the beginning of a file.
    ///
    /// # Errors
    /// The input cannot be read or is no log of W&B.
    pub fn new(input: R) -> Result<Self, ImportError> {
        let records = RecordReader::new(input).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => ImportError::Options(error.to_string()),
            _ => ImportError::Io(error),
        })?;
        let (config, summary) = (Value::Object(Vec::new()), Value::Object(Vec::new()));
        let queue = Queue::default();
        Ok(Self { records, queue, config, summary, start_ms: 0, last_ms: 0, ended: false, exit: None })
    }

    fn record(&mut self, record: Record) {
        match record {
            Record::Run(info) => self.run(*info),
            Record::History(row) => self.row(row),
            Record::Config(changes) => changes.apply(&mut self.config),
            Record::Summary(changes) => changes.apply(&mut self.summary),
            Record::Stats { timestamp_us, items } => {
                let at = At { time_ms: timestamp_us.div_euclid(1000), step: 0 };
                items.into_iter().for_each(|(name, value)| self.queue.value(format!("system.{name}"), at, value));
            }
            Record::Exit { exit_code, runtime_s } => {
                let status = if exit_code == 0 { RunStatus::Finished } else { RunStatus::Failed };
                self.exit = Some((status, runtime_s));
                self.queue.push(tag("wandb.exit_code", exit_code.to_string()));
            }
            Record::Output(_) | Record::Other(_) => {}
        }
    }

    fn run(&mut self, info: RunInfo) {
        info.config.apply(&mut self.config);
        info.summary.apply(&mut self.summary);
        self.start_ms = info.start_time_us.div_euclid(1000);
        self.last_ms = self.last_ms.max(self.start_ms);
        self.queue.push(RunEvent::Run(Box::new(RunHeader {
            source: "wandb",
            experiment: info.project,
            run_id: info.run_id,
            run_name: info.display_name,
            user: info.entity,
            start_time_ms: Some(self.start_ms),
        })));
        let tags = match info.tags[..] {
            [] => String::new(),
            _ => Value::Array(info.tags.into_iter().map(Value::Text).collect()).to_string(),
        };
        let texts = [
            ("wandb.tags", tags),
            ("wandb.group", info.group),
            ("wandb.job_type", info.job_type),
            ("wandb.notes", info.notes),
            ("wandb.sweep", info.sweep_id),
            ("wandb.host", info.host),
        ];
        for (key, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
            self.queue.push(tag(key, value));
        }
    }

    fn row(&mut self, mut row: Value) {
        let step = row.get("_step").and_then(Value::as_integer).unwrap_or(0);
        let time_s = row.get("_timestamp").and_then(Value::as_exact_float);
        let at = At { time_ms: time_s.map_or(self.last_ms, millis), step };
        self.last_ms = self.last_ms.max(at.time_ms);
        for (key, value) in into_fields(&mut row).into_iter().filter(|(key, _)| key != "_step") {
            self.logged(key, at, value);
        }
    }

    /// A value of a row; histograms may stand in nested objects.
    fn logged(&mut self, key: String, at: At, mut value: Value) {
        if let Some(histogram) = histogram(&value) {
            let histogram = Box::new(histogram);
            return self.queue.push(RunEvent::Histogram { key, at, histogram });
        }
        let nested = matches!(&value, Value::Object(fields) if !fields.is_empty()) && value.get("_type").is_none();
        match nested {
            true => into_fields(&mut value)
                .into_iter()
                .for_each(|(name, value)| self.logged(format!("{key}.{name}"), at, value)),
            false => self.queue.value(key, at, value),
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.config.remove(&["_wandb"]);
        self.queue.config(std::mem::take(&mut self.config));
        self.queue.push(RunEvent::Summary(std::mem::take(&mut self.summary)));
        if let Some((status, runtime_s)) = self.exit {
            let time_ms = self.last_ms.max(self.start_ms.saturating_add(runtime_s.saturating_mul(1000)));
            self.queue.push(RunEvent::End { status, time_ms: Some(time_ms) });
        }
    }
}

fn tag(key: &str, value: String) -> RunEvent {
    RunEvent::Tag { key: key.to_owned(), value }
}

/// A histogram as the client writes it: counts in `values` between the edges `bins`.
fn histogram(value: &Value) -> Option<tsq_core::Histogram> {
    let floats = |name: &str| match value.get(name) {
        Some(Value::Array(items)) => items.iter().map(Value::as_exact_float).collect::<Option<Vec<f64>>>(),
        _ => None,
    };
    if value.get("_type").and_then(Value::as_str) != Some("histogram") {
        return None;
    }
    histogram_of_edges(&floats("bins")?, &floats("values")?, None)
}

impl<R: Read> RunReader for WandbReader<R> {
    fn next_event(&mut self) -> Result<Option<RunEvent>, ImportError> {
        loop {
            if let Some(event) = self.queue.next() {
                return Ok(Some(event));
            }
            match self.records.next_record()? {
                Some(record) => self.record(record),
                None if self.ended => return Ok(None),
                None => self.end(),
            }
        }
    }

    fn offset(&self) -> u64 {
        self.records.offset()
    }

    fn damages(&self) -> &Damages {
        self.records.damages()
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::{file, json_item};
    use super::*;
    use crate::protobuf::Writer;

    fn record(field: u32, items: &[(&[&str], &str)]) -> Vec<u8> {
        let mut out = Writer::default();
        out.message(field, |out| {
            items.iter().for_each(|(path, json)| out.message(1, |out| json_item(out, path, json)));
        });
        out.0
    }

    #[test]
    fn a_run_becomes_statements() {
        let mut run = Writer::default();
        run.message(17, |out| {
            out.bytes(1, b"abcd1234");
            out.bytes(3, b"demo");
            out.bytes(10, b"a\"b");
            out.message(17, |out| out.varint(1, 100));
        });
        let histogram = r#"{"_type":"histogram","values":[1,0,3],"bins":[0,1,2,4]}"#;
        let history: [(&[&str], _); 6] = [
            (&["_step"], "7"),
            (&["_timestamp"], "101.2345"),
            (&["loss"], "-Infinity"),
            (&["val", "deep", "x"], "1"),
            (&["nested"], &format!("{{\"h\":{histogram}}}")),
            (&["big"], "1152921504606846976"),
        ];
        let config: [(&[&str], _); 2] = [(&["opt", "lr"], "0.1"), (&["_wandb"], "{}")];
        let mut exit = Writer::default();
        exit.message(18, |out| out.varint(2, 3));
        let log = file(&[run.0, record(2, &history), record(5, &config), record(3, &[(&["best"], "2")]), exit.0]);
        let mut reader = WandbReader::new(&log[..]).unwrap();
        let events: Vec<_> = std::iter::from_fn(|| reader.next_event().unwrap()).collect();
        let RunEvent::Run(header) = &events[0] else { panic!("{events:?}") };
        assert_eq!((&*header.run_id, header.start_time_ms), ("abcd1234", Some(100_000)));
        assert_eq!(events[1], tag("wandb.tags", r#"["a\"b"]"#.to_owned()));
        let at = At { time_ms: 101_235, step: 7 };
        let point = |key: &str, value| RunEvent::Point { key: key.into(), at, value };
        assert_eq!(events[2], point("_timestamp", 101.2345));
        assert_eq!(events[3..5], [point("loss", f64::NEG_INFINITY), point("val.deep.x", 1.0)]);
        let RunEvent::Histogram { key, histogram, .. } = &events[5] else { panic!("{events:?}") };
        assert_eq!((&**key, &histogram.custom_values[..]), ("nested.h", &[0.0, 1.0, 2.0, 4.0][..]));
        assert_eq!((&histogram.positive[..], histogram.count), (&[0.0, 1.0, 0.0, 3.0][..], 4.0));
        assert_eq!((histogram.sum, histogram.integer), (0.5 + 9.0, true));
        assert_eq!(events[6], RunEvent::Other { key: "big".into(), at, value: Value::Integer(1 << 60) });
        assert_eq!(events[7], tag("wandb.exit_code", "0".into()));
        assert_eq!(events[8], RunEvent::Param { key: "opt.lr".into(), value: "0.1".into() });
        assert!(matches!(&events[9], RunEvent::Config(config) if config.to_string() == r#"{"opt":{"lr":0.1}}"#));
        assert!(matches!(&events[10], RunEvent::Summary(summary) if summary.to_string() == r#"{"best":2}"#));
        assert_eq!(events[11], RunEvent::End { status: RunStatus::Finished, time_ms: Some(103_000) });
        assert_eq!(events.len(), 12);
    }
}
