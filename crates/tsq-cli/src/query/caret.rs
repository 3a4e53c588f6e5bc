//! Query errors with the place in the query shown.

use crate::failure::{Exit, Failure};

/// Adds the line of the query that a message with `line:column: ` is about, and a caret under the column.
pub(crate) fn point_at(failure: Failure, query: &str) -> Failure {
    match failure {
        Failure::Message(Exit::Query, message) => {
            let shown = place(&message).and_then(|(line, column)| excerpt(query, line, column));
            let message = shown.map_or_else(|| message.clone(), |shown| format!("{message}\n{shown}"));
            Failure::Message(Exit::Query, message)
        }
        other => other,
    }
}

/// Line and column, from 1, of a message with `line:column: parse error` in it.
fn place(message: &str) -> Option<(usize, usize)> {
    let before = &message[..message.find(": parse error")?];
    let mut numbers = before.rsplit(|c: char| !c.is_ascii_digit() && c != ':').next()?.split(':');
    let (line, column) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    numbers.next().is_none().then_some((line, column))
}

/// The line, and a caret under the byte `column` of it.
fn excerpt(query: &str, line: usize, column: usize) -> Option<String> {
    let text = query.lines().nth(line.checked_sub(1)?)?;
    let byte = text.floor_char_boundary(column.checked_sub(1)?.min(text.len()));
    let gap: String = text[..byte].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    Some(format!("  {text}\n  {gap}^"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_under_the_place() {
        let shown =
            |message: &str, query: &str| match point_at(Failure::Message(Exit::Query, message.to_owned()), query) {
                Failure::Message(_, message) => message,
                Failure::BrokenPipe => unreachable!("made from a message"),
            };
        let message = "1:5: parse error: unexpected end of input";
        assert_eq!(shown(message, "sum("), format!("{message}\n  sum(\n      ^"));
        let message = r#"invalid parameter "query": 2:3: parse error: unexpected )"#;
        assert_eq!(shown(message, "a +\n  )\n"), format!("{message}\n    )\n    ^"));
        assert_eq!(shown("1:9999: parse error: x", "äö"), "1:9999: parse error: x\n  äö\n    ^");
        for message in ["too much memory", ": parse error: x", "7:1: parse error: x", "1:2:3: parse error: x"] {
            assert_eq!(shown(message, "up"), message);
        }
    }
}
