//! Table `refresh_token`: sessions that can be continued, by the hash of their token's `jti`.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::time::Micros;

/// A row of `refresh_token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenRow {
    /// SHA-256 of the `jti`.
    pub id_hash: [u8; 32],
    /// Whose session it is.
    pub account_id: i64,
    /// When it stops being good; brought forward once it has a successor.
    pub expires_at: Micros,
    /// When it got its successor.
    pub rotated_at: Option<Micros>,
    /// The app password that it was made with; `None`: the account's own.
    pub app_password_name: Option<String>,
}

/// Inserts a row; one that is there already stays as it is (racing refreshes make the same successor).
pub fn insert(db: &Connection, row: &RefreshTokenRow) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO refresh_token (id_hash, account_id, expires_at, rotated_at, app_password_name)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    )?
    .execute((
        &row.id_hash[..],
        row.account_id,
        row.expires_at,
        row.rotated_at,
        &row.app_password_name,
    ))?;
    Ok(())
}

/// The row of this hash.
pub fn get(db: &Connection, id_hash: &[u8; 32]) -> Result<Option<RefreshTokenRow>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT account_id, expires_at, rotated_at, app_password_name
             FROM refresh_token
             WHERE id_hash = ?1",
        )?
        .query_row((&id_hash[..],), |row| {
            Ok(RefreshTokenRow {
                id_hash: *id_hash,
                account_id: row.get(0)?,
                expires_at: row.get(1)?,
                rotated_at: row.get(2)?,
                app_password_name: row.get(3)?,
            })
        })
        .optional()?)
}

/// Marks a token as succeeded by another, good until `expires_at` at most.
pub fn set_rotated(
    db: &Connection,
    id_hash: &[u8; 32],
    rotated_at: Micros,
    expires_at: Micros,
) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE refresh_token SET rotated_at = ?2, expires_at = ?3 WHERE id_hash = ?1")?
        .execute((&id_hash[..], rotated_at, expires_at))?;
    Ok(())
}

/// Deletes one token; nothing happens when it is gone already.
pub fn delete(db: &Connection, id_hash: &[u8; 32]) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM refresh_token WHERE id_hash = ?1")?.execute((&id_hash[..],))?;
    Ok(())
}

/// Deletes the sessions that were made with an app password.
pub fn delete_of_app_password(db: &Connection, account_id: i64, name: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM refresh_token WHERE account_id = ?1 AND app_password_name = ?2")?
        .execute((account_id, name))?;
    Ok(())
}

/// Deletes what has expired of an account.
pub fn delete_expired(db: &Connection, account_id: i64, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM refresh_token WHERE account_id = ?1 AND expires_at <= ?2")?
        .execute((account_id, now))?;
    Ok(())
}

/// Deletes every token of an account, those of its app passwords too: all sessions end with their access tokens.
pub fn delete_all(db: &Connection, account_id: i64) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM refresh_token WHERE account_id = ?1")?.execute([account_id])?;
    Ok(())
}
