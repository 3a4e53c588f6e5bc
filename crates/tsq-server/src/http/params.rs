//! Request parameters: the query string and, for POST, the form. As in Prometheus a form's values come first.

use crate::http::error::ApiError;

/// Names and values, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Adds the pairs of a query string or form.
    pub(crate) fn parse(&mut self, encoded: &[u8]) -> Result<(), ApiError> {
        for pair in encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(halves.next().unwrap_or_default(), true)?;
            let value = decode(halves.next().unwrap_or_default(), true)?;
            self.0.push((name, value));
        }
        Ok(())
    }

    /// First value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(n, _)| n == name)?;
        Some(first.1.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes `%41` and, in forms and query strings, `+`.
pub(crate) fn decode(encoded: &[u8], plus_is_blank: bool) -> Result<String, ApiError> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let digit = |at: usize| tail.get(at).and_then(|&digit| (digit as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    let shown = String::from_utf8_lossy(&tail[..tail.len().min(2)]);
                    return Err(ApiError::bad_data(format!("invalid URL escape \"%{shown}\" in the parameters")));
                };
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            b'+' if plus_is_blank => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|error| {
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        ApiError::bad_data(format!("invalid UTF-8 in the parameters: {shown:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_forms_win() {
        let mut params = Params::default();
        params.parse(b"query=a%2Bb+c&match[]=x&empty=&&flag").unwrap();
        params.parse("query=later&match%5B%5D=%C3%A9".as_bytes()).unwrap();
        assert_eq!(params.get("query"), Some("a+b c"));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["x", "é"]);
        assert_eq!((params.get("empty"), params.get("flag"), params.get("none")), (None, None, None));
    }

    #[test]
    fn broken_escapes_are_named() {
        for (bad, text) in [("a=%zz", "%zz"), ("a=%", "\"%\""), ("a=%4", "%4"), ("a=%ff", "UTF-8")] {
            let error = Params::default().parse(bad.as_bytes()).unwrap_err();
            assert!(error.message.contains(text), "{bad}: {}", error.message);
        }
    }
}
