//! Table `app_password`: passwords that an account's owner gave to programs, by keyed hash.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use super::StoreError;
use crate::time::Micros;

/// A row of `app_password`, without its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// What its owner calls it; no two of an account are called the same.
    pub name: String,
    /// Reaches private messages too.
    pub privileged: bool,
    /// When it was made.
    pub created_at: Micros,
}

/// Why a row was not inserted.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// The account has another one of this name.
    #[error("the name is taken")]
    NameTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<AppPassword> {
    Ok(AppPassword { name: row.get(0)?, privileged: row.get(1)?, created_at: row.get(2)? })
}

/// Inserts a row.
pub fn insert(
    db: &Connection,
    account_id: i64,
    app_password: &AppPassword,
    hash: &[u8; 32],
) -> Result<(), InsertError> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO app_password (account_id, name, hash, privileged, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .map_err(StoreError::from)?
        .execute((
            account_id,
            &app_password.name,
            &hash[..],
            app_password.privileged,
            app_password.created_at,
        ));
    inserted.map(|_| ()).map_err(|error| match &error {
        rusqlite::Error::SqliteFailure(code, Some(message))
            if code.code == ErrorCode::ConstraintViolation && message.contains("app_password.name") =>
        {
            InsertError::NameTaken
        }
        _ => InsertError::Store(error.into()),
    })
}

/// The one of this name.
pub fn get(db: &Connection, account_id: i64, name: &str) -> Result<Option<AppPassword>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT name, privileged, created_at FROM app_password WHERE account_id = ?1 AND name = ?2",
        )?
        .query_row((account_id, name), from_row)
        .optional()?)
}

/// The one with this hash.
pub fn get_by_hash(
    db: &Connection,
    account_id: i64,
    hash: &[u8; 32],
) -> Result<Option<AppPassword>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT name, privileged, created_at FROM app_password WHERE account_id = ?1 AND hash = ?2",
        )?
        .query_row((account_id, &hash[..]), from_row)
        .optional()?)
}

/// All of an account, newest first.
pub fn list(db: &Connection, account_id: i64) -> Result<Vec<AppPassword>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT name, privileged, created_at
         FROM app_password
         WHERE account_id = ?1
         ORDER BY created_at DESC, rowid DESC",
    )?;
    let rows = statement.query_map((account_id,), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many an account has.
pub fn count(db: &Connection, account_id: i64) -> Result<i64, StoreError> {
    Ok(db
        .prepare_cached("SELECT COUNT(*) FROM app_password WHERE account_id = ?1")?
        .query_row((account_id,), |row| row.get(0))?)
}

/// Deletes the one of this name; nothing happens when it is gone already.
pub fn delete(db: &Connection, account_id: i64, name: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM app_password WHERE account_id = ?1 AND name = ?2")?
        .execute((account_id, name))?;
    Ok(())
}

/// Deletes all of an account.
pub fn delete_all(db: &Connection, account_id: i64) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM app_password WHERE account_id = ?1")?.execute((account_id,))?;
    Ok(())
}
