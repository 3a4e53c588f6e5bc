//! Differences that are known, each with its reason. Everything else is a bug.

use std::sync::LazyLock;

use regex::Regex;

use crate::compare::{Difference, Kind, Same};
use crate::query::Query;

/// A known difference.
pub(crate) struct Explanation {
    /// Why tsq answers otherwise than Prometheus 3.5: an entry of Prometheus's changelog, with the version that has it,
    /// or a row of docs/promql.md.
    pub(crate) reason: &'static str,
    kinds: &'static [Kind],
    /// Pattern of queries, with the times they are asked for. Where the results differ it has to match the query made as
    /// small as it gets.
    query: &'static str,
    /// Pattern of the text that describes the difference.
    text: &'static str,
    /// What the answers have to have in common all the same.
    same: Common,
}

/// What two answers have to have in common.
#[derive(Clone, Copy)]
enum Common {
    /// Nothing.
    Nothing,
    /// Everything but the digits of values from some on: the largest relative distance.
    Digits(f64),
    /// The values at each time.
    Values,
    /// The number of elements at each time.
    Counts,
    /// A note, but for its place in the query.
    Note,
}

impl Common {
    fn is_in(self, same: Same) -> bool {
        match self {
            Self::Nothing => true,
            Self::Digits(most) => same.distance <= most,
            Self::Values => same.values,
            Self::Counts => same.counts,
            Self::Note => same.note,
        }
    }
}

/// All of them. The first that matches counts.
const EXPLANATIONS: &[Explanation] = &[
    Explanation {
        reason: "3.6.0: [BUGFIX] PromQL: Fail when `NaN` is passed as parameter to `topk()`, `bottomk()`, \
                 `limitk()` and `limit_ratio()`. #16725",
        kinds: &[Kind::Error],
        query: "topk|bottomk|limitk|limit_ratio",
        text: "got .*is NaN",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.6.0: [BUGFIX] PromQL: Fix extrapolation for native counter histograms. #16828",
        kinds: &[Kind::Values],
        query: r#"(rate|increase)\("#,
        text: "histogram",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.7.0: [BUGFIX] PromQL: Avoid empty metric names in annotations for `histogram_quantile()`. \
                 #16794",
        kinds: &[Kind::Note],
        query: "histogram_(quantile|fraction)",
        text: r#"missing or has a malformed value of "[^"]*"( for metric name "")? \(|for metric name """#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.7.0: [PERF] PromQL: Move more work to preprocessing step. #16896 (parentheses around what is \
                 aggregated no longer move the position of a note)",
        kinds: &[Kind::Note],
        query: r#"\(\(|, \("#,
        text: "ignored histogram in|mix of histograms",
        same: Common::Note,
    },
    Explanation {
        reason: "3.7.0: [ENHANCEMENT] PromQL: Add warn-level annotations for counter reset conflicts in certain \
                 histogram operations. #17051 #17094",
        kinds: &[Kind::Note],
        query: "",
        text: "^not wanted: .*conflicting counter resets during histogram",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.8.0: [ENHANCEMENT] PromQL: Reconcile mismatched NHCB bounds in `Add` and `Sub`. #17278",
        kinds: &[Kind::Note, Kind::Labels, Kind::Values, Kind::Error],
        query: "uneven_custom_seconds",
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.8.0: [BUGFIX] PromQL: Fix `histogram_fraction` for classic histograms and NHCB if lower bound \
                 is in the first bucket. #17424",
        kinds: &[Kind::Values],
        query: "histogram_fraction",
        text: r#"want "NaN""#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.9.0: [BUGFIX] PromQL: Fix bug with inconsistent results for queries with OR expression when \
                 experimental delayed name removal is enabled. #17161",
        kinds: &[Kind::Error, Kind::Labels, Kind::Values],
        query: " or ",
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.10.0: [ENHANCEMENT] PromQL: Add more detail to histogram quantile monotonicity info \
                 annotations. #15578",
        kinds: &[Kind::Note],
        query: "histogram_quantile",
        text: "needed to be fixed for monotonicity",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.10.0: [BUGFIX] PromQL: info function: fix series without identifying labels not being \
                 returned. #17898",
        kinds: &[Kind::Labels],
        query: r#"info\(.*\{"#,
        text: "^not wanted",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.12.0: [FEATURE] PromQL: Emit a warning when `sort`, `sort_by_label` or `sort_by_label_desc` \
                 is used within range (matrix) queries, as these functions do not have effect in that context. \
                 #18498",
        kinds: &[Kind::Note],
        query: "sort",
        text: "^not wanted: .*sort is ineffective for range queries",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.12.0: [BUGFIX] PromQL: Fix metric name not being dropped when last_over_time or \
                 first_over_time is applied to subqueries containing name-dropping functions like abs(). #18409",
        kinds: &[Kind::Labels],
        query: r#"last_over_time\(.*:"#,
        text: "^missing: .*__name__",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.14.0: [BUGFIX] PromQL: Fix `mad_over_time` returning 0 instead of `NaN` when the range \
                 contains a `NaN` sample. #19040",
        kinds: &[Kind::Values],
        query: "mad_over_time",
        text: r#"got "NaN""#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.7.0: [BUGFIX] PromQL: Fix `info()` function on churning series. #17135",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"info\(.* from |info\(.*\[.*:"#,
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "after 3.14.0: promql: honour @ modifier when evaluating info series. #19266",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"info\(.* @ "#,
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: `timestamp` of a selector with `@` and `offset`",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"timestamp\([^()]*( @ [^()]*( offset )|( offset )[^()]*(\([^()]*\))?[^()]* @ )"#,
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "a panic of 3.5 in what adds native histograms, which 3.14 does with other code",
        kinds: &[Kind::Error],
        query: "NATIVE",
        text: r#"^want \{"error":"unexpected error: runtime error: index out of range"#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "after 3.14.0: promql: preserve name-dropping through the info function. #19413",
        kinds: &[Kind::Labels],
        query: r#"info\("#,
        text: "^missing: .*__name__",
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: sums of native histograms with other schemas and zero thresholds",
        kinds: &[Kind::Values],
        query: r#"(sum|avg).*NATIVE|NATIVE.* [-+] "#,
        text: r#"histograms?\[.*buckets"#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: order of instant vectors",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"^\(*limitk.*\("#,
        text: "",
        same: Common::Counts,
    },
    Explanation {
        reason: "docs/promql.md: order of instant vectors",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"^\(*(topk|bottomk)"#,
        text: "",
        same: Common::Values,
    },
    Explanation {
        reason: "docs/promql.md: `sort_by_label` of series that lack the label",
        kinds: &[Kind::Order],
        query: r#"sort_by_label.*"env""#,
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: empty buckets of native histograms",
        kinds: &[Kind::Labels, Kind::Values],
        query: "(==|!=|changes).*NATIVE",
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: empty buckets of native histograms",
        kinds: &[Kind::Values],
        query: r#"^\(*histogram_(quantile|fraction)\(.*NATIVE"#,
        text: r#"value.*want ""#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: last bits",
        kinds: &[Kind::Labels],
        query: r#"^\(*count_values.*\(.*(atan2| %|stddev|stdvar|tan|sin|cos|\^|exp|deriv|delta|predict_linear|smoothing|avg|sum|rate)"#,
        text: "^missing",
        same: Common::Counts,
    },
    Explanation {
        reason: "docs/promql.md: last bits",
        kinds: &[Kind::Values],
        query: r#"atan2| %|stddev|stdvar|tan|sin|cos|\^|exp|log|deriv|delta|predict_linear|smoothing"#,
        text: "",
        same: Common::Digits(1e-6),
    },
    Explanation {
        reason: "docs/promql.md: logarithms of the smallest numbers",
        kinds: &[Kind::Values],
        query: r#"^\(*(ln|log10)\("#,
        text: r#"want "-(709\.\d|307\.9)"#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.9.0 to 3.11.0: sums and means of native histograms are compensated (`KahanAdd`), which the changelog only has as \
                 [PERF] #18252",
        kinds: &[Kind::Values],
        query: "(sum|avg|rate|delta|increase).*NATIVE",
        text: "",
        same: Common::Digits(1e-6),
    },
    Explanation {
        reason: "docs/promql.md: last bits",
        kinds: &[Kind::Values],
        query: r#"(stddev|stdvar)_over_time.*( from |\[.*:)"#,
        text: "",
        same: Common::Digits(1e-3),
    },
    Explanation {
        reason: "docs/promql.md: last bits (of the argument of a periodic function, which is large)",
        kinds: &[Kind::Values],
        query: r#"^\(*(tan|sin|cos)\(.*\^"#,
        text: "",
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: last bits (of nothing)",
        kinds: &[Kind::Values],
        query: r#"stddev|stdvar|deriv|delta|(irate|delta|rate).*(tan|sin|cos|exp|log|ln|\^)"#,
        text: r#"want "-?\d(\.\d+)?e-(1[2-9]|[2-9]\d)""#,
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.6.0: [BUGFIX] PromQL: Fix extrapolation for native counter histograms. #16828",
        kinds: &[Kind::Labels],
        query: r#"^\(*count_values.*(rate|increase)\(.*NATIVE"#,
        text: "^missing.*count:",
        same: Common::Counts,
    },
    Explanation {
        reason: "3.7.0: [BUGFIX] PromQL: Set native histogram to gauge type when subtracting or multiplying/dividing with negative factors. #17004",
        kinds: &[Kind::Note],
        query: "(rate|increase).*-.*NATIVE|(rate|increase).*NATIVE.* [-*/] ",
        text: "^not wanted: .*native histogram metric is not a counter",
        same: Common::Nothing,
    },
    Explanation {
        reason: "3.14.0: [BUGFIX] PromQL: Fix `mad_over_time` returning 0 instead of `NaN` when the range contains a `NaN` sample. #19040",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"^\(*(topk|bottomk).*mad_over_time"#,
        text: "",
        same: Common::Counts,
    },
    Explanation {
        reason: "3.9.0: [BUGFIX] PromQL: Fix some \"vector cannot contain metrics with the same labelset\" errors when experimental delayed name removal is enabled. #17678",
        kinds: &[Kind::Error],
        query: "",
        text: "^want .*same labelset",
        same: Common::Nothing,
    },
    Explanation {
        reason: "docs/promql.md: `histogram_count` and its like of totals of histograms that do not fit together",
        kinds: &[Kind::Labels, Kind::Values],
        query: r#"histogram_(count|sum|avg)\(.*(sum|avg).*changing"#,
        text: "^(missing|want)",
        same: Common::Nothing,
    },
];

static PATTERNS: LazyLock<Vec<[Regex; 2]>> = LazyLock::new(|| {
    let pattern = |text: &str| Regex::new(&text.replace("NATIVE", NATIVE)).expect("the patterns of the table are good");
    EXPLANATIONS.iter().map(|known| [known.query, known.text].map(pattern)).collect()
});

/// The metrics that have native histograms.
const NATIVE: &str = "(wait_seconds|size_bytes|custom_seconds|open_connections|changing)";

/// What explains a difference in the answers to a query.
pub(crate) fn explanation(query: &Query, difference: &Difference) -> Option<&'static Explanation> {
    let query = query.to_string();
    let explains = |known: &Explanation, [wanted, text]: &[Regex; 2]| {
        let fits = wanted.is_match(&query) && text.is_match(&difference.text);
        fits && known.kinds.contains(&difference.kind) && known.same.is_in(difference.same)
    };
    EXPLANATIONS.iter().zip(PATTERNS.iter()).find(|(known, patterns)| explains(known, patterns)).map(|(known, _)| known)
}
