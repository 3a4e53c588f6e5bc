//! Functions that put the elements of an instant query into an order.

use std::cmp::Ordering;

use crate::kernels::Note;

use super::calls::Call;

use super::context::Result;
use super::operator::{BoxOperator, Map, collect, once};
use super::plan::Planner;
use super::row::Row;
use super::topk::best_first;

/// `sort(v)`: smallest first, NaN last, histograms left out.
pub(crate) fn sort<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    by_value(planner, call, false)
}

/// `sort_desc(v)`: largest first, NaN last, histograms left out.
pub(crate) fn sort_desc<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    by_value(planner, call, true)
}

fn by_value<'q>(planner: Planner<'q>, call: Call<'q>, largest: bool) -> Result<BoxOperator<'q>> {
    // Histograms have no order. They go also where nothing is sorted.
    let input = Map {
        input: planner.vector(&call.args[0], call.grid)?,
        change: |row: &mut Row| {
            row.remove_histograms();
            Ok(!row.is_empty())
        },
    };
    sorted(planner, call, Box::new(input), move |rows| {
        let value = |row: &Row| row.float(0).unwrap_or(f64::NAN);
        rows.sort_by(|a, b| best_first(value(a), value(b), largest));
    })
}

/// `sort_by_label(v, label...)`: in natural order, numbers in values counting as numbers.
pub(crate) fn sort_by_label<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    by_label(planner, call, false)
}

/// `sort_by_label_desc(v, label...)`
pub(crate) fn sort_by_label_desc<'q>(planner: Planner<'q>, call: Call<'q>) -> Result<BoxOperator<'q>> {
    by_label(planner, call, true)
}

fn by_label<'q>(planner: Planner<'q>, call: Call<'q>, descending: bool) -> Result<BoxOperator<'q>> {
    let names: Result<Vec<&str>> = call.args[1..].iter().map(|arg| planner.string(arg)).collect();
    let names = names?;
    let input = planner.vector(&call.args[0], call.grid)?;
    sorted(planner, call, input, move |rows| {
        rows.sort_by(|a, b| {
            let by_label = |name: &&str| natural(a.labels.get(name).unwrap_or(""), b.labels.get(name).unwrap_or(""));
            let order = names.iter().map(by_label).find(|order| order.is_ne());
            let order = order.unwrap_or_else(|| a.labels.cmp(&b.labels));
            if descending { order.reverse() } else { order }
        });
    })
}

fn sorted<'q>(
    planner: Planner<'q>,
    call: Call<'q>,
    mut input: BoxOperator<'q>,
    sort: impl FnOnce(&mut Vec<Row>) + 'q,
) -> Result<BoxOperator<'q>> {
    let query = planner.query;
    if query.is_range {
        query.note(Note::SortInRangeQuery, "", call.expr.range);
    }
    if call.grid.count != 1 {
        return Ok(input);
    }
    Ok(once(query, move || {
        let mut all = collect(query, input.as_mut())?;
        sort(&mut all.rows);
        Ok(all)
    }))
}

/// Compares run by run of digits and of other characters; runs of digits as numbers.
fn natural(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        let (run_a, run_b) = (take_run(&mut a), take_run(&mut b));
        let order = match (run_a.parse::<u64>(), run_b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => run_a.cmp(run_b),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn take_run<'t>(text: &mut &'t str) -> &'t str {
    let is_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_sort_as_numbers() {
        let mut names = ["node10", "node9", "a", "node9b", "", "node9a2", "node9a10"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "a", "node9", "node9a2", "node9a10", "node9b", "node10"]);
    }
}
