//! Table `dev_plc_operation`: the log of the did:plc directory that a sandbox runs.

use rusqlite::Connection;

use super::StoreError;
use crate::time::Micros;

/// A row of `dev_plc_operation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcOperationRow {
    /// CID of the operation.
    pub cid: String,
    /// Its JSON.
    pub operation: String,
    /// Undone by a recovery.
    pub nullified: bool,
    /// When the directory took it.
    pub created_at: Micros,
}

/// The log of a DID, oldest first. Its length is bounded by the directory.
pub fn list(db: &Connection, did: &str) -> Result<Vec<PlcOperationRow>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT cid, operation, nullified, created_at
         FROM dev_plc_operation
         WHERE did = ?1
         ORDER BY id",
    )?;
    let rows = statement.query_map((did,), |row| {
        Ok(PlcOperationRow {
            cid: row.get(0)?,
            operation: row.get(1)?,
            nullified: row.get(2)?,
            created_at: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Appends an operation to the log of `did` and marks those that it nullifies.
pub fn append(
    db: &Connection,
    did: &str,
    row: &PlcOperationRow,
    nullifies: &[String],
) -> Result<(), StoreError> {
    for cid in nullifies {
        db.prepare_cached("UPDATE dev_plc_operation SET nullified = 1 WHERE did = ?1 AND cid = ?2")?
            .execute((did, cid))?;
    }
    db.prepare_cached(
        "INSERT INTO dev_plc_operation (did, cid, operation, nullified, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((did, &row.cid, &row.operation, row.nullified, row.created_at))?;
    Ok(())
}
