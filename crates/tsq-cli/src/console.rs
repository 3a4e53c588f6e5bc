//! Where a command writes, and what the terminal there can do.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Arc, Mutex};

/// Size assumed where there is no terminal to ask.
const SIZE: (usize, usize) = (80, 20);

/// Standard output and error of a command.
pub struct Console {
    /// Results.
    pub out: Box<dyn Write + Send>,
    /// Errors, warnings and progress.
    pub err: Box<dyn Write + Send>,
    /// Whether results go to a terminal.
    pub terminal: bool,
    /// Whether messages go to a terminal.
    pub err_terminal: bool,
    /// Whether results may be coloured.
    pub colour: bool,
    /// Whether messages may be coloured.
    pub err_colour: bool,
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("terminal", &self.terminal).field("width", &self.width).finish_non_exhaustive()
    }
}

impl Console {
    /// The process's own. Colours follow `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE`.
    pub fn stdio() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let size = if terminal { terminal_size() } else { None };
        let (width, height) = size.unwrap_or(SIZE);
        let colour = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        let err_colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        let out: Box<dyn Write + Send> =
            if terminal { Box::new(io::LineWriter::new(stdout)) } else { Box::new(BufWriter::new(stdout)) };
        let err_terminal = io::stderr().is_terminal();
        Self { out, err: Box::new(io::stderr()), terminal, err_terminal, colour, err_colour, width, height }
    }

    /// A console that keeps what is written, for tests and embedding: no terminal, no colour.
    pub fn captured() -> (Self, Captured) {
        let captured = Captured::default();
        let console = Self {
            out: Box::new(captured.out.clone()),
            err: Box::new(captured.err.clone()),
            terminal: false,
            err_terminal: false,
            colour: false,
            err_colour: false,
            width: SIZE.0,
            height: SIZE.1,
        };
        (console, captured)
    }
}

impl Console {
    /// Asks the terminal again how large it is.
    pub(crate) fn measure(&mut self) {
        if let Some((width, height)) = terminal_size().filter(|_| self.terminal) {
            (self.width, self.height) = (width, height);
        }
    }

    /// A line on standard error. That it is closed cannot be reported anywhere.
    pub(crate) fn say(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }
}

fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let (width, height) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (width >= 20 && height >= 8).then_some((width, height))
}

/// What was written to a [`Console::captured`].
#[derive(Clone, Debug, Default)]
pub struct Captured {
    out: Shared,
    err: Shared,
}

impl Captured {
    /// Text on standard output so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Text on standard error so far.
    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("no writer panics while it holds the lock");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics while it holds the lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
