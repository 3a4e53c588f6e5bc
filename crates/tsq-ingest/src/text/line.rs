//! The grammar of one line.

use tsq_core::{LabelsBuilder, METRIC_NAME, Metadata};

use super::TextFormat;
use super::cursor::{Cursor, Fault, Parsed, unescape};
use crate::error::ParseError;
use crate::number::{parse_float, parse_seconds};

/// What a line says.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// Nothing, or something about a family that is not complete yet.
    Nothing,
    /// All that is known about a family.
    Metadata(Metadata),
    Sample(Sample<'a>),
}

#[derive(Debug)]
pub(super) struct Sample<'a> {
    /// The series as the line writes it; the labels are in [`LineParser::labels`].
    pub(super) series: &'a str,
    pub(super) value: f64,
    pub(super) time_ms: Option<i64>,
    /// Value and time; the labels are in [`LineParser::exemplar_labels`].
    pub(super) exemplar: Option<(f64, Option<i64>)>,
}

/// Parses line after line of one input.
#[derive(Debug)]
pub(super) struct LineParser {
    format: TextFormat,
    line: u64,
    /// Labels of the last sample.
    pub(super) labels: LabelsBuilder,
    /// Labels of the last exemplar.
    pub(super) exemplar_labels: LabelsBuilder,
    /// The series of the last sample, whose labels need not be parsed again.
    last_series: String,
    /// What the lines so far said about the family that is described at the moment.
    family: Metadata,
    ended: bool,
}

impl LineParser {
    pub(super) fn new(format: TextFormat) -> Self {
        Self {
            format,
            line: 0,
            labels: LabelsBuilder::default(),
            exemplar_labels: LabelsBuilder::default(),
            last_series: String::new(),
            family: Metadata::default(),
            ended: false,
        }
    }

    /// Number of the last line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Parses the next line.
    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, ParseError> {
        self.line += 1;
        let line = line.strip_suffix('\r').filter(|_| !self.strict()).unwrap_or(line);
        self.parse_line(Cursor::new(line)).map_err(|fault| self.place(line, &fault))
    }

    fn place(&self, line: &str, fault: &Fault) -> ParseError {
        let at = (0..=fault.at.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        ParseError::new(self.line, line[..at].chars().count() as u64 + 1, fault.message.clone())
    }

    /// Ends the input: what was said about the last family.
    pub(super) fn finish(&mut self) -> Result<Option<Metadata>, ParseError> {
        if self.strict() && !self.ended {
            return Err(ParseError::new(self.line + 1, 1, "the input ends without a line `# EOF`: it was cut off"));
        }
        Ok(self.take_family())
    }

    fn take_family(&mut self) -> Option<Metadata> {
        let family = std::mem::take(&mut self.family);
        (!family.metric.is_empty()).then_some(family)
    }

    fn strict(&self) -> bool {
        self.format == TextFormat::OpenMetrics
    }

    fn parse_line<'a>(&mut self, mut cursor: Cursor<'a>) -> Parsed<Line<'a>> {
        if self.ended {
            return Err(Fault { at: 0, message: "there is a line after `# EOF`".to_owned() });
        }
        if !self.strict() {
            cursor.blanks();
        }
        match cursor.peek() {
            None if self.strict() => Err(Fault { at: 0, message: "OpenMetrics has no empty lines".to_owned() }),
            None => Ok(Line::Nothing),
            Some(b'#') => self.comment(cursor),
            Some(_) => self.sample(cursor).map(Line::Sample),
        }
    }

    fn comment<'a>(&mut self, mut cursor: Cursor<'a>) -> Parsed<Line<'a>> {
        if self.strict() && cursor.rest() == "# EOF" {
            self.ended = true;
            return Ok(Line::Nothing);
        }
        cursor.at += 1;
        let start = cursor.at;
        self.gap(&mut cursor);
        let keyword = if cursor.at == start { "" } else { cursor.word() };
        if !matches!(keyword, "HELP" | "TYPE" | "UNIT") || keyword == "UNIT" && !self.strict() {
            if self.strict() {
                return Err(Fault { at: 0, message: "expected `# TYPE`, `# HELP`, `# UNIT` or `# EOF`".to_owned() });
            }
            return Ok(Line::Nothing);
        }
        if self.gap(&mut cursor) == 0 {
            return Err(cursor.wanted("a blank"));
        }
        let name_at = cursor.at;
        let name = match cursor.peek() {
            Some(b'"') => cursor.quoted("a metric name")?,
            _ => cursor.name(true, "a metric name")?.into(),
        };
        if !cursor.is_end() && self.gap(&mut cursor) == 0 {
            return Err(cursor.wanted("a blank"));
        }
        if name.is_empty() {
            return Err(Fault { at: name_at, message: "the metric name is empty".to_owned() });
        }
        let before = if self.family.metric == name { None } else { self.take_family() };
        self.family.metric = name.into_owned();
        self.describe(keyword, cursor)?;
        Ok(before.map_or(Line::Nothing, Line::Metadata))
    }

    /// Skips what separates two tokens: exactly one blank in OpenMetrics, any number of blanks and tabs else.
    fn gap(&self, cursor: &mut Cursor<'_>) -> usize {
        if self.strict() { usize::from(cursor.eat(b' ')) } else { cursor.blanks() }
    }

    fn describe(&mut self, keyword: &str, cursor: Cursor<'_>) -> Parsed<()> {
        let text = cursor.rest();
        match keyword {
            "HELP" => self.family.help = unescape(text, self.strict()),
            "UNIT" => {
                let fits = self.family.metric.strip_suffix(text).is_some_and(|base| base.ends_with('_'));
                if !text.is_empty() && !fits {
                    let message = format!("metric {:?} does not end with its unit _{text}", self.family.metric);
                    return Err(Fault { at: cursor.at, message });
                }
                text.clone_into(&mut self.family.unit);
            }
            _ => {
                let text = if self.strict() { text } else { text.trim_ascii_end() };
                let Some(name) = self.metric_type(text) else {
                    return Err(Fault { at: cursor.at, message: format!("{text:?} is no metric type") });
                };
                name.clone_into(&mut self.family.metric_type);
            }
        }
        Ok(())
    }

    fn metric_type(&self, text: &str) -> Option<&'static str> {
        let openmetrics = ["unknown", "info", "stateset", "gaugehistogram"];
        let known = ["counter", "gauge", "histogram", "summary"].into_iter();
        match text {
            "untyped" if !self.strict() => Some("unknown"),
            // Exporters mix these into the older format; they are harmless there.
            _ => known.chain(openmetrics).find(|name| *name == text),
        }
    }

    fn sample<'a>(&mut self, mut cursor: Cursor<'a>) -> Parsed<Sample<'a>> {
        let start = cursor.at;
        if !self.is_last_series(&mut cursor) {
            self.last_series.clear();
            self.series(&mut cursor)?;
            self.last_series.push_str(cursor.since(start));
        }
        let series = cursor.since(start);
        if self.gap(&mut cursor) == 0 && (self.strict() || !series.ends_with('}')) {
            return Err(cursor.wanted("a blank"));
        }
        let value = value(&mut cursor)?;
        let time_ms = self.time(&mut cursor)?;
        let exemplar = if self.strict() { self.exemplar(&mut cursor)? } else { None };
        if !cursor.is_end() {
            return Err(cursor.wanted("the end of the line"));
        }
        Ok(Sample { series, value, time_ms, exemplar })
    }

    /// Skips the series when it is written like that of the line before, whose labels are still there.
    fn is_last_series(&self, cursor: &mut Cursor<'_>) -> bool {
        let Some(after) = cursor.rest().strip_prefix(&*self.last_series) else { return false };
        let blank = after.starts_with([' ', '\t']);
        let labels_follow = !self.last_series.ends_with('}') && after.trim_ascii_start().starts_with('{');
        if self.last_series.is_empty() || !blank || labels_follow {
            return false;
        }
        cursor.at += self.last_series.len();
        true
    }

    fn series(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        self.labels.clear();
        let start = cursor.at;
        let mut named = false;
        if cursor.peek() != Some(b'{') {
            let name = cursor.name(true, "a metric name")?;
            self.labels.push(METRIC_NAME, name);
            named = true;
        }
        let end = cursor.at;
        if !self.strict() {
            cursor.blanks();
        }
        if cursor.eat(b'{') {
            let mut labels = std::mem::take(&mut self.labels);
            let parsed = self.label_list(cursor, &mut labels, Some(&mut named));
            self.labels = labels;
            parsed?;
        } else {
            cursor.at = end;
        }
        if !named {
            return Err(Fault { at: start, message: "the series has no metric name".to_owned() });
        }
        Ok(())
    }

    /// Labels after the opening brace, the closing one among them. `named` says whether a metric name was seen and
    /// that one may stand here; exemplars have none.
    fn label_list(
        &self,
        cursor: &mut Cursor<'_>,
        labels: &mut LabelsBuilder,
        mut named: Option<&mut bool>,
    ) -> Parsed<()> {
        let blanks = |cursor: &mut Cursor<'_>| {
            if !self.strict() {
                cursor.blanks();
            }
        };
        blanks(cursor);
        if cursor.eat(b'}') {
            return Ok(());
        }
        loop {
            let start = cursor.at;
            let is_quoted = cursor.peek() == Some(b'"');
            let name = if is_quoted { cursor.quoted("a name")? } else { cursor.name(false, "a label name")?.into() };
            blanks(cursor);
            match (&mut named, cursor.peek()) {
                (Some(named), Some(b',' | b'}')) if is_quoted => {
                    if std::mem::replace(named, true) {
                        let message = format!("the series has a second metric name, {name:?}");
                        return Err(Fault { at: start, message });
                    }
                    labels.push(METRIC_NAME, &name);
                }
                _ => {
                    cursor.expect(b'=')?;
                    blanks(cursor);
                    let value = cursor.quoted("a label value in quotes")?;
                    if name.is_empty() {
                        return Err(Fault { at: start, message: "a label name is empty".to_owned() });
                    }
                    labels.push(&name, &value);
                    if let Some(named) = named.as_deref_mut().filter(|_| name == METRIC_NAME && !value.is_empty()) {
                        *named = true;
                    }
                }
            }
            blanks(cursor);
            let comma = cursor.eat(b',');
            blanks(cursor);
            if cursor.peek() == Some(b'}') && !(comma && self.strict()) {
                cursor.at += 1;
                return Ok(());
            }
            if !comma {
                return Err(cursor.wanted("',' or '}'"));
            }
        }
    }

    fn time(&self, cursor: &mut Cursor<'_>) -> Parsed<Option<i64>> {
        let before = cursor.at;
        let gap = self.gap(cursor);
        if gap == 0 || !self.strict() && cursor.is_end() {
            return Ok(None);
        }
        if self.strict() && cursor.peek() == Some(b'#') {
            cursor.at = before;
            return Ok(None);
        }
        let start = cursor.at;
        let word = cursor.word();
        let time = match self.format {
            TextFormat::OpenMetrics => parse_seconds(word),
            TextFormat::Prometheus => word.parse().ok(),
        };
        if !self.strict() {
            cursor.blanks();
        }
        let what = if self.strict() { "a time in seconds" } else { "a time in integer milliseconds" };
        time.map(Some).ok_or_else(|| Fault { at: start, message: format!("expected {what}, found {word:?}") })
    }

    /// ` # {labels} value [time]`.
    fn exemplar(&mut self, cursor: &mut Cursor<'_>) -> Parsed<Option<(f64, Option<i64>)>> {
        if !cursor.rest().starts_with(" #") {
            return Ok(None);
        }
        cursor.at += 2;
        cursor.expect(b' ')?;
        cursor.expect(b'{')?;
        self.exemplar_labels.clear();
        let mut labels = std::mem::take(&mut self.exemplar_labels);
        let parsed = self.label_list(cursor, &mut labels, None);
        self.exemplar_labels = labels;
        parsed?;
        cursor.expect(b' ')?;
        let value = value(cursor)?;
        Ok(Some((value, self.time(cursor)?)))
    }
}

fn value(cursor: &mut Cursor<'_>) -> Parsed<f64> {
    let start = cursor.at;
    let word = cursor.word();
    match parse_float(word) {
        Some(value) => Ok(value),
        None if word.is_empty() => Err(cursor.wanted("a value")),
        None => Err(Fault { at: start, message: format!("expected a value, found {word:?}") }),
    }
}
