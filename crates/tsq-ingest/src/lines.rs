//! Lines of a file, one at a time, of bounded length.

use std::io::{BufRead, Read};

use crate::error::{ImportError, ParseError};
use crate::format::Input;

pub(crate) struct Lines {
    input: Input,
    buffer: Vec<u8>,
    number: u64,
    len_max: u64,
}

impl Lines {
    pub(crate) fn new(input: Input, len_max: u64) -> Self {
        Self { input, buffer: Vec::new(), number: 0, len_max }
    }

    /// The next line with its number, without its line feed.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &str)>, ImportError> {
        self.buffer.clear();
        self.number += 1;
        let len = (&mut self.input).take(self.len_max + 1).read_until(b'\n', &mut self.buffer)?;
        if len == 0 {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if len as u64 > self.len_max {
            let message = format!("the line is longer than {} bytes", self.len_max);
            return Err(ParseError::new(self.number, self.len_max, message).into());
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(line) => Ok(Some((self.number, line))),
            Err(error) => {
                let valid = String::from_utf8_lossy(&self.buffer[..error.valid_up_to()]).chars().count();
                Err(ParseError::new(self.number, valid as u64 + 1, "the line is not valid UTF-8").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &'static [u8], len_max: u64) -> Result<Vec<String>, String> {
        let mut lines = Lines::new(Box::new(input), len_max);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().map_err(|error| error.to_string())? {
            assert_eq!(number, all.len() as u64 + 1);
            all.push(line.to_owned());
        }
        Ok(all)
    }

    #[test]
    fn lines_are_bounded_and_utf8() {
        assert_eq!(all(b"a\n\nbc", 2).unwrap(), ["a", "", "bc"]);
        assert_eq!(all(b"a\nbc\n", 2).unwrap(), ["a", "bc"]);
        assert_eq!(all(b"a\nbcd\n", 2).unwrap_err(), "line 2, column 2: the line is longer than 2 bytes");
        assert_eq!(all(b"ok\n\xc3\xa9\xff", 9).unwrap_err(), "line 2, column 2: the line is not valid UTF-8");
    }
}
