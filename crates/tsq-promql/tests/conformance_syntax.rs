//! Every query of the conformance scripts parses, unless the script says that it must not.
//!
//! The scripts are not part of the repository: `TSQ_CONFORMANCE_DIR` names their folder, else `../shared/conformance`
//! beside the repository is tried. Says loudly when there is nothing to check.

use std::fs;
use std::path::{Path, PathBuf};

use tsq_promql::{format, parse};

struct Eval {
    place: String,
    query: String,
    /// The query must not succeed; the script may expect it to parse and fail later.
    fails: bool,
}

fn scripts_dir() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let dir = std::env::var_os("TSQ_CONFORMANCE_DIR").map_or(beside, PathBuf::from);
    dir.is_dir().then_some(dir)
}

fn scripts(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "test") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The query of an `eval` line: what follows the times.
fn query(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("eval").filter(|rest| rest.starts_with([' ', '\t', '_']))?;
    for word in ["_fail", "_ordered", "_warn", "_info"] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.trim_start();
    let times = if rest.starts_with("instant") { 3 } else { 7 };
    rest.splitn(times + 1, [' ', '\t']).nth(times)
}

fn evals(path: &Path) -> Vec<Eval> {
    let text = fs::read_to_string(path).expect("a readable script");
    let mut found: Vec<Eval> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(query) = query(line.trim_start()) {
            let place = format!("{}:{}", path.display(), index + 1);
            let fails = line.trim_start().starts_with("eval_fail");
            found.push(Eval { place, query: query.to_owned(), fails });
        } else if line.trim_start().starts_with("expect fail") {
            found.last_mut().expect("an eval before `expect fail`").fails = true;
        }
    }
    found
}

#[test]
fn scripts_parse() {
    let Some(dir) = scripts_dir() else {
        eprintln!("NOT RUN: no conformance scripts; set TSQ_CONFORMANCE_DIR to their folder");
        return;
    };
    let (mut parsed, mut refused, mut wrong) = (0, 0, Vec::new());
    for eval in scripts(&dir).iter().flat_map(|path| evals(path)) {
        match parse(&eval.query) {
            Ok(expr) => {
                parsed += 1;
                for printed in [expr.to_string(), format(&expr)] {
                    match parse(&printed) {
                        Ok(again) if again.to_string() == expr.to_string() => {}
                        Ok(again) => wrong.push(format!("{}: {expr} became {again}", eval.place)),
                        Err(error) => wrong.push(format!("{}: printed as {printed}: {error}", eval.place)),
                    }
                }
            }
            Err(_) if eval.fails => refused += 1,
            Err(error) => wrong.push(format!("{}: {error}\n    {}", eval.place, eval.query)),
        }
    }
    eprintln!("conformance scripts in {}: {parsed} queries parsed, {refused} refused as expected", dir.display());
    assert!(parsed > 0, "no queries in {}", dir.display());
    assert!(wrong.is_empty(), "{} queries:\n{}", wrong.len(), wrong.join("\n"));
}
