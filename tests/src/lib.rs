//! Tests of tsq across crate boundaries, and what they share.

#![forbid(unsafe_code)]

use std::io::Write;

pub mod answers;
pub mod batches;
pub mod http;
pub mod ledger;
pub mod process;
pub mod prometheus;
pub mod random;
pub mod server;

/// A number from an environment variable; `default` where it is not set.
///
/// # Panics
/// When it is set to something else: a typing error must not weaken a test.
pub fn number_from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
        Err(_) => default,
    }
}

/// Says loudly that a test did not run; fails where every test has to run (`TSQ_TEST_REQUIRE=1`).
///
/// # Panics
/// When `TSQ_TEST_REQUIRE` is 1.
pub fn not_run(why: &str) {
    // Not `eprintln`, which is not shown when a test passes, and nothing depends on whether it can be said.
    let _ = writeln!(std::io::stderr(), "\nNOT RUN: {why}\n");
    let required = std::env::var("TSQ_TEST_REQUIRE").is_ok_and(|text| text == "1");
    assert!(!required, "this test has to run here (TSQ_TEST_REQUIRE=1), but: {why}");
}
