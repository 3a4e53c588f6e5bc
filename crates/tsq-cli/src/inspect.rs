//! `tsq inspect`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use tsq::{BlockInspection, CodecUse, GroupUse, Inspection};

use crate::args::Inspect;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::render::text_table;
use crate::store;
use crate::units::{format_bytes, format_count, format_moment};

/// Shows blocks, codecs and cardinalities.
pub(crate) fn run(args: &Inspect, console: &mut Console) -> Result<Exit> {
    let db = store::open(&args.dir.data, console)?;
    let mut report = Report::new(&db.inspect()?, db.stats().head_series, args.top);
    if let Some(label) = &args.by {
        let groups = db.inspect_by(label)?.into_iter().map(Group::new).collect();
        report.by = Some(By { label: label.clone(), groups });
    }
    db.close()?;
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(error.to_string()))?;
        writeln!(console.out, "{text}")?;
    } else {
        console.out.write_all(report.text().as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// What is shown, as JSON has it.
#[derive(Debug, Serialize)]
struct Report {
    series: u64,
    /// Series with samples in the log that are in no block yet, kinds apart.
    log_series: u64,
    samples_in_blocks: u64,
    /// Those of them that are deleted and not purged.
    deleted_samples: u64,
    block_bytes: u64,
    /// Bytes of all blocks, indexes included, by their samples.
    bytes_per_sample: Option<f64>,
    blocks: Vec<Block>,
    parts: BTreeMap<&'static str, u64>,
    codecs: BTreeMap<String, Codec>,
    metrics: Vec<Count>,
    labels: Vec<Count>,
    /// What series take by the value of a label, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By>,
}

#[derive(Debug, Serialize)]
struct By {
    label: String,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Group {
    value: String,
    chunks: u64,
    samples: u64,
    /// Bytes of these series, without label sets and postings.
    bytes: u64,
    parts: BTreeMap<&'static str, u64>,
    codecs: BTreeMap<String, Codec>,
}

#[derive(Debug, Serialize)]
struct Block {
    file: String,
    level: u8,
    from_ms: i64,
    to_ms: i64,
    series: u64,
    chunks: u64,
    samples: u64,
    deleted_samples: u64,
    bytes: u64,
}

#[derive(Debug, Default, Serialize)]
struct Codec {
    columns: u64,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Count {
    name: String,
    count: u64,
}

fn ratio(bytes: u64, samples: u64) -> Option<f64> {
    (samples > 0).then(|| bytes as f64 / samples as f64)
}

impl Report {
    fn new(found: &Inspection, log_series: u64, top: usize) -> Self {
        let (mut parts, mut codecs) = (BTreeMap::new(), BTreeMap::<String, Codec>::new());
        for block in &found.blocks {
            for (name, bytes) in &block.parts {
                *parts.entry(*name).or_default() += bytes;
            }
            for (name, usage) in &block.codecs {
                codecs.entry(name.clone()).or_default().add(usage);
            }
        }
        let sum = |of: fn(&BlockInspection) -> u64| found.blocks.iter().map(of).sum();
        let (samples, bytes) = (sum(|block| block.meta.samples), sum(|block| block.meta.file_bytes));
        let first = |list: &[(String, u64)]| {
            list.iter().take(top).map(|(name, count)| Count { name: name.clone(), count: *count }).collect()
        };
        Self {
            series: found.series,
            log_series,
            samples_in_blocks: samples,
            deleted_samples: sum(|block| block.deleted_samples),
            block_bytes: bytes,
            bytes_per_sample: ratio(bytes, samples),
            blocks: found.blocks.iter().map(Block::new).collect(),
            parts,
            codecs,
            metrics: first(&found.metrics),
            labels: first(&found.labels),
            by: None,
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} series", format_count(self.series));
        let (blocks, samples) = (format_count(self.blocks.len() as u64), format_count(self.samples_in_blocks));
        let _ = write!(text, "; {blocks} blocks of {}, {samples} samples", format_bytes(self.block_bytes));
        if let Some(ratio) = self.bytes_per_sample {
            let _ = write!(text, ", {ratio:.3} bytes per sample");
        }
        if self.deleted_samples > 0 {
            let _ = write!(text, "; {} of them deleted and not purged", format_count(self.deleted_samples));
        }
        if self.log_series > 0 {
            let _ = write!(text, "; the log holds {} series for the next block", format_count(self.log_series));
        }
        text.push('\n');
        self.add_table(
            &mut text,
            &["block", "level", "from", "to", "series", "chunks", "samples", "bytes", "B/sample"],
            5,
            self.blocks.iter().map(Block::cells),
        );
        let part = |(name, bytes): (&&str, &u64)| vec![(*name).to_owned(), format_count(*bytes), self.share(*bytes)];
        self.add_table(&mut text, &["section", "bytes", "B/sample"], 2, self.parts.iter().map(part));
        let codec = |(name, usage): (&String, &Codec)| {
            let counts = [usage.columns, usage.rows, usage.bytes].map(format_count);
            let per_row = ratio(usage.bytes, usage.rows).map_or(String::new(), |ratio| format!("{ratio:.3}"));
            [vec![name.clone()], counts.to_vec(), vec![per_row]].concat()
        };
        self.add_table(&mut text, &["codec", "columns", "rows", "bytes", "B/row"], 4, self.codecs.iter().map(codec));
        let count = |count: &Count| vec![count.name.clone(), format_count(count.count)];
        if let Some(by) = &self.by {
            let columns =
                [by.label.as_str(), "chunks", "samples", "bytes", "B/sample", "values", "times", "steps", "index"];
            let header = [&columns[..], &["codecs of values"]].concat();
            self.add_table(&mut text, &header, 8, by.groups.iter().map(Group::cells));
        }
        self.add_table(&mut text, &["metric", "series"], 1, self.metrics.iter().map(count));
        self.add_table(&mut text, &["label", "values"], 1, self.labels.iter().map(count));
        text
    }

    fn share(&self, bytes: u64) -> String {
        ratio(bytes, self.samples_in_blocks).map_or(String::new(), |ratio| format!("{ratio:.3}"))
    }

    /// Adds a table after an empty line; nothing when it has no rows.
    fn add_table(&self, text: &mut String, header: &[&str], numbers: usize, rows: impl Iterator<Item = Vec<String>>) {
        let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
        let mut rows = rows.peekable();
        if rows.peek().is_some() {
            text.push('\n');
            text.push_str(&text_table(&header, rows, numbers));
        }
    }
}

impl Block {
    fn new(block: &BlockInspection) -> Self {
        let meta = &block.meta;
        Self {
            file: meta.id.file_name(),
            level: meta.level,
            from_ms: meta.min_ms,
            to_ms: meta.max_ms,
            series: meta.series,
            chunks: meta.chunks,
            samples: meta.samples,
            deleted_samples: block.deleted_samples,
            bytes: meta.file_bytes,
        }
    }

    fn cells(&self) -> Vec<String> {
        let time = |time_ms: i64| if self.samples == 0 { String::new() } else { format_moment(time_ms) };
        let counts = [self.series, self.chunks, self.samples, self.bytes].map(format_count);
        let per_sample = ratio(self.bytes, self.samples).map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let start = vec![self.file.clone(), self.level.to_string(), time(self.from_ms), time(self.to_ms)];
        [start, counts.to_vec(), vec![per_sample]].concat()
    }
}

impl Group {
    fn new(group: GroupUse) -> Self {
        let mut codecs = BTreeMap::<String, Codec>::new();
        for (name, usage) in &group.codecs {
            codecs.entry(name.clone()).or_default().add(usage);
        }
        let bytes = group.parts.iter().map(|(_, bytes)| bytes).sum();
        let (chunks, samples, parts) = (group.chunks, group.samples, group.parts.into());
        Self { value: group.value, chunks, samples, bytes, parts, codecs }
    }

    fn cells(&self) -> Vec<String> {
        let per_sample = |bytes: u64| ratio(bytes, self.samples).map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let counts = [self.chunks, self.samples, self.bytes].map(format_count);
        let part = |name: &str| per_sample(self.parts.get(name).copied().unwrap_or(0));
        let parts = ["values", "times", "steps", "chunk index"].map(part);
        let start = vec![if self.value.is_empty() { "(none)".to_owned() } else { self.value.clone() }];
        [start, counts.to_vec(), vec![per_sample(self.bytes)], parts.to_vec(), vec![self.most_used()]].concat()
    }

    /// The codecs of most samples and their share of them.
    fn most_used(&self) -> String {
        let mut codecs: Vec<_> = self.codecs.iter().collect();
        codecs.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.rows));
        let share = |usage: &Codec| format!("{:.0} %", 100.0 * usage.rows as f64 / self.samples.max(1) as f64);
        let named = codecs.iter().take(CODECS_SHOWN).map(|(name, usage)| format!("{name} {}", share(usage)));
        named.collect::<Vec<_>>().join(", ")
    }
}

/// How many codecs of a group are named in text.
const CODECS_SHOWN: usize = 3;

impl Codec {
    fn add(&mut self, usage: &CodecUse) {
        self.columns += usage.columns;
        self.rows += usage.rows;
        self.bytes += usage.bytes;
    }
}
