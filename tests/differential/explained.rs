//! Differences that are known, each with its reason. Everything else is a bug.

use std::sync::LazyLock;

use regex::Regex;

use crate::compare::{Difference, Kind};

/// A known difference.
pub(crate) struct Explanation {
    /// Why tsq answers otherwise than Prometheus 3.5: an entry of Prometheus's changelog, with the version that has it,
    /// or a row of docs/promql.md.
    pub(crate) reason: &'static str,
    kinds: &'static [Kind],
    /// Pattern of queries. Where the results differ it has to match the query made as small as it gets.
    query: &'static str,
    /// Pattern of the text that describes the difference.
    text: &'static str,
    /// Pattern of queries that it does not explain.
    unless: &'static str,
}

/// All of them. The first that matches counts.
const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        reason: "3.6.0: [BUGFIX] PromQL: Fail when `NaN` is passed as parameter to `topk()`, `bottomk()`, \
                 `limitk()` and `limit_ratio()`. #16725",
        kinds: &[Kind::Error],
        query: "topk|bottomk|limitk|limit_ratio",
        text: "got .*is NaN",
        unless: NEVER,
    },
    Explanation {
        reason: "3.6.0: [BUGFIX] PromQL: Fix extrapolation for native counter histograms. #16828",
        kinds: &[Kind::Values],
        query: r#"(rate|increase)\("#,
        text: "histogram",
        unless: NEVER,
    },
    Explanation {
        reason: "3.7.0: [BUGFIX] PromQL: Avoid empty metric names in annotations for `histogram_quantile()`. \
                 #16794",
        kinds: &[Kind::Note],
        query: "histogram_(quantile|fraction)",
        text: r#"missing or has a malformed value of "[^"]*"( for metric name "")? \(|for metric name """#,
        unless: NEVER,
    },
    Explanation {
        reason: "3.7.0: [PERF] PromQL: Move more work to preprocessing step. #16896 (parentheses around what is \
                 aggregated no longer move the position of a note)",
        kinds: &[Kind::Note],
        query: r#"\(\("#,
        text: "ignored histogram in|mix of histograms",
        unless: NEVER,
    },
    Explanation {
        reason: "3.7.0: [ENHANCEMENT] PromQL: Add warn-level annotations for counter reset conflicts in certain \
                 histogram operations. #17051 #17094",
        kinds: &[Kind::Note],
        query: "",
        text: "^not wanted: .*conflicting counter resets during histogram",
        unless: NEVER,
    },
    Explanation {
        reason: "3.8.0: [ENHANCEMENT] PromQL: Reconcile mismatched NHCB bounds in `Add` and `Sub`. #17278",
        kinds: &[Kind::Note, Kind::Labels, Kind::Values, Kind::Error],
        query: "uneven_custom_seconds",
        text: "",
        unless: NEVER,
    },
    Explanation {
        reason: "3.8.0: [BUGFIX] PromQL: Fix `histogram_fraction` for classic histograms and NHCB if lower bound \
                 is in the first bucket. #17424",
        kinds: &[Kind::Values],
        query: "histogram_fraction",
        text: r#"want "NaN""#,
        unless: NEVER,
    },
    Explanation {
        reason: "3.9.0: [BUGFIX] PromQL: Fix bug with inconsistent results for queries with OR expression when \
                 experimental delayed name removal is enabled. #17161",
        kinds: &[Kind::Error, Kind::Labels, Kind::Values],
        query: " or ",
        text: "",
        unless: NEVER,
    },
    Explanation {
        reason: "3.10.0: [ENHANCEMENT] PromQL: Add more detail to histogram quantile monotonicity info \
                 annotations. #15578",
        kinds: &[Kind::Note],
        query: "histogram_quantile",
        text: "needed to be fixed for monotonicity",
        unless: NEVER,
    },
    Explanation {
        reason: "3.10.0: [BUGFIX] PromQL: info function: fix series without identifying labels not being \
                 returned. #17898",
        kinds: &[Kind::Labels],
        query: r#"info\(.*\{"#,
        text: "^not wanted",
        unless: NEVER,
    },
    Explanation {
        reason: "3.12.0: [FEATURE] PromQL: Emit a warning when `sort`, `sort_by_label` or `sort_by_label_desc` \
                 is used within range (matrix) queries, as these functions do not have effect in that context. \
                 #18498",
        kinds: &[Kind::Note],
        query: "sort",
        text: "^not wanted: .*sort is ineffective for range queries",
        unless: NEVER,
    },
    Explanation {
        reason: "3.12.0: [BUGFIX] PromQL: Fix metric name not being dropped when last_over_time or \
                 first_over_time is applied to subqueries containing name-dropping functions like abs(). #18409",
        kinds: &[Kind::Labels],
        query: r#"last_over_time\(.*:"#,
        text: "^missing: .*__name__",
        unless: NEVER,
    },
    Explanation {
        reason: "3.14.0: [BUGFIX] PromQL: Fix `mad_over_time` returning 0 instead of `NaN` when the range \
                 contains a `NaN` sample. #19040",
        kinds: &[Kind::Values],
        query: "mad_over_time",
        text: r#"got "NaN""#,
        unless: NEVER,
    },
    Explanation {
        reason: "after 3.14.0: promql: preserve name-dropping through the info function. #19413",
        kinds: &[Kind::Labels],
        query: r#"info\("#,
        text: "^missing: .*__name__",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: notes that say the same about several places",
        kinds: &[Kind::Note],
        query: "",
        text: "^not wanted: .*(quantile value should be|ignored histogram|incompatible sample types|ratio value|missing or has a malformed|mix of histograms)",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: sums of native histograms with other schemas and zero thresholds",
        kinds: &[Kind::Values],
        query: "sum|avg",
        text: r"histograms?\[.*buckets",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: order of instant vectors",
        kinds: &[Kind::Labels, Kind::Values],
        query: "limitk",
        text: "",
        unless: r#"limitk\(\d+, [a-z_]+(\{[^}]*\})?( offset [^ ]+| @ [^ ]+)*\)"#,
    },
    Explanation {
        reason: "docs/promql.md: order of instant vectors",
        kinds: &[Kind::Labels, Kind::Values],
        query: "topk|bottomk",
        text: "",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: `sort_by_label` of series that lack the label",
        kinds: &[Kind::Order],
        query: r#"sort_by_label.*"env""#,
        text: "",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: `==`, `!=` and `changes` of native histograms",
        kinds: &[Kind::Labels, Kind::Values],
        query: "==|!=|changes",
        text: "",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: last bits",
        kinds: &[Kind::Labels],
        query: r#"count_values\("#,
        text: "^missing",
        unless: NEVER,
    },
    Explanation {
        reason: "docs/promql.md: last bits",
        kinds: &[Kind::Values],
        query: r#"atan2| %|stddev|stdvar|tan|sin|cos|\^|exp|deriv|delta|predict_linear|smoothing"#,
        text: "",
        unless: NEVER,
    },
];

/// Matches no text.
const NEVER: &str = r"\z.";

static PATTERNS: LazyLock<Vec<[Regex; 3]>> = LazyLock::new(|| {
    let pattern = |text: &str| Regex::new(text).expect("the patterns of the table are good");
    EXPLANATIONS.iter().map(|known| [known.query, known.text, known.unless].map(pattern)).collect()
});

/// What explains a difference in the answers to a query.
pub(crate) fn explanation(query: &str, difference: &Difference) -> Option<&'static Explanation> {
    let explains = |known: &Explanation, [wanted, text, unless]: &[Regex; 3]| {
        let fits = wanted.is_match(query) && !unless.is_match(query);
        known.kinds.contains(&difference.kind) && fits && text.is_match(&difference.text)
    };
    EXPLANATIONS.iter().zip(PATTERNS.iter()).find(|(known, patterns)| explains(known, patterns)).map(|(known, _)| known)
}
