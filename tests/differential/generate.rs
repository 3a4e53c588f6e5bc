//! Random queries that are well typed and mostly find data.

use std::collections::BTreeMap;

use tsq_promql::ValueType::{self, Matrix, Scalar, Vector};
use tsq_tests::random::Random;

use crate::data::{Class, END_MS, Metric, START_MS};
use crate::query::{Query, Times, seconds};
use crate::tree::Tree;

/// Most evaluation times of a range query.
const STEPS_MAX: u64 = 40;

/// Makes queries.
pub(crate) struct Generator<'a> {
    pub(crate) random: Random,
    metrics: &'a [Metric],
    /// How often each function, aggregation and operator was used.
    pub(crate) used: BTreeMap<&'static str, usize>,
    /// Subqueries around what is made now.
    pub(crate) subqueries: usize,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(seed: u64, metrics: &'a [Metric]) -> Self {
        Self { random: Random::new(seed), metrics, used: BTreeMap::new(), subqueries: 0 }
    }

    /// The next query.
    pub(crate) fn query(&mut self) -> Query {
        let times = self.times();
        let depth = 1 + self.random.below(4) as usize;
        let tree = match (self.random.below(100), times) {
            (0..3, Times::Instant { .. }) => self.matrix(depth, None),
            (3..4, Times::Instant { .. }) => self.string(),
            (4..9, _) => self.scalar(depth),
            _ => self.vector(depth, None),
        };
        Query { tree, times }
    }

    fn times(&mut self) -> Times {
        let random = &mut self.random;
        let time = |random: &mut Random| {
            let early = if random.chance(3) { 0 } else { 600_000 };
            let time = START_MS + early + random.below((END_MS - START_MS - early) as u64) as i64;
            *random.pick(&[time, time / 1000 * 1000, time / 15_000 * 15_000])
        };
        let start = time(random);
        if random.chance(50) {
            return Times::Instant { at: start };
        }
        let step = *random.pick(&[15_000, 30_000, 60_000, 60_000, 120_000, 300_000, 7_300, 500, 1, 33_333, 600_000]);
        let steps = random.below(STEPS_MAX) as i64;
        let rest = if random.chance(20) { random.below(step as u64) as i64 } else { 0 };
        match random.below(200) {
            0 => Times::Range { start, end: start - 1000, step },
            1 => Times::Range { start, end: start + 1000, step: *random.pick(&[0, -step]) },
            _ => Times::Range { start, end: start + step * steps + rest, step },
        }
    }

    /// Counts a use.
    pub(crate) fn uses(&mut self, name: &'static str) -> &'static str {
        *self.used.entry(name).or_insert(0) += 1;
        name
    }

    /// Picks one name, and counts its use.
    pub(crate) fn pick_used(&mut self, from: &[&'static str]) -> &'static str {
        let name = *self.random.pick(from);
        self.uses(name)
    }

    pub(crate) fn string(&mut self) -> Tree {
        let text = *self.random.pick(&["\"a\"", "'it''s'", "`raw\\`", "\"\\u00e9\\n\"", "\"\""]);
        Tree::new(ValueType::String).text(if text == "'it''s'" { "'it\\'s'" } else { text })
    }

    /// An expression of a scalar.
    pub(crate) fn scalar(&mut self, depth: usize) -> Tree {
        let new = Tree::new(Scalar);
        let choice = if depth == 0 { self.random.below(6) } else { self.random.below(12) };
        match choice {
            0..5 => new.text(self.number()),
            5 => new.text(["time()", "pi()"][self.random.below(2) as usize]),
            6 | 7 => {
                self.uses("scalar");
                let inner = if self.random.chance(50) {
                    Tree::new(Vector).text("lone").option(self.modifiers())
                } else {
                    self.aggregate_of("sum", depth - 1, Some(Class::Gauge))
                };
                new.text("scalar(").child(inner).text(")")
            }
            8 => new.text("-(").child(self.scalar(depth - 1)).text(")"),
            9 => new.text("(").child(self.scalar(depth - 1)).text(")"),
            _ => {
                let op = self.pick_used(&["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">="]);
                let bool = if op.contains(['=', '<', '>']) { "bool " } else { "" };
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                new.text("(").child(left).text(format!(" {op} {bool}")).child(right).text(")")
            }
        }
    }

    /// A literal.
    pub(crate) fn number(&mut self) -> String {
        const NUMBERS: [&str; 24] = [
            "0", "1", "1", "2", "3", "10", "0.5", "-1", "-2.5", "1e3", "1e-3", ".5", "0x1F", "1_000", "017", "Inf",
            "-Inf", "NaN", "5m", "1h30m", "100", "+7", "1e308", "1500ms",
        ];
        (*self.random.pick(&NUMBERS)).to_owned()
    }

    /// A literal of a size that values have.
    pub(crate) fn threshold(&mut self) -> Tree {
        let text = *self.random.pick(&["0", "1", "-1", "5", "0.5", "10", "100", "1e6", "-3.5", "2"]);
        Tree::new(Scalar).text(text)
    }

    /// A number from zero to one, seldom another one.
    pub(crate) fn fraction(&mut self) -> Tree {
        let text = *self.random.pick(&["0", "0.1", "0.5", "0.5", "0.9", "0.99", "1", "0.333", "-1", "2", "NaN"]);
        Tree::new(Scalar).text(text)
    }

    /// A duration from `least` to `most` seconds.
    pub(crate) fn duration(&mut self, least: u64, most: u64) -> String {
        let seconds = least + self.random.below(most - least + 1);
        match self.random.below(20) {
            0..12 if seconds >= 60 && seconds % 60 < 30 => format!("{}m", seconds / 60),
            0..12 => format!("{seconds}s"),
            12 => format!("{seconds}"),
            13 => format!("{}m{}s", seconds / 60, seconds % 60),
            14 => format!("{seconds}s250ms"),
            15 => format!("{seconds}.5"),
            16 => format!("{}s+{}s", seconds / 2, seconds - seconds / 2),
            17 => format!("{}s*2", seconds.div_ceil(2)),
            18 => format!("({}s-{}s)/3", seconds * 4, seconds),
            _ => format!("{}ms", seconds * 1000 + 1),
        }
    }

    /// `offset` and `@`, in any order, seldom both, mostly none.
    pub(crate) fn modifiers(&mut self) -> String {
        // More inside of subqueries, whose own modifiers they go with.
        let (offsets, ats) = if self.subqueries > 0 { (30, 20) } else { (15, 10) };
        let offset = if self.random.chance(offsets) { self.offset() } else { String::new() };
        let at = if self.random.chance(ats) { self.at() } else { String::new() };
        if self.random.chance(50) { offset + &at } else { at + &offset }
    }

    fn offset(&mut self) -> String {
        self.uses("offset");
        let length = self.duration(1, 900);
        match self.random.below(4) {
            0 => format!(" offset -{}s", 1 + self.random.below(300)),
            1 => format!(" offset ({length})"),
            _ => format!(" offset {}s", self.random.below(600)),
        }
    }

    fn at(&mut self) -> String {
        self.uses("@");
        let time = START_MS + self.random.below((END_MS - START_MS) as u64) as i64;
        match self.random.below(5) {
            0 => " @ start()".to_owned(),
            1 => " @ end()".to_owned(),
            2 => format!(" @ {}", time / 1000),
            _ => format!(" @ {}", seconds(time)),
        }
    }

    /// A metric of this class, if one is wanted.
    fn metric(&mut self, class: Option<Class>) -> &'a Metric {
        let metrics: Vec<&Metric> = match class {
            Some(class) => self.metrics.iter().filter(|metric| metric.class == class).collect(),
            None => self.metrics.iter().collect(),
        };
        metrics[self.random.below(metrics.len() as u64) as usize]
    }

    /// A selector without modifiers.
    pub(crate) fn selector(&mut self, class: Option<Class>) -> String {
        let metric = self.metric(class);
        let is_plain = metric.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut matchers = Vec::new();
        let named_inside = !is_plain || self.random.chance(8);
        if named_inside {
            matchers.push(match self.random.below(3) {
                0 => format!("__name__=\"{}\"", metric.name),
                1 if is_plain => format!("__name__=~\"{}|nothing\"", metric.name),
                _ => format!("\"{}\"", metric.name),
            });
        }
        while self.random.chance(30) && matchers.len() < 3 && !metric.labels.is_empty() {
            matchers.push(self.matcher(metric));
        }
        let name = if named_inside { "" } else { metric.name };
        if matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", matchers.join(", ")) }
    }

    /// A matcher that mostly lets some series of the metric through.
    fn matcher(&mut self, metric: &Metric) -> String {
        let names: Vec<&String> = metric.labels.keys().collect();
        let name = *self.random.pick(&names);
        let values = &metric.labels[name];
        let (value, other) = (self.random.pick(values).clone(), self.random.pick(values).clone());
        let name = if name.is_ascii() && !name.contains('.') { name.clone() } else { format!("\"{name}\"") };
        match self.random.below(11) {
            0..3 => format!("{name}=\"{value}\""),
            3 => format!("{name}!=\"{value}\""),
            4 => format!("{name}=~\"{}|{}\"", escaped(&value), escaped(&other)),
            5 => format!("{name}=~\".*\""),
            6 => format!("{name}!~\"{}\"", escaped(&value)),
            7 => format!("{name}=~\"(?s:.{{1,3}})\""),
            8 => format!("{name}=~\"[^{}].*|{}.*\"", first(&value), first(&value)),
            9 => format!("{name}!=\"nothing\""),
            _ => "missing=\"\"".to_owned(),
        }
    }

    /// An instant vector whose series are of this class, where that can be.
    pub(crate) fn vector(&mut self, depth: usize, class: Option<Class>) -> Tree {
        if depth == 0 {
            let selector = self.selector(class);
            return Tree::new(Vector).text(selector).option(self.modifiers());
        }
        match self.random.below(100) {
            0..12 => self.vector(0, class),
            12..34 => self.aggregate(depth, class),
            34..58 => self.over_range(depth, class),
            58..70 => self.mapped(depth, class),
            70..78 => self.histogram_call(depth),
            78..96 => self.binary(depth, class),
            96..98 => Tree::new(Vector).text("-").child(self.vector(depth - 1, class).in_parens()),
            _ => self.vector(depth - 1, class).in_parens(),
        }
    }

    /// A range vector.
    pub(crate) fn matrix(&mut self, depth: usize, class: Option<Class>) -> Tree {
        if depth == 0 || self.subqueries == 2 || self.random.chance(75) {
            let selector = self.selector(class);
            let range = self.duration(20, 900);
            return Tree::new(Matrix).text(format!("{selector}[{range}]")).option(self.modifiers());
        }
        self.uses("subquery");
        self.subqueries += 1;
        let inner = self.vector(depth - 1, class);
        self.subqueries -= 1;
        let step = if self.random.chance(40) { String::new() } else { self.duration(10, 120) };
        let range = format!("[{}:{step}]", self.duration(60, 900));
        Tree::new(Matrix).child(inner.in_parens()).text(range).option(self.modifiers())
    }
}

impl Tree {
    /// In parentheses, unless it is a single piece of text without them.
    pub(crate) fn in_parens(self) -> Tree {
        Tree::new(self.value_type).text("(").child(self).text(")")
    }
}

/// A value as a regular expression inside of a string.
fn escaped(value: &str) -> String {
    value.replace('.', "\\\\.").replace('+', "\\\\+").replace('/', "\\\\/")
}

/// The first letter of a value as part of a set of letters.
fn first(value: &str) -> char {
    value.chars().next().filter(char::is_ascii_alphanumeric).unwrap_or('x')
}
