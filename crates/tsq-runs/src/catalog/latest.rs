//! Latest values of metrics: a cache of what the engine owns.

use std::cmp::Ordering;

use rusqlite::{Connection, Transaction, params};

use super::{Catalog, key};
use crate::error::Result;

/// The latest value of a metric of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// The metric's key.
    pub key: String,
    /// Its value, every bit of it.
    pub value: f64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// Training step.
    pub step: i64,
}

/// A point without its metric: step, time, value.
pub(crate) type Ordered = (i64, i64, f64);

/// Whether a point comes after another: by step, time and value, where NaN comes before all numbers.
pub(crate) fn is_later(point: Ordered, than: Ordered) -> bool {
    let rank = |value: f64| (!value.is_nan(), value);
    let by_value = || {
        let (left, right) = (rank(point.2), rank(than.2));
        left.0.cmp(&right.0).then_with(|| left.1.total_cmp(&right.1))
    };
    (point.0, point.1).cmp(&(than.0, than.1)).then_with(by_value) == Ordering::Greater
}

/// A value as the columns `value` and `special`.
pub(super) fn to_columns(value: f64) -> (Option<f64>, Option<i64>) {
    let is_special = value.is_nan() || value.to_bits() == (-0.0_f64).to_bits();
    ((!value.is_nan()).then_some(value), is_special.then_some(value.to_bits().cast_signed()))
}

/// The value of the columns `value` and `special`.
pub(super) fn from_columns(value: Option<f64>, special: Option<i64>) -> f64 {
    special.map_or(value.unwrap_or(f64::NAN), |bits| f64::from_bits(bits.cast_unsigned()))
}

/// The latest values of a run, by key.
pub(super) fn of_run(connection: &Connection, run: i64) -> Result<Vec<Latest>> {
    let mut statement = connection.prepare_cached(
        "SELECT k.name, l.value, l.special, l.time_ms, l.step FROM latest l JOIN keys k ON k.id = l.key \
         WHERE l.run = ?1 ORDER BY k.name",
    )?;
    let rows = statement.query_map([run], |row| {
        let value = from_columns(row.get(1)?, row.get(2)?);
        Ok(Latest { key: row.get(0)?, value, time_ms: row.get(3)?, step: row.get(4)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Puts latest values in the place of older ones.
fn put(transaction: &Transaction<'_>, run: i64, values: &[Latest]) -> Result<()> {
    let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO latest VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for latest in values {
        let (value, special) = to_columns(latest.value);
        statement.execute(params![key(transaction, &latest.key)?, run, value, special, latest.time_ms, latest.step])?;
    }
    Ok(())
}

/// What is to be written about one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatestUpdate {
    pub(crate) run: i64,
    pub(crate) values: Vec<Latest>,
    /// The values are all there are, and the engine holds no newer ones.
    pub(crate) whole: bool,
    /// No sample of the run is on its way: the engine holds nothing newer than the cache.
    pub(crate) settled: bool,
}

impl Catalog {
    /// The latest values of a run, by key, as far as they are cached.
    pub(crate) fn latest(&self, run: i64) -> Result<Vec<Latest>> {
        self.read(|connection| of_run(connection, run))
    }

    /// Writes latest values of several runs.
    pub(crate) fn put_latest(&self, updates: &[LatestUpdate]) -> Result<()> {
        self.write(|tx| {
            for update in updates {
                if update.whole {
                    tx.prepare_cached("DELETE FROM latest WHERE run = ?1")?.execute([update.run])?;
                }
                put(tx, update.run, &update.values)?;
                if update.settled {
                    tx.prepare_cached("UPDATE runs SET unsettled = 0 WHERE id = ?1")?.execute([update.run])?;
                }
            }
            Ok(())
        })
    }

    /// Numbers and ids of the runs that may have newer samples in the engine than in the cache.
    pub(crate) fn unsettled(&self) -> Result<Vec<(i64, String)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, run_id FROM runs WHERE unsettled = 1")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_point_has_the_greatest_step_then_time_then_value() {
        assert!(is_later((2, 0, 0.0), (1, 9, 9.0)));
        assert!(is_later((1, 2, 0.0), (1, 1, 9.0)));
        assert!(is_later((1, 1, 2.0), (1, 1, 1.0)));
        assert!(is_later((1, 1, 0.0), (1, 1, f64::NAN)) && !is_later((1, 1, f64::NAN), (1, 1, 0.0)));
        assert!(!is_later((1, 1, f64::NAN), (1, 1, f64::NAN)) && !is_later((1, 1, 1.0), (1, 1, 1.0)));
        assert!(is_later((1, 1, 0.0), (1, 1, -0.0)));
    }

    #[test]
    fn every_bit_of_a_value_survives() {
        for value in [0.0, -0.0, 1.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::from_bits(0x7ff8_0000_0000_0001)]
        {
            let (column, special) = to_columns(value);
            assert_eq!(from_columns(column, special).to_bits(), value.to_bits());
        }
    }
}
