//! The prompt: a line editor with history, completion and colours.

use std::borrow::Cow;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};
use tsq::promql::{TokenKind, tokens};

use super::command::is_command;
use super::complete::complete;
use super::names::Names;
use super::session::Session;
use super::split::split;
use crate::console::Console;
use crate::failure::{Failure, Result};

const PROMPT: &str = "tsq> ";

/// Lines of the history that are kept.
const HISTORY_MAX: usize = 2_000;

/// Candidates beyond these are listed only after asking.
const LIST_MAX: usize = 100;

/// Reads and runs statements until Ctrl-D or `.quit`.
pub(super) fn run(mut session: Session, console: &mut Console) -> Result<()> {
    let mut editor = editor(&session, console).map_err(|error| broken(&error))?;
    let history = history_path();
    if let Some(path) = &history {
        // None yet, or one that cannot be read: the shell works without.
        let _ = editor.load_history(path);
    }
    writeln!(console.out, "{}; .help lists commands, Ctrl-D leaves", session.target())?;
    loop {
        console.out.flush()?;
        match editor.readline(PROMPT) {
            Ok(text) => {
                // Memory only; saved below, so that a crash of the terminal loses nothing.
                let _ = editor.add_history_entry(text.trim_end());
                if let Some(path) = &history {
                    save(&mut editor, path);
                }
                if !run_all(&text, &mut session, console)? {
                    return Ok(());
                }
            }
            // Ctrl-C drops what was typed.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &ReadlineError) -> Failure {
    Failure::failed(format!("cannot read from the terminal: {error}"))
}

/// Runs what was typed; a failure is reported and drops what stood behind it. False: leave.
fn run_all(text: &str, session: &mut Session, console: &mut Console) -> Result<bool> {
    for range in split(text).statements {
        match session.run(&text[range], console) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(Failure::BrokenPipe) => return Err(Failure::BrokenPipe),
            Err(Failure::Message(_, message)) => {
                console.out.flush()?;
                console.say(format_args!("error: {message}"));
                break;
            }
        }
    }
    Ok(true)
}

fn editor(session: &Session, console: &Console) -> rustyline::Result<Editor<Prompt, FileHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_MAX)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_prompt_limit(LIST_MAX)
        .color_mode(if console.colour { ColorMode::Enabled } else { ColorMode::Disabled })
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Prompt { names: session.names().clone(), colour: console.colour }));
    Ok(editor)
}

/// `$XDG_STATE_HOME/tsq/history`, by default under `~/.local/state`; none without a home.
fn history_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("tsq").join("history"))
}

/// A history that cannot be written is no reason to stop.
fn save(editor: &mut Editor<Prompt, FileHistory>, path: &std::path::Path) {
    if let Some(parent) = path.parent() {
        let _ = std::fs::create_dir_all(parent);
    }
    let _ = editor.append_history(path);
}

/// What the line editor asks.
#[derive(Debug)]
struct Prompt {
    names: Names,
    colour: bool,
}

impl Helper for Prompt {}

impl Hinter for Prompt {
    type Hint = String;
}

impl Completer for Prompt {
    type Candidate = Pair;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, candidates) = complete(line, cursor, |wanted| self.names.get(wanted));
        let pair =
            |candidate: super::complete::Candidate| Pair { display: candidate.shown, replacement: candidate.inserted };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

impl Validator for Prompt {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let open = split(context.input()).open;
        Ok(if open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for Prompt {
    fn highlight<'l>(&self, line: &'l str, _cursor: usize) -> Cow<'l, str> {
        if self.colour { Cow::Owned(coloured(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_char(&self, _line: &str, _cursor: usize, _kind: CmdKind) -> bool {
        self.colour
    }
}

/// A line with colours for what its pieces are.
fn coloured(line: &str) -> String {
    if is_command(line.trim_start()) {
        return format!("\x1b[35m{line}\x1b[0m");
    }
    let (mut out, mut at) = (String::with_capacity(line.len() * 2), 0);
    for token in tokens(line) {
        let word = &line[token.range.start..token.range.end];
        out.push_str(&line[at..token.range.start]);
        match colour(token.kind, word) {
            Some(colour) => out.push_str(&format!("\x1b[{colour}m{word}\x1b[0m")),
            None => out.push_str(word),
        }
        at = token.range.end;
    }
    out.push_str(&line[at..]);
    out
}

/// The code of a colour of the terminal's own palette.
fn colour(kind: TokenKind, word: &str) -> Option<u8> {
    match kind {
        TokenKind::Function | TokenKind::Aggregation => Some(34),
        TokenKind::Keyword => Some(35),
        TokenKind::Label => Some(36),
        TokenKind::String => Some(32),
        TokenKind::Number | TokenKind::Duration => Some(33),
        TokenKind::Comment => Some(90),
        // A string that is being typed.
        TokenKind::Rest if word.starts_with(['"', '\'', '`']) => Some(32),
        TokenKind::Rest => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_character() {
        for line in ["sum by (a) (rate(up{b=\"c\"}[5m])) / 2 # x", "up{a=\"b", "  .help me", "ü up", "a;b"] {
            let mut plain = coloured(line);
            while let Some(start) = plain.find('\x1b') {
                let end = start + plain[start..].find('m').unwrap();
                plain.replace_range(start..=end, "");
            }
            assert_eq!(plain, line);
        }
        assert!(coloured("rate(up)").starts_with("\x1b[34mrate\x1b[0m("));
    }
}
