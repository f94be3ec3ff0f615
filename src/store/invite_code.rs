//! Tables `invite_code` and `invite_code_use`.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::json;

use super::StoreError;
use crate::time::Micros;

/// Uses that one answer lists, the newest of all codes in it.
const USES_LISTED_MAX: i64 = 10_000;

/// A new row of `invite_code`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInviteCode {
    /// What is typed at sign-up.
    pub code: String,
    /// How many accounts it is good for, in all.
    pub available_uses: i64,
    /// Good for nothing from the start.
    pub disabled: bool,
    /// DID of the account that may give it away, or `admin`.
    pub for_account: String,
    /// DID of who made it, or `admin`.
    pub created_by: String,
}

/// A code and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteCode {
    /// What is typed at sign-up.
    pub code: String,
    /// How many accounts it is good for, in all.
    pub available_uses: i64,
    /// No longer good for anything.
    pub disabled: bool,
    /// DID of the account that may give it away, or `admin`.
    pub for_account: String,
    /// DID of who made it, or `admin`.
    pub created_by: String,
    /// When.
    pub created_at: Micros,
    /// How often it was used.
    pub n_uses: i64,
    /// Who used it, newest first.
    pub uses: Vec<InviteUse>,
}

/// A row of `invite_code_use`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteUse {
    /// DID of the account that was made.
    pub used_by: String,
    /// When.
    pub used_at: Micros,
}

/// Order of a list of all codes, each newest or most first, then by code backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteOrder {
    /// By when they were made.
    Recent,
    /// By how often they were used.
    Usage,
}

/// Codes that an account has earned (those that the operator gave it are not counted).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarnedCount {
    /// Made after the moment asked for.
    pub after: i64,
    /// Not used up and not disabled, whenever made.
    pub unused: i64,
}

/// Inserts a code.
pub fn insert(db: &Connection, invite: &NewInviteCode, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO invite_code (code, available_uses, disabled, for_account, created_by, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        &invite.code,
        invite.available_uses,
        invite.disabled,
        &invite.for_account,
        &invite.created_by,
        now,
    ))?;
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

/// What an account has earned, those made after `after` apart.
pub fn count_earned(db: &Connection, did: &str, after: Micros) -> Result<EarnedCount, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT
                 COUNT(*) FILTER (WHERE created_at > ?2),
                 COUNT(*) FILTER (WHERE disabled = 0 AND available_uses >
                     (SELECT COUNT(*) FROM invite_code_use WHERE invite_code_use.code = invite_code.code))
             FROM invite_code
             WHERE for_account = ?1 AND created_by <> 'admin'",
        )?
        .query_row((did, after), |row| Ok(EarnedCount { after: row.get(0)?, unused: row.get(1)? }))?)
}

const COLUMNS: &str = "code, available_uses, disabled, for_account, created_by, created_at, \
                       (SELECT COUNT(*) FROM invite_code_use WHERE invite_code_use.code = invite_code.code) \
                       AS n_uses";

fn from_row(row: &Row<'_>) -> rusqlite::Result<InviteCode> {
    Ok(InviteCode {
        code: row.get(0)?,
        available_uses: row.get(1)?,
        disabled: row.get(2)?,
        for_account: row.get(3)?,
        created_by: row.get(4)?,
        created_at: row.get(5)?,
        n_uses: row.get(6)?,
        uses: Vec::new(),
    })
}

/// The newest `n_max` codes of an account, oldest of them first.
pub fn list_of_account(db: &Connection, did: &str, n_max: usize) -> Result<Vec<InviteCode>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invite_code WHERE for_account = ?1 ORDER BY created_at DESC, code DESC LIMIT ?2"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((did, limit(n_max)), from_row)?;
    let mut codes = rows.collect::<Result<Vec<_>, _>>()?;
    codes.reverse();
    with_uses(db, codes)
}

/// The code that the account signed up with.
pub fn get_used_by(db: &Connection, did: &str) -> Result<Option<InviteCode>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invite_code
         WHERE code = (SELECT code FROM invite_code_use WHERE used_by = ?1 ORDER BY used_at DESC LIMIT 1)"
    );
    let code = db.prepare_cached(&sql)?.query_row((did,), from_row).optional()?;
    Ok(with_uses(db, code.into_iter().collect())?.pop())
}

/// All codes, `n_max` at most. `after`: time or number of uses, and code, of the last one of the page before.
pub fn list(
    db: &Connection,
    order: InviteOrder,
    after: Option<(i64, &str)>,
    n_max: usize,
) -> Result<Vec<InviteCode>, StoreError> {
    let by = match order {
        InviteOrder::Recent => "created_at",
        InviteOrder::Usage => "n_uses",
    };
    let sql = format!(
        "SELECT * FROM (SELECT {COLUMNS} FROM invite_code)
         WHERE ?1 IS NULL OR ({by}, code) < (?1, ?2)
         ORDER BY {by} DESC, code DESC
         LIMIT ?3"
    );
    let (after, after_code) = after.unzip();
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((after, after_code, limit(n_max)), from_row)?;
    let codes = rows.collect::<Result<Vec<_>, _>>()?;
    with_uses(db, codes)
}

/// Fills in who used the codes, [`USES_LISTED_MAX`] in all.
fn with_uses(db: &Connection, mut codes: Vec<InviteCode>) -> Result<Vec<InviteCode>, StoreError> {
    let names: Vec<&str> = codes.iter().map(|code| code.code.as_str()).collect();
    let mut uses = HashMap::<String, Vec<InviteUse>>::new();
    let mut statement = db.prepare_cached(
        "SELECT code, used_by, used_at
         FROM invite_code_use
         WHERE code IN (SELECT value FROM json_each(?1))
         ORDER BY used_at DESC, used_by
         LIMIT ?2",
    )?;
    let mut rows = statement.query((json!(names).to_string(), USES_LISTED_MAX))?;
    while let Some(row) = rows.next()? {
        let listed = InviteUse { used_by: row.get(1)?, used_at: row.get(2)? };
        uses.entry(row.get(0)?).or_default().push(listed);
    }
    for code in &mut codes {
        code.uses = uses.remove(&code.code).unwrap_or_default();
    }
    Ok(codes)
}

/// Makes a code useless; nothing happens when there is no such code.
pub fn disable(db: &Connection, code: &str) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE invite_code SET disabled = 1 WHERE code = ?1")?.execute((code,))?;
    Ok(())
}

/// Makes every code of an account useless.
pub fn disable_of_account(db: &Connection, did: &str) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE invite_code SET disabled = 1 WHERE for_account = ?1")?.execute((did,))?;
    Ok(())
}

fn limit(n_max: usize) -> i64 {
    i64::try_from(n_max).unwrap_or(i64::MAX)
}
