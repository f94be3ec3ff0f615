//! Table `repo`: generations of repositories and the head of each.
//!
//! The generation that an account serves is `account.repo_id`; the others are being staged by an import or wait for
//! their removal.

use atproto::{
    data::Cid,
    syntax::{Did, Tid},
};
use rusqlite::{Connection, OptionalExtension};

use super::{
    StoreError,
    account::Status,
    column::{CidColumn, RevColumn, TextColumn},
};
use crate::time::Micros;

/// The newest commit of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The generation.
    pub repo_id: i64,
    /// CID of the commit block.
    pub commit: Cid,
    /// The signed commit, encoded.
    pub commit_block: Vec<u8>,
    /// Its rev.
    pub rev: Tid,
    /// Its `data`: the root of the tree.
    pub data: Cid,
    /// Records in the tree.
    pub n_records: i64,
}

/// The head of generation `repo_id`; `None` when there is no such generation or it has no commit yet.
pub fn get_head(db: &Connection, repo_id: i64) -> Result<Option<Head>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT commit_cid, commit_block, rev, data_cid, records FROM repo WHERE id = ?1 AND commit_cid IS NOT NULL",
    )?;
    let head = statement.query_row([repo_id], |row| {
        Ok(Head {
            repo_id,
            commit: row.get::<_, CidColumn>(0)?.0,
            commit_block: row.get(1)?,
            rev: row.get::<_, RevColumn>(2)?.0,
            data: row.get::<_, CidColumn>(3)?.0,
            n_records: row.get(4)?,
        })
    });
    Ok(head.optional()?)
}

/// What a write needs to know of the account that it is for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The account.
    pub account_id: i64,
    /// Its hosting status.
    pub status: Status,
    /// The key that its commits are signed with.
    pub did_key: Option<String>,
    /// Head of the generation that it serves; `None`: nothing has been imported or written.
    pub head: Option<Head>,
}

/// What a write to the repo of `did` needs to know, in one look; `None` when there is no such account.
pub fn get_target(db: &Connection, did: &Did) -> Result<Option<Target>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT account.id, account.takedown_ref IS NOT NULL, account.deactivated_at IS NOT NULL, signing_key.did_key,
                repo.id, repo.commit_cid, repo.commit_block, repo.rev, repo.data_cid, repo.records
         FROM account
         LEFT JOIN signing_key ON signing_key.account_id = account.id
         LEFT JOIN repo ON repo.id = account.repo_id AND repo.commit_cid IS NOT NULL
         WHERE account.did = ?1",
    )?;
    let target = statement.query_row([did.as_str()], |row| {
        let head = match row.get(4)? {
            None => None,
            Some(repo_id) => Some(Head {
                repo_id,
                commit: row.get::<_, CidColumn>(5)?.0,
                commit_block: row.get(6)?,
                rev: row.get::<_, RevColumn>(7)?.0,
                data: row.get::<_, CidColumn>(8)?.0,
                n_records: row.get(9)?,
            }),
        };
        let status = Status::of_marks(row.get(1)?, row.get(2)?);
        Ok(Target { account_id: row.get(0)?, status, did_key: row.get(3)?, head })
    });
    Ok(target.optional()?)
}

/// Makes a generation without a commit and returns its id.
pub fn insert(db: &Connection, account_id: i64, created_at: Micros) -> Result<i64, StoreError> {
    db.prepare_cached("INSERT INTO repo (account_id, created_at) VALUES (?1, ?2)")?
        .execute((account_id, created_at))?;
    Ok(db.last_insert_rowid())
}

/// Moves the head of generation `head.repo_id`.
pub fn set_head(db: &Connection, head: &Head) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE repo SET commit_cid = ?2, commit_block = ?3, rev = ?4, data_cid = ?5, records = ?6 WHERE id = ?1",
    )?
    .execute((
        head.repo_id,
        CidColumn(head.commit),
        &head.commit_block,
        RevColumn(head.rev),
        CidColumn(head.data),
        head.n_records,
    ))?;
    Ok(())
}

/// A repo as `listRepos` shows it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Whose it is.
    pub did: Did,
    /// When the account was made here.
    pub created_at: Micros,
    /// Hosting status of the account.
    pub status: Status,
    /// CID of the newest commit.
    pub head: Cid,
    /// Its rev.
    pub rev: Tid,
}

/// Up to `limit` repos that accounts serve, whatever their status, oldest account first, after the one named by
/// `after`. Accounts without a commit are left out.
pub fn list_served(
    db: &Connection,
    after: Option<(Micros, &str)>,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    let (created_at, did) = after.unwrap_or((Micros::MIN, ""));
    let mut statement = db.prepare_cached(
        "SELECT account.did, account.created_at, account.takedown_ref IS NOT NULL,
                account.deactivated_at IS NOT NULL, repo.commit_cid, repo.rev
         FROM account JOIN repo ON repo.id = account.repo_id
         WHERE (account.created_at, account.did) > (?1, ?2) AND repo.commit_cid IS NOT NULL
         ORDER BY account.created_at, account.did
         LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((created_at, did, limit), |row| {
        Ok(Listed {
            did: row.get::<_, TextColumn<Did>>(0)?.0,
            created_at: row.get(1)?,
            status: Status::of_marks(row.get(2)?, row.get(3)?),
            head: row.get::<_, CidColumn>(4)?.0,
            rev: row.get::<_, RevColumn>(5)?.0,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Up to `limit` generations that no account serves, those of deleted accounts among them, as (id, account id), oldest
/// first.
pub fn list_unserved(db: &Connection, limit: u32) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT repo.id, repo.account_id
         FROM repo LEFT JOIN account ON account.id = repo.account_id
         WHERE account.repo_id IS NOT repo.id
         ORDER BY repo.id LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The oldest generation of an account, served or not.
pub fn get_any_of(db: &Connection, account_id: i64) -> Result<Option<i64>, StoreError> {
    let mut statement = db.prepare_cached("SELECT MIN(id) FROM repo WHERE account_id = ?1")?;
    Ok(statement.query_row([account_id], |row| row.get(0))?)
}

/// Removes up to about `limit` rows of a generation that is not served; true once nothing of it is left.
/// Removing one that is served is refused by doing nothing (and answers true).
pub fn delete_step(db: &Connection, repo_id: i64, limit: u32) -> Result<bool, StoreError> {
    let served = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM account WHERE repo_id = ?1)")?
        .query_row([repo_id], |row| row.get::<_, bool>(0))?;
    if served {
        return Ok(true);
    }
    // What hangs on the rows goes first, in its own order.
    for delete in [
        "DELETE FROM backlink WHERE repo_id = ?1 AND (link_to, path) IN
             (SELECT link_to, path FROM backlink WHERE repo_id = ?1 LIMIT ?2)",
        "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE repo_id = ?1 LIMIT ?2)",
        "DELETE FROM mst_node WHERE id IN (SELECT id FROM mst_node WHERE repo_id = ?1 LIMIT ?2)",
        "DELETE FROM record_blob WHERE rowid IN (SELECT rowid FROM record_blob WHERE repo_id = ?1 LIMIT ?2)",
    ] {
        if db.prepare_cached(delete)?.execute((repo_id, limit))? > 0 {
            return Ok(false);
        }
    }
    db.prepare_cached("DELETE FROM repo WHERE id = ?1")?.execute([repo_id])?;
    Ok(true)
}
