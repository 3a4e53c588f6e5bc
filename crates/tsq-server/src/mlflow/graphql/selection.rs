//! The part of GraphQL's syntax that questions of pages use: one operation, fields, aliases, arguments, directives, and
//! fragments within.

use serde_json::{Map, Value};

/// How deep fields, lists and objects may lie in each other.
const DEPTH_MAX: usize = 32;

/// A field that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection {
    /// Its name in the answer.
    pub(crate) alias: String,
    pub(crate) name: String,
    arguments: Vec<(String, Argument)>,
    fields: Vec<Selection>,
}

#[derive(Clone, Debug, PartialEq)]
enum Argument {
    Variable(String),
    Value(Value),
    Object(Vec<(String, Argument)>),
    List(Vec<Argument>),
}

impl Argument {
    fn value(&self, variables: &Value) -> Value {
        match self {
            Self::Variable(name) => variables[name].clone(),
            Self::Value(value) => value.clone(),
            Self::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), value.value(variables))).collect::<Map<_, _>>().into()
            }
            Self::List(values) => values.iter().map(|value| value.value(variables)).collect(),
        }
    }
}

impl Selection {
    /// The value of an argument; null when there is none.
    pub(crate) fn argument(&self, name: &str, variables: &Value) -> Value {
        let found = self.arguments.iter().find(|(known, _)| known == name);
        found.map_or(Value::Null, |(_, argument)| argument.value(variables))
    }

    /// What is asked for of a value. A field that it has not got is null.
    pub(crate) fn project(&self, value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(|value| self.project(value)).collect(),
            Value::Object(_) => {
                let field = |field: &Self| (field.alias.clone(), field.project(&value[field.name.as_str()]));
                self.fields.iter().map(field).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }
}

/// The fields at the top of an operation.
///
/// # Errors
/// Says what was expected at which byte.
pub(crate) fn parse(text: &str) -> Result<Vec<Selection>, String> {
    let mut parser = Parser { text, at: 0 };
    parser.skip();
    if parser.word().is_some_and(|word| word != "query") {
        return Err("Syntax Error: only queries are answered here".to_owned());
    }
    parser.skip();
    parser.word();
    if parser.take('(') {
        parser.until_closed()?;
    }
    parser.directives(0)?;
    let fields = parser.fields(0)?;
    if parser.peek().is_some() {
        return parser.fail("the end of the query");
    }
    Ok(fields)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Skips white space, commas and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            self.at += rest.len() - trimmed.len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip();
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn fail<T>(&self, wanted: &str) -> Result<T, String> {
        Err(format!("Syntax Error: expected {wanted} at byte {}", self.at))
    }

    fn word(&mut self) -> Option<String> {
        self.skip();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        let word = self.rest()[..len].to_owned();
        self.at += len;
        (!word.is_empty()).then_some(word)
    }

    fn name(&mut self) -> Result<String, String> {
        self.word().map_or_else(|| self.fail("a name"), Ok)
    }

    /// Skips the rest of what is in parentheses: declarations of variables.
    fn until_closed(&mut self) -> Result<(), String> {
        match self.rest().find(')') {
            None => self.fail("a closing parenthesis"),
            Some(at) => {
                self.at += at + 1;
                Ok(())
            }
        }
    }

    fn directives(&mut self, depth: usize) -> Result<(), String> {
        while self.take('@') {
            self.name()?;
            self.arguments(depth)?;
        }
        Ok(())
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Selection>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("Syntax Error: more than {DEPTH_MAX} levels"));
        }
        if !self.take('{') {
            return self.fail("{");
        }
        let mut found = Vec::new();
        while !self.take('}') {
            self.skip();
            if self.rest().starts_with("...") {
                self.at += 3;
                if self.word().as_deref() != Some("on") {
                    return self.fail("a fragment within the query (... on Type)");
                }
                self.name()?;
                self.directives(depth)?;
                found.extend(self.fields(depth + 1)?);
                continue;
            }
            let first = self.name()?;
            let (alias, name) = if self.take(':') { (first, self.name()?) } else { (first.clone(), first) };
            let arguments = self.arguments(depth)?;
            self.directives(depth)?;
            let fields = if self.peek() == Some('{') { self.fields(depth + 1)? } else { Vec::new() };
            found.push(Selection { alias, name, arguments, fields });
        }
        Ok(found)
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<(String, Argument)>, String> {
        let mut found = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                found.push(self.pair(depth)?);
            }
        }
        Ok(found)
    }

    fn pair(&mut self, depth: usize) -> Result<(String, Argument), String> {
        let name = self.name()?;
        if !self.take(':') {
            return self.fail(":");
        }
        Ok((name, self.value(depth + 1)?))
    }

    fn value(&mut self, depth: usize) -> Result<Argument, String> {
        if depth > DEPTH_MAX {
            return Err(format!("Syntax Error: more than {DEPTH_MAX} levels"));
        }
        match self.peek() {
            Some('$') => {
                self.at += 1;
                Ok(Argument::Variable(self.name()?))
            }
            Some('{') => {
                self.at += 1;
                let mut fields = Vec::new();
                while !self.take('}') {
                    fields.push(self.pair(depth)?);
                }
                Ok(Argument::Object(fields))
            }
            Some('[') => {
                self.at += 1;
                let mut values = Vec::new();
                while !self.take(']') {
                    values.push(self.value(depth + 1)?);
                }
                Ok(Argument::List(values))
            }
            Some('"') => self.json(),
            Some(c) if c == '-' || c.is_ascii_digit() => self.json(),
            _ => {
                let word = self.name()?;
                Ok(Argument::Value(match word.as_str() {
                    "true" => true.into(),
                    "false" => false.into(),
                    "null" => Value::Null,
                    // A member of an enumeration.
                    _ => word.into(),
                }))
            }
        }
    }

    /// A text or number, which are written as in JSON.
    fn json(&mut self) -> Result<Argument, String> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let read = values.byte_offset();
                self.at += read;
                Ok(Argument::Value(value))
            }
            _ => self.fail("a text or a number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_projected() {
        let text = r#"query GetRun($data: Input!, $n: Int = 5) @component(name: "x") {
            # a comment
            run: mlflowGetRun(input: $data, more: {a: [1, "b", ON], c: null}) {
              __typename, info { id: runId other } ... on Run { data { metrics { key } } } } }"#;
        let fields = parse(text).unwrap();
        assert_eq!((fields.len(), fields[0].alias.as_str(), fields[0].name.as_str()), (1, "run", "mlflowGetRun"));
        assert_eq!(fields[0].argument("input", &json!({"data": {"runId": "r"}})), json!({"runId": "r"}));
        assert_eq!(fields[0].argument("more", &Value::Null), json!({"a": [1, "b", "ON"], "c": null}));
        let value =
            json!({"__typename": "T", "info": {"runId": "r", "x": 1}, "data": {"metrics": [{"key": "a", "b": 1}]}});
        let want = json!({"__typename": "T", "info": {"id": "r", "other": null}, "data": {"metrics": [{"key": "a"}]}});
        assert_eq!(fields[0].project(&value), want);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for text in ["", "{", "mutation { a }", "{ a(b: ) }", "{ a } b", "{ ...F }", "query ($a", "{ a(b: \"x) }"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"{a".repeat(100)).is_err());
        assert!(parse(&format!("{{ a(b: {}) }}", "[".repeat(100))).is_err());
    }
}
