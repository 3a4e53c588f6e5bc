//! Patterns of LIKE and ILIKE.

/// Whether a value matches a pattern in which `%` stands for any text and `_` for one character. Time grows with the
/// product of the lengths at most.
pub(crate) fn like(pattern: &str, value: &str, ignore_case: bool) -> bool {
    if ignore_case {
        return matches(&chars(&pattern.to_lowercase()), &chars(&value.to_lowercase()));
    }
    matches(&chars(pattern), &chars(value))
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn matches(pattern: &[char], value: &[char]) -> bool {
    let (mut p, mut v) = (0, 0);
    // Where to go on when what follows the last `%` does not fit: one more character belongs to it.
    let mut retry: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p + 1, v));
                p += 1;
            }
            Some(&c) if c == '_' || c == value[v] => {
                p += 1;
                v += 1;
            }
            _ => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                (p, v) = (after, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, value, want) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("A%", "abc", false),
            ("%ab%ab", "abxab", true),
            ("%ab_ab", "ababxab", true),
            ("%a", "ab", false),
            ("_", "ä", true),
        ] {
            assert_eq!(like(pattern, value, false), want, "{pattern} {value}");
        }
        assert!(like("A%É", "abcé", true));
    }
}
