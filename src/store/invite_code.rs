//! Tables `invite_code` and `invite_code_use`.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::time::Micros;

/// A row of `invite_code`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteCode {
    /// What is typed at sign-up.
    pub code: String,
    /// How many accounts it is good for, in all.
    pub available_uses: i64,
    /// DID of the account that may give it away, or `admin`.
    pub for_account: String,
    /// DID of who made it, or `admin`.
    pub created_by: String,
}

/// Inserts a code.
pub fn insert(db: &Connection, invite: &InviteCode, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO invite_code (code, available_uses, for_account, created_by, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((&invite.code, invite.available_uses, &invite.for_account, &invite.created_by, now))?;
    Ok(())
}

/// True when the code exists, is enabled, has a use left, and its owner is not taken down.
pub fn is_usable(db: &Connection, code: &str) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT 1
             FROM invite_code
             LEFT JOIN account ON account.did = invite_code.for_account
             WHERE code = ?1
               AND disabled = 0
               AND account.takedown_ref IS NULL
               AND available_uses > (SELECT COUNT(*) FROM invite_code_use WHERE invite_code_use.code = ?1)",
        )?
        .query_row((code,), |_| Ok(()))
        .optional()?
        .is_some())
}

/// Notes that `used_by` signed up with the code.
pub fn insert_use(db: &Connection, code: &str, used_by: &str, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO invite_code_use (code, used_by, used_at) VALUES (?1, ?2, ?3)")?
        .execute((code, used_by, now))?;
    Ok(())
}
