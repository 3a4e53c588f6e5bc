//! Samples from JSON lines.

use tsq_core::{Batch, Kind, LabelsBuilder, Samples};

use super::model::Line;
use crate::error::{ImportError, ParseError};
use crate::format::{ImportOptions, Importer, Input, add_labels};
use crate::lines::Lines;
use crate::pending::Pending;

/// Longest line, in bytes: others write all samples of a series into one.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Reads JSON lines, one at a time.
pub struct JsonlImporter {
    lines: Lines,
    extra: Vec<(String, String)>,
    builder: LabelsBuilder,
    pending: Option<Pending>,
}

impl std::fmt::Debug for JsonlImporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonlImporter").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl JsonlImporter {
    /// Starts to read.
    pub fn new(input: Input, options: &ImportOptions) -> Self {
        let lines = Lines::new(input, LINE_BYTES_MAX);
        Self { lines, extra: options.labels.clone(), builder: LabelsBuilder::default(), pending: None }
    }

    /// The next line that has something for a series; metadata goes into the batch at once.
    fn next(&mut self, batch: &mut Batch) -> Result<Option<Pending>, ImportError> {
        while let Some((number, text)) = self.lines.next()? {
            if text.trim_ascii().is_empty() {
                continue;
            }
            let mut line: Line = serde_json::from_str(text).map_err(|error| json_error(number, &error))?;
            if let Some(metadata) = line.metadata.take() {
                batch.metadata(metadata.build());
                if line.metric.is_none() {
                    continue;
                }
            }
            let pending = series(line, &self.extra, &mut self.builder);
            return Ok(Some(pending.map_err(|message| ParseError::new(number, 1, message))?));
        }
        Ok(None)
    }
}

/// serde_json counts lines in what it was given, which is one line, and says them in its text.
fn json_error(line: u64, error: &serde_json::Error) -> ParseError {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
    ParseError::new(line, error.column().max(1) as u64, message)
}

fn series(line: Line, extra: &[(String, String)], builder: &mut LabelsBuilder) -> Result<Pending, String> {
    let metric = line.metric.ok_or("the field `metric` is missing")?;
    builder.clear();
    metric.push(builder);
    add_labels(extra, builder);
    let labels = builder.build().map_err(|error| error.to_string())?;
    let kind = kind(line.kind.as_deref(), line.steps.is_some(), line.histograms.is_some())?;

    let times = line.timestamps.unwrap_or_default();
    let steps = column("steps", line.steps, kind.has_step(), times.len())?;
    let values = column("values", line.values, !kind.is_histogram(), times.len())?;
    let histograms = column("histograms", line.histograms, kind.is_histogram(), times.len())?;
    let histograms = histograms
        .into_iter()
        .enumerate()
        .map(|(index, histogram)| histogram.build().map_err(|fault| format!("histogram {index}: {fault}")));
    let starts = match line.starts {
        Some(starts) => column("starts", Some(starts), true, times.len())?,
        None => Vec::new(),
    };
    let samples = Samples {
        starts,
        times,
        steps,
        values: values.into_iter().map(|value| value.0).collect(),
        histograms: histograms.collect::<Result<_, _>>()?,
    };
    let mut pending = Pending::new(labels, kind, samples);
    for exemplar in line.exemplars {
        pending.exemplars.push(exemplar.build(builder)?);
    }
    Ok(pending)
}

fn kind(name: Option<&str>, steps: bool, histograms: bool) -> Result<Kind, String> {
    match name {
        Some(name) => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            kind.ok_or_else(|| format!("{name:?} is no kind of samples"))
        }
        None => Ok(match (steps, histograms) {
            (false, false) => Kind::Float,
            (false, true) => Kind::Histogram,
            (true, false) => Kind::Run,
            (true, true) => Kind::RunHistogram,
        }),
    }
}

/// A list that belongs to the kind and is as long as the times, or none where it does not belong.
fn column<T>(name: &str, list: Option<Vec<T>>, wanted: bool, len: usize) -> Result<Vec<T>, String> {
    let list = list.unwrap_or_default();
    if wanted && list.len() != len {
        return Err(format!("`{name}` has {} entries, `timestamps` has {len}", list.len()));
    }
    if !wanted && !list.is_empty() {
        return Err(format!("`{name}` does not belong to samples of this kind"));
    }
    Ok(list)
}

impl Importer for JsonlImporter {
    fn read(&mut self, batch: &mut Batch, samples: usize) -> Result<bool, ImportError> {
        let mut left = samples.max(1);
        loop {
            if let Some(pending) = &mut self.pending {
                left -= pending.pour(batch, left);
                if !pending.is_done() || left == 0 {
                    return Ok(true);
                }
            }
            self.pending = self.next(batch)?;
            if self.pending.is_none() {
                return Ok(false);
            }
        }
    }
}
