//! `tsq delete`.

mod local;
mod remote;

use std::io::{BufRead, IsTerminal};

use tsq::promql::parse_any_selector;
use tsq::{Clock, Deleted, SystemClock, TimeRange};

use crate::args::Delete;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::units::{format_count, format_moment};

/// Series that are counted for the question; of more it is said that they are more.
const COUNTED_MAX: usize = 100_000;

/// Where to delete.
trait Place {
    /// How the place is called in messages.
    fn name(&self) -> String;
    /// Label sets that a selector selects in a range, at most so many; each as it is written in queries.
    fn series(&self, selector: &str, range: TimeRange, max: usize) -> Result<Vec<String>>;
    /// Deletes durably. What was deleted, where the place tells.
    fn delete(&self, selector: &str, range: TimeRange) -> Result<Option<Deleted>>;
    /// Rewrites what holds deleted samples. Says what was done.
    fn purge(&self) -> Result<String>;
    /// Places beside it that may hold what was deleted.
    fn untouched(&self) -> Vec<String>;
    /// Ends the work.
    fn close(&self) -> Result<()>;
}

/// Asks, deletes, purges, and says what was done.
pub(crate) fn run(args: &Delete, console: &mut Console) -> Result<Exit> {
    for selector in &args.selectors {
        parse_any_selector(selector).map_err(|error| Failure::Message(Exit::Query, format!("{selector}: {error}")))?;
    }
    let range = range(args, SystemClock::new().now_ms())?;
    let place: Box<dyn Place> = match &args.url {
        Some(url) => Box::new(remote::Server::new(url)),
        None => Box::new(local::Directory::open(&args.data)?),
    };
    if !args.yes && console.err_terminal && std::io::stdin().is_terminal() {
        let question = question(&*place, &args.selectors, range)?;
        if !confirm(&question, &mut std::io::stdin().lock(), console) {
            return Err(Failure::failed("nothing was deleted"));
        }
    }
    let mut total = Some(Deleted::default());
    for selector in &args.selectors {
        let deleted = place.delete(selector, range)?;
        total = total.zip(deleted).map(|(total, deleted)| sum(total, deleted));
    }
    writeln!(console.out, "{}", report(total, &place.name()))?;
    if args.purge {
        writeln!(console.out, "{}", place.purge()?)?;
        for left in place.untouched() {
            console.say(format_args!("note: {left} is not purged: it may hold what was deleted"));
        }
    }
    place.close()?;
    Ok(Exit::Ok)
}

fn range(args: &Delete, now_ms: i64) -> Result<TimeRange> {
    let start_ms = match args.last {
        Some(last) => now_ms.saturating_sub(last),
        None => args.start.map_or(i64::MIN, |start| start.resolve(now_ms)),
    };
    let end_ms = if args.last.is_some() { Some(now_ms) } else { args.end.map(|end| end.resolve(now_ms)) };
    let range = TimeRange::new(start_ms, end_ms.unwrap_or(i64::MAX));
    if range.min_ms > range.max_ms {
        return Err(Failure::usage("--end lies before --start: there is nothing between them"));
    }
    Ok(range)
}

/// What is going to happen, as a question.
fn question(place: &dyn Place, selectors: &[String], range: TimeRange) -> Result<String> {
    let mut series = Vec::new();
    for selector in selectors {
        series.extend(place.series(selector, range, COUNTED_MAX - series.len())?);
    }
    series.sort();
    series.dedup();
    let count = match series.len() {
        1 => "1 series".to_owned(),
        count if count >= COUNTED_MAX => format!("{} series or more", format_count(count as u64)),
        count => format!("{} series", format_count(count as u64)),
    };
    let mut text = format!("{} selects {count} in {}", selectors.join(" "), place.name());
    for labels in series.iter().take(5) {
        text.push_str(&format!("\n  {labels}"));
    }
    if series.len() > 5 {
        text.push_str("\n  ...");
    }
    Ok(format!("{text}\nDelete {}? [y/N] ", when(range)))
}

fn when(range: TimeRange) -> String {
    match (range.min_ms, range.max_ms) {
        (i64::MIN, i64::MAX) => "all their samples".to_owned(),
        (i64::MIN, end_ms) => format!("their samples up to {}", format_moment(end_ms)),
        (start_ms, i64::MAX) => format!("their samples from {}", format_moment(start_ms)),
        (start_ms, end_ms) => {
            format!("their samples from {} to {}", format_moment(start_ms), format_moment(end_ms))
        }
    }
}

/// Whether the answer to a question is yes.
fn confirm(question: &str, input: &mut dyn BufRead, console: &mut Console) -> bool {
    // That standard error is closed cannot be reported anywhere; the answer is read all the same.
    let _ = write!(console.err, "{question}").and_then(|()| console.err.flush());
    let mut answer = String::new();
    let read = input.read_line(&mut answer).is_ok();
    read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn sum(left: Deleted, right: Deleted) -> Deleted {
    Deleted {
        series: left.series + right.series,
        samples: left.samples + right.samples,
        exemplars: left.exemplars + right.exemplars,
        blocks: left.blocks.max(right.blocks),
    }
}

fn report(deleted: Option<Deleted>, place: &str) -> String {
    let Some(deleted) = deleted else { return format!("deleted what matches from {place}") };
    if deleted.samples + deleted.exemplars == 0 {
        return format!("nothing to delete: no sample in {place} matches");
    }
    let (samples, series) = (format_count(deleted.samples), format_count(deleted.series));
    let exemplars = match deleted.exemplars {
        0 => String::new(),
        count => format!(" and {} exemplars", format_count(count)),
    };
    format!("deleted {samples} samples{exemplars} of {series} series from {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (typed, yes) in
            [("y\n", true), ("Yes\n", true), ("\n", false), ("", false), ("n\n", false), ("yep\n", false)]
        {
            let (mut console, captured) = Console::captured();
            assert_eq!(confirm("Delete? ", &mut typed.as_bytes(), &mut console), yes, "{typed:?}");
            assert_eq!(captured.err(), "Delete? ");
        }
    }

    struct Fake(usize);

    impl Place for Fake {
        fn name(&self) -> String {
            "here".to_owned()
        }
        fn series(&self, selector: &str, _: TimeRange, max: usize) -> Result<Vec<String>> {
            Ok((0..self.0.min(max)).map(|number| format!("{selector}{{n=\"{number}\"}}")).collect())
        }
        fn delete(&self, _: &str, _: TimeRange) -> Result<Option<Deleted>> {
            Ok(None)
        }
        fn purge(&self) -> Result<String> {
            Ok(String::new())
        }
        fn untouched(&self) -> Vec<String> {
            Vec::new()
        }
        fn close(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_question_says_what_would_go() {
        let ask = |count, range| question(&Fake(count), &["up".to_owned()], range).expect("it counts");
        let all = ask(1, TimeRange::ALL);
        assert_eq!(all, "up selects 1 series in here\n  up{n=\"0\"}\nDelete all their samples? [y/N] ");
        let some = ask(6, TimeRange::new(i64::MIN, 0));
        assert!(some.contains("6 series") && some.contains("\n  ...\nDelete their samples up to 1970-01-01"), "{some}");
        assert!(ask(COUNTED_MAX + 5, TimeRange::new(0, 1)).contains("100,000 series or more"));
    }

    #[test]
    fn reports() {
        let deleted = Deleted { series: 2, samples: 1234, exemplars: 0, blocks: 1 };
        assert_eq!(report(Some(deleted), "d"), "deleted 1,234 samples of 2 series from d");
        let with = report(Some(Deleted { exemplars: 3, ..deleted }), "d");
        assert_eq!(with, "deleted 1,234 samples and 3 exemplars of 2 series from d");
        assert_eq!(report(Some(Deleted::default()), "d"), "nothing to delete: no sample in d matches");
        assert_eq!(report(None, "http://a"), "deleted what matches from http://a");
    }
}
