//! How a query was evaluated, for people who want to know where its time goes.

use std::time::Duration;

use crate::ast::TextRange;

/// The plan of a query with what each part of it did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explain {
    /// Time from the text to the answer: parsing, planning, reading and computing.
    pub time: Duration,
    /// The parts, each before those it takes series from. None for a query that reads nothing.
    pub parts: Vec<PlanPart>,
}

/// What kind of expression a part of a plan evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanKind {
    /// An instant selector.
    Selector,
    /// A range selector.
    Range,
    /// A subquery.
    Subquery,
    /// A function.
    Call,
    /// An aggregation.
    Aggregation,
    /// A binary operator.
    Binary,
    /// A sign.
    Unary,
}

impl PlanKind {
    /// The name that JSON has for it.
    pub fn name(self) -> &'static str {
        match self {
            PlanKind::Selector => "selector",
            PlanKind::Range => "range",
            PlanKind::Subquery => "subquery",
            PlanKind::Call => "call",
            PlanKind::Aggregation => "aggregation",
            PlanKind::Binary => "binary",
            PlanKind::Unary => "unary",
        }
    }
}

/// A part of a plan. Counts of reading are its own, without those of its children.
///
/// A selector directly inside of `timestamp` is read by that function and has no part of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanPart {
    /// How many parts it lies inside of. Its parent is the last part before it that has one less.
    pub depth: usize,
    /// What it evaluates.
    pub kind: PlanKind,
    /// The selector, function or operator with its grouping or matching, such as `sum by (job)`.
    pub operator: String,
    /// Where its expression stands in the query text.
    pub range: TextRange,
    /// Evaluation times: 1 for what is the same at all times and evaluated once.
    pub steps: u64,
    /// Series it handed on; for selectors of a range, series it read.
    pub series: u64,
    /// Samples read from the store.
    pub samples: u64,
    /// How many of `samples`, before several of one time became one, lay in the head.
    pub head_samples: u64,
    /// Chunks decoded.
    pub chunks: u64,
    /// Encoded bytes of those chunks.
    pub chunk_bytes: u64,
    /// Time spent in it and in its children. What several threads read at once counts once.
    pub time: Duration,
    /// `time` without that of its children.
    pub self_time: Duration,
    /// Most query memory held at once, by the whole query, while this part or a child of it was at work; in bytes.
    pub peak_bytes: u64,
}
