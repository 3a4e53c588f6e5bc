//! What is refused, with text and position as Prometheus gives them.

use crate::{parse, parse_selector};

fn refused(cases: &[(&str, &str)]) {
    for (text, want) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), *want, "{text}");
        assert!(error.range.start <= error.range.end && error.range.end <= text.len(), "{text}: {error:?}");
    }
}

#[test]
fn tokens() {
    refused(&[
        ("", "unknown position: parse error: no expression found in input"),
        (" # nothing\n", "1:1: parse error: no expression found in input"),
        ("up & 1", "1:4: parse error: unexpected character: '&'"),
        ("1.2.3", "1:1: parse error: bad number or duration syntax: \"1.2.\""),
        ("12abc", "1:1: parse error: bad number or duration syntax: \"12\""),
        ("5m3", "1:1: parse error: bad number or duration syntax: \"5m3\""),
        ("1e", "1:1: parse error: bad number or duration syntax: \"1e\""),
        ("1__0", "1:1: parse error: bad number or duration syntax: \"1__\""),
        ("up == 'x", "1:7: parse error: unterminated quoted string"),
        ("'a\nb'", "1:1: parse error: unterminated quoted string"),
        ("`a", "1:1: parse error: unterminated raw string"),
        (r"'\q'", "1:1: parse error: unknown escape sequence U+0071 'q'"),
        (r#"'\"'"#, "1:1: parse error: unknown escape sequence U+0022 '\"'"),
        (r"'\xg1'", "1:1: parse error: illegal character U+0067 'g' in escape sequence"),
        (r"'\ud800'", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        (r"'\400'", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("'\\", "1:1: parse error: escape sequence not terminated"),
        (r"'\xff'", r#"1:1: parse error: string is not valid UTF-8: "\xff""#),
        ("up !~ up", "1:4: parse error: unexpected character after '!': '~'"),
        ("up =~ up", "1:4: parse error: unexpected character after '=': '~'"),
        ("(up", "1:4: parse error: unclosed left parenthesis"),
        ("up)", "1:4: parse error: unexpected right parenthesis ')'"),
        ("up]", "1:3: parse error: unexpected right bracket ']'"),
        ("é", "1:1: parse error: unexpected character: 'é'"),
        ("up{", "1:4: parse error: unexpected end of input inside braces"),
        ("up{a!b}", "1:5: parse error: unexpected character after '!' inside braces: 'b'"),
        ("up{{", "1:4: parse error: unexpected left brace '{'"),
        ("up{a>'b'}", "1:5: parse error: unexpected character inside braces: '>'"),
    ]);
}

#[test]
fn syntax() {
    refused(&[
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("/ 1", "1:1: parse error: unexpected <op:/>"),
        ("up down", "1:4: parse error: unexpected identifier \"down\""),
        ("up 'abcdefghij'", "1:4: parse error: unexpected string \"'abcdefghi\"..."),
        ("a:b 1", "1:5: parse error: unexpected number \"1\""),
        ("up on (a) b", "1:4: parse error: unexpected <on>"),
        ("1 + , 2", "1:5: parse error: unexpected \",\""),
        ("a = b", "1:3: parse error: unexpected \"=\""),
        ("a * group_left(b) c", "1:5: parse error: unexpected <group_left>"),
        ("a * on b", "1:8: parse error: unexpected identifier \"b\" in grouping opts, expected \"(\""),
        ("a * on(1) b", "1:8: parse error: unexpected number \"1\" in grouping opts, expected label"),
        ("a * on(x y) b", "1:10: parse error: unexpected identifier \"y\" in grouping opts, expected \",\" or \")\""),
        ("sum by ('') (a)", "1:9: parse error: invalid label name for grouping: \"\""),
        ("a + fill(b) c", "1:10: parse error: unexpected identifier \"b\""),
        ("sum(1 +)", "1:8: parse error: unexpected \")\" in aggregation"),
        ("sum by (a) b", "1:12: parse error: unexpected identifier \"b\" in aggregation"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        (
            "sum(a, b)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        ("topk(a)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
        ("abs(a,)", "1:6: parse error: trailing commas not allowed in function call args"),
        ("nosuch(a) + (", "1:1: parse error: unknown function with name \"nosuch\""),
        ("Rate(a[5m])", "1:1: parse error: unknown function with name \"Rate\""),
        ("up{a}", "1:5: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("up{a=b}", "1:6: parse error: unexpected identifier \"b\" in label matching, expected string"),
        ("up{,}", "1:4: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
        (
            "up{a='b' c='d'}",
            "1:10: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
        ),
        ("up{a=~'('}", "1:4: parse error: error parsing regexp: missing closing ): `(`"),
    ]);
}

#[test]
fn modifiers() {
    refused(&[
        (
            "up[]",
            "1:4: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("up[5m", "1:6: parse error: unclosed left bracket"),
        ("up[5m 5m]", "1:7: parse error: unexpected duration \"5m\" in subquery or range, expected \":\" or \"]\""),
        ("up[5m:1m 1m]", "1:10: parse error: unexpected duration \"1m\" in subquery selector, expected \"]\""),
        ("up[:1m]", "1:5: parse error: unexpected colon before duration in duration expression"),
        ("up['5m']", "1:4: parse error: unexpected character in duration expression: '\\''"),
        ("up[5m foo]", "1:7: parse error: unexpected character: 'f', expected ':'"),
        ("up[0s]", "1:4: parse error: duration must be greater than 0"),
        ("up[-5m]", "1:4: parse error: duration must be greater than 0"),
        ("up[1h1d]", "1:4: parse error: not a valid duration string: \"1h1d\""),
        ("up[5m/0]", "1:6: parse error: division by zero"),
        ("up[5m%0s]", "1:6: parse error: modulo by zero"),
        ("up offset 300y", "1:11: parse error: duration out of range"),
        ("up offset 1e11", "1:11: parse error: duration out of range"),
        ("up offset NaN", "1:11: parse error: duration out of range"),
        ("(a)[5m]", "1:4: parse error: ranges only allowed for vector selectors"),
        ("a[5m][5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("a offset 5m [5m]", "1:13: parse error: no offset modifiers allowed before range"),
        ("a @ 5 [5m]", "1:7: parse error: no @ modifiers allowed before range"),
        (
            "up offset",
            "1:10: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        ("up @", "1:5: parse error: unexpected end of input in @, expected timestamp"),
        ("up @ start", "1:11: parse error: unexpected end of input in @, expected timestamp"),
        ("up @ nan", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"),
        ("up @ -inf", "1:1: parse error: timestamp out of bounds for @ modifier: -Inf"),
        ("up @ 1e19", "1:1: parse error: timestamp out of bounds for @ modifier: 10000000000000000000.000000"),
        ("up @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("up offset 1m offset 1m", "1:1: parse error: offset may not be set multiple times"),
        (
            "(up) offset 1m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector \
             or a subquery",
        ),
        (
            "1 + 2 @ 3",
            "1:5: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a \
             subquery",
        ),
        ("up anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("up[5m:] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
        ("(up) anchored", "1:1: parse error: anchored modifier not implemented"),
    ]);
}

#[test]
fn types() {
    refused(&[
        ("1\n\n  and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("1 + 2 > 3", "1:7: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 # one\n> 2", "2:1: parse error: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("'a' + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"),
        ("1 + a[5m]", "1:5: parse error: binary expression must contain only scalar and instant vector types"),
        ("a * on(x) 2", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("a * fill(1) 2", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("a or fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("a and on(x) group_left() b", "1:1: parse error: no grouping allowed for \"and\" operation"),
        ("a * on(x) group_left(y, x) b", "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once"),
        (
            "-'a'",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \
             \"string\"",
        ),
        ("rate(a)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"),
        ("abs(1)", "1:5: parse error: expected type instant vector in call to function \"abs\", got scalar"),
        ("abs()", "1:1: parse error: expected 1 argument(s) in call to \"abs\", got 0"),
        ("step(1)", "1:1: parse error: expected 0 argument(s) in call to \"step\", got 1"),
        ("round()", "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0"),
        ("round(a, 1, 2)", "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3"),
        (
            "label_join(a, 'b', 'c', d)",
            "1:25: parse error: expected type string in call to function \"label_join\", got instant vector",
        ),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        ("topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
        ("count_values(1, b)", "1:14: parse error: expected type string in aggregation parameter, got scalar"),
        ("a[5m][5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix instead"),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        ("info(a, {b='c'} == 1)", "1:9: parse error: expected label selectors only"),
        ("info(a, 1)", "1:1: parse error: expected type instant vector in call to function \"info\", got scalar"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("sum({a=~'.*'})", "1:5: parse error: vector selector must contain at least one non-empty matcher"),
        ("a{__name__='b'}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
        ("a{'b'}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
    ]);
}

/// Syntax is complete before types are looked at.
#[test]
fn syntax_comes_before_types() {
    refused(&[("1 == 1 +", "1:9: parse error: unexpected end of input")]);
}

#[test]
fn selectors() {
    assert_eq!(parse_selector("up{job='a'}").unwrap().len(), 2);
    assert_eq!(parse_selector("{'a.b'}").unwrap()[0].name, "__name__");
    for (text, want) in [
        ("{}", "match[] must contain at least one non-empty matcher"),
        ("{a=''}", "match[] must contain at least one non-empty matcher"),
        ("up[5m]", "1:3: parse error: unexpected \"[\""),
        ("up offset 5m", "1:4: parse error: unexpected <offset>"),
        ("rate(up)", "1:5: parse error: unexpected \"(\""),
        ("1", "1:1: parse error: unexpected number \"1\""),
        ("", "unknown position: parse error: unexpected end of input"),
        ("up{a=~'['}", "1:4: parse error: error parsing regexp: missing closing ]: `[`"),
    ] {
        assert_eq!(parse_selector(text).expect_err(text).to_string(), want, "{text}");
    }
}
