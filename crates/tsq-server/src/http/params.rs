//! Request parameters: the query string and, for POST and PUT, the form. As in Prometheus a form's values come first,
//! and a pair that cannot be decoded is left out.

use crate::http::error::ApiError;

/// Names and values, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    pairs: Vec<Pair>,
    /// What was wrong with the first pair that was left out.
    problem: Option<String>,
}

#[derive(Clone, Debug)]
struct Pair {
    name: String,
    /// With replacement characters where it was not UTF-8.
    value: String,
    /// Where the value stops being UTF-8.
    bad_at: Option<usize>,
}

impl Params {
    /// Adds the pairs of a query string or form.
    pub(crate) fn parse(&mut self, encoded: &[u8]) {
        for pair in encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            match decode_pair(pair) {
                Ok(pair) => self.pairs.push(pair),
                Err(problem) => _ = self.problem.get_or_insert(problem),
            }
        }
    }

    /// Fails if a pair was left out. Endpoints ask for it where Prometheus's do.
    pub(crate) fn check_form(&self) -> Result<(), ApiError> {
        let failure = |problem| Err(ApiError::bad_data(format!("error parsing form values: {problem}")));
        self.problem.as_ref().map_or(Ok(()), failure)
    }

    /// First value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.pairs.iter().find(|pair| pair.name == name)?;
        Some(first.value.as_str()).filter(|value| !value.is_empty())
    }

    /// First value of a parameter that holds a query or selector, empty when there is none.
    pub(crate) fn query_text(&self, name: &str) -> Result<&str, ApiError> {
        let first = self.pairs.iter().find(|pair| pair.name == name);
        first.map_or(Ok(""), Pair::text)
    }

    /// All values of a parameter that holds queries or selectors.
    pub(crate) fn query_texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Result<&'a str, ApiError>> {
        self.pairs.iter().filter(move |pair| pair.name == name).map(Pair::text)
    }
}

impl Pair {
    fn text(&self) -> Result<&str, ApiError> {
        let Some(at) = self.bad_at else { return Ok(&self.value) };
        Err(ApiError::parameter(&self.name, format!("parse error: invalid UTF-8 at byte {}", at + 1)))
    }
}

/// Why something encoded cannot be decoded, in Go's words.
fn decode_pair(pair: &[u8]) -> Result<Pair, String> {
    if pair.contains(&b';') {
        return Err("invalid semicolon separator in query".to_owned());
    }
    let mut halves = pair.splitn(2, |&byte| byte == b'=');
    let name = decode(halves.next().unwrap_or_default(), true)?;
    let value = decode(halves.next().unwrap_or_default(), true)?;
    let bad_at = std::str::from_utf8(&value).err().map(|error| error.valid_up_to());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Pair { name: text(name), value: text(value), bad_at })
}

/// Decodes `%41` and, in forms and query strings, `+`.
///
/// # Errors
/// The escape that is none.
pub(crate) fn decode(encoded: &[u8], plus_is_blank: bool) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let digit = |at: usize| tail.get(at).and_then(|&digit| (digit as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let shown = String::from_utf8_lossy(&tail[..tail.len().min(2)]);
                    return Err(format!("invalid URL escape \"%{shown}\""));
                };
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            b'+' if plus_is_blank => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_forms_win() {
        let mut params = Params::default();
        params.parse(b"query=a%2Bb+c&match[]=x&empty=&&flag");
        params.parse("query=later&match%5B%5D=%C3%A9".as_bytes());
        assert_eq!((params.get("query"), params.query_text("query")), (Some("a+b c"), Ok("a+b c")));
        assert_eq!(params.query_texts("match[]").collect::<Vec<_>>(), [Ok("x"), Ok("é")]);
        assert_eq!((params.get("empty"), params.get("flag"), params.get("none")), (None, None, None));
        assert!(params.check_form().is_ok());
    }

    #[test]
    fn broken_pairs_are_left_out_and_named() {
        for (bad, text) in [("%zz", "URL escape \"%zz\""), ("%", "\"%\""), ("%4", "\"%4\""), ("x;b=2", "semicolon")] {
            let mut params = Params::default();
            params.parse(format!("query=1&a={bad}&c=3").as_bytes());
            assert_eq!((params.get("query"), params.get("a"), params.get("c")), (Some("1"), None, Some("3")));
            let error = params.check_form().unwrap_err();
            assert!(error.message.contains(text), "{bad}: {}", error.message);
        }
    }

    #[test]
    fn queries_are_utf_8() {
        let mut params = Params::default();
        params.parse(b"query=ab%ff&match[]=x&match[]=%c3");
        assert_eq!(params.get("query"), Some("ab\u{fffd}"));
        let error = params.query_text("query").unwrap_err();
        assert_eq!(error.message, "invalid parameter \"query\": parse error: invalid UTF-8 at byte 3");
        assert_eq!(params.query_texts("match[]").filter(Result::is_ok).count(), 1);
    }
}
