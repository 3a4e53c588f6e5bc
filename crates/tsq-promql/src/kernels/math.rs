//! Functions and operators on single floats.

use std::f64::consts::PI;

use crate::ast::BinaryOp;

/// A function of one float.
pub(crate) type FloatFunction = fn(f64) -> f64;

/// The functions of one float, by name.
pub(crate) static FLOAT_FUNCTIONS: &[(&str, FloatFunction)] = &[
    ("abs", f64::abs),
    ("acos", f64::acos),
    ("acosh", acosh),
    ("asin", f64::asin),
    ("asinh", asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("ceil", f64::ceil),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("deg", |v| v * 180.0 / PI),
    ("exp", f64::exp),
    ("floor", f64::floor),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("rad", |v| v * PI / 180.0),
    ("sgn", sign),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
];

/// The angle of a point; one too near to the negative axis to tell is above it, as Prometheus has it.
fn atan2(y: f64, x: f64) -> f64 {
    if y < 0.0 && x < 0.0 && x.is_finite() && y / x == 0.0 { PI } else { y.atan2(x) }
}

/// The inverse of `sinh`; does not overflow.
fn asinh(value: f64) -> f64 {
    // From here on `sinh` is half of `exp` to the last bit.
    let large = || (value.abs().ln() + std::f64::consts::LN_2).copysign(value);
    if value.abs() >= f64::from(1 << 28) { large() } else { value.asinh() }
}

/// The inverse of `cosh`; does not overflow.
fn acosh(value: f64) -> f64 {
    // From here on `cosh` is half of `exp` to the last bit.
    if value >= f64::from(1 << 28) { value.ln() + std::f64::consts::LN_2 } else { value.acosh() }
}

/// `round(v, to_nearest)`: the nearest multiple, the upper one of two equally near.
pub(crate) fn round(value: f64, to_nearest: f64) -> f64 {
    // Multiplying with the inverse loses less than dividing by decimal fractions.
    let inverse = 1.0 / to_nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// `clamp(v, min, max)`. `None` if `min` is above `max`: the result is empty then. NaN if anything is NaN.
pub(crate) fn clamp(value: f64, min: f64, max: f64) -> Option<f64> {
    if max < min { None } else { Some(max_of(min, min_of(max, value))) }
}

/// The smaller of two numbers. NaN if one is NaN, unless the other is -Inf.
pub(crate) fn min_of(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// The larger of two numbers. NaN if one is NaN, unless the other is +Inf.
pub(crate) fn max_of(a: f64, b: f64) -> f64 {
    -min_of(-a, -b)
}

/// An arithmetic operator on two floats; `None` for operators that do not compute a float.
pub(crate) fn arithmetic(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => atan2(left, right),
        _ => return None,
    })
}

/// A comparison of two floats; `None` for operators that do not compare.
pub(crate) fn compare(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => return None,
    })
}

fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn call(name: &str, value: f64) -> f64 {
        let (_, function) = FLOAT_FUNCTIONS.iter().find(|(n, _)| *n == name).expect("a known name");
        function(value)
    }

    #[test]
    fn functions_of_one_float() {
        assert!(FLOAT_FUNCTIONS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(call("sgn", -3.0), -1.0);
        assert_eq!(call("sgn", -0.0).to_bits(), (-0.0_f64).to_bits());
        assert!(call("sgn", f64::NAN).is_nan());
        assert_eq!(call("deg", PI), 180.0);
        assert_eq!(call("rad", 180.0), PI);
        assert_eq!(call("ln", 0.0), -INF);
        assert!(call("sqrt", -1.0).is_nan());
        assert!(call("acosh", 0.5).is_nan());
        assert_eq!(call("asinh", -f64::MAX), -call("acosh", f64::MAX));
        assert_eq!(call("asinh", f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(call("atanh", 1.0), INF);
        assert_eq!(call("log2", 8.0), 3.0);
    }

    #[test]
    fn rounding() {
        assert_eq!(round(2.5, 1.0), 3.0);
        assert_eq!(round(-2.5, 1.0), -2.0);
        assert_eq!(round(0.34, 0.1), 0.3);
        assert_eq!(round(7.0, 5.0), 5.0);
        assert!(round(1.0, f64::NAN).is_nan());
    }

    #[test]
    fn clamping() {
        assert_eq!(clamp(5.0, 1.0, 3.0), Some(3.0));
        assert_eq!(clamp(-5.0, 1.0, 3.0), Some(1.0));
        assert_eq!(clamp(2.0, 3.0, 1.0), None);
        assert!(clamp(2.0, f64::NAN, 1.0).is_some_and(f64::is_nan));
        assert!(clamp(f64::NAN, 0.0, 1.0).is_some_and(f64::is_nan));
        assert_eq!(max_of(INF, f64::NAN), INF);
        assert!(min_of(INF, f64::NAN).is_nan());
    }

    #[test]
    fn operators_follow_c() {
        let op = |op, a, b| arithmetic(op, a, b).expect("an arithmetic operator");
        assert_eq!(op(BinaryOp::Mod, -5.0, 3.0), -2.0);
        assert_eq!(op(BinaryOp::Mod, 5.0, -3.0), 2.0);
        assert!(op(BinaryOp::Mod, 5.0, 0.0).is_nan());
        assert_eq!(op(BinaryOp::Mod, 5.0, INF), 5.0);
        assert_eq!(op(BinaryOp::Pow, -1.0, INF), 1.0);
        assert_eq!(op(BinaryOp::Pow, f64::NAN, 0.0), 1.0);
        assert!(op(BinaryOp::Pow, -8.0, 1.0 / 3.0).is_nan());
        assert_eq!(op(BinaryOp::Atan2, 0.0, -1.0), PI);
        assert_eq!(op(BinaryOp::Atan2, -2.5, f64::NEG_INFINITY), -PI);
        assert_eq!(op(BinaryOp::Div, 1.0, -0.0), -INF);
        assert_eq!(arithmetic(BinaryOp::Less, 1.0, 2.0), None);
        assert_eq!(compare(BinaryOp::NotEqual, f64::NAN, f64::NAN), Some(true));
        assert_eq!(compare(BinaryOp::GreaterEqual, f64::NAN, 1.0), Some(false));
        assert_eq!(compare(BinaryOp::Add, 1.0, 1.0), None);
    }
}
