//! `tsq query`.

mod caret;
mod local;
mod remote;

use tsq::{Clock, SystemClock};

use crate::answer::Answer;
use crate::args::{OutputFormat, Query};
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::render::{plot, render};

/// When to evaluate, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Once.
    At(i64),
    /// At `start_ms`, `start_ms + step_ms`, ... up to `end_ms`.
    Over { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// Points of a range when no step is given.
const POINTS: i64 = 250;

/// Steps that people read easily, in milliseconds: 1 s to 1 d.
const STEPS_MS: [i64; 17] = [
    1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000,
    7_200_000, 21_600_000, 43_200_000, 86_400_000,
];

/// Evaluates and shows.
pub(crate) fn run(args: &Query, console: &mut Console) -> Result<Exit> {
    let when = when(args, SystemClock::new().now_ms())?;
    let json = match &args.origin.url {
        Some(url) => remote::query(url, &args.expr, when),
        None => local::query(&args.origin.data, &args.expr, when, console),
    };
    let json = json.map_err(|failure| caret::point_at(failure, &args.expr))?;
    let answer = Answer::parse(&json).expect("it was written or checked as an answer");
    answer.check().map_err(|failure| caret::point_at(failure, &args.expr))?;
    report_notes(&answer, console);
    let span = match when {
        When::At(_) => None,
        When::Over { start_ms, end_ms, step_ms } => Some(plot::Span { start_ms, end_ms, step_ms }),
    };
    if args.output == OutputFormat::Json {
        console.out.write_all(&json)?;
        console.out.write_all(b"\n")?;
    } else {
        let shown = render(&answer, args.output, span, console)?;
        if !shown && args.output == OutputFormat::Table && console.terminal {
            console.say("no data: nothing matches at this time (--time and --last choose another)");
        }
    }
    Ok(Exit::Ok)
}

fn report_notes(answer: &Answer<'_>, console: &mut Console) {
    for (kind, notes) in [("warning", &answer.warnings), ("info", &answer.infos)] {
        for note in notes {
            console.say(format_args!("{kind}: {note}"));
        }
    }
}

/// The times that the flags ask for.
fn when(args: &Query, now_ms: i64) -> Result<When> {
    let (start_ms, end_ms) = match (args.last, args.start) {
        // Whole seconds: nobody asked for the milliseconds of now.
        (Some(last_ms), _) => (now_ms / 1000 * 1000 - last_ms, now_ms / 1000 * 1000),
        (None, Some(start)) => (start.resolve(now_ms), args.end.map_or(now_ms, |end| end.resolve(now_ms))),
        (None, None) if args.step.is_some() => {
            return Err(Failure::usage("--step needs a range: add --last 1h, or --start and --end"));
        }
        (None, None) => return Ok(When::At(args.time.map_or(now_ms, |time| time.resolve(now_ms)))),
    };
    if start_ms > end_ms {
        return Err(Failure::usage("the range ends before it starts: --end must not be before --start"));
    }
    let step_ms = args.step.unwrap_or_else(|| default_step(end_ms.saturating_sub(start_ms), args.output));
    Ok(When::Over { start_ms, end_ms, step_ms })
}

/// A readable step that gives about [`POINTS`] points. Tables get a tenth of them, for people to read.
fn default_step(range_ms: i64, output: OutputFormat) -> i64 {
    let points = if output == OutputFormat::Table { POINTS / 10 } else { POINTS };
    let wanted = range_ms / points;
    STEPS_MS.into_iter().find(|step| *step >= wanted).unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(flags: &[&str]) -> Result<When> {
        let cli = Cli::try_parse_from(["tsq", "query", "up"].iter().chain(flags)).map_err(Failure::usage)?;
        let Command::Query(query) = cli.command else { unreachable!("the arguments say query") };
        when(&query, 10_000_000)
    }

    #[test]
    fn flags_become_times() {
        let over = |start_ms, end_ms, step_ms| When::Over { start_ms, end_ms, step_ms };
        assert_eq!(parse(&[]).unwrap(), When::At(10_000_000));
        assert_eq!(parse(&["--time", "-1m"]).unwrap(), When::At(9_940_000));
        assert_eq!(parse(&["--last", "1h", "--step", "15s"]).unwrap(), over(6_400_000, 10_000_000, 15_000));
        assert_eq!(parse(&["--start", "0", "--end", "100", "--step", "1"]).unwrap(), over(0, 100_000, 1_000));
        assert_eq!(parse(&["--last", "1h", "-o", "csv"]).unwrap(), over(6_400_000, 10_000_000, 15_000));
        assert_eq!(parse(&["--last", "1h"]).unwrap(), over(6_400_000, 10_000_000, 300_000));
        for wrong in [
            &["--step", "5s"][..],
            &["--end", "5"],
            &["--start", "9", "--end", "5"],
            &["--time", "5", "--last", "1h"],
            &["--last", "1h", "--start", "4"],
            &["--last", "0"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
