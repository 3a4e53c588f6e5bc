//! Compensated sums (Kahan, Babuska and Neumaier).

/// A sum of floats and what rounding has cost it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Kahan {
    /// The rounded sum.
    pub sum: f64,
    /// What is to be added to `sum` at the end.
    pub rest: f64,
}

impl Kahan {
    /// A sum of one term.
    pub(crate) fn new(value: f64) -> Self {
        Self { sum: value, rest: 0.0 }
    }

    /// Adds a term. A sum that becomes infinite loses its rest, so that it stays infinite.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        add_compensated(&mut self.sum, &mut self.rest, value);
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.sum);
        if other.rest != 0.0 {
            self.add(other.rest);
        }
    }

    /// Multiplies the sum.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.rest *= factor;
    }

    /// Divides the sum.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.rest /= divisor;
    }

    /// The value of the sum.
    pub(crate) fn value(self) -> f64 {
        self.sum + self.rest
    }
}

/// Adds a term to a sum and what rounding costs to its rest. An infinite sum has no rest, so that it stays infinite.
///
/// Knuth's exact error: the same as comparing the operands and subtracting the larger one first, without a branch.
#[inline]
pub(crate) fn add_compensated(sum: &mut f64, rest: &mut f64, value: f64) {
    let total = *sum + value;
    let added = total - *sum;
    let lost = (*sum - (total - added)) + (value - added);
    *rest = if total.is_infinite() { 0.0 } else { *rest + lost };
    *sum = total;
}

impl FromIterator<f64> for Kahan {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(value));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!([1.0, 1e100, 1.0, -1e100].into_iter().collect::<Kahan>().value(), 2.0);
        let tenths: Kahan = std::iter::repeat_n(0.1, 1_000_000).collect();
        assert!((tenths.value() - 100_000.0).abs() < 1e-10);
    }

    #[test]
    fn what_is_lost_is_exact() {
        let terms = [1.0, 1e16, -3.0, f64::MIN_POSITIVE, -1e16, 0.1, f64::MAX, -f64::MAX, 5e-324, -0.0];
        for a in terms {
            for b in terms {
                let (mut sum, mut rest) = (a, 0.0);
                add_compensated(&mut sum, &mut rest, b);
                let total = a + b;
                let lost = if a.abs() >= b.abs() { (a - total) + b } else { (b - total) + a };
                assert_eq!((sum, rest), (total, if total.is_infinite() { 0.0 } else { lost }), "{a} + {b}");
            }
        }
    }

    #[test]
    fn infinities_stay() {
        assert_eq!([f64::INFINITY, 1.0].into_iter().collect::<Kahan>().value(), f64::INFINITY);
        assert_eq!([f64::MAX, f64::MAX].into_iter().collect::<Kahan>().value(), f64::INFINITY);
        assert!([f64::INFINITY, f64::NEG_INFINITY].into_iter().collect::<Kahan>().value().is_nan());
    }
}
