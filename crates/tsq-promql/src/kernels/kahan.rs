//! Compensated sums (Kahan and Babuska, with Neumaier's swap of the operands).

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
        let total = self.sum + value;
        if total.is_infinite() {
            self.rest = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.rest += (self.sum - total) + value;
        } else {
            self.rest += (value - total) + self.sum;
        }
        self.sum = total;
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
    fn infinities_stay() {
        assert_eq!([f64::INFINITY, 1.0].into_iter().collect::<Kahan>().value(), f64::INFINITY);
        assert_eq!([f64::MAX, f64::MAX].into_iter().collect::<Kahan>().value(), f64::INFINITY);
        assert!([f64::INFINITY, f64::NEG_INFINITY].into_iter().collect::<Kahan>().value().is_nan());
    }
}
