//! JSON lines from samples.

use std::io::{self, Write};
use std::ops::Range;

use tsq_core::{Exemplar, Histogram, Kind, Labels, Metadata, ResetHint, Samples, Span};

use super::model::RESET_HINTS;
use crate::error::ExportError;
use crate::format::{ExportOptions, Exported, Exporter, Output};
use crate::number::write_value;

/// Samples of one line; a histogram counts as many.
const LINE_SAMPLES: usize = 8192;
const LINE_HISTOGRAMS: usize = 256;

/// Writes all kinds of series.
pub struct JsonlExporter {
    output: Output,
    exported: Exported,
}

impl std::fmt::Debug for JsonlExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonlExporter").field("exported", &self.exported).finish_non_exhaustive()
    }
}

impl JsonlExporter {
    /// Starts to write: the metadata.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn new(mut output: Output, options: &ExportOptions) -> Result<Self, ExportError> {
        for metadata in &options.metadata {
            write_metadata(&mut output, metadata)?;
        }
        Ok(Self { output, exported: Exported::default() })
    }
}

impl Exporter for JsonlExporter {
    fn write(
        &mut self,
        labels: &Labels,
        kind: Kind,
        samples: &Samples,
        exemplars: &[Exemplar],
    ) -> Result<(), ExportError> {
        let piece = if kind.is_histogram() { LINE_HISTOGRAMS } else { LINE_SAMPLES };
        let mut exemplars = exemplars;
        let mut start = 0;
        while start < samples.len() || !exemplars.is_empty() {
            let end = samples.len().min(start + piece);
            self.line(labels, kind, samples, start..end, exemplars)?;
            exemplars = &[];
            start = end;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Exported, ExportError> {
        self.output.flush()?;
        Ok(std::mem::take(&mut self.exported))
    }
}

impl JsonlExporter {
    fn line(
        &mut self,
        labels: &Labels,
        kind: Kind,
        samples: &Samples,
        part: Range<usize>,
        exemplars: &[Exemplar],
    ) -> io::Result<()> {
        let out = &mut self.output;
        out.write_all(b"{\"metric\":")?;
        write_labels(out, labels)?;
        if kind != Kind::Float {
            write!(out, ",\"kind\":\"{}\"", kind.name())?;
        }
        if kind.is_histogram() {
            out.write_all(b",\"histograms\":")?;
            write_list(out, &samples.histograms[part.clone()], write_histogram)?;
        } else {
            out.write_all(b",\"values\":")?;
            write_list(out, &samples.values[part.clone()], |out, value| write_json_value(out, *value))?;
        }
        if kind.has_step() {
            out.write_all(b",\"steps\":")?;
            write_list(out, &samples.steps[part.clone()], |out, step| write!(out, "{step}"))?;
        }
        out.write_all(b",\"timestamps\":")?;
        write_list(out, &samples.times[part.clone()], |out, time| write!(out, "{time}"))?;
        let starts = samples.starts.get(part.clone()).unwrap_or(&[]);
        if starts.iter().any(|start| *start != 0) {
            out.write_all(b",\"starts\":")?;
            write_list(out, starts, |out, start| write!(out, "{start}"))?;
        }
        if !exemplars.is_empty() {
            out.write_all(b",\"exemplars\":")?;
            write_list(out, exemplars, write_exemplar)?;
        }
        self.exported.samples += part.len() as u64;
        self.exported.exemplars += exemplars.len() as u64;
        out.write_all(b"}\n")
    }
}

/// The labels as a JSON object.
pub(crate) fn write_labels(out: &mut dyn Write, labels: &Labels) -> io::Result<()> {
    let mut separator = "{";
    for (name, value) in labels.iter() {
        out.write_all(separator.as_bytes())?;
        write_string(out, name)?;
        out.write_all(b":")?;
        write_string(out, value)?;
        separator = ",";
    }
    out.write_all(if separator == "{" { b"{}" } else { b"}" })
}

fn write_string(out: &mut dyn Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

/// A number where JSON has one, else a string.
fn write_json_value(out: &mut dyn Write, value: f64) -> io::Result<()> {
    if value.is_finite() {
        return write_value(out, value);
    }
    out.write_all(b"\"")?;
    write_value(out, value)?;
    out.write_all(b"\"")
}

fn write_list<T>(
    out: &mut dyn Write,
    list: &[T],
    write: impl Fn(&mut dyn Write, &T) -> io::Result<()>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (index, entry) in list.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write(out, entry)?;
    }
    out.write_all(b"]")
}

fn write_histogram(out: &mut dyn Write, h: &Histogram) -> io::Result<()> {
    write!(out, "{{\"schema\":{}", h.schema)?;
    if h.reset_hint != ResetHint::Unknown {
        write!(out, ",\"reset\":\"{}\"", RESET_HINTS[h.reset_hint as usize])?;
    }
    if h.integer {
        out.write_all(b",\"integer\":true")?;
    }
    for (name, value) in
        [("zero_threshold", h.zero_threshold), ("zero_count", h.zero_count), ("count", h.count), ("sum", h.sum)]
    {
        write!(out, ",\"{name}\":")?;
        write_json_value(out, value)?;
    }
    for (name, spans) in [("positive_spans", &h.positive_spans), ("negative_spans", &h.negative_spans)] {
        if !spans.is_empty() {
            write!(out, ",\"{name}\":")?;
            write_list(out, spans, |out, span: &Span| write!(out, "[{},{}]", span.offset, span.length))?;
        }
    }
    for (name, counts) in [("positive", &h.positive), ("negative", &h.negative), ("custom_values", &h.custom_values)] {
        if !counts.is_empty() {
            write!(out, ",\"{name}\":")?;
            write_list(out, counts, |out, count| write_json_value(out, *count))?;
        }
    }
    out.write_all(b"}")
}

fn write_exemplar(out: &mut dyn Write, exemplar: &Exemplar) -> io::Result<()> {
    out.write_all(b"{\"labels\":")?;
    write_labels(out, &exemplar.labels)?;
    out.write_all(b",\"value\":")?;
    write_json_value(out, exemplar.value)?;
    write!(out, ",\"timestamp\":{}}}", exemplar.time_ms)
}

fn write_metadata(out: &mut dyn Write, metadata: &Metadata) -> io::Result<()> {
    let fields = [
        ("metric", &metadata.metric),
        ("type", &metadata.metric_type),
        ("unit", &metadata.unit),
        ("help", &metadata.help),
    ];
    let mut separator = "{\"metadata\":{";
    for (name, text) in fields {
        write!(out, "{separator}\"{name}\":")?;
        write_string(out, text)?;
        separator = ",";
    }
    out.write_all(b"}}\n")
}
