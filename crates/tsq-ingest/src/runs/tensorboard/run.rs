//! The events of a file as statements about a run.

use std::collections::HashSet;
use std::io::Read;

use super::file::{BucketedHistogram, Content, Event, EventReader, Tensor, TensorValues};
use crate::error::ImportError;
use crate::runs::Damages;
use crate::runs::event::{At, Queue, RunEvent, RunHeader, RunReader, custom_histogram, histogram_of_edges, millis};
use crate::runs::json::Value;

/// Reads one event file of a run.
///
/// | in the file | becomes |
/// |---|---|
/// | scalars, tensors of one number | points |
/// | histograms of both versions | native histograms; what they have beside the buckets (`min`, `max`, `sum_squares`) as another value under the same tag |
/// | texts, other tensors | other values |
/// | images, sounds, graphs | nothing; they are counted |
#[derive(Debug)]
pub struct TensorboardReader<R> {
    events: EventReader<R>,
    queue: Queue,
    header: Option<RunHeader>,
    /// Tags whose tensors are histograms: only the first one says so.
    histograms: HashSet<String>,
    media: u64,
}

impl<R: Read> TensorboardReader<R> {
    /// Reads from the beginning of a file that belongs to this run.
    pub fn new(input: R, run: RunHeader) -> Self {
        Self {
            events: EventReader::new(input),
            queue: Queue::default(),
            header: Some(run),
            histograms: HashSet::new(),
            media: 0,
        }
    }

    /// Images, sounds and the like that were left out.
    pub fn media(&self) -> u64 {
        self.media
    }

    fn event(&mut self, event: Event) {
        let at = At { time_ms: millis(event.wall_time_s), step: event.step };
        if let Some(mut header) = self.header.take() {
            header.start_time_ms = Some(at.time_ms);
            self.queue.push(RunEvent::Run(Box::new(header)));
        }
        for value in event.values {
            let (key, plugin) = (value.tag, value.plugin);
            if plugin.as_deref() == Some("histograms") {
                self.histograms.insert(key.clone());
            }
            match value.content {
                Content::Scalar(value) => self.queue.push(RunEvent::Point { key, at, value: f64::from(value) }),
                Content::Tensor(tensor) => self.tensor(key, at, tensor),
                Content::Histogram(histogram) => self.histogram(key, at, &histogram),
                Content::Image | Content::Audio => self.media += 1,
                // Only the description of a tag.
                Content::Other if plugin.is_some() => {}
                Content::Other => self.media += 1,
            }
        }
    }

    fn tensor(&mut self, key: String, at: At, tensor: Tensor) {
        match &tensor.values {
            TensorValues::Floats(values) if values.len() == 1 && tensor.shape.iter().all(|&size| size == 1) => {
                return self.queue.push(RunEvent::Point { key, at, value: values[0] });
            }
            TensorValues::Integers(values) if values.len() == 1 && tensor.shape.iter().all(|&size| size == 1) => {
                return self.queue.value(key, at, Value::Integer(values[0]));
            }
            TensorValues::Texts(values) if values.len() == 1 => {
                return self.queue.value(key, at, Value::Text(values[0].clone()));
            }
            TensorValues::Floats(values) if tensor.shape.last() == Some(&3) && self.histograms.contains(&key) => {
                if let Some(histogram) = histogram_of_rows(values) {
                    let histogram = Box::new(histogram);
                    return self.queue.push(RunEvent::Histogram { key, at, histogram });
                }
            }
            _ => {}
        }
        self.queue.push(RunEvent::Other { key, at, value: tensor_value(tensor) });
    }

    fn histogram(&mut self, key: String, at: At, histogram: &BucketedHistogram) {
        let extra = |last_limit: Option<f64>, whole: bool| {
            let BucketedHistogram { min, max, num, sum, sum_squares, bucket_limit, bucket } = histogram;
            let floats = |values: &[f64]| Value::Array(values.iter().copied().map(Value::Float).collect());
            let mut fields = vec![("min", Value::Float(*min)), ("max", Value::Float(*max))];
            fields.push(("sum_squares", Value::Float(*sum_squares)));
            fields.extend(last_limit.map(|limit| ("last_limit", Value::Float(limit))));
            if whole {
                fields.extend([("num", Value::Float(*num)), ("sum", Value::Float(*sum))]);
                fields.extend([("bucket_limit", floats(bucket_limit)), ("bucket", floats(bucket))]);
            }
            Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let bounds = &histogram.bucket_limit;
        let fits = bounds.len() == histogram.bucket.len()
            && bounds.is_sorted_by(|left, right| left < right)
            && bounds.iter().all(|bound| !bound.is_nan())
            && bounds.first().is_some_and(|&first| first > f64::MIN)
            && histogram.bucket.iter().all(|count| *count >= 0.0)
            && histogram.bucket.iter().sum::<f64>() == histogram.num;
        if !fits {
            let value = extra(None, true);
            return self.queue.push(RunEvent::Other { key, at, value });
        }
        // The last limit of TensorBoard's own writers is the greatest float, and stands for infinity.
        let last = bounds.last().copied().filter(|&last| last >= f64::MAX);
        let finite = &bounds[..bounds.len() - usize::from(last.is_some())];
        let sample = custom_histogram(finite.to_vec(), histogram.bucket.clone(), histogram.sum);
        let value = extra(last, false);
        self.queue.push(RunEvent::Histogram { key: key.clone(), at, histogram: Box::new(sample) });
        self.queue.push(RunEvent::Other { key, at, value });
    }
}

/// A histogram of the second version: rows of left edge, right edge and count. `None`: the rows do not join.
fn histogram_of_rows(values: &[f64]) -> Option<tsq_core::Histogram> {
    let (rows, rest) = values.as_chunks::<3>();
    let joined = rows.windows(2).all(|pair| pair[0][1] == pair[1][0]);
    if rows.is_empty() || !rest.is_empty() || !joined {
        return None;
    }
    let edges: Vec<f64> = std::iter::once(rows[0][0]).chain(rows.iter().map(|row| row[1])).collect();
    let counts: Vec<f64> = rows.iter().map(|row| row[2]).collect();
    histogram_of_edges(&edges, &counts, None)
}

fn tensor_value(tensor: Tensor) -> Value {
    let values = match tensor.values {
        TensorValues::Floats(values) => values.into_iter().map(Value::Float).collect(),
        TensorValues::Integers(values) => values.into_iter().map(Value::Integer).collect(),
        TensorValues::Texts(values) => values.into_iter().map(Value::Text).collect(),
    };
    let shape = tensor.shape.into_iter().map(Value::Integer).collect();
    let fields = [
        ("dtype", Value::Text(dtype_name(tensor.dtype).to_owned())),
        ("shape", Value::Array(shape)),
        ("values", Value::Array(values)),
    ];
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Name of a type of tensor elements, by its number in `types.proto`.
pub fn dtype_name(dtype: u32) -> &'static str {
    match dtype {
        1 => "float",
        2 => "double",
        3 => "int32",
        4 => "uint8",
        5 => "int16",
        6 => "int8",
        7 => "string",
        9 => "int64",
        10 => "bool",
        14 => "bfloat16",
        17 => "uint16",
        19 => "half",
        22 => "uint32",
        23 => "uint64",
        _ => "other",
    }
}

impl<R: Read> RunReader for TensorboardReader<R> {
    fn next_event(&mut self) -> Result<Option<RunEvent>, ImportError> {
        loop {
            if let Some(event) = self.queue.next() {
                return Ok(Some(event));
            }
            match self.events.next_event()? {
                Some(event) => self.event(event),
                None => return Ok(None),
            }
        }
    }

    fn offset(&self) -> u64 {
        self.events.offset()
    }

    fn damages(&self) -> &Damages {
        self.events.damages()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::frame;
    use super::*;
    use crate::protobuf::Writer;

    fn event(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut out = Writer::default();
        out.double(1, 2.0006);
        out.varint(2, 5);
        out.message(5, |out| out.message(1, fill));
        frame(&out.0)
    }

    fn tensor(out: &mut Writer, dtype: u64, shape: &[u64], fill: impl FnOnce(&mut Writer)) {
        out.message(8, |out| {
            out.varint(1, dtype);
            out.message(2, |out| shape.iter().for_each(|&size| out.message(2, |out| out.varint(1, size))));
            fill(out);
        });
    }

    #[test]
    fn a_file_becomes_statements() {
        let file = [
            event(|out| {
                out.bytes(1, b"loss");
                tensor(out, 2, &[], |out| out.raw_double(6, 0.25));
            }),
            event(|out| {
                out.bytes(1, b"count");
                tensor(out, 9, &[], |out| out.bytes(4, &(1_i64 << 60).to_le_bytes()));
            }),
            event(|out| {
                out.bytes(1, b"w");
                out.message(9, |out| out.message(1, |out| out.bytes(1, b"histograms")));
                tensor(out, 2, &[2, 3], |out| {
                    out.bytes(4, &[0.0, 1.0, 3.0, 1.0, 2.0, 1.0_f64].map(f64::to_le_bytes).concat());
                });
            }),
            event(|out| {
                out.bytes(1, b"old");
                out.message(5, |out| {
                    [-1.0, 9.0, 4.0, 11.0, 83.0].iter().zip(1..).for_each(|(value, field)| out.double(field, *value));
                    out.bytes(6, &[0.0, 1.0, f64::MAX].map(f64::to_le_bytes).concat());
                    out.bytes(7, &[1.0, 2.0, 1.0_f64].map(f64::to_le_bytes).concat());
                });
            }),
            event(|out| {
                out.bytes(1, b"picture");
                out.bytes(4, b"");
            }),
        ];
        let run = RunHeader { run_id: "r".into(), ..RunHeader::default() };
        let mut reader = TensorboardReader::new(std::io::Cursor::new(file.concat()), run);
        let events: Vec<_> = std::iter::from_fn(|| reader.next_event().unwrap()).collect();
        let at = At { time_ms: 2001, step: 5 };
        assert!(matches!(&events[0], RunEvent::Run(run) if run.start_time_ms == Some(2001)));
        assert_eq!(events[1], RunEvent::Point { key: "loss".into(), at, value: 0.25 });
        assert_eq!(events[2], RunEvent::Other { key: "count".into(), at, value: Value::Integer(1 << 60) });
        let RunEvent::Histogram { histogram, .. } = &events[3] else { panic!("{events:?}") };
        assert_eq!(
            (&histogram.custom_values[..], &histogram.positive[..]),
            (&[0.0, 1.0, 2.0][..], &[0.0, 3.0, 1.0][..])
        );
        let RunEvent::Histogram { histogram, .. } = &events[4] else { panic!("{events:?}") };
        assert_eq!((&histogram.custom_values[..], &histogram.positive[..]), (&[0.0, 1.0][..], &[1.0, 2.0, 1.0][..]));
        assert_eq!((histogram.count, histogram.sum), (4.0, 11.0));
        let RunEvent::Other { value, .. } = &events[5] else { panic!("{events:?}") };
        assert_eq!(value.get("sum_squares"), Some(&Value::Float(83.0)));
        assert_eq!(value.get("last_limit"), Some(&Value::Float(f64::MAX)));
        assert_eq!((events.len(), reader.media(), reader.damages().count()), (6, 1, 0));
    }
}
