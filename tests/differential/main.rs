//! Random queries over random data: tsq answers what a real Prometheus 3.5 answers.
//!
//! Needs the environment variable `TSQ_TEST_PROMETHEUS`. Without it says so and passes, unless `TSQ_TEST_REQUIRE` is 1.
//! `TSQ_DIFFERENTIAL_QUERIES` (400) is the number of queries, `TSQ_DIFFERENTIAL_SEED` (1) decides on data and queries.
//!
//! tsq follows a newer Prometheus: the differences that this causes, and those of docs/promql.md, are in explained.rs. A
//! query that is answered differently is made as small as it gets before it is looked up there.

mod calls;
mod compare;
mod data;
mod explained;
mod generate;
mod histograms;
mod query;
mod servers;
mod tree;

use std::collections::{BTreeMap, HashSet};

use compare::{Difference, Kind, Order, differences};
use data::Data;
use generate::Generator;
use query::{Query, Times};
use servers::Servers;
use tsq_tests::number_from_env;

/// Least share of answers that hold data, in percent.
const DATA_MIN: usize = 60;
/// How often Prometheus is asked again where the answers differ without a reason.
const ASKED_AGAIN: usize = 5;
/// Largest share of answers, in percent, that one row of the table of differences may explain.
const EXPLAINED_MAX: usize = 2;
/// As many may be in any case.
const EXPLAINED_MIN: usize = 20;
/// Most attempts to make a query smaller.
const ATTEMPTS_MAX: usize = 600;

#[test]
fn tsq_answers_what_prometheus_answers() {
    let (seed, count) = (number_from_env("TSQ_DIFFERENTIAL_SEED", 1), number_from_env("TSQ_DIFFERENTIAL_QUERIES", 400));
    println!("seed {seed} (TSQ_DIFFERENTIAL_SEED)");
    let data = Data::new(seed);
    let Some(mut servers) = Servers::start(&data) else { return };
    let (floats, histograms) = data.sample_counts();
    println!("{} series, {floats} floats, {histograms} histograms", data.series.len());
    let mut generator = Generator::new(seed, &data.metrics);
    let mut report = Report::default();
    for _ in 0..count {
        let query = generator.query();
        report.run(&mut servers, &query);
    }
    report.print();
    if count >= 5000 {
        let unused = calls::all_names().into_iter().filter(|name| !generator.used.contains_key(name));
        assert_eq!(unused.collect::<Vec<_>>(), Vec::<&str>::new(), "functions and operators that no query used");
    }
    let most = 1 + report.queries / 1000;
    assert!(report.contradictions.len() <= most, "Prometheus answers too many queries in several ways");
    assert!(report.unexplained.is_empty(), "seed {seed}: {} unexplained differences", report.unexplained.len());
    for (reason, explained) in &report.explained {
        let most = EXPLAINED_MIN.max(report.queries * EXPLAINED_MAX / 100);
        assert!(
            explained.results <= most,
            "{} answers explained by {reason}: does that hide a bug?",
            explained.results
        );
    }
    assert!(report.with_data * 100 >= report.queries * DATA_MIN, "too many answers hold no data");
}

/// What a run found.
#[derive(Default)]
struct Report {
    queries: usize,
    with_data: usize,
    failed: usize,
    explained: BTreeMap<&'static str, Explained>,
    unexplained: Vec<String>,
    /// Queries that Prometheus answers in several ways.
    contradictions: Vec<String>,
}

/// What one row of the table explained.
#[derive(Default)]
struct Explained {
    count: usize,
    /// Those in which results differ, not notes alone.
    results: usize,
    /// The shortest query.
    example: String,
}

impl Report {
    fn run(&mut self, servers: &mut Servers, query: &Query) {
        let want = query.ask(&mut servers.prometheus);
        let got = query.ask(&mut servers.tsq);
        self.queries += 1;
        self.with_data += usize::from(compare::has_data(&want));
        self.failed += usize::from(want["status"] == "error");
        let mut found = differences(&want, &got, order_of(query));
        found.retain(|difference| difference.kind != Kind::Note || !self.explains(query, difference));
        let Some(found) = found.into_iter().next() else { return };
        let (small, found) = shrink(servers, query.clone(), found);
        if !self.explains(&small, &found) && !self.contradicts_itself(servers, &small) {
            self.unexplained.push(format!("{query}\n  small: {small}\n  {:?}: {}", found.kind, found.text));
        }
    }

    /// Whether Prometheus answers a query in several ways, the one of tsq among them; counts it if so.
    fn contradicts_itself(&mut self, servers: &mut Servers, query: &Query) -> bool {
        let got = query.ask(&mut servers.tsq);
        let mut same = || differences(&query.ask(&mut servers.prometheus), &got, order_of(query)).is_empty();
        let contradicts = (0..ASKED_AGAIN).any(|_| same());
        if contradicts {
            self.contradictions.push(query.to_string());
        }
        contradicts
    }

    /// Whether a difference is known; counts it if so. Notes speak for themselves, results only of a small query.
    fn explains(&mut self, query: &Query, difference: &Difference) -> bool {
        let Some(explanation) = explained::explanation(query, difference) else { return false };
        let explained = self.explained.entry(explanation.reason).or_default();
        explained.count += 1;
        explained.results += usize::from(difference.kind != Kind::Note);
        if explained.example.is_empty() || query.to_string().len() < explained.example.len() {
            explained.example = query.to_string();
        }
        true
    }

    fn print(&self) {
        let percent = self.with_data * 100 / self.queries.max(1);
        println!("{} queries, {percent} % with data, {} failed on both", self.queries, self.failed);
        for (reason, Explained { count, example, .. }) in &self.explained {
            println!("{count} explained by {reason}\n  as {example}");
        }
        for query in &self.contradictions {
            println!("answered by Prometheus in several ways: {query}");
        }
        for text in &self.unexplained {
            println!("UNEXPLAINED: {text}");
        }
    }
}

/// What the order of the answer to a query says: instant queries that sort last have one.
fn order_of(query: &Query) -> Order {
    let text = query.tree.to_string();
    match query.times {
        Times::Range { .. } => Order::None,
        Times::Instant { .. } if text.starts_with("sort_by_label") => Order::Labels,
        Times::Instant { .. } if text.starts_with("sort") => Order::Values,
        Times::Instant { .. } => Order::None,
    }
}

/// Makes a query smaller as long as its answers differ in the same way, and unexplained.
fn shrink(servers: &mut Servers, query: Query, found: Difference) -> (Query, Difference) {
    let (mut small, mut found) = (query, found);
    let mut tried = HashSet::new();
    'smaller: loop {
        for candidate in small.smaller() {
            if tried.len() == ATTEMPTS_MAX {
                break 'smaller;
            }
            if candidate.size() >= small.size() || !tried.insert(candidate.to_string()) {
                continue;
            }
            let (want, got) = (candidate.ask(&mut servers.prometheus), candidate.ask(&mut servers.tsq));
            let same_kind = |different: &Difference| different.kind == found.kind;
            let different = differences(&want, &got, order_of(&candidate)).into_iter().find(|different| {
                let known = || explained::explanation(&candidate, different).is_some();
                same_kind(different) && (found.kind != Kind::Note || !known())
            });
            if let Some(different) = different {
                (small, found) = (candidate, different);
                continue 'smaller;
            }
        }
        break;
    }
    (small, found)
}
