//! Prometheus remote read: what a server is asked for samples, and what it answers.
//!
//! | message | here |
//! |---|---|
//! | `prometheus.ReadRequest`, snappy | [`decode_request`]; [`encode_request`] for clients |
//! | `prometheus.ReadResponse`, snappy: samples one by one | [`SamplesWriter`]; [`decode_samples`] |
//! | frames of `prometheus.ChunkedReadResponse`: chunks | [`SeriesFrames`]; [`decode_frames`] |
//!
//! Answers are built series by series, from columns of floats and of histograms. Staleness markers and all other NaNs
//! keep their bits. Exemplars and metadata are not part of remote read.

mod chunk;
mod frames;
mod request;
mod samples;

pub use chunk::{CHUNK_SAMPLES, Chunk, Encoding, encode_chunks};
pub use frames::{ChunkedSeries, FRAME_BYTES, STREAMED_CONTENT_TYPE, SeriesFrames, decode_frames};
pub use request::{LabelMatcher, MatchType, Query, ReadRequest, ResponseType, decode_request, encode_request};
pub use samples::{SamplesWriter, decode_samples};

pub(crate) use chunk::has_integer_counts;

use tsq_core::LabelsBuilder;

use crate::error::DecodeError;
use crate::protobuf::Reader;
use crate::remote_write::{decode_label, push_label};

/// Adds the label of a message to a set.
fn read_label(message: Reader<'_>, out: &mut LabelsBuilder) -> Result<(), DecodeError> {
    let offset = message.pos();
    let (name, value) = decode_label(message)?;
    push_label(name, value, out).map(drop).map_err(|error| DecodeError::malformed(offset, error.to_string()))
}

/// The set of all labels of a series that begins at `offset`.
fn labels_of(builder: &mut LabelsBuilder, offset: usize) -> Result<tsq_core::Labels, DecodeError> {
    let labels = builder.build().map_err(|error| DecodeError::malformed(offset, error.to_string()));
    builder.clear();
    labels
}
