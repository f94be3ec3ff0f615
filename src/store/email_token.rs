//! Table `email_token`: codes that were sent by mail, one for each account and purpose, as keyed hashes.
//!
//! Not for: making codes and hashing them (`service::account::email_token`).

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::time::Micros;

/// A row of `email_token`.
#[derive(Clone, Debug)]
pub struct EmailTokenRow {
    /// Whose it is.
    pub account_id: i64,
    /// The keyed hash of its text.
    pub token_hash: [u8; 32],
    /// When it stops being good.
    pub expires_at: Micros,
    /// How often somebody guessed wrong.
    pub wrong_guesses: u32,
}

/// Makes this the one code of the account for `purpose`.
pub fn put(
    db: &Connection,
    account_id: i64,
    purpose: &str,
    token_hash: &[u8; 32],
    expires_at: Micros,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO email_token (account_id, purpose, token_hash, expires_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account_id, purpose) DO UPDATE
         SET token_hash = excluded.token_hash, expires_at = excluded.expires_at, wrong_guesses = 0",
    )?
    .execute((account_id, purpose, &token_hash[..], expires_at))?;
    Ok(())
}

/// The code of the account for `purpose`.
pub fn get(db: &Connection, account_id: i64, purpose: &str) -> Result<Option<EmailTokenRow>, StoreError> {
    get_where(db, "account_id = ?1 AND purpose = ?2", (account_id, purpose))
}

/// The code for `purpose` with this hash, whosever it is.
pub fn get_by_hash(
    db: &Connection,
    purpose: &str,
    token_hash: &[u8; 32],
) -> Result<Option<EmailTokenRow>, StoreError> {
    get_where(db, "purpose = ?1 AND token_hash = ?2", (purpose, &token_hash[..]))
}

fn get_where(
    db: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Option<EmailTokenRow>, StoreError> {
    let sql = format!(
        "SELECT account_id, token_hash, expires_at, wrong_guesses FROM email_token WHERE {condition}"
    );
    let row = db.prepare_cached(&sql)?.query_row(values, |row| {
        Ok(EmailTokenRow {
            account_id: row.get(0)?,
            token_hash: row.get(1)?,
            expires_at: row.get(2)?,
            wrong_guesses: row.get(3)?,
        })
    });
    Ok(row.optional()?)
}

/// Counts a wrong guess.
pub fn count_wrong_guess(db: &Connection, account_id: i64, purpose: &str) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE email_token SET wrong_guesses = wrong_guesses + 1 WHERE account_id = ?1 AND purpose = ?2",
    )?
    .execute((account_id, purpose))?;
    Ok(())
}

/// Deletes the code of the account for `purpose`; nothing happens when there is none.
pub fn delete(db: &Connection, account_id: i64, purpose: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM email_token WHERE account_id = ?1 AND purpose = ?2")?
        .execute((account_id, purpose))?;
    Ok(())
}

/// Deletes every code of the account.
pub fn delete_all(db: &Connection, account_id: i64) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM email_token WHERE account_id = ?1")?.execute([account_id])?;
    Ok(())
}

/// Deletes up to `limit` codes that stopped being good before `before`; returns how many.
pub fn delete_expired(db: &Connection, before: Micros, limit: u32) -> Result<usize, StoreError> {
    Ok(db
        .prepare_cached(
            "DELETE FROM email_token
             WHERE rowid IN (SELECT rowid FROM email_token WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        )?
        .execute((before, limit))?)
}
