//! Table `account_pref`: private settings of accounts.

use rusqlite::Connection;

use super::StoreError;

/// A row of `account_pref`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Its `$type`.
    pub name: String,
    /// JSON.
    pub value: String,
}

/// The preferences of an account, in the order in which they were put.
pub fn list(db: &Connection, account_id: i64) -> Result<Vec<Preference>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT name, value FROM account_pref WHERE account_id = ?1 ORDER BY id")?;
    let rows =
        statement.query_map([account_id], |row| Ok(Preference { name: row.get(0)?, value: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Replaces all preferences of an account but those named `kept`.
pub fn replace(
    db: &Connection,
    account_id: i64,
    kept: Option<&str>,
    preferences: &[Preference],
) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM account_pref WHERE account_id = ?1 AND name IS NOT ?2")?
        .execute((account_id, kept))?;
    let mut insert =
        db.prepare_cached("INSERT INTO account_pref (account_id, name, value) VALUES (?1, ?2, ?3)")?;
    for preference in preferences {
        insert.execute((account_id, &preference.name, &preference.value))?;
    }
    Ok(())
}
