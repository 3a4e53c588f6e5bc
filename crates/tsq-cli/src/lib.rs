//! The tsq command line: one binary that serves, queries and looks after data directories.
//!
//! [`run`] is the whole of it: arguments in, text and an exit code out.

#![forbid(unsafe_code)]

mod answer;
mod args;
mod client;
mod completions;
mod console;
mod delete;
mod demo;
mod export;
mod failure;
mod fmt;
mod import;
mod inspect;
mod interrupt;
mod query;
mod recover;
mod render;
mod serve;
mod settings;
mod shell;
mod store;
mod units;
mod verify;

use std::ffi::OsString;

use clap::Parser;

pub use console::{Captured, Console};
pub use failure::Exit;

use crate::args::{Cli, Command};
use crate::failure::Failure;

/// Runs one command: `args` begin with the name of the program.
pub fn run(args: impl IntoIterator<Item = OsString>, console: &mut Console) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let program = args.first().map_or_else(|| "tsq".into(), |name| name.to_string_lossy().into_owned());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error, console),
    };
    // A block file that somebody cuts short must fail the queries that need it, not end the server.
    if let Err(error) = tsq::survive_lost_maps() {
        console.say(format_args!("warning: damaged block files may end this process: {error}"));
    }
    let result = match cli.command {
        Command::Serve(args) => serve::run(*args, console),
        Command::Query(args) => query::run(&args, console),
        Command::Shell(args) => shell::run(&args, console),
        Command::Fmt(args) => fmt::run(&args, console),
        Command::Demo(args) => demo::run(&args, &program, console),
        Command::Import(args) => import::run(&args, console),
        Command::Export(args) => export::run(&args, console),
        Command::Delete(args) => delete::run(&args, console),
        Command::Inspect(args) => inspect::run(&args, console),
        Command::Verify(args) => verify::run(&args, console),
        Command::Recover(args) => recover::run(&args, console),
        Command::Completions(args) => completions::run(&args, console),
    };
    match result.and_then(|exit| Ok(console.out.flush().map(|()| exit)?)) {
        Ok(exit) => exit,
        Err(Failure::BrokenPipe) => Exit::Ok,
        Err(Failure::Message(exit, message)) => {
            // What was written before the error belongs to the answer, if it can still be delivered.
            let _ = console.out.flush();
            console.say(format_args!("error: {message}"));
            exit
        }
    }
}

/// A wrong command line, or a help text that was asked for.
fn report_usage(error: &clap::Error, console: &mut Console) -> Exit {
    let (to, colour) =
        if error.use_stderr() { (&mut console.err, console.err_colour) } else { (&mut console.out, console.colour) };
    let text = error.render();
    // A closed pipe while printing help is no failure.
    let _ = if colour { write!(to, "{}", text.ansi()) } else { write!(to, "{text}") };
    let _ = to.flush();
    if error.use_stderr() { Exit::Usage } else { Exit::Ok }
}
