//! No text makes the parser panic, and what it accepts prints to text that means the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_promql::{format, parse, parse_selector};

fuzz_target!(|text: &str| {
    let _ = parse_selector(text);
    match parse(text) {
        Ok(expr) => {
            let printed = expr.to_string();
            for again in [&printed, &format(&expr)] {
                let again = parse(again).unwrap_or_else(|error| panic!("{text:?} printed as {again:?}: {error}"));
                assert_eq!(again.to_string(), printed, "from {text:?}");
                assert_eq!(again.value_type(), expr.value_type(), "from {text:?}");
            }
        }
        Err(error) => assert!(text.get(error.range.start..error.range.end).is_some(), "{text:?}: {error:?}"),
    }
});
