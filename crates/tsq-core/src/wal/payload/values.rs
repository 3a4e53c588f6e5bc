//! Columns of floats, bit for bit. Neighbours in a record are of different series, so each value is stored nearly alone.
//! ~~~text
//! tag 0  raw      8 bytes little-endian each
//! tag 1  trimmed  bits xor those of the value before (the first: 0); one byte: leading zero bytes << 4 | bytes kept;
//!                 then the kept bytes, little-endian (what is left out below them is zero)
//! tag 2  decimal  a varint each: 2 + zigzag(p), value = p / 10^e; e is 0 at first. 0: the next byte is a new e (0 to
//!                 14), and a varint above 0 follows; 1: 8 raw bytes follow
//! ~~~
//! An empty column has no bytes. The tag is chosen by what a sample of the values would cost.

use super::bytes::{Reader, push_varint, unzigzag, varint_len, zigzag};
use crate::error::Result;

const RAW: u8 = 0;
const TRIMMED: u8 = 1;
const DECIMAL: u8 = 2;

const NEW_EXPONENT: u64 = 0;
const EXCEPTION: u64 = 1;
const FIRST_P: u64 = 2;

const EXPONENT_MAX: usize = 14;
/// Largest magnitude of p: integers up to here are exact as floats.
const P_MAX: f64 = 9_007_199_254_740_992.0;

const POWERS: [f64; EXPONENT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];

/// How many values the choice looks at.
const SAMPLE: usize = 32;

/// Appends a column.
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let start = out.len();
    match choose(values) {
        DECIMAL => encode_decimal(values, out),
        TRIMMED => encode_trimmed(values, out),
        _ => encode_raw(values, out),
    }
    if out.len() - start > 1 + 8 * values.len() {
        out.truncate(start);
        encode_raw(values, out);
    }
}

fn choose(values: &[f64]) -> u8 {
    let step = values.len().div_ceil(SAMPLE);
    let (mut raw, mut trimmed, mut decimal) = (0, 0, 0);
    let mut search = Search::default();
    for index in (0..values.len()).step_by(step) {
        let bits = values[index].to_bits();
        let before = index.checked_sub(1).map_or(0, |before| values[before].to_bits());
        raw += 8;
        trimmed += 1 + kept(bits ^ before).1;
        let exponent = search.exponent;
        decimal += match search.decimal(values[index]) {
            Some(p) => varint_len(zigzag(p) + FIRST_P) + 2 * usize::from(search.exponent != exponent),
            None => 9,
        };
    }
    match (decimal <= trimmed, decimal.min(trimmed) < raw) {
        (_, false) => RAW,
        (true, true) => DECIMAL,
        (false, true) => TRIMMED,
    }
}

fn encode_raw(values: &[f64], out: &mut Vec<u8>) {
    out.push(RAW);
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Leading zero bytes, and bytes between them and the trailing zero bytes.
fn kept(bits: u64) -> (usize, usize) {
    if bits == 0 {
        return (0, 0);
    }
    let (leading, trailing) = (bits.leading_zeros() as usize / 8, bits.trailing_zeros() as usize / 8);
    (leading, 8 - leading - trailing)
}

fn encode_trimmed(values: &[f64], out: &mut Vec<u8>) {
    out.push(TRIMMED);
    out.reserve(9 * values.len());
    let mut before = 0;
    for value in values {
        let bits = value.to_bits() ^ before;
        before = value.to_bits();
        let (leading, len) = kept(bits);
        out.push((leading << 4 | len) as u8);
        let low = if len == 0 { 0 } else { bits >> (8 * (8 - leading - len)) };
        out.extend_from_slice(&low.to_le_bytes()[..len]);
    }
}

/// Finds p and e with value = p / 10^e, trying the last e first.
#[derive(Default)]
struct Search {
    exponent: usize,
    misses: usize,
    tried: usize,
}

impl Search {
    fn decimal(&mut self, value: f64) -> Option<i64> {
        self.tried += 1;
        if let Some(p) = exact(value, self.exponent) {
            return Some(p);
        }
        // Where most values are no short decimals, looking for one is not worth its divisions.
        if self.misses > 8 + self.tried / 8 || !value.is_finite() {
            return None;
        }
        let too_large = value.abs() * POWERS[self.exponent] >= P_MAX;
        let candidates = if too_large { 0..self.exponent } else { self.exponent + 1..EXPONENT_MAX + 1 };
        for exponent in candidates {
            if let Some(p) = exact(value, exponent) {
                self.exponent = exponent;
                return Some(p);
            }
        }
        self.misses += 1;
        None
    }
}

/// p with value = p / 10^e exactly; none for -0.0, NaN and infinities.
fn exact(value: f64, exponent: usize) -> Option<i64> {
    let scaled = value * POWERS[exponent];
    let p = scaled.round_ties_even() as i64;
    let same = scaled.abs() <= P_MAX && (p as f64 / POWERS[exponent]).to_bits() == value.to_bits();
    same.then_some(p)
}

fn encode_decimal(values: &[f64], out: &mut Vec<u8>) {
    out.push(DECIMAL);
    let mut search = Search::default();
    for &value in values {
        let exponent = search.exponent;
        let Some(p) = search.decimal(value) else {
            out.push(EXCEPTION as u8);
            out.extend_from_slice(&value.to_le_bytes());
            continue;
        };
        if search.exponent != exponent {
            out.extend_from_slice(&[NEW_EXPONENT as u8, search.exponent as u8]);
        }
        push_varint(out, zigzag(p) + FIRST_P);
    }
}

/// Appends `count` values to `out`.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    match reader.u8()? {
        RAW => (0..count).try_for_each(|_| {
            out.push(reader.f64()?);
            Ok(())
        }),
        TRIMMED => decode_trimmed(reader, count, out),
        DECIMAL => decode_decimal(reader, count, out),
        tag => Err(reader.corrupt(&format!("value tag {tag}, known are 0 to 2"))),
    }
}

fn decode_trimmed(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<()> {
    let mut before = 0;
    for _ in 0..count {
        let control = usize::from(reader.u8()?);
        let (leading, len) = (control >> 4, control & 0xf);
        if leading + len > 8 {
            return Err(reader.corrupt(&format!("{leading} leading zero bytes and {len} more of eight")));
        }
        let mut low = [0; 8];
        low[..len].copy_from_slice(reader.bytes(len)?);
        let shift = 8 * (8 - leading - len) as u32;
        before ^= u64::from_le_bytes(low).checked_shl(shift).unwrap_or(0);
        out.push(f64::from_bits(before));
    }
    Ok(())
}

fn decode_decimal(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<()> {
    let mut power = POWERS[0];
    for _ in 0..count {
        let mut token = reader.varint()?;
        if token == NEW_EXPONENT {
            let exponent = reader.u8()?;
            power = *POWERS
                .get(usize::from(exponent))
                .ok_or_else(|| reader.corrupt(&format!("exponent {exponent}, at most {EXPONENT_MAX} is known")))?;
            token = reader.varint()?;
        }
        out.push(match token {
            EXCEPTION => reader.f64()?,
            NEW_EXPONENT => return Err(reader.corrupt("two new exponents in a row")),
            p => unzigzag(p - FIRST_P) as f64 / power,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{NORMAL_NAN_BITS, stale_nan};

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn check(values: &[f64], out: &[u8]) {
        let mut got = Vec::new();
        let mut reader = Reader::new(out);
        decode(&mut reader, values.len(), &mut got).unwrap();
        assert_eq!(bits(&got), bits(values));
        assert_eq!(reader.remaining(), 0);
        for cut in 0..out.len() {
            assert!(decode(&mut Reader::new(&out[..cut]), values.len(), &mut Vec::new()).is_err());
        }
    }

    /// Every way to store them, and the chosen one. Returns the latter's tag and length.
    fn round_trip(values: &[f64]) -> (u8, usize) {
        for way in [encode_raw as fn(&[f64], &mut Vec<u8>), encode_trimmed, encode_decimal] {
            let mut out = Vec::new();
            way(values, &mut out);
            if !values.is_empty() {
                check(values, &out);
            }
        }
        let mut out = Vec::new();
        encode(values, &mut out);
        check(values, &out);
        (out.first().copied().unwrap_or(RAW), out.len())
    }

    #[test]
    fn typical_columns_get_the_fitting_way() {
        let counters: Vec<f64> = (0..200).map(|i| f64::from(i % 40)).collect();
        assert_eq!(round_trip(&counters), (DECIMAL, 201));
        let watts: Vec<f64> = (0..200).map(|i| f64::from(2_000 + i * 7) / 10.0).collect();
        let (tag, len) = round_trip(&watts);
        assert!(tag == DECIMAL && len < 200 * 2 + 200 / 2, "{len}");
        let floats32: Vec<f64> = (0..200).map(|i| f64::from((i as f32 * 0.37).sin())).collect();
        let (tag, len) = round_trip(&floats32);
        assert!(tag == TRIMMED && len < 200 * 7, "{len}");
        let noise: Vec<f64> = (0..200).map(|i| (f64::from(i) * 0.37).sin()).collect();
        assert!(round_trip(&noise).1 <= 1 + 200 * 8);
    }

    #[test]
    fn special_values_keep_every_bit() {
        let special = [
            0.0,
            -0.0,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
            stale_nan(),
            f64::from_bits(NORMAL_NAN_BITS),
            f64::from_bits(0xffff_ffff_ffff_ffff),
            P_MAX,
            -P_MAX,
            P_MAX + 2.0,
            0.1,
            1e14,
            1e15,
            1e22,
            1e-14,
            123_456.789,
            1.0 / 3.0,
        ];
        round_trip(&special);
        for value in special {
            round_trip(&[value]);
            round_trip(&[1.5, value, 2.25, value]);
        }
        round_trip(&[]);
    }

    proptest! {
        #[test]
        fn any_bits_round_trip(raw in prop::collection::vec(any::<u64>(), 0..60)) {
            round_trip(&raw.into_iter().map(f64::from_bits).collect::<Vec<_>>());
        }

        #[test]
        fn decimals_round_trip(parts in prop::collection::vec((-1_000_000_i64..1_000_000, 0_usize..8), 1..80)) {
            round_trip(&parts.into_iter().map(|(p, e)| p as f64 / POWERS[e]).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), tag in 0_u8..4, count in 0_usize..30) {
            let framed: Vec<u8> = [tag].into_iter().chain(bytes).collect();
            let _ = decode(&mut Reader::new(&framed), count, &mut Vec::new());
        }
    }
}
