//! Commands of the shell: lines that begin with a dot.

use clap::ValueEnum;

use crate::args::OutputFormat;
use crate::failure::{Failure, Result};
use crate::units::{Moment, parse_duration_ms, parse_moment};

/// A command that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Help,
    Timer(bool),
    /// Show plans instead of answers from now on, or no more.
    Explain(bool),
    ExplainOne(String),
    /// Repeat the last query, so many milliseconds apart.
    Watch(i64),
    Range {
        start: Moment,
        end: Moment,
        step_ms: Option<i64>,
    },
    Instant(Option<Moment>),
    Format(OutputFormat),
    /// Metrics with this in their names.
    Metrics(String),
    /// Labels of a metric, or all.
    Labels(Option<String>),
    Quit,
}

/// Name, arguments and what it does.
pub(super) static COMMANDS: &[(&str, &str, &str)] = &[
    (".explain", "on | off | EXPR", "show plans instead of answers; show the plan of one query"),
    (".format", "FORMAT", "write answers as table, json, jsonl, csv or plot"),
    (".help", "", "this list"),
    (".instant", "[TIME]", "evaluate at one time: at this, or at the time of the query"),
    (".labels", "[METRIC]", "list the labels that a metric, or any, has"),
    (".metrics", "[TEXT]", "list the metrics, or those with a text in their names"),
    (".quit", "", "leave; Ctrl-D does as well"),
    (".range", "START END [STEP]", "evaluate over a range of time, such as .range -1h now 30s"),
    (".timer", "on | off", "say how long a query took"),
    (".watch", "[INTERVAL]", "repeat the last query, every 2s or as said, until Ctrl-C"),
];

/// Time between two evaluations of a query that is watched.
const WATCH_MS: i64 = 2_000;

/// Whether a statement is a command: it begins with a dot, and not as a number does.
pub(super) fn is_command(statement: &str) -> bool {
    statement.strip_prefix('.').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Reads a line that begins with a dot.
pub(super) fn parse(line: &str) -> Result<Command> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let usage = || {
        let known = COMMANDS.iter().find(|(known, ..)| *known == name);
        Failure::usage(match known {
            Some((_, args, _)) => format!("write {name} {args}").trim_end().to_owned(),
            None => format!("{name} is no command; .help lists them"),
        })
    };
    let because = |what: String| Failure::usage(format!("{name}: {what}"));
    let command = match (name, words.as_slice()) {
        (".help", []) => Command::Help,
        (".quit" | ".exit", []) => Command::Quit,
        (".timer", [switch]) => Command::Timer(on_or_off(switch).ok_or_else(usage)?),
        (".explain", [switch]) if on_or_off(switch).is_some() => Command::Explain(*switch == "on"),
        (".explain", [_, ..]) => Command::ExplainOne(rest.to_owned()),
        (".watch", []) => Command::Watch(WATCH_MS),
        (".watch", [interval]) => Command::Watch(parse_duration_ms(interval).map_err(because)?),
        (".range", [start, end, step @ ..]) if step.len() <= 1 => Command::Range {
            start: parse_moment(start).map_err(because)?,
            end: parse_moment(end).map_err(because)?,
            step_ms: step.first().map(|step| parse_duration_ms(step)).transpose().map_err(because)?,
        },
        (".instant", []) => Command::Instant(None),
        (".instant", [time]) => Command::Instant(Some(parse_moment(time).map_err(because)?)),
        (".format", [format]) => Command::Format(OutputFormat::from_str(format, false).map_err(|_| usage())?),
        (".metrics", []) => Command::Metrics(String::new()),
        (".metrics", [text]) => Command::Metrics((*text).to_owned()),
        (".labels", []) => Command::Labels(None),
        (".labels", [metric]) => Command::Labels(Some((*metric).to_owned())),
        _ => return Err(usage()),
    };
    Ok(command)
}

fn on_or_off(word: &str) -> Option<bool> {
    match word {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// What the words of a command may be, for completion.
pub(super) fn words(name: &str) -> Vec<String> {
    match name {
        ".timer" | ".explain" => vec!["on".into(), "off".into()],
        ".format" => {
            let formats = OutputFormat::value_variants().iter();
            formats.filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// The list that `.help` shows.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().map(|(name, args, what)| format!("{:<26}{what}\n", format!("{name} {args}")));
    let mut text: String = lines.collect();
    text.push_str(
        "\nAnything else is PromQL. It goes on over several lines while a bracket is open; ; separates queries.\n\
         Tab completes, Ctrl-R searches the history, Ctrl-C stops a query.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let moment = |text: &str| parse_moment(text).unwrap();
        for (line, want) in [
            (".help", Command::Help),
            (".timer off", Command::Timer(false)),
            (".explain on", Command::Explain(true)),
            (".explain  sum (up)", Command::ExplainOne("sum (up)".into())),
            (".watch", Command::Watch(2000)),
            (".watch 500ms", Command::Watch(500)),
            (".range -1h now", Command::Range { start: moment("-1h"), end: moment("now"), step_ms: None }),
            (".range 0 60 30s", Command::Range { start: moment("0"), end: moment("60"), step_ms: Some(30_000) }),
            (".instant", Command::Instant(None)),
            (".format plot", Command::Format(OutputFormat::Plot)),
            (".labels up", Command::Labels(Some("up".into()))),
            (".exit", Command::Quit),
        ] {
            assert_eq!(parse(line).unwrap(), want, "{line}");
        }
        for (line, part) in [
            (".what", "no command"),
            (".range 0", "START END"),
            (".range x y", "no time"),
            (".help me", ".help"),
            (".watch soon", "no duration"),
        ] {
            let Err(Failure::Message(_, message)) = parse(line) else { panic!("{line} is wrong") };
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_complete() {
        assert!(COMMANDS.is_sorted_by_key(|(name, ..)| *name));
        for (name, args, _) in COMMANDS {
            assert!(help().contains(&format!("{name} {args}")), "{name}");
        }
        assert_eq!(words(".format"), ["table", "json", "jsonl", "csv", "plot"]);
    }
}
