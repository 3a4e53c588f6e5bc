//! Hints from the metadata of metrics: `rate` over a gauge, and totals of a counter that are computed with as they are.
//!
//! The rules (docs/promql.md, "Hints") look at the query text alone. Metadata is asked for the metrics that the text
//! names, each once, and only when some rule could say something about them.

use std::collections::HashMap;

use tsq_core::{MatchOp, Metadata};

use crate::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Expr, Node, Selector, TextRange};
use crate::kernels::Note;
use crate::signatures::ValueType;

/// Something that would be odd if the metric had a certain type.
struct Suspect<'q> {
    metric: &'q str,
    /// Where the selector stands.
    range: TextRange,
    used: Use,
}

/// What a metric is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// `rate` and its like: the metric should not be a gauge.
    AsCounter,
    /// In the named aggregation as it is: it should not be a counter.
    Aggregated(&'static str),
    /// Beside the named operator as it is: it should not be a counter.
    Computed(&'static str),
}

/// Calls `say` with each hint: what there is to say, about which metric, and where the metric stands. `metadata` gives
/// what is known about a metric; it is called at most twice for each metric of the query.
pub(crate) fn hints(
    expr: &Expr,
    metadata: impl Fn(&str) -> Option<Metadata>,
    mut say: impl FnMut(Note, &str, TextRange),
) {
    let mut suspects = Vec::new();
    collect(expr, &mut suspects);
    let mut types: HashMap<&str, Option<String>> = HashMap::new();
    for suspect in suspects {
        let known = types.entry(suspect.metric).or_insert_with(|| type_of(suspect.metric, &metadata));
        match (suspect.used, known.as_deref()) {
            (Use::AsCounter, Some("gauge")) => say(Note::GaugeByMetadata, suspect.metric, suspect.range),
            (Use::Aggregated(name), Some("counter")) => {
                say(Note::CounterAggregated(name), suspect.metric, suspect.range);
            }
            (Use::Computed(operator), Some("counter")) => {
                say(Note::CounterComputed(operator), suspect.metric, suspect.range);
            }
            _ => {}
        }
    }
}

/// The type of a metric, or of the OpenMetrics family whose counter it is.
fn type_of(metric: &str, metadata: &impl Fn(&str) -> Option<Metadata>) -> Option<String> {
    let family = || {
        let family = metadata(metric.strip_suffix("_total")?)?;
        (family.metric_type == "counter").then_some(family)
    };
    metadata(metric).or_else(family).map(|found| found.metric_type)
}

/// Finds what could be odd. The parser bounds the depth.
fn collect<'q>(expr: &'q Expr, found: &mut Vec<Suspect<'q>>) {
    match &expr.node {
        Node::Number { .. } | Node::String(_) | Node::Context(_) | Node::Selector(_) | Node::Matrix { .. } => {}
        Node::Subquery(subquery) => collect(&subquery.expr, found),
        Node::Unary { expr, .. } | Node::Paren(expr) => collect(expr, found),
        Node::Binary(binary) => {
            operator(binary, found);
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
        Node::Aggregate(aggregate) => {
            aggregation(aggregate, found);
            collect(&aggregate.expr, found);
            aggregate.param.iter().for_each(|param| collect(param, found));
        }
        Node::Call { function, args } => {
            if let ("rate" | "irate" | "increase", Some(arg)) = (*function, args.first()) {
                found.extend(raw(arg).map(|(metric, range)| Suspect { metric, range, used: Use::AsCounter }));
            }
            args.iter().for_each(|arg| collect(arg, found));
        }
    }
}

fn aggregation<'q>(aggregate: &'q Aggregate, found: &mut Vec<Suspect<'q>>) {
    use AggregateOp::{Avg, Bottomk, Max, Min, Quantile, Stddev, Stdvar, Sum, Topk};
    if matches!(aggregate.op, Sum | Avg | Min | Max | Stddev | Stdvar | Quantile | Topk | Bottomk) {
        let used = Use::Aggregated(aggregate.op.name());
        found.extend(raw(&aggregate.expr).map(|(metric, range)| Suspect { metric, range, used }));
    }
}

fn operator<'q>(binary: &'q Binary, found: &mut Vec<Suspect<'q>>) {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    if !matches!(binary.op, Add | Sub | Mul | Div | Mod | Pow | Atan2) || is_scaling(binary) {
        return;
    }
    let sides = [raw(&binary.left), raw(&binary.right)];
    if let [Some((left, _)), Some((right, _))] = sides
        && left == right
    {
        // A difference or ratio of a counter and itself at another time or of other series.
        return;
    }
    let used = Use::Computed(binary.op.name());
    found.extend(sides.into_iter().flatten().map(|(metric, range)| Suspect { metric, range, used }));
}

/// Whether a vector gets another unit: `bytes_total / 1024`. It is as raw as it was.
fn is_scaling(binary: &Binary) -> bool {
    let is_scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
    match binary.op {
        BinaryOp::Mul => is_scalar(&binary.left) || is_scalar(&binary.right),
        BinaryOp::Div => is_scalar(&binary.right),
        _ => false,
    }
}

/// The metric whose values an expression has, as they are or in another unit, and where its selector stands.
fn raw(expr: &Expr) -> Option<(&str, TextRange)> {
    match &expr.node {
        Node::Selector(selector) | Node::Matrix { selector, .. } => Some((metric(selector)?, expr.range)),
        Node::Subquery(subquery) => raw(&subquery.expr),
        Node::Unary { expr, .. } | Node::Paren(expr) => raw(expr),
        Node::Binary(binary) if is_scaling(binary) => raw(&binary.left).or_else(|| raw(&binary.right)),
        Node::Call { function: "label_replace" | "label_join" | "sort" | "sort_desc" | "last_over_time", args } => {
            raw(args.first()?)
        }
        _ => None,
    }
}

/// The only metric that a selector can select.
fn metric(selector: &Selector) -> Option<&str> {
    selector.matchers.iter().find_map(|matcher| match &matcher.op {
        MatchOp::Equal(name) if matcher.name == tsq_core::METRIC_NAME && !name.is_empty() => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    /// What is said about `c_total` (a counter), `family_total` (a counter by its family) and `g` (a gauge).
    fn said(text: &str) -> Vec<String> {
        let known = |metric: &str| {
            let metric_type = match metric {
                "c_total" | "family" | "a.b" => "counter",
                "g" | "gauge_like" => "gauge",
                "h" => "histogram",
                _ => return None,
            };
            Some(Metadata { metric: metric.to_owned(), metric_type: metric_type.to_owned(), ..Metadata::default() })
        };
        let mut said = Vec::new();
        let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        hints(&expr, known, |note, metric, range| said.push(format!("{} {}", range.start, note.text(metric))));
        said
    }

    #[test]
    fn rates_of_gauges_are_hinted() {
        let want = "PromQL info: metric might not be a counter, metadata type is not \"counter\" or \"histogram\", \
                    got \"gauge\": \"g\"";
        assert_eq!(said("rate(g[5m])"), [format!("5 {want}")]);
        assert_eq!(said("sum(1 + irate((g{a='b'}[5m])))"), [format!("15 {want}")]);
        assert_eq!(said("increase({__name__='g'}[5m:1m])"), [format!("9 {want}")]);
        for fine in [
            "delta(g[5m])",
            "deriv(g[5m])",
            "rate(c_total[5m])",
            "rate(h[5m])",
            "rate(unknown[5m])",
            "rate({__name__=~'g'}[5m])",
            "rate({__name__!='g',a='b'}[5m])",
            "rate(abs(g)[5m:])",
            "gauge_like_total + g",
            "sum(rate(gauge_like_total[5m]))",
        ] {
            assert_eq!(said(fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn computing_with_totals_is_hinted() {
        let sum = "PromQL info: metric is a counter, its total is aggregated by \"sum\" without rate or increase, \
                   metadata type is \"counter\"";
        let plus = "PromQL info: metric is a counter, its total is an operand of \"+\" without rate or increase, \
                    metadata type is \"counter\"";
        assert_eq!(said("sum by (a) (c_total)"), [format!("12 {sum}: \"c_total\"")]);
        assert_eq!(said("sum(last_over_time(family_total[5m]) / 1024)"), [format!("19 {sum}: \"family_total\"")]);
        assert_eq!(said("g + -c_total"), [format!("5 {plus}: \"c_total\"")]);
        assert_eq!(said("c_total + 1"), [format!("0 {plus}: \"c_total\"")]);
        assert_eq!(said("c_total + family_total").len(), 2);
        assert_eq!(said("topk(3, {'a.b'})").len(), 1);
        assert_eq!(said("1 / c_total").len(), 1);
        for fine in [
            "c_total",
            "c_total * 8",
            "c_total / 1024",
            "c_total > 5",
            "c_total == c_total offset 1h",
            "c_total - c_total offset 1h",
            "c_total / (c_total offset 1h) * 100",
            "count(c_total) + group(c_total)",
            "count_values('v', c_total)",
            "limitk(3, c_total)",
            "absent(c_total) + 1",
            "sum(resets(c_total[1h])) + sum(changes(c_total[1h]))",
            "max(timestamp(c_total))",
            "sum(rate(c_total[5m])) + sum(increase(c_total[5m])) + sum(delta(c_total[5m]))",
            "c_total and c_total",
            "sum(g) + sum(h) + sum(unknown)",
        ] {
            assert_eq!(said(fine), Vec::<String>::new(), "{fine}");
        }
    }
}
