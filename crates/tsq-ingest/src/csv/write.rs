//! CSV from samples, in the long form.

use std::collections::HashMap;

use tsq_core::{Exemplar, Kind, Labels, METRIC_NAME, Samples};

use super::header::{LABEL_PREFIX, is_reserved};
use crate::error::ExportError;
use crate::format::{ExportOptions, Exported, Exporter, Output, Skipped};
use crate::number::write_value;

/// Columns before those of the labels: time, value, step.
const FIXED_COLUMNS: usize = 3;

/// Writes series of floats, with and without steps.
pub struct CsvExporter {
    rows: csv::Writer<Output>,
    /// Column of each label.
    columns: HashMap<String, usize>,
    exported: Exported,
}

impl std::fmt::Debug for CsvExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvExporter").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl CsvExporter {
    /// Starts to write: the header, with a column for each of [`ExportOptions::label_names`].
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn new(output: Output, options: &ExportOptions) -> Result<Self, ExportError> {
        let mut names: Vec<&str> =
            options.label_names.iter().map(String::as_str).filter(|name| *name != METRIC_NAME).collect();
        names.sort_unstable();
        names.dedup();
        names.insert(0, METRIC_NAME);
        let mut rows = csv::WriterBuilder::new().from_writer(output);
        let mut header = ["timestamp_ms", "value", "step"].map(str::to_owned).to_vec();
        header.extend(names.iter().map(|name| match is_reserved(name) {
            true => format!("{LABEL_PREFIX}{name}"),
            false => (*name).to_owned(),
        }));
        rows.write_record(&header).map_err(csv_error)?;
        let columns =
            names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index + FIXED_COLUMNS)).collect();
        Ok(Self { rows, columns, exported: Exported::default() })
    }

    /// An empty row with the labels in place.
    fn row(&self, labels: &Labels) -> Result<Vec<Vec<u8>>, ExportError> {
        let mut row = vec![Vec::new(); FIXED_COLUMNS + self.columns.len()];
        for (name, value) in labels.iter() {
            let Some(&column) = self.columns.get(name) else {
                return Err(ExportError::Options(format!("label {name:?} of {labels} is not among the columns")));
            };
            row[column].extend_from_slice(value.as_bytes());
        }
        Ok(row)
    }
}

impl Exporter for CsvExporter {
    fn write(
        &mut self,
        labels: &Labels,
        kind: Kind,
        samples: &Samples,
        exemplars: &[Exemplar],
    ) -> Result<(), ExportError> {
        self.exported.skip(Skipped::Exemplar, exemplars.len());
        if kind.is_histogram() {
            self.exported.skip(Skipped::Histogram, samples.len());
            return Ok(());
        }
        let mut row = self.row(labels)?;
        for index in 0..samples.len() {
            row[..FIXED_COLUMNS].iter_mut().for_each(Vec::clear);
            row[0].extend_from_slice(samples.times[index].to_string().as_bytes());
            write_value(&mut row[1], samples.values[index])?;
            if kind.has_step() {
                row[2].extend_from_slice(samples.steps[index].to_string().as_bytes());
            }
            self.rows.write_record(&row).map_err(csv_error)?;
        }
        self.exported.samples += samples.len() as u64;
        self.exported.skip_starts(samples);
        Ok(())
    }

    fn finish(&mut self) -> Result<Exported, ExportError> {
        self.rows.flush()?;
        Ok(std::mem::take(&mut self.exported))
    }
}

fn csv_error(error: csv::Error) -> ExportError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => ExportError::Options(format!("the row cannot be written: {other:?}")),
    }
}
