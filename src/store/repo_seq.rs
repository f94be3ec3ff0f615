//! Table `repo_seq`: the firehose log. Rows are appended by [`WriteTx::append_event`](super::WriteTx::append_event)
//! alone, because only the writer may draw a number.
//!
//! Numbers have gaps where rows were removed; they are never given out twice (EV-7). Where the newest rows were removed, or
//! numbers left out, the one row of table `repo_seq_floor` says how far they are taken.

use atproto::syntax::Did;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Rows};

use super::StoreError;
use crate::time::Micros;

/// Frames removed in one step, in bytes: a frame's pages are read to be freed, and other writes wait meanwhile.
const STEP_BYTES_MAX: i64 = 1 << 20;

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
    let mut statement = db.prepare_cached(
        "SELECT MAX(seq, IFNULL((SELECT seq FROM repo_seq ORDER BY seq DESC LIMIT 1), 0)) FROM repo_seq_floor",
    )?;
    Ok(statement.query_row((), |row| row.get(0))?)
}

/// Makes `seq` the number last given out at least, although no event may have it. Only the writer may (see
/// [`WriteTx::skip_seq_to`](super::WriteTx::skip_seq_to)).
pub(super) fn set_last_seq(db: &Connection, seq: i64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE repo_seq_floor SET seq = MAX(seq, ?1)")?.execute([seq])?;
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

/// Number of the first event that is not older than `since`; `None` when there is none. Times in the log never go back:
/// it is found in at most 64 steps, however long the log is.
pub fn first_since(db: &Connection, since: Micros) -> Result<Option<i64>, StoreError> {
    let mut newest = db.prepare_cached("SELECT seq, created_at FROM repo_seq ORDER BY seq DESC LIMIT 1")?;
    let newest = newest.query_row((), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((newest, _)) = newest.filter(|(_, created_at): &(i64, Micros)| *created_at >= since) else {
        return Ok(None);
    };
    // The first event numbered `high` or above is not older; none numbered `low` or below is.
    let (mut low, mut high) = (0, newest);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match first_after(db, middle - 1)? {
            Some((seq, created_at)) if created_at < since => low = seq,
            _ => high = middle,
        }
    }
    Ok(first_after(db, high - 1)?.map(|(seq, _)| seq))
}

/// Removes events numbered below `seq`, oldest first: at most `limit`, and no more once they pass [`STEP_BYTES_MAX`]
/// together. Returns how many; repeat until there are none.
pub fn delete_below(db: &Connection, seq: i64, limit: u32) -> Result<usize, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT seq, length(frame) FROM repo_seq WHERE seq < ?1 ORDER BY seq LIMIT ?2")?;
    let Some(last) = last_of_step(statement.query((seq, limit))?)? else { return Ok(0) };
    set_last_seq(db, last)?;
    Ok(db.prepare_cached("DELETE FROM repo_seq WHERE seq <= ?1")?.execute([last])?)
}

/// Removes events about `did` numbered below `seq` (EV-12: a deleted account keeps only its last `#account`), oldest first:
/// at most `limit`, and no more once they pass [`STEP_BYTES_MAX`] together. Returns how many; repeat until there are none.
pub fn delete_of_did_before(db: &Connection, did: &Did, seq: i64, limit: u32) -> Result<usize, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT seq, length(frame) FROM repo_seq WHERE did = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
    )?;
    let Some(last) = last_of_step(statement.query((did.as_str(), seq, limit))?)? else { return Ok(0) };
    set_last_seq(db, last)?;
    Ok(db
        .prepare_cached("DELETE FROM repo_seq WHERE did = ?1 AND seq <= ?2")?
        .execute((did.as_str(), last))?)
}

/// The number of the row with which a step is full; `None` without rows. The length of a frame is in the head of its row:
/// its pages are not read for it.
fn last_of_step(mut rows: Rows<'_>) -> Result<Option<i64>, StoreError> {
    let (mut last, mut bytes) = (None, 0);
    while bytes < STEP_BYTES_MAX {
        let Some(row) = rows.next()? else { break };
        last = Some(row.get(0)?);
        bytes += row.get::<_, i64>(1)?;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    const OTHER_DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

    /// A log of frames of these sizes, in bytes, about two accounts in turn.
    fn log(sizes: &[usize]) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        for migration in [
            include_str!("../../migrations/0001_init.sql"),
            include_str!("../../migrations/0008_log_in_order_of_time.sql"),
            include_str!("../../migrations/0009_log_counter.sql"),
        ] {
            db.execute_batch(migration).unwrap();
        }
        for (n, size) in sizes.iter().map(|size| i64::try_from(*size).unwrap()).enumerate() {
            let did = if n % 2 == 0 { DID } else { OTHER_DID };
            db.execute(
                "INSERT INTO repo_seq (did, created_at, frame) VALUES (?1, 1, zeroblob(?2))",
                (did, size),
            )
            .unwrap();
        }
        db
    }

    fn seqs(db: &Connection) -> Vec<i64> {
        let mut statement = db.prepare("SELECT seq FROM repo_seq ORDER BY seq").unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Migration 0009 makes the log anew: nothing in it may change, and numbers go on, also above rows that have gone.
    #[test]
    fn events_and_their_numbers_survive_the_migration_to_a_floor() {
        for (newest, last) in
            [("", 0), ("DELETE FROM repo_seq WHERE seq = 9", 9), ("DELETE FROM repo_seq", 9)]
        {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(include_str!("../../migrations/0001_init.sql")).unwrap();
            db.execute_batch(include_str!("../../migrations/0008_log_in_order_of_time.sql")).unwrap();
            if last > 0 {
                db.execute_batch("INSERT INTO repo_seq VALUES (4, 'a', 5, x'01'), (9, 'b', 6, x'02')")
                    .unwrap();
            }
            db.execute_batch(newest).unwrap();
            let events = || list_after(&db, 0, 10, 100).unwrap();
            let before = events();
            db.execute_batch(include_str!("../../migrations/0009_log_counter.sql")).unwrap();
            assert_eq!(events(), before);
            assert_eq!(last_seq(&db).unwrap(), last);
        }
    }

    #[test]
    fn numbers_are_taken_for_good_when_their_events_go_or_they_are_left_out_ev_7() {
        let db = log(&[100; 6]);
        assert_eq!(last_seq(&db).unwrap(), 6);
        assert_eq!(delete_of_did_before(&db, &Did::parse(OTHER_DID).unwrap(), 7, 500).unwrap(), 3);
        assert_eq!((seqs(&db), last_seq(&db).unwrap()), (vec![1, 3, 5], 6));
        assert_eq!(delete_below(&db, 7, 500).unwrap(), 3);
        assert_eq!((seqs(&db), last_seq(&db).unwrap()), (vec![], 6));
        set_last_seq(&db, 20).unwrap();
        set_last_seq(&db, 10).unwrap();
        assert_eq!(last_seq(&db).unwrap(), 20);
    }

    #[test]
    fn a_step_ends_when_its_rows_or_its_bytes_are_used_up() {
        const MIB: usize = 1 << 20;
        let db = log(&[100, 100, MIB / 2, MIB / 2, 2 * MIB, 100, 100]);
        assert_eq!(delete_below(&db, 7, 1).unwrap(), 1);
        assert_eq!(delete_below(&db, 7, 500).unwrap(), 3, "2 to 4 are a step");
        assert_eq!(delete_below(&db, 7, 500).unwrap(), 1, "one larger than the budget is a step of its own");
        assert_eq!(delete_below(&db, 7, 500).unwrap(), 1);
        assert_eq!(delete_below(&db, 7, 500).unwrap(), 0);
        assert_eq!(seqs(&db), [7]);
    }

    #[test]
    fn events_of_one_account_go_and_those_of_others_stay() {
        const MIB: usize = 1 << 20;
        let db = log(&[100, 100, MIB, 100, 100, 100, 100]);
        let did = Did::parse(DID).unwrap();
        assert_eq!(delete_of_did_before(&db, &did, 7, 500).unwrap(), 2, "1 and 3 are a step");
        assert_eq!(delete_of_did_before(&db, &did, 7, 500).unwrap(), 1);
        assert_eq!(delete_of_did_before(&db, &did, 7, 500).unwrap(), 0);
        assert_eq!(seqs(&db), [2, 4, 6, 7]);
    }

    /// The search against a look at every row, with events that share a moment and numbers that are left out.
    #[test]
    fn the_first_event_since_a_moment_is_found_wherever_numbers_are_left_out() {
        for gap in [1, 2, 7, 1000, 1 << 40] {
            let db = log(&[]);
            assert_eq!(first_since(&db, 0).unwrap(), None);
            let mut events = Vec::new();
            for n in 1..=40_i64 {
                let (seq, created_at) = (n * n / 3 + (n / 9) * gap + n, n / 3 * 10);
                db.execute(
                    "INSERT INTO repo_seq (seq, did, created_at, frame) VALUES (?1, '', ?2, x'')",
                    (seq, created_at),
                )
                .unwrap();
                events.push((seq, created_at));
                for since in -1..=created_at + 1 {
                    let first = events.iter().find(|(_, created_at)| *created_at >= since);
                    let found = first_since(&db, since).unwrap();
                    assert_eq!(found, first.map(|(seq, _)| *seq), "since {since} of {events:?}");
                }
            }
        }
    }

    /// What a step costs must not grow with the log: nothing is scanned and nothing is sorted.
    #[test]
    fn every_statement_finds_its_rows_by_an_index() {
        let db = log(&[100; 4]);
        let plan = |sql: &str| {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            for n in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(n, 1).unwrap();
            }
            let (mut rows, mut plan) = (statement.raw_query(), Vec::new());
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>(3).unwrap());
            }
            plan.join("; ")
        };
        for (sql, expected) in [
            (
                "SELECT seq, length(frame) FROM repo_seq WHERE seq < ?1 ORDER BY seq LIMIT ?2",
                "SEARCH repo_seq USING INTEGER PRIMARY KEY (rowid<?)",
            ),
            ("DELETE FROM repo_seq WHERE seq <= ?1", "SEARCH repo_seq USING INTEGER PRIMARY KEY (rowid<?)"),
            (
                "SELECT seq, length(frame) FROM repo_seq WHERE did = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
                "SEARCH repo_seq USING INDEX repo_seq_did (did=? AND rowid<?)",
            ),
            (
                "DELETE FROM repo_seq WHERE did = ?1 AND seq <= ?2",
                "SEARCH repo_seq USING INDEX repo_seq_did (did=? AND rowid<?)",
            ),
            (
                "SELECT seq, created_at FROM repo_seq WHERE seq > ?1 ORDER BY seq LIMIT 1",
                "SEARCH repo_seq USING INTEGER PRIMARY KEY (rowid>?)",
            ),
            ("SELECT seq, created_at FROM repo_seq ORDER BY seq DESC LIMIT 1", "SCAN repo_seq"),
            (
                "SELECT MAX(seq, IFNULL((SELECT seq FROM repo_seq ORDER BY seq DESC LIMIT 1), 0)) FROM repo_seq_floor",
                "SCAN repo_seq_floor; SCALAR SUBQUERY 1; SCAN repo_seq",
            ),
        ] {
            assert!(
                include_str!("repo_seq.rs").matches(sql).count() >= 2,
                "the statement has changed: {sql}"
            );
            assert_eq!(plan(sql), expected, "{sql}");
        }
    }
}
