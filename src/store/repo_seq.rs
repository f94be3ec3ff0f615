//! Table `repo_seq`: the firehose log. Rows are appended by [`WriteTx::append_event`](super::WriteTx::append_event)
//! alone, because only the writer may draw a number.
//!
//! Numbers have gaps where rows were removed; they are never given out twice (EV-7).

use atproto::syntax::Did;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;
use crate::time::Micros;

/// Frames after `cursor` in ascending order of their number: at most `frames_max`, and no more once they pass
/// `bytes_max` together.
pub fn list_after(
    db: &Connection,
    cursor: i64,
    frames_max: usize,
    bytes_max: usize,
) -> Result<Vec<(i64, Bytes)>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT seq, frame FROM repo_seq WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query((cursor, i64::try_from(frames_max).unwrap_or(i64::MAX)))?;
    let (mut frames, mut bytes) = (Vec::new(), 0);
    while bytes < bytes_max {
        let Some(row) = rows.next()? else { break };
        let frame = Bytes::from(row.get::<_, Vec<u8>>(1)?);
        bytes += frame.len();
        frames.push((row.get(0)?, frame));
    }
    Ok(frames)
}

/// The number last given out, also when its row has gone; 0 before the first.
pub fn last_seq(db: &Connection) -> Result<i64, StoreError> {
    let mut statement = db.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'repo_seq'")?;
    let seq = statement.query_row((), |row| row.get(0)).optional()?;
    Ok(seq.unwrap_or(0))
}

/// Makes `seq` the number last given out, although no event has it. Only the writer may (see
/// [`WriteTx::skip_seq_to`](super::WriteTx::skip_seq_to)).
pub(super) fn set_last_seq(db: &Connection, seq: i64) -> Result<(), StoreError> {
    let changed =
        db.prepare_cached("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'repo_seq'")?.execute([seq])?;
    if changed == 0 {
        // No event yet.
        db.prepare_cached("INSERT INTO sqlite_sequence (name, seq) VALUES ('repo_seq', ?1)")?
            .execute([seq])?;
    }
    Ok(())
}

/// How many events there are after `cursor`, counted up to `max`.
pub fn count_after(db: &Connection, cursor: i64, max: u32) -> Result<u32, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT COUNT(*) FROM (SELECT 1 FROM repo_seq WHERE seq > ?1 LIMIT ?2)")?;
    Ok(statement.query_row((cursor, max), |row| row.get(0))?)
}

/// Number and time of the first event after `cursor`; `None` when there is none.
pub fn first_after(db: &Connection, cursor: i64) -> Result<Option<(i64, Micros)>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT seq, created_at FROM repo_seq WHERE seq > ?1 ORDER BY seq LIMIT 1")?;
    Ok(statement.query_row([cursor], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Number of the first event that is not older than `since`; `None` when there is none.
pub fn first_since(db: &Connection, since: Micros) -> Result<Option<i64>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT seq FROM repo_seq WHERE created_at >= ?1 ORDER BY created_at, seq LIMIT 1")?;
    Ok(statement.query_row([since], |row| row.get(0)).optional()?)
}

/// Removes up to `limit` events numbered below `seq`, oldest first; returns how many. Repeat until it is below `limit`.
pub fn delete_below(db: &Connection, seq: i64, limit: u32) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM repo_seq
         WHERE seq IN (SELECT seq FROM repo_seq WHERE seq < ?1 ORDER BY seq LIMIT ?2)",
    )?;
    Ok(statement.execute((seq, limit))?)
}

/// Removes up to `limit` events about `did` numbered below `seq` (EV-12: a deleted account keeps only its last
/// `#account`); returns how many. Repeat until it is below `limit`.
pub fn delete_of_did_before(db: &Connection, did: &Did, seq: i64, limit: u32) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM repo_seq
         WHERE seq IN (SELECT seq FROM repo_seq WHERE did = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3)",
    )?;
    Ok(statement.execute((did.as_str(), seq, limit))?)
}
