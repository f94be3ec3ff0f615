//! Table `did_cache`: DID documents as they were last resolved.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::time::Micros;

/// Documents kept; the oldest go first.
const DOCUMENTS_MAX: i64 = 100_000;

/// The document's JSON and when it was resolved.
pub fn get(db: &Connection, did: &str) -> Result<Option<(String, Micros)>, StoreError> {
    Ok(db
        .prepare_cached("SELECT document, updated_at FROM did_cache WHERE did = ?1")?
        .query_row((did,), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Stores a document, replacing the one that was there.
pub fn put(db: &Connection, did: &str, document: &str, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO did_cache (did, document, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (did) DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at",
    )?
    .execute((did, document, now))?;
    // Rows are numbered upwards, so the smallest numbers are the documents met first.
    db.prepare_cached("DELETE FROM did_cache WHERE rowid <= (SELECT MAX(rowid) FROM did_cache) - ?1")?
        .execute((DOCUMENTS_MAX,))?;
    Ok(())
}

/// Forgets a document.
pub fn delete(db: &Connection, did: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM did_cache WHERE did = ?1")?.execute((did,))?;
    Ok(())
}
