//! Series read by several threads at once; what becomes of them is handed on in their order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tsq_core::{Labels, Series};

use super::context::{Query, Result};
use super::matching::TYPE_LABEL;
use super::memory::Charge;
use super::row::Row;
use super::samples::{Points, Reader};
use crate::kernels::Frame;

/// Most series that a thread takes at once.
const PART: usize = 32;

/// Parts of a batch for each thread, so that none waits long for another.
const PARTS_A_THREAD: usize = 4;

/// Series of the first batch, of which nothing is known.
const FIRST: usize = 64;

/// Most series of a batch.
const MOST: usize = 2048;

/// Least series of a batch.
const LEAST: usize = 8;

/// Time that a batch should take a thread.
const BATCH_TIME: Duration = Duration::from_millis(2);

/// Bytes of rows and series in a batch, and the share of a query's memory that they may take.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_SHARE: usize = 16;

/// Bytes of a row beside its values, roughly.
const ROW_OVERHEAD: usize = 256;

/// What a thread keeps from one series to the next.
pub(crate) struct Worker<'q> {
    pub reader: Reader,
    pub points: Points,
    pub scratch: Scratch,
    charge: Charge<'q>,
}

/// What making rows needs again and again.
#[derive(Default)]
pub(crate) struct Scratch {
    pub frames: Vec<Frame>,
    /// The metric name and type of the last series.
    metric: Option<(String, String)>,
}

impl Scratch {
    /// Whether the last series had another metric name or type.
    pub(crate) fn is_new_metric(&mut self, labels: &Labels) -> bool {
        let kind = labels.get(TYPE_LABEL).unwrap_or("");
        let name = labels.metric_name();
        if self.metric.as_ref().is_some_and(|known| known.0 == name && known.1 == kind) {
            return false;
        }
        self.metric = Some((name.to_owned(), kind.to_owned()));
        true
    }
}

impl<'q> Worker<'q> {
    fn new(query: &'q Query<'q>) -> Result<Self> {
        Ok(Self {
            reader: Reader::default(),
            points: Points::default(),
            scratch: Scratch::default(),
            charge: query.memory.charge(0)?,
        })
    }

    /// Counts the buffers for samples, which never shrink, and what else a series needs at once.
    pub(crate) fn account(&mut self, more: usize) -> Result<()> {
        // The reader has a buffer of its own, as large as what it fills.
        self.charge.raise((2 * self.points.bytes()).saturating_add(more))
    }
}

/// Makes a row of a series, or nothing.
pub(crate) type ReadRow<'r> = &'r (dyn Fn(&mut Worker<'_>, &Series) -> Result<Option<Row>> + Sync);

/// The threads of a selection and how many series they are given at once.
pub(crate) struct Workers<'q> {
    query: &'q Query<'q>,
    workers: Vec<Worker<'q>>,
    /// Time that one series takes a thread.
    cost: Duration,
    /// Bytes of a row of floats.
    row_bytes: usize,
    /// Bytes of one series and its row, as the last batch had them.
    bytes: usize,
}

/// A batch that was read.
pub(crate) struct Done<T> {
    /// What became of the series, in their order.
    pub rows: Vec<Row>,
    /// Threads that read them.
    pub threads: usize,
    /// What was fetched meanwhile.
    pub fetched: T,
}

impl<'q> Workers<'q> {
    /// Rows have `steps` steps.
    pub(crate) fn new(query: &'q Query<'q>, steps: usize) -> Self {
        let row_bytes = steps.saturating_mul(size_of::<f64>()).saturating_add(ROW_OVERHEAD);
        Self { query, workers: Vec::new(), cost: Duration::ZERO, row_bytes, bytes: row_bytes }
    }

    /// How many series the next batch should have.
    pub(crate) fn batch(&self) -> usize {
        let by_bytes = BATCH_BYTES.min(self.query.memory.limit() / BATCH_SHARE) / self.bytes;
        let by_time = match self.cost.as_nanos() {
            0 => FIRST,
            cost => (BATCH_TIME.as_nanos() / cost) as usize * self.query.threads.max(1),
        };
        by_time.min(by_bytes).clamp(LEAST, MOST)
    }

    /// Reads a batch. Meanwhile `fetch` is called once, by this thread.
    pub(crate) fn read<T>(
        &mut self,
        series: &[Series],
        read: ReadRow<'_>,
        fetch: impl FnOnce() -> T,
    ) -> Result<Done<T>> {
        let work = self.cost * series.len() as u32;
        let threads =
            if work < self.query.parallel_from { 1 } else { self.query.threads.clamp(1, series.len().max(1)) };
        while self.workers.len() < threads {
            self.workers.push(Worker::new(self.query)?);
        }
        let begin = std::time::Instant::now();
        let (rows, elapsed, fetched) = if threads == 1 {
            let rows = read_part(&mut self.workers[0], series, read);
            (rows, begin.elapsed(), fetch())
        } else {
            let parts = Parts::new(series, threads, read);
            let (busy, fetched) = std::thread::scope(|scope| {
                let (here, others) = self.workers[..threads].split_first_mut().expect("there are several");
                let others: Vec<_> = others.iter_mut().map(|worker| scope.spawn(|| parts.work(worker))).collect();
                let fetched = fetch();
                let mut busy = parts.work(here);
                for other in others {
                    busy += other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                }
                (busy, fetched)
            });
            (parts.finish(), busy, fetched)
        };
        self.cost = elapsed / series.len().max(1) as u32;
        let held: usize = series.iter().map(Series::memory).sum();
        let row = rows.iter().flatten().map(Row::bytes).max().unwrap_or(0);
        self.bytes = row.max(self.row_bytes) + held / series.len().max(1);
        Ok(Done { rows: rows?, threads, fetched })
    }
}

fn read_part(worker: &mut Worker<'_>, series: &[Series], read: ReadRow<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(series.len());
    for series in series {
        rows.extend(read(worker, series)?);
    }
    Ok(rows)
}

/// A batch in parts that threads take one after another.
struct Parts<'r> {
    series: &'r [Series],
    size: usize,
    read: ReadRow<'r>,
    next: AtomicUsize,
    done: Vec<Mutex<Option<Result<Vec<Row>>>>>,
}

impl<'r> Parts<'r> {
    fn new(series: &'r [Series], threads: usize, read: ReadRow<'r>) -> Self {
        let size = series.len().div_ceil(threads * PARTS_A_THREAD).clamp(1, PART);
        let done = (0..series.len().div_ceil(size)).map(|_| Mutex::default()).collect();
        Self { series, size, read, next: AtomicUsize::new(0), done }
    }

    /// Reads parts until none is left; how long it took.
    fn work(&self, worker: &mut Worker<'_>) -> Duration {
        let begin = std::time::Instant::now();
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(done) = self.done.get(part) else { return begin.elapsed() };
            let end = self.series.len().min((part + 1) * self.size);
            let rows = read_part(worker, &self.series[part * self.size..end], self.read);
            *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
        }
    }

    /// All rows in the order of their series, or the first error.
    fn finish(self) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(self.series.len());
        for part in self.done {
            let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
            rows.append(&mut part.expect("threads stop when all parts are taken")?);
        }
        Ok(rows)
    }
}
