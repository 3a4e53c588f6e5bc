//! No pattern makes the regex translation panic, and what is known of a pattern agrees with how it matches.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_promql::compile_pattern;

fuzz_target!(|input: (&str, &str)| {
    let (source, value) = input;
    let Ok(pattern) = compile_pattern(source) else { return };
    if pattern.is_match(value) {
        assert!(value.starts_with(pattern.prefix()), "{source:?} matches {value:?}");
    }
    for literal in pattern.literals().unwrap_or_default() {
        assert!(pattern.is_match(literal), "{source:?} does not match its literal {literal:?}");
    }
    // In a group, the pattern means the same.
    if let Ok(grouped) = compile_pattern(&format!("(?:{source})")) {
        assert_eq!(grouped.is_match(value), pattern.is_match(value), "{source:?} on {value:?}");
    }
});
