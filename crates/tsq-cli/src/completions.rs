//! `tsq completions`: what a command line shell needs to complete `tsq` commands.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::console::Console;
use crate::failure::{Exit, Result};

/// Writes the script.
pub(crate) fn run(args: &Completions, console: &mut Console) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tsq", &mut script);
    console.out.write_all(&script)?;
    Ok(Exit::Ok)
}
