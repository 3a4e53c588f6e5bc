//! What each column means.

use super::time::TimeUnit;

/// How to read a CSV file. The defaults suit the long form.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// What separates fields. Default `,`.
    pub delimiter: u8,
    /// Name of the time column. Default `None`: the first one with a name that can be a time.
    pub time_column: Option<String>,
    /// How times are written. Default [`TimeUnit::Auto`].
    pub time_unit: TimeUnit,
    /// Name of the value column of the long form. Default `value`.
    pub value_column: Option<String>,
    /// Metric name of rows without one, in the long form. Default `None`: such a file is refused.
    pub metric: Option<String>,
    /// Whether each column that is neither time, step nor label is a metric. Default false.
    pub wide: bool,
    /// Columns that are labels in the wide form.
    pub label_columns: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            time_column: None,
            time_unit: TimeUnit::Auto,
            value_column: None,
            metric: None,
            wide: false,
            label_columns: Vec::new(),
        }
    }
}

/// Names of columns that hold times in milliseconds.
const MS_COLUMNS: [&str; 3] = ["timestamp_ms", "time_ms", "ts_ms"];
/// Names of columns that hold times in a unit to be found out.
const TIME_COLUMNS: [&str; 5] = ["timestamp", "time", "ts", "date", "datetime"];
/// What makes any column a label.
pub(super) const LABEL_PREFIX: &str = "label:";

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A column as it is named: blanks around the name do not count, nor does what editors put before the first one.
pub(super) fn column_name(field: &str) -> &str {
    let name = field.trim_start_matches(BYTE_ORDER_MARK);
    if name.starts_with(LABEL_PREFIX) { name } else { name.trim() }
}

/// Whether a label of this name needs the prefix, as its column would mean something else.
pub(super) fn is_reserved(name: &str) -> bool {
    MS_COLUMNS.contains(&name)
        || TIME_COLUMNS.contains(&name)
        || ["value", "step", "metric"].contains(&name)
        || name.starts_with([BYTE_ORDER_MARK])
        || name.starts_with(LABEL_PREFIX)
        || name.trim() != name
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    Step,
    /// The value; in the wide form, of this metric.
    Value(Option<String>),
    Label(String),
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) roles: Vec<Role>,
    pub(super) time_unit: TimeUnit,
}

impl Header {
    pub(super) fn new(columns: &[String], options: &CsvOptions) -> Result<Self, String> {
        let time = time_column(columns, options)?;
        let value_name = options.value_column.as_deref().unwrap_or("value");
        let metric_is_name = !columns.iter().any(|column| column == "__name__");
        let role = |(index, column): (usize, &String)| {
            if index == time {
                return Role::Time;
            }
            match &**column {
                "step" => Role::Step,
                "metric" if metric_is_name && !options.wide => Role::Label("__name__".to_owned()),
                name if !options.wide && name == value_name => Role::Value(None),
                name => match name.strip_prefix(LABEL_PREFIX) {
                    Some(label) => Role::Label(label.to_owned()),
                    None if options.wide && !options.label_columns.iter().any(|label| label == name) => {
                        Role::Value(Some(name.to_owned()))
                    }
                    None => Role::Label(name.to_owned()),
                },
            }
        };
        let roles: Vec<_> = columns.iter().enumerate().map(role).collect();
        check(&roles, columns, options, value_name)?;
        let is_ms = MS_COLUMNS.contains(&&*columns[time]);
        let time_unit =
            if is_ms && options.time_unit == TimeUnit::Auto { TimeUnit::Milliseconds } else { options.time_unit };
        Ok(Self { roles, time_unit })
    }
}

fn time_column(columns: &[String], options: &CsvOptions) -> Result<usize, String> {
    let found = match &options.time_column {
        Some(name) => columns.iter().position(|column| column == name),
        None => columns.iter().position(|column| MS_COLUMNS.contains(&&**column) || TIME_COLUMNS.contains(&&**column)),
    };
    found.ok_or_else(|| match &options.time_column {
        Some(name) => format!("the header has no column {name:?} for the time"),
        None => {
            format!("the header has no time column: none of {}, {}", MS_COLUMNS.join(", "), TIME_COLUMNS.join(", "))
        }
    })
}

fn check(roles: &[Role], columns: &[String], options: &CsvOptions, value_name: &str) -> Result<(), String> {
    for (index, role) in roles.iter().enumerate() {
        if columns[index].is_empty() || *role == Role::Label(String::new()) {
            return Err(format!("column {} of the header has no name", index + 1));
        }
        if roles[..index].contains(role) {
            return Err(format!("column {} of the header, {:?}, is there twice", index + 1, columns[index]));
        }
    }
    if !roles.iter().any(|role| matches!(role, Role::Value(_))) {
        return Err(match options.wide {
            true => "the header has no column for a metric".to_owned(),
            false => format!("the header has no column {value_name:?} for the value"),
        });
    }
    let named = roles.contains(&Role::Label("__name__".to_owned()));
    if !named && !options.wide && options.metric.is_none() {
        return Err("the header has no column __name__ or metric, and no metric name was given".to_owned());
    }
    if let Some(label) = options.label_columns.iter().find(|label| !columns.contains(label)) {
        return Err(format!("the header has no column {label:?} for a label"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(columns: &[&str], options: &CsvOptions) -> Result<Header, String> {
        let columns: Vec<_> = columns.iter().map(|&column| column.to_owned()).collect();
        Header::new(&columns, options)
    }

    #[test]
    fn long_headers_have_names_and_labels() {
        let long = header(&["job", "time_ms", "metric", "value", "label:value"], &CsvOptions::default()).unwrap();
        let label = |name: &str| Role::Label(name.to_owned());
        assert_eq!(long.roles, [label("job"), Role::Time, label("__name__"), Role::Value(None), label("value")]);
        assert_eq!(long.time_unit, TimeUnit::Milliseconds);
        let both = header(&["ts", "metric", "value", "__name__"], &CsvOptions::default()).unwrap();
        assert_eq!(both.roles[1], label("metric"));
    }

    #[test]
    fn headers_that_say_too_little_are_refused() {
        let wide = CsvOptions { wide: true, ..CsvOptions::default() };
        let labelled = CsvOptions { label_columns: vec!["host".to_owned()], ..wide.clone() };
        let cases: [(&[&str], &CsvOptions, &str); 7] = [
            (&["value", "metric"], &CsvOptions::default(), "no time column"),
            (&["time", "metric"], &CsvOptions::default(), "no column \"value\""),
            (&["time", "value"], &CsvOptions::default(), "no column __name__ or metric"),
            (
                &["time", "value", "metric", "a", "a"],
                &CsvOptions::default(),
                "column 5 of the header, \"a\", is there twice",
            ),
            (&["time", "value", "metric", ""], &CsvOptions::default(), "column 4 of the header has no name"),
            (&["time", "step"], &wide, "no column for a metric"),
            (&["time", "loss"], &labelled, "no column \"host\" for a label"),
        ];
        for (columns, options, want) in cases {
            let error = header(columns, options).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }
}
