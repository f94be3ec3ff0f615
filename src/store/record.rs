//! Table `record`, keyed as the Merkle search tree is: by path, bytewise.
//!
//! Order by path is not order by (collection, rkey): `com.foo-bar/x` comes before `com.foo/x`. Within one collection
//! the two agree.

use atproto::{
    data::Cid,
    syntax::{AtIdentifier, Did, Nsid, RecordKey, RepoPath, Tid},
};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    StoreError,
    account::Status,
    column::{CidColumn, PathColumn, RevColumn, TextColumn, collection_range},
};
use crate::time::Micros;

/// A row of `record`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub path: RepoPath,
    /// CID of `body`.
    pub cid: Cid,
    /// Rev of the commit that wrote it.
    pub rev: Tid,
    /// Why it is hidden; `None` when it is not.
    pub takedown_ref: Option<String>,
    /// Canonical CBOR.
    pub body: Vec<u8>,
}

const COLUMNS: &str = "path, cid, rev, takedown_ref, body";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        path: row.get::<_, PathColumn>(0)?.0,
        cid: row.get::<_, CidColumn>(1)?.0,
        rev: row.get::<_, RevColumn>(2)?.0,
        takedown_ref: row.get(3)?,
        body: row.get(4)?,
    })
}

/// A record, and when it was written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub record: Record,
    /// When its newest version came.
    pub indexed_at: Micros,
}

/// A record to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Where it stands.
    pub path: &'a RepoPath,
    /// CID of `body`.
    pub cid: &'a Cid,
    /// What a like, repost, follow or block points at.
    pub link_to: Option<&'a str>,
    /// Canonical CBOR.
    pub body: &'a [u8],
}

/// The record at `path`, hidden ones too.
pub fn get(db: &Connection, repo_id: i64, path: &RepoPath) -> Result<Option<Record>, StoreError> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM record WHERE repo_id = ?1 AND path = ?2"))?;
    Ok(statement.query_row((repo_id, path.as_str()), from_row).optional()?)
}

/// What there is for the public at a path.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The account that was named.
    pub did: Did,
    /// Its hosting status.
    pub status: Status,
    /// CID and body of the record in the repo that the account serves; `None` when there is none, or it is hidden.
    pub record: Option<(Cid, Vec<u8>)>,
}

/// The account `repo` and its record at `path`, in one look; `None` when there is no such account.
pub fn seek(db: &Connection, repo: &AtIdentifier, path: &RepoPath) -> Result<Option<Sought>, StoreError> {
    let sql = match repo {
        AtIdentifier::Did(_) => {
            "SELECT account.did, account.takedown_ref IS NOT NULL, account.deactivated_at IS NOT NULL, record.cid, record.body
             FROM account
             LEFT JOIN record ON record.repo_id = account.repo_id AND record.path = ?2 AND record.takedown_ref IS NULL
             WHERE account.did = ?1"
        }
        AtIdentifier::Handle(_) => {
            "SELECT account.did, account.takedown_ref IS NOT NULL, account.deactivated_at IS NOT NULL, record.cid, record.body
             FROM account
             LEFT JOIN record ON record.repo_id = account.repo_id AND record.path = ?2 AND record.takedown_ref IS NULL
             WHERE account.handle = ?1"
        }
    };
    let sought = db.prepare_cached(sql)?.query_row((repo.as_str(), path.as_str()), |row| {
        let cid = row.get::<_, Option<CidColumn>>(3)?;
        Ok(Sought {
            did: row.get::<_, TextColumn<Did>>(0)?.0,
            status: Status::of_marks(row.get(1)?, row.get(2)?),
            record: cid.map(|CidColumn(cid)| Ok::<_, rusqlite::Error>((cid, row.get(4)?))).transpose()?,
        })
    });
    Ok(sought.optional()?)
}

/// The CID of the record at `path`, hidden ones too.
pub fn get_cid(db: &Connection, repo_id: i64, path: &RepoPath) -> Result<Option<Cid>, StoreError> {
    let mut statement = db.prepare_cached("SELECT cid FROM record WHERE repo_id = ?1 AND path = ?2")?;
    let cid = statement.query_row((repo_id, path.as_str()), |row| row.get::<_, CidColumn>(0)).optional()?;
    Ok(cid.map(|column| column.0))
}

/// Stores a record, in place of the one that stands at its path if there is one. A takedown of the old one stays.
pub fn put(
    db: &Connection,
    repo_id: i64,
    rev: Tid,
    indexed_at: Micros,
    record: NewRecord<'_>,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO record (repo_id, path, cid, rev, indexed_at, link_to, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (repo_id, path) DO UPDATE
         SET cid = excluded.cid, rev = excluded.rev, indexed_at = excluded.indexed_at,
             link_to = excluded.link_to, body = excluded.body",
    )?
    .execute((
        repo_id,
        record.path.as_str(),
        CidColumn(*record.cid),
        RevColumn(rev),
        indexed_at,
        record.link_to,
        record.body,
    ))?;
    Ok(())
}

/// Removes the record at `path`; removing nothing is fine.
pub fn delete(db: &Connection, repo_id: i64, path: &RepoPath) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM record WHERE repo_id = ?1 AND path = ?2")?
        .execute((repo_id, path.as_str()))?;
    Ok(())
}

/// Hides the record at `path` for the reason given, or shows it again; nothing happens when there is none.
pub fn set_takedown(
    db: &Connection,
    repo_id: i64,
    path: &RepoPath,
    takedown_ref: Option<&str>,
) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE record SET takedown_ref = ?3 WHERE repo_id = ?1 AND path = ?2")?.execute((
        repo_id,
        path.as_str(),
        takedown_ref,
    ))?;
    Ok(())
}

/// Which end of a collection a listing starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest record key first.
    Ascending,
    /// Greatest record key first.
    Descending,
}

/// A record on the row that it is read from.
#[derive(Clone, Copy, Debug)]
pub struct RowRecord<'a> {
    /// Where it stands.
    pub path: &'a str,
    /// CID of `body`.
    pub cid: &'a Cid,
    /// Canonical CBOR.
    pub body: &'a [u8],
}

/// Hands up to `limit` records of `collection` that are not hidden to `emit`, beyond `cursor` (exclusive) in `order` of
/// their keys.
pub fn list(
    db: &Connection,
    repo_id: i64,
    collection: &Nsid,
    cursor: Option<&RecordKey>,
    order: Order,
    limit: u32,
    mut emit: impl FnMut(RowRecord<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (first, end) = collection_range(collection.as_str());
    let beyond = cursor.map(|rkey| RepoPath::new(collection, rkey).as_str().to_owned());
    // `first` itself is no path, so both ends may be exclusive.
    let (after, before, statement) = match order {
        Order::Ascending => (
            beyond.unwrap_or(first),
            end,
            "SELECT path, cid, body FROM record
             WHERE repo_id = ?1 AND path > ?2 AND path < ?3 AND takedown_ref IS NULL
             ORDER BY path ASC LIMIT ?4",
        ),
        Order::Descending => (
            first,
            beyond.unwrap_or(end),
            "SELECT path, cid, body FROM record
             WHERE repo_id = ?1 AND path > ?2 AND path < ?3 AND takedown_ref IS NULL
             ORDER BY path DESC LIMIT ?4",
        ),
    };
    let mut statement = db.prepare_cached(statement)?;
    let mut rows = statement.query((repo_id, after, before, limit))?;
    while let Some(row) = rows.next()? {
        let CidColumn(cid) = row.get(1)?;
        let path = row.get_ref(0)?.as_str().map_err(|_| corrupt("path"))?;
        let body = row.get_ref(2)?.as_blob().map_err(|_| corrupt("body"))?;
        emit(RowRecord { path, cid: &cid, body })?;
    }
    Ok(())
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "record", column }
}

/// Up to `limit` records that were written after `rev` and are not hidden, oldest rev first.
pub fn list_since(db: &Connection, repo_id: i64, rev: Tid, limit: u32) -> Result<Vec<Written>, StoreError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, indexed_at FROM record
         WHERE repo_id = ?1 AND rev > ?2 AND takedown_ref IS NULL
         ORDER BY rev, path LIMIT ?3"
    ))?;
    let rows = statement.query_map((repo_id, RevColumn(rev), limit), |row| {
        Ok(Written { record: from_row(row)?, indexed_at: row.get(5)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// True when some record was written with `rev` or before.
pub fn any_until(db: &Connection, repo_id: i64, rev: Tid) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM record WHERE repo_id = ?1 AND rev <= ?2)";
    Ok(db.prepare_cached(sql)?.query_row((repo_id, RevColumn(rev)), |row| row.get(0))?)
}

/// Up to `limit` records with a path after `after`, in order of path, hidden ones too: the leaves of the tree.
pub fn scan(db: &Connection, repo_id: i64, after: &str, limit: u32) -> Result<Vec<Record>, StoreError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM record WHERE repo_id = ?1 AND path > ?2 ORDER BY path LIMIT ?3"
    ))?;
    let rows = statement.query_map((repo_id, after, limit), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Up to `limit` names of collections that hold a record, in the order of their paths. One index search each: the
/// cost does not grow with the number of records.
pub fn list_collections(db: &Connection, repo_id: i64, limit: usize) -> Result<Vec<String>, StoreError> {
    let mut next =
        db.prepare_cached("SELECT path FROM record WHERE repo_id = ?1 AND path >= ?2 ORDER BY path LIMIT 1")?;
    let mut collections = Vec::new();
    let mut from = String::new();
    while collections.len() < limit {
        let path = next.query_row((repo_id, &from), |row| row.get::<_, PathColumn>(0)).optional()?;
        let Some(PathColumn(path)) = path else { break };
        let collection = path.collection().to_owned();
        (_, from) = collection_range(&collection);
        collections.push(collection);
    }
    Ok(collections)
}
