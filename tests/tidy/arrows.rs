//! Who may depend on whom, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crates of the product and those of ours that each may use. A new crate gets a row.
const ARROWS: &[(&str, &[&str])] = &[
    ("tsq-core", &[]),
    ("tsq-promql", &["tsq-core"]),
    ("tsq-rules", &["tsq-core", "tsq-promql"]),
    ("tsq-ingest", &["tsq-core"]),
    ("tsq-runs", &["tsq-core"]),
    ("tsq", &["tsq-core", "tsq-promql", "tsq-runs"]),
    ("tsq-server", &["tsq", "tsq-ingest", "tsq-rules", "tsq-runs"]),
    ("tsq-cli", &["tsq", "tsq-ingest", "tsq-rules", "tsq-runs", "tsq-server"]),
];

/// Packages that may use everything: they are no part of the product.
const OUTSIDE: &[&str] = &["tsq-tests", "tsq-benches"];

/// What must not be reachable, at any depth, in an ordinary build of a crate.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("tsq-core", &["tokio", "axum", "hyper", "serde", "serde_json", "log", "tracing", "regex", "cc"]),
    ("tsq-promql", &["tokio", "axum", "hyper", "serde", "serde_json", "log", "tracing", "cc"]),
    ("tsq", &["tokio", "axum", "hyper"]),
    ("tsq-ingest", &["tokio", "axum", "hyper", "tracing"]),
    ("tsq-rules", &["tokio", "axum", "hyper"]),
    ("tsq-runs", &["tokio", "axum", "hyper"]),
];

fn metadata(root: &Path) -> Value {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "host-tuple"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a text"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Names of the packages of the workspace.
pub(crate) fn packages(root: &Path) -> Vec<String> {
    Graph::new(&metadata(root)).members.into_iter().map(|(name, _)| name).collect()
}

/// The packages of an ordinary build: dependencies of tests are left out, those of build scripts are not.
struct Graph {
    names: BTreeMap<String, String>,
    /// Package ids by package id.
    uses: BTreeMap<String, Vec<String>>,
    /// Names and ids of the packages of the workspace.
    members: Vec<(String, String)>,
}

impl Graph {
    fn new(metadata: &Value) -> Self {
        let names: BTreeMap<String, String> = list(metadata, "packages")
            .iter()
            .map(|package| (text(package, "id").to_owned(), text(package, "name").to_owned()))
            .collect();
        let is_ordinary = |dependency: &&Value| list(dependency, "dep_kinds").iter().any(|kind| kind["kind"] != "dev");
        let uses = list(&metadata["resolve"], "nodes")
            .iter()
            .map(|node| {
                let used = list(node, "deps").iter().filter(is_ordinary).map(|used| text(used, "pkg").to_owned());
                (text(node, "id").to_owned(), used.collect())
            })
            .collect();
        let ids = list(metadata, "workspace_members").iter().filter_map(Value::as_str);
        let members = ids.map(|id| (names[id].clone(), id.to_owned())).collect();
        Self { names, uses, members }
    }

    /// Names of everything that a package uses, directly or not.
    fn reach(&self, id: &str) -> BTreeSet<&str> {
        let (mut seen, mut queue) = (BTreeSet::new(), vec![id]);
        while let Some(id) = queue.pop() {
            let used = self.uses.get(id).map_or(&[][..], Vec::as_slice);
            queue.extend(used.iter().map(String::as_str).filter(|id| seen.insert(*id)));
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

/// Every dependency that breaks a rule, in words.
pub(crate) fn violations(root: &Path) -> Vec<String> {
    let graph = Graph::new(&metadata(root));
    let ours: Vec<&str> = graph.members.iter().map(|(name, _)| name.as_str()).collect();
    let mut found = Vec::new();
    for (name, id) in graph.members.iter().filter(|(name, _)| !OUTSIDE.contains(&name.as_str())) {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == name) else {
            found.push(format!("{name} has no row in the table of tests/tidy/arrows.rs"));
            continue;
        };
        let used = graph.uses[id].iter().map(|id| graph.names[id].as_str());
        let wrong = used.filter(|used| ours.contains(used) && !allowed.contains(used));
        found.extend(wrong.map(|used| format!("{name} uses {used}")));
        let kept_out = KEPT_OUT.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, names)| names);
        let reached = graph.reach(id);
        let wrong = kept_out.iter().filter(|name| reached.contains(**name));
        found.extend(wrong.map(|used| format!("{name} reaches {used}")));
    }
    found
}
