//! `tsq fmt`: PromQL as its printer writes it.

use std::io::Read as _;
use std::path::Path;

use tsq::promql::{self, TokenKind};

use crate::args::Fmt;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::query::caret;

/// Longest text that is read, in bytes.
const TEXT_MAX: u64 = 1 << 20;

/// An expression and where it came from.
#[derive(Debug)]
struct Input {
    /// In messages: a file's name, or nothing.
    name: Option<String>,
    text: String,
}

/// Formats the expression, the files, or standard input.
pub(crate) fn run(args: &Fmt, console: &mut Console) -> Result<Exit> {
    let mut exit = Exit::Ok;
    for input in inputs(args)? {
        let formatted = format(&input)?;
        if !args.check {
            console.out.write_all(formatted.as_bytes())?;
        } else if formatted.trim_end() != input.text.trim_end() {
            exit = Exit::Failed;
            let name = input.name.as_deref().unwrap_or("the expression");
            writeln!(console.out, "{name} is not formatted:\n{}", difference(&input.text, &formatted))?;
        }
    }
    Ok(exit)
}

fn inputs(args: &Fmt) -> Result<Vec<Input>> {
    if !args.files.is_empty() {
        return args.files.iter().map(|path| read(path)).collect();
    }
    match &args.expr {
        Some(expr) => Ok(vec![Input { name: None, text: expr.clone() }]),
        None => Ok(vec![read(Path::new("-"))?]),
    }
}

fn read(path: &Path) -> Result<Input> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let cannot = |what: String| Failure::failed(format!("cannot read {name}: {what}"));
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(TEXT_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(TEXT_MAX + 1).read_to_string(&mut text))
    };
    let len = read.map_err(|error| cannot(error.to_string()))?;
    if len as u64 > TEXT_MAX {
        return Err(cannot(format!("it has more than {TEXT_MAX} bytes")));
    }
    Ok(Input { name: Some(name), text })
}

/// The formatted text with a line end. Comments before and after the expression stay where they are.
fn format(input: &Input) -> Result<String> {
    let text = input.text.as_str();
    let at = |failure: Failure| match (failure, &input.name) {
        (Failure::Message(exit, message), Some(name)) => Failure::Message(exit, format!("{name}:{message}")),
        (failure, _) => failure,
    };
    let wrong = |message: String| at(caret::point_at(Failure::Message(Exit::Query, message), text));
    let expr = promql::parse(text).map_err(|error| wrong(error.to_string()))?;
    let tokens = promql::tokens(text);
    let is_comment = |token: &&promql::Token| token.kind == TokenKind::Comment;
    let code = || tokens.iter().filter(|token| !is_comment(token));
    let start = code().next().map_or(0, |token| token.range.start);
    let end = code().next_back().map_or(text.len(), |token| token.range.end);
    if let Some(inside) = tokens.iter().filter(is_comment).find(|token| (start..end).contains(&token.range.start)) {
        let (line, column) = promql::position(text, inside.range.start);
        let message = format!("{line}:{column}: a comment inside of an expression has no place in the formatted one");
        return Err(at(Failure::Message(Exit::Query, message)));
    }
    let comments = |from: usize, to: usize| {
        tokens
            .iter()
            .filter(is_comment)
            .filter(|token| (from..to).contains(&token.range.start))
            .map(|token| format!("{}\n", &text[token.range.start..token.range.end]))
            .collect::<String>()
    };
    Ok(format!("{}{}\n{}", comments(0, start), promql::format(&expr), comments(end, text.len())))
}

/// Both texts, each line marked where it differs.
fn difference(before: &str, after: &str) -> String {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same_start = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let rest = before.len().min(after.len()) - same_start;
    let same_end = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let lines = |sign: char, lines: &[&str]| lines.iter().map(|line| format!("{sign}{line}\n")).collect::<String>();
    let text = [
        lines(' ', &before[..same_start]),
        lines('-', &before[same_start..before.len() - same_end]),
        lines('+', &after[same_start..after.len() - same_end]),
        lines(' ', &before[before.len() - same_end..]),
    ];
    text.concat().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> Result<String> {
        format(&Input { name: Some("a.promql".into()), text: text.into() })
    }

    #[test]
    fn comments_around_an_expression_stay() {
        assert_eq!(formatted("# why\n\nsum(up)by(job)  # who\n").unwrap(), "# why\nsum by (job) (up)\n# who\n");
        assert_eq!(formatted("up").unwrap(), "up\n");
        let Err(Failure::Message(exit, message)) = formatted("up +\n # no\n up") else { panic!("it loses a comment") };
        assert_eq!(exit, Exit::Query);
        assert!(message.starts_with("a.promql:2:2: a comment"), "{message}");
    }

    #[test]
    fn errors_say_where() {
        let Err(Failure::Message(exit, message)) = formatted("sum(\nup") else { panic!("it is unclosed") };
        assert_eq!(exit, Exit::Query);
        assert!(message.starts_with("a.promql:2:3: parse error") && message.ends_with("  up\n    ^"), "{message}");
    }

    #[test]
    fn differences_show_what_changes() {
        assert_eq!(difference("a\nb\nc\nd\n", "a\nx\ny\nd\n"), " a\n-b\n-c\n+x\n+y\n d");
        assert_eq!(difference("sum(a)by(b)", "sum by (b) (a)\n"), "-sum(a)by(b)\n+sum by (b) (a)");
        assert_eq!(difference("a\n", "a\na\n"), " a\n+a");
    }
}
