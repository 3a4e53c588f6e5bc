//! Every file format behind two traits, so that `tsq import` and `tsq export` know none of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Write};
use std::path::Path;

use tsq_core::{Batch, Exemplar, Kind, Labels, LabelsBuilder, Metadata, Samples};

use crate::csv::{CsvExporter, CsvImporter, CsvOptions};
use crate::error::{ExportError, ImportError};
use crate::jsonl::{JsonlExporter, JsonlImporter};
use crate::text::{TextExporter, TextFormat, TextImporter};
use crate::tsr::{TsrExporter, TsrImporter};

/// Where an importer reads from. Wrap the file to follow the progress: importers read it in order, once.
pub type Input = Box<dyn BufRead>;

/// Where an exporter writes to. Buffer it: exporters write line by line.
pub type Output = Box<dyn Write>;

/// Reads one file into batches.
pub trait Importer {
    /// Reads on and adds to `batch`, which may not be empty, until about `samples` samples were added or the input
    /// ends. Returns whether there is more to read. Series are given by labels: append the batch with
    /// [`Db::append`](tsq_core::Db::append).
    ///
    /// # Errors
    /// The input cannot be read or breaks the format. The batch then holds what stood before that place.
    fn read(&mut self, batch: &mut Batch, samples: usize) -> Result<bool, ImportError>;
}

/// Writes series into one file.
pub trait Exporter {
    /// Writes samples of one series. Long series may come in several calls, in order of time. Exemplars go with the
    /// call whose samples they belong to; formats that have no place for them count them as skipped.
    ///
    /// # Errors
    /// The output cannot be written, or the options given at the start do not cover the labels.
    fn write(
        &mut self,
        labels: &Labels,
        kind: Kind,
        samples: &Samples,
        exemplars: &[Exemplar],
    ) -> Result<(), ExportError>;

    /// Writes what ends the file and flushes. Nothing may be written after it.
    ///
    /// # Errors
    /// The output cannot be written.
    fn finish(&mut self) -> Result<Exported, ExportError>;
}

/// What an importer must be told. The defaults suit files that tsq exported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Labels that every series gets unless the file gives it a label of that name.
    pub labels: Vec<(String, String)>,
    /// The time, in milliseconds, of text lines that have none. Default `None`: such a line is an error.
    pub default_time_ms: Option<i64>,
    /// How to read CSV.
    pub csv: CsvOptions,
}

/// What an exporter must know before the first series.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// Names of all labels that will come: the columns of CSV. Other formats ignore it.
    pub label_names: Vec<String>,
    /// What is known about the metrics that will come.
    pub metadata: Vec<Metadata>,
}

/// Why something was left out of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Skipped {
    /// Native histograms, in a format for floats.
    Histogram,
    /// Samples with a training step, in a format without steps.
    Step,
    /// Staleness markers, in a format that would turn them into ordinary NaNs.
    Stale,
    /// Series without a metric name, in a format that needs one.
    Nameless,
    /// Exemplars, in a format or on a series that cannot have them.
    Exemplar,
    /// Start times of samples that were written, in a format that has no place for them.
    Start,
}

impl Skipped {
    /// What was left out, for a message such as `skipped 3 {}`.
    pub fn what(self) -> &'static str {
        match self {
            Self::Histogram => "native histograms (use jsonl)",
            Self::Step => "samples with a step (use csv or jsonl)",
            Self::Stale => "staleness markers (use csv, jsonl or tsr)",
            Self::Nameless => "samples of series without a name",
            Self::Exemplar => "exemplars (use openmetrics or jsonl)",
            Self::Start => "start times (use jsonl or tsr)",
        }
    }
}

/// What an export wrote and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Samples written.
    pub samples: u64,
    /// Exemplars written.
    pub exemplars: u64,
    /// Samples, exemplars and start times left out, by reason.
    pub skipped: BTreeMap<Skipped, u64>,
}

impl Exported {
    pub(crate) fn skip(&mut self, reason: Skipped, count: usize) {
        if count > 0 {
            *self.skipped.entry(reason).or_default() += count as u64;
        }
    }

    /// Counts the start times of samples that are written without them.
    pub(crate) fn skip_starts(&mut self, samples: &Samples) {
        self.skip(Skipped::Start, samples.starts.iter().filter(|start| **start != 0).count());
    }

    /// Counts samples of a kind as skipped when a format for plain floats cannot hold them. Returns whether it can.
    pub(crate) fn floats_only(&mut self, kind: Kind, samples: usize) -> bool {
        let reason = match kind {
            Kind::Float => return true,
            Kind::Run => Skipped::Step,
            Kind::Histogram | Kind::RunHistogram => Skipped::Histogram,
        };
        self.skip(reason, samples);
        false
    }
}

/// Starts to read a file.
pub type StartImport = fn(Input, &ImportOptions) -> Result<Box<dyn Importer>, ImportError>;

/// Starts to write a file.
pub type StartExport = fn(Output, &ExportOptions) -> Result<Box<dyn Exporter>, ExportError>;

/// A file format.
pub struct Format {
    /// Name on the command line.
    pub name: &'static str,
    /// What its file names end with.
    pub extensions: &'static [&'static str],
    /// What it is, in one line.
    pub doc: &'static str,
    /// Kinds of samples that come back exactly as they were.
    pub kinds: &'static [Kind],
    /// Starts to read a file.
    pub importer: StartImport,
    /// Starts to write a file.
    pub exporter: StartExport,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Format").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every file format.
pub static FORMATS: &[Format] = &[
    Format {
        name: "openmetrics",
        extensions: &[".om", ".openmetrics"],
        doc: "OpenMetrics 1.0 text: times in seconds, exemplars, metadata",
        kinds: &[Kind::Float],
        importer: |input, options| Ok(Box::new(TextImporter::new(input, TextFormat::OpenMetrics, options))),
        exporter: |output, options| Ok(Box::new(TextExporter::new(output, TextFormat::OpenMetrics, options))),
    },
    Format {
        name: "prometheus",
        extensions: &[".prom", ".txt"],
        doc: "Prometheus text 0.0.4 and 1.0.0: times in milliseconds, metadata",
        kinds: &[Kind::Float],
        importer: |input, options| Ok(Box::new(TextImporter::new(input, TextFormat::Prometheus, options))),
        exporter: |output, options| Ok(Box::new(TextExporter::new(output, TextFormat::Prometheus, options))),
    },
    Format {
        name: "csv",
        extensions: &[".csv"],
        doc: "CSV with a header row: time, value, optional step, labels as columns; or one column a metric",
        kinds: &[Kind::Float, Kind::Run],
        importer: |input, options| Ok(Box::new(CsvImporter::new(input, options)?)),
        exporter: |output, options| Ok(Box::new(CsvExporter::new(output, options)?)),
    },
    Format {
        name: "jsonl",
        extensions: &[".jsonl", ".ndjson"],
        doc: "JSON lines as VictoriaMetrics writes them, with steps, histograms, exemplars and metadata",
        kinds: &Kind::ALL,
        importer: |input, options| Ok(Box::new(JsonlImporter::new(input, options))),
        exporter: |output, options| Ok(Box::new(JsonlExporter::new(output, options)?)),
    },
    Format {
        name: "tsr",
        extensions: &[".tsr.zst", ".tsr"],
        doc: "TSQREAL1 container: float series in columns, zstd",
        kinds: &[Kind::Float],
        importer: |input, options| Ok(Box::new(TsrImporter::new(input, options)?)),
        exporter: |output, options| Ok(Box::new(TsrExporter::new(output, options)?)),
    },
];

impl Format {
    /// The format of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The format that the ending of a file name stands for.
    pub fn by_path(path: &Path) -> Option<&'static Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        FORMATS.iter().find(|format| format.extensions.iter().any(|ending| name.ends_with(ending)))
    }
}

/// Adds the labels that every series of an import gets, unless the series has them itself.
pub(crate) fn add_labels(extra: &[(String, String)], builder: &mut LabelsBuilder) {
    for (name, value) in extra {
        if !builder.iter().any(|(own, _)| own == name) {
            builder.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_name_and_by_path() {
        for format in FORMATS {
            assert!(std::ptr::eq(Format::by_name(format.name).unwrap(), format));
            for ending in format.extensions {
                let path = format!("/data/Some.file{}", ending.to_uppercase());
                assert!(std::ptr::eq(Format::by_path(Path::new(&path)).unwrap(), format), "{path}");
            }
        }
        assert!(Format::by_name("parquet").is_none());
        assert!(Format::by_path(Path::new("metrics.parquet")).is_none());
    }
}
