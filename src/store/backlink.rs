//! Table `backlink`: what a like, repost, follow or block points at, so that a second one replaces the first.
//!
//! Kept by the database itself from [`super::record::NewRecord::link_to`]; see `migrations/`.

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
