//! Answers with every sample: `prometheus.ReadResponse`.

use tsq_core::{Labels, LabelsBuilder, Samples};

use super::{labels_of, read_label};
use crate::error::DecodeError;
use crate::protobuf::{OpenMessage, Reader, Writer, bytes_key};
use crate::remote_write::{
    Budget, RawHistogram, TimeSeries, decode_sample, decompress, put_histogram, put_labels, put_sample,
};

/// Builds an answer: for each query of the request, in order, its series in label order.
#[derive(Debug, Default)]
pub struct SamplesWriter {
    out: Writer,
    query: Option<OpenMessage>,
    series: Option<OpenMessage>,
}

impl SamplesWriter {
    /// Begins the answer to the next query.
    pub fn query(&mut self) {
        self.end_query();
        self.query = Some(self.out.open(1));
    }

    /// Begins the next series of the query.
    ///
    /// # Panics
    /// When no query was begun.
    pub fn series(&mut self, labels: &Labels) {
        assert!(self.query.is_some(), "a query was begun before its series");
        self.end_series();
        self.series = Some(self.out.open(1));
        put_labels(&mut self.out, labels);
    }

    /// Adds samples to the series: floats and histograms, in order of time and later than those before. Readers take
    /// the float where both have a sample.
    ///
    /// # Panics
    /// When no series was begun.
    pub fn samples(&mut self, floats: &Samples, histograms: &Samples) {
        assert!(self.series.is_some(), "a series was begun before its samples");
        for (&time_ms, &value) in floats.times.iter().zip(&floats.values) {
            self.out.message(2, |out| put_sample(out, time_ms, value));
        }
        for (&time_ms, histogram) in histograms.times.iter().zip(&histograms.histograms) {
            self.out.message(4, |out| put_histogram(out, time_ms, histogram));
        }
    }

    /// Bytes so far, not compressed.
    pub fn bytes(&self) -> usize {
        self.out.0.len()
    }

    fn end_series(&mut self) {
        if let Some(series) = self.series.take() {
            self.out.close(series);
        }
    }

    fn end_query(&mut self) {
        self.end_series();
        if let Some(query) = self.query.take() {
            self.out.close(query);
        }
    }

    /// The answer, snappy-compressed; `None` when it is larger than the 4 GiB that snappy holds.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        self.end_query();
        snap::raw::Encoder::new().compress_vec(&self.out.0).ok()
    }
}

/// Decodes an answer: the series of each query. `bytes_max` bounds it once decompressed.
///
/// # Errors
/// The first byte that is no part of such an answer, or a bound.
pub fn decode_samples(body: &[u8], bytes_max: usize) -> Result<Vec<Vec<TimeSeries>>, DecodeError> {
    const RESULTS: u32 = bytes_key(1);
    let mut plain = Vec::new();
    decompress(body, bytes_max, &mut plain)?;
    let mut message = Reader::new(&plain);
    let (mut results, mut budget) = (Vec::new(), Budget::default());
    while let Some(field) = message.key()? {
        match field {
            RESULTS => results.push(query_result(message.message()?, &mut budget)?),
            other => message.skip(other, 0b10)?,
        }
    }
    Ok(results)
}

fn query_result(mut message: Reader<'_>, budget: &mut Budget) -> Result<Vec<TimeSeries>, DecodeError> {
    const SERIES: u32 = bytes_key(1);
    budget.charge(size_of::<Vec<TimeSeries>>(), message.pos())?;
    let mut series = Vec::new();
    while let Some(field) = message.key()? {
        match field {
            SERIES => series.push(time_series(message.message()?, budget)?),
            other => message.skip(other, 0b10)?,
        }
    }
    Ok(series)
}

fn time_series(mut message: Reader<'_>, budget: &mut Budget) -> Result<TimeSeries, DecodeError> {
    const LABELS: u32 = bytes_key(1);
    const SAMPLES: u32 = bytes_key(2);
    const HISTOGRAMS: u32 = bytes_key(4);
    let start = message.pos();
    budget.charge(size_of::<TimeSeries>(), start)?;
    let (mut series, mut labels) = (TimeSeries::default(), LabelsBuilder::default());
    while let Some(field) = message.key()? {
        let offset = message.pos();
        match field {
            LABELS => {
                let label = message.message()?;
                budget.charge(message.pos() - offset, offset)?;
                read_label(label, &mut labels)?;
            }
            SAMPLES => {
                budget.charge(size_of::<(i64, f64)>(), offset)?;
                series.samples.push(decode_sample(message.message()?, false)?.0);
            }
            HISTOGRAMS => {
                budget.charge(size_of::<tsq_core::Histogram>(), offset)?;
                let raw = RawHistogram::decode(message.message()?, budget, false)?;
                let time_ms = raw.time_ms;
                let histogram = raw.finish().map_err(|fault| DecodeError::malformed(offset, fault))?;
                series.histograms.push((time_ms, histogram));
            }
            // Exemplars, field 3, are not part of remote read.
            other => message.skip(other, 0b1_0110)?,
        }
    }
    series.labels = labels_of(&mut labels, start)?;
    Ok(series)
}
