//! Text from samples.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use tsq_core::{Exemplar, Kind, Labels, METRIC_NAME, Metadata, Samples};

use super::TextFormat;
use crate::error::ExportError;
use crate::format::{ExportOptions, Exported, Exporter, Output, Skipped};
use crate::number::{is_marker, write_float, write_seconds};

/// Writes float series as text with times.
///
/// Each series comes in one piece, its samples in order of time, as bulk importers want it. The lines that describe a
/// family come before its first series. Readers that insist on families in one piece need the series in
/// [`family_order`].
pub struct TextExporter {
    output: Output,
    format: TextFormat,
    families: Families,
    described: HashSet<String>,
    last_family: String,
    exported: Exported,
    /// The series as it stands at the beginning of each of its lines.
    head: Vec<u8>,
}

impl std::fmt::Debug for TextExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextExporter").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Metric names in the order in which text readers expect them: families in one piece, sorted by family.
pub fn family_order(mut names: Vec<String>, metadata: &[Metadata]) -> Vec<String> {
    let families = Families::new(metadata);
    names.sort_by_cached_key(|name| (families.of(name).0.to_owned(), name.clone()));
    names
}

#[derive(Debug)]
struct Families(HashMap<String, Metadata>);

impl Families {
    fn new(metadata: &[Metadata]) -> Self {
        Self(metadata.iter().map(|metadata| (metadata.metric.clone(), metadata.clone())).collect())
    }

    /// The family of a metric and what is known about it.
    fn of<'n>(&self, name: &'n str) -> (&'n str, Option<&Metadata>) {
        if let Some(metadata) = self.0.get(name) {
            return (name, Some(metadata));
        }
        for (suffix, types) in [
            ("_total", &["counter"][..]),
            ("_created", &["counter", "histogram", "summary"]),
            ("_bucket", &["histogram", "gaugehistogram"]),
            ("_sum", &["histogram", "summary"]),
            ("_count", &["histogram", "summary"]),
            ("_gsum", &["gaugehistogram"]),
            ("_gcount", &["gaugehistogram"]),
            ("_info", &["info"]),
        ] {
            let Some(base) = name.strip_suffix(suffix) else { continue };
            if let Some(metadata) = self.0.get(base).filter(|metadata| types.contains(&&*metadata.metric_type)) {
                return (base, Some(metadata));
            }
        }
        (name, None)
    }
}

impl TextExporter {
    /// Starts to write.
    pub fn new(output: Output, format: TextFormat, options: &ExportOptions) -> Self {
        Self {
            output,
            format,
            families: Families::new(&options.metadata),
            described: HashSet::new(),
            last_family: String::new(),
            exported: Exported::default(),
            head: Vec::new(),
        }
    }

    fn describe(&mut self, name: &str) -> io::Result<()> {
        let (family, metadata) = self.families.of(name);
        if family == self.last_family {
            return Ok(());
        }
        family.clone_into(&mut self.last_family);
        if let Some(metadata) = metadata.filter(|_| self.described.insert(family.to_owned())) {
            write_metadata(&mut self.output, self.format, metadata)?;
        }
        Ok(())
    }

    fn line(&mut self, time_ms: i64, value: f64) -> io::Result<()> {
        self.output.write_all(&self.head)?;
        write_float(&mut self.output, value)?;
        self.output.write_all(b" ")?;
        match self.format {
            TextFormat::OpenMetrics => write_seconds(&mut self.output, time_ms)?,
            TextFormat::Prometheus => write!(self.output, "{time_ms}")?,
        }
        self.exported.samples += 1;
        Ok(())
    }

    fn exemplar(&mut self, exemplar: &Exemplar) -> io::Result<()> {
        self.output.write_all(b" # ")?;
        write_labels(&mut self.output, &exemplar.labels, None)?;
        self.output.write_all(b" ")?;
        write_float(&mut self.output, exemplar.value)?;
        self.output.write_all(b" ")?;
        write_seconds(&mut self.output, exemplar.time_ms)?;
        self.exported.exemplars += 1;
        Ok(())
    }
}

impl Exporter for TextExporter {
    fn write(
        &mut self,
        labels: &Labels,
        kind: Kind,
        samples: &Samples,
        exemplars: &[Exemplar],
    ) -> Result<(), ExportError> {
        let name = labels.metric_name();
        if name.is_empty() {
            self.exported.skip(Skipped::Nameless, samples.len());
        } else if self.exported.floats_only(kind, samples.len()) {
            self.exported.skip_starts(samples);
            self.describe(name)?;
            self.head.clear();
            write_series(&mut self.head, labels)?;
            self.head.push(b' ');
            return Ok(self.lines(name, samples, exemplars)?);
        }
        self.exported.skip(Skipped::Exemplar, exemplars.len());
        Ok(())
    }

    fn finish(&mut self) -> Result<Exported, ExportError> {
        if self.format == TextFormat::OpenMetrics {
            self.output.write_all(b"# EOF\n")?;
        }
        self.output.flush()?;
        Ok(std::mem::take(&mut self.exported))
    }
}

impl TextExporter {
    /// Writes the samples; each exemplar goes to the first sample that is not older than it and has none yet.
    fn lines(&mut self, name: &str, samples: &Samples, exemplars: &[Exemplar]) -> io::Result<()> {
        let may_have =
            self.format == TextFormat::OpenMetrics && (name.ends_with("_total") || name.ends_with("_bucket"));
        let mut waiting = if may_have { exemplars } else { &[] };
        let before = self.exported.exemplars;
        for (&time_ms, &value) in samples.times.iter().zip(&samples.values) {
            if is_marker(value) {
                self.exported.skip(Skipped::Stale, 1);
                continue;
            }
            self.line(time_ms, value)?;
            if let Some((first, rest)) = waiting.split_first().filter(|(first, _)| first.time_ms <= time_ms) {
                self.exemplar(first)?;
                waiting = rest;
            }
            self.output.write_all(b"\n")?;
        }
        let written = (self.exported.exemplars - before) as usize;
        self.exported.skip(Skipped::Exemplar, exemplars.len() - written);
        Ok(())
    }
}

fn write_metadata(out: &mut Output, format: TextFormat, metadata: &Metadata) -> io::Result<()> {
    let Metadata { metric, metric_type, unit, help } = metadata;
    let openmetrics = format == TextFormat::OpenMetrics;
    // OpenMetrics names a counter's family without the suffix of its samples, and knows no counter without it.
    let family = match metric.strip_suffix("_total") {
        Some(base) if openmetrics && metric_type == "counter" && !base.is_empty() => base,
        _ => metric,
    };
    let name = if is_bare(family, true) { family.to_owned() } else { quote(family) };
    let type_name = match (&**metric_type, openmetrics) {
        ("unknown" | "", false) => "untyped",
        ("", true) => "unknown",
        ("info" | "stateset", false) => "gauge",
        ("gaugehistogram", false) => "histogram",
        (name, _) => name,
    };
    if !help.is_empty() {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let help = if openmetrics { help.replace('"', r#"\""#) } else { help };
        writeln!(out, "# HELP {name} {help}")?;
    }
    writeln!(out, "# TYPE {name} {type_name}")?;
    let fits = family.strip_suffix(&**unit).is_some_and(|base| base.ends_with('_'));
    if openmetrics && !unit.is_empty() && fits {
        writeln!(out, "# UNIT {name} {unit}")?;
    }
    Ok(())
}

fn write_series(out: &mut Vec<u8>, labels: &Labels) -> io::Result<()> {
    let name = labels.metric_name();
    if !is_bare(name, true) {
        return write_labels(out, labels, Some(name));
    }
    out.extend_from_slice(name.as_bytes());
    if labels.len() > 1 { write_labels(out, labels, None) } else { Ok(()) }
}

/// The labels in braces, without the metric name; `name` goes first, in quotes.
fn write_labels(out: &mut dyn Write, labels: &Labels, name: Option<&str>) -> io::Result<()> {
    let mut separator = "{";
    if let Some(name) = name {
        write!(out, "{{{}", quote(name))?;
        separator = ",";
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        let name = if is_bare(name, false) { name.to_owned() } else { quote(name) };
        write!(out, "{separator}{name}={}", quote(value))?;
        separator = ",";
    }
    out.write_all(if separator == "{" { b"{}" } else { b"}" })
}

pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('\n', r"\n").replace('"', r#"\""#))
}

/// Whether a name needs no quotes.
pub(crate) fn is_bare(name: &str, colons: bool) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || colons && byte == b':';
    !name.is_empty() && name.bytes().all(word) && !name.as_bytes()[0].is_ascii_digit()
}
