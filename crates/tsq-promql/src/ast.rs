//! The syntax tree. Every node knows the bytes of the query text it came from.

#![allow(missing_docs, reason = "operators and their parts are named by the words of the language")]

use tsq_core::Matcher;

/// Bytes `start..end` of the query text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextRange {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub node: Node,
    /// Where it stands in the query text.
    pub range: TextRange,
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A number; durations used as scalars are numbers of seconds. `text` is the literal as written, for printing.
    Number { value: f64, text: String },
    /// A string.
    String(String),
    /// `metric{label="value"} offset 5m @ 10`
    Selector(Selector),
    /// `selector[5m]`
    Matrix { selector: Selector, range: DurationExpr },
    /// `expr[30m:1m]`
    Subquery(Box<Subquery>),
    /// `-expr` and `+expr`
    Unary { negate: bool, expr: Box<Expr> },
    /// `(expr)`
    Paren(Box<Expr>),
    /// `left op right`
    Binary(Box<Binary>),
    /// `sum by (job) (expr)`
    Aggregate(Box<Aggregate>),
    /// `rate(expr)`; the name is that of a known function.
    Call { function: &'static str, args: Vec<Expr> },
    /// `step()` and its like where PromQL takes a number.
    Context(ContextValue),
}

/// A vector selector with its modifiers.
#[derive(Clone, Debug)]
pub struct Selector {
    /// Metric name as written before the braces, if it was.
    pub name: Option<String>,
    /// All matchers, that of the name among them (as `__name__`).
    pub matchers: Vec<Matcher>,
    /// Times it is shifted to.
    pub modifiers: Modifiers,
}

/// `offset`, `@`, `anchored` and `smoothed`.
#[derive(Clone, Debug, Default)]
pub struct Modifiers {
    /// `offset 5m`; may be negative.
    pub offset: Option<DurationExpr>,
    /// `@ 10`, `@ start()`, `@ end()`.
    pub at: Option<At>,
    /// `anchored` or `smoothed`.
    pub extended: Option<Extended>,
}

/// The time of an `@` modifier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since 1970.
    Time(i64),
    /// First time of the query.
    Start,
    /// Last time of the query.
    End,
}

/// Extended range selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// Include the sample before the range.
    Anchored,
    /// Interpolate at the edges of the range.
    Smoothed,
}

/// A duration in a modifier or range, in seconds once evaluated.
#[derive(Clone, Debug)]
pub struct DurationExpr {
    /// What it is.
    pub node: DurationNode,
    /// Where it stands in the query text.
    pub range: TextRange,
}

/// Duration arithmetic.
#[derive(Clone, Debug)]
pub enum DurationNode {
    /// Seconds; `text` is the literal as written.
    Literal { seconds: f64, text: String },
    /// `step()`, `range()`.
    Context(ContextValue),
    /// `-d`, `+d`
    Unary { negate: bool, expr: Box<DurationExpr> },
    /// `(d)`
    Paren(Box<DurationExpr>),
    /// `+ - * / % ^`
    Binary { op: BinaryOp, left: Box<DurationExpr>, right: Box<DurationExpr> },
    /// `min_of(a, b)`, `max_of(a, b)`
    MinMax { max: bool, left: Box<DurationExpr>, right: Box<DurationExpr> },
}

/// A value that the query gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextValue {
    /// Seconds between evaluation times.
    Step,
    /// Seconds from the first to the last evaluation time.
    Range,
    /// First evaluation time, seconds since 1970.
    Start,
    /// Last evaluation time, seconds since 1970.
    End,
}

/// `expr[range:step]` with modifiers.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// Evaluated at each step.
    pub expr: Expr,
    /// How far back.
    pub range: DurationExpr,
    /// Step, or the default evaluation interval.
    pub step: Option<DurationExpr>,
    /// `offset` and `@`.
    pub modifiers: Modifiers,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
    /// `</`: keep the observations below.
    TrimUpper,
    /// `>/`: keep the observations above.
    TrimLower,
}

/// A binary operation.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Operator.
    pub op: BinaryOp,
    /// Left side.
    pub left: Expr,
    /// Right side.
    pub right: Expr,
    /// `bool`: comparisons give 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How vectors match.
    pub matching: Matching,
}

/// How the elements of two vectors find each other.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// `true`: `on (labels)`, `false`: `ignoring (labels)`.
    pub on: bool,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `on` or `ignoring` was written.
    pub explicit: bool,
    /// `group_left` or `group_right`.
    pub group: Group,
    /// Labels taken from the "one" side.
    pub include: Vec<String>,
    /// Value for elements missing on the left, by `fill` or `fill_left`.
    pub fill_left: Option<f64>,
    /// Value for elements missing on the right, by `fill` or `fill_right`.
    pub fill_right: Option<f64>,
}

/// Cardinality of a vector match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// One to one, or many to many for set operators.
    #[default]
    None,
    /// `group_left`: many on the left.
    Left,
    /// `group_right`: many on the right.
    Right,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// An aggregation.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// Parameter of `topk`, `quantile`, `count_values` and their like.
    pub param: Option<Expr>,
    /// Labels of `by` or `without`.
    pub labels: Vec<String>,
    /// `true`: `without (labels)`; `false`: `by (labels)`.
    pub without: bool,
}
