//! PromQL scripts: data to load, queries to evaluate, answers to expect, in the `.test` language of Prometheus.
//!
//! Our own scripts lie beside this file. `TSQ_CONFORMANCE_DIR=DIR[:DIR...] cargo test -p tsq-tests --test conformance
//! -- --nocapture` scores other ones: it prints what passes per file and, unless `TSQ_CONFORMANCE_MIN` gives the least
//! share in percent that has to pass, fails nothing. `TSQ_CONFORMANCE_SHOW=1` prints each failure.

mod compare;
mod run;
mod script;
mod series;

use std::path::{Path, PathBuf};

use run::Outcome;

fn scripts_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory entry can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    files
}

fn run_file(file: &Path) -> Vec<Outcome> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let commands = script::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    run::run(&commands)
}

fn file_name(file: &Path) -> String {
    file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[test]
fn our_scripts_pass() {
    let files = scripts_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance"));
    assert!(!files.is_empty(), "there are scripts beside main.rs");
    let mut failures = Vec::new();
    for file in files {
        for outcome in run_file(&file) {
            if let Some(problem) = outcome.problem.or_else(|| outcome.soft.first().cloned()) {
                failures.push(format!("{}:{} {}\n    {problem}", file_name(&file), outcome.line, outcome.expr));
            }
        }
    }
    assert!(failures.is_empty(), "{} queries fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn answers_do_not_depend_on_the_number_of_threads() {
    for file in scripts_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")) {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let commands = script::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let differing = run::differing_answers(&commands);
        assert!(differing.is_empty(), "{}:\n{}", file_name(&file), differing.join("\n"));
    }
}

#[test]
fn other_scripts_are_scored() {
    let Some(directories) = std::env::var_os("TSQ_CONFORMANCE_DIR") else { return };
    let show = std::env::var_os("TSQ_CONFORMANCE_SHOW").is_some();
    let (mut passed, mut total, mut soft) = (0, 0, 0);
    for file in std::env::split_paths(&directories).flat_map(|directory| scripts_in(&directory)) {
        let outcomes = run_file(&file);
        let good = outcomes.iter().filter(|outcome| outcome.problem.is_none()).count();
        let with_soft = outcomes.iter().filter(|outcome| !outcome.soft.is_empty()).count();
        println!("{:32} {good:5}/{:<5} soft {with_soft}", file_name(&file), outcomes.len());
        for outcome in outcomes.iter().filter(|_| show) {
            for problem in outcome.problem.iter().chain(&outcome.soft) {
                println!("    {}:{} {}\n        {problem}", file_name(&file), outcome.line, outcome.expr);
            }
        }
        (passed, total, soft) = (passed + good, total + outcomes.len(), soft + with_soft);
    }
    let share = 100.0 * passed as f64 / total.max(1) as f64;
    println!("passed {passed} of {total} = {share:.2} %, of these with differing texts {soft}");
    if let Some(least) = std::env::var("TSQ_CONFORMANCE_MIN").ok().and_then(|text| text.parse::<f64>().ok()) {
        assert!(share >= least, "{share:.2} % pass, at least {least} % have to");
    }
}
