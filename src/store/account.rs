//! Table `account`.

use atproto::syntax::{AtIdentifier, Did, Handle};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use super::{StoreError, app_password, column::TextColumn, deleted_account, refresh_token};
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
        Status::of_marks(self.takedown_ref.is_some(), self.deactivated_at.is_some())
    }

    /// True when it is served to the public (AC-2).
    pub fn is_active(&self) -> bool {
        self.status() == Status::Active
    }
}

impl Status {
    /// What two marks amount to: a takedown wins.
    pub(super) fn of_marks(taken_down: bool, deactivated: bool) -> Status {
        match (taken_down, deactivated) {
            (true, _) => Status::Takendown,
            (false, true) => Status::Deactivated,
            (false, false) => Status::Active,
        }
    }

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

/// The account with this DID or handle, whatever its status.
pub fn get_by_identifier(db: &Connection, identifier: &AtIdentifier) -> Result<Option<Account>, StoreError> {
    match identifier {
        AtIdentifier::Did(did) => get_by_did(db, did),
        AtIdentifier::Handle(handle) => get_by_handle(db, handle),
    }
}

/// Accounts in the order in which they were made, after `after_id`, at most `n_max`.
pub fn list(db: &Connection, after_id: i64, n_max: usize) -> Result<Vec<Account>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM account WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((after_id, i64::try_from(n_max).unwrap_or(i64::MAX)), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The DIDs of up to `n_max` accounts, those made last first.
pub fn list_newest(db: &Connection, n_max: u32) -> Result<Vec<Did>, StoreError> {
    let mut statement = db.prepare_cached("SELECT did FROM account ORDER BY id DESC LIMIT ?1")?;
    let rows = statement.query_map([n_max], |row| Ok(row.get::<_, TextColumn<Did>>(0)?.0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// As [`list`], those whose address contains `email` (lower case); all of them without it.
pub fn search_by_email(
    db: &Connection,
    email: Option<&str>,
    after_id: i64,
    n_max: usize,
) -> Result<Vec<Account>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM account
         WHERE id > ?1 AND (?2 IS NULL OR instr(email, ?2) > 0) ORDER BY id LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((after_id, email, i64::try_from(n_max).unwrap_or(i64::MAX)), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Inserts a row without a repo; returns its id.
pub fn insert(db: &Connection, account: &NewAccount, now: Micros) -> Result<i64, InsertError> {
    let inserted = db
        .prepare_cached(
            // The numbers of deleted accounts are not given out again.
            "INSERT INTO account (id, did, handle, email, password_hash, created_at, deactivated_at)
             VALUES (1 + MAX(COALESCE((SELECT MAX(id) FROM account), 0),
                             COALESCE((SELECT MAX(id) FROM deleted_account), 0)),
                     ?1, ?2, ?3, ?4, ?5, ?6)",
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

/// Puts the account to rest as of `now`, perhaps with a date for its deletion. Again is fine: both are overwritten.
pub fn set_deactivated(
    db: &Connection,
    account_id: i64,
    now: Micros,
    delete_after: Option<Micros>,
) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET deactivated_at = ?2, delete_after = ?3 WHERE id = ?1")?
        .execute((account_id, now, delete_after))?;
    Ok(())
}

/// Wakes the account up and forgets the date of its deletion.
pub fn set_activated(db: &Connection, account_id: i64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET deactivated_at = NULL, delete_after = NULL WHERE id = ?1")?
        .execute([account_id])?;
    Ok(())
}

/// Takes the account down for the reason given, or lets it up again.
pub fn set_takedown(db: &Connection, account_id: i64, takedown_ref: Option<&str>) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET takedown_ref = ?2 WHERE id = ?1")?
        .execute((account_id, takedown_ref))?;
    Ok(())
}

/// Gives the account another password, as a PHC string, and ends its sessions and app passwords.
pub fn replace_password(db: &Connection, account_id: i64, password_hash: &str) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET password_hash = ?2 WHERE id = ?1")?
        .execute((account_id, password_hash))?;
    app_password::delete_all(db, account_id)?;
    refresh_token::delete_all(db, account_id)
}

/// Gives the account another address, in lower case, which nobody has confirmed; false when another account has it.
pub fn set_email(db: &Connection, account_id: i64, email: &str) -> Result<bool, StoreError> {
    let updated = db
        .prepare_cached("UPDATE account SET email = ?2, email_confirmed_at = NULL WHERE id = ?1")?
        .execute((account_id, email));
    match updated {
        Ok(_) => Ok(true),
        Err(error) if taken_column(&error) == Some("email") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Notes that the address was confirmed at `now`.
pub fn set_email_confirmed(db: &Connection, account_id: i64, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE account SET email_confirmed_at = ?2 WHERE id = ?1")?
        .execute((account_id, now))?;
    Ok(())
}

/// DIDs of up to `limit` deactivated accounts whose date of deletion is not after `now`, the longest overdue first.
/// Those that the operator took down are left out: what was taken down stays as evidence.
pub fn list_due(db: &Connection, now: Micros, limit: u32) -> Result<Vec<Did>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT did FROM account
         WHERE delete_after <= ?1 AND deactivated_at IS NOT NULL AND takedown_ref IS NULL
         ORDER BY delete_after LIMIT ?2",
    )?;
    let rows = statement.query_map((now, limit), |row| Ok(row.get::<_, TextColumn<Did>>(0)?.0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Tables that refer to `account (id)` and do not say `ON DELETE CASCADE`.
const TABLES_OF_ACCOUNT: [&str; 3] = ["account_pref", "refresh_token", "signing_key"];

/// Deletes the account with all that can be deleted at once: sessions, codes, its key, invites that nobody used, and
/// whatever other tables keep about it. `seq`: the event that says so.
///
/// A table that refers to `account (id)` says `ON DELETE CASCADE`, or stands in `TABLES_OF_ACCOUNT`; one that knows accounts by DID
/// has its line here. Repositories, blobs and older events can be large: they are noted in `deleted_account`
/// and go in steps ([`deleted_account`]).
pub fn delete_everything(
    db: &Connection,
    account: &Account,
    seq: i64,
    now: Micros,
) -> Result<(), StoreError> {
    for table in TABLES_OF_ACCOUNT {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE account_id = ?1"))?.execute([account.id])?;
    }
    for by_did in [
        // A code that somebody signed up with stays, of no further use: it says who invited whom.
        "DELETE FROM invite_code
         WHERE for_account = ?1 AND NOT EXISTS (SELECT 1 FROM invite_code_use WHERE code = invite_code.code)",
        "UPDATE invite_code SET disabled = 1 WHERE for_account = ?1",
        "DELETE FROM pending_identity WHERE did = ?1",
    ] {
        db.prepare_cached(by_did)?.execute([account.did.as_str()])?;
    }
    db.prepare_cached("DELETE FROM account WHERE id = ?1")?.execute([account.id])?;
    deleted_account::insert(db, account.id, &account.did, seq, now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::{
        store::{Store, StoreOptions},
        time::Clock,
    };

    #[tokio::test]
    async fn no_table_keeps_an_account_from_being_deleted() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(StoreOptions::at(dir.path()), Clock::system()).await.unwrap();
        let holding: Result<Vec<String>, StoreError> = store
            .read(|db| {
                let mut statement = db.prepare(
                    "SELECT t.name FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f
                     WHERE t.type = 'table' AND f.\"table\" = 'account' AND f.on_delete <> 'CASCADE'
                     ORDER BY t.name",
                )?;
                let names = statement.query_map((), |row| row.get(0))?;
                Ok(names.collect::<Result<_, _>>()?)
            })
            .await;
        assert_eq!(holding.unwrap(), TABLES_OF_ACCOUNT);
    }
}
