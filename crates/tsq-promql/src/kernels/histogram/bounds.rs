//! Where buckets begin and end.
//!
//! Bucket `i` of an exponential schema ends at 2^(i * 2^-schema) and begins where bucket `i - 1` ends; negative buckets
//! mirror the positive ones. The bound that would be 2^1024 is the largest finite number, the one after it infinite.

use std::sync::LazyLock;

/// Highest schema with a table of its own.
const TABLE_SCHEMA_MAX: usize = 8;

/// Ratio of neighbouring bounds in schemas 1 to 8, to the bit as Prometheus's table of bounds was made from them.
const RATIOS: [f64; TABLE_SCHEMA_MAX] = [
    // One step below the root of 2.
    std::f64::consts::SQRT_2.next_down(),
    1.189207115002721,
    1.0905077326652577,
    1.0442737824274138,
    1.0218971486541166,
    1.0108892860517005,
    1.0054299011128027,
    1.0027112750502025,
];

/// Bounds in [0.5, 1) of schemas 0 to 8. Every other bound is one of the schema before; those between are products, so
/// that equal bounds have equal bits in all schemas.
static FRACTIONS: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| {
    let mut tables = vec![vec![0.5]];
    for ratio in RATIOS {
        let coarse: &[f64] = tables.last().expect("schema 0 is there from the start");
        tables.push(coarse.iter().flat_map(|&bound| [bound, bound * ratio]).collect());
    }
    tables
});

/// Upper bound of the positive bucket `index`.
pub(crate) fn exponential_bound(index: i32, schema: i8) -> f64 {
    if schema <= 0 {
        let shift = u32::from(schema.unsigned_abs()).min(11);
        return bound_of(0.5, (i64::from(index) << shift) + 1);
    }
    let shift = u32::from(schema.unsigned_abs()).min(TABLE_SCHEMA_MAX as u32);
    let fraction = FRACTIONS[shift as usize][(index & ((1 << shift) - 1)) as usize];
    bound_of(fraction, i64::from(index >> shift) + 1)
}

/// Upper bound of the custom bucket `index`; the last bucket ends at +Inf, what lies before the first begins at -Inf.
pub(crate) fn custom_bound(index: i32, bounds: &[f64]) -> f64 {
    match usize::try_from(index) {
        Ok(index) => bounds.get(index).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// Index of the bucket of the coarser schema `to` that contains bucket `index` of schema `from`.
pub(crate) fn coarser_index(index: i32, from: i8, to: i8) -> i32 {
    let shift = (i32::from(from) - i32::from(to)).clamp(0, 31);
    ((index - 1) >> shift) + 1
}

fn bound_of(fraction: f64, exponent: i64) -> f64 {
    if fraction == 0.5 && exponent == 1025 { f64::MAX } else { scale_by_power(fraction, exponent) }
}

/// `value * 2^exponent`, rounded once; `value` is near 1.
fn scale_by_power(value: f64, exponent: i64) -> f64 {
    let exponent = exponent.clamp(-2000, 2000) as i32;
    let half = exponent / 2;
    value * power_of_two(half) * power_of_two(exponent - half)
}

/// `2^exponent` for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers() {
        for schema in -4..=8 {
            for index in -3000..3000 {
                let want = 2f64.powf(f64::from(index) * 2f64.powi(-i32::from(schema)));
                let got = exponential_bound(index, schema);
                if want.is_finite() && want > 1e-300 {
                    assert!((got / want - 1.0).abs() < 1e-14, "schema {schema} index {index}: {got} {want}");
                }
            }
        }
        assert_eq!(exponential_bound(1, 1), 2.0 * 0.7071067811865475);
        assert_eq!(exponential_bound(-1, 0), 0.5);
    }

    #[test]
    fn bounds_at_the_ends_of_the_floats() {
        assert_eq!(exponential_bound(1023, 0), 2f64.powi(1023));
        assert_eq!(exponential_bound(1024, 0), f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
        assert_eq!(exponential_bound(64, -4), f64::MAX);
        assert_eq!(exponential_bound(1024 << 8, 8), f64::MAX);
        assert_eq!(exponential_bound(i32::MAX, -4), f64::INFINITY);
        assert_eq!(exponential_bound(i32::MIN + 1, -4), 0.0);
        assert_eq!(exponential_bound(-1074, 0), 5e-324);
        assert_eq!(exponential_bound(-1075, 0), 0.0);
    }

    #[test]
    fn coarser_buckets_contain_finer_ones() {
        for index in -70..70 {
            let coarse = coarser_index(index, 3, 1);
            assert!(exponential_bound(index, 3) <= exponential_bound(coarse, 1));
            assert!(exponential_bound(index - 1, 3) >= exponential_bound(coarse - 1, 1));
        }
    }

    #[test]
    fn custom_bounds_end_at_the_infinities() {
        let bounds = [1.0, 2.0];
        let got: Vec<f64> = (-2..4).map(|i| custom_bound(i, &bounds)).collect();
        assert_eq!(got, [f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, 2.0, f64::INFINITY, f64::INFINITY]);
    }
}
