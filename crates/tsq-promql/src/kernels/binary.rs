//! Binary operators on samples: floats, native histograms, and mixes of them.

use tsq_core::{Histogram, ResetHint};

use super::histogram::{self, Combined, HistogramSum, Keep};
use super::{HistogramOperation, Note, Notes, Out, math};
use crate::ast::BinaryOp;

/// One side of an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand<'a> {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(&'a Histogram),
}

impl Operand<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// An arithmetic or trim operator. `Out::None` and a note if it has no meaning for these kinds of samples, or if one
/// histogram says that its counter was reset and the other that it was not.
pub(crate) fn arithmetic(op: BinaryOp, left: Operand<'_>, right: Operand<'_>, notes: &mut Notes) -> Out {
    use Operand::{Float, Histogram};
    let out = match (op, left, right) {
        (_, Float(a), Float(b)) => math::arithmetic(op, a, b).map(Out::Float),
        (BinaryOp::Mul, Float(factor), Histogram(h)) | (BinaryOp::Mul, Histogram(h), Float(factor)) => {
            Some(changed(h, |h| histogram::scale(h, factor)))
        }
        (BinaryOp::Div, Histogram(h), Float(divisor)) => Some(changed(h, |h| histogram::divide(h, divisor))),
        (BinaryOp::TrimUpper, Histogram(h), Float(at)) => Some(trimmed(h, at, Keep::Below)),
        (BinaryOp::TrimLower, Histogram(h), Float(at)) => Some(trimmed(h, at, Keep::Above)),
        (BinaryOp::Add | BinaryOp::Sub, Histogram(a), Histogram(b)) => Some(sum_or_difference(op, a, b, notes)),
        _ => None,
    };
    out.unwrap_or_else(|| {
        note_incompatible(op, left, right, notes);
        Out::None
    })
}

/// A comparison. `None` and a note if it has no meaning for these kinds of samples.
pub(crate) fn compare(op: BinaryOp, left: Operand<'_>, right: Operand<'_>, notes: &mut Notes) -> Option<bool> {
    let result = match (op, left, right) {
        (_, Operand::Float(a), Operand::Float(b)) => math::compare(op, a, b),
        (BinaryOp::Equal, Operand::Histogram(a), Operand::Histogram(b)) => Some(histogram::equal(a, b)),
        (BinaryOp::NotEqual, Operand::Histogram(a), Operand::Histogram(b)) => Some(!histogram::equal(a, b)),
        _ => None,
    };
    if result.is_none() {
        note_incompatible(op, left, right, notes);
    }
    result
}

/// `-v`
pub(crate) fn negate(value: Operand<'_>) -> Out {
    match value {
        Operand::Float(value) => Out::Float(-value),
        Operand::Histogram(h) => {
            let mut negated = h.clone();
            histogram::scale(&mut negated, -1.0);
            Out::Histogram(Box::new(negated))
        }
    }
}

fn changed(h: &Histogram, change: impl FnOnce(&mut Histogram)) -> Out {
    let mut result = h.clone();
    change(&mut result);
    histogram::compact(&mut result);
    Out::Histogram(Box::new(result))
}

fn trimmed(h: &Histogram, at: f64, keep: Keep) -> Out {
    let mut result = h.clone();
    histogram::trim(&mut result, at, keep);
    Out::Histogram(Box::new(result))
}

fn sum_or_difference(op: BinaryOp, a: &Histogram, b: &Histogram, notes: &mut Notes) -> Out {
    let subtract = op == BinaryOp::Sub;
    let mut sum = HistogramSum::new(a);
    let (combined, operation) = if subtract {
        (sum.sub(b), HistogramOperation::Subtraction)
    } else {
        (sum.add(b), HistogramOperation::Addition)
    };
    let Ok(combined) = combined else {
        notes.add(Note::IncompatibleBucketLayout(op.name()));
        return Out::None;
    };
    note_reconciled(combined, operation, notes);
    if combined.reset_collision {
        notes.add(Note::CounterResetCollision(operation));
        return Out::None;
    }
    if subtract {
        sum.set_reset_hint(ResetHint::Gauge);
    }
    Out::Histogram(Box::new(sum.finish_compact()))
}

/// Notes reconciled custom bounds.
pub(super) fn note_reconciled(combined: Combined, operation: HistogramOperation, notes: &mut Notes) {
    if combined.bounds_reconciled {
        notes.add(Note::MismatchedCustomBuckets(operation));
    }
}

fn note_incompatible(op: BinaryOp, left: Operand<'_>, right: Operand<'_>, notes: &mut Notes) {
    notes.add(Note::IncompatibleTypes { left: left.kind(), operator: op.name(), right: right.kind() });
}

#[cfg(test)]
mod tests {
    use tsq_core::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::*;

    fn hist(counts: &[f64]) -> Histogram {
        Histogram {
            count: counts.iter().sum(),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive: counts.to_vec(),
            ..Histogram::default()
        }
    }

    fn run(op: BinaryOp, left: Operand<'_>, right: Operand<'_>) -> (Out, Vec<String>) {
        let mut notes = Notes::default();
        let out = arithmetic(op, left, right, &mut notes);
        (out, notes.iter().map(|note| note.text("")).collect())
    }

    fn counts(out: &Out) -> &[f64] {
        let Out::Histogram(histogram) = out else { panic!("{out:?} is no histogram") };
        &histogram.positive
    }

    #[test]
    fn histograms_and_floats() {
        let h = hist(&[2.0, 4.0]);
        let (h, two) = (Operand::Histogram(&h), Operand::Float(2.0));
        assert_eq!(run(BinaryOp::Add, two, two), (Out::Float(4.0), vec![]));
        assert_eq!(counts(&run(BinaryOp::Mul, h, two).0), [4.0, 8.0]);
        assert_eq!(counts(&run(BinaryOp::Mul, two, h).0), [4.0, 8.0]);
        assert_eq!(counts(&run(BinaryOp::Div, h, two).0), [1.0, 2.0]);
        assert_eq!(counts(&run(BinaryOp::TrimUpper, h, Operand::Float(1.0)).0), [2.0]);
        assert_eq!(counts(&run(BinaryOp::TrimLower, h, Operand::Float(1.0)).0), [4.0]);
        for (op, left, right, want) in [
            (BinaryOp::Div, two, h, "\"/\": float / histogram"),
            (BinaryOp::Add, h, two, "\"+\": histogram + float"),
            (BinaryOp::Mul, h, h, "\"*\": histogram * histogram"),
            (BinaryOp::TrimUpper, two, two, "\"</\": float </ float"),
        ] {
            let (out, notes) = run(op, left, right);
            assert_eq!(out, Out::None);
            assert_eq!(
                notes,
                [format!("PromQL info: incompatible sample types encountered for binary operator {want}")]
            );
        }
    }

    #[test]
    fn sums_and_differences_of_histograms() {
        let (a, b) = (hist(&[5.0, 4.0]), hist(&[2.0, 4.0]));
        let (sum, notes) = run(BinaryOp::Add, Operand::Histogram(&a), Operand::Histogram(&b));
        assert_eq!((counts(&sum), notes.len()), (&[7.0, 8.0][..], 0));
        let (difference, _) = run(BinaryOp::Sub, Operand::Histogram(&a), Operand::Histogram(&b));
        assert_eq!(counts(&difference), [3.0]);
        assert!(matches!(difference, Out::Histogram(h) if h.reset_hint == ResetHint::Gauge));
        let custom = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, ..hist(&[1.0]) };
        let (out, notes) = run(BinaryOp::Sub, Operand::Histogram(&a), Operand::Histogram(&custom));
        assert_eq!(out, Out::None);
        assert_eq!(notes, ["PromQL warning: incompatible bucket layout encountered for binary operator -"]);
        let [reset, not_reset] =
            [ResetHint::Reset, ResetHint::NotReset].map(|hint| Histogram { reset_hint: hint, ..a.clone() });
        let (out, notes) = run(BinaryOp::Sub, Operand::Histogram(&reset), Operand::Histogram(&not_reset));
        assert_eq!(out, Out::None);
        assert_eq!(notes, ["PromQL warning: conflicting counter resets during histogram subtraction"]);
    }

    #[test]
    fn comparisons() {
        let (a, b) = (hist(&[1.0]), hist(&[2.0]));
        let (a, b) = (Operand::Histogram(&a), Operand::Histogram(&b));
        let mut notes = Notes::default();
        assert_eq!(compare(BinaryOp::Equal, a, a, &mut notes), Some(true));
        assert_eq!(compare(BinaryOp::NotEqual, a, b, &mut notes), Some(true));
        assert_eq!(compare(BinaryOp::Less, Operand::Float(1.0), Operand::Float(2.0), &mut notes), Some(true));
        assert!(notes.is_empty());
        assert_eq!(compare(BinaryOp::Less, a, b, &mut notes), None);
        assert_eq!(compare(BinaryOp::Equal, a, Operand::Float(1.0), &mut notes), None);
        assert_eq!(notes.iter().count(), 2);
    }

    #[test]
    fn negation() {
        let Out::Histogram(negated) = negate(Operand::Histogram(&hist(&[1.0]))) else { panic!("no histogram") };
        assert_eq!((&negated.positive[..], negated.reset_hint), (&[-1.0][..], ResetHint::Gauge));
        assert_eq!(negate(Operand::Float(1.0)), Out::Float(-1.0));
    }
}
