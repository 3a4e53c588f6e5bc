//! Which codec a float column gets: the one that should be smallest, judged by repeats counted over all values and by
//! costs estimated on a sample.

use super::decimal::{self, Decimal, Digits};
use super::gorilla::Gorilla;
use super::ordered::{self, Ordered};
#[cfg(feature = "pco")]
use super::pcodec;
use super::pcodec::Pco;
use super::repeats::Repeats;
use super::{Codec, Column, ColumnMut};
use crate::error::{Error, ErrorKind, Result};

/// How much work an encoding may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A few dozen nanoseconds a value; trusts estimates.
    #[default]
    Fast,
    /// Several times that: tries what may be smallest.
    Thorough,
    /// As thorough, and considers pco.
    Small,
}

impl Effort {
    /// Estimates are rough: what should take up to so many times the least is tried as well.
    fn tolerance(self) -> f64 {
        match self {
            Self::Fast => 1.0,
            Self::Thorough | Self::Small => 1.1,
        }
    }

    fn without_pco(self) -> Self {
        if self == Self::Small { Self::Thorough } else { self }
    }
}

/// Sampled runs and values of each.
const RUNS: usize = 3;
const RUN_VALUES: usize = 16;

/// Most values of a sample.
pub(super) const SAMPLE_MAX: usize = RUNS * RUN_VALUES;

/// Evenly spread runs of consecutive values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    values: [f64; SAMPLE_MAX],
    rows: usize,
}

impl Sample {
    pub(super) fn of(values: &[f64]) -> Self {
        let mut sample = Self { values: [0.0; SAMPLE_MAX], rows: values.len().min(SAMPLE_MAX) };
        if values.len() <= SAMPLE_MAX {
            sample.values[..values.len()].copy_from_slice(values);
            return sample;
        }
        for (run, slots) in sample.values.as_chunks_mut::<RUN_VALUES>().0.iter_mut().enumerate() {
            let start = run * (values.len() - RUN_VALUES) / (RUNS - 1);
            slots.copy_from_slice(&values[start..start + RUN_VALUES]);
        }
        sample
    }

    /// All values, run by run.
    pub(super) fn values(&self) -> &[f64] {
        &self.values[..self.rows]
    }

    /// Values of a run; short columns are one run.
    pub(super) fn run_len(&self) -> usize {
        if self.rows < SAMPLE_MAX { self.rows.max(1) } else { RUN_VALUES }
    }

    /// The runs.
    pub(super) fn runs(&self) -> impl Iterator<Item = &[f64]> + Clone {
        self.values().chunks(self.run_len())
    }

    /// Whether most values are single-precision floats.
    fn is_single(&self) -> bool {
        let single = |value: &&f64| f64::from(**value as f32) == **value;
        2 * self.values().iter().filter(single).count() > self.rows()
    }

    /// Values of all runs.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

/// Appends the encoding of a column and says which codec it took.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> u8 {
    let counts = Counts::of(values);
    if counts.changes == 0 {
        return Repeats::Constant.encode_floats(values, effort, out);
    }
    let plain = Plain::of(values).decided(values, effort);
    let (least, candidates) = counts.candidates(values.len(), plain.bits(), effort.tolerance());
    let mut best = Smallest::new(out);
    let mut repeats = None;
    for candidate in candidates {
        let is_taken = best.offer(|out| candidate.encode_floats(values, effort.without_pco(), out));
        repeats = if is_taken { Some(candidate) } else { repeats };
    }
    if plain.bits() <= least * effort.tolerance() && best.offer(|out| plain.encode(values, effort.without_pco(), out)) {
        repeats = None;
    }
    if effort == Effort::Small {
        best.offer_pco(values, &plain, repeats);
    }
    best.codec
}

/// Keeps the smallest of several encodings at the end of a buffer.
struct Smallest<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    codec: u8,
}

impl<'a> Smallest<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, codec: 0 }
    }

    fn bits(&self) -> usize {
        (self.out.len() - self.start) * 8
    }

    /// Takes an encoding that is smaller than the one so far, and says whether it did.
    fn offer(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> u8) -> bool {
        self.offer_at(1.0, encode)
    }

    /// Takes an encoding that is smaller than this share of the one so far.
    fn offer_at(&mut self, share: f64, encode: impl FnOnce(&mut Vec<u8>) -> u8) -> bool {
        let end = self.out.len();
        let codec = encode(self.out);
        let (before, after) = (end - self.start, self.out.len() - end);
        let is_taken = self.codec == 0 || (after as f64) < before as f64 * share;
        if is_taken {
            self.out.drain(self.start..end);
            self.codec = codec;
        } else {
            self.out.truncate(end);
        }
        is_taken
    }

    /// Takes pco instead of a codec without repeats, or for the heads of one with them.
    #[cfg(feature = "pco")]
    fn offer_pco(&mut self, values: &[f64], plain: &Plain, repeats: Option<Repeats>) {
        if let Some(repeats) = repeats {
            self.offer(|out| repeats.encode_floats(values, Effort::Small, out));
        } else if values.len() >= pcodec::ROWS_MIN && self.bits() > PCO_FROM_BITS * values.len() {
            let digits = (self.codec == Decimal::<false>.id()).then_some(plain.decimal.digits);
            if pcodec::predicted_bits(values, digits) * values.len() as f64 > PCO_PREDICTED * self.bits() as f64 {
                return;
            }
            self.offer_at(PCO_SHARE, |out| {
                pcodec::encode(values, digits, out);
                Pco.id()
            });
        }
    }

    #[cfg(not(feature = "pco"))]
    fn offer_pco(&mut self, _: &[f64], _: &Plain, _: Option<Repeats>) {}
}

/// Most distinct values that are counted; with more of them no dictionary pays.
const DISTINCT_MAX: usize = 640;

/// With more distinct ones than this among the first so many values no dictionary is to be expected.
const EARLY_ROWS: usize = 256;
const EARLY_DISTINCT_MAX: usize = 224;

/// Slots of the table of distinct values, a power of two.
const SLOTS: usize = 2048;

/// What repeats in a column.
#[derive(Clone, Copy, Debug)]
struct Counts {
    /// Values that differ from the one before.
    changes: usize,
    /// Distinct values, if there are not too many.
    distinct: Option<usize>,
    /// Bits of the most frequent of the counted values, and how often it comes.
    mode: u64,
    most: usize,
}

impl Counts {
    fn of(values: &[f64]) -> Self {
        let changes = values.windows(2).filter(|pair| pair[0].to_bits() != pair[1].to_bits()).count();
        let mut counts = Self { changes, distinct: Some(0), mode: 0, most: 0 };
        if changes > 0 {
            counts.count_distinct(values);
        }
        counts
    }

    fn count_distinct(&mut self, values: &[f64]) {
        let mut table = [(0_u64, 0_u16); SLOTS];
        let slots = &mut table[..(2 * values.len()).next_power_of_two().min(SLOTS)];
        let (shift, mask) = (64 - slots.len().ilog2(), slots.len() - 1);
        let mut distinct = 0;
        for (index, value) in values.iter().enumerate() {
            let bits = value.to_bits();
            let mut slot = (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize;
            while slots[slot & mask].1 > 0 && slots[slot & mask].0 != bits {
                slot += 1;
            }
            let (known, count) = &mut slots[slot & mask];
            (*known, *count) = (bits, *count + 1);
            if usize::from(*count) > self.most {
                (self.mode, self.most) = (bits, usize::from(*count));
            }
            distinct += usize::from(*count == 1);
            let too_many = if index < EARLY_ROWS { EARLY_DISTINCT_MAX } else { DISTINCT_MAX };
            if distinct > too_many {
                self.distinct = None;
                return;
            }
        }
        self.distinct = Some(distinct);
    }

    /// The codecs for repeats that may take the least, and the least bits of a value of all and without repeats. A head
    /// is taken to cost what a value does without them.
    fn candidates(self, rows: usize, plain: f64, tolerance: f64) -> (f64, impl Iterator<Item = Repeats>) {
        let rows = rows as f64;
        let heads = (self.changes + 1) as f64 / rows;
        let others = 1.0 - self.most as f64 / rows;
        let dictionary = self.distinct.map_or(f64::INFINITY, |distinct| {
            let place = f64::from(usize::BITS - (distinct - 1).leading_zeros());
            place.min(heads * (place + 2.0)) + distinct as f64 / rows * plain
        });
        let all = [
            (Repeats::Runs, heads * (plain + 1.0 + (1.0 / heads).log2())),
            (Repeats::Changes, 1.0 + heads * plain),
            (Repeats::Mode, 1.0 + others * plain),
            (Repeats::Dictionary, dictionary),
        ];
        let least = all.iter().map(|(_, bits)| *bits).fold(plain, f64::min);
        (least, all.into_iter().filter(move |(_, bits)| *bits <= least * tolerance).map(|(repeats, _)| repeats))
    }
}

/// Appends the encoding of values by a codec that knows no repeats, or of equal values, and says which one it took.
pub(super) fn encode_plain(values: &[f64], effort: Effort, out: &mut Vec<u8>) -> u8 {
    if values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits()) {
        return Repeats::Constant.encode_floats(values, effort, out);
    }
    Plain::of(values).decided(values, effort).encode(values, effort, out)
}

/// A frequent value, mostly the most frequent one.
pub(super) fn frequent(values: &[f64]) -> f64 {
    let mut counts = Counts { changes: 0, distinct: None, mode: 0, most: 0 };
    counts.count_distinct(values);
    f64::from_bits(counts.mode)
}

/// What the codecs that know no repeats should take, in bits of a value.
struct Plain {
    decimal: Digits,
    single: Digits,
    ordered: f64,
}

impl Plain {
    fn of(values: &[f64]) -> Self {
        let sample = Sample::of(values);
        let decimal = decimal::choose_digits::<false>(&sample);
        let may_be_single = decimal.bits > SINGLE_FROM_BITS && sample.is_single();
        let single = if may_be_single { decimal::choose_digits::<true>(&sample) } else { Digits::NONE };
        Self { decimal, single, ordered: ordered::cost(&sample) }
    }

    /// Of the smallest.
    fn bits(&self) -> f64 {
        self.decimal.bits.min(self.single.bits).min(self.ordered)
    }

    /// Only what is smallest: as estimated, or where that is not clear, as some values encoded.
    fn decided(mut self, values: &[f64], effort: Effort) -> Self {
        let most = self.bits() * effort.tolerance();
        let near = [self.decimal.bits, self.single.bits, self.ordered].map(|bits| bits <= most);
        let mut found = [self.decimal.bits, self.single.bits, self.ordered];
        if near.iter().filter(|near| **near).count() > 1 {
            for (at, bits) in found.iter_mut().enumerate() {
                *bits = if near[at] { self.trial_bits(at, values) } else { f64::INFINITY };
            }
        }
        let least = found.iter().copied().fold(f64::INFINITY, f64::min);
        let chosen = found.iter().position(|bits| *bits == least).unwrap_or(0);
        let kept = |at: usize| if at == chosen { least } else { f64::INFINITY };
        (self.decimal.bits, self.single.bits, self.ordered) = (kept(0), kept(1), kept(2));
        self
    }

    /// Bits of a value that one of the codecs takes for some of them.
    fn trial_bits(&self, at: usize, values: &[f64]) -> f64 {
        let is_short = values.len() <= 2 * TRIAL_ROWS;
        let windows = match is_short {
            true => [values, &[]],
            false => [1, 3].map(|quarters| &values[(values.len() - TRIAL_ROWS) * quarters / 4..][..TRIAL_ROWS]),
        };
        let (mut out, mut rows) = (Vec::with_capacity(8 * TRIAL_ROWS), 0);
        for window in windows.iter().filter(|window| !window.is_empty()) {
            self.encode_as(at, window, Effort::Fast, &mut out);
            rows += window.len();
        }
        8.0 * out.len() as f64 / rows as f64
    }

    /// Appends the encoding by a codec: decimal, decimal32, ordered. Says which one that is.
    fn encode_as(&self, at: usize, values: &[f64], effort: Effort, out: &mut Vec<u8>) -> u8 {
        match at {
            0 => {
                decimal::encode::<false>(values, self.decimal.digits, effort, out);
                Decimal::<false>.id()
            }
            1 => {
                decimal::encode::<true>(values, self.single.digits, effort, out);
                Decimal::<true>.id()
            }
            _ => {
                ordered::encode(values, effort, out);
                Ordered.id()
            }
        }
    }

    /// Appends what was decided on, or what is smaller at this effort, and says which codec it took.
    fn encode(&self, values: &[f64], effort: Effort, out: &mut Vec<u8>) -> u8 {
        let all = [self.decimal.bits, self.single.bits, self.ordered];
        let chosen = all.iter().position(|bits| *bits < f64::INFINITY).unwrap_or(0);
        let mut best = Smallest::new(out);
        best.offer(|out| self.encode_as(chosen, values, effort, out));
        if effort != Effort::Fast && best.bits() > GORILLA_FROM_BITS * values.len() {
            best.offer(|out| {
                Gorilla.encode(Column::Floats(values), out);
                Gorilla.id()
            });
        }
        if effort == Effort::Small {
            best.offer_pco(values, self, None);
        }
        best.codec
    }
}

/// Values of each of two windows that codecs are tried on; columns up to twice as long are tried whole.
const TRIAL_ROWS: usize = 128;

/// Values that take fewer bits as plain decimals are not tried as single-precision ones.
const SINGLE_FROM_BITS: f64 = 12.0;

/// Values that take fewer bits are not tried as Gorilla.
const GORILLA_FROM_BITS: usize = 48;

/// Values that take fewer bits are not tried with pco.
#[cfg(feature = "pco")]
const PCO_FROM_BITS: usize = 1;

/// Decoding pco takes two to three times as long as the other codecs: it has to be worth that.
#[cfg(feature = "pco")]
const PCO_SHARE: f64 = 0.88;

/// The prediction is rough: with a greater share of what other codecs take, pco is not tried.
#[cfg(feature = "pco")]
const PCO_PREDICTED: f64 = 0.97;

/// Decodes what [`encode_plain`] wrote.
pub(super) fn decode_plain(id: u8, data: &[u8], rows: usize, out: &mut Vec<f64>) -> Result<()> {
    let codec: &dyn Codec = match id {
        1 => &Gorilla,
        6 => &Decimal::<false>,
        7 => &Decimal::<true>,
        8 => &Ordered,
        9 => &Repeats::Constant,
        14 => &Pco,
        _ => {
            let message = format!("chunk encoding {id} is not known to this version of tsq as one of heads");
            return Err(Error::new(ErrorKind::UnsupportedFormat, message));
        }
    };
    codec.decode(data, rows, ColumnMut::Floats(out))
}
