//! Where an export goes: standard output, or a file that appears when it is complete.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::write::GzEncoder;
use tsq_ingest::{Format, Output};

use crate::console::Console;
use crate::failure::{Failure, Result};

/// The format that a file name stands for, whatever compression follows.
pub(super) fn format_of(path: &Path) -> Option<&'static Format> {
    Format::by_path(path).or_else(|| match compression_of(path) {
        Some(_) => Format::by_path(&path.with_extension("")),
        None => None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

fn compression_of(path: &Path) -> Option<Compression> {
    match path.extension()?.to_str()? {
        "gz" => Some(Compression::Gzip),
        "zst" => Some(Compression::Zstd),
        _ => None,
    }
}

/// What the exporter's bytes pass through.
enum Sink {
    Plain(Box<dyn Write>),
    Gzip(GzEncoder<Box<dyn Write>>),
    Zstd(zstd::Encoder<'static, Box<dyn Write>>),
}

/// A writer that can be finished after the exporter, which owns its output, is gone.
#[derive(Clone)]
struct Shared(Rc<RefCell<Sink>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.borrow_mut() {
            Sink::Plain(out) => out.write(bytes),
            Sink::Gzip(out) => out.write(bytes),
            Sink::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut *self.0.borrow_mut() {
            Sink::Plain(out) => out.flush(),
            // Flushing inside of a compressed stream only makes it longer; the end flushes.
            Sink::Gzip(_) | Sink::Zstd(_) => Ok(()),
        }
    }
}

/// An export under way. Dropped before [`Target::finish`], it leaves no file.
pub(super) struct Target {
    sink: Shared,
    file: Option<Unfinished>,
}

/// A file under a temporary name.
struct Unfinished {
    temporary: PathBuf,
    path: PathBuf,
    file: File,
    complete: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.complete {
            // Left behind at worst: its name says what it is.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

impl Unfinished {
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create_new(&temporary)?;
        Ok(Self { temporary, path: path.to_path_buf(), file, complete: false })
    }

    fn publish(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.temporary, &self.path)?;
        self.complete = true;
        Ok(())
    }
}

impl Target {
    /// Begins a file at `path`, or takes over standard output. A format that compresses itself is not compressed again.
    pub(super) fn create(path: Option<&Path>, format: &Format, console: &mut Console) -> Result<Self> {
        let Some(path) = path else {
            let out = std::mem::replace(&mut console.out, Box::new(io::sink()));
            return Ok(Self { sink: Shared(Rc::new(RefCell::new(Sink::Plain(out)))), file: None });
        };
        let cannot = |error: io::Error| Failure::failed(format!("cannot create {}: {error}", path.display()));
        let file = Unfinished::create(path).map_err(cannot)?;
        let out: Box<dyn Write> = Box::new(BufWriter::with_capacity(1 << 20, file.file.try_clone().map_err(cannot)?));
        let sink = match compression_of(path).filter(|_| format.name != "tsr") {
            None => Sink::Plain(out),
            Some(Compression::Gzip) => Sink::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Some(Compression::Zstd) => Sink::Zstd(zstd::Encoder::new(out, 3).map_err(cannot)?),
        };
        Ok(Self { sink: Shared(Rc::new(RefCell::new(sink))), file: Some(file) })
    }

    /// What an exporter writes to.
    pub(super) fn writer(&self) -> Output {
        Box::new(self.sink.clone())
    }

    /// Ends the compression and gives the file its name. Every [`Target::writer`] must be gone.
    pub(super) fn finish(self) -> Result<()> {
        let Self { sink, file } = self;
        let sink = Rc::into_inner(sink.0).expect("the exporter and its writer are gone").into_inner();
        let place = file.as_ref().map(|file| file.path.display().to_string());
        let finished = finish(sink).and_then(|()| file.map_or(Ok(()), |mut file| file.publish()));
        finished.map_err(|error| match place {
            Some(place) => Failure::failed(format!("cannot write {place}: {error}")),
            None => error.into(),
        })
    }
}

fn finish(sink: Sink) -> io::Result<()> {
    let mut out = match sink {
        Sink::Plain(out) => out,
        Sink::Gzip(encoder) => encoder.finish()?,
        Sink::Zstd(encoder) => encoder.finish()?,
    };
    out.flush()
}
