//! How OTLP becomes series. The names are those of the `otlp` section of Prometheus's configuration.

/// What becomes of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Translation {
    /// Names of letters, digits and underscores; metrics get their unit and `_total` or `_ratio` behind them.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Names of letters, digits and underscores, without suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// Names as they are; metrics get suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Names as they are.
    NoTranslation,
}

impl Translation {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::UnderscoreEscapingWithSuffixes,
        Self::UnderscoreEscapingWithoutSuffixes,
        Self::NoUtf8EscapingWithSuffixes,
        Self::NoTranslation,
    ];

    /// Name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            Self::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            Self::NoTranslation => "NoTranslation",
        }
    }

    /// Whether other characters than letters, digits and underscores are replaced.
    pub fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// Whether metric names get their unit and type behind them.
    pub fn suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// What becomes of histograms with explicit bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExplicitHistograms {
    /// Series `_bucket`, `_sum` and `_count`.
    #[default]
    Classic,
    /// One native histogram with custom buckets.
    Native,
}

/// Which resource attributes every series of the resource gets as labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promoted {
    /// Those of these names.
    Only(Vec<String>),
    /// All but those of these names.
    AllBut(Vec<String>),
}

impl Default for Promoted {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Promoted {
    /// Whether this attribute is promoted.
    pub(super) fn has(&self, attribute: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|name| name == attribute),
            Self::AllBut(names) => !names.iter().any(|name| name == attribute),
        }
    }
}

/// How OTLP becomes series. Plain data: change the fields you care about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpOptions {
    /// What becomes of names.
    pub translation: Translation,
    /// What becomes of histograms with explicit bounds.
    pub explicit_histograms: ExplicitHistograms,
    /// Resource attributes that become labels of every series. Default none: they are labels of `target_info`.
    pub promoted: Promoted,
    /// Keep `service.name`, `service.namespace` and `service.instance.id` as labels of `target_info`, although `job`
    /// and
    /// `instance` say the same. Default false.
    pub keep_identifying: bool,
    /// Give series the labels `otel_scope_name`, `otel_scope_version`, `otel_scope_schema_url` and `otel_scope_NAME`
    /// for each attribute of their scope. Default false.
    pub scope_labels: bool,
    /// Time between two samples of `target_info` in a request whose samples cover a longer time, in milliseconds: half
    /// of the lookback of queries, so that it is found beside all of them. Default 150 s.
    pub target_info_interval_ms: i64,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            translation: Translation::default(),
            explicit_histograms: ExplicitHistograms::default(),
            promoted: Promoted::default(),
            keep_identifying: false,
            scope_labels: false,
            target_info_interval_ms: 150_000,
        }
    }
}
