//! JSON as Python's trackers write it: RFC 8259, and the bare tokens `NaN`, `Infinity` and `-Infinity`.

use std::fmt;

/// Arrays and objects inside one another.
const DEPTH_MAX: usize = 128;

/// A value. Integers keep all their digits, objects their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` and `false`
    Bool(bool),
    /// A number without fraction and exponent that fits.
    Integer(i64),
    /// A longer integer, as it is written.
    BigInteger(String),
    /// Any other number, NaN and infinities among them.
    Float(f64),
    /// A text, without its escapes.
    Text(String),
    /// An array.
    Array(Vec<Value>),
    /// An object. Of equal keys the last one counts.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Reads a text that is one value. O(bytes).
    ///
    /// # Errors
    /// The text is no JSON, or nested deeper than 128 levels.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let value = parser.value()?;
        parser.space();
        if parser.at < text.len() {
            return Err(parser.expected("the end"));
        }
        Ok(value)
    }

    /// What an object holds under a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets what an object holds at a path of keys. What stands in the way and is no object is replaced by one. An empty
    /// path does nothing.
    pub fn set<K: AsRef<str>>(&mut self, path: &[K], value: Self) {
        let Some((key, rest)) = path.split_first() else { return };
        let slot = self.slot(key.as_ref());
        match rest {
            [] => *slot = value,
            _ => slot.set(rest, value),
        }
    }

    /// Removes what an object holds at a path of keys.
    pub fn remove<K: AsRef<str>>(&mut self, path: &[K]) {
        let (Self::Object(fields), Some((key, rest))) = (self, path.split_first()) else { return };
        match rest {
            [] => fields.retain(|(name, _)| name != key.as_ref()),
            _ => fields.iter_mut().filter(|(name, _)| name == key.as_ref()).for_each(|(_, value)| value.remove(rest)),
        }
    }

    fn slot(&mut self, key: &str) -> &mut Self {
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(Vec::new());
        }
        let Self::Object(fields) = self else { unreachable!("it was made an object") };
        let index = fields.iter().rposition(|(name, _)| name == key).unwrap_or_else(|| {
            fields.push((key.to_owned(), Self::Null));
            fields.len() - 1
        });
        &mut fields[index].1
    }

    /// The value when it is a text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value when it is a number that a float holds exactly.
    pub fn as_exact_float(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            Self::Integer(value) if value.unsigned_abs() <= 1 << 53 => Some(value as f64),
            _ => None,
        }
    }

    /// The value when it is an integer, written as `7` or `7.0`.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Self::Integer(value) => Some(value),
            Self::Float(value) if value.fract() == 0.0 && value.abs() <= (1_i64 << 53) as f64 => Some(value as i64),
            _ => None,
        }
    }
}

/// Strict JSON on one line: NaN and infinities become the texts `"NaN"`, `"Infinity"` and `"-Infinity"`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::BigInteger(digits) => f.write_str(digits),
            Self::Float(value) if value.is_nan() => f.write_str("\"NaN\""),
            Self::Float(value) if value.is_infinite() => {
                write!(f, "\"{}Infinity\"", if *value < 0.0 { "-" } else { "" })
            }
            // The shortest text that reads back as the same float.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write_text(f, text),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(fields) => {
                f.write_str("{")?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    write_text(f, key)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        f.write_str(&text[plain..at])?;
        plain = at + 1;
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            _ => write!(f, "\\u{byte:04x}")?,
        }
    }
    f.write_str(&text[plain..])?;
    f.write_str("\"")
}

/// Text that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte of the text.
    pub offset: usize,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of the JSON: {}", self.offset, self.message)
    }
}

impl std::error::Error for JsonError {}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn space(&mut self) {
        let spaces = self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += spaces;
    }

    #[cold]
    fn error(&self, message: impl Into<String>) -> JsonError {
        JsonError { offset: self.at, message: message.into() }
    }

    #[cold]
    fn expected(&self, what: &str) -> JsonError {
        // Errors are found at the beginning of a character.
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        match found {
            Some(found) => self.error(format!("expected {what}, found {found:?}")),
            None => self.error(format!("expected {what}, found the end")),
        }
    }

    /// Takes a byte if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self) -> Result<Value, JsonError> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.word("true") => Ok(Value::Bool(true)),
            _ if self.word("false") => Ok(Value::Bool(false)),
            _ if self.word("null") => Ok(Value::Null),
            _ if self.word("NaN") => Ok(Value::Float(f64::NAN)),
            _ if self.word("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ => Err(self.expected("a value")),
        }
    }

    /// Reads what begins with a bracket.
    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, JsonError>) -> Result<Value, JsonError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.expected("\",\" or \"]\""));
            }
        }
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut fields = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key"));
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(self.expected("\":\""));
            }
            fields.push((key, self.value()?));
            self.space();
            if self.take(b'}') {
                return Ok(Value::Object(fields));
            }
            if !self.take(b',') {
                return Err(self.expected("\",\" or \"}\""));
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.take(b'-');
        if self.word("Infinity") {
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        if !self.take(b'0') {
            self.digits()?;
        }
        let mut whole = true;
        if self.take(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            whole = false;
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if !whole {
            return Ok(Value::Float(text.parse().expect("the grammar of JSON is part of that of Rust's floats")));
        }
        match text.parse() {
            // The integers have no negative zero.
            Ok(0) if text.starts_with('-') => Ok(Value::Float(-0.0)),
            Ok(value) => Ok(Value::Integer(value)),
            Err(_) => Ok(Value::BigInteger(text.to_owned())),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.expected("a digit"));
        }
        self.at += count;
        Ok(())
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let plain = self.rest().iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count();
            out.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.expected("the end of a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let simple = match self.peek() {
            Some(b'u') => return self.unicode(start),
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// Half of a surrogate pair that stands alone, as Python writes it, becomes the replacement character.
    fn unicode(&mut self, start: usize) -> Result<char, JsonError> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with(b"\\u") {
            let back = self.at;
            self.at += 1;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).ok_or_else(|| JsonError { offset: start, message: "no character".into() });
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The four digits after `u`, which comes next.
    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.rest().get(1..5).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else { return Err(self.expected("four hexadecimal digits")) };
        self.at += 5;
        Ok(digits.iter().fold(0, |code, &digit| code << 4 | char::from(digit).to_digit(16).expect("it is a digit")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_what_they_are() {
        let value =
            Value::parse(r#"[0, -0, 7, 7.0, 1e3, 9007199254740993, 99999999999999999999, 5e-324, NaN, -Infinity]"#);
        let Value::Array(items) = value.unwrap() else { panic!("an array") };
        assert_eq!(items[0], Value::Integer(0));
        assert!(matches!(items[1], Value::Float(zero) if zero.to_bits() == (-0.0_f64).to_bits()));
        assert_eq!((&items[2], &items[3], &items[4]), (&Value::Integer(7), &Value::Float(7.0), &Value::Float(1000.0)));
        assert_eq!((items[5].as_exact_float(), items[5].as_integer()), (None, Some(9_007_199_254_740_993)));
        assert_eq!(items[6], Value::BigInteger("99999999999999999999".into()));
        assert_eq!(items[7], Value::Float(5e-324));
        assert!(items[8].as_exact_float().unwrap().is_nan());
        assert_eq!(items[9], Value::Float(f64::NEG_INFINITY));
    }

    #[test]
    fn texts_and_objects() {
        let text = r#" {"a":"x\n\"\u00e4\ud83d\ude00\ud83d!", "b" : {"c":[true,false,null]}, "a":1} "#;
        let mut value = Value::parse(text).unwrap();
        assert_eq!(value.get("a"), Some(&Value::Integer(1)));
        assert_eq!(value.to_string(), "{\"a\":\"x\\n\\\"ä😀\u{fffd}!\",\"b\":{\"c\":[true,false,null]},\"a\":1}");
        value.set(&["b", "c", "d"], Value::Float(f64::NAN));
        value.remove(&["a"]);
        assert_eq!(value.to_string(), r#"{"b":{"c":{"d":"NaN"}}}"#);
    }

    #[test]
    fn errors_say_where() {
        for (text, offset) in [
            ("", 0),
            ("[1,]", 3),
            ("{\"a\" 1}", 5),
            ("{a:1}", 1),
            ("01", 1),
            ("1.", 2),
            ("\"a\u{1}\"", 2),
            ("\"\\x\"", 2),
            ("\"\\u12\"", 2),
            ("nan", 0),
            ("- 1", 1),
            ("1 ä", 2),
        ] {
            assert_eq!(Value::parse(text).unwrap_err().offset, offset, "{text:?}");
        }
        let deep = "[".repeat(1_000_000);
        assert_eq!(Value::parse(&deep).unwrap_err().message, "more than 128 levels");
    }

    proptest! {
        /// What is written reads back, and no text panics.
        #[test]
        fn round_trip(text in "[\\[\\]{}\",:0-9eEu\\\\. äa-f-]{0,40}", float in any::<f64>(), integer in any::<i64>(), string in ".*") {
            let _ = Value::parse(&text);
            let fields = vec![
                ("i".to_owned(), Value::Integer(integer)),
                (string.clone(), Value::Array(vec![Value::Text(string), Value::Bool(true), Value::Null])),
            ];
            let value = Value::Object(fields);
            prop_assert_eq!(&Value::parse(&value.to_string()).unwrap(), &value);
            let read = Value::parse(&Value::Float(float).to_string()).unwrap();
            if float.is_finite() {
                prop_assert!(matches!(read, Value::Float(read) if read.to_bits() == float.to_bits()));
            }
        }
    }
}
