//! Table `reserved_signing_key`: keys handed out before their account exists, sealed.

use atproto::syntax::Did;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::time::Micros;

/// A row of `reserved_signing_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedKey {
    /// Its public half.
    pub did_key: String,
    /// Sealed as the key of an account is.
    pub sealed: Vec<u8>,
    /// When it was asked for last.
    pub reserved_at: Micros,
}

/// The key that is reserved for `did`, whatever its age.
pub fn get(db: &Connection, did: &Did) -> Result<Option<ReservedKey>, StoreError> {
    Ok(db
        .prepare_cached("SELECT did_key, sealed, reserved_at FROM reserved_signing_key WHERE did = ?1")?
        .query_row((did.as_str(),), |row| {
            Ok(ReservedKey { did_key: row.get(0)?, sealed: row.get(1)?, reserved_at: row.get(2)? })
        })
        .optional()?)
}

/// Inserts a key, for `did` or for nobody in particular. A DID has one key at most.
pub fn insert(db: &Connection, did: Option<&Did>, key: &ReservedKey) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO reserved_signing_key (did_key, did, sealed, reserved_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((&key.did_key, did.map(Did::as_str), &key.sealed, key.reserved_at))?;
    Ok(())
}

/// Makes a reservation young again.
pub fn set_reserved_at(db: &Connection, did: &Did, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE reserved_signing_key SET reserved_at = ?2 WHERE did = ?1")?
        .execute((did.as_str(), now))?;
    Ok(())
}

/// How many keys are reserved: for a DID, and for nobody in particular.
pub fn count(db: &Connection) -> Result<(i64, i64), StoreError> {
    Ok(db
        .prepare_cached("SELECT COUNT(did), COUNT(*) - COUNT(did) FROM reserved_signing_key")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Deletes the oldest key that is reserved for nobody in particular.
pub fn delete_oldest_nameless(db: &Connection) -> Result<(), StoreError> {
    db.prepare_cached(
        "DELETE FROM reserved_signing_key WHERE rowid =
             (SELECT rowid FROM reserved_signing_key WHERE did IS NULL ORDER BY reserved_at, rowid LIMIT 1)",
    )?
    .execute(())?;
    Ok(())
}

/// Deletes the key that is reserved for `did`.
pub fn delete(db: &Connection, did: &Did) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM reserved_signing_key WHERE did = ?1")?.execute((did.as_str(),))?;
    Ok(())
}

/// Deletes what was reserved before `before`.
pub fn delete_older(db: &Connection, before: Micros) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM reserved_signing_key WHERE reserved_at < ?1")?.execute((before,))?;
    Ok(())
}
