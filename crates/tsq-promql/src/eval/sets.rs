//! `and`, `or`, `unless`: which elements of one vector go with the presence of elements in another.

use std::collections::HashMap;

use crate::ast::{Binary, BinaryOp, Matching};

use super::context::{Query, Result};
use super::grid::Grid;
use super::matching::{Assembler, signature};
use super::memory::Charge;
use super::operator::{BoxOperator, Operator, once};
use super::row::{Batch, Row};

/// At which steps each match group has an element.
struct Presence<'q> {
    groups: HashMap<Vec<u8>, Vec<bool>>,
    matching: &'q Matching,
    key: Vec<u8>,
    charge: Charge<'q>,
}

impl<'q> Presence<'q> {
    fn new(query: &'q Query<'q>, matching: &'q Matching) -> Result<Self> {
        Ok(Self { groups: HashMap::new(), matching, key: Vec::new(), charge: query.memory.charge(0)? })
    }

    fn add(&mut self, row: &Row) -> Result<()> {
        signature(&row.labels, self.matching, &mut self.key);
        if !self.groups.contains_key(&self.key) {
            self.charge.grow(self.key.len() + row.steps() + 64)?;
            self.groups.insert(self.key.clone(), vec![false; row.steps()]);
        }
        let present = self.groups.get_mut(&self.key).expect("it was inserted above");
        for (step, present) in present.iter_mut().enumerate() {
            *present |= row.is_present(step);
        }
        Ok(())
    }

    /// Keeps the samples of a row at steps where its group is present, or only those where it is not; whether any
    /// are left.
    fn filter(&mut self, row: &mut Row, keep_present: bool) -> bool {
        signature(&row.labels, self.matching, &mut self.key);
        match self.groups.get(&self.key) {
            None => !keep_present,
            Some(present) => {
                for (step, &present) in present.iter().enumerate() {
                    if present != keep_present {
                        row.remove(step);
                    }
                }
                !row.is_empty()
            }
        }
    }
}

/// Plans a set operation.
pub(crate) fn plan<'q>(
    query: &'q Query<'q>,
    binary: &'q Binary,
    left: BoxOperator<'q>,
    right: BoxOperator<'q>,
    grid: Grid,
) -> BoxOperator<'q> {
    match binary.op {
        BinaryOp::Or => once(query, move || union(query, &binary.matching, left, right, grid)),
        op => Box::new(Filter {
            query,
            matching: &binary.matching,
            keep_present: op == BinaryOp::And,
            left,
            right: Some(right),
            presence: None,
        }),
    }
}

/// `and` and `unless`: the right side is read for its presence alone, then the left side streams through.
struct Filter<'q> {
    query: &'q Query<'q>,
    matching: &'q Matching,
    keep_present: bool,
    left: BoxOperator<'q>,
    right: Option<BoxOperator<'q>>,
    presence: Option<Presence<'q>>,
}

impl<'q> Operator<'q> for Filter<'q> {
    fn next(&mut self) -> Result<Option<Batch<'q>>> {
        if let Some(mut right) = self.right.take() {
            let mut presence = Presence::new(self.query, self.matching)?;
            while let Some(batch) = right.next()? {
                batch.rows.iter().try_for_each(|row| presence.add(row))?;
            }
            self.presence = Some(presence);
        }
        let presence = self.presence.as_mut().expect("it is made at the first call");
        let Some(mut batch) = self.left.next()? else { return Ok(None) };
        batch.rows.retain_mut(|row| presence.filter(row, self.keep_present));
        Ok(Some(batch))
    }
}

fn union<'q>(
    query: &'q Query<'q>,
    matching: &'q Matching,
    mut left: BoxOperator<'q>,
    mut right: BoxOperator<'q>,
    grid: Grid,
) -> Result<Batch<'q>> {
    let mut presence = Presence::new(query, matching)?;
    let mut rows = Assembler::new(query, grid.count)?;
    while let Some(batch) = left.next()? {
        for row in batch.rows {
            presence.add(&row)?;
            rows.add(row)?;
        }
    }
    while let Some(batch) = right.next()? {
        for mut row in batch.rows {
            if presence.filter(&mut row, false) {
                rows.add(row)?;
            }
        }
    }
    rows.finish()
}
