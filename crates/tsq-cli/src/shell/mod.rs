//! `tsq shell`: one query after another, typed or read from a script.

mod command;
mod complete;
mod editor;
mod names;
mod session;
mod split;
mod target;

use std::io::{BufRead, IsTerminal};

use crate::args::Shell;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::interrupt::Running;
use session::Session;
use target::Target;

/// Longest input without an end, in bytes.
const INPUT_MAX: usize = 64 << 10;

/// Runs until it is left or the input ends.
pub(crate) fn run(args: &Shell, console: &mut Console) -> Result<Exit> {
    let target = Target::open(&args.target, console)?;
    if std::io::stdin().is_terminal() && console.terminal {
        let session = Session::new(target, args.output, Running::listen()?);
        editor::run(session, console)?;
    } else {
        let mut session = Session::new(target, args.output, Running::default());
        script(&mut std::io::stdin().lock(), &mut session, console)?;
    }
    Ok(Exit::Ok)
}

/// Runs what a script says, statement by statement; the first that fails ends it.
fn script(input: &mut dyn BufRead, session: &mut Session, console: &mut Console) -> Result<()> {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot read standard input: {error}"));
    let (mut text, mut at_end) = (String::new(), false);
    while !at_end {
        at_end = input.read_line(&mut text).map_err(cannot)? == 0;
        if text.len() > INPUT_MAX {
            return Err(Failure::usage(format!("a statement has more than {INPUT_MAX} bytes: is a bracket open?")));
        }
        let cut = split::split(&text);
        if cut.open && !at_end {
            continue;
        }
        for range in cut.statements {
            if !session.run(&text[range], console)? {
                return Ok(());
            }
        }
        text.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell over a directory with a metric of two series.
    fn run_script(text: &str) -> (Result<()>, String, String) {
        use tsq::DbExt;
        let dir = tempfile::tempdir().unwrap();
        let db = tsq::Db::open(dir.path(), tsq::Options::default()).unwrap();
        for (job, value) in [("a", 1.0), ("b", 2.0)] {
            let labels = tsq::Labels::from_pairs([("__name__", "up"), ("job", job)]).unwrap();
            db.write(&labels, 1_700_000_000_000, value).unwrap();
        }
        db.close().unwrap();
        let (mut console, captured) = Console::captured();
        let target = Target::open(dir.path().to_str().unwrap(), &mut console).unwrap();
        let mut session = Session::new(target, crate::args::OutputFormat::Csv, Running::default());
        let result = script(&mut text.as_bytes(), &mut session, &mut console);
        (result, captured.out(), captured.err())
    }

    #[test]
    fn statements_run_one_after_another() {
        let (result, out, err) =
            run_script(".instant 1700000000; sum(up) # comment ; no statement\nup{\n  job='b'\n}\n\n.quit\nnever(\n");
        result.unwrap();
        let want = "time,value\n2023-11-14T22:13:20Z,3\n__name__,job,time,value\nup,b,2023-11-14T22:13:20Z,2\n";
        assert_eq!((out.as_str(), err.as_str()), (want, ""));
    }

    #[test]
    fn ranges_formats_and_plans() {
        let (result, out, _) =
            run_script(".range 1700000000 1700000060 30\n.format jsonl\nmax(up)\n.format table\n.explain sum(up)\n");
        result.unwrap();
        let (first, plan) = out.split_once('\n').unwrap();
        assert_eq!(first, r#"{"metric":{},"values":[[1700000000,"2"],[1700000030,"2"],[1700000060,"2"]]}"#);
        assert!(plan.starts_with("plan") && plan.contains("\n└─ up"), "{plan}");
    }

    #[test]
    fn names_are_listed() {
        let (result, out, _) = run_script(".metrics\n.labels up\n.metrics x\n");
        result.unwrap();
        assert_eq!(out, "up\n__name__\njob\n");
    }

    #[test]
    fn the_first_failure_ends_a_script() {
        let (result, out, _) = run_script("sum(up\n");
        let Err(Failure::Message(exit, message)) = result else { panic!("the bracket stays open") };
        assert_eq!(exit, Exit::Query);
        assert!(message.contains("parse error") && message.contains('^') && out.is_empty(), "{message}");
        for wrong in [".frobnicate", ".range", ".range 5 1", ".format xml", ".watch", ".timer maybe"] {
            let (result, _, _) = run_script(&format!("{wrong}\nup\n"));
            assert!(matches!(result, Err(Failure::Message(Exit::Usage, _))), "{wrong}");
        }
    }
}
