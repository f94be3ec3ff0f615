//! Table `backlink`: what a like, repost, follow or block points at, so that a second one replaces the first.
//!
//! Kept by the database itself from [`super::record::NewRecord::link_to`] for generations that have a commit; see
//! `migrations/`. While an import is staged nothing is kept: at its end the backlinks are entered here, sorted, so that
//! each page of the table is written once.

use atproto::syntax::{Nsid, RepoPath};
use rusqlite::Connection;

use super::{
    StoreError,
    column::{PathColumn, collection_range},
};

/// Up to `limit` records of `collection` that point at `link_to`, in order of path.
pub fn list(
    db: &Connection,
    repo_id: i64,
    collection: &Nsid,
    link_to: &str,
    limit: u32,
) -> Result<Vec<RepoPath>, StoreError> {
    let (first, end) = collection_range(collection.as_str());
    let mut statement = db.prepare_cached(
        "SELECT path FROM backlink
         WHERE repo_id = ?1 AND link_to = ?2 AND path > ?3 AND path < ?4
         ORDER BY path LIMIT ?5",
    )?;
    let rows =
        statement.query_map((repo_id, link_to, first, end, limit), |row| row.get::<_, PathColumn>(0))?;
    rows.map(|row| Ok(row?.0)).collect()
}

/// A row without its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlink {
    /// What is pointed at.
    pub link_to: String,
    /// By which record.
    pub path: String,
}

/// Hands the backlinks that the records of `repo_id` call for to `emit`, sorted. Sorts outside memory.
pub fn scan_staged<E: From<StoreError>>(
    db: &Connection,
    repo_id: i64,
    mut emit: impl FnMut(Backlink) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = db
        .prepare(
            "SELECT link_to, path FROM record WHERE repo_id = ?1 AND link_to IS NOT NULL ORDER BY link_to, path",
        )
        .map_err(StoreError::from)?;
    let backlinks =
        statement.query_map([repo_id], |row| Ok(Backlink { link_to: row.get(0)?, path: row.get(1)? }));
    for backlink in backlinks.map_err(StoreError::from)? {
        emit(backlink.map_err(StoreError::from)?)?;
    }
    Ok(())
}

/// Enters what [`scan_staged`] gave.
pub fn enter(db: &Connection, repo_id: i64, backlinks: &[Backlink]) -> Result<(), StoreError> {
    let mut insert =
        db.prepare_cached("INSERT INTO backlink (repo_id, link_to, path) VALUES (?1, ?2, ?3)")?;
    for Backlink { link_to, path } in backlinks {
        insert.execute((repo_id, link_to, path))?;
    }
    Ok(())
}
