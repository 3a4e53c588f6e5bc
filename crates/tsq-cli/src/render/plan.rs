//! The plan of a query as a tree with columns of what each part did.

use super::plot::shortened;
use super::text_table;
use crate::answer::{Explain, PlanPart};
use crate::console::Console;
use crate::failure::Result;
use crate::units::{format_bytes, format_count};

/// Columns beside the tree; a terminal that is narrower cuts the texts of operators.
const NUMBERS_WIDTH: usize = 62;

/// Narrowest column of the tree.
const TREE_WIDTH: usize = 24;

/// Writes the tree and a line of sums.
pub(crate) fn write(explain: &Explain<'_>, console: &mut Console) -> Result<()> {
    let parts = &explain.plan;
    if !parts.is_empty() {
        let header = ["plan", "steps", "series", "samples", "chunks", "bytes", "time", "self", "memory"];
        let tree_width =
            if console.terminal { console.width.saturating_sub(NUMBERS_WIDTH).max(TREE_WIDTH) } else { usize::MAX };
        let rows = (0..parts.len()).map(|number| {
            let tree = format!("{}{}", branches(parts, number), parts[number].operator);
            std::iter::once(shortened(&tree, tree_width)).chain(numbers(&parts[number])).collect()
        });
        let table = text_table(&header.map(str::to_owned), rows, header.len() - 1);
        console.out.write_all(table.as_bytes())?;
    }
    Ok(writeln!(console.out, "{}", totals(explain))?)
}

/// The lines of the tree in front of a part: one piece for each part it lies inside of.
fn branches(parts: &[PlanPart<'_>], number: usize) -> String {
    let depth = parts[number].depth;
    // Whether the part of this depth that the line belongs to has a sibling further down.
    let goes_on = |at: usize| {
        let later = parts[number + 1..].iter().take_while(|part| part.depth >= at);
        later.into_iter().any(|part| part.depth == at)
    };
    let piece = |at: usize| match (at == depth, goes_on(at)) {
        (true, true) => "├─ ",
        (true, false) => "└─ ",
        (false, true) => "│  ",
        (false, false) => "   ",
    };
    (1..=depth).map(piece).collect()
}

fn numbers(part: &PlanPart<'_>) -> [String; 8] {
    // What a part cannot have is left blank: zeros would hide what matters.
    let count = |number: u64| if number == 0 { String::new() } else { format_count(number) };
    let bytes = |number: u64| if number == 0 { String::new() } else { format_bytes(number) };
    [
        format_count(part.steps),
        format_count(part.series),
        count(part.samples),
        count(part.chunks),
        bytes(part.chunk_bytes),
        format_seconds(part.seconds),
        format_seconds(part.self_seconds),
        bytes(part.peak_bytes),
    ]
}

fn totals(explain: &Explain<'_>) -> String {
    let sum = |value: fn(&PlanPart<'_>) -> u64| explain.plan.iter().map(value).sum::<u64>();
    let (samples, head) = (sum(|part| part.samples), sum(|part| part.head_samples));
    let (chunks, bytes) = (sum(|part| part.chunks), sum(|part| part.chunk_bytes));
    let mut text = format!("{} in all; {} samples read", format_seconds(explain.seconds), format_count(samples));
    if head > 0 {
        text.push_str(&format!(", {} of them from memory", format_count(head)));
    }
    if chunks > 0 {
        text.push_str(&format!(", {} chunks of {} decoded", format_count(chunks), format_bytes(bytes)));
    }
    text
}

/// `1.2 s`, `3.4 ms`, `56 µs`.
pub(crate) fn format_seconds(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    if value >= 99.95 || unit == "µs" { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(depth: usize, operator: &str) -> PlanPart<'_> {
        PlanPart {
            depth,
            operator: operator.into(),
            steps: 61,
            series: 2,
            samples: 1200,
            head_samples: 200,
            chunks: 4,
            chunk_bytes: 2048,
            seconds: 0.0125,
            self_seconds: 0.0000014,
            peak_bytes: 0,
        }
    }

    #[test]
    fn the_tree_has_lines_and_the_columns_align() {
        let plan = vec![part(0, "/"), part(1, "sum by (job)"), part(2, "up"), part(1, "rate"), part(2, "x[5m]")];
        let (mut console, captured) = Console::captured();
        write(&Explain { seconds: 1.25, plan }, &mut console).unwrap();
        let want = "\
plan             steps  series  samples  chunks  bytes     time  self  memory
/                   61       2    1,200       4  2 KiB  12.5 ms  1 µs
├─ sum by (job)     61       2    1,200       4  2 KiB  12.5 ms  1 µs
│  └─ up            61       2    1,200       4  2 KiB  12.5 ms  1 µs
└─ rate             61       2    1,200       4  2 KiB  12.5 ms  1 µs
   └─ x[5m]         61       2    1,200       4  2 KiB  12.5 ms  1 µs
1.2 s in all; 6,000 samples read, 1,000 of them from memory, 20 chunks of 10 KiB decoded
";
        assert_eq!(captured.out(), want);
    }

    #[test]
    fn a_query_that_reads_nothing_has_no_tree() {
        let (mut console, captured) = Console::captured();
        write(&Explain { seconds: 0.000_02, plan: Vec::new() }, &mut console).unwrap();
        assert_eq!(captured.out(), "20 µs in all; 0 samples read\n");
    }
}
