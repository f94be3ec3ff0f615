//! Table `deleted_account`: accounts that are gone, and what is still left to remove of them.
//!
//! Their row in `account` has gone with all that is small ([`super::account::delete_everything`]). The rest is removed
//! in steps, so that other writes get their turn; after a crash the steps go on where they were.

use atproto::syntax::Did;
use rusqlite::Connection;

use super::{StoreError, column::TextColumn};
use crate::time::Micros;

/// An account of which something may be left.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// The number that it had.
    pub account_id: i64,
    /// The DID that it had. Another account may have it again.
    pub did: Did,
    /// The event that announced its deletion.
    pub seq: i64,
}

/// Notes that the account is gone.
pub fn insert(db: &Connection, account_id: i64, did: &Did, seq: i64, now: Micros) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO deleted_account (id, did, seq, deleted_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((account_id, did.as_str(), seq, now))?;
    Ok(())
}

/// The first after the one numbered `after_id` of which something may be left.
pub fn next_left(db: &Connection, after_id: i64) -> Result<Option<Leftover>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, did, seq FROM deleted_account WHERE id > ?1 AND did IS NOT NULL ORDER BY id LIMIT 1",
    )?;
    let mut rows = statement.query_map([after_id], |row| {
        Ok(Leftover { account_id: row.get(0)?, did: row.get::<_, TextColumn<Did>>(1)?.0, seq: row.get(2)? })
    })?;
    Ok(rows.next().transpose()?)
}

/// Notes that nothing of the account is left, unless a generation of its repository still is (an import that was under
/// way removes its own); true when noted.
pub fn set_done(db: &Connection, account_id: i64) -> Result<bool, StoreError> {
    let updated = db
        .prepare_cached(
            "UPDATE deleted_account SET did = NULL
             WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM repo WHERE account_id = ?1)",
        )?
        .execute([account_id])?;
    Ok(updated > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Migration 0003 makes `repo` and `blob` anew: nothing in them may change, and numbers go on.
    #[test]
    fn repositories_and_blobs_survive_the_migration_that_unties_them_from_accounts() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        db.execute_batch(include_str!("../../migrations/0001_init.sql")).unwrap();
        db.execute_batch(
            "INSERT INTO account (id, did, created_at, repo_id) VALUES (3, 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', 1, 7);
             INSERT INTO repo (id, account_id, commit_cid, records, created_at) VALUES (7, 3, x'01', 5, 2);
             INSERT INTO repo (id, account_id, created_at) VALUES (9, 3, 2);
             DELETE FROM repo WHERE id = 9;
             INSERT INTO blob (account_id, cid, mime_type, size, created_at, temporary, takedown_ref)
             VALUES (3, 'bafk', 'image/png', 4, 2, 0, 'why');",
        )
        .unwrap();
        db.execute_batch(&format!(
            "BEGIN; {}; COMMIT",
            include_str!("../../migrations/0003_lifecycle.sql").trim_end().trim_end_matches(';')
        ))
        .unwrap();
        let repo: (i64, i64, Vec<u8>, i64) = db
            .query_row("SELECT id, account_id, commit_cid, records FROM repo", (), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap();
        assert_eq!(repo, (7, 3, vec![1], 5));
        let blob: (String, String) = db
            .query_row("SELECT cid, takedown_ref FROM blob WHERE account_id = 3", (), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(blob, ("bafk".into(), "why".into()));
        db.execute_batch(
            "INSERT INTO repo (account_id, created_at) VALUES (3, 3);
             INSERT INTO record (repo_id, path, cid, rev, indexed_at, link_to, body)
             VALUES (7, 'a/b', x'02', 1, 1, 'at://x', x'a0');
             DELETE FROM account;",
        )
        .unwrap();
        let n = |sql: &str| db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(n("SELECT MAX(id) FROM repo"), 10, "number 9 is not given out again");
        assert_eq!(n("SELECT COUNT(*) FROM backlink"), 1, "triggers");
    }
}
