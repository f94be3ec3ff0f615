//! Table `signing_key`: the key that signs an account's commits, sealed.

use atproto::syntax::Did;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// Stores the key of an account that has none.
pub fn insert(db: &Connection, account_id: i64, did_key: &str, sealed: &[u8]) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO signing_key (account_id, did_key, sealed) VALUES (?1, ?2, ?3)")?
        .execute((account_id, did_key, sealed))?;
    Ok(())
}

/// Stores another key in the place of an account's.
pub fn replace(db: &Connection, account_id: i64, did_key: &str, sealed: &[u8]) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE signing_key SET did_key = ?2, sealed = ?3 WHERE account_id = ?1")?
        .execute((account_id, did_key, sealed))?;
    Ok(())
}

/// The `did:key` and the sealed key of the account `did`.
pub fn get(db: &Connection, did: &Did) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let sql = "SELECT did_key, sealed FROM account JOIN signing_key ON account_id = account.id WHERE account.did = ?1";
    let found = db.prepare_cached(sql)?.query_row([did.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

/// The `did:key` of an account.
pub fn get_did_key(db: &Connection, account_id: i64) -> Result<Option<String>, StoreError> {
    Ok(db
        .prepare_cached("SELECT did_key FROM signing_key WHERE account_id = ?1")?
        .query_row((account_id,), |row| row.get(0))
        .optional()?)
}
