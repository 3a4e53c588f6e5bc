//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tsq_ingest::FORMATS;
use tsq_ingest::csv::TimeUnit;
use tsq_runs::AxisName;

use crate::settings::{Settings, parse_count};
use crate::units::{Moment, parse_duration_ms, parse_moment};

/// A help text that ends with the exit codes.
macro_rules! help {
    ($($line:literal)*) => {
        concat!($($line, "\n",)* "
Exit codes:
  0    done
  1    failed: a file, the network, the disk, a lock, or samples that were refused
  2    wrong command line
  3    the query is wrong, hit a limit or took too long
  4    stored data is damaged
  130  stopped by Ctrl-C")
    };
}

/// A time-series database for machine-learning metrics: one binary that serves, queries and looks after its data
#[derive(Debug, Parser)]
#[command(name = "tsq", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = help!(
    "Start here:"
    "  tsq demo                                       a server with a living ML workload in it"
    "  tsq serve                                      a server on 127.0.0.1:9090, data in ./tsq-data"
    "  tsq query up                                   the newest value of every series named up"
    "  tsq query 'rate(steps_total[5m])' --last 1h -o plot"
    "  tsq shell                                      ask one query after another"
    "  tsq import metrics.csv                         a file into ./tsq-data"
    "  tsq verify                                     every checksum in ./tsq-data"
    ""
    "tsq COMMAND --help explains a command and shows examples."
))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<Serve>),
    Query(Box<Query>),
    Shell(Shell),
    Fmt(Fmt),
    Demo(Box<Demo>),
    Import(Box<Import>),
    Export(Box<Export>),
    Delete(Delete),
    Inspect(Inspect),
    Verify(Verify),
    Recover(Recover),
    Completions(Completions),
}

/// Serves the Prometheus HTTP API, remote write and OpenTelemetry metrics on one port
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq serve"
    "  tsq serve --data /var/lib/tsq --retention 30d"
    "  tsq serve --retention 30d --retention-filter '{job=\"dcgm\"}:14d' --retention-filter loss:2y"
    "  tsq serve --durability interval:200ms --listen 127.0.0.1:9999"
    ""
    "Prometheus sends to it with this in prometheus.yml:"
    "  remote_write:"
    "    - url: http://127.0.0.1:9090/api/v1/write"
    "OpenTelemetry sends to it with"
    "  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:9090/api/v1/otlp/v1/metrics"
    ""
    "SIGTERM and Ctrl-C stop it within 5 seconds; what was acknowledged is kept."
))]
pub(crate) struct Serve {
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub log: Log,
}

/// What a server says on standard error.
#[derive(Args, Clone, Debug)]
pub(crate) struct Log {
    /// What to log: error, warn, info, debug or trace, also per module as in info,tsq_server=debug
    #[arg(long = "log", value_name = "LEVEL", env = "TSQ_LOG", hide_env_values = true, default_value = "info")]
    pub filter: String,
}

/// Evaluates a PromQL expression, at one time or over a range of time
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq query up"
    "  tsq query 'sum by (model) (rate(requests_total[5m]))' --time -10m"
    "  tsq query 'histogram_quantile(0.99, sum by (le) (rate(latency_seconds_bucket[5m])))' --last 1h -o plot"
    "  tsq query 'train_loss' --start 2026-11-24 --end 2026-11-25 --step 1m -o csv > loss.csv"
    "  tsq query up --url http://127.0.0.1:9090 -o json | jq ."
    "  tsq query 'sum(rate(requests_total[5m]))' --last 1d --explain"
    "  tsq query 'loss{experiment=\"mnist\"}' --axis step --start 0 --end 1000 --step 10 -o plot"
    ""
    "Times are 2026-11-24T20:15:00Z (UTC unless an offset follows), seconds since 1970, now, or counted from now:"
    "-15m, now-1d. Durations are 15s, 5m, 1h30m, 7d."
    "Reading a directory changes nothing in it, and a server may be writing to it: the newest samples are read from its"
    "log, which takes the longer the more of it there is. Asking the server with --url does not."
    ""
    "plot draws series over time as lines, those of one time as bars, and histograms as a heatmap: native ones, and classic"
    "ones as in sum by (le) (rate(latency_seconds_bucket[5m]))."
    "With --explain: steps are evaluation times, series what a part hands on, bytes what its chunks take encoded, time and"
    "self with and without the parts below it, memory the most that the query held while it was at work."
))]
pub(crate) struct Query {
    /// The expression
    #[arg(value_name = "EXPR")]
    pub expr: String,
    #[command(flatten)]
    pub origin: Origin,
    /// Evaluate at this time instead of now
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["last", "start", "end", "step"])]
    pub time: Option<Moment>,
    /// Evaluate over the time from so long ago until now
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, conflicts_with_all = ["start", "end"])]
    pub last: Option<i64>,
    /// Evaluate over the time from here
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub start: Option<Moment>,
    /// Evaluate over the time until here [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true, requires = "start")]
    pub end: Option<Moment>,
    /// Time between two points of a range [default: about 250 points]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    pub step: Option<i64>,
    /// What stands for the time of the points of runs: wall, step (a second each), elapsed, or latest [default: wall]
    #[arg(long, value_name = "AXIS", value_parser = parse_axis)]
    pub axis: Option<AxisName>,
    /// How the answer is written; plot is a chart for the terminal
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub output: OutputFormat,
    /// Show the plan of the query with what each part of it read and took, instead of the answer; with -o json beside it
    #[arg(long)]
    pub explain: bool,
    /// Longest time the query may take [default: 30s, or what the server allows]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    pub timeout: Option<i64>,
    /// How far back the newest sample of a series may lie [default: 5m, or what the server says]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms)]
    pub lookback: Option<i64>,
    /// Give only the first series of the answer
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub limit: Option<usize>,
}

fn parse_axis(name: &str) -> Result<AxisName, String> {
    let names = || AxisName::ALL.map(AxisName::name).join(", ");
    AxisName::parse(name).ok_or_else(|| format!("{name:?} is none of {}", names()))
}

/// Asks one query after another, with completion, history and highlighting
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq shell"
    "  tsq shell /var/lib/tsq"
    "  tsq shell http://127.0.0.1:9090"
    "  echo '.range -1h now 5m; sum(up)' | tsq shell http://127.0.0.1:9090"
    ""
    "Tab completes metrics, labels, values, functions and commands. A query goes on over several lines while a bracket is"
    "open; ; separates several. Ctrl-C stops the query that runs, Ctrl-D leaves. .help lists the commands."
    "The history lies in $XDG_STATE_HOME/tsq/history (~/.local/state/tsq/history)."
    "When standard input is no terminal, queries are read from it, and the first one that fails ends the shell."
))]
pub(crate) struct Shell {
    /// Data directory to read, or address of a server to ask
    #[arg(value_name = "DIR|URL", env = "TSQ_DATA", hide_env_values = true, default_value = "tsq-data")]
    pub target: String,
    /// How answers are written
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub output: OutputFormat,
}

/// Formats PromQL expressions
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq fmt 'sum(rate(requests_total[5m]))by(model)'"
    "  tsq fmt --file alert.promql --check"
    "  tsq fmt < query.promql"
    ""
    "It formats expressions, not YAML files of rules: one expression in each file. Comments before and after it stay;"
    "one inside is an error, for the formatted expression has no place for it."
    "With --check it ends with 1 and shows the difference when something is not formatted, and writes nothing else."
))]
pub(crate) struct Fmt {
    /// The expression; without it, standard input is read
    #[arg(value_name = "EXPR")]
    pub expr: Option<String>,
    /// Read an expression from a file instead; may be given several times
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "expr")]
    pub files: Vec<PathBuf>,
    /// Only say what is not formatted
    #[arg(long)]
    pub check: bool,
}

/// Writes a script that lets a command line shell complete tsq commands
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq completions bash > ~/.local/share/bash-completion/completions/tsq"
    "  tsq completions zsh > ~/.zfunc/_tsq                with fpath+=~/.zfunc before compinit"
    "  tsq completions fish > ~/.config/fish/completions/tsq.fish"
))]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

/// A directory to look at.
#[derive(Args, Debug)]
pub(crate) struct DataDir {
    /// Data directory
    #[arg(short, long, value_name = "DIR", env = "TSQ_DATA", hide_env_values = true, default_value = "tsq-data")]
    pub data: PathBuf,
}

/// Where a query reads.
#[derive(Args, Debug)]
pub(crate) struct Origin {
    /// Read this data directory
    #[arg(short, long, value_name = "DIR", env = "TSQ_DATA", hide_env_values = true, default_value = "tsq-data")]
    pub data: PathBuf,
    /// Ask the Prometheus API of a server instead (http only)
    #[arg(long, value_name = "URL", env = "TSQ_URL", hide_env_values = true)]
    pub url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns for people; plain when it is not read by a terminal
    Table,
    /// What the HTTP API answers
    Json,
    /// One JSON object per series
    Jsonl,
    /// Labels, time and value
    Csv,
    /// A chart in the terminal: lines, bars, or a heatmap of histograms
    Plot,
}

/// Starts a server that feeds itself a living ML workload to look at
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq demo"
    "  tsq demo --listen 127.0.0.1:9999 --backfill 6h"
    ""
    "It makes up an inference service with latency histograms, GPUs and training runs: first the past, then every two"
    "seconds the present. Its data lies in ./tsq-demo, apart from real data; delete the directory to be rid of it."
))]
pub(crate) struct Demo {
    /// Directory of the demo's data
    #[arg(long, value_name = "DIR", default_value = "tsq-demo")]
    pub data: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub listen: std::net::SocketAddr,
    /// How much of the past to make up first
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, default_value = "1h")]
    pub backfill: i64,
    /// Time between two samples of a series
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, default_value = "2s")]
    pub period: i64,
    #[command(flatten)]
    pub log: Log,
}

/// The formats of files with what they are.
fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.doc)))
}

fn time_units() -> PossibleValuesParser {
    PossibleValuesParser::new(TimeUnit::NAMES.iter().map(|(name, _)| *name))
}

/// Reads files of samples into a data directory
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq import metrics.csv"
    "  tsq import -d ./data --format openmetrics dump.txt.zst"
    "  tsq import run.csv --wide --label run=a1         one column for each metric"
    "  zcat dump.jsonl.gz | tsq import --format jsonl -"
    ""
    "The format is told by the name (.om .prom .txt .csv .jsonl .tsr, also with .gz or .zst behind it), else by the"
    "content. Samples may be of any age and in any order, and go straight into blocks."
    "A line that cannot be read stops the import with its file, line and column; what stood before it is kept, as it is"
    "when Ctrl-C stops the import. Importing a file again changes nothing."
))]
pub(crate) struct Import {
    /// Files to read; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub dir: DataDir,
    /// Format of the files instead of the one that is recognised
    #[arg(long, value_parser = formats())]
    pub format: Option<String>,
    /// Add a label to every series that does not have it; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// Time of text lines that have none; without it such a line is an error
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub time: Option<Moment>,
    /// CSV: how times are written
    #[arg(long, value_parser = time_units(), default_value = "auto")]
    pub time_unit: String,
    /// CSV: name of the column of times, if it is none of time, timestamp, timestamp_ms, date
    #[arg(long, value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// CSV: every column is a metric of its own
    #[arg(long)]
    pub wide: bool,
    /// CSV, with --wide: a column that is a label; may be given several times
    #[arg(long, value_name = "COLUMN", requires = "wide")]
    pub label_column: Vec<String>,
    /// CSV: metric name of files without a column for it
    #[arg(long, value_name = "NAME", conflicts_with = "wide")]
    pub metric: Option<String>,
    /// CSV: what separates fields
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = parse_delimiter)]
    pub delimiter: u8,
    /// Show no progress and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("{text:?} is no label: write NAME=VALUE");
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => Err(format!("{text:?} is no delimiter: write one ASCII character that is no letter or digit, or \\t")),
    }
}

/// Writes samples of a data directory to a file
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq export -o all.jsonl.zst"
    "  tsq export --match '{job=\"train\"}' --start -1d --format csv"
    "  tsq export --format tsr -o all.tsr.zst"
    ""
    "jsonl holds all kinds of samples and every bit of them. What another format has no place for is left out, counted"
    "and said. The file appears under its name only when it is complete; .gz and .zst compress it."
    "Nothing in the directory changes, and a server may be writing to it."
))]
pub(crate) struct Export {
    #[command(flatten)]
    pub dir: DataDir,
    /// Only series of this selector; several add up
    #[arg(long = "match", value_name = "SELECTOR")]
    pub matches: Vec<String>,
    /// Only samples from here
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub start: Option<Moment>,
    /// Only samples until here
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub end: Option<Moment>,
    /// Format of the file [default: told by its name, else jsonl]
    #[arg(long, value_parser = formats())]
    pub format: Option<String>,
    /// File to write; standard output without it
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show no summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Deletes samples from a data directory or a server
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq delete 'loss{run=\"a1\"}'                       a series, whole"
    "  tsq delete '{job=\"gpu\"}' --end -14d --yes         what is older than two weeks, without asking"
    "  tsq delete '{user=\"eve\"}' --purge                 and its bytes with it"
    "  tsq delete up --url http://127.0.0.1:9090 --last 1h"
    ""
    "It asks first when it has a terminal to ask on. Queries no longer see what is deleted as soon as it returns; samples"
    "written later are seen, at the same times too. The bytes go when blocks are merged, or at once with --purge, which"
    "rewrites all blocks that hold deleted samples. Backups and quarantine/ are left as they are."
    "A directory that a server writes to is in use: give --url then."
))]
pub(crate) struct Delete {
    /// Series to delete samples of; several selectors add up
    #[arg(value_name = "SELECTOR", required = true)]
    pub selectors: Vec<String>,
    /// Delete from this data directory
    #[arg(short, long, value_name = "DIR", env = "TSQ_DATA", hide_env_values = true, default_value = "tsq-data")]
    pub data: PathBuf,
    /// Delete from a server with Prometheus's admin API instead (http only)
    #[arg(long, value_name = "URL", env = "TSQ_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// Only samples from so long ago until now
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_ms, conflicts_with_all = ["start", "end"])]
    pub last: Option<i64>,
    /// Only samples from here
    #[arg(long, alias = "from", value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub start: Option<Moment>,
    /// Only samples until here
    #[arg(long, alias = "to", value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub end: Option<Moment>,
    /// Rewrite the blocks that hold deleted samples, so that their bytes are gone
    #[arg(long)]
    pub purge: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Shows what a data directory consists of and what its bytes are spent on
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq inspect"
    "  tsq inspect -d /var/lib/tsq --top 30"
    "  tsq inspect --by job            what the series of each job take"
    "  tsq inspect --json | jq .bytes_per_sample"
    ""
    "Nothing in the directory changes, and a server may be writing to it."
))]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub dir: DataDir,
    /// How many metrics and labels to list, those with the most series and values
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub top: usize,
    /// Also show what series take by their value of this label; __name__ is the metric
    #[arg(long, value_name = "LABEL")]
    pub by: Option<String>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks every byte of a data directory against its checksums
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq verify"
    "  tsq verify -d /var/lib/tsq --json"
    ""
    "It ends with 0 when all is as it was written, with 4 when anything is not. It reads only. Beside a server that"
    "writes it may report what is just being written: look again before worrying."
))]
pub(crate) struct Verify {
    #[command(flatten)]
    pub dir: DataDir,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Says what is damaged in a data directory that opens read-only, and goes on without it if told to
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq recover                     what is damaged and what is lost by it; changes nothing"
    "  tsq recover --accept-loss       go on without it"
    ""
    "Without --accept-loss it ends with 4 when something is damaged. With it, damaged files are moved to quarantine/ in"
    "the data directory, nothing is deleted, everything readable is kept, and the directory can be written to again."
))]
pub(crate) struct Recover {
    #[command(flatten)]
    pub dir: DataDir,
    /// Go on without what cannot be read
    #[arg(long)]
    pub accept_loss: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// docs/cli.md holds the help texts, and examples written by hand; `UPDATE=1` rewrites the former.
    #[test]
    fn the_page_of_the_command_line_is_up_to_date() {
        let mut text = String::from(
            "# The command line\n\nThe help texts of `tsq`, as `tsq --help` and `tsq COMMAND --help` print them; at the \
             end, examples with their output. `UPDATE=1 cargo test -p tsq-cli` rewrites the help texts.\n",
        );
        let mut tsq = Cli::command().term_width(100);
        tsq.build();
        let mut add = |command: &mut clap::Command| {
            let help = command.render_long_help().to_string();
            let lines: Vec<_> = help.lines().map(str::trim_end).collect();
            let name = command.get_bin_name().unwrap_or("tsq").to_owned();
            text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim()));
        };
        add(&mut tsq.clone());
        tsq.get_subcommands_mut().for_each(&mut add);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        text.push_str(page.find("\n## Examples with their output").map_or("", |start| &page[start..]));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(page == text, "docs/cli.md is behind the help texts: run with UPDATE=1");
    }
}
