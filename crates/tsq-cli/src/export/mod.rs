//! `tsq export`.

mod output;

use std::collections::{BTreeSet, HashMap};

use tsq::{
    Clock, Exemplar, Labels, METRIC_NAME, MatchOp, Matcher, Snapshot, Source, SourceExt, SystemClock, TimeRange,
    all_match,
};
use tsq_ingest::text::family_order;
use tsq_ingest::{ExportError, ExportOptions, Exported, Exporter, Format};

use crate::args::Export;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::store;
use crate::units::format_count;
use output::Target;

/// Writes all selected series.
pub(crate) fn run(args: &Export, console: &mut Console) -> Result<Exit> {
    let now_ms = SystemClock::new().now_ms();
    let range = TimeRange::new(
        args.start.map_or(i64::MIN, |start| start.resolve(now_ms)),
        args.end.map_or(i64::MAX, |end| end.resolve(now_ms)),
    );
    let format = format(args);
    let selection = Selection { snapshot: store::read(&args.dir.data, console)?, selectors: selectors(args)?, range };
    let target = Target::create(args.output.as_deref(), format, console)?;
    let options = ExportOptions { label_names: selection.label_names()?, metadata: selection.snapshot.metadata()? };
    let mut exporter = (format.exporter)(target.writer(), &options).map_err(|error| failed(&error, args))?;
    for matchers in selection.passes(format, &options)? {
        selection.write(&matchers, exporter.as_mut()).map_err(|stop| match stop {
            Stop::Output(error) => failed(&error, args),
            Stop::Data(error) => error.into(),
        })?;
    }
    let exported = exporter.finish().map_err(|error| failed(&error, args))?;
    drop(exporter);
    target.finish()?;
    if !args.quiet {
        report(&exported, console);
    }
    Ok(Exit::Ok)
}

fn format(args: &Export) -> &'static Format {
    let named = args.format.as_deref().and_then(Format::by_name);
    let by_path = || args.output.as_deref().and_then(output::format_of);
    named.or_else(by_path).or_else(|| Format::by_name("jsonl")).expect("jsonl is in the list")
}

/// The matchers of each `--match`; one that takes everything without any.
fn selectors(args: &Export) -> Result<Vec<Vec<Matcher>>> {
    if args.matches.is_empty() {
        return Ok(vec![Vec::new()]);
    }
    let parse = |text: &String| {
        let wrong = |error| Failure::Message(Exit::Query, format!("--match {text}: {error}"));
        tsq::promql::parse_selector(text).map_err(wrong)
    };
    args.matches.iter().map(parse).collect()
}

fn failed(error: &ExportError, args: &Export) -> Failure {
    match error {
        ExportError::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => match &args.output {
            Some(path) => Failure::failed(format!("{}: {error}", path.display())),
            None => Failure::failed(error),
        },
    }
}

/// What to export.
struct Selection {
    snapshot: Snapshot,
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
}

enum Stop {
    Output(ExportError),
    Data(tsq::Error),
}

impl From<tsq::Error> for Stop {
    fn from(error: tsq::Error) -> Self {
        Self::Data(error)
    }
}

impl Selection {
    fn label_names(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for matchers in &self.selectors {
            names.extend(self.snapshot.label_names(matchers, self.range)?);
        }
        Ok(names.into_iter().collect())
    }

    /// Matchers that every series is selected by, in the order in which the format wants the series: text formats keep
    /// metric families in one piece.
    fn passes(&self, format: &Format, options: &ExportOptions) -> Result<Vec<Vec<Matcher>>> {
        if !matches!(format.name, "openmetrics" | "prometheus") {
            return Ok(vec![Vec::new()]);
        }
        let mut names = BTreeSet::new();
        for matchers in &self.selectors {
            names.extend(self.snapshot.label_values(METRIC_NAME, matchers, self.range)?);
        }
        // Series without a name come last: the exporter counts them as left out.
        let ordered = family_order(names.into_iter().collect(), &options.metadata).into_iter().chain([String::new()]);
        Ok(ordered.map(|name| vec![Matcher { name: METRIC_NAME.into(), op: MatchOp::Equal(name) }]).collect())
    }

    /// Writes the series that `also` and a selector match. A series that several selectors match is written once.
    fn write(&self, also: &[Matcher], exporter: &mut dyn Exporter) -> Result<(), Stop> {
        for (index, selector) in self.selectors.iter().enumerate() {
            let matchers = [selector, also].concat();
            let mut exemplars: HashMap<Labels, Vec<Exemplar>> =
                self.snapshot.exemplars(&matchers, self.range)?.into_iter().collect();
            for series in self.snapshot.matching(&matchers, self.range)? {
                let (labels, kind, samples) = series?;
                if self.selectors[..index].iter().any(|earlier| all_match(earlier, &labels)) {
                    continue;
                }
                let with = exemplars.remove(&labels).unwrap_or_default();
                exporter.write(&labels, kind, &samples, &with).map_err(Stop::Output)?;
            }
        }
        Ok(())
    }
}

fn report(exported: &Exported, console: &mut Console) {
    console.say(format_args!("{} samples exported", format_count(exported.samples)));
    for (reason, count) in &exported.skipped {
        console.say(format_args!("warning: left out {} {}", format_count(*count), reason.what()));
    }
}
