//! Functions that change labels: `label_replace` and `label_join`.

use std::sync::PoisonError;

use hashbrown::HashMap;
use tsq_core::Labels;

use crate::regex::compile_captures;

use super::calls::Call;
use super::context::{Result, execution};
use super::matching::{Assembler, with_label};
use super::memory::Charge;
use super::operator::{BoxOperator, once};
use super::plan::Planner;

/// `label_replace(v, target, replacement, source, pattern)`
pub(crate) fn label_replace<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let text = |at: usize| planner.string(&call.args[at]);
    let (target, replacement, source, pattern) = (text(1)?, text(2)?, text(3)?, text(4)?);
    let compiled = {
        let mut budget = planner.query.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        compile_captures(pattern, &mut budget)
            .map_err(|_| execution(format!("invalid regular expression in label_replace(): {pattern}")))?
    };
    if target.is_empty() {
        return Err(execution(format!("invalid destination label name in label_replace(): {target}")));
    }
    let charge = planner.query.memory.charge(0)?;
    let mut replacements = Replacements { pattern: compiled, replacement, known: HashMap::new(), charge };
    relabeled(planner, call, target, move |labels| replacements.of(labels.get(source).unwrap_or("")))
}

/// Bytes of replacements that one `label_replace` remembers.
const KNOWN_BYTES_MAX: u64 = 1 << 20;

/// What a pattern makes of values. Each distinct value is matched once, as long as there are not too many.
struct Replacements<'q> {
    pattern: regex::Regex,
    replacement: &'q str,
    /// By value; `None` for those that do not match.
    known: HashMap<String, Option<String>>,
    charge: Charge<'q>,
}

impl Replacements<'_> {
    fn of(&mut self, value: &str) -> Result<Option<String>> {
        if let Some(known) = self.known.get(value) {
            return Ok(known.clone());
        }
        let made = self.pattern.captures(value).map(|captures| expand(self.replacement, &captures));
        if self.charge.bytes() > KNOWN_BYTES_MAX {
            self.known = HashMap::new();
            self.charge.resize(0)?;
        }
        let text = value.len() + made.as_ref().map_or(0, String::len);
        self.charge.grow(text + 2 * size_of::<(String, Option<String>)>())?;
        self.known.insert(value.to_owned(), made.clone());
        Ok(made)
    }
}

/// `label_join(v, target, separator, source...)`
pub(crate) fn label_join<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let (target, separator) = (planner.string(&call.args[1])?, planner.string(&call.args[2])?);
    let sources: Result<Vec<&str>> = call.args[3..].iter().map(|arg| planner.string(arg)).collect();
    let sources = sources?;
    if let Some(bad) = sources.iter().find(|source| source.is_empty()) {
        return Err(execution(format!("invalid source label name in label_join(): {bad}")));
    }
    if target.is_empty() {
        return Err(execution(format!("invalid destination label name in label_join(): {target}")));
    }
    relabeled(planner, call, target, move |labels| {
        let values: Vec<&str> = sources.iter().map(|source| labels.get(source).unwrap_or("")).collect();
        Ok(Some(values.join(separator)))
    })
}

/// Sets a label of each series to what a function makes of its labels. Series that become one are merged.
fn relabeled<'q>(
    planner: Planner<'q>,
    call: Call<'q>,
    target: &'q str,
    mut value: impl FnMut(&Labels) -> Result<Option<String>> + 'q,
) -> Result<BoxOperator<'q>> {
    let mut input = planner.vector(&call.args[0], call.grid)?;
    Ok(once(planner.query, move || {
        let mut rows = Assembler::new(planner.query, call.grid.count)?;
        while let Some(batch) = input.next()? {
            for mut row in batch.rows {
                if let Some(value) = value(&row.labels)? {
                    row.labels = with_label(&row.labels, target, &value);
                    if target == tsq_core::METRIC_NAME {
                        row.drop_name = false;
                    }
                }
                rows.add(row)?;
            }
        }
        rows.finish()
    }))
}

/// Go's `Regexp.Expand`: `$1`, `$name`, `${name}`, `$$`. Unknown groups are empty; a `$` that names nothing stays.
fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match group_name(rest) {
            None => out.push('$'),
            Some((name, after)) => {
                rest = after;
                let group = match name.parse::<usize>() {
                    Ok(number) if !name.starts_with('0') || name == "0" => captures.get(number),
                    _ => captures.name(name),
                };
                out.push_str(group.map_or("", |group| group.as_str()));
            }
        }
    }
    out.push_str(rest);
    out
}

/// The name at the start of a text after `$`, and what follows it.
fn group_name(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let body = braced.unwrap_or(text);
    let end = body.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(body.len());
    if end == 0 {
        return None;
    }
    let (name, after) = body.split_at(end);
    match braced {
        None => Some((name, after)),
        Some(_) => after.strip_prefix('}').map(|after| (name, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_expand_as_in_go() {
        let pattern = regex::Regex::new(r"(\w+)-(?P<tail>\w*)").unwrap();
        let captures = pattern.captures("head-end").unwrap();
        for (template, want) in [
            ("$1", "head"),
            ("${1}x", "headx"),
            ("$1x", ""),
            ("$tail.$1", "end.head"),
            ("$$1", "$1"),
            ("a$", "a$"),
            ("${1", "${1"),
            ("$0!", "head-end!"),
            ("$9", ""),
        ] {
            assert_eq!(expand(template, &captures), want, "{template}");
        }
    }
}
