//! `tsq query`: what is asked, and how the answer is shown.

pub(crate) mod caret;
pub(crate) mod local;
pub(crate) mod remote;

use tsq::promql::CancelFlag;
use tsq::{Clock, SystemClock};
use tsq_runs::AxisName;

use crate::answer::Answer;
use crate::args::{OutputFormat, Query};
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::render::{plan, plot, render};
use crate::store;

/// When to evaluate, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Once.
    At(i64),
    /// At `start_ms`, `start_ms + step_ms`, ... up to `end_ms`.
    Over { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// What a query may cost and give, where that is not left to whoever evaluates it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub timeout_ms: Option<i64>,
    pub lookback_ms: Option<i64>,
    /// Series in the answer.
    pub limit: Option<usize>,
}

/// A query to evaluate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub expr: &'a str,
    pub when: When,
    pub limits: Limits,
    pub explain: bool,
    /// What stands for the time of the samples of runs.
    pub axis: Option<AxisName>,
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
    if args.explain && !matches!(args.output, OutputFormat::Table | OutputFormat::Json) {
        return Err(Failure::usage("--explain shows the plan as a table or, with -o json, as part of the answer"));
    }
    let when = when(args, SystemClock::new().now_ms())?;
    let limits = Limits { timeout_ms: args.timeout, lookback_ms: args.lookback, limit: args.limit };
    let request = Request { expr: &args.expr, when, limits, explain: args.explain, axis: args.axis };
    let cancel = CancelFlag::default();
    let json = match &args.origin.url {
        Some(url) => remote::query(url, &request, &cancel),
        None => local::query(&store::source(&args.origin.data, console)?, &request, &cancel),
    };
    show(&request, json, args.output, console)?;
    Ok(Exit::Ok)
}

/// Shows an answer in JSON of the API, or says why there is none.
pub(crate) fn show(
    request: &Request<'_>,
    json: Result<Vec<u8>>,
    output: OutputFormat,
    console: &mut Console,
) -> Result<()> {
    let at_place = |failure| caret::point_at(failure, request.expr);
    let json = json.map_err(at_place)?;
    let answer = Answer::parse(&json).expect("it was written or checked as an answer");
    answer.check().map_err(at_place)?;
    report_notes(&answer, console);
    if output == OutputFormat::Json {
        console.out.write_all(&json)?;
        console.out.write_all(b"\n")?;
        return Ok(());
    }
    if request.explain {
        return plan::write(answer.explain()?, console);
    }
    let span = match request.when {
        When::At(_) => None,
        When::Over { start_ms, end_ms, step_ms } => Some(plot::Span { start_ms, end_ms, step_ms }),
    };
    let shown = render(&answer, output, span, console)?;
    if !shown && output == OutputFormat::Table && console.terminal {
        console.say("no data: nothing matches at this time");
    }
    Ok(())
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
pub(crate) fn default_step(range_ms: i64, output: OutputFormat) -> i64 {
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
