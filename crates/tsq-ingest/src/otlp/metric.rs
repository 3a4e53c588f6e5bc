//! Metrics, read up to their data points.

use super::names::NameKind;
use crate::error::DecodeError;
use crate::protobuf::{Reader, VARINT, bytes_key, key};

/// The data of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataKind {
    Gauge,
    Sum,
    Explicit,
    Exponential,
    Summary,
}

/// Data of a metric before its points are read.
#[derive(Debug)]
pub(super) struct Data<'a> {
    pub(super) kind: DataKind,
    pub(super) message: Reader<'a>,
    pub(super) points: u64,
    temporality: u64,
    pub(super) monotonic: bool,
}

const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

impl<'a> Data<'a> {
    /// Reads what stands beside the points, which may come after them.
    fn decode(kind: DataKind, message: Reader<'a>) -> Result<Self, DecodeError> {
        const POINTS: u32 = bytes_key(1);
        const TEMPORALITY: u32 = key(2, VARINT);
        const MONOTONIC: u32 = key(3, VARINT);
        let known = match kind {
            DataKind::Gauge | DataKind::Summary => 0b10,
            DataKind::Explicit | DataKind::Exponential => 0b110,
            DataKind::Sum => 0b1110,
        };
        let mut data = Self { kind, message: message.clone(), points: 0, temporality: 0, monotonic: false };
        let mut fields = message;
        while let Some(field) = fields.key()? {
            match field {
                POINTS => {
                    fields.message()?;
                    data.points += 1;
                }
                TEMPORALITY if known & 0b100 != 0 => data.temporality = fields.varint()?,
                MONOTONIC if known & 0b1000 != 0 => data.monotonic = fields.varint()? != 0,
                other => fields.skip(other, known)?,
            }
        }
        Ok(data)
    }

    /// What is wrong with all its points.
    pub(super) fn fault(&self) -> Option<String> {
        let known =
            matches!(self.kind, DataKind::Gauge | DataKind::Summary) || [DELTA, CUMULATIVE].contains(&self.temporality);
        let number = self.temporality;
        (!known).then(|| format!("its aggregation temporality {number} is neither delta (1) nor cumulative (2)"))
    }

    pub(super) fn is_delta(&self) -> bool {
        self.temporality == DELTA
    }

    /// What its name shows of its kind.
    pub(super) fn name_kind(&self) -> NameKind {
        match self.kind {
            DataKind::Gauge => NameKind::Gauge,
            DataKind::Sum if self.monotonic => NameKind::Counter,
            _ => NameKind::Other,
        }
    }

    /// The type in metadata.
    pub(super) fn metric_type(&self) -> &'static str {
        match self.kind {
            DataKind::Sum if self.monotonic => "counter",
            DataKind::Gauge | DataKind::Sum => "gauge",
            DataKind::Explicit | DataKind::Exponential => "histogram",
            DataKind::Summary => "summary",
        }
    }
}

/// Texts of a metric, and its data.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    pub(super) name: &'a [u8],
    pub(super) description: &'a [u8],
    pub(super) unit: &'a [u8],
    pub(super) data: Option<Data<'a>>,
}

impl<'a> Metric<'a> {
    pub(super) fn decode(mut message: Reader<'a>) -> Result<Self, DecodeError> {
        const NAME: u32 = bytes_key(1);
        const DESCRIPTION: u32 = bytes_key(2);
        const UNIT: u32 = bytes_key(3);
        const GAUGE: u32 = bytes_key(5);
        const SUM: u32 = bytes_key(7);
        const HISTOGRAM: u32 = bytes_key(9);
        const EXPONENTIAL: u32 = bytes_key(10);
        const SUMMARY: u32 = bytes_key(11);
        let mut metric = Self::default();
        while let Some(field) = message.key()? {
            let kind = match field {
                NAME => {
                    metric.name = message.bytes()?;
                    continue;
                }
                DESCRIPTION => {
                    metric.description = message.bytes()?;
                    continue;
                }
                UNIT => {
                    metric.unit = message.bytes()?;
                    continue;
                }
                GAUGE => DataKind::Gauge,
                SUM => DataKind::Sum,
                HISTOGRAM => DataKind::Explicit,
                EXPONENTIAL => DataKind::Exponential,
                SUMMARY => DataKind::Summary,
                other => {
                    message.skip(other, 0b1110_1010_1110)?;
                    continue;
                }
            };
            metric.data = Some(Data::decode(kind, message.message()?)?);
        }
        Ok(metric)
    }
}
