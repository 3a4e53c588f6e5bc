//! Functions, aggregations and operators in random queries.

use tsq_promql::ValueType::{self, Scalar, Vector};

use crate::data::Class;
use crate::generate::Generator;
use crate::tree::Tree;

/// Functions that map each sample.
const MATH: &[&str] = &[
    "abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad",
];
const CALENDAR: &[&str] =
    &["hour", "minute", "month", "year", "day_of_week", "day_of_month", "day_of_year", "days_in_month"];
const COUNTING: &[&str] = &["rate", "increase", "irate", "resets", "changes", "rate", "increase"];
const GAUGING: &[&str] = &["delta", "idelta", "deriv", "predict_linear", "double_exponential_smoothing", "changes"];
const OVER_TIME: &[&str] = &[
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "quantile_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "mad_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];
const OF_HISTOGRAMS: &[&str] =
    &["histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar"];
const AGGREGATIONS: &[&str] = &[
    "sum",
    "sum",
    "avg",
    "avg",
    "count",
    "min",
    "max",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "count_values",
    "quantile",
    "limitk",
    "limit_ratio",
];
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
const SETS: &[&str] = &["and", "or", "unless"];
const FLOATS: [Class; 4] = [Class::Gauge, Class::Gauge, Class::Special, Class::Counter];
const NATIVE: [Class; 8] = [
    Class::Exponential,
    Class::Exponential,
    Class::Exponential,
    Class::Custom,
    Class::Custom,
    Class::GaugeHistogram,
    Class::Mixed,
    Class::Uneven,
];
/// Labels that series have in common.
const LABELS: &[&str] = &["job", "instance", "env"];

/// Everything that a run of some length has to use at least once.
pub(crate) fn all_names() -> Vec<&'static str> {
    let lists =
        [MATH, CALENDAR, COUNTING, GAUGING, OVER_TIME, OF_HISTOGRAMS, AGGREGATIONS, ARITHMETIC, COMPARISONS, SETS];
    let others = [
        "clamp",
        "clamp_min",
        "clamp_max",
        "round",
        "timestamp",
        "sort",
        "sort_desc",
        "sort_by_label",
        "sort_by_label_desc",
        "label_replace",
        "label_join",
        "absent",
        "vector",
        "scalar",
        "info",
        "histogram_quantile",
        "histogram_fraction",
        "subquery",
        "offset",
        "@",
        "group_left",
        "group_right",
    ];
    lists.concat().into_iter().chain(others).collect()
}

impl Generator<'_> {
    /// A call of a function of a range vector.
    pub(crate) fn over_range(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let class = class.unwrap_or_else(|| match self.random.below(100) {
            0..12 => Class::Mixed,
            12..45 => *self.random.pick(&FLOATS),
            45..60 => Class::Bucket,
            60..95 => *self.random.pick(&NATIVE),
            _ => Class::Time,
        });
        let counts = matches!(class, Class::Counter | Class::Bucket | Class::Exponential | Class::Custom);
        let family = match self.random.below(100) {
            choice if class == Class::Mixed => [COUNTING, GAUGING, OVER_TIME, OVER_TIME][choice as usize % 4],
            0..50 if counts => COUNTING,
            0..30 => GAUGING,
            30..33 => COUNTING,
            _ => OVER_TIME,
        };
        let name = self.pick_used(family);
        let before = if name == "quantile_over_time" { Some(self.fraction()) } else { None };
        let after = match name {
            "predict_linear" => vec![self.scalar(depth.min(1))],
            "double_exponential_smoothing" => {
                let mut factor = || Tree::new(Scalar).text(*self.random.pick(&["0.1", "0.5", "0.9", "0.3", "1", "0"]));
                vec![factor(), factor()]
            }
            _ => Vec::new(),
        };
        let mut call = Tree::new(Vector).text(format!("{name}("));
        if let Some(before) = before {
            call = call.child(before).text(", ");
        }
        call = call.child(self.matrix(depth - 1, Some(class)));
        after.into_iter().fold(call, |call, argument| call.text(", ").child(argument)).text(")")
    }

    /// A call that gives one sample for each one it takes, or almost.
    pub(crate) fn mapped(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let floats = class.or(Some(*self.random.pick(&FLOATS)));
        match self.random.below(100) {
            0..35 => {
                let name = self.pick_used(MATH);
                let floats = if self.random.chance(10) { class } else { floats };
                self.call(name, depth, floats)
            }
            35..45 => self.clamped(depth, floats),
            45..52 => {
                let name = self.pick_used(CALENDAR);
                if self.random.chance(10) {
                    Tree::new(Vector).text(format!("{name}()"))
                } else {
                    self.call(name, depth, Some(Class::Time))
                }
            }
            52..58 => {
                let name = self.uses("timestamp");
                let depth = if self.random.chance(60) { 1 } else { depth };
                self.call(name, depth, class)
            }
            58..66 => {
                let name = self.pick_used(&["sort", "sort_desc"]);
                self.call(name, depth, floats)
            }
            66..72 => {
                let name = self.pick_used(&["sort_by_label", "sort_by_label_desc"]);
                let labels = self.labels().iter().map(|label| format!(", \"{label}\"")).collect::<String>();
                let inner = self.vector(depth - 1, class);
                Tree::new(Vector).text(format!("{name}(")).child(inner).text(format!("{labels})"))
            }
            72..86 => self.relabelled(depth, class),
            86..91 => {
                let name = self.uses("absent");
                let inner = if self.random.chance(60) {
                    Tree::new(Vector).text("nothing{job=\"api\", env=~\"x|y\", part!=\"z\"}")
                } else {
                    self.vector(depth - 1, class)
                };
                Tree::new(Vector).text(format!("{name}(")).child(inner).text(")")
            }
            91..95 => {
                self.uses("vector");
                Tree::new(Vector).text("vector(").child(self.scalar(depth - 1)).text(")")
            }
            _ => {
                let name = self.uses("info");
                let matchers = *self.random.pick(&[
                    "",
                    "",
                    ", {version=~\".+\"}",
                    ", {\"os.type\"=\"linux\"}",
                    ", {__name__=\"build_info\"}",
                ]);
                let inner = self.vector(depth.min(2) - 1, class);
                Tree::new(Vector).text(format!("{name}(")).child(inner).option(matchers).text(")")
            }
        }
    }

    fn call(&mut self, name: &str, depth: usize, class: Option<Class>) -> Tree {
        let inner = self.vector(depth - 1, class);
        Tree::new(Vector).text(format!("{name}(")).child(inner).text(")")
    }

    fn clamped(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let name = self.pick_used(&["clamp", "clamp_min", "clamp_max", "round", "round"]);
        let count = match name {
            "clamp" => 2,
            "round" => self.random.below(2),
            _ => 1,
        };
        let mut call = Tree::new(Vector).text(format!("{name}(")).child(self.vector(depth - 1, class));
        for _ in 0..count {
            let number = if self.random.chance(70) { self.threshold() } else { self.scalar(1) };
            call = call.text(", ").child(number);
        }
        call.text(")")
    }

    fn relabelled(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let name = self.pick_used(&["label_replace", "label_join"]);
        let source = *self.random.pick(LABELS);
        let target = *self.random.pick(&["copy", "copy", "part", "env", "a.b", "__name__", "job"]);
        let inner = self.vector(depth - 1, class);
        let arguments = if name == "label_replace" {
            let (to, pattern) = *self.random.pick(&[
                ("$1", "(.*)"),
                ("x-$1", "(.).*"),
                ("${first}y", "(?P<first>[a-z]+)"),
                ("fixed", ""),
                ("", ".*"),
                ("$2$$", "(a)|(.*)"),
            ]);
            format!(", \"{target}\", \"{to}\", \"{source}\", \"{pattern}\")")
        } else {
            let sources = self.labels().iter().map(|label| format!(", \"{label}\"")).collect::<String>();
            format!(", \"{target}\", \"{}\"{sources})", *self.random.pick(&["-", "", "::"]))
        };
        Tree::new(Vector).text(format!("{name}(")).child(inner).text(arguments)
    }

    /// A call of a function of histograms, native or classic.
    pub(crate) fn histogram_call(&mut self, depth: usize) -> Tree {
        let class = *self.random.pick(&NATIVE);
        if self.random.chance(50) {
            let name = self.pick_used(OF_HISTOGRAMS);
            return self.call(name, depth, Some(class));
        }
        let name = self.pick_used(&["histogram_quantile", "histogram_quantile", "histogram_fraction"]);
        let mut call = Tree::new(Vector).text(format!("{name}("));
        if name == "histogram_fraction" {
            let bounds = ["-Inf", "0", "0.1", "0.3", "1", "7", "100", "Inf", "NaN"];
            let (low, high) = (self.random.below(7) as usize, self.random.below(9) as usize);
            call =
                call.child(Tree::new(Scalar).text(bounds[low])).text(", ").child(Tree::new(Scalar).text(bounds[high]));
        } else {
            call = call.child(self.fraction());
        }
        let inner = if self.random.chance(50) { self.vector(depth - 1, Some(class)) } else { self.classic(depth) };
        call.text(", ").child(inner).text(")")
    }

    /// Buckets of classic histograms.
    fn classic(&mut self, depth: usize) -> Tree {
        if depth <= 1 {
            return self.vector(0, Some(Class::Bucket));
        }
        let rate = if self.random.chance(70) {
            let name = self.pick_used(COUNTING);
            Tree::new(Vector).text(format!("{name}(")).child(self.matrix(0, Some(Class::Bucket))).text(")")
        } else {
            self.vector(0, Some(Class::Bucket))
        };
        match self.random.below(3) {
            0 => rate,
            1 => Tree::new(Vector).text("sum by (le, job) (").child(rate).text(")"),
            _ => Tree::new(Vector).text("sum without (instance) (").child(rate).text(")"),
        }
    }

    fn labels(&mut self) -> Vec<&'static str> {
        (0..1 + self.random.below(2)).map(|_| *self.random.pick(LABELS)).collect()
    }

    /// An aggregation.
    pub(crate) fn aggregate(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let name = self.pick_used(AGGREGATIONS);
        self.aggregate_of(name, depth, class)
    }

    pub(crate) fn aggregate_of(&mut self, name: &str, depth: usize, class: Option<Class>) -> Tree {
        let grouping = match self.random.below(10) {
            _ if name == "sum" && class == Some(Class::Bucket) => "by (le, job)".to_owned(),
            0..3 => String::new(),
            3..7 => format!("by ({})", self.labels().join(", ")),
            7..9 => format!("without ({})", self.labels().join(", ")),
            _ => (*self.random.pick(&[
                "by ()",
                "without ()",
                "by (\"os.type\", job)",
                "by (__name__)",
                "by (part, missing)",
            ]))
            .to_owned(),
        };
        let param = match name {
            "topk" | "bottomk" | "limitk" => Some(self.count_param()),
            "quantile" => Some(self.fraction()),
            "limit_ratio" => {
                Some(Tree::new(Scalar).text(*self.random.pick(&["0.5", "-0.5", "0.1", "1", "-1", "2", "0"])))
            }
            "count_values" => {
                let label = *self.random.pick(&["\"value\"", "\"v.x\"", "\"job\""]);
                Some(Tree::new(ValueType::String).text(label))
            }
            _ => None,
        };
        let before = self.random.chance(70);
        let mut tree = Tree::new(Vector).text(name);
        if before {
            tree = tree.option(if grouping.is_empty() { String::new() } else { format!(" {grouping} ") });
        }
        tree = tree.text("(");
        if let Some(param) = param {
            tree = tree.child(param).text(", ");
        }
        let inner = self.vector(depth.saturating_sub(1), class);
        tree = tree.child(inner).text(")");
        if before || grouping.is_empty() { tree } else { tree.option(format!(" {grouping}")) }
    }

    fn count_param(&mut self) -> Tree {
        match self.random.below(20) {
            0 => self.scalar(1),
            1 => Tree::new(Scalar).text("2.7"),
            _ => Tree::new(Scalar).text((1 + self.random.below(4)).to_string()),
        }
    }

    /// A binary operation with at least one vector.
    pub(crate) fn binary(&mut self, depth: usize, class: Option<Class>) -> Tree {
        match self.random.below(100) {
            0..27 => self.with_scalar(depth, class),
            27..42 => self.set(depth, class),
            42..55 => self.same_labels(depth, class),
            55..66 => self.grouped(depth, class),
            66..80 => self.many_to_one(depth, class),
            80..87 => self.compared(class),
            87..96 => self.named(depth, class),
            _ => {
                let op = self.operator(true);
                let (left, right) = (self.vector(depth - 1, class), self.vector(depth - 1, class));
                operation(left, &op, right)
            }
        }
    }

    /// An operator; with `bool` sometimes, and `filters` where comparisons may leave elements out.
    fn operator(&mut self, filters: bool) -> String {
        if self.random.chance(60) {
            return self.pick_used(ARITHMETIC).to_owned();
        }
        let op = self.pick_used(COMPARISONS);
        if !filters || self.random.chance(50) { format!("{op} bool") } else { op.to_owned() }
    }

    fn with_scalar(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let op = self.operator(true);
        let vector = self.vector(depth - 1, class).in_parens();
        let scalar = if self.random.chance(60) { self.threshold() } else { self.scalar(depth - 1) };
        if self.random.chance(70) { operation(vector, &op, scalar) } else { operation(scalar, &op, vector) }
    }

    fn set(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let op = self.pick_used(SETS);
        let matching = self.matching();
        let (left, right) = (self.vector(depth - 1, class).in_parens(), self.vector(depth - 1, class).in_parens());
        Tree::new(Vector).child(left).text(format!(" {op} ")).option(matching).child(right)
    }

    /// A comparison that lets some elements through, of a metric with itself at another time.
    fn compared(&mut self, class: Option<Class>) -> Tree {
        let op = self.pick_used(COMPARISONS);
        let selector = self.selector(class);
        let left = Tree::new(Vector).text(selector.clone()).option(self.modifiers());
        let right = if self.random.chance(50) {
            Tree::new(Vector).text(selector).option(self.modifiers())
        } else {
            Tree::new(Vector).text(format!("avg_over_time({selector}[{}])", self.duration(30, 600)))
        };
        let matching = *self.random.pick(&["", "", " ignoring (env)", " on (job, instance, part)"]);
        let group = match self.random.below(6) {
            _ if matching.is_empty() => "",
            0 => self.uses("group_left"),
            1 => self.uses("group_right"),
            _ => "",
        };
        let include = if group.is_empty() { "" } else { *self.random.pick(&[" ", " (env)", " (part, code)"]) };
        Tree::new(Vector)
            .child(left)
            .text(format!(" {op}"))
            .option(matching)
            .text(format!(" {group}{include}"))
            .text(" ")
            .child(right)
            .in_parens()
    }

    /// Something that shows which metric names are dropped, and when.
    fn named(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let inner = self.vector(depth - 1, class);
        let new = Tree::new(Vector);
        match self.random.below(8) {
            0 => new.text("sum by (__name__, job) (").child(inner).text(")"),
            1 => new.text("count by (__name__) (").child(inner).text(")"),
            2 => new.text("topk by (__name__) (2, ").child(inner).text(")"),
            3 => {
                self.uses("label_replace");
                new.text("label_replace(").child(inner).text(", \"copy\", \"$1\", \"__name__\", \"(.*)\")")
            }
            4 => {
                let set = self.pick_used(SETS);
                let other = Tree::new(Vector).text(self.selector(class)).option(self.modifiers());
                new.child(inner.in_parens()).text(format!(" {set} ")).child(other).in_parens()
            }
            5 => {
                let other = self.vector(0, class);
                new.child(inner.in_parens()).text(" and on (__name__, job) ").child(other).in_parens()
            }
            6 => {
                let name = self.pick_used(&["last_over_time", "max_over_time", "count_over_time"]);
                let range = format!("[{}:{}]", self.duration(60, 600), self.duration(15, 60));
                new.text(format!("{name}(")).child(inner.in_parens()).text(range).text(")")
            }
            _ => {
                let name = self.pick_used(&["rate", "delta", "last_over_time", "sum_over_time"]);
                let names = *self.random.pick(&["requests_total|cpu_seconds_total", "temperature|queue_length|lone"]);
                new.text(format!("{name}({{__name__=~\"{names}\"}}[{}])", self.duration(60, 600)))
            }
        }
    }

    fn matching(&mut self) -> String {
        match self.random.below(4) {
            0 | 1 => String::new(),
            2 => format!("on ({}) ", self.labels().join(", ")),
            _ => format!("ignoring ({}) ", self.labels().join(", ")),
        }
    }

    /// Both sides have the same labels: one metric and functions of it.
    fn same_labels(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let op = self.operator(true);
        let selector = self.selector(class);
        let mut side = |left: bool| {
            let plain = Tree::new(Vector).text(selector.clone());
            if left || self.random.chance(50) {
                return if self.random.chance(50) { plain.option(self.modifiers()) } else { plain };
            }
            let range = self.duration(30, 600);
            let name = self.pick_used(&["rate", "avg_over_time", "max_over_time", "last_over_time", "sum_over_time"]);
            Tree::new(Vector).text(format!("{name}({selector}[{range}])"))
        };
        let (left, right) = (side(true), side(false));
        let sum = operation(left, &op, right);
        if depth > 2 && self.random.chance(30) {
            let grouping = self.labels().join(", ");
            return Tree::new(Vector).text("avg").option(format!(" by ({grouping}) ")).text("(").child(sum).text(")");
        }
        sum
    }

    /// Aggregations to the same labels on both sides.
    fn grouped(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let op = self.operator(true);
        let labels = self.labels().join(", ");
        let mut side = || {
            let name = self.pick_used(&["sum", "avg", "max", "count", "stddev", "min"]);
            let inner = self.vector(depth.saturating_sub(2), class);
            Tree::new(Vector).text(format!("{name} by ({labels}) (")).child(inner).text(")")
        };
        let (left, right) = (side(), side());
        let matching = *self.random.pick(&["", "", " on (job)", " ignoring (missing)", " ignoring (instance)"]);
        let sides = Tree::new(Vector).child(left).text(format!(" {op}")).option(matching);
        sides.text(" ").child(right).in_parens()
    }

    /// Many elements of one side for one of the other.
    fn many_to_one(&mut self, depth: usize, class: Option<Class>) -> Tree {
        let op = self.operator(self.random.clone().chance(40));
        let labels = *self.random.pick(&["job", "job, instance", "job", "env"]);
        let many = self.vector(depth - 1, class).in_parens();
        let name = self.pick_used(&["sum", "avg", "max", "count", "group"]);
        let inner = self.vector(depth.saturating_sub(2), class);
        let one = Tree::new(Vector).text(format!("{name} by ({labels}) (")).child(inner).text(")");
        let include = *self.random.pick(&["", "", " (env)", " (missing)", " (part, env)", " ()"]);
        let left = self.random.chance(60);
        let group = self.uses(if left { "group_left" } else { "group_right" });
        let modifier = format!(" {op} on ({labels}) {group}{include} ");
        let (first, second) = if left { (many, one) } else { (one, many) };
        Tree::new(Vector).child(first).text(modifier).child(second).in_parens()
    }
}

fn operation(left: Tree, op: &str, right: Tree) -> Tree {
    Tree::new(Vector).child(left).text(format!(" {op} ")).child(right).in_parens()
}
