//! TensorBoard event files: records of TensorFlow around protobuf messages `Event`.
//!
//! Specification: tensorflow/core/lib/io/record_writer.h (framing), tensorflow/core/util/event.proto and
//! tensorflow/core/framework/{summary,tensor,types}.proto.
//!
//! ```text
//! length   u64 LE
//! crc      u32 LE, of the length
//! payload  so many bytes: an Event
//! crc      u32 LE, of the payload
//! ```
//! The checksums are CRC-32C, rotated right by 15 bits, plus 0xa282ead8.

use std::io::{self, Read};

use crate::error::DecodeError;
use crate::protobuf::{BYTES, FIXED32, FIXED64, Reader, VARINT, bytes_key, key, utf8};
use crate::runs::{Damages, RECORD_MAX};

/// One event. Most hold one summary value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Seconds since 1970.
    pub wall_time_s: f64,
    /// Training step.
    pub step: i64,
    /// The version of the format, in the first event of a file.
    pub file_version: Option<String>,
    /// What was logged.
    pub values: Vec<SummaryValue>,
}

/// One logged value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryValue {
    /// Name of the series.
    pub tag: String,
    /// Name of the plugin that shows it. Writers may give it with the first value of a tag only.
    pub plugin: Option<String>,
    /// The value.
    pub content: Content,
}

/// What was logged under a tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Content {
    /// A scalar of 32 bits.
    Scalar(f32),
    /// A tensor, which may be a scalar.
    Tensor(Tensor),
    /// A histogram.
    Histogram(BucketedHistogram),
    /// An image.
    Image,
    /// A sound.
    Audio,
    /// Nothing that is known.
    #[default]
    Other,
}

/// A tensor of TensorFlow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Number of the type of its elements in `types.proto`.
    pub dtype: u32,
    /// Sizes of its dimensions; none: a scalar.
    pub shape: Vec<i64>,
    /// Its elements, row by row.
    pub values: TensorValues,
}

/// The elements of a tensor. Those of types that do not occur in logs of training runs are not read.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorValues {
    /// float, double, half and bfloat16, each exact in 64 bits.
    Floats(Vec<f64>),
    /// Integers and truth values.
    Integers(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Default for TensorValues {
    fn default() -> Self {
        Self::Floats(Vec::new())
    }
}

/// A histogram as TensorBoard's first version writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BucketedHistogram {
    /// Smallest observation.
    pub min: f64,
    /// Greatest observation.
    pub max: f64,
    /// Number of observations.
    pub num: f64,
    /// Their sum.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_squares: f64,
    /// Upper bounds of the buckets, ascending.
    pub bucket_limit: Vec<f64>,
    /// Observations in each bucket.
    pub bucket: Vec<f64>,
}

/// Reads the events of a file in order, once.
#[derive(Debug)]
pub struct EventReader<R> {
    input: R,
    offset: u64,
    payload: Vec<u8>,
    damages: Damages,
    ended: bool,
}

/// Bytes of a length and its checksum.
const HEADER_LEN: usize = 12;

impl<R: Read> EventReader<R> {
    /// Reads from the beginning of a file. Buffer the input.
    pub fn new(input: R) -> Self {
        Self { input, offset: 0, payload: Vec::new(), damages: Damages::default(), ended: false }
    }

    /// The next event. A record whose payload is damaged is left out; a damaged length ends the file, as nothing tells
    /// where the next record begins. See [`EventReader::damages`].
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        while !self.ended {
            let start = self.offset;
            if !self.read_record()? {
                continue;
            }
            match event(&self.payload) {
                Ok(event) => return Ok(Some(event)),
                Err(error) => {
                    let at = start + (HEADER_LEN + error.offset()) as u64;
                    self.damages.add(at, format!("no event: {}", error.message()));
                }
            }
        }
        Ok(None)
    }

    /// What could not be read up to here.
    pub fn damages(&self) -> &Damages {
        &self.damages
    }

    /// Bytes read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads a record into `payload`. Returns whether it is whole.
    fn read_record(&mut self) -> io::Result<bool> {
        let start = self.offset;
        let mut header = [0; HEADER_LEN];
        match self.fill(&mut header)? {
            HEADER_LEN => {}
            0 => return Ok(self.end(None)),
            read => return Ok(self.end(Some((start, format!("the file ends {read} bytes into a record"))))),
        }
        let (len, crc) = header.split_at(8);
        if masked(len) != u32::from_le_bytes(crc.try_into().expect("4 bytes are left")) {
            let message = "the checksum of a record's length is wrong; nothing after it can be read";
            return Ok(self.end(Some((start, message.into()))));
        }
        let len = u64::from_le_bytes(len.try_into().expect("8 bytes were split off"));
        if len > RECORD_MAX {
            let message = format!("a record of {len} bytes, of which at most {RECORD_MAX} are read");
            return Ok(self.end(Some((start, message))));
        }
        self.payload.clear();
        // Grows with what is there, not with what the length claims.
        let read = self.input.by_ref().take(len + 4).read_to_end(&mut self.payload)?;
        self.offset += read as u64;
        if (read as u64) < len + 4 {
            let message = format!("the file ends {} bytes into a record", HEADER_LEN + read);
            return Ok(self.end(Some((start, message))));
        }
        let (payload, crc) = self.payload.split_at(len as usize);
        if masked(payload) != u32::from_le_bytes(crc.try_into().expect("4 bytes are left")) {
            self.damages.add(start, "the checksum of a record is wrong; it was left out");
            return Ok(false);
        }
        self.payload.truncate(len as usize);
        Ok(true)
    }

    fn end(&mut self, damage: Option<(u64, String)>) -> bool {
        self.ended = true;
        if let Some((offset, message)) = damage {
            self.damages.add(offset, message);
        }
        false
    }

    /// Reads until the buffer is full or the input ends.
    fn fill(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buf.len() {
            match self.input.read(&mut buf[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.offset += read as u64;
        Ok(read)
    }
}

/// The checksum as it is stored.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn text(reader: &mut Reader<'_>, what: &str) -> Result<String, DecodeError> {
    let at = reader.pos();
    let bytes = reader.bytes()?;
    utf8(bytes, what).map(str::to_owned).map_err(|message| DecodeError::malformed(at, message))
}

fn event(payload: &[u8]) -> Result<Event, DecodeError> {
    const WALL_TIME: u32 = key(1, FIXED64);
    const STEP: u32 = key(2, VARINT);
    const FILE_VERSION: u32 = bytes_key(3);
    const SUMMARY: u32 = bytes_key(5);
    let mut event = Event::default();
    let mut reader = Reader::new(payload);
    while let Some(key) = reader.key()? {
        match key {
            WALL_TIME => event.wall_time_s = reader.double()?,
            STEP => event.step = reader.varint()? as i64,
            FILE_VERSION => event.file_version = Some(text(&mut reader, "file_version")?),
            SUMMARY => summary(reader.message()?, &mut event.values)?,
            _ => reader.skip(key, 0b10_1110)?,
        }
    }
    Ok(event)
}

fn summary(mut reader: Reader<'_>, values: &mut Vec<SummaryValue>) -> Result<(), DecodeError> {
    const VALUE: u32 = bytes_key(1);
    while let Some(key) = reader.key()? {
        match key {
            VALUE => values.push(summary_value(reader.message()?)?),
            _ => reader.skip(key, 0b10)?,
        }
    }
    Ok(())
}

fn summary_value(mut reader: Reader<'_>) -> Result<SummaryValue, DecodeError> {
    const TAG: u32 = bytes_key(1);
    const SIMPLE_VALUE: u32 = key(2, FIXED32);
    const IMAGE: u32 = bytes_key(4);
    const HISTO: u32 = bytes_key(5);
    const AUDIO: u32 = bytes_key(6);
    const TENSOR: u32 = bytes_key(8);
    const METADATA: u32 = bytes_key(9);
    let mut value = SummaryValue::default();
    while let Some(key) = reader.key()? {
        match key {
            TAG => value.tag = text(&mut reader, "tag")?,
            SIMPLE_VALUE => value.content = Content::Scalar(reader.float()?),
            HISTO => value.content = Content::Histogram(histogram(reader.message()?)?),
            TENSOR => value.content = Content::Tensor(tensor(reader.message()?)?),
            METADATA => value.plugin = plugin(reader.message()?)?,
            IMAGE | AUDIO => {
                value.content = if key == IMAGE { Content::Image } else { Content::Audio };
                reader.message()?;
            }
            _ => reader.skip(key, 0b11_0111_0110)?,
        }
    }
    Ok(value)
}

/// The plugin's name in a `SummaryMetadata`.
fn plugin(mut reader: Reader<'_>) -> Result<Option<String>, DecodeError> {
    const FIRST: u32 = bytes_key(1);
    let mut name = None;
    while let Some(key) = reader.key()? {
        if key != FIRST {
            reader.skip(key, 0b10)?;
            continue;
        }
        let mut data = reader.message()?;
        while let Some(key) = data.key()? {
            match key {
                FIRST => name = Some(text(&mut data, "plugin_name")?),
                _ => data.skip(key, 0b10)?,
            }
        }
    }
    Ok(name.filter(|name| !name.is_empty()))
}

fn histogram(mut reader: Reader<'_>) -> Result<BucketedHistogram, DecodeError> {
    let mut out = BucketedHistogram::default();
    while let Some(key) = reader.key()? {
        let (field, wire_type) = (key >> 3, key & 7);
        match (field, wire_type) {
            (1, FIXED64) => out.min = reader.double()?,
            (2, FIXED64) => out.max = reader.double()?,
            (3, FIXED64) => out.num = reader.double()?,
            (4, FIXED64) => out.sum = reader.double()?,
            (5, FIXED64) => out.sum_squares = reader.double()?,
            (6, BYTES | FIXED64) => doubles(&mut reader, wire_type, |value| out.bucket_limit.push(value))?,
            (7, BYTES | FIXED64) => doubles(&mut reader, wire_type, |value| out.bucket.push(value))?,
            _ => reader.skip(key, 0b1111_1110)?,
        }
    }
    Ok(out)
}

/// A repeated field of doubles, packed or not.
fn doubles(reader: &mut Reader<'_>, wire_type: u32, mut each: impl FnMut(f64)) -> Result<(), DecodeError> {
    if wire_type == FIXED64 {
        each(reader.double()?);
        return Ok(());
    }
    let mut packed = reader.message()?;
    while !packed.is_empty() {
        each(packed.double()?);
    }
    Ok(())
}

/// A repeated field of floats, packed or not.
fn floats(reader: &mut Reader<'_>, wire_type: u32, mut each: impl FnMut(f32)) -> Result<(), DecodeError> {
    if wire_type == FIXED32 {
        each(reader.float()?);
        return Ok(());
    }
    let mut packed = reader.message()?;
    while !packed.is_empty() {
        each(packed.float()?);
    }
    Ok(())
}

/// A repeated field of varints, packed or not.
fn varints(reader: &mut Reader<'_>, wire_type: u32, mut each: impl FnMut(u64)) -> Result<(), DecodeError> {
    if wire_type == VARINT {
        each(reader.varint()?);
        return Ok(());
    }
    reader.packed_varints(each)
}

const DT_FLOAT: u32 = 1;
const DT_DOUBLE: u32 = 2;
const DT_INT32: u32 = 3;
const DT_UINT8: u32 = 4;
const DT_INT16: u32 = 5;
const DT_INT8: u32 = 6;
const DT_STRING: u32 = 7;
const DT_INT64: u32 = 9;
const DT_BOOL: u32 = 10;
const DT_BFLOAT16: u32 = 14;
const DT_UINT16: u32 = 17;
const DT_HALF: u32 = 19;
const DT_UINT32: u32 = 22;

/// Most elements that a tensor may claim by its shape while giving one value for all of them.
const FILL_MAX: usize = 1 << 20;

fn tensor(mut reader: Reader<'_>) -> Result<Tensor, DecodeError> {
    let mut out = Tensor::default();
    let (mut content, mut content_at) = (&[][..], 0);
    let (mut float_values, mut integers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(key) = reader.key()? {
        let (field, wire_type) = (key >> 3, key & 7);
        match (field, wire_type) {
            (1, VARINT) => out.dtype = u32::try_from(reader.varint()?).unwrap_or(u32::MAX),
            (2, BYTES) => out.shape = shape(reader.message()?)?,
            (4, BYTES) => (content_at, content) = (reader.pos(), reader.bytes()?),
            (5, BYTES | FIXED32) => floats(&mut reader, wire_type, |value| float_values.push(f64::from(value)))?,
            (6, BYTES | FIXED64) => doubles(&mut reader, wire_type, |value| float_values.push(value))?,
            (7 | 10 | 11 | 16 | 17, BYTES | VARINT) => {
                varints(&mut reader, wire_type, |value| integers.push(value as i64))?;
            }
            (13, BYTES | VARINT) => {
                let dtype = out.dtype;
                varints(&mut reader, wire_type, |bits| float_values.push(small_float(dtype, bits as u16)))?;
            }
            (8, BYTES) => texts.push(String::from_utf8_lossy(reader.bytes()?).into_owned()),
            _ => reader.skip(key, 0)?,
        }
    }
    out.values = match out.dtype {
        DT_STRING => TensorValues::Texts(texts),
        _ if content.is_empty() && !integers.is_empty() => TensorValues::Integers(integers),
        _ if content.is_empty() => TensorValues::Floats(float_values),
        dtype => elements(dtype, content).map_err(|message| DecodeError::malformed(content_at, message))?,
    };
    fill(&mut out);
    Ok(out)
}

fn shape(mut reader: Reader<'_>) -> Result<Vec<i64>, DecodeError> {
    const DIM: u32 = bytes_key(2);
    const SIZE: u32 = key(1, VARINT);
    let mut shape = Vec::new();
    while let Some(key) = reader.key()? {
        if key != DIM {
            reader.skip(key, 0b100)?;
            continue;
        }
        let (mut dim, mut size) = (reader.message()?, 0);
        while let Some(key) = dim.key()? {
            match key {
                SIZE => size = dim.varint()? as i64,
                _ => dim.skip(key, 0b10)?,
            }
        }
        shape.push(size);
    }
    Ok(shape)
}

/// Fewer values than the shape has elements: the last one stands for the rest.
fn fill(tensor: &mut Tensor) {
    let size = |size: &i64| usize::try_from(*size).ok();
    let wanted = tensor.shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(size(dim)?));
    let Some(wanted) = wanted.filter(|&wanted| wanted <= FILL_MAX) else { return };
    fn fill<T: Clone>(values: &mut Vec<T>, wanted: usize) {
        if let Some(last) = values.last().cloned().filter(|_| values.len() < wanted) {
            values.resize(wanted, last);
        }
    }
    match &mut tensor.values {
        TensorValues::Floats(values) => fill(values, wanted),
        TensorValues::Integers(values) => fill(values, wanted),
        TensorValues::Texts(values) => fill(values, wanted),
    }
}

/// The elements of `tensor_content`: little-endian, one after another.
fn elements(dtype: u32, content: &[u8]) -> Result<TensorValues, String> {
    let floats = |values: Vec<f64>| TensorValues::Floats(values);
    let integers = |values: Vec<i64>| TensorValues::Integers(values);
    Ok(match dtype {
        DT_FLOAT => floats(chunks(content, |bytes| f64::from(f32::from_le_bytes(bytes)))?),
        DT_DOUBLE => floats(chunks(content, f64::from_le_bytes)?),
        DT_HALF | DT_BFLOAT16 => floats(chunks(content, |bytes| small_float(dtype, u16::from_le_bytes(bytes)))?),
        DT_INT64 => integers(chunks(content, i64::from_le_bytes)?),
        DT_INT32 => integers(chunks(content, |bytes| i64::from(i32::from_le_bytes(bytes)))?),
        DT_UINT32 => integers(chunks(content, |bytes| i64::from(u32::from_le_bytes(bytes)))?),
        DT_INT16 => integers(chunks(content, |bytes| i64::from(i16::from_le_bytes(bytes)))?),
        DT_UINT16 => integers(chunks(content, |bytes| i64::from(u16::from_le_bytes(bytes)))?),
        DT_INT8 => integers(chunks(content, |bytes| i64::from(i8::from_le_bytes(bytes)))?),
        DT_UINT8 | DT_BOOL => integers(content.iter().map(|&byte| i64::from(byte)).collect()),
        _ => TensorValues::default(),
    })
}

fn chunks<const N: usize, T>(content: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = content.as_chunks();
    if !rest.is_empty() {
        return Err(format!("tensor_content of {} bytes is no multiple of {N}", content.len()));
    }
    Ok(chunks.iter().map(|bytes| read(*bytes)).collect())
}

/// A number of 16 bits: bfloat16 is the upper half of a float, half is IEEE 754 binary16.
fn small_float(dtype: u32, bits: u16) -> f64 {
    if dtype == DT_BFLOAT16 {
        return f64::from(f32::from_bits(u32::from(bits) << 16));
    }
    let (exponent, mantissa) = (bits >> 10 & 31, f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protobuf::Writer;

    pub(in crate::runs) fn frame(payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u64).to_le_bytes();
        [&len[..], &masked(&len).to_le_bytes(), payload, &masked(payload).to_le_bytes()].concat()
    }

    fn scalar(step: u64, value: f32) -> Vec<u8> {
        let mut out = Writer::default();
        out.double(1, 1000.5);
        out.varint(2, step);
        out.message(5, |out| {
            out.message(1, |out| {
                out.bytes(1, b"loss");
                out.0.push(key(2, FIXED32) as u8);
                out.0.extend(value.to_le_bytes());
            });
        });
        frame(&out.0)
    }

    fn read(file: &[u8]) -> (Vec<Event>, Vec<u64>) {
        let mut reader = EventReader::new(file);
        let events = std::iter::from_fn(|| reader.next_event().unwrap()).collect();
        (events, reader.damages().first().iter().map(|damage| damage.offset).collect())
    }

    #[test]
    fn the_checksum_is_that_of_tensorflow() {
        // How TensorFlow begins an empty record.
        assert_eq!(masked(&[0; 8]).to_le_bytes(), *b"\x29\x03\x98\x07");
    }

    #[test]
    fn scalars_are_read_in_order() {
        let mut version = Writer::default();
        version.double(1, 1.0);
        version.bytes(3, b"brain.Event:2");
        let (events, damages) = read(&[frame(&version.0), scalar(3, 0.1), scalar(2, f32::NAN)].concat());
        assert_eq!((events.len(), damages), (3, vec![]));
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((events[1].wall_time_s, events[1].step), (1000.5, 3));
        assert_eq!((&*events[1].values[0].tag, &events[1].values[0].content), ("loss", &Content::Scalar(0.1)));
        assert_eq!(events[2].step, 2);
    }

    #[test]
    fn what_is_damaged_is_left_out_and_reported() {
        let good: Vec<_> = (1..5).flat_map(|step| scalar(step, step as f32)).collect();
        let len = good.len() / 4;
        let steps = |file: &[u8]| {
            let (events, damages) = read(file);
            (events.iter().map(|event| event.step).collect::<Vec<_>>(), damages)
        };
        let mut payload = good.clone();
        payload[len + 20] ^= 1;
        assert_eq!(steps(&payload), (vec![1, 3, 4], vec![len as u64]));
        let mut length = good.clone();
        length[2 * len + 1] ^= 1;
        assert_eq!(steps(&length), (vec![1, 2], vec![2 * len as u64]));
        for cut in 1..len {
            assert_eq!(steps(&good[..good.len() - cut]), (vec![1, 2, 3], vec![3 * len as u64]), "{cut}");
        }
        let absurd = u64::MAX.to_le_bytes();
        let absurd = [&absurd[..], &masked(&absurd).to_le_bytes()].concat();
        assert_eq!(steps(&absurd), (vec![], vec![0]));
    }

    fn tensor_of(dtype: u64, fill: impl FnOnce(&mut Writer)) -> Tensor {
        let mut out = Writer::default();
        out.varint(1, dtype);
        fill(&mut out);
        tensor(Reader::new(&out.0)).unwrap()
    }

    #[test]
    fn tensors_of_every_form() {
        let content = |dtype, bytes: &[u8]| tensor_of(dtype, |out| out.bytes(4, bytes)).values;
        assert_eq!(content(1, &0.5_f32.to_le_bytes()), TensorValues::Floats(vec![0.5]));
        assert_eq!(content(2, &0.1_f64.to_le_bytes()), TensorValues::Floats(vec![0.1]));
        assert_eq!(content(9, &(1_i64 << 60).to_le_bytes()), TensorValues::Integers(vec![1 << 60]));
        assert_eq!(content(3, &(-7_i32).to_le_bytes()), TensorValues::Integers(vec![-7]));
        assert_eq!(content(10, &[1, 0]), TensorValues::Integers(vec![1, 0]));
        assert_eq!(content(14, &0x3fc0_u16.to_le_bytes()), TensorValues::Floats(vec![1.5]));
        let halves = [0x3e00_u16, 0x0001, 0xfc00, 0x8000].map(u16::to_le_bytes).concat();
        assert_eq!(content(19, &halves), TensorValues::Floats(vec![1.5, 2f64.powi(-24), f64::NEG_INFINITY, -0.0]));
        let filled = tensor_of(2, |out| {
            out.message(2, |out| {
                out.message(2, |out| out.varint(1, 2));
                out.message(2, |out| out.varint(1, 3));
            });
            out.raw_double(6, 4.0);
        });
        assert_eq!((filled.shape, filled.values), (vec![2, 3], TensorValues::Floats(vec![4.0; 6])));
        assert_eq!(tensor_of(7, |out| out.bytes(8, b"hi")).values, TensorValues::Texts(vec!["hi".into()]));
        let mut odd = Writer::default();
        odd.varint(1, 2);
        odd.bytes(4, &[0; 9]);
        assert!(tensor(Reader::new(&odd.0)).unwrap_err().message().contains("no multiple of 8"));
    }

    #[test]
    fn a_shape_alone_allocates_nothing() {
        let huge = tensor_of(1, |out| {
            out.message(2, |out| out.message(2, |out| out.varint(1, 1 << 40)));
            out.bytes(5, &1_f32.to_le_bytes());
        });
        assert_eq!(huge.values, TensorValues::Floats(vec![1.0]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, byte: u8) {
            read(&frame(&bytes));
            read(&bytes);
            let mut file = [scalar(1, 1.0), scalar(2, 2.0)].concat();
            let at = at % file.len();
            file[at] = byte;
            let (events, damages) = read(&file);
            prop_assert!(events.len() == 2 || !damages.is_empty());
        }
    }
}
