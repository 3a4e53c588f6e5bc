//! `info(v, {matchers})`: adds labels of info metrics (`target_info` unless named) to series of the same target.
//!
//! A target is what `instance` and `job` say. Info series are looked up at the time the samples of `v` come from.

use std::borrow::Cow;
use std::collections::HashMap;

use tsq_core::{Labels, LabelsBuilder, METRIC_NAME, Matcher};

use crate::ast::{Expr, Modifiers, Node};
use crate::go_text::labels_text;

use super::calls::{Call, selector_of};
use super::context::{Query, Result, execution};
use super::grid::{Grid, Shift};
use super::matching::{Assembler, put};
use super::operator::{BoxOperator, collect, once};
use super::plan::Planner;
use super::row::{Batch, Row};
use super::select::{Deliver, Select};

const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// `info(v, {matchers})`
pub(crate) fn info<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    let query = planner.query;
    let mut base = planner.vector(&call.args[0], call.grid)?;
    let shifts = shifts_of(planner, &call.args[0])?;
    let given = call.args.get(1).and_then(selector_of).map_or(&[][..], |selector| &selector.matchers);
    let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
        given.iter().cloned().partition(|matcher| matcher.name == METRIC_NAME);
    if names.is_empty() {
        names.push(Matcher::equal(METRIC_NAME, "target_info"));
    }
    Ok(once(query, move || {
        let base = collect(query, base.as_mut())?;
        let infos = Infos::select(query, names, data, call.grid, &shifts)?;
        let mut rows = Assembler::new(query, call.grid.count)?;
        for row in base.rows {
            infos.enrich(row, &mut rows)?;
        }
        rows.finish()
    }))
}

/// The shifts on the way to the first selector of an expression, outermost first.
fn shifts_of(planner: Planner<'_>, expr: &Expr) -> Result<Vec<Shift>> {
    let mut shifts = Vec::new();
    find_shifts(planner, expr, &mut shifts)?;
    Ok(shifts)
}

fn find_shifts(planner: Planner<'_>, expr: &Expr, shifts: &mut Vec<Shift>) -> Result<bool> {
    let mut push = |modifiers: &Modifiers| -> Result<()> {
        shifts.push(planner.shift(modifiers)?);
        Ok(())
    };
    match &expr.node {
        Node::Selector(selector) | Node::Matrix { selector, .. } => push(&selector.modifiers).map(|()| true),
        Node::Subquery(subquery) => {
            push(&subquery.modifiers)?;
            let found = find_shifts(planner, &subquery.expr, shifts)?;
            if !found {
                shifts.pop();
            }
            Ok(found)
        }
        Node::Unary { expr, .. } => find_shifts(planner, expr, shifts),
        Node::Paren(expr) => find_shifts(planner, expr, shifts),
        Node::Binary(binary) => {
            Ok(find_shifts(planner, &binary.left, shifts)? || find_shifts(planner, &binary.right, shifts)?)
        }
        Node::Aggregate(aggregate) => find_shifts(planner, &aggregate.expr, shifts),
        Node::Call { args, .. } => {
            for arg in args {
                if find_shifts(planner, arg, shifts)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Node::Number { .. } | Node::String(_) | Node::Context(_) => Ok(false),
    }
}

/// The info series that may add labels.
struct Infos<'q> {
    names: Vec<Matcher>,
    data: Vec<Matcher>,
    values: Batch<'q>,
    /// Times of the samples, row by row the same series as `values`.
    times: HashMap<Labels, Row>,
    by_target: HashMap<[String; 2], Vec<usize>>,
}

fn target_of(labels: &Labels) -> [String; 2] {
    IDENTIFYING.map(|name| labels.get(name).unwrap_or("").to_owned())
}

impl<'q> Infos<'q> {
    fn select(
        query: &'q Query<'q>,
        names: Vec<Matcher>,
        data: Vec<Matcher>,
        grid: Grid,
        shifts: &[Shift],
    ) -> Result<Self> {
        let matchers: Vec<Matcher> = names.iter().chain(&data).cloned().collect();
        let shift = combined(shifts);
        let select =
            |deliver| collect(query, &mut Select::new(query, Cow::Owned(matchers.clone()), grid, shift, deliver));
        let (values, times) = (select(Deliver::Value)?, select(Deliver::Time)?);
        if let Some(row) = values.rows.iter().find(|row| row.has_histograms()) {
            return Err(execution(format!("this should be an info metric, with float samples: {}", row.labels)));
        }
        let mut by_target: HashMap<[String; 2], Vec<usize>> = HashMap::new();
        for (index, row) in values.rows.iter().enumerate() {
            by_target.entry(target_of(&row.labels)).or_default().push(index);
        }
        let times = times.rows.into_iter().map(|row| (row.labels.clone(), row)).collect();
        Ok(Self { names, data, values, times, by_target })
    }

    /// Adds a row with the labels that info series have for it at each step.
    fn enrich(&self, row: Row, out: &mut Assembler<'q>) -> Result<()> {
        let is_info = self.names.iter().all(|matcher| matcher.matches(row.labels.metric_name()));
        let target = target_of(&row.labels);
        let has_target = target.iter().any(|value| !value.is_empty());
        let found = self.by_target.get(&target).filter(|_| has_target);
        if is_info || (found.is_none() && self.data.iter().all(Matcher::matches_empty)) {
            return out.add(row);
        }
        let Some(found) = found else { return Ok(()) };
        let mut known: Vec<(Vec<usize>, Labels)> = Vec::new();
        for step in (0..row.steps()).filter(|&step| row.is_present(step)) {
            let chosen = self.newest(found, step)?;
            if chosen.is_empty() && !self.data.iter().all(Matcher::matches_empty) {
                continue;
            }
            let labels = match known.iter().find(|(indexes, _)| *indexes == chosen) {
                Some((_, labels)) => labels.clone(),
                None => {
                    let labels = self.labels_with(&row.labels, &chosen)?;
                    known.push((chosen, labels.clone()));
                    labels
                }
            };
            let result = out.row(&labels, row.drop_name)?;
            if result.is_present(step) {
                return Err(super::matching::same_labelset());
            }
            put(result, step, row.sample(step));
        }
        Ok(())
    }

    /// Of each info metric the series with the newest sample at a step.
    fn newest(&self, found: &[usize], step: usize) -> Result<Vec<usize>> {
        let mut newest: Vec<(usize, f64)> = Vec::new();
        for &index in found {
            let row = &self.values.rows[index];
            let Some(time) = self.times.get(&row.labels).and_then(|times| times.float(step)) else { continue };
            let name = row.labels.metric_name();
            match newest.iter_mut().find(|(other, _)| self.values.rows[*other].labels.metric_name() == name) {
                None => newest.push((index, time)),
                Some(best) if time > best.1 => *best = (index, time),
                Some(best) if time == best.1 => {
                    let (other, new) = (labels_text(&self.values.rows[best.0].labels), labels_text(&row.labels));
                    return Err(execution(format!(
                        "found duplicate series for info metric: existing {other} @ {time}, new {new} @ {time}"
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(newest.into_iter().map(|(index, _)| index).collect())
    }

    /// Labels of a series and those that info series add: all of theirs, or only those that were asked for.
    fn labels_with(&self, base: &Labels, infos: &[usize]) -> Result<Labels> {
        let mut added: Vec<(&str, &str)> = Vec::new();
        for &index in infos {
            for (name, value) in self.values.rows[index].labels.iter() {
                let asked = self.data.is_empty() || self.data.iter().any(|matcher| matcher.name == name);
                if !asked || name == METRIC_NAME || IDENTIFYING.contains(&name) || base.get(name).is_some() {
                    continue;
                }
                match added.iter().find(|(known, _)| *known == name) {
                    None => added.push((name, value)),
                    Some((_, known)) if *known == value => {}
                    Some(_) => return Err(execution(format!("conflicting label: {name}"))),
                }
            }
        }
        let mut builder = LabelsBuilder::default();
        base.iter().chain(added).for_each(|(name, value)| builder.push(name, value));
        builder.build().map_err(|error| execution(error.to_string()))
    }
}

/// One shift that does what several do one after another.
fn combined(shifts: &[Shift]) -> Shift {
    shifts.iter().fold(Shift::default(), |outer, inner| match inner.at_ms {
        Some(_) => *inner,
        None => Shift { at_ms: outer.at_ms, offset_ms: outer.offset_ms.saturating_add(inner.offset_ms) },
    })
}
