//! From an `ExportMetricsServiceRequest` to a batch.

use std::sync::MutexGuard;

use tsq_core::{Batch, Exemplar, Kind, LabelsBuilder, Metadata, RejectReason, stale_nan};

use super::buckets;
use super::context::{Resource, add_scope};
use super::delta::{DeltaChanges, Deltas, Explicit, Streams, Total};
use super::exemplar;
use super::labels::{AttributesAt, Context, MetricAt, OtlpLabels, Part, REFERENCE_LEN, SeriesAt, canonical_bytes};
use super::metric::{Data, DataKind, Metric};
use super::names::{metric_name, unit_name};
use super::options::{ExplicitHistograms, OtlpOptions};
use super::points::{self, Head, Summary};
use super::report::Report;
use crate::error::DecodeError;
use crate::protobuf::{Reader, bytes_key, utf8};
use crate::remote_write::Budget;

/// Keeps the keys of this form apart from those of other forms of label bytes.
const KEY_TAG: u128 = 0x5b08_e3d4_71af_4c96_8a1d_62f7_9e03_b5c8;

/// Odd numbers of 128 random bits, one for each thing that makes a series.
const FACTORS: [u128; 3] = [
    0xc2b9_0f5d_3ae8_4716_9d71_58e4_06bc_f2a3,
    0x87d4_6e12_f903_4bb5_a65c_1f38_d97e_0421,
    0xe15a_93c7_284d_4f0b_b3f0_7d69_5a12_c8e9,
];

/// Bytes that a series of a batch takes beside its label bytes, with its point in the report.
const SERIES_BYTES: usize = 64 + REFERENCE_LEN + 4;

/// Most samples of `target_info` that one resource gets in one request.
const INFO_SAMPLES_MAX: i64 = 100;

/// A decoded request. Its samples are in the batch.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// The labels to append the batch with.
    pub labels: OtlpLabels<'a>,
    /// What it held and what was refused.
    pub report: Report,
    /// For [`Deltas::take_back`] when the batch cannot be appended.
    pub changes: DeltaChanges,
}

/// Decodes an `ExportMetricsServiceRequest` into `batch`, which is empty. Append the batch with [`Decoded::labels`],
/// and tell [`Report::appended`] what became of it.
///
/// Labels are not read here but for delta points: those that are no valid set are refused when the engine asks for
/// them.
///
/// # Errors
/// The first byte that is no part of such a request, or the bound
/// [`DECODED_BYTES_MAX`](crate::remote_write::DECODED_BYTES_MAX). The batch is cleared then, and `deltas` are as
/// before.
pub fn decode<'a>(
    body: &'a [u8],
    options: &OtlpOptions,
    deltas: &Deltas,
    batch: &mut Batch,
) -> Result<Decoded<'a>, DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::too_large(0, format!("the request has {} bytes, 4 GiB are too many", body.len())));
    }
    let mut decoder = Decoder {
        batch,
        options,
        deltas,
        streams: None,
        labels: OtlpLabels::new(body, options),
        report: Report::default(),
        changes: DeltaChanges::default(),
        budget: Budget::default(),
        builder: LabelsBuilder::default(),
        scratch: Vec::new(),
        times: None,
    };
    let outcome = decoder.request(Reader::new(body));
    // Others wait for the streams, and taking back locks them.
    decoder.streams = None;
    let Decoder { batch, labels, report, changes, .. } = decoder;
    if let Err(error) = outcome {
        batch.clear();
        deltas.take_back(changes);
        return Err(error);
    }
    Ok(Decoded { labels, report, changes })
}

struct Decoder<'a, 'b> {
    batch: &'b mut Batch,
    options: &'b OtlpOptions,
    deltas: &'b Deltas,
    /// Locked from the first delta point on.
    streams: Option<MutexGuard<'b, Streams>>,
    labels: OtlpLabels<'a>,
    report: Report,
    changes: DeltaChanges,
    budget: Budget,
    builder: LabelsBuilder,
    scratch: Vec<u8>,
    /// Oldest and newest time of the resource's points, in milliseconds.
    times: Option<(i64, i64)>,
}

/// The metric whose points are being read.
#[derive(Clone, Copy, Debug)]
struct Current {
    metric: u32,
    /// The part of the series' keys that all points share.
    key: u128,
}

/// A data point's series.
#[derive(Clone, Copy, Debug)]
struct PointAt {
    key: u128,
    series: SeriesAt,
}

impl<'a> Decoder<'a, '_> {
    fn request(&mut self, mut body: Reader<'a>) -> Result<(), DecodeError> {
        const RESOURCE_METRICS: u32 = bytes_key(1);
        while let Some(field) = body.key()? {
            match field {
                RESOURCE_METRICS => self.resource_metrics(body.message()?)?,
                other => body.skip(other, 0b10)?,
            }
        }
        Ok(())
    }

    fn resource_metrics(&mut self, message: Reader<'a>) -> Result<(), DecodeError> {
        const SCOPE_METRICS: u32 = bytes_key(2);
        let found = find_message(message.clone(), 1)?.unwrap_or(Reader::new(&[]));
        self.budget.charge(4 * found.rest().len(), found.pos())?;
        let (resource, fault) = match Resource::decode(found, self.options) {
            Ok(resource) => (resource, None),
            Err(fault) => (Resource::default(), Some(format!("resource: {fault}"))),
        };
        self.times = None;
        let mut fields = message;
        while let Some(field) = fields.key()? {
            match field {
                SCOPE_METRICS => self.scope_metrics(fields.message()?, &resource.context, fault.as_deref())?,
                other => fields.skip(other, 0b100)?,
            }
        }
        self.target_info(&resource)
    }

    fn scope_metrics(
        &mut self,
        message: Reader<'a>,
        context: &Context,
        fault: Option<&str>,
    ) -> Result<(), DecodeError> {
        const METRICS: u32 = bytes_key(2);
        let mut context = context.clone();
        let mut fault = fault.map(str::to_owned);
        if self.options.scope_labels {
            let scope = find_message(message.clone(), 1)?.unwrap_or(Reader::new(&[]));
            let schema_url = find_message(message.clone(), 3)?;
            let schema_url = schema_url.as_ref().map_or(&[][..], Reader::rest);
            self.budget.charge(4 * scope.rest().len() + schema_url.len(), scope.pos())?;
            let added = add_scope(&mut context, scope, schema_url, self.options);
            fault = fault.or_else(|| added.err().map(|fault| format!("scope: {fault}")));
        }
        let key = self.context_key(&context, message.pos())?;
        let number = self.labels.contexts.len() as u32;
        self.labels.contexts.push(context);
        let mut fields = message;
        while let Some(field) = fields.key()? {
            match field {
                METRICS => self.metric(fields.message()?, number, key, fault.as_deref())?,
                other => fields.skip(other, 0b100)?,
            }
        }
        Ok(())
    }

    /// The part of series' keys that a context gives.
    fn context_key(&mut self, context: &Context, offset: usize) -> Result<u128, DecodeError> {
        self.scratch.clear();
        for pairs in [&context.fixed, &context.promoted] {
            self.scratch.extend_from_slice(&(pairs.len() as u64).to_le_bytes());
            for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
                self.scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
                self.scratch.extend_from_slice(text.as_bytes());
            }
        }
        self.scratch.push(self.options.translation as u8);
        self.budget.charge(self.scratch.len() + size_of::<Context>(), offset)?;
        Ok(self.batch.hash(&self.scratch).wrapping_add(KEY_TAG))
    }

    fn metric(
        &mut self,
        message: Reader<'a>,
        context: u32,
        context_key: u128,
        fault: Option<&str>,
    ) -> Result<(), DecodeError> {
        let offset = message.pos();
        let Metric { name, description, unit, data } = Metric::decode(message)?;
        let Some(data) = data.filter(|data| data.points > 0) else { return Ok(()) };
        let described = self.describe(name, description, unit, &data);
        let (metadata, fault) = match (described, fault.map(str::to_owned).or_else(|| data.fault())) {
            (Ok(metadata), None) => (metadata, None),
            (Err(fault), _) | (_, Some(fault)) => (Metadata::default(), Some(fault)),
        };
        if let Some(fault) = fault {
            let name = String::from_utf8_lossy(&name[..name.len().min(200)]);
            self.report.reject(RejectReason::InvalidPoint, data.points, || format!("metric {name:?}: {fault}"));
            return Ok(());
        }
        let text = metadata.metric.len() * 2 + metadata.help.len() + metadata.unit.len();
        self.budget.charge(text + size_of::<Metadata>() + size_of::<MetricAt>(), offset)?;
        let name = metadata.metric.clone();
        let name_key = self.batch.hash(name.as_bytes()).wrapping_mul(FACTORS[0]);
        let current = Current { metric: self.labels.metrics.len() as u32, key: context_key.wrapping_add(name_key) };
        self.labels.metrics.push(MetricAt { name, context });
        self.batch.metadata(metadata);
        match data.kind {
            DataKind::Gauge | DataKind::Sum => self.numbers(&data, current),
            DataKind::Explicit => self.explicits(&data, current),
            DataKind::Exponential => self.exponentials(&data, current),
            DataKind::Summary => self.summaries(&data, current),
        }
    }

    fn describe(&self, name: &[u8], description: &[u8], unit: &[u8], data: &Data<'_>) -> Result<Metadata, String> {
        let translation = self.options.translation;
        let unit = utf8(unit, "its unit")?;
        let metric = metric_name(utf8(name, "its name")?, unit, data.name_kind(), translation)?;
        let help = utf8(description, "its description")?.to_owned();
        Ok(Metadata { metric, metric_type: data.metric_type().to_owned(), unit: unit_name(unit, translation), help })
    }

    fn numbers(&mut self, data: &Data<'a>, current: Current) -> Result<(), DecodeError> {
        let mut head = Head::default();
        self.each_point(data, |this, message| {
            let value = points::number(message.clone(), &mut head, &mut this.budget)?;
            let Some(point) = this.point(current, &head, &message, points::ATTRIBUTES[0])? else { return Ok(()) };
            let value = if head.is_stale() { Some(stale_nan()) } else { value };
            let Some(mut value) = value else {
                this.refuse(point, &head, "it has no value");
                return Ok(());
            };
            let mut times = Times::of(&head, data.monotonic);
            if data.is_delta() && !head.is_stale() {
                let Some(sum) = this.accumulate(point, &head, Total::Number(value))? else { return Ok(()) };
                value = sum.1.number();
                times = Times { start_ms: if data.monotonic { sum.0.start_ms } else { 0 }, ..sum.0 };
            }
            this.float(point, Part::Whole, times, value)?;
            this.exemplars(&mut head)?;
            this.accept(times);
            Ok(())
        })
    }

    fn explicits(&mut self, data: &Data<'a>, current: Current) -> Result<(), DecodeError> {
        let (mut head, mut read) = (Head::default(), Explicit::default());
        self.each_point(data, |this, message| {
            points::explicit(message.clone(), &mut head, &mut read, &mut this.budget)?;
            let Some(point) = this.point(current, &head, &message, points::ATTRIBUTES[1])? else { return Ok(()) };
            if head.is_stale() {
                read.counts.clear();
            } else if let Some(fault) = points::explicit_fault(&read) {
                this.refuse(point, &head, &fault);
                return Ok(());
            }
            let mut times = Times::of(&head, true);
            if data.is_delta() && !head.is_stale() {
                let Some(sum) = this.accumulate(point, &head, Total::Explicit(read.clone()))? else { return Ok(()) };
                (times, read) = (sum.0, sum.1.explicit());
            }
            let done = match this.options.explicit_histograms {
                ExplicitHistograms::Classic => {
                    this.classic(point, &mut head, &read, times)?;
                    true
                }
                ExplicitHistograms::Native => {
                    let native =
                        if head.is_stale() { Ok(tsq_core::Histogram::stale()) } else { buckets::custom(&read) };
                    this.native(point, &mut head, native, times)?
                }
            };
            if done {
                this.accept(times);
            }
            Ok(())
        })
    }

    /// Buckets, sum and count as series of their own.
    fn classic(
        &mut self,
        point: PointAt,
        head: &mut Head<'a>,
        histogram: &Explicit,
        times: Times,
    ) -> Result<(), DecodeError> {
        let stale = head.is_stale();
        let number = |count: u64| if stale { stale_nan() } else { count as f64 };
        let mut exemplars = self.read_exemplars(head)?;
        exemplars.sort_by(|one, two| one.value.total_cmp(&two.value));
        let mut exemplars = exemplars.into_iter().peekable();
        let (mut below, mut counts) = (0_u64, histogram.counts.iter());
        let finite = histogram.bounds.iter().copied().filter(|bound| *bound != f64::INFINITY);
        for bound in finite.chain([f64::INFINITY]) {
            below = below.saturating_add(counts.next().copied().unwrap_or(0));
            let value = number(if bound == f64::INFINITY { histogram.count } else { below });
            self.float(point, Part::Bucket(bound), times, value)?;
            while let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.value <= bound || bound == f64::INFINITY) {
                self.batch.exemplar(exemplar);
            }
        }
        if let Some(sum) = histogram.sum.or(stale.then(stale_nan)) {
            self.float(point, Part::Sum, times, if stale { stale_nan() } else { sum })?;
        }
        self.float(point, Part::Count, times, number(histogram.count))
    }

    fn exponentials(&mut self, data: &Data<'a>, current: Current) -> Result<(), DecodeError> {
        let mut head = Head::default();
        self.each_point(data, |this, message| {
            let read = points::exponential(message.clone(), &mut head, &mut this.budget)?;
            let Some(point) = this.point(current, &head, &message, points::ATTRIBUTES[2])? else { return Ok(()) };
            let mut times = Times::of(&head, true);
            // What is wrong with one point must not go into the total.
            let checked = read.and_then(|histogram| histogram.native().map(|native| (histogram, native)));
            let native = match checked {
                _ if head.is_stale() => Ok(tsq_core::Histogram::stale()),
                Err(fault) => Err(fault),
                Ok((histogram, _)) if data.is_delta() => {
                    let delta = Total::Exponential(Box::new(histogram));
                    let Some((delta_times, total)) = this.accumulate(point, &head, delta)? else { return Ok(()) };
                    times = delta_times;
                    total.native()
                }
                Ok((_, native)) => Ok(native),
            };
            if this.native(point, &mut head, native, times)? {
                this.accept(times);
            }
            Ok(())
        })
    }

    /// Returns whether the histogram is fit to be stored, and was put into the batch.
    fn native(
        &mut self,
        point: PointAt,
        head: &mut Head<'a>,
        histogram: Result<tsq_core::Histogram, String>,
        times: Times,
    ) -> Result<bool, DecodeError> {
        let histogram = match histogram {
            Ok(histogram) => histogram,
            Err(fault) => {
                let series = self.labels.show(point.series);
                let time_ms = head.time_ms();
                let message = || format!("histogram of series {series} at time {time_ms}: {fault}");
                self.report.reject(RejectReason::InvalidHistogram, 1, message);
                return Ok(false);
            }
        };
        let (buckets, spans) = (histogram.positive.len() + histogram.negative.len(), histogram.positive_spans.len());
        let bytes = size_of::<tsq_core::Histogram>() + 8 * (buckets + spans + histogram.custom_values.len());
        self.budget.charge(bytes, 0)?;
        self.series(Kind::Histogram, point, Part::Whole)?;
        self.batch.histogram(times.time_ms, histogram);
        self.batch.start(times.start_ms);
        self.exemplars(head)?;
        Ok(true)
    }

    fn summaries(&mut self, data: &Data<'a>, current: Current) -> Result<(), DecodeError> {
        let (mut head, mut summary) = (Head::default(), Summary::default());
        self.each_point(data, |this, message| {
            points::summary(message.clone(), &mut head, &mut summary, &mut this.budget)?;
            let Some(point) = this.point(current, &head, &message, points::ATTRIBUTES[3])? else { return Ok(()) };
            let stale = head.is_stale();
            let number = |value: f64| if stale { stale_nan() } else { value };
            let times = Times::of(&head, true);
            for &(quantile, value) in &summary.quantiles {
                this.float(point, Part::Quantile(quantile), times, number(value))?;
            }
            this.float(point, Part::Sum, times, number(summary.sum))?;
            this.float(point, Part::Count, times, number(summary.count as f64))?;
            this.accept(times);
            Ok(())
        })
    }

    fn each_point(
        &mut self,
        data: &Data<'a>,
        mut each: impl FnMut(&mut Self, Reader<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        const POINTS: u32 = bytes_key(1);
        let mut fields = data.message.clone();
        while let Some(field) = fields.key()? {
            match field {
                POINTS => each(self, fields.message()?)?,
                other => fields.skip(other, 0)?,
            }
        }
        Ok(())
    }

    /// The series of a point; `None` when the point has no time and is refused.
    fn point(
        &mut self,
        current: Current,
        head: &Head<'a>,
        message: &Reader<'a>,
        field: u32,
    ) -> Result<Option<PointAt>, DecodeError> {
        let at = head.attributes;
        let attributes = if at.scattered {
            self.collect_attributes(message.clone(), field)?
        } else {
            // The body is shorter than 4 GiB.
            AttributesAt { start: at.start as u32, len: (at.end - at.start) as u32, collected: false }
        };
        let hash = self.batch.hash(self.labels.attribute_bytes(attributes));
        // Attributes of different kinds of points have different fields, and are different bytes.
        let key = current.key.wrapping_add(hash.wrapping_mul(FACTORS[1]));
        let series = SeriesAt { metric: current.metric, attributes, field: field as u8, part: Part::Whole };
        let point = PointAt { key, series };
        if head.time_ns == 0 {
            self.refuse(point, head, "it has no time");
            return Ok(None);
        }
        Ok(Some(point))
    }

    fn collect_attributes(&mut self, mut message: Reader<'a>, field: u32) -> Result<AttributesAt, DecodeError> {
        let start = self.labels.collected.len();
        loop {
            let field_start = message.pos();
            let Some(key) = message.key()? else { break };
            message.skip(key, 0)?;
            if key == bytes_key(field) {
                self.labels.collected.extend_from_slice(message.since(field_start));
            }
        }
        let len = self.labels.collected.len() - start;
        self.budget.charge(len, message.pos())?;
        Ok(AttributesAt { start: start as u32, len: len as u32, collected: true })
    }

    #[cold]
    fn refuse(&mut self, point: PointAt, head: &Head<'_>, fault: &str) {
        let (labels, time_ms) = (&self.labels, head.time_ms());
        self.report.reject(RejectReason::InvalidPoint, 1, || {
            format!("data point of series {} at time {time_ms}: {fault}", labels.show(point.series))
        });
    }

    /// The cumulative point that a delta point makes; `None` when it is refused.
    fn accumulate(
        &mut self,
        point: PointAt,
        head: &Head<'_>,
        delta: Total,
    ) -> Result<Option<(Times, Total)>, DecodeError> {
        match self.sum_up(point, head, delta) {
            Ok(sum) => {
                // The total, and the one before it that may be taken back to.
                self.budget.charge(2 * (size_of::<Total>() + sum.1.memory()) + 64, 0)?;
                Ok(Some(sum))
            }
            Err(fault) => {
                self.refuse(point, head, &fault);
                Ok(None)
            }
        }
    }

    /// Streams of delta points are told apart by labels, whatever the order of their attributes is.
    fn sum_up(&mut self, point: PointAt, head: &Head<'_>, delta: Total) -> Result<(Times, Total), String> {
        self.builder.clear();
        self.labels.push(point.series, &mut self.builder)?;
        self.scratch.clear();
        self.builder.canonical(&mut self.scratch).map_err(|error| error.to_string())?;
        let key = self.batch.hash(&self.scratch);
        let streams = self.streams.get_or_insert_with(|| self.deltas.lock());
        let newest = (head.start_ns, head.time_ns);
        let sum = streams.add(key, newest, delta, &mut self.changes)?;
        let start_ms = if sum.start_ms < sum.time_ms { sum.start_ms } else { 0 };
        Ok((Times { time_ms: sum.time_ms, start_ms }, sum.total.clone()))
    }

    /// Puts a sample of a series of its own into the batch.
    #[inline]
    fn float(&mut self, point: PointAt, part: Part, times: Times, value: f64) -> Result<(), DecodeError> {
        self.series(Kind::Float, point, part)?;
        self.batch.float(times.time_ms, value);
        self.batch.start(times.start_ms);
        Ok(())
    }

    #[inline]
    fn series(&mut self, kind: Kind, point: PointAt, part: Part) -> Result<(), DecodeError> {
        self.budget.charge(SERIES_BYTES + 24, 0)?;
        let key = match part {
            Part::Whole => point.key,
            part => point.key.wrapping_add(self.batch.hash(&part.to_bytes()).wrapping_mul(FACTORS[2])),
        };
        self.batch.series_keyed(kind, key, &SeriesAt { part, ..point.series }.to_bytes());
        self.report.series_of_point();
        Ok(())
    }

    /// Adds the exemplars of a point to the last series.
    fn exemplars(&mut self, head: &mut Head<'a>) -> Result<(), DecodeError> {
        for exemplar in self.read_exemplars(head)? {
            self.batch.exemplar(exemplar);
        }
        Ok(())
    }

    fn read_exemplars(&mut self, head: &mut Head<'a>) -> Result<Vec<Exemplar>, DecodeError> {
        let mut exemplars = Vec::new();
        for message in head.exemplars.drain(..) {
            let offset = message.pos();
            match exemplar::decode(message, self.options.translation, &mut self.builder) {
                Ok(exemplar) => {
                    self.budget.charge(exemplar.labels.as_bytes().len(), offset)?;
                    exemplars.push(exemplar);
                }
                Err(_) => self.report.dropped_exemplars += 1,
            }
        }
        Ok(exemplars)
    }

    /// Counts a point whose series are in the batch.
    #[inline]
    fn accept(&mut self, times: Times) {
        self.report.points += 1;
        let time_ms = times.time_ms;
        self.times =
            Some(self.times.map_or((time_ms, time_ms), |(oldest, newest)| (oldest.min(time_ms), newest.max(time_ms))));
    }

    /// The attributes of a resource as a series: at the newest time of its points, and before that as often as needed.
    fn target_info(&mut self, resource: &Resource) -> Result<(), DecodeError> {
        let (Some(labels), Some((oldest, newest))) = (&resource.target_info, self.times) else { return Ok(()) };
        let interval = self.options.target_info_interval_ms.max((newest - oldest) / INFO_SAMPLES_MAX).max(1);
        self.budget.charge(SERIES_BYTES + labels.as_bytes().len() + 24 * INFO_SAMPLES_MAX as usize, 0)?;
        let key = self.batch.hash(labels.as_bytes()) ^ KEY_TAG;
        canonical_bytes(labels.as_bytes(), &mut self.scratch);
        self.batch.series_keyed(Kind::Float, key, &self.scratch);
        self.report.series_of_resource();
        let mut time_ms = oldest;
        while time_ms < newest {
            self.batch.float(time_ms, 1.0);
            time_ms += interval;
        }
        self.batch.float(newest, 1.0);
        Ok(())
    }
}

/// Times of a sample, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    time_ms: i64,
    /// 0 when it is unknown.
    start_ms: i64,
}

impl Times {
    fn of(head: &Head<'_>, counts: bool) -> Self {
        Self { time_ms: head.time_ms(), start_ms: if counts { head.start_ms() } else { 0 } }
    }
}

/// The last message field of this number.
fn find_message<'a>(mut message: Reader<'a>, field: u32) -> Result<Option<Reader<'a>>, DecodeError> {
    let mut found = None;
    while let Some(key) = message.key()? {
        if key == bytes_key(field) {
            found = Some(message.message()?);
        } else {
            message.skip(key, 1 << field)?;
        }
    }
    Ok(found)
}
