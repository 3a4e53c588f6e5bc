//! Rules of the repository that no compiler checks: who may depend on whom, documents that speak of what is there, no
//! left-over notes, no endless files.

mod arrows;
mod files;

use std::path::{Path, PathBuf};

use files::{all_files, text_of};
use regex::Regex;

/// Lines of a source file, at most. Most have far fewer.
const LINES_MAX: usize = 1200;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository").to_path_buf()
}

fn fail_with(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:{}", found.iter().fold(String::new(), |all, line| all + "\n  " + line));
}

#[test]
fn dependencies_follow_the_arrows() {
    fail_with("dependencies against the order of the crates", &arrows::violations(&root()));
}

/// Notes to oneself, unfinished code, ignored tests, and paths of somebody's machine. Spelled in parts, so that this
/// file does not find itself.
#[test]
fn nothing_is_left_unfinished() {
    let words: Vec<String> = [("/wo", "rk/"), ("to", "do!("), ("unimple", "mented!("), ("#[ig", "nore")]
        .map(|(head, tail)| format!("{head}{tail}"))
        .into();
    let notes = Regex::new(&format!(r"\b({}|{})\b", ["TO", "DO"].concat(), ["FIX", "ME"].concat())).expect("a regex");
    let mut found = Vec::new();
    for path in all_files(&root()) {
        let Some(text) = text_of(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) || notes.is_match(line) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    fail_with("forbidden words", &found);
}

#[test]
fn no_file_is_endless() {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let lines = |path: &PathBuf| text_of(path).map_or(0, |text| text.lines().count());
    let long = |path: PathBuf| {
        let lines = lines(&path);
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    };
    let found: Vec<String> = all_files(&root()).into_iter().filter(is_source).filter_map(long).collect();
    fail_with(&format!("files of more than {LINES_MAX} lines"), &found);
}

/// README.md and the pages of docs/.
fn documents() -> Vec<PathBuf> {
    let mut documents = files::in_dir(&root().join("docs"), "md");
    documents.extend(Some(root().join("README.md")).filter(|path| path.exists()));
    assert!(!documents.is_empty(), "there are documents");
    documents
}

/// Paths in backticks that begin with a folder of the repository.
#[test]
fn paths_in_documents_exist() {
    let quoted = Regex::new(r"`((?:crates|tests|docs|benches|fuzz|\.ci)/[A-Za-z0-9_./-]*)`").expect("a regex");
    let mut found = Vec::new();
    for document in documents() {
        let text = text_of(&document).expect("a document is text");
        for path in quoted.captures_iter(&text).map(|captures| captures[1].to_owned()) {
            if !root().join(&path).exists() {
                found.push(format!("{}: `{path}`", document.display()));
            }
        }
    }
    fail_with("documents name what is not there", &found);
}

/// Links of one document to another.
#[test]
fn links_in_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)").expect("a regex");
    let mut found = Vec::new();
    for document in documents() {
        let text = text_of(&document).expect("a document is text");
        let dir = document.parent().expect("a document lies in a folder");
        let targets = link.captures_iter(&text).map(|captures| captures[1].to_owned());
        let dead = targets.filter(|target| !dir.join(target).exists());
        found.extend(dead.map(|target| format!("{}: ({target})", document.display())));
    }
    fail_with("documents link to what is not there", &found);
}

/// `--test NAME` and `-p PACKAGE` in the commands of documents.
#[test]
fn commands_in_documents_name_what_exists() {
    let test = Regex::new(r"--test ([a-z0-9_]+)").expect("a regex");
    let package = Regex::new(r"cargo [a-z]+ (?:[^`\n]* )?-p ([a-z0-9-]+)").expect("a regex");
    let tests = files::test_names(&root());
    let packages = arrows::packages(&root());
    let mut found = Vec::new();
    for document in documents() {
        let text = text_of(&document).expect("a document is text");
        for (names, pattern) in [(&tests, &test), (&packages, &package)] {
            let unknown = pattern.captures_iter(&text).map(|captures| captures[1].to_owned());
            found.extend(
                unknown.filter(|name| !names.contains(name)).map(|name| format!("{}: {name}", document.display())),
            );
        }
    }
    fail_with("documents name tests or packages that are not there", &found);
}
