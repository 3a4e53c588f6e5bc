//! Searching: pages of what passes a filter.

use rusqlite::Connection;

use crate::error::Result;
use crate::filter::{Filter, Query, RUNS};

/// Which part of what was found is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub limit: u32,
    /// How many are left out before.
    pub offset: u64,
}

/// Whether deleted ones are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Those that are not deleted.
    #[default]
    Active,
    /// Those that are deleted.
    Deleted,
    /// Both.
    All,
}

impl View {
    /// The condition on a column that is NULL in what is not deleted.
    pub(super) fn condition(self, column: &str) -> String {
        match self {
            Self::Active => format!("{column} IS NULL"),
            Self::Deleted => format!("{column} IS NOT NULL"),
            Self::All => "1".to_owned(),
        }
    }
}

/// Which runs are wanted, and in which order.
#[derive(Clone, Debug, Default)]
pub struct RunSearch<'a> {
    /// Numbers of experiments; none: no run.
    pub experiments: &'a [i64],
    /// Filter in MLflow's language.
    pub filter: &'a str,
    /// Keys of the order; newest runs first where they leave it open.
    pub order_by: &'a [String],
    /// Whether deleted ones are wanted.
    pub view: View,
}

impl RunSearch<'_> {
    pub(super) fn parse(&self) -> Result<Filter> {
        Filter::parse(self.filter, self.order_by, &RUNS)
    }
}

/// The SQL of a search for runs.
pub(super) fn run_query(connection: &Connection, search: &RunSearch<'_>, filter: &Filter) -> Result<Query> {
    let mut query = filter.compile(connection)?;
    let args: Vec<_> = search.experiments.iter().map(|&id| query.arg(id)).collect();
    query.and(format!("r.experiment IN ({})", args.join(", ")));
    query.and(search.view.condition("r.deleted_ms"));
    Ok(query)
}

/// The numbers of a page, and the offset of the next one if there is one.
pub(super) fn search_page(connection: &Connection, query: &Query, page: &Page) -> Result<(Vec<i64>, Option<u64>)> {
    let mut statement = connection.prepare_cached(&query.sql())?;
    let mut args = query.args.clone();
    args.push((i64::from(page.limit) + 1).into());
    args.push(i64::try_from(page.offset).unwrap_or(i64::MAX).into());
    let rows = statement.query_map(rusqlite::params_from_iter(args), |row| row.get(0))?;
    let mut ids: Vec<i64> = rows.collect::<Result<_, _>>()?;
    let more = ids.len() > page.limit as usize;
    ids.truncate(page.limit as usize);
    Ok((ids, more.then(|| page.offset + u64::from(page.limit))))
}
