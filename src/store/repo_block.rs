//! Tables `mst_node` and `record`, read together: the blocks of a repo generation, one after the other, in constant
//! memory.
//!
//! Not for: CAR files and commits (`service::repo::export`). Call inside one read transaction.

use std::collections::{HashMap, HashSet};

use atproto::{
    data::{Cid, Value, cbor},
    syntax::Tid,
};
use rusqlite::{Connection, OptionalExtension, Row, Rows};

use super::{
    StoreError,
    column::{CidColumn, RevColumn},
    repo,
};

/// Depth of the deepest key that can be (MST-2).
const DEPTH_MAX: u32 = 128;

/// A row of `mst_node`.
struct Node {
    low: String,
    depth: u32,
    cid: Cid,
    rev: Tid,
    block: Vec<u8>,
}

impl Node {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Node> {
        Ok(Node {
            low: row.get(0)?,
            depth: row.get(1)?,
            cid: row.get::<_, CidColumn>(2)?.0,
            rev: row.get::<_, RevColumn>(3)?.0,
            block: row.get(4)?,
        })
    }
}

/// A block on the row that it is read from, where nothing of it is copied.
struct Block<'a> {
    /// `low` of a node, path of a record.
    place: &'a str,
    cid: Cid,
    bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// `table`: whose rows they are.
    fn next(rows: &'a mut Rows<'_>, table: &'static str) -> Result<Option<Block<'a>>, StoreError> {
        let Some(row) = rows.next()? else { return Ok(None) };
        let corrupt = |column| StoreError::Corrupt { table, column };
        let CidColumn(cid) = row.get(1)?;
        Ok(Some(Block {
            place: row.get_ref(0)?.as_str().map_err(|_| corrupt("place"))?,
            cid,
            bytes: row.get_ref(2)?.as_blob().map_err(|_| corrupt("block"))?,
        }))
    }
}

/// Hands every node and record of the tree to `emit` in depth-first pre-order (CAR-6): a node, then slot by slot the
/// child with all below it, or the record.
///
/// Two range scans, merged: nodes by (low, depth descending) and records by path; a node comes after the record that
/// its `low` names and before the next one. A record that stands under two keys is handed out twice.
pub fn scan<E: From<StoreError>>(
    db: &Connection,
    repo_id: i64,
    mut emit: impl FnMut(&Cid, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut nodes = db
        .prepare_cached("SELECT low, cid, block FROM mst_node WHERE repo_id = ?1 ORDER BY low, depth DESC")
        .map_err(StoreError::from)?;
    let mut nodes = nodes.query([repo_id]).map_err(StoreError::from)?;
    let mut records = db
        .prepare_cached("SELECT path, cid, body FROM record WHERE repo_id = ?1 ORDER BY path")
        .map_err(StoreError::from)?;
    let mut records = records.query([repo_id]).map_err(StoreError::from)?;

    let mut waiting = Block::next(&mut nodes, "mst_node")?;
    // The path of the record handed out last; no path is empty, so the nodes at the left edge come first of all.
    let mut path = String::new();
    loop {
        while let Some(node) = &waiting
            && node.place <= path.as_str()
        {
            emit(&node.cid, node.bytes)?;
            waiting = Block::next(&mut nodes, "mst_node")?;
        }
        let Some(leaf) = Block::next(&mut records, "record")? else { break };
        emit(&leaf.cid, leaf.bytes)?;
        path.clear();
        path.push_str(leaf.place);
    }
    match waiting {
        None => Ok(()),
        // A node to the right of a record that is not there.
        Some(_) => Err(corrupt("low").into()),
    }
}

/// Hands the nodes and then the records that came after `since` to `emit` (CAR-12).
///
/// A new node stands under new nodes, so the walk down leaves every older node, and all below it, aside: the cost is
/// in what changed, not in the size of the repo.
pub fn scan_since<E: From<StoreError>>(
    db: &Connection,
    repo_id: i64,
    since: Tid,
    mut emit: impl FnMut(&Cid, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // Holds the children of one node per level.
    let mut waiting = Vec::from_iter(root(db, repo_id)?.filter(|root| root.rev > since));
    while let Some(node) = waiting.pop() {
        emit(&node.cid, &node.block)?;
        if node.depth > DEPTH_MAX {
            return Err(corrupt("depth").into());
        }
        let Some(depth) = node.depth.checked_sub(1) else {
            continue;
        };
        let lows = child_lows(&node.low, &node.block).ok_or_else(|| corrupt("block"))?;
        for low in lows.iter().rev() {
            let child = at(db, repo_id, low, depth)?.ok_or_else(|| corrupt("low"))?;
            waiting.extend(Some(child).filter(|child| child.rev > since));
        }
    }
    let mut records = db
        .prepare_cached(
            "SELECT path, cid, body FROM record WHERE repo_id = ?1 AND rev > ?2 ORDER BY rev, path",
        )
        .map_err(StoreError::from)?;
    let mut records = records.query((repo_id, RevColumn(since))).map_err(StoreError::from)?;
    while let Some(leaf) = Block::next(&mut records, "record")? {
        emit(&leaf.cid, leaf.bytes)?;
    }
    Ok(())
}

/// Where a block of a repo generation is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The newest commit.
    Commit,
    /// A row of `mst_node`.
    Node(i64),
    /// A row of `record`.
    Record(i64),
}

/// Finds the blocks named by `cids`; what the repo does not hold is left out.
///
/// Nothing is kept in the order of CIDs, so this reads through the CIDs of the repo until all are found: it costs at most
/// what [`scan`] costs.
pub fn locate(
    db: &Connection,
    head: &repo::Head,
    cids: &[Cid],
) -> Result<HashMap<Cid, Location>, StoreError> {
    let mut wanted: HashSet<Cid> = cids.iter().copied().collect();
    let mut found = HashMap::with_capacity(wanted.len());
    if wanted.remove(&head.commit) {
        found.insert(head.commit, Location::Commit);
    }
    for (select, location) in [
        ("SELECT id, cid FROM mst_node WHERE repo_id = ?1", Location::Node as fn(i64) -> Location),
        ("SELECT id, cid FROM record WHERE repo_id = ?1", Location::Record),
    ] {
        let mut statement = db.prepare_cached(select)?;
        let mut rows = statement.query([head.repo_id])?;
        while !wanted.is_empty()
            && let Some(row) = rows.next()?
        {
            let CidColumn(cid) = row.get(1)?;
            if wanted.remove(&cid) {
                found.insert(cid, location(row.get(0)?));
            }
        }
    }
    Ok(found)
}

/// The block at `location`; `None` when there is no such row (any more).
pub fn get(db: &Connection, head: &repo::Head, location: Location) -> Result<Option<Vec<u8>>, StoreError> {
    let (select, id) = match location {
        Location::Commit => return Ok(Some(head.commit_block.clone())),
        Location::Node(id) => ("SELECT block FROM mst_node WHERE id = ?1", id),
        Location::Record(id) => ("SELECT body FROM record WHERE id = ?1", id),
    };
    Ok(db.prepare_cached(select)?.query_row([id], |row| row.get(0)).optional()?)
}

/// Distinct CIDs of records and of nodes. Sorts outside memory.
pub fn count(db: &Connection, repo_id: i64) -> Result<u64, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT (SELECT COUNT(DISTINCT cid) FROM record WHERE repo_id = ?1)
              + (SELECT COUNT(DISTINCT cid) FROM mst_node WHERE repo_id = ?1)",
    )?;
    let n: i64 = statement.query_row([repo_id], |row| row.get(0))?;
    Ok(u64::try_from(n).unwrap_or(0))
}

/// The deepest node that no key comes before.
fn root(db: &Connection, repo_id: i64) -> Result<Option<Node>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT low, depth, cid, rev, block FROM mst_node
         WHERE repo_id = ?1 AND low = '' ORDER BY depth DESC LIMIT 1",
    )?;
    Ok(statement.query_row([repo_id], Node::from_row).optional()?)
}

fn at(db: &Connection, repo_id: i64, low: &str, depth: u32) -> Result<Option<Node>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT low, depth, cid, rev, block FROM mst_node WHERE repo_id = ?1 AND low = ?2 AND depth = ?3",
    )?;
    Ok(statement.query_row((repo_id, low, depth), Node::from_row).optional()?)
}

/// The `low` of each child of a node that stands at `low`, left to right; `None` when the block is no node (MST-6).
fn child_lows(low: &str, block: &[u8]) -> Option<Vec<String>> {
    let node = cbor::decode(block).ok()?;
    let mut lows = Vec::new();
    if node.get("l")?.as_link().is_some() {
        lows.push(low.to_owned());
    }
    let mut key = Vec::new();
    for entry in node.get("e")?.as_array()? {
        let shared = entry.get("p").and_then(Value::as_integer)?;
        let shared = usize::try_from(shared).ok().filter(|shared| *shared <= key.len())?;
        key.truncate(shared);
        key.extend_from_slice(entry.get("k")?.as_bytes()?);
        if entry.get("t")?.as_link().is_some() {
            lows.push(String::from_utf8(key.clone()).ok()?);
        }
    }
    Some(lows)
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "mst_node", column }
}
