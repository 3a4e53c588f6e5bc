//! Answers in chunks: frames of `prometheus.ChunkedReadResponse`.
//!
//! ~~~text
//! length   varint, of the message
//! check    u32 BE, CRC-32 (Castagnoli) of the message
//! message
//! ~~~

use tsq_core::{Labels, LabelsBuilder};

use super::chunk::{Chunk, Encoding};
use super::{labels_of, read_label};
use crate::error::DecodeError;
use crate::protobuf::{OpenMessage, Reader, VARINT, Writer, bytes_key, key};
use crate::remote_write::put_labels;

/// A frame is sent once it has this many bytes; it may exceed that by one chunk.
///
/// Prometheus takes two frames of one series for two series, and fails queries that see both. Its own servers split at
/// 1 MiB; its clients take up to 50 MB. Three million samples of pure noise fit into this.
pub const FRAME_BYTES: usize = 32 << 20;

/// The content type of such an answer.
pub const STREAMED_CONTENT_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Puts the chunks of one series into frames. All chunks of a series are sent before those of the next.
#[derive(Debug)]
pub struct SeriesFrames {
    query_index: u64,
    labels: Vec<u8>,
    /// The frame under construction: a message in a message.
    frame: Option<(Writer, OpenMessage)>,
    sent: bool,
}

impl SeriesFrames {
    /// Begins a series of a query, which is counted from 0.
    pub fn new(query_index: usize, labels: &Labels) -> Self {
        let mut out = Writer::default();
        put_labels(&mut out, labels);
        Self { query_index: query_index as u64, labels: out.0, frame: None, sent: false }
    }

    /// Adds a chunk; a frame that is full now.
    pub fn push(&mut self, chunk: &Chunk) -> Option<Vec<u8>> {
        let (out, _) = self.frame.get_or_insert_with(|| begin(&self.labels));
        out.message(2, |out| {
            out.varint(1, chunk.min_ms as u64);
            out.varint(2, chunk.max_ms as u64);
            out.varint(3, chunk.encoding as u64);
            out.bytes(4, &chunk.data);
        });
        (out.0.len() >= FRAME_BYTES).then(|| self.end())
    }

    /// What is left. A series without chunks has a frame with its labels.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        (!self.sent || self.frame.is_some()).then(|| self.end())
    }

    fn end(&mut self) -> Vec<u8> {
        self.sent = true;
        let (mut message, series) = self.frame.take().unwrap_or_else(|| begin(&self.labels));
        message.close(series);
        message.varint(2, self.query_index);
        let mut head = Writer::default();
        head.raw_varint(message.0.len() as u64);
        head.0.extend_from_slice(&crc32c(&message.0).to_be_bytes());
        message.0.splice(..0, head.0);
        message.0
    }
}

fn begin(labels: &[u8]) -> (Writer, OpenMessage) {
    let mut out = Writer::default();
    let series = out.open(1);
    out.0.extend_from_slice(labels);
    (out, series)
}

/// A series of an answer in frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkedSeries {
    /// Which query of the request it belongs to, counted from 0.
    pub query_index: u64,
    /// Its labels.
    pub labels: Labels,
    /// Its chunks, as they were sent.
    pub chunks: Vec<Chunk>,
}

/// Decodes frames. Consecutive frames of one series are put together.
///
/// # Errors
/// The byte at which a frame is damaged or no such message.
pub fn decode_frames(body: &[u8]) -> Result<Vec<ChunkedSeries>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut all: Vec<ChunkedSeries> = Vec::new();
    while !reader.is_empty() {
        for mut series in frame(&mut reader)? {
            let same =
                |last: &&mut ChunkedSeries| last.query_index == series.query_index && last.labels == series.labels;
            match all.last_mut().filter(same) {
                Some(last) => last.chunks.append(&mut series.chunks),
                None => all.push(series),
            }
        }
    }
    Ok(all)
}

fn frame(reader: &mut Reader<'_>) -> Result<Vec<ChunkedSeries>, DecodeError> {
    const SERIES: u32 = bytes_key(1);
    const QUERY_INDEX: u32 = key(2, VARINT);
    let start = reader.pos();
    let len = reader.varint()?;
    let check = reader.sub_message(4)?.rest();
    let check = u32::from_be_bytes(*check.first_chunk().expect("four bytes were read"));
    let mut message = reader.sub_message(len)?;
    if crc32c(message.rest()) != check {
        return Err(DecodeError::malformed(start, "the check sum of the frame is wrong"));
    }
    let (mut all, mut query_index) = (Vec::new(), 0);
    while let Some(field) = message.key()? {
        match field {
            SERIES => all.push(series(message.message()?)?),
            QUERY_INDEX => query_index = message.varint()?,
            other => message.skip(other, 0b110)?,
        }
    }
    all.iter_mut().for_each(|series| series.query_index = query_index);
    Ok(all)
}

fn series(mut message: Reader<'_>) -> Result<ChunkedSeries, DecodeError> {
    const LABELS: u32 = bytes_key(1);
    const CHUNKS: u32 = bytes_key(2);
    let start = message.pos();
    let (mut builder, mut chunks) = (LabelsBuilder::default(), Vec::new());
    while let Some(field) = message.key()? {
        match field {
            LABELS => read_label(message.message()?, &mut builder)?,
            CHUNKS => chunks.push(chunk(message.message()?)?),
            other => message.skip(other, 0b110)?,
        }
    }
    Ok(ChunkedSeries { query_index: 0, labels: labels_of(&mut builder, start)?, chunks })
}

fn chunk(mut message: Reader<'_>) -> Result<Chunk, DecodeError> {
    const MIN: u32 = key(1, VARINT);
    const MAX: u32 = key(2, VARINT);
    const ENCODING: u32 = key(3, VARINT);
    const DATA: u32 = bytes_key(4);
    let start = message.pos();
    let (mut min_ms, mut max_ms, mut number, mut data) = (0, 0, 0, &[][..]);
    while let Some(field) = message.key()? {
        match field {
            MIN => min_ms = message.varint()? as i64,
            MAX => max_ms = message.varint()? as i64,
            ENCODING => number = message.varint()?,
            DATA => data = message.bytes()?,
            other => message.skip(other, 0b11110)?,
        }
    }
    let encoding = Encoding::from_number(number)
        .ok_or_else(|| DecodeError::malformed(start, format!("chunk encoding {number} is none of 1 to 3")))?;
    Ok(Chunk { min_ms, max_ms, encoding, data: data.to_vec() })
}

/// Remainders of the Castagnoli polynomial, for eight bytes at a time.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { remainder >> 1 ^ POLYNOMIAL } else { remainder >> 1 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// CRC-32 with the Castagnoli polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d] = (crc ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]])).to_le_bytes();
        let indexes = [a, b, c, d, word[4], word[5], word[6], word[7]];
        crc = indexes.iter().zip(TABLES.iter().rev()).fold(0, |crc, (&index, table)| crc ^ table[usize::from(index)]);
    }
    for &byte in rest {
        crc = crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sums() {
        // The check value of the algorithm, and values of RFC 3720.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn large_series_take_several_frames_and_empty_ones_one() {
        let labels = Labels::from_pairs([("__name__", "m"), ("a", "1")]).unwrap();
        let chunk = |at: i64| Chunk { min_ms: at, max_ms: at + 1, encoding: Encoding::Xor, data: vec![7; 10 << 20] };
        let mut series = SeriesFrames::new(3, &labels);
        let mut frames: Vec<Vec<u8>> = (0..9).filter_map(|at| series.push(&chunk(at))).collect();
        frames.extend(series.finish());
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|frame| frame.len() < FRAME_BYTES + (11 << 20)));
        frames.extend(SeriesFrames::new(4, &labels).finish());
        let decoded = decode_frames(&frames.concat()).unwrap();
        assert_eq!(decoded.len(), 2);
        assert_eq!((decoded[0].query_index, &decoded[0].labels), (3, &labels));
        assert_eq!(decoded[0].chunks, (0..9).map(chunk).collect::<Vec<_>>());
        assert_eq!((decoded[1].query_index, decoded[1].chunks.len()), (4, 0));
    }

    #[test]
    fn damage_is_noticed() {
        let labels = Labels::from_pairs([("__name__", "m")]).unwrap();
        let good = SeriesFrames::new(0, &labels).finish().unwrap();
        assert!(decode_frames(&good).is_ok());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decode_frames(&bad).is_err(), "bit {bit} of byte {at}");
            }
            assert!(at == 0 || decode_frames(&good[..at]).is_err());
        }
    }
}
