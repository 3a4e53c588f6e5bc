//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::settings::Settings;
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
    "  tsq import metrics.csv                         a file into ./tsq-data"
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
    Demo(Box<Demo>),
}

/// Serves the Prometheus HTTP API and remote write on one port
#[derive(Args, Debug)]
#[command(after_help = help!(
    "Examples:"
    "  tsq serve"
    "  tsq serve --data /var/lib/tsq --retention 30d"
    "  tsq serve --durability interval:200ms --listen 127.0.0.1:9999"
    ""
    "Prometheus sends to it with this in prometheus.yml:"
    "  remote_write:"
    "    - url: http://127.0.0.1:9090/api/v1/write"
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
    #[arg(long = "log", value_name = "LEVEL", env = "TSQ_LOG", default_value = "info")]
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
    ""
    "Times are 2026-11-24T20:15:00Z (UTC unless an offset follows), seconds since 1970, now, or counted from now:"
    "-15m, now-1d. Durations are 15s, 5m, 1h30m, 7d."
    "Reading a directory changes nothing in it, and a server may be writing to it."
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
    /// How the answer is written; plot is a chart for the terminal
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub output: OutputFormat,
}

/// Where a query reads.
#[derive(Args, Debug)]
pub(crate) struct Origin {
    /// Read this data directory
    #[arg(short, long, value_name = "DIR", env = "TSQ_DATA", default_value = "tsq-data")]
    pub data: PathBuf,
    /// Ask the Prometheus API of a server instead (http only)
    #[arg(long, value_name = "URL", env = "TSQ_URL")]
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
    /// A chart in the terminal
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
