//! Table `account`.

use atproto::syntax::{Did, Handle};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use super::{StoreError, column::TextColumn};
use crate::time::Micros;

/// A row of `account`.
#[derive(Clone, Debug)]
pub struct Account {
    /// This server's own number for it.
    pub id: i64,
    /// Its name everywhere.
    pub did: Did,
    /// Lower case; `None` once given up.
    pub handle: Option<Handle>,
    /// Lower case.
    pub email: Option<String>,
    /// When the address was confirmed.
    pub email_confirmed_at: Option<Micros>,
    /// PHC string; `None`: cannot sign in by password.
    pub password_hash: Option<String>,
    /// When it was made here.
    pub created_at: Micros,
    /// Since when it is deactivated.
    pub deactivated_at: Option<Micros>,
    /// When its owner wishes it deleted.
    pub delete_after: Option<Micros>,
    /// Why it is taken down.
    pub takedown_ref: Option<String>,
    /// It earns no invite codes that are good for anything.
    pub invites_disabled: bool,
    /// The repo served; `None` before the first commit or import (accounts made with an existing DID).
    pub repo_id: Option<i64>,
}

/// Hosting status (AC-1). Takedown wins over deactivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Served.
    Active,
    /// Put to rest by its owner, or not moved in yet.
    Deactivated,
    /// Put to rest by the operator.
    Takendown,
}

impl Account {
    /// What the account's times and marks amount to.
    pub fn status(&self) -> Status {
        if self.takedown_ref.is_some() {
            Status::Takendown
        } else if self.deactivated_at.is_some() {
            Status::Deactivated
        } else {
            Status::Active
        }
    }

    /// True when it is served to the public (AC-2).
    pub fn is_active(&self) -> bool {
        self.status() == Status::Active
    }
}

impl Status {
    /// The protocol's word; `None` when active.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Status::Active => None,
            Status::Deactivated => Some("deactivated"),
            Status::Takendown => Some("takendown"),
        }
    }
}

/// What a new row is made of.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name everywhere.
    pub did: Did,
    /// The handle that it goes by.
    pub handle: Option<Handle>,
    /// Lower case.
    pub email: Option<String>,
    /// PHC string.
    pub password_hash: Option<String>,
    /// Moving in: deactivated from the start.
    pub deactivated_at: Option<Micros>,
}

/// Why a row was not inserted.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// Another account has the DID.
    #[error("the DID has an account here already")]
    DidTaken,
    /// Another account has the handle.
    #[error("the handle is taken")]
    HandleTaken,
    /// Another account has the address.
    #[error("the email address is taken")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const COLUMNS: &str = "id, did, handle, email, email_confirmed_at, password_hash, created_at, deactivated_at, \
                       delete_after, takedown_ref, invites_disabled, repo_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: row.get(0)?,
        did: row.get::<_, TextColumn<Did>>(1)?.0,
        handle: row.get::<_, Option<TextColumn<Handle>>>(2)?.map(|handle| handle.0),
        email: row.get(3)?,
        email_confirmed_at: row.get(4)?,
        password_hash: row.get(5)?,
        created_at: row.get(6)?,
        deactivated_at: row.get(7)?,
        delete_after: row.get(8)?,
        takedown_ref: row.get(9)?,
        invites_disabled: row.get(10)?,
        repo_id: row.get(11)?,
    })
}

fn get_where(db: &Connection, condition: &str, value: &str) -> Result<Option<Account>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM account WHERE {condition} = ?1");
    Ok(db.prepare_cached(&sql)?.query_row((value,), from_row).optional()?)
}

/// The account with this DID, whatever its status.
pub fn get_by_did(db: &Connection, did: &Did) -> Result<Option<Account>, StoreError> {
    get_where(db, "did", did.as_str())
}

/// The account with this handle, whatever its status.
pub fn get_by_handle(db: &Connection, handle: &Handle) -> Result<Option<Account>, StoreError> {
    get_where(db, "handle", handle.as_str())
}

/// The account with this address, whatever its status. `email` in lower case.
pub fn get_by_email(db: &Connection, email: &str) -> Result<Option<Account>, StoreError> {
    get_where(db, "email", email)
}

/// Accounts in the order in which they were made, after `after_id`, at most `n_max`.
pub fn list(db: &Connection, after_id: i64, n_max: usize) -> Result<Vec<Account>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM account WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((after_id, i64::try_from(n_max).unwrap_or(i64::MAX)), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Inserts a row without a repo; returns its id.
pub fn insert(db: &Connection, account: &NewAccount, now: Micros) -> Result<i64, InsertError> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO account (did, handle, email, password_hash, created_at, deactivated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(StoreError::from)?
        .insert((
            account.did.as_str(),
            account.handle.as_ref().map(Handle::as_str),
            &account.email,
            &account.password_hash,
            now,
            account.deactivated_at,
        ));
    inserted.map_err(|error| match taken_column(&error) {
        Some("did") => InsertError::DidTaken,
        Some("handle") => InsertError::HandleTaken,
        Some("email") => InsertError::EmailTaken,
        _ => InsertError::Store(error.into()),
    })
}

/// The column of `account` whose uniqueness was violated.
fn taken_column(error: &rusqlite::Error) -> Option<&str> {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(message))
            if code.code == ErrorCode::ConstraintViolation =>
        {
            message.strip_prefix("UNIQUE constraint failed: account.")
        }
        _ => None,
    }
}

/// Whether the invite codes that the account earns are good for anything. Nothing happens when there is no such account.
pub fn set_invites_disabled(db: &Connection, did: &Did, disabled: bool) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET invites_disabled = ?2 WHERE did = ?1")?
        .execute((did.as_str(), disabled))?;
    Ok(())
}

/// Gives the account another handle.
pub fn set_handle(db: &Connection, account_id: i64, handle: &Handle) -> Result<(), InsertError> {
    let updated = db
        .prepare_cached("UPDATE account SET handle = ?2 WHERE id = ?1")
        .map_err(StoreError::from)?
        .execute((account_id, handle.as_str()));
    match updated {
        Ok(_) => Ok(()),
        Err(error) if taken_column(&error) == Some("handle") => Err(InsertError::HandleTaken),
        Err(error) => Err(InsertError::Store(error.into())),
    }
}

/// Points the account at another repo generation.
pub fn set_repo(db: &Connection, account_id: i64, repo_id: i64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET repo_id = ?2 WHERE id = ?1")?.execute((account_id, repo_id))?;
    Ok(())
}
