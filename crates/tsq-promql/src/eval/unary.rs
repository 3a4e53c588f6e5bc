//! The sign in front of a vector.

use std::sync::Arc;

use super::context::Result;
use super::row::{Row, Sample};
use crate::kernels::Out;
use crate::kernels::binary::{self, Operand};

/// Turns the sign of each sample of a row.
pub(crate) fn negate(row: &mut Row) -> Result<bool> {
    row.drop_name = true;
    row.map_floats(|_, value| -value);
    for step in (0..row.steps()).filter(|_| row.has_histograms()).collect::<Vec<_>>() {
        if let Sample::Histogram(histogram) = row.sample(step)
            && let Out::Histogram(negated) = binary::negate(Operand::Histogram(histogram))
        {
            row.set_histogram(step, Arc::new(*negated));
        }
    }
    Ok(true)
}
