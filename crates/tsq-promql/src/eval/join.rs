//! Arithmetic and comparisons between vectors: a hash join on the labels that have to match.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tsq_core::{Labels, LabelsBuilder};

use crate::answer::QueryError;
use crate::ast::{Binary, Group, Matching, TextRange};
use crate::go_text::labels_text;
use crate::kernels::{Note, Notes, Out};

use super::binary::{NoMatch, Operation, is_comparison};
use super::context::{Query, Result, execution};
use super::grid::Grid;
use super::matching::{Assembler, common_labels, is_reserved, signature};
use super::operator::{BoxOperator, collect, once};
use super::row::{Batch, Row, Sample};

/// Plans an operation between two vectors.
pub(crate) fn plan<'q>(
    query: &'q Query<'q>,
    binary: &'q Binary,
    left: BoxOperator<'q>,
    right: BoxOperator<'q>,
    text_range: TextRange,
    grid: Grid,
) -> BoxOperator<'q> {
    once(query, move || {
        let swapped = binary.matching.group == Group::Right;
        let (many, mut one) = if swapped { (right, left) } else { (left, right) };
        let one = collect(query, one.as_mut())?;
        let mut join = Join::new(query, binary, swapped, one, grid)?;
        join.run(many)?;
        join.annotate(text_range);
        join.rows.finish()
    })
}

/// Rows of the "one" side that match each other.
#[derive(Default)]
struct OneGroup {
    rows: Vec<usize>,
    /// Steps at which an element was matched; kept for one-to-one matches and where the "many" side is filled.
    matched: Vec<bool>,
    /// Steps at which a match would have these labels, whether a comparison lets it through or not; kept where several
    /// elements of the "many" side can get the same labels and their results do not say so.
    taken: HashMap<Labels, Vec<bool>>,
}

struct Join<'q> {
    query: &'q Query<'q>,
    matching: &'q Matching,
    operation: Operation,
    /// Whether the "many" side is the right one.
    swapped: bool,
    fill_many: Option<f64>,
    fill_one: Option<f64>,
    one: Batch<'q>,
    groups: HashMap<Vec<u8>, OneGroup>,
    /// Steps at which the "one" side has two elements of one group, and what to say about it.
    conflicts: BTreeMap<usize, QueryError>,
    rows: Assembler<'q>,
    steps: usize,
    /// The last thing that there was to say at each step: one operation says no more, as in Prometheus.
    notes: Vec<Option<Note>>,
    /// Whether elements of one group that a comparison leaves out can have labels that others have too.
    tracks_taken: bool,
}

impl<'q> Join<'q> {
    fn new(query: &'q Query<'q>, binary: &'q Binary, swapped: bool, one: Batch<'q>, grid: Grid) -> Result<Self> {
        let matching = &binary.matching;
        let fills = (matching.fill_left, matching.fill_right);
        let (fill_many, fill_one) = if swapped { (fills.1, fills.0) } else { fills };
        let operation = Operation { op: binary.op, return_bool: binary.return_bool };
        let leaves_out = is_comparison(binary.op) && !binary.return_bool;
        let mut join = Self {
            query,
            matching,
            operation,
            swapped,
            fill_many,
            fill_one,
            one,
            groups: HashMap::new(),
            conflicts: BTreeMap::new(),
            rows: Assembler::new(query, grid.count)?,
            steps: grid.count,
            notes: Vec::new(),
            tracks_taken: leaves_out && !matching.include.is_empty(),
        };
        join.index()?;
        Ok(join)
    }

    fn empty_group(&self) -> OneGroup {
        let keeps_matched = self.matching.group == Group::None || self.fill_many.is_some();
        OneGroup { matched: vec![false; if keeps_matched { self.steps } else { 0 }], ..OneGroup::default() }
    }

    /// Groups the "one" side and notes where it is not unique.
    fn index(&mut self) -> Result<()> {
        let mut key = Vec::new();
        for (index, row) in self.one.rows.iter().enumerate() {
            signature(&row.labels, self.matching, &mut key);
            let steps = self.steps;
            if !self.groups.contains_key(&key) {
                let group = self.empty_group();
                self.one.charge.grow(key.len() + 128 + group.matched.len())?;
                self.groups.insert(key.clone(), group);
            }
            let group = self.groups.get_mut(&key).expect("it was inserted above");
            for &other in &group.rows {
                let other = &self.one.rows[other];
                if let Some(step) = (0..steps).find(|&step| row.is_present(step) && other.is_present(step)) {
                    for step in step..steps {
                        if row.is_present(step) && other.is_present(step) {
                            self.conflicts
                                .entry(step)
                                .or_insert_with(|| self_conflict(self.matching, self.swapped, row, other));
                        }
                    }
                }
            }
            group.rows.push(index);
        }
        Ok(())
    }

    fn run(&mut self, mut many: BoxOperator<'q>) -> Result<()> {
        while let Some(batch) = many.next()? {
            self.query.check()?;
            for row in &batch.rows {
                self.match_row(row)?;
            }
        }
        if (self.fill_many.is_some() || self.fill_one.is_some())
            && let Some((_, conflict)) = self.conflicts.pop_first()
        {
            return Err(conflict);
        }
        self.fill_many.map_or(Ok(()), |fill| self.fill_missing(fill))
    }

    /// Matches one row of the "many" side at each of its steps.
    fn match_row(&mut self, many: &Row) -> Result<()> {
        if let Some((_, conflict)) = self.conflicts.iter().find(|(step, _)| many.is_present(**step)) {
            return Err(conflict.clone());
        }
        let mut key = Vec::new();
        signature(&many.labels, self.matching, &mut key);
        let mut group = match self.groups.remove(&key) {
            Some(group) => group,
            None if self.fill_one.is_none() => return Ok(()),
            None => self.empty_group(),
        };
        let result = self.match_group(many, &mut group);
        self.groups.insert(key, group);
        result
    }

    fn match_group(&mut self, many: &Row, group: &mut OneGroup) -> Result<()> {
        let one_rows = std::mem::take(&mut self.one.rows);
        let result = self.match_steps(many, group, &one_rows);
        self.one.rows = one_rows;
        result
    }

    fn match_steps(&mut self, many: &Row, group: &mut OneGroup, one_rows: &[Row]) -> Result<()> {
        let filled = Row::absent(common_labels(&many.labels, self.matching), false, 0);
        let mut results: Vec<(Option<usize>, Labels)> = Vec::new();
        for step in 0..self.steps {
            if !many.is_present(step) {
                continue;
            }
            let index = group.rows.iter().copied().find(|&index| one_rows[index].is_present(step));
            let (one, sample) = match (index, self.fill_one) {
                (Some(index), _) => (&one_rows[index], one_rows[index].sample(step)),
                (None, Some(fill)) => (&filled, Sample::Float(fill)),
                (None, None) => continue,
            };
            let Ok(out) = self.combine(step, many.sample(step), sample)? else { continue };
            let labels = match results.iter().find(|(known, _)| *known == index) {
                Some((_, labels)) => labels.clone(),
                None => {
                    let labels = self.result_labels(&many.labels, &one.labels)?;
                    results.push((index, labels.clone()));
                    labels
                }
            };
            self.put(&labels, step, out, group)?;
        }
        Ok(())
    }

    /// What the operation makes of two samples. `Err(NoMatch)` if they do not fit together, which is noted.
    fn combine(&mut self, step: usize, many: Sample<'_>, one: Sample<'_>) -> Result<Result<Out, NoMatch>> {
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let mut notes = Notes::default();
        let out = self.operation.match_pair(left, right, &mut notes);
        if let Some(note) = notes.take_last() {
            if self.notes.is_empty() {
                self.one.charge.grow(self.steps * size_of::<Option<Note>>())?;
                self.notes.resize(self.steps, None);
            }
            self.notes[step] = Some(note);
        }
        Ok(out)
    }

    fn annotate(&mut self, text_range: TextRange) {
        let mut notes = Notes::default();
        self.notes.drain(..).flatten().for_each(|note| notes.add(note));
        self.query.annotate(&mut notes, "", text_range);
    }

    fn put(&mut self, labels: &Labels, step: usize, out: Out, group: &mut OneGroup) -> Result<()> {
        let matched = group.matched.get_mut(step).map(|matched| std::mem::replace(matched, true));
        if self.matching.group == Group::None && matched == Some(true) {
            let message = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
            return Err(execution(message));
        }
        if self.tracks_taken {
            if !group.taken.contains_key(labels) {
                self.one.charge.grow(labels.as_bytes().len() + 64 + self.steps)?;
                group.taken.insert(labels.clone(), vec![false; self.steps]);
            }
            let taken = group.taken.get_mut(labels).expect("it was inserted above");
            if std::mem::replace(&mut taken[step], true) {
                return Err(same_result());
            }
        }
        if matches!(out, Out::None) {
            return Ok(());
        }
        // A comparison takes the name that its side has, even one that a function dropped, as Prometheus does.
        let row = self.rows.row(labels, self.operation.drops_name())?;
        if row.is_present(step) {
            return Err(same_result());
        }
        match out {
            Out::None => {}
            Out::Float(value) => row.set_float(step, value),
            Out::Histogram(histogram) => row.set_histogram(step, Arc::new(*histogram)),
        }
        Ok(())
    }

    /// Results for elements of the "one" side that found none on the "many" side.
    fn fill_missing(&mut self, fill: f64) -> Result<()> {
        let one_rows = std::mem::take(&mut self.one.rows);
        let mut groups: Vec<OneGroup> = std::mem::take(&mut self.groups).into_values().collect();
        groups.sort_by_key(|group| group.rows.first().copied());
        for group in &mut groups {
            for index in group.rows.clone() {
                let one = &one_rows[index];
                let many_labels = common_labels(&one.labels, self.matching);
                let labels = self.result_labels(&many_labels, &one.labels)?;
                for step in (0..self.steps).filter(|&step| one.is_present(step)) {
                    if group.matched[step] {
                        continue;
                    }
                    if let Ok(out) = self.combine(step, Sample::Float(fill), one.sample(step))? {
                        self.put(&labels, step, out, group)?;
                    }
                }
            }
        }
        self.one.rows = one_rows;
        Ok(())
    }

    /// Labels of a result: those of the "many" side, reduced to what matched in a one-to-one match, and those that
    /// `group_left` or `group_right` takes from the "one" side.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Result<Labels> {
        let matching = self.matching;
        let named = |name: &str| matching.labels.iter().any(|label| label == name);
        let mut builder = LabelsBuilder::default();
        for (name, value) in many.iter() {
            let goes = self.operation.changes_meaning() && is_reserved(name);
            let kept = !goes && (matching.group != Group::None || named(name) == matching.on);
            if kept && !matching.include.iter().any(|label| label == name) {
                builder.push(name, value);
            }
        }
        for (at, name) in matching.include.iter().enumerate() {
            if !matching.include[..at].contains(name) {
                builder.push(name, one.get(name).unwrap_or(""));
            }
        }
        builder.build().map_err(|error| execution(error.to_string()))
    }
}

fn same_result() -> QueryError {
    execution("multiple matches for labels: grouping labels must ensure unique matches")
}

fn self_conflict(matching: &Matching, swapped: bool, row: &Row, other: &Row) -> QueryError {
    let side = if swapped { "left" } else { "right" };
    execution(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
         many-to-many matching not allowed: matching labels must be unique on one side",
        labels_text(&common_labels(&row.labels, matching)),
        labels_text(&row.labels),
        labels_text(&other.labels),
    ))
}
