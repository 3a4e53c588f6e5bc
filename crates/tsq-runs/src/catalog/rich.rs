//! What runs log that is no float, so that a history can be read back whole.

use rusqlite::params;

use super::{Catalog, key, key_of};
use crate::error::{Error, Result};
use crate::names::check_length;

/// Bytes of one such value.
const VALUE_BYTES: usize = 1 << 20;

/// Values that one call may read.
const ROWS: u32 = 1_000_000;

/// A value of a run's history that is no float. Of several with one key, step and time the last written stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RichValue {
    /// Key, as that of a metric.
    pub key: String,
    /// Training step.
    pub step: i64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// How to read the value, in the words of the protocol that wrote it: `json`, `text`, `media`.
    pub kind: String,
    /// The value itself.
    pub value: Vec<u8>,
}

impl Catalog {
    /// Writes values of the run with this number.
    ///
    /// # Errors
    /// `Invalid` for a value larger than 1 MiB.
    pub fn put_rich_values(&self, run: i64, values: &[RichValue]) -> Result<()> {
        for value in values {
            check_length("Kind", &value.key, &value.kind, 64)?;
            if value.value.len() > VALUE_BYTES {
                return Err(Error::invalid(format!("the value of {:?} is larger than {VALUE_BYTES} bytes", value.key)));
            }
        }
        self.write(|tx| {
            let mut statement =
                tx.prepare_cached("INSERT OR REPLACE INTO rich_values VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            for value in values {
                let key = key(tx, &value.key)?;
                statement.execute(params![run, key, value.step, value.time_ms, value.kind, value.value])?;
            }
            Ok(())
        })
    }

    /// Values of the run with this number in a range of steps, both ends inside, of one key or of all: by key, step and
    /// time, at most a million.
    ///
    /// # Errors
    /// `Storage`.
    pub fn rich_values(&self, run: i64, key: Option<&str>, min_step: i64, max_step: i64) -> Result<Vec<RichValue>> {
        self.read(|connection| {
            let one = match key {
                None => None,
                Some(name) => match key_of(connection, name)? {
                    None => return Ok(Vec::new()),
                    found => found,
                },
            };
            let mut statement = connection.prepare_cached(
                "SELECT k.name, v.step, v.time_ms, v.kind, v.value FROM rich_values v JOIN keys k ON k.id = v.key \
                 WHERE v.run = ?1 AND (?2 IS NULL OR v.key = ?2) AND v.step BETWEEN ?3 AND ?4 \
                 ORDER BY k.name, v.step, v.time_ms LIMIT ?5",
            )?;
            let rows = statement.query_map(params![run, one, min_step, max_step, ROWS], |row| {
                Ok(RichValue {
                    key: row.get(0)?,
                    step: row.get(1)?,
                    time_ms: row.get(2)?,
                    kind: row.get(3)?,
                    value: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
