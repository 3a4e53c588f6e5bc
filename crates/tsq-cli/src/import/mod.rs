//! `tsq import`.

mod input;

use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tsq::{Batch, Clock, Db, ErrorKind, Importer, Options, SystemClock};
use tsq_ingest::csv::{CsvOptions, TimeUnit};
use tsq_ingest::{ImportError, ImportOptions};

use crate::args::Import;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::units::format_count;

/// Samples read between two looks at Ctrl-C.
const SAMPLES: usize = 16 << 10;

/// Reads all files.
pub(crate) fn run(args: &Import, console: &mut Console) -> Result<Exit> {
    let options = import_options(args);
    // Told before anything is written: a later file of an unknown format should not leave half an import.
    let files = args.files.iter().map(|file| input::open(file, args.format.as_deref()));
    let files = files.collect::<Result<Vec<_>>>()?;
    let interrupt = Interrupt::listen()?;
    let mut limits = Options::default();
    limits.limits.future = None;
    let db = Db::open(&args.dir.data, limits).map_err(|error| match error.kind() {
        ErrorKind::Locked => {
            Failure::failed(format!("{error}; an import needs the directory for itself: stop that first"))
        }
        _ => error.into(),
    })?;
    if let Some(reason) = db.read_only_reason() {
        return Err(Failure::Message(Exit::Damaged, format!("{} takes no writes: {reason}", args.dir.data.display())));
    }
    let bar = progress_bar(files.iter().map(|file| file.len).sum(), args.quiet || !console.err_terminal);
    let (mut importer, mut result) = (db.importer()?, Ok(Exit::Ok));
    for file in files {
        let name = file.name.clone();
        bar.set_message(name.clone());
        if let Err(stop) = import_file(&mut importer, &mut db.batch(), file, &options, &bar, &interrupt) {
            result = stop.report(&name);
            break;
        }
    }
    let samples = importer.finish()?;
    bar.finish_and_clear();
    db.close()?;
    if !args.quiet {
        let count = format_count(samples);
        let kept = if result.as_ref().is_ok_and(|exit| *exit == Exit::Ok) { "" } else { " before it stopped" };
        console.say(format_args!("{count} samples imported into {}{kept}", args.dir.data.display()));
    }
    result
}

fn import_options(args: &Import) -> ImportOptions {
    let units = TimeUnit::NAMES.iter();
    let time_unit = units.filter(|(name, _)| *name == args.time_unit).map(|(_, unit)| *unit).next().unwrap_or_default();
    ImportOptions {
        labels: args.labels.clone(),
        default_time_ms: args.time.map(|time| time.resolve(SystemClock::new().now_ms())),
        csv: CsvOptions {
            delimiter: args.delimiter,
            time_column: args.time_column.clone(),
            time_unit,
            metric: args.metric.clone(),
            wide: args.wide,
            label_columns: args.label_column.clone(),
            ..CsvOptions::default()
        },
    }
}

/// Why a file was not read to its end.
enum Stop {
    Interrupted,
    Unreadable(ImportError),
    Refused(tsq::Error),
}

impl Stop {
    fn report(self, name: &str) -> Result<Exit> {
        match self {
            Self::Interrupted => Err(Failure::Message(Exit::Interrupted, format!("interrupted in {name}"))),
            Self::Unreadable(ImportError::Parse(error)) => {
                Err(Failure::failed(format!("{name}:{}:{}: {}", error.line, error.column, error.message)))
            }
            Self::Unreadable(error) => Err(Failure::failed(format!("{name}: {error}"))),
            Self::Refused(error) => Err(Failure::failed(format!("{name}: {error}"))),
        }
    }
}

/// Reads one file. What was read when it stops has been added.
fn import_file(
    importer: &mut Importer,
    batch: &mut Batch,
    file: input::Source,
    options: &ImportOptions,
    bar: &ProgressBar,
    interrupt: &Interrupt,
) -> Result<(), Stop> {
    let before = bar.position();
    let mut reader = (file.format.importer)(file.input, options).map_err(Stop::Unreadable)?;
    loop {
        batch.clear();
        let read = reader.read(batch, SAMPLES);
        importer.batch(batch).map_err(Stop::Refused)?;
        bar.set_position(before + file.consumed.load(Ordering::Relaxed));
        if !read.map_err(Stop::Unreadable)? {
            return Ok(());
        }
        if interrupt.is_set() {
            return Err(Stop::Interrupted);
        }
    }
}

fn progress_bar(len: u64, hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(len), target);
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is well formed"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
