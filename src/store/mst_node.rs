//! Table `mst_node`: the tree nodes of each repo generation, keyed by where they stand.
//!
//! A node is replaced where it stands, so the table holds exactly the current tree: there is nothing to collect
//! later. See [`atproto::mst`] for places.

use std::collections::HashMap;

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
    /// Rows of the nodes that were read: most of them are written next, and are found by number then.
    rows: HashMap<Place, i64>,
}

impl<'a> StoredNodes<'a> {
    /// The nodes of generation `repo_id`.
    pub fn new(db: &'a Connection, repo_id: i64) -> StoredNodes<'a> {
        StoredNodes::with_rows(db, repo_id, HashMap::new())
    }

    /// As [`StoredNodes::new`], where the rows of some nodes are known.
    pub fn with_rows(db: &'a Connection, repo_id: i64, rows: HashMap<Place, i64>) -> StoredNodes<'a> {
        StoredNodes { db, repo_id, rows }
    }

    /// The rows of the nodes that were read or written.
    pub fn into_rows(self) -> HashMap<Place, i64> {
        self.rows
    }

    /// CID and block of the root: the deepest node that no key comes before. `None` when the generation has no tree.
    pub fn root(&mut self) -> Result<Option<(Cid, Vec<u8>)>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT id, depth, cid, block FROM mst_node
             WHERE repo_id = ?1 AND low = '' ORDER BY depth DESC LIMIT 1",
        )?;
        let root = statement.query_row([self.repo_id], |row| {
            let place = Place { low: Vec::new(), depth: row.get(1)? };
            self.rows.insert(place, row.get(0)?);
            Ok((row.get::<_, CidColumn>(2)?.0, row.get(3)?))
        });
        Ok(root.optional()?)
    }

    /// Brings the table from the tree as opened to the tree as it is now. Nodes that only moved get `rev` too, which
    /// makes a later `getRepo` with `since` carry them once more: allowed (SY-28).
    pub fn apply(&mut self, rev: Tid, changes: &Changes) -> Result<(), StoreError> {
        let mut delete =
            self.db.prepare_cached("DELETE FROM mst_node WHERE repo_id = ?1 AND low = ?2 AND depth = ?3")?;
        for place in &changes.vacated {
            delete.execute((self.repo_id, low(place)?, place.depth))?;
            self.rows.remove(place);
        }
        let mut update =
            self.db.prepare_cached("UPDATE mst_node SET cid = ?2, rev = ?3, block = ?4 WHERE id = ?1")?;
        for node in &changes.written {
            match self.rows.get(&node.place) {
                Some(id) => {
                    update.execute((id, CidColumn(node.cid), RevColumn(rev), &node.block))?;
                }
                None => {
                    let row = put(self.db, self.repo_id, rev, node)?;
                    self.rows.insert(node.place.clone(), row);
                }
            }
        }
        Ok(())
    }
}

impl NodeSource for StoredNodes<'_> {
    type Error = StoreError;

    fn node(&mut self, place: &Place, _cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.db.prepare_cached(
            "SELECT id, block FROM mst_node WHERE repo_id = ?1 AND low = ?2 AND depth = ?3",
        )?;
        let node = statement.query_row((self.repo_id, low(place)?, place.depth), |row| {
            self.rows.insert(place.clone(), row.get(0)?);
            row.get(1)
        });
        Ok(node.optional()?)
    }
}

/// Keys are ASCII (RP-2), so `low` is text. Anything else could not have been stored.
fn low(place: &Place) -> Result<&str, StoreError> {
    std::str::from_utf8(&place.low).map_err(|_| StoreError::Corrupt { table: "mst_node", column: "low" })
}

/// Stores a node, in place of the one that stands there if there is one. Returns the number of its row.
pub fn put(db: &Connection, repo_id: i64, rev: Tid, node: &PlacedNode) -> Result<i64, StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO mst_node (repo_id, low, depth, cid, rev, block) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (repo_id, low, depth) DO UPDATE
         SET cid = excluded.cid, rev = excluded.rev, block = excluded.block
         RETURNING id",
    )?;
    let row =
        (repo_id, low(&node.place)?, node.place.depth, CidColumn(node.cid), RevColumn(rev), &node.block);
    Ok(statement.query_row(row, |row| row.get(0))?)
}

/// Nodes of the generation.
pub fn count(db: &Connection, repo_id: i64) -> Result<i64, StoreError> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM mst_node WHERE repo_id = ?1")?;
    Ok(statement.query_row([repo_id], |row| row.get(0))?)
}
