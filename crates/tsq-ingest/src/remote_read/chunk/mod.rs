//! Prometheus's chunks of samples: its encodings 1 (floats), 2 (integer histograms) and 3 (float histograms).

mod bits;
mod float;
mod histogram;
mod layout;
#[cfg(test)]
mod tests;

use tsq_core::Samples;

use crate::error::DecodeError;

pub(crate) use histogram::has_integer_counts;

/// Samples of a full chunk.
pub const CHUNK_SAMPLES: usize = 120;

/// A chunk of large histograms ends once it has this many bytes.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
}

impl Encoding {
    /// The encoding with this number on the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Xor, Self::Histogram, Self::FloatHistogram].into_iter().find(|encoding| *encoding as u64 == number)
    }
}

/// Encoded samples of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Time of the first sample, in milliseconds.
    pub min_ms: i64,
    /// Time of the last sample, in milliseconds.
    pub max_ms: i64,
    /// How `data` is encoded.
    pub encoding: Encoding,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Chunk {
    /// Appends the samples to `out`: to `times` and, by the encoding, `values` or `histograms`.
    ///
    /// Of a histogram, `reset_hint` is what Prometheus derives from the chunk: in a chunk of counters all samples but
    /// the first are no resets.
    ///
    /// # Errors
    /// The byte at which `data` is no such chunk. Samples before it stay in `out`.
    pub fn decode(&self, out: &mut Samples) -> Result<(), DecodeError> {
        match self.encoding {
            Encoding::Xor => float::decode(&self.data, out),
            Encoding::Histogram => histogram::decode(&self.data, true, out),
            Encoding::FloatHistogram => histogram::decode(&self.data, false, out),
        }
    }
}

/// Encodes the floats and the histograms of one series, each with ascending times, into chunks in order of time.
/// Where both have a sample at one time, the float counts.
///
/// A chunk holds one kind of samples, at most [`CHUNK_SAMPLES`]; one of counter histograms ends before a reset and where
/// buckets appear or vanish.
pub fn encode_chunks<E>(
    floats: &Samples,
    histograms: &Samples,
    mut emit: impl FnMut(Chunk) -> Result<(), E>,
) -> Result<(), E> {
    let (mut float, mut histogram) = (0, 0);
    loop {
        let (times, others) = (&floats.times[float..], &histograms.times[histogram..]);
        let run = |times: &[i64], until: Option<&i64>| {
            times.iter().take(CHUNK_SAMPLES).take_while(|time| until.is_none_or(|until| *time < until)).count()
        };
        let (len, encoding, data) = match (times.first(), others.first()) {
            (None, None) => return Ok(()),
            (Some(time), Some(other)) if time == other => {
                histogram += 1;
                continue;
            }
            (Some(time), other) if other.is_none_or(|other| time < other) => {
                let len = run(times, other);
                (len, Encoding::Xor, float::encode(&times[..len], &floats.values[float..float + len]))
            }
            (other, _) => {
                let len = run(others, other);
                let run = &histograms.histograms[histogram..histogram + len];
                let (integer, data, len) = histogram::encode(&others[..len], run);
                (len, if integer { Encoding::Histogram } else { Encoding::FloatHistogram }, data)
            }
        };
        let of_run = if encoding == Encoding::Xor { times } else { others };
        emit(Chunk { min_ms: of_run[0], max_ms: of_run[len - 1], encoding, data })?;
        if encoding == Encoding::Xor { float += len } else { histogram += len }
    }
}

/// The number of samples at the head of a chunk.
fn read_count(data: &[u8]) -> Result<usize, DecodeError> {
    let Some(count) = data.first_chunk() else {
        return Err(DecodeError::malformed(0, "expected the number of samples, found the end of the chunk"));
    };
    Ok(usize::from(u16::from_be_bytes(*count)))
}
