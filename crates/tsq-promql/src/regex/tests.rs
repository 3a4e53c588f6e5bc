use super::*;

fn matches(pattern: &str, value: &str) -> bool {
    compile_pattern(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).is_match(value)
}

fn engine_of(pattern: &str) -> Result<regex::Regex, String> {
    compile_captures(pattern, &mut PatternBudget::default())
}

#[test]
fn classes_are_ascii() {
    for (pattern, yes, no) in [
        (r"\d+", "09", "٣"),
        (r"\w+", "aZ_0", "é"),
        (r"\s", "\t", "\u{b}"),
        (r"\s", " ", "\u{a0}"),
        (r"\S", "é", " "),
        (r"[\d]", "5", "٣"),
        (r"[\D]", "٣", "5"),
        (r"[[:alpha:]]+", "ab", "é"),
        (r"[[:^alpha:]]+", "12", "ab"),
        (r"[^\w]", "é", "e"),
        (r".*\bfoo\b.*", "éfoo bar", "efoo bar"),
        (r"a\Bb", "ab", "a b"),
        (r"\pL+", "éa", "1"),
        (r"\p{Greek}", "α", "a"),
        (r"\p{^Greek}", "a", "α"),
        (r"\PN", "a", "1"),
        (r"[\p{Lu}1]+", "A1", "a"),
    ] {
        assert!(matches(pattern, yes), "{pattern} on {yes:?}");
        assert!(!matches(pattern, no), "{pattern} on {no:?}");
    }
}

/// What the regex crate reads as set operations are plain characters in Go.
#[test]
fn set_operators_are_characters() {
    for (pattern, yes, no) in [
        (r"[a&&b]+", "a&b", "c"),
        (r"[a~~b]+", "a~b", "c"),
        (r"[[a]+", "[a", "]"),
        (r"[[a]]", "[]", "a"),
        (r"[]a]+", "]a", "b"),
        (r"[^]a]+", "b", "]"),
        (r"[a-]+", "a-", "b"),
        (r"[+--]+", "+,-", "."),
        (r"[\]\-\^]+", "]-^", "\\"),
    ] {
        assert!(matches(pattern, yes), "{pattern} on {yes:?}");
        assert!(!matches(pattern, no), "{pattern} on {no:?}");
    }
}

#[test]
fn whole_values_and_line_breaks() {
    assert!(!matches("b", "abc"));
    assert!(matches("a.c", "a\nc"));
    assert!(!matches("(?-s)a.c", "a\nc"));
    assert!(matches("a.*c", "a\n\nc"));
    assert!(matches("a|bc", "bc"));
    assert!(!matches("a|bc", "ac"));
    assert!(matches("^foo$", "foo"));
    assert!(matches("^(foo|bar)$", "bar"));
    assert!(!matches("foo^bar", "foobar"));
    assert!(matches("(?m)foo\n^bar$", "foo\nbar"));
    assert!(matches(r"\Afoo\z", "foo"));
    assert!(matches("", ""));
    assert!(!matches("", "a"));
    assert!(matches("(?i)FOO-.+", "foo-ß"));
    assert!(matches("a(?i)b(?-i)c", "aBc"));
    assert!(!matches("a(?i)b(?-i)c", "aBC"));
    assert!(matches("(a(?i)b)c", "aBc"));
    assert!(!matches("(a(?i)b)c", "aBC"));
}

#[test]
fn literals_in_other_spellings() {
    assert!(matches(r"\Qa.b*\E+", "a.b**"));
    assert!(matches(r"\Qa.b", "a.b"));
    assert!(matches(r"\x41\x{1F600}\101\n\.\_", "A😀A\n._"));
    assert!(matches(r"a{,2}", "a{,2}"));
    assert!(matches(r"a{x}", "a{x}"));
    assert!(matches(r"a{01}", "a{01}"));
    assert!(matches(r"}]", "}]"));
    assert!(matches(r"#&-~<>", "#&-~<>"));
    assert!(matches(r"a{2,3}?", "aaa"));
    assert!(!matches(r"a{2,3}", "a"));
    assert!(matches(r"(?P<x>a)(?<y>b)(?:c)", "abc"));
}

#[test]
fn refused_as_go_refuses() {
    let nested = "((a{10}){10}){11}";
    for (pattern, want) in [
        ("(.*", "missing closing ): `(.*`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[]", "missing closing ]: `[]`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{2}{3}b", "invalid nested repetition operator: `{2}{3}`"),
        ("a{1,1001}", "invalid repeat count: `{1,1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        (nested, "invalid repeat count: `{11}`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Nosuch}", r"invalid character class range: `\p{Nosuch}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?R)a", "invalid or unsupported Perl syntax: `(?R`"),
        ("(?u)a", "invalid or unsupported Perl syntax: `(?u`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
    ] {
        let error = compile_pattern(pattern).expect_err(pattern);
        assert_eq!(error, format!("error parsing regexp: {want}"), "{pattern}");
    }
}

#[test]
fn bounds() {
    assert!(compile_pattern(&"a".repeat(4096)).is_ok());
    assert!(compile_pattern(&"a".repeat(4097)).unwrap_err().contains("expression too large"));
    let deep = |levels| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    assert!(compile_pattern(&deep(250)).is_ok());
    assert!(compile_pattern(&deep(251)).unwrap_err().contains("nests too deeply"));
    let deep_repeat = format!("{}a.{}", "(?:(?i)b|".repeat(250), ")+".repeat(250));
    assert!(matches(&deep_repeat, "ax"));
    assert!(compile_pattern(r"\pL{1000}").unwrap_err().contains("expression too large"));
    assert!(matches(".{1,1000}x", "ax"));
}

/// A query of 16 KiB has room for a thousand patterns of nearly 1 MiB each.
#[test]
fn patterns_of_a_query_are_bounded_together() {
    let selector = |count: usize, pattern: &str| {
        let matchers: Vec<String> = (0..count).map(|at| format!("l{at}=~\"{pattern}\"")).collect();
        format!("{{{}}}", matchers.join(","))
    };
    assert!(crate::parse(&selector(5, r"\\pL{10}x")).is_ok());
    let error = crate::parse(&selector(500, r"\\pL{10}x")).unwrap_err().to_string();
    assert!(
        error.ends_with(r"the regular expressions of one query take more than 8388608 bytes, with `\pL{10}x`"),
        "{error}"
    );
    assert!(crate::parse(&selector(300, "[^x]y*")).is_ok());
    assert!(crate::parse(&selector(1000, "a|b.*")).is_err());
    assert!(crate::parse(&selector(1000, "a|b|c")).is_ok());
    assert!(crate::parse(&selector(1000, "a.*")).is_ok());
}

#[test]
fn literal_sets() {
    for (pattern, want) in [
        ("a|b|c", &["a", "b", "c"][..]),
        ("(foo|bar)(-x)?", &["bar", "bar-x", "foo", "foo-x"]),
        ("host-[0-2]", &["host-0", "host-1", "host-2"]),
        ("^(a|)$", &["", "a"]),
        (r"a\.b", &["a.b"]),
        (r"(?i)1\.2", &["1.2"]),
        ("b|a|b", &["a", "b"]),
    ] {
        let compiled = compile_pattern(pattern).unwrap();
        assert_eq!(compiled.literals().unwrap(), want, "{pattern}");
        assert!(want.iter().all(|value| compiled.is_match(value)), "{pattern}");
        assert!(!compiled.is_match("host-3"), "{pattern}");
    }
    for pattern in ["a.*", "a+", "(?i)a", "[^a]", r"\pL", "[a-z][a-z][a-z]", "a$b"] {
        assert!(compile_pattern(pattern).unwrap().literals().is_none(), "{pattern}");
    }
}

#[test]
fn prefixes() {
    for (pattern, want) in [
        ("foo.*", "foo"),
        ("foo", "foo"),
        ("foo|fob", "fo"),
        ("(fo)(o.+)", "foo"),
        ("fo+", "fo"),
        ("(?i)foo.*", ""),
        (".*foo", ""),
        ("^foo[^x]+$", "foo"),
        ("(foo.*|foobar)", ""),
    ] {
        assert_eq!(compile_pattern(pattern).unwrap().prefix(), want, "{pattern}");
    }
}

/// The shapes that need no engine agree with the engine.
#[test]
fn shapes_agree_with_the_engine() {
    let patterns =
        ["a.*", ".*a", ".*", ".+", "a.*b", ".*ab.*", "a.*b.*a", "a|b", "", "(a|b)b?", ".*a.*b.*", "a.*a", "^.*$"];
    let values = ["", "a", "b", "ab", "ba", "aba", "abba", "bab", "a\nb", "xaxbx"];
    for pattern in patterns {
        let (shape, engine) = (compile_pattern(pattern).unwrap(), engine_of(pattern).unwrap());
        for value in values {
            assert_eq!(shape.is_match(value), engine.is_match(value), "{pattern} on {value:?}");
        }
    }
}

#[test]
fn captures() {
    let regex = engine_of("(.*)-(?P<name>[a-z]+)").unwrap();
    let captures = regex.captures("foo-bar").unwrap();
    assert_eq!((&captures[1], &captures["name"]), ("foo", "bar"));
    assert!(engine_of("(?P<1a>x)").unwrap().is_match("x"));
    let twice = engine_of("(?P<x>a)(?P<x>b)").unwrap();
    assert_eq!(&twice.captures("ab").unwrap()["x"], "a");
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No pattern panics, and what Go's syntax accepts the regex crate accepts.
        #[test]
        fn compiles_or_is_refused(pattern in "[-a-c0-3\\\\(){}\\[\\]|*+?.,^$:<>PQEimsUdDwpLxz&~]{0,24}", value in "[a-c]{0,4}") {
            match compile_pattern(&pattern) {
                Ok(compiled) => {
                    let engine = engine_of(&pattern).unwrap();
                    prop_assert_eq!(compiled.is_match(&value), engine.is_match(&value));
                    if engine.is_match(&value) {
                        prop_assert!(value.starts_with(compiled.prefix()));
                    }
                }
                Err(error) => prop_assert!(!error.contains("expression too large"), "{}", error),
            }
        }

        #[test]
        fn literals_match_themselves(text in "\\PC{0,12}") {
            let quoted: String = text.chars().flat_map(|c| {
                let escape = c.is_ascii_punctuation().then_some('\\');
                escape.into_iter().chain([c])
            }).collect();
            let compiled = compile_pattern(&quoted).unwrap();
            prop_assert_eq!(compiled.literals().unwrap(), &[text.clone()][..]);
            prop_assert!(engine_of(&quoted).unwrap().is_match(&text));
        }
    }
}

#[test]
fn wildcards_match_as_the_engine_does() {
    let patterns = [
        "a.",
        ".a",
        "a.b",
        "..",
        ".+",
        "a.+",
        ".+a",
        ".+.+",
        "a.+b.*",
        ".*a.b.*a",
        "a..+b",
        ".{2}a",
        ".{2,}",
        "a.*b.c",
        "b.+a.",
        "(a.c)",
        "^a.$",
        ".*é.",
        "..é.*",
        ".*.a.",
        "a.*.",
        ".*ab.*ab.",
        "a.{3}.*a",
    ];
    let mut values = vec![String::new()];
    for at in 0.. {
        if values[at].chars().count() == 5 {
            break;
        }
        for c in ["a", "b", "c", "é"] {
            values.push(format!("{}{c}", values[at]));
        }
    }
    values.push("a\nb".to_owned());
    for pattern in patterns {
        let node = parsed(pattern).unwrap();
        assert!(!matches!(shape::shape_without_engine(&node), None | Some(Shape::Engine(_))), "{pattern}");
        let engine = engine(pattern, &node, &mut PatternBudget::default()).unwrap();
        let compiled = compile_pattern(pattern).unwrap();
        for value in &values {
            assert_eq!(compiled.is_match(value), engine.is_match(value), "{pattern} on {value:?}");
        }
    }
}
