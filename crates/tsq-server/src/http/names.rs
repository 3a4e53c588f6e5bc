//! Names that are no legacy names, as Prometheus escapes them in paths: `U__my_2e_name`.

/// The name that an escaped one stands for; any other text as it is.
///
/// After `U__`, `__` is an underscore and `_2e_` the character with that hexadecimal number.
pub(crate) fn unescape(text: &str) -> String {
    text.strip_prefix("U__").and_then(unescape_rest).unwrap_or_else(|| text.to_owned())
}

fn unescape_rest(mut rest: &str) -> Option<String> {
    let mut name = String::with_capacity(rest.len());
    while let Some((plain, escaped)) = rest.split_once('_') {
        name.push_str(plain);
        let (number, tail) = escaped.split_once('_')?;
        if number.is_empty() {
            name.push('_');
        } else if number.len() <= 6 && number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            name.push(char::from_u32(u32::from_str_radix(number, 16).ok()?)?);
        } else {
            return None;
        }
        rest = tail;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names() {
        for (text, want) in [
            ("job", "job"),
            ("U__my_2e_name", "my.name"),
            ("U__a__b", "a_b"),
            ("U___1f4A9_x", "💩x"),
            ("U__", ""),
            ("U__bad_2e", "U__bad_2e"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__bad_d800_", "U__bad_d800_"),
            ("U__bad_+1_", "U__bad_+1_"),
        ] {
            assert_eq!(unescape(text), want, "{text}");
        }
    }
}
