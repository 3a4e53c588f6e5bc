//! Parameters of a request: the fields of a JSON object, or of a query string.

use serde_json::{Map, Value};
use tsq_runs::{Page, Pair};

use super::error::{Code, Failure};

type Result<T> = std::result::Result<T, Failure>;

/// The fields of a request. Unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Input(Map<String, Value>);

impl Input {
    /// The fields of a body; an empty body has none.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Failure::new(Code::BadRequest, "the body is no JSON object")),
            Err(error) => Err(Failure::new(Code::BadRequest, format!("the body is no JSON: {error}"))),
        }
    }

    /// Adds a parameter of a query string. Repeated ones become a list; `name[]` is `name`.
    pub(crate) fn add(&mut self, name: &str, value: String) {
        let name = name.strip_suffix("[]").unwrap_or(name);
        match self.0.get_mut(name) {
            None => _ = self.0.insert(name.to_owned(), Value::String(value)),
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text that may be missing.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", other)),
        }
    }

    /// A text that must be there and not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&str> {
        let found = self.text(name)?.filter(|text| !text.is_empty());
        found.ok_or_else(|| missing(name))
    }

    /// The id of a run, by either of its names.
    pub(crate) fn run_id(&self) -> Result<&str> {
        match self.text("run_id")?.filter(|id| !id.is_empty()) {
            Some(id) => Ok(id),
            None => self.text("run_uuid")?.filter(|id| !id.is_empty()).ok_or_else(|| missing("run_id")),
        }
    }

    /// A 64-bit integer, as number or text.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>> {
        self.get(name).map(|value| int(name, value)).transpose()
    }

    /// The number of an experiment.
    pub(crate) fn experiment(&self, name: &str) -> Result<Option<i64>> {
        self.get(name).map(|value| experiment(name, value)).transpose()
    }

    /// The number of an experiment that must be given.
    pub(crate) fn experiment_id(&self) -> Result<i64> {
        self.experiment("experiment_id")?.ok_or_else(|| missing("experiment_id"))
    }

    /// Numbers of experiments.
    pub(crate) fn experiments(&self, name: &str) -> Result<Vec<i64>> {
        self.list(name).map(|value| experiment(name, value)).collect()
    }

    /// A truth value, false when it is missing.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        self.flag_or(name, false)
    }

    /// A truth value.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// The values of a list; a single value is a list of one.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        match self.get(name) {
            None => [].iter(),
            Some(Value::Array(values)) => values.iter(),
            Some(one) => std::slice::from_ref(one).iter(),
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "strings", value));
        self.list(name).map(text).collect()
    }

    /// The objects of a list.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>> {
        let object = |value: &Value| match value {
            Value::Object(fields) => Ok(Self(fields.clone())),
            other => Err(wrong(name, "objects", other)),
        };
        self.list(name).map(object).collect()
    }

    /// One object.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>> {
        Ok(self.objects(name)?.into_iter().next())
    }

    /// Keys and values of a list of `{"key": .., "value": ..}`.
    pub(crate) fn pairs(&self, name: &str) -> Result<Vec<Pair>> {
        let pair = |object: &Self| {
            let key = object.text("key")?.ok_or_else(|| missing("key"))?;
            Ok((key.to_owned(), object.text("value")?.unwrap_or_default().to_owned()))
        };
        self.objects(name)?.iter().map(pair).collect()
    }

    /// The page that is asked for.
    pub(crate) fn page(&self, default: u32, most: u32) -> Result<Page> {
        let limit = match self.int("max_results")? {
            None => default,
            Some(asked) => u32::try_from(asked).ok().filter(|&asked| asked > 0 && asked <= most).ok_or_else(|| {
                Failure::invalid(format!(
                    "Invalid value {asked} for parameter 'max_results': it must be from 1 to {most}"
                ))
            })?,
        };
        let offset = match self.text("page_token")?.filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => token
                .strip_prefix('o')
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| Failure::invalid(format!("Invalid page token {token:?}")))?,
        };
        Ok(Page { limit, offset })
    }
}

/// The token of a page that begins at an offset.
pub(crate) fn page_token(offset: u64) -> String {
    format!("o{offset}")
}

pub(crate) fn missing(name: &str) -> Failure {
    Failure::invalid(format!("Missing value for required parameter '{name}'. See the API docs for more information"))
}

fn wrong(name: &str, wanted: &str, found: &Value) -> Failure {
    let found: String = found.to_string().chars().take(80).collect();
    Failure::invalid(format!("Invalid value {found} for parameter '{name}' supplied: {wanted} expected"))
}

fn int(name: &str, value: &Value) -> Result<i64> {
    let found = match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| f as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| wrong(name, "an integer", value))
}

fn experiment(name: &str, value: &Value) -> Result<i64> {
    int(name, value).map_err(|_| wrong(name, "the number of an experiment", value))
}
