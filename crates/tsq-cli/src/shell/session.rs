//! The state of a shell, and what its statements do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tsq::promql::CancelFlag;
use tsq::{Clock, SystemClock};

use super::command::{self, Command};
use super::names::{Names, Wanted};
use super::target::Target;
use crate::args::OutputFormat;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::interrupt::Running;
use crate::query::{self, Limits, Request, When, default_step};
use crate::render::plan::format_seconds;
use crate::units::{Moment, format_duration_ms, format_moment};

/// How often a watch looks whether Ctrl-C was pressed while it waits.
const WATCH_CHECK: Duration = Duration::from_millis(20);

/// Times that queries are evaluated at; what is counted from now moves on with it.
#[derive(Clone, Copy, Debug)]
enum Times {
    At(Option<Moment>),
    Over { start: Moment, end: Moment, step_ms: Option<i64> },
}

/// A shell.
#[derive(Debug)]
pub(super) struct Session {
    target: Target,
    names: Names,
    clock: SystemClock,
    running: Running,
    times: Times,
    format: OutputFormat,
    timer: bool,
    explain: bool,
    /// The last query, for `.watch`.
    last: Option<String>,
}

impl Session {
    pub(super) fn new(target: Target, format: OutputFormat, running: Running) -> Self {
        Self {
            names: Names::new(target.origin()),
            target,
            clock: SystemClock::new(),
            running,
            times: Times::At(None),
            format,
            timer: false,
            explain: false,
            last: None,
        }
    }

    /// For completion.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// What is asked, for people.
    pub(super) fn target(&self) -> String {
        self.target.name()
    }

    /// Runs a query or a command. False: it says to leave.
    pub(super) fn run(&mut self, statement: &str, console: &mut Console) -> Result<bool> {
        console.measure();
        if !command::is_command(statement) {
            self.last = Some(statement.to_owned());
            let cancel = self.running.start();
            self.query(statement, self.explain, &cancel, console)?;
            return Ok(true);
        }
        match command::parse(statement)? {
            Command::Quit => return Ok(false),
            Command::Help => console.out.write_all(command::help().as_bytes())?,
            Command::Timer(on) => self.timer = on,
            Command::Explain(on) => self.explain = on,
            Command::ExplainOne(expr) => {
                let cancel = self.running.start();
                self.query(&expr, true, &cancel, console)?;
            }
            Command::Watch(interval_ms) => self.watch(interval_ms, console)?,
            Command::Range { start, end, step_ms } => {
                let now_ms = self.clock.now_ms();
                if start.resolve(now_ms) > end.resolve(now_ms) {
                    return Err(Failure::usage("the range ends before it starts"));
                }
                self.times = Times::Over { start, end, step_ms };
            }
            Command::Instant(time) => self.times = Times::At(time),
            Command::Format(format) => self.format = format,
            Command::Metrics(text) => {
                let names = self.target.origin().look_up(&Wanted::Metrics)?;
                list(names.iter().filter(|name| name.contains(&text)), console)?;
            }
            Command::Labels(metric) => {
                let names: Arc<[String]> = self.target.origin().look_up(&Wanted::Labels(metric))?.into();
                list(names.iter(), console)?;
            }
        }
        Ok(true)
    }

    fn query(&mut self, expr: &str, explain: bool, cancel: &CancelFlag, console: &mut Console) -> Result<()> {
        let (begin, when) = (Instant::now(), self.when());
        // A plan is no chart and no CSV.
        let format = match self.format {
            OutputFormat::Json => OutputFormat::Json,
            _ if explain => OutputFormat::Table,
            format => format,
        };
        let request = Request { expr, when, limits: Limits::default(), explain, axis: None };
        let json = self.target.query(&request, cancel, console);
        // What was read anew has new names.
        self.names.set_origin(self.target.origin());
        let taken = begin.elapsed();
        query::show(&request, json, format, console)?;
        if self.timer {
            console.out.flush()?;
            console.say(format_args!("time: {}", format_seconds(taken.as_secs_f64())));
        }
        Ok(())
    }

    fn when(&self) -> When {
        let now_ms = self.clock.now_ms();
        match self.times {
            Times::At(time) => When::At(time.map_or(now_ms, |time| time.resolve(now_ms))),
            Times::Over { start, end, step_ms } => {
                // Whole seconds, so that a range that moves has round times.
                let now_ms = now_ms / 1000 * 1000;
                let (start_ms, end_ms) = (start.resolve(now_ms), end.resolve(now_ms));
                let step_ms =
                    step_ms.unwrap_or_else(|| default_step(end_ms.saturating_sub(start_ms), self.format)).max(1);
                When::Over { start_ms, end_ms, step_ms }
            }
        }
    }

    /// Repeats the last query until Ctrl-C.
    fn watch(&mut self, interval_ms: i64, console: &mut Console) -> Result<()> {
        let Some(expr) = self.last.clone() else {
            return Err(Failure::usage(".watch repeats the last query: there was none yet"));
        };
        let (cancel, interval) = (self.running.start(), Duration::from_millis(interval_ms.unsigned_abs()));
        while !cancel.is_canceled() {
            let begin = Instant::now();
            console.measure();
            if console.terminal {
                // To the top left, and nothing below.
                console.out.write_all(b"\x1b[H\x1b[2J")?;
            }
            let (every, now) = (format_duration_ms(interval_ms), format_moment(self.clock.now_ms() / 1000 * 1000));
            writeln!(console.out, "every {every}, Ctrl-C ends it: {expr}   {now}")?;
            let result = self.query(&expr, self.explain, &cancel, console);
            if !cancel.is_canceled() {
                result?;
            }
            console.out.flush()?;
            while begin.elapsed() < interval && !cancel.is_canceled() {
                std::thread::sleep(WATCH_CHECK);
            }
        }
        Ok(())
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>, console: &mut Console) -> Result<()> {
    for name in names {
        writeln!(console.out, "{name}")?;
    }
    Ok(())
}
