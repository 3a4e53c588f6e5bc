//! Tables of texts by owner and key: tags of experiments and models, params of models.

use rusqlite::{Connection, Transaction, params};

use super::Pair;
use crate::error::Result;

/// A table of texts by owner and key.
#[derive(Clone, Copy, Debug)]
pub(super) struct TagTable(pub(super) &'static str);

impl TagTable {
    /// All pairs of an owner, by key.
    pub(super) fn of(self, connection: &Connection, owner: i64) -> Result<Vec<Pair>> {
        let sql = format!("SELECT key, value FROM {} WHERE owner = ?1 ORDER BY key", self.0);
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Sets pairs, over earlier values.
    pub(super) fn set(self, transaction: &Transaction<'_>, owner: i64, pairs: &[Pair]) -> Result<()> {
        let mut statement =
            transaction.prepare_cached(&format!("INSERT OR REPLACE INTO {} VALUES (?1, ?2, ?3)", self.0))?;
        for (key, value) in pairs {
            statement.execute(params![owner, key, value])?;
        }
        Ok(())
    }

    /// Removes a key; whether it was there.
    pub(super) fn remove(self, transaction: &Transaction<'_>, owner: i64, key: &str) -> Result<bool> {
        let sql = format!("DELETE FROM {} WHERE owner = ?1 AND key = ?2", self.0);
        Ok(transaction.prepare_cached(&sql)?.execute(params![owner, key])? > 0)
    }

    /// Removes everything of an owner.
    pub(super) fn clear(self, transaction: &Transaction<'_>, owner: i64) -> Result<()> {
        transaction.prepare_cached(&format!("DELETE FROM {} WHERE owner = ?1", self.0))?.execute([owner])?;
        Ok(())
    }
}
