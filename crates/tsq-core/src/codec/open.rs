//! The open chunk of a series in the head: samples are appended bit by bit and stay encoded until they are flushed.
//!
//! Each sample is the time, for run series the step, in a chunk with start times the start, then the value. The first
//! time is 64 raw bits; other times and all steps and starts are differences of differences (`delta.rs`), values are XOR
//! codes (`gorilla.rs`). Before the first sample step, start, value and all differences are zero.

use super::bits::{BitReader, BitSink};
use super::gorilla::{Window, XorState};
use super::{cut_short, delta};
use crate::error::Result;
use crate::sample::Samples;

/// An append-only encoded run of float samples: 48 bytes of state and the bytes of the samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenChunk {
    /// For run series the state of the steps, with starts the state of those, then the bits; zero behind the last bit.
    /// One allocation that grows gently: there may be a million of them.
    bytes: Box<[u8]>,
    last_time: i64,
    time_delta: i64,
    last_value: u64,
    /// Bits used in `bytes`, the states among them; the top bits tell which of them there are.
    used: u32,
    count: u16,
    window: Window,
}

/// Size of the state of a further column: last number and last difference.
const STATE_LEN: usize = 16;
/// Flags in [`OpenChunk::used`].
const HAS_STEPS: u32 = 1 << 31;
const HAS_STARTS: u32 = 1 << 30;

/// The columns of an open chunk beside times and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Training steps.
    pub(crate) steps: bool,
    /// Start times.
    pub(crate) starts: bool,
}

impl OpenChunk {
    /// Appends a sample. Either all samples of a chunk have a step or none has, and so with starts. About 10 ns.
    #[inline]
    pub(crate) fn push(&mut self, time: i64, step: Option<i64>, start: Option<i64>, value: f64) {
        let first = self.count == 0;
        self.count = self.count.checked_add(1).expect("a chunk is sealed before it is full");
        if first {
            self.begin(Columns { steps: step.is_some(), starts: start.is_some() });
            self.put(time.cast_unsigned(), 64);
        } else {
            let time_delta = time.wrapping_sub(self.last_time);
            delta::put(time_delta.wrapping_sub(self.time_delta), self);
            self.time_delta = time_delta;
        }
        self.last_time = time;
        if let Some(step) = step {
            self.push_further(0, step, first);
        }
        if let Some(start) = start {
            self.push_further(if step.is_some() { STATE_LEN } else { 0 }, start, first);
        }
        let mut values = XorState { last: self.last_value, window: self.window };
        values.put(value.to_bits(), self);
        (self.last_value, self.window) = (values.last, values.window);
    }

    /// Appends a number of the column whose state lies at `at`.
    fn push_further(&mut self, at: usize, number: i64, first: bool) {
        let (last, last_delta) = self.state(at).expect("all samples of a chunk have the same columns");
        let delta = number.wrapping_sub(last);
        delta::put(delta.wrapping_sub(last_delta), self);
        let kept_delta = if first { 0 } else { delta };
        self.bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        self.bytes[at + 8..at + STATE_LEN].copy_from_slice(&kept_delta.to_le_bytes());
    }

    /// Which columns it has.
    pub(crate) fn columns(&self) -> Columns {
        Columns { steps: self.used & HAS_STEPS != 0, starts: self.used & HAS_STARTS != 0 }
    }

    /// Start time of the last sample, 0 when it is unknown.
    pub(crate) fn last_start(&self) -> i64 {
        let Columns { steps, starts } = self.columns();
        let at = if steps { STATE_LEN } else { 0 };
        self.state(at).filter(|_| starts).map_or(0, |(start, _)| start)
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> u32 {
        u32::from(self.count)
    }

    /// The encoded samples, for [`decode_prefix`].
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.state_len()..self.position().div_ceil(8)]
    }

    /// Bytes allocated for the samples.
    pub(crate) fn allocated(&self) -> usize {
        self.bytes.len()
    }

    /// Time of the last sample; 0 when there is none.
    pub(crate) fn last_time(&self) -> i64 {
        self.last_time
    }

    /// Value of the last sample; 0 when there is none.
    #[cfg(test)]
    pub(crate) fn last_value(&self) -> f64 {
        f64::from_bits(self.last_value)
    }

    /// Step of the last sample of a run series.
    #[cfg(test)]
    pub(crate) fn last_step(&self) -> Option<i64> {
        self.state(0).filter(|_| self.columns().steps).map(|(step, _)| step)
    }

    fn begin(&mut self, columns: Columns) {
        let flag = |has: bool, flag: u32| if has { flag | (STATE_LEN as u32 * 8) } else { 0 };
        self.used = flag(columns.steps, HAS_STEPS) + flag(columns.starts, HAS_STARTS);
        self.grow(self.position() / 8 + 9);
    }

    fn position(&self) -> usize {
        (self.used & !(HAS_STEPS | HAS_STARTS)) as usize
    }

    fn state_len(&self) -> usize {
        let Columns { steps, starts } = self.columns();
        STATE_LEN * (usize::from(steps) + usize::from(starts))
    }

    fn state(&self, at: usize) -> Option<(i64, i64)> {
        let state: &[u8] = self.bytes[..self.state_len()].get(at..at + STATE_LEN)?;
        let number = |at: usize| i64::from_le_bytes(state[at..at + 8].try_into().expect("8 bytes"));
        Some((number(0), number(8)))
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let target = match len {
            0..=24 => 24,
            25..=48 => 48,
            49..=256 => len.next_multiple_of(48),
            _ => (len + len / 4).next_multiple_of(64),
        };
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        bytes.reserve_exact(target - bytes.len());
        bytes.resize(target, 0);
        self.bytes = bytes.into_boxed_slice();
    }

    /// Writes near the end of the allocation, or grows it.
    #[cold]
    fn put_slow(&mut self, value: u64, bits: u32) {
        let end = (self.position() + bits as usize).div_ceil(8);
        if end > self.bytes.len() {
            self.grow(end);
        }
        let mut left = bits;
        while left > 0 {
            let position = self.position();
            let free = 8 - (position & 7) as u32;
            let taken = free.min(left);
            left -= taken;
            let part = (value >> left) as u8 & (0xff >> (8 - taken));
            self.bytes[position >> 3] |= part << (free - taken);
            self.used += taken;
        }
    }
}

/// Appends the first `count` samples of an open chunk's bytes to `out`. After an error `out` is as before.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the bytes hold fewer samples.
pub(crate) fn decode_prefix(bytes: &[u8], columns: Columns, count: usize, out: &mut Samples) -> Result<()> {
    // A sample takes 2 bits at least.
    if count > bytes.len() * 4 {
        return Err(cut_short("open"));
    }
    let (times, steps, values, starts) = (out.times.len(), out.steps.len(), out.values.len(), out.starts.len());
    let result = decode_samples(bytes, columns, count, out);
    if result.is_err() {
        out.times.truncate(times);
        out.steps.truncate(steps);
        out.values.truncate(values);
        out.starts.truncate(starts);
    }
    result
}

fn decode_samples(bytes: &[u8], columns: Columns, count: usize, out: &mut Samples) -> Result<()> {
    let before = out.times.len();
    out.times.resize(before + count, 0);
    out.values.resize(out.values.len() + count, 0.0);
    let times = &mut out.times[before..];
    let values_at = out.values.len() - count;
    let values = &mut out.values[values_at..];
    let mut reader = BitReader::new(bytes);
    let (mut step, mut start) = (Further::default(), Further::default());
    if !columns.starts {
        match columns.steps {
            false => decode_columns(&mut reader, times, values, |_, _| {})?,
            true => {
                out.steps.reserve(count);
                let take = |reader: &mut _, index| out.steps.push(step.take(reader, index));
                decode_columns(&mut reader, times, values, take)?;
            }
        }
        out.pad_starts();
        return Ok(());
    }
    out.starts.resize(before, 0);
    decode_columns(&mut reader, times, values, |reader, index| {
        if columns.steps {
            out.steps.push(step.take(reader, index));
        }
        out.starts.push(start.take(reader, index));
    })
}

/// A column beside times and values while it is decoded.
#[derive(Default)]
struct Further {
    last: i64,
    delta: i64,
}

impl Further {
    #[inline(always)]
    fn take(&mut self, reader: &mut BitReader<'_>, index: usize) -> i64 {
        self.delta = self.delta.wrapping_add(delta::take(reader));
        self.last = self.last.wrapping_add(self.delta);
        self.delta = if index == 0 { 0 } else { self.delta };
        self.last
    }
}

#[inline(always)]
fn decode_columns<'a>(
    reader: &mut BitReader<'a>,
    times: &mut [i64],
    values: &mut [f64],
    mut take_further: impl FnMut(&mut BitReader<'a>, usize),
) -> Result<()> {
    let mut state = XorState::default();
    let (mut time, mut time_delta) = (0_i64, 0_i64);
    for (index, (time_slot, value_slot)) in times.iter_mut().zip(values).enumerate() {
        if index == 0 {
            time = reader.read(64).cast_signed();
        } else {
            time_delta = time_delta.wrapping_add(delta::take(reader));
            time = time.wrapping_add(time_delta);
        }
        *time_slot = time;
        take_further(reader, index);
        *value_slot = f64::from_bits(state.take(reader)?);
    }
    if reader.overran() { Err(cut_short("open")) } else { Ok(()) }
}

impl BitSink for OpenChunk {
    #[inline]
    fn put(&mut self, value: u64, bits: u32) {
        let position = self.position();
        let (byte, shift) = (position >> 3, (position & 7) as u32);
        let Some(slot) = self.bytes.get_mut(byte..byte + 9).filter(|_| bits > 0) else {
            return self.put_slow(value, bits);
        };
        let aligned = value << (64 - bits);
        let first = u64::from(slot[0]) << 56 | aligned >> shift;
        slot[..8].copy_from_slice(&first.to_be_bytes());
        slot[8] = ((aligned << 8) >> shift) as u8;
        self.used += bits;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn state_is_small() {
        assert!(size_of::<OpenChunk>() <= 48, "{}", size_of::<OpenChunk>());
    }

    type Sample = (i64, i64, f64);

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let any_bits = || any::<u64>().prop_map(f64::from_bits);
        let wild = (any::<i64>(), any::<i64>(), any_bits());
        let tame = (0_i64..100_000, 0_i64..50, (0_i32..100).prop_map(|n| f64::from(n) / 4.0));
        prop_oneof![
            prop::collection::vec(wild, 0..150),
            prop::collection::vec(tame, 0..300).prop_map(|mut all| {
                all.sort_by_key(|sample| sample.0);
                all
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_prefix_comes_back(all in samples(), has_step: bool, has_start: bool) {
            let mut chunk = OpenChunk::default();
            let columns = Columns { steps: has_step, starts: has_start };
            let start_of = |sample: &Sample| sample.0.wrapping_sub(sample.1);
            for (index, sample) in all.iter().enumerate() {
                let &(time, step, value) = sample;
                chunk.push(time, has_step.then_some(step), has_start.then_some(start_of(sample)), value);
                prop_assert_eq!(chunk.columns(), columns);
                prop_assert_eq!(chunk.last_start(), if has_start { start_of(sample) } else { 0 });
                prop_assert_eq!(chunk.len() as usize, index + 1);
                prop_assert_eq!((chunk.last_time(), chunk.last_value().to_bits()), (time, value.to_bits()));
                prop_assert_eq!(chunk.last_step(), has_step.then_some(step));
            }
            for count in [0, all.len() / 2, all.len()] {
                let mut out = Samples { times: vec![9], ..Samples::default() };
                decode_prefix(chunk.bytes(), columns, count, &mut out).unwrap();
                let starts: Vec<_> = [0].into_iter().chain(all[..count].iter().map(start_of)).collect();
                prop_assert_eq!(&out.starts, if has_start { &starts[..] } else { &[] });
                let want = &all[..count];
                prop_assert_eq!(&out.times[1..], want.iter().map(|s| s.0).collect::<Vec<_>>());
                let steps: Vec<_> = want.iter().filter(|_| has_step).map(|s| s.1).collect();
                prop_assert_eq!(&out.steps, &steps);
                let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&out.values), want.iter().map(|s| s.2.to_bits()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn damaged_bytes_do_not_panic(mut data in prop::collection::vec(any::<u8>(), 0..200), steps: bool, starts: bool, count in 0_usize..2000, ones in 0_usize..50) {
            for byte in data.iter_mut().take(ones) {
                *byte = 0xff;
            }
            let mut out = Samples::default();
            if decode_prefix(&data, Columns { steps, starts }, count, &mut out).is_err() {
                prop_assert!(out.is_empty() && out.values.is_empty() && out.steps.is_empty() && out.starts.is_empty());
            }
        }
    }

    #[test]
    fn a_jitter_of_a_millisecond_costs_five_bits_and_a_constant_one() {
        let mut chunk = OpenChunk::default();
        for index in 0..120 {
            chunk.push(1_700_000_000_000 + index * 15_000, None, None, 1.0);
        }
        assert!(chunk.bytes().len() < 50, "{}", chunk.bytes().len());
        let mut chunk = OpenChunk::default();
        for index in 0..120 {
            chunk.push(1_700_000_000_000 + index * 15_000 + index % 2, None, None, 1.0);
        }
        assert!(chunk.bytes().len() < 110, "{}", chunk.bytes().len());
    }

    #[test]
    fn a_steady_start_costs_a_bit_a_sample() {
        let bytes = |start_of: fn(i64) -> Option<i64>| {
            let mut chunk = OpenChunk::default();
            let time = |index: i64| 1_700_000_000_000 + index * 15_000;
            (0..240).for_each(|index| chunk.push(time(index), None, start_of(time(index)), 1.0));
            chunk.bytes().len()
        };
        let without = bytes(|_| None);
        for with in [bytes(|_| Some(1_699_990_000_123)), bytes(|time| Some(time - 15_000))] {
            assert!(with <= without + 240 / 8 + 2 * 9, "{with} bytes, {without} without starts");
        }
    }
}
