//! `topk` and `bottomk`: of each group and step only the elements that may still be chosen are kept.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tsq_core::Labels;

use crate::ast::{Aggregate, AggregateOp, TextRange};
use crate::kernels::{Note, Notes};

use super::context::{Query, Result};
use super::grouping::{Grouping, Groups};
use super::memory::Charge;
use super::operator::{BoxOperator, Column};
use super::row::{Batch, LABELS_OVERHEAD, Row};

/// Order of `topk` (largest first) or `bottomk` (smallest first); NaN comes last in both.
pub(crate) fn best_first(a: f64, b: f64, largest: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if largest => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// Chooses the best elements of each group at each step. Of equal ones those that come first are better.
pub(crate) fn choose<'q>(
    query: &'q Query<'q>,
    aggregate: &'q Aggregate,
    column: &Column<'q>,
    mut input: BoxOperator<'q>,
    (steps, text_range): (usize, TextRange),
) -> Result<Batch<'q>> {
    let largest = aggregate.op == AggregateOp::Topk;
    let mut groups = Groups::new(Grouping::of(aggregate));
    let mut held = Held { candidates: Vec::new(), free: Vec::new(), seen: 0, charge: query.memory.charge(0)? };
    let mut notes = Notes::default();
    let group_bytes = steps.saturating_mul(size_of::<BinaryHeap<Element>>());
    while let Some(batch) = input.next()? {
        for mut row in batch.rows {
            // Where nothing is chosen, nothing is looked at.
            let looks_at = |step| chosen_count(column.at(step)) > 0 && row.histogram(step).is_some();
            if row.has_histograms() && (0..steps).any(looks_at) {
                notes.add(Note::HistogramIgnoredInAggregation(aggregate.op.name()));
            }
            row.remove_histograms();
            let best = groups.of(&row.labels, &mut held.charge, group_bytes, |_| vec![BinaryHeap::new(); steps])?;
            held.offer(&row, best, largest, |step| chosen_count(column.at(step)))?;
        }
    }
    query.annotate(&mut notes, "", text_range);
    held.into_rows(query, groups.into_groups(), steps)
}

/// How many elements a parameter stands for.
pub(crate) fn chosen_count(param: f64) -> usize {
    if param < 1.0 { 0 } else { param as usize }
}

/// An element that may be chosen. The worst is the greatest.
#[derive(Clone, Copy, Debug)]
struct Element {
    value: f64,
    /// Position among the rows that were seen.
    position: u32,
    candidate: u32,
    largest: bool,
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        best_first(self.value, other.value, self.largest).then(self.position.cmp(&other.position))
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

/// A series that has elements which may be chosen.
struct Candidate {
    labels: Labels,
    drop_name: bool,
    position: u32,
    elements: usize,
}

/// The candidates of all groups.
struct Held<'q> {
    candidates: Vec<Option<Candidate>>,
    /// Places in `candidates` that are empty.
    free: Vec<u32>,
    seen: u32,
    charge: Charge<'q>,
}

impl Held<'_> {
    /// Takes in the elements of a row that are among the best so far.
    fn offer(
        &mut self,
        row: &Row,
        best: &mut [BinaryHeap<Element>],
        largest: bool,
        count: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let position = self.seen;
        self.seen = self.seen.saturating_add(1);
        let mut candidate = None;
        for (step, best) in best.iter_mut().enumerate() {
            let (Some(value), count) = (row.float(step), count(step)) else { continue };
            let is_worse = |worst: &Element| best_first(value, worst.value, largest).is_ge();
            if count == 0 || (best.len() == count && best.peek().is_some_and(is_worse)) {
                continue;
            }
            let candidate = match candidate {
                Some(candidate) => candidate,
                None => *candidate.insert(self.add(row, position)?),
            };
            if best.len() == count
                && let Some(worst) = best.pop()
            {
                self.release(worst);
            } else if best.len() == best.capacity() {
                self.charge.grow(best.len().max(4) * size_of::<Element>())?;
            }
            best.push(Element { value, position, candidate, largest });
            self.candidate(candidate).elements += 1;
        }
        Ok(())
    }

    fn add(&mut self, row: &Row, position: u32) -> Result<u32> {
        self.charge.grow(row.labels.as_bytes().len() + LABELS_OVERHEAD)?;
        let candidate = Some(Candidate { labels: row.labels.clone(), drop_name: row.drop_name, position, elements: 0 });
        if let Some(place) = self.free.pop() {
            self.candidates[place as usize] = candidate;
            return Ok(place);
        }
        self.charge.grow(size_of::<Option<Candidate>>() + size_of::<u32>())?;
        self.candidates.push(candidate);
        Ok(self.candidates.len() as u32 - 1)
    }

    fn candidate(&mut self, place: u32) -> &mut Candidate {
        self.candidates[place as usize].as_mut().expect("an element refers to a candidate")
    }

    fn release(&mut self, element: Element) {
        let candidate = self.candidate(element.candidate);
        candidate.elements -= 1;
        if candidate.elements == 0 {
            let bytes = candidate.labels.as_bytes().len() + LABELS_OVERHEAD;
            self.candidates[element.candidate as usize] = None;
            self.free.push(element.candidate);
            self.charge.shrink(bytes);
        }
    }

    /// The chosen elements as rows: in the order of their series or, if there is one step, best first.
    fn into_rows<'q>(
        self,
        query: &'q Query<'q>,
        groups: Vec<Vec<BinaryHeap<Element>>>,
        steps: usize,
    ) -> Result<Batch<'q>> {
        let chosen = self.candidates.iter().flatten().count();
        let _results =
            query.memory.charge(chosen.saturating_mul(steps * size_of::<f64>() + size_of::<Option<Row>>()))?;
        let row = |candidate: &Candidate| Row::absent(candidate.labels.clone(), candidate.drop_name, steps);
        let mut rows: Vec<Option<Row>> = self.candidates.iter().map(|candidate| candidate.as_ref().map(row)).collect();
        let mut order: Vec<usize> = Vec::new();
        for best in groups {
            for (step, best) in best.into_iter().enumerate() {
                for element in best.into_sorted_vec() {
                    let place = element.candidate as usize;
                    rows[place].as_mut().expect("an element refers to a candidate").set_float(step, element.value);
                    if steps == 1 {
                        order.push(place);
                    }
                }
            }
        }
        if steps != 1 {
            let position = |place: &usize| self.candidates[*place].as_ref().map(|candidate| candidate.position);
            order.extend((0..rows.len()).filter(|&place| rows[place].is_some()));
            order.sort_by_key(position);
        }
        query.batch(order.into_iter().filter_map(|place| rows[place].take()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_comes_last() {
        let mut values = [1.0, f64::NAN, 3.0, 2.0];
        values.sort_by(|a, b| best_first(*a, *b, true));
        assert_eq!(values[..3], [3.0, 2.0, 1.0]);
        values.sort_by(|a, b| best_first(*a, *b, false));
        assert_eq!(values[..3], [1.0, 2.0, 3.0]);
    }
}
