//! The settings of a server, as one table: flags, environment variables and their help are made from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tsq::promql::parse_any_selector;
use tsq::{Durability, ReadMode, RetentionRule};
use tsq_ingest::otlp::{ExplicitHistograms, Promoted, Translation};
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
    /// Whether it may be given several times; each value adds to those before.
    pub repeatable: bool,
    /// Reads a value.
    pub set: fn(&mut ServerConfig, &str) -> Result<(), String>,
}

/// How values of one kind are named, shown and read.
struct Kind<T> {
    value: &'static str,
    show: fn(&T) -> String,
    read: fn(&str) -> Result<T, String>,
}

const PATH: Kind<PathBuf> =
    Kind { value: "DIR", show: |path| path.display().to_string(), read: |text| Ok(text.into()) };

const PATH_OR_NONE: Kind<Option<PathBuf>> = Kind {
    value: "DIR",
    show: |path| path.as_ref().map_or("none".into(), |path| path.display().to_string()),
    read: |text| or_word(text, "none", |text| Ok(text.into())),
};

const ADDRESS: Kind<SocketAddr> = Kind {
    value: "ADDRESS",
    show: SocketAddr::to_string,
    read: |text| text.parse().map_err(|_| format!("{text:?} is no address: write 127.0.0.1:9090")),
};

const DURABILITY: Kind<Durability> = Kind { value: "MODE", show: show_durability, read: parse_durability };

const READ_MODE: Kind<ReadMode> = Kind { value: "MODE", show: show_read_mode, read: parse_read_mode };

const DURATION: Kind<Duration> =
    Kind { value: "DURATION", show: |duration| format_duration(*duration), read: parse_duration };

const DURATION_OR_NONE: Kind<Option<Duration>> = Kind {
    value: "DURATION",
    show: |duration| duration.map_or("none".into(), format_duration),
    read: |text| or_word(text, "none", parse_duration),
};

const SIZE: Kind<u64> = Kind { value: "SIZE", show: |bytes| format_bytes(*bytes), read: parse_bytes };

const SIZE_OR_NONE: Kind<Option<u64>> = Kind {
    value: "SIZE",
    show: |bytes| bytes.map_or("none".into(), format_bytes),
    read: |text| or_word(text, "none", parse_bytes),
};

const SIZE_OR_AUTO: Kind<Option<u64>> = Kind {
    value: "SIZE",
    show: |bytes| bytes.map_or("auto".into(), format_bytes),
    read: |text| or_word(text, "auto", parse_bytes),
};

const MEMORY: Kind<usize> = Kind { value: "SIZE", show: |bytes| format_bytes(*bytes as u64), read: parse_memory };

const COUNT: Kind<usize> = Kind { value: "COUNT", show: usize::to_string, read: parse_count };

const RETENTION_RULE: Kind<RetentionRule> =
    Kind { value: "SELECTOR:DURATION", show: show_retention_rule, read: parse_retention_rule };

const POINTS: Kind<u64> =
    Kind { value: "COUNT", show: u64::to_string, read: |text| parse_count(text).map(|count| count as u64) };

const FLAG: Kind<bool> = Kind {
    value: "BOOL",
    show: bool::to_string,
    read: |text| text.parse().map_err(|_| format!("{text:?} is no true or false")),
};

const TRANSLATION: Kind<Translation> =
    Kind { value: "STRATEGY", show: |translation| translation.name().into(), read: parse_translation };

const EXPLICIT_HISTOGRAMS: Kind<ExplicitHistograms> = Kind {
    value: "FORM",
    show: |form| if *form == ExplicitHistograms::Classic { "classic".into() } else { "native".into() },
    read: |text| match text {
        "classic" => Ok(ExplicitHistograms::Classic),
        "native" => Ok(ExplicitHistograms::Native),
        _ => Err(format!("{text:?} is no form of histograms: write classic or native")),
    },
};

const PROMOTED: Kind<Promoted> = Kind { value: "NAMES", show: show_promoted, read: parse_promoted };

/// A row of the table: name, kind of value, field of [`ServerConfig`], and what it does.
macro_rules! setting {
    ($name:literal, $kind:ident, $($field:ident).+, $help:expr) => {
        Setting {
            name: $name,
            value: $kind.value,
            help: $help,
            repeatable: false,
            show: |config| ($kind.show)(&config.$($field).+),
            set: |config, text| {
                config.$($field).+ = ($kind.read)(text)?;
                Ok(())
            },
        }
    };
}

/// A row of the table whose values gather in a list; several in one text are separated by line breaks.
macro_rules! list_setting {
    ($name:literal, $kind:ident, $($field:ident).+, $help:expr) => {
        Setting {
            name: $name,
            value: $kind.value,
            help: $help,
            repeatable: true,
            show: |config| match config.$($field).+.as_slice() {
                [] => "none".to_owned(),
                list => list.iter().map($kind.show).collect::<Vec<_>>().join("\n"),
            },
            set: |config, text| {
                for line in text.lines().map(str::trim).filter(|line| !["", "none"].contains(line)) {
                    config.$($field).+.push(($kind.read)(line)?);
                }
                Ok(())
            },
        }
    };
}

/// All settings of `tsq serve`.
pub(crate) static SETTINGS: &[Setting] = &[
    setting!("data", PATH, data, "Directory of the data; created if it is missing"),
    setting!("listen", ADDRESS, listen, "Address to listen on; port 0 takes a free one"),
    setting!(
        "mlflow-ui",
        PATH_OR_NONE,
        mlflow_ui,
        "Serve MLflow's own web pages at /, from the folder of an installed Python package mlflow. none: no pages"
    ),
    setting!(
        "durability",
        DURABILITY,
        options.durability,
        "When a write is acknowledged. always: once it is on disk; interval:200ms: at once, and on disk at least that \
         often; os: at once, and on disk when the operating system likes. With the last two a power cut may lose the \
         newest writes, a crash of tsq alone does not"
    ),
    setting!(
        "retention",
        DURATION_OR_NONE,
        options.retention,
        "Delete data older than this, such as 30d. none: keep everything"
    ),
    list_setting!(
        "retention-filter",
        RETENTION_RULE,
        options.retention_rules,
        "Another retention for some series, such as '{job=\"gpu\"}:14d' or 'train_loss:2y'; none instead of a duration \
         keeps them. May be given several times: the first that matches a series counts, and --retention for series \
         that none matches"
    ),
    setting!(
        "retention-bytes",
        SIZE_OR_NONE,
        options.retention_bytes,
        "Delete the oldest data while all of it takes more than this, such as 50GiB. none: no bound"
    ),
    setting!(
        "compaction-bytes-per-second",
        SIZE_OR_NONE,
        options.compaction_bytes_per_s,
        "Bytes that merging blocks in the background writes in a second at most. none: as fast as it can"
    ),
    setting!(
        "flush-bytes",
        SIZE,
        options.flush_bytes,
        "Write the newest samples from memory into a block when their log has grown to this"
    ),
    setting!(
        "flush-interval",
        DURATION,
        options.flush_interval,
        "Write them into a block after this time at the latest"
    ),
    setting!("segment-bytes", SIZE, options.segment_bytes, "Size of one file of the log"),
    setting!(
        "log-bytes-max",
        SIZE,
        options.log_bytes_max,
        "Writers wait for a running flush while the log is larger than this"
    ),
    setting!(
        "low-space-bytes",
        SIZE_OR_AUTO,
        options.low_space_bytes,
        "Refuse writes while the file system has less free space than this. auto: the larger of 1 % of it and twice \
         --flush-bytes"
    ),
    setting!(
        "read-mode",
        READ_MODE,
        options.read_mode,
        "How blocks are read. map: through memory maps; pread: by system calls, into a cache of --read-cache-bytes; \
         auto: map, but pread on file systems whose files come from elsewhere, such as NFS and FUSE"
    ),
    setting!(
        "read-cache-bytes",
        SIZE,
        options.read_cache_bytes,
        "Memory for pages of blocks that are read without a map"
    ),
    setting!(
        "series-max",
        COUNT,
        options.limits.head_series,
        "Series held in memory; samples of further ones are refused"
    ),
    setting!(
        "future",
        DURATION_OR_NONE,
        options.limits.future,
        "Refuse samples further in the future than this. none: any time"
    ),
    setting!(
        "request-bytes",
        MEMORY,
        limits.request_bytes,
        "Size of one write request once decompressed; larger ones are refused"
    ),
    setting!(
        "query-lookback",
        DURATION,
        engine.lookback,
        "How far back a query looks for the newest sample of a series"
    ),
    setting!("query-timeout", DURATION, engine.timeout, "Longest time a query may take"),
    setting!("query-bytes", SIZE, engine.query_bytes, "Memory of one query; one that needs more fails"),
    setting!(
        "query-points",
        POINTS,
        engine.points_max,
        "Points of each series of a range query; one that asks for more is refused"
    ),
    setting!("queries-running", COUNT, limits.queries_running, "Queries that run at once; further ones wait"),
    setting!(
        "queries-waiting",
        COUNT,
        limits.queries_waiting,
        "Queries that wait for their turn, each at most for its timeout; further ones are refused"
    ),
    setting!(
        "queries-bytes",
        SIZE,
        engine.total_bytes,
        "Memory of all running queries together; one that would need more fails"
    ),
    setting!("reads-running", COUNT, limits.reads_running, "Remote reads that run at once; further ones wait"),
    setting!(
        "read-samples",
        COUNT,
        limits.read_samples,
        "Samples of one answer to a remote read that does not take chunks; one that asks for more is refused"
    ),
    setting!(
        "otlp-translation",
        TRANSLATION,
        otlp.translation,
        "How names of OpenTelemetry become names of Prometheus: UnderscoreEscapingWithSuffixes, \
         UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes or NoTranslation"
    ),
    setting!(
        "otlp-promote",
        PROMOTED,
        otlp.promoted,
        "Resource attributes of OpenTelemetry that become labels of every series, such as \
         service.version,k8s.pod.name. all: all of them; all-but:NAMES: all but these; none: they are only labels of \
         target_info"
    ),
    setting!(
        "otlp-keep-identifying",
        FLAG,
        otlp.keep_identifying,
        "Keep service.name, service.namespace and service.instance.id, which job and instance are made of, as labels of \
         target_info"
    ),
    setting!(
        "otlp-scope-labels",
        FLAG,
        otlp.scope_labels,
        "Give OpenTelemetry series labels with name, version, schema URL and attributes of their scope (otel_scope_...)"
    ),
    setting!(
        "otlp-histograms",
        EXPLICIT_HISTOGRAMS,
        otlp.explicit_histograms,
        "What becomes of OpenTelemetry histograms with explicit bounds. classic: series _bucket, _sum and _count; native: \
         one native histogram with custom buckets"
    ),
    setting!(
        "otlp-delta-bytes",
        MEMORY,
        limits.delta_bytes,
        "Memory for the running totals of OpenTelemetry streams with delta temporality; beyond it the totals of idle \
         streams begin again at zero"
    ),
    setting!("connections", COUNT, limits.connections, "Connections open at once; further ones wait"),
];

fn or_word<T>(text: &str, word: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == word { Ok(None) } else { parse(text).map(Some) }
}

pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("{text:?} is no number above zero"))
}

fn parse_memory(text: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(text)?).map_err(|_| format!("{text:?} is more than this machine can address"))
}

fn show_retention_rule(rule: &RetentionRule) -> String {
    let matchers: Vec<String> = rule.matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}:{}", matchers.join(","), (DURATION_OR_NONE.show)(&rule.keep))
}

fn parse_retention_rule(text: &str) -> Result<RetentionRule, String> {
    let (selector, keep) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("{text:?} is no selector and duration: write '{{job=\"gpu\"}}:14d'"))?;
    let matchers = parse_any_selector(selector).map_err(|error| format!("{selector}: {error}"))?;
    Ok(RetentionRule { matchers, keep: (DURATION_OR_NONE.read)(keep)? })
}

const READ_MODES: [(&str, ReadMode); 3] =
    [("auto", ReadMode::Auto), ("map", ReadMode::Map), ("pread", ReadMode::Pread)];

fn show_read_mode(mode: &ReadMode) -> String {
    READ_MODES.iter().find(|(_, known)| known == mode).map_or("auto", |(name, _)| name).into()
}

fn parse_read_mode(text: &str) -> Result<ReadMode, String> {
    let found = READ_MODES.iter().find(|(name, _)| *name == text);
    found.map(|(_, mode)| *mode).ok_or_else(|| format!("{text:?} is no read mode: write auto, map or pread"))
}

fn parse_translation(text: &str) -> Result<Translation, String> {
    let named = Translation::ALL.into_iter().find(|translation| translation.name().eq_ignore_ascii_case(text));
    named.ok_or_else(|| {
        let names = Translation::ALL.map(Translation::name).join(", ");
        format!("{text:?} is no translation strategy: write one of {names}")
    })
}

fn show_promoted(promoted: &Promoted) -> String {
    match promoted {
        Promoted::Only(names) if names.is_empty() => "none".into(),
        Promoted::Only(names) => names.join(","),
        Promoted::AllBut(names) if names.is_empty() => "all".into(),
        Promoted::AllBut(names) => format!("all-but:{}", names.join(",")),
    }
}

fn parse_promoted(text: &str) -> Result<Promoted, String> {
    let names = |text: &str| {
        let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        let empty = names.iter().any(String::is_empty);
        if empty { Err(format!("{text:?} has an empty attribute name")) } else { Ok(names) }
    };
    match (text, text.strip_prefix("all-but:")) {
        ("none", _) => Ok(Promoted::Only(Vec::new())),
        ("all", _) => Ok(Promoted::AllBut(Vec::new())),
        (_, Some(text)) => names(text).map(Promoted::AllBut),
        _ => names(text).map(Promoted::Only),
    }
}

fn show_durability(durability: &Durability) -> String {
    match durability {
        Durability::Always => "always".into(),
        Durability::Interval(interval) => format!("interval:{}", format_duration(*interval)),
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
    let action = if setting.repeatable { ArgAction::Append } else { ArgAction::Set };
    Arg::new(setting.name)
        .action(action)
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
            for text in matches.get_many::<String>(setting.name).into_iter().flatten() {
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
            ("retention-filter", "{job=\"gpu\"}"),
            ("retention-filter", "up:soon"),
            ("retention-filter", "up{:1d"),
            ("flush-bytes", "0"),
            ("read-mode", "mmap"),
            ("series-max", "0"),
            ("otlp-translation", "Latin"),
            ("otlp-promote", "a,,b"),
            ("otlp-scope-labels", "perhaps"),
            ("otlp-histograms", "sketch"),
        ] {
            let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
            assert!((setting.set)(&mut ServerConfig::default(), text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn lists_gather_values_and_show_them_as_they_are_read() {
        let setting = SETTINGS.iter().find(|setting| setting.name == "retention-filter").unwrap();
        let (mut config, mut again) = (ServerConfig::default(), ServerConfig::default());
        (setting.set)(&mut config, "{job=~\"gpu.*\",dc!=\"a:b\"}:14d\n up:none").unwrap();
        (setting.set)(&mut config, "a:b:1h").unwrap();
        let rules = &config.options.retention_rules;
        assert_eq!(rules.iter().map(|rule| rule.matchers.len()).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(rules[1].keep, None);
        assert_eq!(rules[2].keep, Some(Duration::from_secs(3600)));
        let shown = (setting.show)(&config);
        (setting.set)(&mut again, &shown).unwrap();
        assert_eq!((setting.show)(&again), shown);
    }

    #[test]
    fn promoted_attributes_read_back() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (text, want) in [
            ("none", Promoted::Only(vec![])),
            ("a.b,c", Promoted::Only(list(&["a.b", "c"]))),
            ("all", Promoted::AllBut(vec![])),
            ("all-but:a.b,c", Promoted::AllBut(list(&["a.b", "c"]))),
        ] {
            assert_eq!(parse_promoted(text), Ok(want.clone()));
            assert_eq!(show_promoted(&want), text);
        }
    }

    #[test]
    fn durability_modes() {
        assert_eq!(parse_durability("always"), Ok(Durability::Always));
        assert_eq!(parse_durability("os"), Ok(Durability::Os));
        assert_eq!(parse_durability("interval:200ms"), Ok(Durability::Interval(Duration::from_millis(200))));
    }
}
