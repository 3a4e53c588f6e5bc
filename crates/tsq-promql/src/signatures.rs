//! Names, arguments and results of all functions: what type checking needs to know.

use std::fmt;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// One sample of each of some series.
    Vector,
    /// A run of samples of each of some series.
    Matrix,
    /// A string.
    String,
}

impl ValueType {
    /// The short name, as the HTTP API gives it.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }
}

/// The name used in error messages.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            other => other.name(),
        })
    }
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// As many as there are types.
    Exact,
    /// All types but the last must be given; then up to this many arguments of the last type.
    UpTo(usize),
    /// All types but the last must be given; then any number of arguments of the last type.
    Any,
}

/// A function as type checking sees it.
#[derive(Debug)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Types of its arguments.
    pub args: &'static [ValueType],
    /// How many of them there are.
    pub arity: Arity,
    /// Type of its result.
    pub returns: ValueType,
}

impl Signature {
    /// Fewest arguments.
    pub(crate) fn args_min(&self) -> usize {
        match self.arity {
            Arity::Exact => self.args.len(),
            Arity::UpTo(_) | Arity::Any => self.args.len() - 1,
        }
    }

    /// Most arguments, if there is a bound.
    pub(crate) fn args_max(&self) -> Option<usize> {
        match self.arity {
            Arity::Exact => Some(self.args.len()),
            Arity::UpTo(more) => Some(self.args.len() - 1 + more),
            Arity::Any => None,
        }
    }

    /// Type of the argument at `index`; the last type repeats. None if the function takes no arguments.
    pub(crate) fn arg(&self, index: usize) -> Option<ValueType> {
        self.args.get(index).or(self.args.last()).copied()
    }
}

/// All functions, by name.
pub fn signatures() -> &'static [Signature] {
    SIGNATURES
}

/// The function of this name.
pub fn signature(name: &str) -> Option<&'static Signature> {
    let at = SIGNATURES.binary_search_by(|signature| signature.name.cmp(name)).ok()?;
    Some(&SIGNATURES[at])
}

const S: ValueType = ValueType::Scalar;
const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;
const T: ValueType = ValueType::String;

const fn exact(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, args, arity: Arity::Exact, returns }
}

const fn up_to(more: usize, name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { name, args, arity: Arity::UpTo(more), returns: V }
}

const fn any(name: &'static str, args: &'static [ValueType]) -> Signature {
    Signature { name, args, arity: Arity::Any, returns: V }
}

/// All functions of Prometheus 3.14, by name.
pub(crate) static SIGNATURES: &[Signature] = &[
    exact("abs", &[V], V),
    exact("absent", &[V], V),
    exact("absent_over_time", &[M], V),
    exact("acos", &[V], V),
    exact("acosh", &[V], V),
    exact("asin", &[V], V),
    exact("asinh", &[V], V),
    exact("atan", &[V], V),
    exact("atanh", &[V], V),
    exact("avg_over_time", &[M], V),
    exact("ceil", &[V], V),
    exact("changes", &[M], V),
    exact("clamp", &[V, S, S], V),
    exact("clamp_max", &[V, S], V),
    exact("clamp_min", &[V, S], V),
    exact("cos", &[V], V),
    exact("cosh", &[V], V),
    exact("count_over_time", &[M], V),
    up_to(1, "day_of_month", &[V]),
    up_to(1, "day_of_week", &[V]),
    up_to(1, "day_of_year", &[V]),
    up_to(1, "days_in_month", &[V]),
    exact("deg", &[V], V),
    exact("delta", &[M], V),
    exact("deriv", &[M], V),
    exact("double_exponential_smoothing", &[M, S, S], V),
    exact("end", &[], S),
    exact("exp", &[V], V),
    exact("first_over_time", &[M], V),
    exact("floor", &[V], V),
    exact("histogram_avg", &[V], V),
    exact("histogram_count", &[V], V),
    exact("histogram_fraction", &[S, S, V], V),
    exact("histogram_quantile", &[S, V], V),
    up_to(9, "histogram_quantiles", &[V, T, S, S]),
    exact("histogram_stddev", &[V], V),
    exact("histogram_stdvar", &[V], V),
    exact("histogram_sum", &[V], V),
    up_to(1, "hour", &[V]),
    exact("idelta", &[M], V),
    exact("increase", &[M], V),
    up_to(1, "info", &[V, V]),
    exact("irate", &[M], V),
    any("label_join", &[V, T, T, T]),
    exact("label_replace", &[V, T, T, T, T], V),
    exact("last_over_time", &[M], V),
    exact("ln", &[V], V),
    exact("log10", &[V], V),
    exact("log2", &[V], V),
    exact("mad_over_time", &[M], V),
    exact("max_of", &[S, S], S),
    exact("max_over_time", &[M], V),
    exact("min_of", &[S, S], S),
    exact("min_over_time", &[M], V),
    up_to(1, "minute", &[V]),
    up_to(1, "month", &[V]),
    exact("pi", &[], S),
    exact("predict_linear", &[M, S], V),
    exact("present_over_time", &[M], V),
    exact("quantile_over_time", &[S, M], V),
    exact("rad", &[V], V),
    exact("range", &[], S),
    exact("rate", &[M], V),
    exact("resets", &[M], V),
    up_to(1, "round", &[V, S]),
    exact("scalar", &[V], S),
    exact("sgn", &[V], V),
    exact("sin", &[V], V),
    exact("sinh", &[V], V),
    exact("sort", &[V], V),
    any("sort_by_label", &[V, T]),
    any("sort_by_label_desc", &[V, T]),
    exact("sort_desc", &[V], V),
    exact("sqrt", &[V], V),
    exact("start", &[], S),
    exact("start_timestamp", &[V], V),
    exact("stddev_over_time", &[M], V),
    exact("stdvar_over_time", &[M], V),
    exact("step", &[], S),
    exact("sum_over_time", &[M], V),
    exact("tan", &[V], V),
    exact("tanh", &[V], V),
    exact("time", &[], S),
    exact("timestamp", &[V], V),
    exact("ts_of_first_over_time", &[M], V),
    exact("ts_of_last_over_time", &[M], V),
    exact("ts_of_max_over_time", &[M], V),
    exact("ts_of_min_over_time", &[M], V),
    exact("vector", &[S], V),
    up_to(1, "year", &[V]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_found() {
        assert!(SIGNATURES.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(SIGNATURES.len(), 90);
        for want in SIGNATURES {
            assert_eq!(signature(want.name).unwrap().name, want.name);
        }
        assert!(signature("nosuch").is_none());
    }

    #[test]
    fn argument_counts() {
        let counts = |name| (signature(name).unwrap().args_min(), signature(name).unwrap().args_max());
        assert_eq!(counts("round"), (1, Some(2)));
        assert_eq!(counts("hour"), (0, Some(1)));
        assert_eq!(counts("histogram_quantiles"), (3, Some(12)));
        assert_eq!(counts("label_join"), (3, None));
        assert_eq!(counts("pi"), (0, Some(0)));
        assert_eq!(signature("label_join").unwrap().arg(7), Some(ValueType::String));
    }
}
