//! `format_query` and `parse_query`.

use serde_json::{Value, json};
use tsq::promql::ast::{
    Aggregate, At, Binary, DurationExpr, DurationNode, Expr, Extended, Group, Modifiers, Node, Selector, Subquery,
};
use tsq::promql::{self, Arity, ValueType};
use tsq::{MatchOp, Matcher};

use super::call::Call;
use super::{Cost, Endpoint, Methods};
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/api/v1/format_query", methods: Methods::GetPost, cost: Cost::Small, run: format_query },
    Endpoint { path: "/api/v1/parse_query", methods: Methods::GetPost, cost: Cost::Small, run: parse_query },
];

/// The parsed `query`; `failure` makes an error of what is wrong with it.
pub(super) fn parsed(call: &Call, failure: impl Fn(String) -> ApiError) -> Result<Expr, ApiError> {
    let text = call.params.query_text("query")?;
    let bytes_max = call.app.config.engine.text_bytes;
    if text.len() > bytes_max {
        return Err(failure(format!("the text has {} bytes, the limit is {bytes_max}", text.len())));
    }
    promql::parse(text).map_err(|error| failure(error.to_string()))
}

fn bad_query(message: String) -> ApiError {
    ApiError::parameter("query", message)
}

fn format_query(call: &Call) -> Result<Answer, ApiError> {
    let mut answer = Answer::new();
    json::html_string(&mut answer.data, &promql::format(&parsed(call, bad_query)?));
    Ok(answer)
}

fn parse_query(call: &Call) -> Result<Answer, ApiError> {
    let mut answer = Answer::new();
    answer.serialize(&tree(&parsed(call, bad_query)?));
    Ok(answer)
}

/// The tree as Prometheus's API gives it. The parser bounds the depth.
fn tree(expr: &Expr) -> Value {
    match &expr.node {
        Node::Number { value, .. } => json!({"type": "numberLiteral", "val": promql::format_plain(*value)}),
        Node::String(text) => json!({"type": "stringLiteral", "val": text}),
        Node::Context(value) => json!({"type": "call", "func": function(value.name()), "args": []}),
        Node::Selector(selector) => selector_tree("vectorSelector", selector),
        Node::Matrix { selector, range } => {
            let mut tree = selector_tree("matrixSelector", selector);
            tree["range"] = json!(milliseconds(Some(range)));
            tree
        }
        Node::Subquery(subquery) => subquery_tree(subquery),
        Node::Unary { negate, expr } => {
            json!({"type": "unaryExpr", "op": if *negate { "-" } else { "+" }, "expr": tree(expr)})
        }
        Node::Paren(expr) => json!({"type": "parenExpr", "expr": tree(expr)}),
        Node::Binary(binary) => binary_tree(binary),
        Node::Aggregate(aggregate) => aggregate_tree(aggregate),
        Node::Call { function: name, args } => {
            json!({"type": "call", "func": function(name), "args": args.iter().map(tree).collect::<Vec<_>>()})
        }
    }
}

fn selector_tree(kind: &str, selector: &Selector) -> Value {
    let mut tree = json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "matchers": selector.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "anchored": selector.modifiers.extended == Some(Extended::Anchored),
        "smoothed": selector.modifiers.extended == Some(Extended::Smoothed),
    });
    add_modifiers(&mut tree, &selector.modifiers);
    tree
}

fn add_modifiers(tree: &mut Value, modifiers: &Modifiers) {
    tree["offset"] = json!(milliseconds(modifiers.offset.as_ref()));
    let (timestamp, start_or_end) = match modifiers.at {
        Some(At::Time(time_ms)) => (Some(time_ms), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
        None => (None, None),
    };
    tree["timestamp"] = json!(timestamp);
    tree["startOrEnd"] = json!(start_or_end);
}

fn matcher(matcher: &Matcher) -> Value {
    let (op, value) = match &matcher.op {
        MatchOp::Equal(value) => ("=", value.as_str()),
        MatchOp::NotEqual(value) => ("!=", value.as_str()),
        MatchOp::Match(pattern) => ("=~", pattern.source()),
        MatchOp::NotMatch(pattern) => ("!~", pattern.source()),
    };
    json!({"name": matcher.name, "type": op, "value": value})
}

/// Zero for a duration that is left out and, as in Prometheus, for one that is an expression.
fn milliseconds(duration: Option<&DurationExpr>) -> i64 {
    duration.and_then(literal_ms).unwrap_or(0)
}

/// A duration that is a literal, with a sign or in parentheses.
fn literal_ms(duration: &DurationExpr) -> Option<i64> {
    match &duration.node {
        DurationNode::Literal { seconds, .. } => Some((seconds * 1000.0).round() as i64),
        DurationNode::Paren(inner) => literal_ms(inner),
        DurationNode::Unary { negate, expr } => literal_ms(expr).map(|ms| if *negate { -ms } else { ms }),
        _ => None,
    }
}

fn subquery_tree(subquery: &Subquery) -> Value {
    let mut tree = json!({
        "type": "subquery",
        "expr": tree(&subquery.expr),
        "range": milliseconds(Some(&subquery.range)),
        "step": milliseconds(subquery.step.as_ref()),
    });
    add_modifiers(&mut tree, &subquery.modifiers);
    tree
}

fn binary_tree(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.name(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "bool": binary.return_bool,
        "matching": matching_tree(binary),
    })
}

/// Null unless both sides are vectors.
fn matching_tree(binary: &Binary) -> Value {
    let matching = &binary.matching;
    if [&binary.left, &binary.right].iter().any(|side| side.value_type() != ValueType::Vector) {
        return Value::Null;
    }
    let card = match matching.group {
        Group::None if binary.op.is_set() => "many-to-many",
        Group::None => "one-to-one",
        Group::Left => "many-to-one",
        Group::Right => "one-to-many",
    };
    json!({
        "card": card,
        "on": matching.on,
        "labels": matching.labels,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    })
}

fn aggregate_tree(aggregate: &Aggregate) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.name(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_ref().map(tree),
        "grouping": aggregate.labels,
        "without": aggregate.without,
    })
}

/// `variadic` is the number of arguments that may be left out, -1 for any number more.
fn function(name: &str) -> Value {
    let signature = promql::signature(name).expect("the tree holds known functions");
    let types: Vec<_> = signature.args.iter().map(|value_type| value_type.name()).collect();
    let variadic = match signature.arity {
        Arity::Exact => 0,
        Arity::UpTo(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Arity::Any => -1,
    };
    json!({"name": name, "argTypes": types, "variadic": variadic, "returnType": signature.returns.name()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Value {
        tree(&promql::parse(text).unwrap())
    }

    #[test]
    fn selectors() {
        assert_eq!(
            shown(r#"up{job=~"a.*"} offset 5m @ end()"#),
            json!({
                "type": "vectorSelector", "name": "up", "offset": 300_000, "timestamp": null, "startOrEnd": "end",
                "anchored": false, "smoothed": false,
                "matchers": [
                    {"name": "job", "type": "=~", "value": "a.*"},
                    {"name": "__name__", "type": "=", "value": "up"},
                ],
            })
        );
        let matrix = shown("up[5m] @ 10");
        assert_eq!(
            (&matrix["type"], &matrix["range"], &matrix["timestamp"]),
            (&json!("matrixSelector"), &json!(300_000), &json!(10_000))
        );
    }

    #[test]
    fn operators() {
        let binary = shown("a * on (job) group_left (x) b");
        assert_eq!(
            (&binary["op"], &binary["matching"]["card"], &binary["matching"]["include"]),
            (&json!("*"), &json!("many-to-one"), &json!(["x"]))
        );
        assert_eq!(shown("a and b")["matching"]["card"], "many-to-many");
        assert_eq!((&shown("a + 1")["matching"], &shown("1 + 2")["matching"]), (&Value::Null, &Value::Null));
        assert_eq!(shown("a[1001ms]")["range"], 1001);
        assert_eq!(shown("a[1m + 1m]")["range"], 0);
        assert_eq!(shown("a offset -(1m)")["offset"], -60_000);
        let aggregate = shown("topk by (job) (3, up)");
        assert_eq!(aggregate["op"], "topk");
        assert_eq!((&aggregate["grouping"], &aggregate["param"]["val"]), (&json!(["job"]), &json!("3")));
        let subquery = shown("max_over_time((-up)[1h:5m])");
        assert_eq!(subquery["func"]["name"], "max_over_time");
        assert_eq!(subquery["func"]["argTypes"], json!(["matrix"]));
        assert_eq!(subquery["args"][0]["step"], 300_000);
        assert_eq!(subquery["args"][0]["expr"]["expr"]["type"], "unaryExpr");
    }

    /// Deep but legal queries must not exhaust a worker's stack.
    #[test]
    fn deep_trees() {
        let text = format!("{}1{}", "(".repeat(200), ")".repeat(200));
        assert_eq!(shown(&text).to_string().matches("parenExpr").count(), 200);
    }
}
