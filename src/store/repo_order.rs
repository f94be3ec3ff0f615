//! Tables `record_cid`, `mst_node_cid` and `backlink`: the rows of a generation in orders other than the tree's.
//!
//! The database keeps them by itself for generations that have a commit. While an import is staged they are left out;
//! at its end they are entered here, sorted, so that each page of them is written once.
//!
//! Not for: reading them (`record`, `mst_node`, `backlink`).

use rusqlite::{Connection, types::Value};

use super::StoreError;

/// One of these tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Records by CID.
    RecordCid,
    /// Tree nodes by CID.
    NodeCid,
    /// Records by what they point at.
    Backlink,
}

/// The columns of an entry after `repo_id`.
pub type Entry = [Value; 2];

impl Order {
    /// All of them.
    pub const ALL: [Order; 3] = [Order::RecordCid, Order::NodeCid, Order::Backlink];
}

/// Hands the entries that the rows of `repo_id` call for to `emit`, sorted. Sorts outside memory.
pub fn scan_staged<E: From<StoreError>>(
    db: &Connection,
    repo_id: i64,
    order: Order,
    mut emit: impl FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let select = match order {
        Order::RecordCid => "SELECT cid, id FROM record WHERE repo_id = ?1 ORDER BY cid, id",
        Order::NodeCid => "SELECT cid, id FROM mst_node WHERE repo_id = ?1 ORDER BY cid, id",
        Order::Backlink => {
            "SELECT link_to, path FROM record WHERE repo_id = ?1 AND link_to IS NOT NULL ORDER BY link_to, path"
        }
    };
    let mut statement = db.prepare(select).map_err(StoreError::from)?;
    let entries = statement.query_map([repo_id], |row| Ok([row.get(0)?, row.get(1)?]));
    for entry in entries.map_err(StoreError::from)? {
        emit(entry.map_err(StoreError::from)?)?;
    }
    Ok(())
}

/// Enters what [`scan_staged`] gave.
pub fn enter(db: &Connection, repo_id: i64, order: Order, entries: &[Entry]) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached(match order {
        Order::RecordCid => "INSERT INTO record_cid (repo_id, cid, record_id) VALUES (?1, ?2, ?3)",
        Order::NodeCid => "INSERT INTO mst_node_cid (repo_id, cid, node_id) VALUES (?1, ?2, ?3)",
        Order::Backlink => "INSERT INTO backlink (repo_id, link_to, path) VALUES (?1, ?2, ?3)",
    })?;
    for [first, second] in entries {
        insert.execute((repo_id, first, second))?;
    }
    Ok(())
}

/// Distinct CIDs of records and of nodes.
pub fn count_blocks(db: &Connection, repo_id: i64) -> Result<u64, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT (SELECT COUNT(DISTINCT cid) FROM record_cid WHERE repo_id = ?1)
              + (SELECT COUNT(DISTINCT cid) FROM mst_node_cid WHERE repo_id = ?1)",
    )?;
    let n: i64 = statement.query_row([repo_id], |row| row.get(0))?;
    Ok(u64::try_from(n).unwrap_or(0))
}
