//! The order of a write: resolve series, then under the locks of their shards validate, take in invisibly, encode and
//! log; then release, commit with others, and acknowledge.

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use crate::batch::{Appended, Batch, Entry, LabelSource, RejectReason, Rejection};
use crate::disk::Space;
use crate::error::{Error, ErrorKind, Result};
use crate::head::{GenShard, Generation, HeadSample, Pushed, SampleValue, SeriesRef};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::options::Options;
use crate::retention::Horizons;
use crate::sample::{Kind, push_start};
use crate::store::{Counters, State, Store};
use crate::wal::{self, BatchRecord, Definition, RecordType, Wal};

/// Metrics whose metadata a generation keeps; further ones are left out.
const METADATA_MAX: usize = 100_000;

/// What one write needs; kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    series: Vec<Option<SeriesRef>>,
    record: BatchRecord,
    payload: Vec<u8>,
    payload_scratch: wal::Scratch,
    builder: LabelsBuilder,
    canonical: Vec<u8>,
}

/// Bounds of sample times for this batch.
struct TimeBounds {
    horizons: Option<std::sync::Arc<Horizons>>,
    /// Samples at this time or later are in the retention of every series.
    kept_ms: i64,
    max_ms: i64,
}

impl Store {
    pub(crate) fn append(&self, batch: &Batch, source: &dyn LabelSource) -> Result<Appended> {
        let wal = self.wal()?;
        if batch.is_empty() {
            return Ok(Appended::default());
        }
        self.check_size(batch)?;
        self.resume_log(wal)?;
        self.check_space(wal)?;
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let result = self.append_to_head(wal, batch, source, &mut scratch);
        self.keep_scratch(scratch);
        let (lsn, appended) = result?;
        wal.commit(lsn).map_err(Error::from).inspect_err(|error| self.log_failed(wal, error))?;
        Counters::add(&self.counters.batches, 1);
        Counters::add(&self.counters.samples, appended.floats + appended.histograms);
        self.after_append(wal)?;
        Ok(appended)
    }

    fn keep_scratch(&self, mut scratch: Scratch) {
        /// A scratch that one giant batch has blown up is not kept.
        const KEPT_BYTES: usize = 16 << 20;
        let mut pool = self.scratch.lock();
        if pool.len() < 16 && scratch.payload.capacity() < KEPT_BYTES {
            scratch.record.clear();
            pool.push(scratch);
        }
    }

    fn check_size(&self, batch: &Batch) -> Result<()> {
        let histograms: usize = batch.histograms.iter().map(crate::histogram::Histogram::memory).sum();
        let numbers = batch.times.len() + batch.steps.len() + batch.values.len() + batch.starts.len();
        let bytes = batch.label_bytes.len() + numbers * 8 + histograms;
        let limit = self.options.limits.batch_bytes;
        if bytes > limit {
            let message = format!("the batch holds {bytes} bytes, {limit} are allowed (limits.batch_bytes)");
            return Err(Error::limit(message));
        }
        Ok(())
    }

    /// Refuses writes below the low-water mark, so that a flush can always finish.
    fn check_space(&self, wal: &Wal) -> Result<()> {
        let space = self.free_space()?;
        let low = low_water_mark(&self.options, space, wal.total_bytes());
        if space.free < low {
            Counters::add(&self.counters.storage_full, 1);
            let message = format!("{} bytes are free, writes need {low} (low-water mark); try again later", space.free);
            return Err(Error::new(ErrorKind::StorageFull, message).in_file(&self.dir));
        }
        Ok(())
    }

    /// After a failed write of the log: forgets what it did not take, and lets it go on.
    fn resume_log(&self, wal: &Wal) -> Result<()> {
        if !wal.has_failed() {
            return Ok(());
        }
        let state = self.state.write();
        if !wal.has_failed() {
            return Ok(());
        }
        for generation in &state.generations {
            generation.roll_back(wal.committed_lsn())?;
        }
        wal.resume();
        Ok(())
    }

    /// Checks what the engine asks of a series' labels.
    pub(crate) fn check_series(&self, labels: &Labels) -> Result<()> {
        self.check_labels(labels).map_err(|(_, message)| Error::invalid(message))
    }

    /// As [`Store::check_series`] for imported series, which may lack a metric name.
    pub(crate) fn check_import(&self, labels: &Labels) -> Result<()> {
        self.check_label_sizes(labels).map_err(|(_, message)| Error::invalid(message))
    }

    pub(crate) fn log_failed(&self, wal: &Wal, error: &Error) {
        match error.kind() {
            ErrorKind::StorageFull => {
                Counters::add(&self.counters.storage_full, 1);
                // The samples are forgotten now if that can be, else before the next write.
                let _ = self.resume_log(wal);
            }
            _ => self.become_read_only(format!("the log could not be made durable: {error}")),
        }
    }

    fn append_to_head(
        &self,
        wal: &Wal,
        batch: &Batch,
        source: &dyn LabelSource,
        scratch: &mut Scratch,
    ) -> Result<(u64, Appended)> {
        let state = self.state.read();
        let mut appended = Appended::default();
        self.resolve(&state, batch, source, scratch, &mut appended);
        let generation = state.active();
        let mut shards = lock_shards(generation, &scratch.series);
        scratch.record.clear();
        self.take_in(generation, batch, scratch, &mut shards, &mut appended);
        self.take_notes(&state, batch, scratch, &mut appended);
        self.count_rejections(&appended);
        if scratch.record.is_empty() {
            // Repetitions are acknowledged once what they repeat is durable.
            return Ok((wal.lock().last_lsn(), appended));
        }
        scratch.payload.clear();
        wal::encode_batch(&scratch.record, &mut scratch.payload_scratch, &mut scratch.payload);
        let mut log = wal.lock();
        let lsn = match log.append(RecordType::Batch, &scratch.payload) {
            Ok(lsn) => lsn,
            Err(error) => {
                drop(log);
                abandon(generation, &mut shards)?;
                return Err(error);
            }
        };
        self.keep_notes(generation, scratch, lsn);
        drop(log);
        let oldest = self.oldest_lsn(wal);
        let committed = wal.committed_lsn();
        for shard in shards.iter_mut().flatten() {
            shard.assign(lsn, oldest);
            shard.bound_undo(committed);
        }
        Ok((lsn, appended))
    }

    /// Finds or creates the series of each entry.
    fn resolve(
        &self,
        state: &RwLockReadGuard<'_, State>,
        batch: &Batch,
        source: &dyn LabelSource,
        scratch: &mut Scratch,
        appended: &mut Appended,
    ) {
        let index = &state.active().index;
        scratch.series.clear();
        for (number, entry) in batch.entries.iter().enumerate() {
            let series = index.lookup(entry.key, entry.kind).or_else(|| {
                match self.create(state, batch, entry, source, scratch) {
                    Ok(series) => Some(series),
                    Err((reason, message)) => {
                        reject(appended, reason, message, entry.samples as u64);
                        appended.rejected_series.push(number);
                        None
                    }
                }
            });
            scratch.series.push(series);
        }
    }

    fn create(
        &self,
        state: &State,
        batch: &Batch,
        entry: &Entry,
        source: &dyn LabelSource,
        scratch: &mut Scratch,
    ) -> Result<SeriesRef, (RejectReason, String)> {
        let invalid = |error: Error| (RejectReason::InvalidLabels, error.to_string());
        let builder = &mut scratch.builder;
        builder.clear();
        source.labels(&batch.label_bytes[entry.labels.clone()], builder).map_err(invalid)?;
        scratch.canonical.clear();
        builder.canonical(&mut scratch.canonical).map_err(invalid)?;
        let labels = Labels::from_canonical(&scratch.canonical).map_err(invalid)?;
        self.check_labels(&labels)?;
        let index = &state.active().index;
        let series = index
            .find_or_create(&labels, entry.kind, self.options.limits.head_series)
            .map_err(|error| (RejectReason::SeriesLimit, format!("series {labels} refused: {error}")))?;
        index.remember(entry.key, entry.kind, series);
        Ok(series)
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), (RejectReason, String)> {
        if labels.get(METRIC_NAME).is_none() {
            return Err((RejectReason::InvalidLabels, format!("series {labels} has no metric name (__name__)")));
        }
        self.check_label_sizes(labels)
    }

    fn check_label_sizes(&self, labels: &Labels) -> Result<(), (RejectReason, String)> {
        let limits = &self.options.limits;
        let count = labels.len();
        if count > limits.labels_per_series {
            let allowed = limits.labels_per_series;
            let message =
                format!("series {labels} has {count} labels, {allowed} are allowed (limits.labels_per_series)");
            return Err((RejectReason::LabelLimit, shorten(message)));
        }
        for (name, value) in labels.iter() {
            for (what, len, allowed, limit) in [
                ("name", name.len(), limits.label_name_bytes, "limits.label_name_bytes"),
                ("value", value.len(), limits.label_value_bytes, "limits.label_value_bytes"),
            ] {
                if len > allowed {
                    let metric = labels.metric_name();
                    let message = format!(
                        "label {name:?} of metric {metric:?} has a {what} of {len} bytes, {allowed} are allowed ({limit})"
                    );
                    return Err((RejectReason::LabelLimit, shorten(message)));
                }
            }
        }
        Ok(())
    }

    fn time_bounds(&self) -> TimeBounds {
        let now = self.clock.now_ms();
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let limits = &self.options.limits;
        let horizons = self.retention.at(now);
        TimeBounds {
            kept_ms: horizons.as_ref().map_or(i64::MIN, |horizons| horizons.newest_ms()),
            horizons,
            max_ms: limits.future.map_or(i64::MAX, |future| now.saturating_add(ms(future))),
        }
    }

    /// Validates the samples and takes the good ones into the head, invisibly, and into the record.
    fn take_in(
        &self,
        generation: &Generation,
        batch: &Batch,
        scratch: &mut Scratch,
        shards: &mut [Option<RwLockWriteGuard<'_, GenShard>>],
        appended: &mut Appended,
    ) {
        let bounds = self.time_bounds();
        let index = &generation.index;
        let (mut time, mut step, mut value, mut histogram) = (0, 0, 0, 0);
        for (number, (entry, series)) in batch.entries.iter().zip(&scratch.series).enumerate() {
            let kind = entry.kind;
            let mut since_ms = None;
            for _ in 0..entry.samples {
                let time_ms = batch.times[time];
                let start_ms = batch.starts.get(time).copied().unwrap_or(0);
                time += 1;
                let sample_step = if kind.has_step() { batch.steps[step] } else { 0 };
                step += usize::from(kind.has_step());
                let sample_value = if kind.is_histogram() {
                    histogram += 1;
                    SampleValue::Histogram(&batch.histograms[histogram - 1])
                } else {
                    value += 1;
                    SampleValue::Float(batch.values[value - 1])
                };
                let Some(series) = *series else { continue };
                let since_ms = match &bounds.horizons {
                    Some(horizons) if time_ms < bounds.kept_ms => {
                        *since_ms.get_or_insert_with(|| horizons.since_ms(&index.labels(series)))
                    }
                    _ => i64::MIN,
                };
                if let Err((reason, message)) = self.check_sample(&bounds, since_ms, (kind, time_ms), sample_value) {
                    let labels = index.labels(series);
                    reject(appended, reason, format!("series {labels}: {message}"), 1);
                    appended.rejected_series.push(number);
                    continue;
                }
                let shard = shards[index.shard_of(series)].as_mut().expect("the shards of all series are locked");
                let slot = index.slot_of(series);
                let define = || generation.next_log_ref();
                let sample = HeadSample { time_ms, step: sample_step, start_ms, value: sample_value };
                let (pushed, log_ref, defined) = shard.push(slot, kind, &sample, define);
                match pushed {
                    Pushed::Conflict => {
                        let labels = index.labels(series);
                        let message =
                            format!("duplicate sample for timestamp {time_ms}: series {labels} has another value");
                        reject(appended, RejectReason::DuplicateTime, message, 1);
                        appended.rejected_series.push(number);
                        continue;
                    }
                    Pushed::Repeated => Counters::add(&self.counters.repeated, 1),
                    Pushed::Stored => {
                        if defined {
                            let labels = index.labels(series);
                            scratch.record.definitions.push(Definition { log_ref, kind, labels });
                        }
                        let group = &mut scratch.record.groups[kind as usize];
                        group.refs.push(log_ref);
                        group.times.push(time_ms);
                        push_start(&mut group.starts, group.times.len(), start_ms);
                        if kind.has_step() {
                            group.steps.push(sample_step);
                        }
                        match sample_value {
                            SampleValue::Float(value) => group.values.push(value),
                            SampleValue::Histogram(histogram) => group.histograms.push(histogram.clone()),
                        }
                    }
                }
                match sample_value {
                    SampleValue::Float(_) => appended.floats += 1,
                    SampleValue::Histogram(_) => appended.histograms += 1,
                }
            }
        }
    }

    fn check_sample(
        &self,
        bounds: &TimeBounds,
        since_ms: i64,
        (kind, time_ms): (Kind, i64),
        sample: SampleValue<'_>,
    ) -> Result<(), (RejectReason, String)> {
        // Clients of training runs choose the times of their points; trackers take all of them.
        if time_ms > bounds.max_ms && !kind.has_step() {
            let message =
                format!("time {time_ms} is too far in the future, {} is the limit (limits.future)", bounds.max_ms);
            return Err((RejectReason::TooFarInFuture, message));
        }
        if time_ms < since_ms {
            let message = format!("time {time_ms} is older than the retention, which begins at {since_ms}");
            return Err((RejectReason::TooOld, message));
        }
        match sample {
            SampleValue::Float(_) => Ok(()),
            SampleValue::Histogram(histogram) => histogram
                .validate(self.options.limits.histogram_buckets)
                .map_err(|message| (RejectReason::InvalidHistogram, message)),
        }
    }

    /// Puts exemplars and new metadata into the record.
    fn take_notes(&self, state: &State, batch: &Batch, scratch: &mut Scratch, appended: &mut Appended) {
        let index = &state.active().index;
        for (entry, exemplar) in &batch.exemplars {
            if let Some(series) = scratch.series[*entry] {
                let labels = index.labels(series);
                scratch.record.exemplars.push((labels, exemplar.clone()));
                appended.exemplars += 1;
            }
        }
        for metadata in &batch.metadata {
            let known = state.generations.iter().rev().find_map(|generation| {
                generation.notes.lock().metadata.get(&metadata.metric).map(|known| known == metadata)
            });
            let known = known.unwrap_or_else(|| state.metadata().by_metric.get(&metadata.metric) == Some(metadata));
            if !known {
                scratch.record.metadata.push(metadata.clone());
            }
        }
    }

    fn keep_notes(&self, generation: &Generation, scratch: &Scratch, lsn: u64) {
        if scratch.record.exemplars.is_empty() && scratch.record.metadata.is_empty() {
            return;
        }
        generation.keep_notes(lsn, &scratch.record, self.options.limits.exemplars, METADATA_MAX);
    }

    fn count_rejections(&self, appended: &Appended) {
        for rejection in &appended.rejections {
            let position = RejectReason::ALL.iter().position(|reason| *reason == rejection.reason);
            let counter = &self.counters.rejected[position.expect("ALL holds every reason")];
            Counters::add(counter, rejection.samples);
        }
        let described: u64 = appended.rejections.iter().map(|rejection| rejection.samples).sum();
        if let Some(last) = appended.rejections.last().filter(|_| appended.rejected > described) {
            let position = RejectReason::ALL.iter().position(|reason| *reason == last.reason);
            let counter = &self.counters.rejected[position.expect("ALL holds every reason")];
            Counters::add(counter, appended.rejected - described);
        }
    }

    /// Asks for a flush when the log has grown enough; waits for one when it has grown too much.
    fn after_append(&self, wal: &Wal) -> Result<()> {
        if wal.total_bytes() >= self.options.log_bytes_max {
            return self.flush();
        }
        if wal.generation_bytes() >= self.options.flush_bytes {
            self.wake();
        }
        Ok(())
    }
}

/// Free bytes below which writes are refused.
pub(crate) fn low_water_mark(options: &Options, space: Space, log_bytes: u64) -> u64 {
    options.low_space_bytes.unwrap_or_else(|| (space.total / 100).max(2 * log_bytes))
}

fn lock_shards<'a>(
    generation: &'a Generation,
    series: &[Option<SeriesRef>],
) -> Vec<Option<RwLockWriteGuard<'a, GenShard>>> {
    let index = &generation.index;
    let mut touched = vec![false; index.shard_count()];
    for series in series.iter().flatten() {
        touched[index.shard_of(*series)] = true;
    }
    let lock = |(number, touched): (usize, &bool)| touched.then(|| generation.shard(number).write());
    touched.iter().enumerate().map(lock).collect()
}

fn abandon(generation: &Generation, shards: &mut [Option<RwLockWriteGuard<'_, GenShard>>]) -> Result<()> {
    let index = &generation.index;
    for (number, shard) in shards.iter_mut().enumerate() {
        if let Some(shard) = shard {
            shard.abandon(|slot| index.kind(index.reference(number, slot)))?;
        }
    }
    Ok(())
}

fn reject(appended: &mut Appended, reason: RejectReason, message: String, samples: u64) {
    appended.rejected += samples;
    let full = appended.rejections.len() >= Appended::MAX_REJECTIONS;
    let same = |rejection: &&mut Rejection| rejection.reason == reason && (full || rejection.message == message);
    // What is not described any more is counted with the last description of the same reason.
    match appended.rejections.iter_mut().rev().find(same) {
        Some(rejection) => rejection.samples += samples,
        None if full => {}
        None => appended.rejections.push(Rejection { reason, message, samples }),
    }
}

/// Cuts a message that quotes an over-long label set.
fn shorten(mut message: String) -> String {
    const MAX: usize = 512;
    if message.len() > MAX {
        let mut end = MAX;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let tail =
            message.rfind(" has ").filter(|&tail| tail > end).map_or(String::new(), |tail| message[tail..].to_owned());
        message.truncate(end);
        message.push_str("...");
        message.push_str(&tail);
    }
    message
}
