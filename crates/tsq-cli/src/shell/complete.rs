//! What may stand at the cursor.

use tsq::promql::{KEYWORDS, Token, TokenKind, aggregation_names, function_names, tokens};

use super::command::{self, COMMANDS};
use super::names::Wanted;
use super::split::split;

/// Ranges that are offered inside of brackets.
const RANGES: [&str; 6] = ["1m", "5m", "15m", "1h", "6h", "1d"];

/// Most candidates that are offered.
const CANDIDATES_MAX: usize = 1_000;

/// A text to insert, and how it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub shown: String,
    pub inserted: String,
}

impl Candidate {
    fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.clone(), inserted: text }
    }
}

/// What kind of word stands at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Command,
    Argument(String),
    Expression,
    /// Behind an operand: only operators and their like.
    Behind,
    Label(Option<String>),
    Value {
        label: String,
        metric: Option<String>,
        /// The quote before the cursor, if there is one.
        quote: Option<char>,
        regex: bool,
    },
    Range,
    Nothing,
}

/// Where the word at the cursor starts, and what it may become. `look_up` gives names.
pub(super) fn complete<N: AsRef<[String]>>(
    text: &str,
    cursor: usize,
    look_up: impl Fn(&Wanted) -> N,
) -> (usize, Vec<Candidate>) {
    let before = &text[..cursor];
    let from = split(before).last;
    let (start, place) = place(&text[from..], cursor - from);
    let start = from + start;
    let mut candidates = candidates(&place, &look_up);
    let word = &before[start..];
    candidates.retain(|candidate| candidate.inserted.starts_with(word));
    candidates.truncate(CANDIDATES_MAX);
    if let (Place::Value { quote: Some(quote), .. }, Some(next)) = (&place, text[cursor..].chars().next())
        && next == *quote
    {
        // The second quote is there already.
        candidates.iter_mut().for_each(|candidate| _ = candidate.inserted.pop());
    }
    (start, candidates)
}

/// A bracket that is open at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Paren,
    List,
    Braces,
    Range,
}

fn place(statement: &str, cursor: usize) -> (usize, Place) {
    let before = &statement[..cursor];
    let indent = before.len() - before.trim_start().len();
    if command::is_command(&before[indent..]) {
        return command_place(before, indent);
    }
    let pieces = tokens(before);
    let (open, metric_before) = open_at_end(before, &pieces);
    let last = pieces.last().copied();
    let word = last.filter(|token| token.range.end == cursor);
    let start = word.map_or(cursor, |token| token.range.start);
    match open {
        Some(Open::Range) => (start, Place::Range),
        Some(Open::List) => match word.map(|token| token.kind) {
            None | Some(TokenKind::Label) => (start, Place::Label(metric_in(statement))),
            Some(TokenKind::Open | TokenKind::Punctuation) => (cursor, Place::Label(metric_in(statement))),
            Some(_) => (cursor, Place::Nothing),
        },
        Some(Open::Braces) => in_braces(before, &pieces, metric_before),
        Some(Open::Paren) | None => match last.map(|token| token.kind) {
            _ if word.is_some_and(|token| is_word(token.kind)) => (start, Place::Expression),
            None | Some(TokenKind::Open | TokenKind::Punctuation | TokenKind::Operator | TokenKind::Keyword) => {
                (cursor, Place::Expression)
            }
            Some(TokenKind::Close | TokenKind::Name) => (cursor, Place::Behind),
            Some(TokenKind::Number | TokenKind::Duration | TokenKind::String) if word.is_none() => {
                (cursor, Place::Behind)
            }
            Some(_) => (cursor, Place::Nothing),
        },
    }
}

fn is_word(kind: TokenKind) -> bool {
    use TokenKind::{Aggregation, Function, Keyword, Name};
    matches!(kind, Name | Function | Aggregation | Keyword)
}

fn command_place(before: &str, indent: usize) -> (usize, Place) {
    let line = &before[indent..];
    match line.split_once(char::is_whitespace) {
        None => (indent, Place::Command),
        Some((".explain", rest)) if rest.trim_start().contains(|c: char| !c.is_ascii_alphanumeric()) => {
            let expression = before.len() - rest.trim_start().len();
            let (start, place) = place(&before[expression..], before.len() - expression);
            (expression + start, place)
        }
        Some((name, rest)) => {
            let word = rest.rfind(char::is_whitespace).map_or(0, |at| at + 1);
            (before.len() - rest.len() + word, Place::Argument(name.to_owned()))
        }
    }
}

/// The innermost bracket that is open, and the metric before it if it is a brace.
fn open_at_end(text: &str, pieces: &[Token]) -> (Option<Open>, Option<String>) {
    let word = |token: &Token| &text[token.range.start..token.range.end];
    let mut stack: Vec<(Open, Option<String>)> = Vec::new();
    for (at, token) in pieces.iter().enumerate() {
        let previous = at.checked_sub(1).map(|at| &pieces[at]);
        match token.kind {
            TokenKind::Open => {
                let of_list = ["by", "without", "on", "ignoring", "group_left", "group_right"];
                stack.push(match word(token) {
                    "{" => {
                        let metric = previous.filter(|token| token.kind == TokenKind::Name);
                        (Open::Braces, metric.map(|token| word(token).to_owned()))
                    }
                    "[" => (Open::Range, None),
                    _ if previous.is_some_and(|token| of_list.contains(&word(token))) => (Open::List, None),
                    _ => (Open::Paren, None),
                });
            }
            TokenKind::Close => _ = stack.pop(),
            _ => {}
        }
    }
    stack.pop().map_or((None, None), |(open, metric)| (Some(open), metric))
}

fn in_braces(text: &str, pieces: &[Token], metric: Option<String>) -> (usize, Place) {
    let word = |token: &Token| &text[token.range.start..token.range.end];
    let (cursor, nothing) = (text.len(), (text.len(), Place::Nothing));
    let value = |operator: &Token, label: &Token, quote| Place::Value {
        label: word(label).trim_matches(['"', '\'', '`']).to_owned(),
        metric: metric.clone(),
        quote,
        regex: word(operator).ends_with('~'),
    };
    match pieces {
        [.., label, operator, rest] if rest.kind == TokenKind::Rest && operator.kind == TokenKind::Operator => {
            let quote = word(rest).chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
            match quote {
                Some(quote) => (rest.range.start + 1, value(operator, label, Some(quote))),
                None => nothing,
            }
        }
        [.., label, operator] if operator.kind == TokenKind::Operator => (cursor, value(operator, label, None)),
        [.., last] if last.kind == TokenKind::Label && last.range.end == cursor => {
            (last.range.start, Place::Label(metric))
        }
        [.., last] if matches!(word(last), "{" | ",") => (cursor, Place::Label(metric)),
        _ => nothing,
    }
}

/// The first metric of a statement.
fn metric_in(statement: &str) -> Option<String> {
    let name = tokens(statement).into_iter().find(|token| token.kind == TokenKind::Name)?;
    Some(statement[name.range.start..name.range.end].to_owned())
}

fn candidates<N: AsRef<[String]>>(place: &Place, look_up: &impl Fn(&Wanted) -> N) -> Vec<Candidate> {
    let names = |wanted: Wanted| look_up(&wanted).as_ref().to_vec();
    match place {
        Place::Nothing => Vec::new(),
        Place::Command => COMMANDS.iter().map(|(name, ..)| Candidate::plain(*name)).collect(),
        Place::Argument(name) => {
            let mut words = command::words(name);
            if matches!(name.as_str(), ".labels" | ".metrics" | ".explain") {
                words.extend(names(Wanted::Metrics));
            }
            words.into_iter().map(Candidate::plain).collect()
        }
        Place::Expression => {
            let metrics = names(Wanted::Metrics).into_iter().filter(|name| is_plain_metric(name));
            let calls = function_names().map(|name| Candidate { shown: name.into(), inserted: format!("{name}(") });
            let words = aggregation_names().chain(KEYWORDS.iter().copied()).map(Candidate::plain);
            metrics.map(Candidate::plain).chain(calls).chain(words).collect()
        }
        Place::Behind => KEYWORDS.iter().map(|word| Candidate::plain(*word)).collect(),
        Place::Range => RANGES.iter().map(|range| Candidate::plain(*range)).collect(),
        Place::Label(metric) => {
            let labels = names(Wanted::Labels(metric.clone())).into_iter();
            labels.filter(|name| name != tsq::METRIC_NAME && is_plain_label(name)).map(Candidate::plain).collect()
        }
        Place::Value { label, metric, quote, regex } => {
            let values = names(Wanted::Values(label.clone(), metric.clone())).into_iter();
            values.filter_map(|value| quoted(&value, *quote, *regex)).collect()
        }
    }
}

fn is_plain_label(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn is_plain_metric(name: &str) -> bool {
    is_plain_label(&name.replace(':', "_"))
}

/// A value as it stands in a query, up to its second quote. None: it cannot stand between these quotes.
fn quoted(value: &str, quote: Option<char>, regex: bool) -> Option<Candidate> {
    let mut text = String::new();
    for c in value.chars() {
        if regex && "\\.+*?()|[]{}^$".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    let closing = quote.unwrap_or('"');
    if closing == '`' {
        return (!text.contains('`')).then(|| Candidate { shown: value.to_owned(), inserted: format!("{text}`") });
    }
    if text.contains(char::is_control) {
        return None;
    }
    let escaped: String =
        text.chars().flat_map(|c| [Some('\\').filter(|_| c == '\\' || c == closing), Some(c)]).flatten().collect();
    let opening = if quote.is_none() { "\"" } else { "" };
    Some(Candidate { shown: value.to_owned(), inserted: format!("{opening}{escaped}{closing}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of a made-up server.
    fn look_up(wanted: &Wanted) -> Vec<String> {
        let names: &[&str] = match wanted {
            Wanted::Metrics => &["rate_of_tokens", "requests_total", "vllm:latency", "odd.name"],
            Wanted::Labels(None) => &["__name__", "job", "model", "odd label"],
            Wanted::Labels(Some(metric)) if metric == "requests_total" => &["__name__", "job"],
            Wanted::Values(label, Some(metric)) if label == "job" && metric == "requests_total" => {
                &["api", "a\"b", "a.b"]
            }
            Wanted::Values(label, None) if label == "job" => &["api", "web"],
            _ => &[],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Completes where `|` stands; gives the texts with each candidate in place.
    fn completed(text: &str) -> Vec<String> {
        let cursor = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let (start, candidates) = complete(&text, cursor, look_up);
        let insert = |candidate: Candidate| format!("{}{}{}", &text[..start], candidate.inserted, &text[cursor..]);
        candidates.into_iter().map(insert).collect()
    }

    #[test]
    fn metrics_functions_and_words() {
        assert_eq!(completed("rat|"), ["rate_of_tokens", "rate("]);
        assert_eq!(completed("sum by (job) (req|"), ["sum by (job) (requests_total"]);
        assert_eq!(completed("1 + vllm:|"), ["1 + vllm:latency"]);
        assert_eq!(completed("count_v|"), ["count_values"]);
        assert_eq!(completed("up; req|"), ["up; requests_total"]);
        assert_eq!(completed("sum(up) gro|"), ["sum(up) group", "sum(up) group_left", "sum(up) group_right"]);
        assert!(completed("requests_total |").contains(&"requests_total offset".to_owned()));
        assert!(!completed("requests_total |").contains(&"requests_total requests_total".to_owned()));
        assert_eq!(completed("12|"), [""; 0]);
        assert_eq!(completed("\"re|"), [""; 0]);
        assert_eq!(completed("# re|"), [""; 0]);
        assert!(completed("|").contains(&"requests_total".to_owned()));
    }

    #[test]
    fn labels() {
        assert_eq!(completed("requests_total{|"), ["requests_total{job"]);
        assert_eq!(completed("requests_total{a=\"b\",j|}"), ["requests_total{a=\"b\",job}"]);
        assert_eq!(completed("{m|"), ["{model"]);
        assert_eq!(completed("sum by (|) (requests_total)"), ["sum by (job) (requests_total)"]);
        assert_eq!(completed("sum by (x, j|"), ["sum by (x, job"]);
        assert_eq!(completed("a + on (|"), [""; 0]);
        assert_eq!(completed("sum by (job|) (requests_total)"), ["sum by (job) (requests_total)"]);
    }

    #[test]
    fn values() {
        assert_eq!(completed("requests_total{job=\"ap|"), ["requests_total{job=\"api\""]);
        assert_eq!(completed("requests_total{job=\"ap|\"}"), ["requests_total{job=\"api\"}"]);
        assert_eq!(completed("requests_total{job='a\"|"), ["requests_total{job='a\"b'"]);
        assert_eq!(completed("requests_total{job=\"a\\\"|"), ["requests_total{job=\"a\\\"b\""]);
        assert_eq!(completed("requests_total{job=~\"a\\\\|"), ["requests_total{job=~\"a\\\\.b\""]);
        assert_eq!(completed("{job!=|"), ["{job!=\"api\"", "{job!=\"web\""]);
        assert_eq!(completed("requests_total{job=`a.|"), ["requests_total{job=`a.b`"]);
        assert_eq!(completed("{other=\"|"), [""; 0]);
    }

    #[test]
    fn commands_and_ranges() {
        assert_eq!(completed(".ex|"), [".explain"]);
        assert_eq!(completed(".format j|"), [".format json", ".format jsonl"]);
        assert_eq!(completed(".labels re|"), [".labels requests_total"]);
        assert_eq!(completed(".explain sum(req|"), [".explain sum(requests_total"]);
        assert_eq!(completed(".explain req|"), [".explain requests_total"]);
        assert_eq!(completed(".range -1h |"), [""; 0]);
        assert_eq!(completed("rate(x[1|"), ["rate(x[1m", "rate(x[15m", "rate(x[1h", "rate(x[1d"]);
    }

    /// Any text and cursor is completed without a panic.
    #[test]
    fn odd_texts() {
        for text in ["", ".", "..", "}", "a{b=\"ü", "ü", "`", "a{=", "a{\"b\"=\"", "[", "by (", "a[5m", "; ;", "\\"] {
            for cursor in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let (start, _) = complete(text, cursor, look_up);
                assert!(start <= cursor, "{text}");
            }
        }
    }
}
