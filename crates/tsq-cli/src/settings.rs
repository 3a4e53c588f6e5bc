//! The settings of a server, as one table: flags, environment variables and their help are made from it.

use clap::{Arg, ArgAction, ArgMatches, Command};
use tsq::Durability;
use tsq_server::ServerConfig;

use crate::units::{format_bytes, format_duration, parse_bytes, parse_duration};

/// A setting: `--name VALUE`, or `TSQ_NAME` in the environment.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Name of the flag, without the dashes.
    pub name: &'static str,
    /// What its value is called in help texts.
    pub value: &'static str,
    /// What it does, without the default.
    pub help: &'static str,
    /// The value now, as it would be written.
    pub show: fn(&ServerConfig) -> String,
    /// Reads a value.
    pub set: fn(&mut ServerConfig, &str) -> Result<(), String>,
}

/// All settings of `tsq serve`.
pub(crate) static SETTINGS: &[Setting] = &[
    Setting {
        name: "data",
        value: "DIR",
        help: "Directory of the data; created if it is missing",
        show: |config| config.data.display().to_string(),
        set: |config, text| put(&mut config.data, Ok(text.into())),
    },
    Setting {
        name: "listen",
        value: "ADDRESS",
        help: "Address to listen on; port 0 takes a free one",
        show: |config| config.listen.to_string(),
        set: |config, text| {
            let wrong = |_| format!("{text:?} is no address: write 127.0.0.1:9090");
            put(&mut config.listen, text.parse().map_err(wrong))
        },
    },
    Setting {
        name: "durability",
        value: "MODE",
        help: "When a write is acknowledged. always: once it is on disk; interval:200ms: at once, and on disk at least \
               that often; os: at once, and on disk when the operating system likes. With the last two a power cut may \
               lose the newest writes, a crash of tsq alone does not",
        show: |config| show_durability(config.options.durability),
        set: |config, text| put(&mut config.options.durability, parse_durability(text)),
    },
    Setting {
        name: "retention",
        value: "DURATION",
        help: "Delete data older than this, such as 30d. none: keep everything",
        show: |config| config.options.retention.map_or("none".into(), format_duration),
        set: |config, text| put(&mut config.options.retention, optional(text, parse_duration)),
    },
    Setting {
        name: "retention-bytes",
        value: "SIZE",
        help: "Delete the oldest data while all of it takes more than this, such as 50GiB. none: no bound",
        show: |config| config.options.retention_bytes.map_or("none".into(), format_bytes),
        set: |config, text| put(&mut config.options.retention_bytes, optional(text, parse_bytes)),
    },
    Setting {
        name: "flush-bytes",
        value: "SIZE",
        help: "Write the newest samples from memory into a block when their log has grown to this",
        show: |config| format_bytes(config.options.flush_bytes),
        set: |config, text| put(&mut config.options.flush_bytes, parse_bytes(text)),
    },
    Setting {
        name: "flush-interval",
        value: "DURATION",
        help: "Write them into a block after this time at the latest",
        show: |config| format_duration(config.options.flush_interval),
        set: |config, text| put(&mut config.options.flush_interval, parse_duration(text)),
    },
    Setting {
        name: "segment-bytes",
        value: "SIZE",
        help: "Size of one file of the log",
        show: |config| format_bytes(config.options.segment_bytes),
        set: |config, text| put(&mut config.options.segment_bytes, parse_bytes(text)),
    },
    Setting {
        name: "log-bytes-max",
        value: "SIZE",
        help: "Writers wait for a running flush while the log is larger than this",
        show: |config| format_bytes(config.options.log_bytes_max),
        set: |config, text| put(&mut config.options.log_bytes_max, parse_bytes(text)),
    },
    Setting {
        name: "low-space-bytes",
        value: "SIZE",
        help: "Refuse writes while the file system has less free space than this. auto: the larger of 1 % of it and \
               twice --flush-bytes",
        show: |config| config.options.low_space_bytes.map_or("auto".into(), format_bytes),
        set: |config, text| {
            let value = if text == "auto" { Ok(None) } else { parse_bytes(text).map(Some) };
            put(&mut config.options.low_space_bytes, value)
        },
    },
    Setting {
        name: "series-max",
        value: "COUNT",
        help: "Series held in memory; samples of further ones are refused",
        show: |config| config.options.limits.head_series.to_string(),
        set: |config, text| put(&mut config.options.limits.head_series, parse_count(text)),
    },
    Setting {
        name: "future",
        value: "DURATION",
        help: "Refuse samples further in the future than this. none: any time",
        show: |config| config.options.limits.future.map_or("none".into(), format_duration),
        set: |config, text| put(&mut config.options.limits.future, optional(text, parse_duration)),
    },
    Setting {
        name: "request-bytes",
        value: "SIZE",
        help: "Size of one write request once decompressed; larger ones are refused",
        show: |config| format_bytes(config.limits.request_bytes as u64),
        set: |config, text| put(&mut config.limits.request_bytes, parse_memory(text)),
    },
    Setting {
        name: "query-lookback",
        value: "DURATION",
        help: "How far back a query looks for the newest sample of a series",
        show: |config| format_duration(config.engine.lookback),
        set: |config, text| put(&mut config.engine.lookback, parse_duration(text)),
    },
    Setting {
        name: "query-timeout",
        value: "DURATION",
        help: "Longest time a query may take",
        show: |config| format_duration(config.engine.timeout),
        set: |config, text| put(&mut config.engine.timeout, parse_duration(text)),
    },
    Setting {
        name: "query-bytes",
        value: "SIZE",
        help: "Memory of one query; one that needs more fails",
        show: |config| format_bytes(config.engine.query_bytes),
        set: |config, text| put(&mut config.engine.query_bytes, parse_bytes(text)),
    },
    Setting {
        name: "query-points",
        value: "COUNT",
        help: "Points of each series of a range query; one that asks for more is refused",
        show: |config| config.engine.points_max.to_string(),
        set: |config, text| put(&mut config.engine.points_max, parse_count(text).map(|count| count as u64)),
    },
    Setting {
        name: "queries-running",
        value: "COUNT",
        help: "Queries that run at once; further ones wait",
        show: |config| config.limits.queries_running.to_string(),
        set: |config, text| put(&mut config.limits.queries_running, parse_count(text)),
    },
    Setting {
        name: "queries-waiting",
        value: "COUNT",
        help: "Queries that wait for their turn, each at most for its timeout; further ones are refused",
        show: |config| config.limits.queries_waiting.to_string(),
        set: |config, text| put(&mut config.limits.queries_waiting, parse_count(text)),
    },
    Setting {
        name: "queries-bytes",
        value: "SIZE",
        help: "Memory of all running queries together; one that would need more fails",
        show: |config| format_bytes(config.engine.total_bytes),
        set: |config, text| put(&mut config.engine.total_bytes, parse_bytes(text)),
    },
    Setting {
        name: "reads-running",
        value: "COUNT",
        help: "Remote reads that run at once; further ones wait",
        show: |config| config.limits.reads_running.to_string(),
        set: |config, text| put(&mut config.limits.reads_running, parse_count(text)),
    },
    Setting {
        name: "read-samples",
        value: "COUNT",
        help: "Samples of one answer to a remote read that does not take chunks; one that asks for more is refused",
        show: |config| config.limits.read_samples.to_string(),
        set: |config, text| put(&mut config.limits.read_samples, parse_count(text)),
    },
    Setting {
        name: "connections",
        value: "COUNT",
        help: "Connections open at once; further ones wait",
        show: |config| config.limits.connections.to_string(),
        set: |config, text| put(&mut config.limits.connections, parse_count(text)),
    },
];

fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn optional<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { parse(text).map(Some) }
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("{text:?} is no number above zero"))
}

fn parse_memory(text: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(text)?).map_err(|_| format!("{text:?} is more than this machine can address"))
}

fn show_durability(durability: Durability) -> String {
    match durability {
        Durability::Always => "always".into(),
        Durability::Interval(interval) => format!("interval:{}", format_duration(interval)),
        Durability::Os => "os".into(),
    }
}

pub(crate) fn parse_durability(text: &str) -> Result<Durability, String> {
    match (text, text.strip_prefix("interval:")) {
        ("always", _) => Ok(Durability::Always),
        ("os", _) => Ok(Durability::Os),
        (_, Some(interval)) => parse_duration(interval).map(Durability::Interval),
        _ => Err(format!("{text:?} is no durability: write always, interval:200ms or os")),
    }
}

/// The flags of [`SETTINGS`] on a command line, applied to defaults.
#[derive(Clone, Debug)]
pub(crate) struct Settings(pub ServerConfig);

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        let defaults = ServerConfig::default();
        let command = command.args(SETTINGS.iter().map(|setting| flag(setting, &defaults)));
        let insecure = "Listen on an address that other machines can reach, although tsq authenticates nobody";
        let lifecycle = "Let requests to /-/quit end the server";
        command.arg(switch("insecure", "TSQ_INSECURE", insecure)).arg(switch("lifecycle", "TSQ_LIFECYCLE", lifecycle))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting, defaults: &ServerConfig) -> Arg {
    let default = (setting.show)(defaults);
    let variable = format!("TSQ_{}", setting.name.to_ascii_uppercase().replace('-', "_"));
    // A trial on default settings: clap then reports a bad value with the flag it belongs to.
    let set = setting.set;
    let check = move |text: &str| set(&mut ServerConfig::default(), text).map(|()| text.to_owned());
    Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .env(variable)
        .hide_env_values(true)
        .value_parser(check)
        .help(format!("{} [default: {default}]", setting.help))
}

fn switch(name: &'static str, variable: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).env(variable).hide_env_values(true);
    arg.value_parser(clap::builder::FalseyValueParser::new()).action(ArgAction::SetTrue).help(help)
}

impl clap::FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self(ServerConfig::default());
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            if let Some(text) = matches.get_one::<String>(setting.name) {
                let invalid = |message| clap::Error::raw(clap::error::ErrorKind::ValueValidation, message);
                (setting.set)(&mut self.0, text).map_err(invalid)?;
            }
        }
        self.0.insecure |= matches.get_flag("insecure");
        self.0.lifecycle |= matches.get_flag("lifecycle");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a setting shows, it reads: the defaults in the help texts can be passed as they stand.
    #[test]
    fn defaults_read_back() {
        let defaults = ServerConfig::default();
        for setting in SETTINGS {
            let mut config = ServerConfig::default();
            let shown = (setting.show)(&defaults);
            (setting.set)(&mut config, &shown).unwrap_or_else(|error| panic!("{}: {error}", setting.name));
            assert_eq!((setting.show)(&config), shown, "{}", setting.name);
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for (name, text) in [
            ("listen", "nowhere"),
            ("durability", "sometimes"),
            ("durability", "interval:x"),
            ("retention", "-1d"),
            ("flush-bytes", "0"),
            ("series-max", "0"),
        ] {
            let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
            assert!((setting.set)(&mut ServerConfig::default(), text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn durability_modes() {
        assert_eq!(parse_durability("always"), Ok(Durability::Always));
        assert_eq!(parse_durability("os"), Ok(Durability::Os));
        assert_eq!(parse_durability("interval:200ms"), Ok(Durability::Interval(Duration::from_millis(200))));
    }
}
