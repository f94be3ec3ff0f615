//! Table `mst_node`: the tree nodes of each repo generation, keyed by where they stand.
//!
//! A node is replaced where it stands, so the table holds exactly the current tree: there is nothing to collect
//! later. See [`atproto::mst`] for places.

use atproto::{
    data::Cid,
    mst::{Changes, NodeSource, Place, PlacedNode},
    syntax::Tid,
};
use rusqlite::{Connection, OptionalExtension};

use super::{
    StoreError,
    column::{CidColumn, RevColumn},
};

/// The stored nodes of one generation, as a tree loads them.
pub struct StoredNodes<'a> {
    db: &'a Connection,
    repo_id: i64,
}

impl<'a> StoredNodes<'a> {
    /// The nodes of generation `repo_id`.
    pub fn new(db: &'a Connection, repo_id: i64) -> StoredNodes<'a> {
        StoredNodes { db, repo_id }
    }
}

impl NodeSource for StoredNodes<'_> {
    type Error = StoreError;

    fn node(&mut self, place: &Place, _cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT block FROM mst_node WHERE repo_id = ?1 AND low = ?2 AND depth = ?3")?;
        Ok(statement.query_row((self.repo_id, low(place)?, place.depth), |row| row.get(0)).optional()?)
    }
}

/// Keys are ASCII (RP-2), so `low` is text. Anything else could not have been stored.
fn low(place: &Place) -> Result<&str, StoreError> {
    std::str::from_utf8(&place.low).map_err(|_| StoreError::Corrupt { table: "mst_node", column: "low" })
}

/// CID and block of the root: the deepest node that no key comes before. `None` when the generation has no tree.
pub fn get_root(db: &Connection, repo_id: i64) -> Result<Option<(Cid, Vec<u8>)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT cid, block FROM mst_node WHERE repo_id = ?1 AND low = '' ORDER BY depth DESC LIMIT 1",
    )?;
    Ok(statement.query_row([repo_id], |row| Ok((row.get::<_, CidColumn>(0)?.0, row.get(1)?))).optional()?)
}

/// The node whose CID is `cid`.
pub fn get_block(db: &Connection, repo_id: i64, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT block FROM mst_node_cid JOIN mst_node ON mst_node.id = node_id
         WHERE mst_node_cid.repo_id = ?1 AND mst_node_cid.cid = ?2 LIMIT 1",
    )?;
    Ok(statement.query_row((repo_id, CidColumn(*cid)), |row| row.get(0)).optional()?)
}

/// Stores a node, in place of the one that stands there if there is one.
pub fn put(db: &Connection, repo_id: i64, rev: Tid, node: &PlacedNode) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO mst_node (repo_id, low, depth, cid, rev, block) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (repo_id, low, depth) DO UPDATE
         SET cid = excluded.cid, rev = excluded.rev, block = excluded.block",
    )?
    .execute((
        repo_id,
        low(&node.place)?,
        node.place.depth,
        CidColumn(node.cid),
        RevColumn(rev),
        &node.block,
    ))?;
    Ok(())
}

/// Brings the table from the tree as opened to the tree as it is now. Nodes that only moved get `rev` too, which
/// makes a later `getRepo` with `since` carry them once more: allowed (SY-28).
pub fn apply(db: &Connection, repo_id: i64, rev: Tid, changes: &Changes) -> Result<(), StoreError> {
    let mut delete =
        db.prepare_cached("DELETE FROM mst_node WHERE repo_id = ?1 AND low = ?2 AND depth = ?3")?;
    for place in &changes.vacated {
        delete.execute((repo_id, low(place)?, place.depth))?;
    }
    changes.written.iter().try_for_each(|node| put(db, repo_id, rev, node))
}

/// Nodes of the generation.
pub fn count(db: &Connection, repo_id: i64) -> Result<i64, StoreError> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM mst_node WHERE repo_id = ?1")?;
    Ok(statement.query_row([repo_id], |row| row.get(0))?)
}
