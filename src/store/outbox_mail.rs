//! Table `outbox_mail`: mail that no SMTP server took, because none is set. The newest few, sealed.
//!
//! Not for: sealing, and what a mail says (`service::mail`).

use rusqlite::Connection;

use super::StoreError;
use crate::time::Micros;

/// Adds a mail, and removes all but the newest `kept_max`.
pub fn insert(db: &Connection, sealed: &[u8], now: Micros, kept_max: u32) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO outbox_mail (created_at, sealed) VALUES (?1, ?2)")?
        .execute((now, sealed))?;
    db.prepare_cached(
        "DELETE FROM outbox_mail WHERE id <= (SELECT id FROM outbox_mail ORDER BY id DESC LIMIT 1 OFFSET ?1)",
    )?
    .execute([kept_max])?;
    Ok(())
}

/// Every mail that is kept, oldest first: when it was made, and the sealed mail.
pub fn list(db: &Connection) -> Result<Vec<(Micros, Vec<u8>)>, StoreError> {
    let mut statement = db.prepare_cached("SELECT created_at, sealed FROM outbox_mail ORDER BY id")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes the mails made before `before`; returns how many.
pub fn delete_before(db: &Connection, before: Micros) -> Result<usize, StoreError> {
    Ok(db.prepare_cached("DELETE FROM outbox_mail WHERE created_at < ?1")?.execute([before])?)
}

/// Removes all mails; returns how many.
pub fn delete_all(db: &Connection) -> Result<usize, StoreError> {
    Ok(db.prepare_cached("DELETE FROM outbox_mail")?.execute(())?)
}
