//! Table `seq_repair`: how far announcing every account again has come (service/account/announce.rs).

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// Notes that every account has to be announced again, from the first.
pub fn begin(db: &Connection) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO seq_repair (id, after_account_id) VALUES (1, 0)")?
        .execute(())?;
    Ok(())
}

/// The number of the account that was announced last; `None` when there is nothing to do.
pub fn get(db: &Connection) -> Result<Option<i64>, StoreError> {
    let mut statement = db.prepare_cached("SELECT after_account_id FROM seq_repair")?;
    Ok(statement.query_row((), |row| row.get(0)).optional()?)
}

/// Accounts up to number `account_id` have been announced.
pub fn set_after(db: &Connection, account_id: i64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE seq_repair SET after_account_id = ?1")?.execute([account_id])?;
    Ok(())
}

/// All accounts have been announced.
pub fn end(db: &Connection) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM seq_repair")?.execute(())?;
    Ok(())
}
