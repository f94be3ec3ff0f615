//! Table `server_secret`: secrets of the server itself, sealed.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// The sealed secret of this name.
pub fn get(db: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db
        .prepare_cached("SELECT sealed FROM server_secret WHERE name = ?1")?
        .query_row((name,), |row| row.get(0))
        .optional()?)
}

/// Stores a secret unless one of this name is there already; returns the one that stands.
pub fn insert_or_get(db: &Connection, name: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    db.prepare_cached("INSERT INTO server_secret (name, sealed) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((name, sealed))?;
    Ok(get(db, name)?.unwrap_or_else(|| sealed.to_vec()))
}
