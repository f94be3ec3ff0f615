//! Tables `blob`, `record_blob` and `blob_garbage`: which blobs an account has uploaded, which records refer to
//! them, and which files may have lost their row.
//!
//! The life of a blob (BL-4..BL-9):
//!
//! ```text
//!             put            claim (or put, when a record waits for it)
//! (nothing) ------> temporary ------------------------------------> permanent
//!     ^                 | collect_temporary                            | release, settle
//!     +-----------------+----------------------------------------------+
//! ```
//!
//! The bytes are a file ([`super::blob_file`]). A file is on disk before its row is committed, and goes only after its
//! row has gone. A crash in between leaves no file that nobody knows of: before the row, the file has its name in `tmp/` still,
//! which the next start finds and notes in `blob_garbage`; after it, the note is part of the change that deletes the row.
//!
//! Not for: the files themselves, limits and MIME types (`service::blob`).

use atproto::{
    data::{BlobRef, Cid, cid},
    syntax::{RepoPath, Tid},
};
use rusqlite::{Connection, OptionalExtension, Row};

use super::StoreError;
use crate::time::Micros;

/// A row of `blob`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Hash of the bytes (BL-1).
    pub cid: Cid,
    /// What `uploadBlob` settled on.
    pub mime_type: String,
    /// Bytes.
    pub size: u64,
    /// True until a record refers to it.
    pub temporary: bool,
    /// Set when the operator took this blob down (BL-12).
    pub takedown_ref: Option<String>,
}

/// Why a record cannot refer to a blob.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The account has not uploaded it, or it has been taken down (BL-5).
    #[error("could not find blob: {0}")]
    NotFound(Cid),
    /// The reference names another MIME type than the upload has (BL-6).
    #[error("{0}")]
    MimeType(String),
    /// The reference names another size than the upload has (BL-6).
    #[error("{0}")]
    Size(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for ClaimError {
    fn from(error: rusqlite::Error) -> Self {
        ClaimError::Store(error.into())
    }
}

/// Why an upload cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The operator took this blob down; it does not come back by uploading it again (BL-12).
    #[error("blob has been takendown, cannot re-upload")]
    Takendown,
    /// The account was deleted in the meantime.
    #[error("the account is not here any more")]
    NoAccount,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for PutError {
    fn from(error: rusqlite::Error) -> Self {
        PutError::Store(error.into())
    }
}

// Records take and drop references.

/// Finds out whether a record may refer to `blob`.
///
/// # Errors
///
/// [`ClaimError::NotFound`] when the account does not hold the blob or it is taken down (BL-5); while it is
/// temporary, [`ClaimError::MimeType`] and [`ClaimError::Size`] when the reference differs from the upload (BL-6).
pub fn check_claim(db: &Connection, account_id: i64, blob: &BlobRef) -> Result<(), ClaimError> {
    let held = get(db, account_id, &blob.cid)?
        .filter(|held| held.takedown_ref.is_none())
        .ok_or(ClaimError::NotFound(blob.cid))?;
    if held.temporary && held.mime_type != blob.mime_type {
        return Err(ClaimError::MimeType(format!(
            "blob {} was uploaded as {}, but the record says {}",
            blob.cid, held.mime_type, blob.mime_type
        )));
    }
    if held.temporary && held.size != blob.size {
        return Err(ClaimError::Size(format!(
            "blob {} is {} bytes, but the record says {}",
            blob.cid, held.size, blob.size
        )));
    }
    Ok(())
}

/// Notes that the record at `path`, as written by the commit `rev`, refers to `blob`, and makes the blob permanent.
/// Whether it may do so has been asked before ([`check_claim`]).
///
/// The write path calls this for every blob of every record that the commit leaves behind, and only then
/// [`release`] for every path that the commit updates or deletes, with the same `rev`. That order lets a blob move
/// between paths and fields within one commit without being dropped on the way (BL-7).
pub fn claim(
    tx: &Connection,
    account_id: i64,
    repo_id: i64,
    path: &RepoPath,
    rev: Tid,
    cid: &Cid,
) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE blob SET temporary = 0 WHERE account_id = ?1 AND cid = ?2 AND temporary = 1")?
        .execute((account_id, cid.to_string()))?;
    link(tx, repo_id, path, rev, cid)
}

/// Notes a reference without asking whether the blob is here (imports: the bytes may come later, MG-5).
pub fn link(tx: &Connection, repo_id: i64, path: &RepoPath, rev: Tid, cid: &Cid) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO record_blob (repo_id, cid, path, rev) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repo_id, cid, path) DO UPDATE SET rev = excluded.rev",
    )?
    .execute((repo_id, cid.to_string(), path.as_str(), rev.to_i64()))?;
    Ok(())
}

/// Drops what the record at `path` referred to before the commit `rev`, and every blob of the account that no record
/// of the repo refers to any more (BL-7).
///
/// Call after all [`claim`]s of the commit: what they noted carries `rev` and stays. The files of dropped blobs are
/// noted in `blob_garbage` by the same transaction and removed later; the caller has nothing to do after the commit.
pub fn release(
    tx: &Connection,
    account_id: i64,
    repo_id: i64,
    path: &RepoPath,
    rev: Tid,
) -> Result<(), StoreError> {
    let dropped = tx
        .prepare_cached(
            "DELETE FROM record_blob WHERE repo_id = ?1 AND path = ?2 AND rev <> ?3 RETURNING cid",
        )?
        .query_map((repo_id, path.as_str(), rev.to_i64()), |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    for cid in dropped {
        let deleted = tx
            .prepare_cached(
                "DELETE FROM blob
                 WHERE account_id = ?1 AND cid = ?2 AND takedown_ref IS NULL
                   AND NOT EXISTS (SELECT 1 FROM record_blob WHERE repo_id = ?3 AND cid = ?2)",
            )?
            .execute((account_id, &cid, repo_id))?;
        if deleted > 0 {
            note_garbage(tx, account_id, &cid)?;
        }
    }
    Ok(())
}

/// Brings an account's blobs in line with `repo_id` after that generation became the one served: uploads that its
/// records wait for become permanent, permanent blobs that none of them refers to go.
///
/// Touches every blob of the account once.
pub fn settle(tx: &Connection, account_id: i64, repo_id: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE blob SET temporary = 0
         WHERE account_id = ?1 AND temporary = 1
           AND EXISTS (SELECT 1 FROM record_blob WHERE repo_id = ?2 AND cid = blob.cid)",
        (account_id, repo_id),
    )?;
    tx.execute(
        "INSERT OR IGNORE INTO blob_garbage (account_id, cid)
         SELECT account_id, cid FROM blob
         WHERE account_id = ?1 AND temporary = 0 AND takedown_ref IS NULL
           AND NOT EXISTS (SELECT 1 FROM record_blob WHERE repo_id = ?2 AND cid = blob.cid)",
        (account_id, repo_id),
    )?;
    tx.execute(
        "DELETE FROM blob
         WHERE account_id = ?1 AND temporary = 0 AND takedown_ref IS NULL
           AND NOT EXISTS (SELECT 1 FROM record_blob WHERE repo_id = ?2 AND cid = blob.cid)",
        (account_id, repo_id),
    )?;
    Ok(())
}

// Uploads.

/// Enters an upload whose file is in place, and takes its note out of `blob_garbage`. Returns the row as it stands.
///
/// New or still temporary: the row is (again) temporary as of `now`, with the MIME type of this upload. Permanent:
/// untouched (BL-8). A record of the served repo already refers to it: permanent at once (MG-5).
pub fn put(
    tx: &Connection,
    account_id: i64,
    cid: &Cid,
    mime_type: &str,
    size: u64,
    now: Micros,
) -> Result<Blob, PutError> {
    if !tx.prepare_cached("SELECT 1 FROM account WHERE id = ?1")?.exists([account_id])? {
        return Err(PutError::NoAccount);
    }
    let text = cid.to_string();
    tx.prepare_cached(
        "INSERT INTO blob (account_id, cid, mime_type, size, created_at, temporary) VALUES (?1, ?2, ?3, ?4, ?5, 1)
         ON CONFLICT (account_id, cid) DO UPDATE SET mime_type = excluded.mime_type, created_at = excluded.created_at
         WHERE temporary = 1",
    )?
    .execute((account_id, &text, mime_type, i64::try_from(size).unwrap_or(i64::MAX), now))?;
    tx.prepare_cached(
        "UPDATE blob SET temporary = 0
         WHERE account_id = ?1 AND cid = ?2 AND temporary = 1
           AND EXISTS (SELECT 1 FROM record_blob
                       WHERE repo_id = (SELECT repo_id FROM account WHERE id = ?1) AND cid = ?2)",
    )?
    .execute((account_id, &text))?;
    forget_garbage(tx, account_id, &text)?;
    match get(tx, account_id, cid)? {
        Some(blob) if blob.takedown_ref.is_some() => Err(PutError::Takendown),
        Some(blob) => Ok(blob),
        None => Err(StoreError::Corrupt { table: "blob", column: "cid" }.into()),
    }
}

/// Deletes temporary blobs uploaded before `before`, oldest first, at most `rows_max`; returns how many (BL-9).
/// Their files are noted in `blob_garbage`.
pub fn collect_temporary(tx: &Connection, before: Micros, rows_max: u32) -> Result<usize, StoreError> {
    let collected = tx
        .prepare_cached(
            "DELETE FROM blob WHERE id IN (
                 SELECT id FROM blob WHERE temporary = 1 AND takedown_ref IS NULL AND created_at < ?1
                 ORDER BY created_at
                 LIMIT ?2)
             RETURNING account_id, cid",
        )?
        .query_map((before, rows_max), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, String)>, _>>()?;
    for (account_id, cid) in &collected {
        note_garbage(tx, *account_id, cid)?;
    }
    Ok(collected.len())
}

/// Deletes up to `rows_max` blobs of an account that is deleted, taken-down ones too; returns how many. Their files are
/// noted in `blob_garbage`.
pub fn delete_of_account(tx: &Connection, account_id: i64, rows_max: u32) -> Result<usize, StoreError> {
    let deleted = tx
        .prepare_cached(
            "DELETE FROM blob WHERE id IN (SELECT id FROM blob WHERE account_id = ?1 LIMIT ?2) RETURNING cid",
        )?
        .query_map((account_id, rows_max), |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    for cid in &deleted {
        note_garbage(tx, account_id, cid)?;
    }
    Ok(deleted.len())
}

/// Takes the blob down for the reason given (BL-12), or gives it back; nothing happens when the account does not hold
/// it. One that no record refers to when it comes back is temporary as of `now`: it was kept only because it was down.
pub fn set_takedown(
    tx: &Connection,
    account_id: i64,
    cid: &Cid,
    takedown_ref: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    let text = cid.to_string();
    tx.prepare_cached("UPDATE blob SET takedown_ref = ?3 WHERE account_id = ?1 AND cid = ?2")?.execute((
        account_id,
        &text,
        takedown_ref,
    ))?;
    if takedown_ref.is_none() {
        tx.prepare_cached(
            "UPDATE blob SET temporary = 1, created_at = ?3
             WHERE account_id = ?1 AND cid = ?2 AND temporary = 0
               AND NOT EXISTS (SELECT 1 FROM record_blob
                               WHERE repo_id = (SELECT repo_id FROM account WHERE id = ?1) AND cid = ?2)",
        )?
        .execute((account_id, &text, now))?;
    }
    Ok(())
}

// Files that may have no row.

/// Notes that the file of `cid` may be without a row: when its row is deleted, when an upload ended before its row, and
/// before a file is put in a place in which it cannot keep its temporary name.
pub fn note_garbage(tx: &Connection, account_id: i64, cid: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR IGNORE INTO blob_garbage (account_id, cid) VALUES (?1, ?2)")?
        .execute((account_id, cid))?;
    Ok(())
}

/// Takes a note back: the file has its row, or is gone.
pub fn forget_garbage(tx: &Connection, account_id: i64, cid: &str) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM blob_garbage WHERE account_id = ?1 AND cid = ?2")?
        .execute((account_id, cid))?;
    Ok(())
}

/// Noted files after the one named by `after`, in order of account and CID, at most `rows_max`.
pub fn list_garbage(
    db: &Connection,
    after: &(i64, String),
    rows_max: u32,
) -> Result<Vec<(i64, String)>, StoreError> {
    let rows = db
        .prepare_cached(
            "SELECT account_id, cid FROM blob_garbage
             WHERE (account_id, cid) > (?1, ?2)
             ORDER BY account_id, cid
             LIMIT ?3",
        )?
        .query_map((after.0, &after.1, rows_max), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Whether the blob has a row, by the text form of its CID.
pub fn exists(db: &Connection, account_id: i64, cid: &str) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached("SELECT 1 FROM blob WHERE account_id = ?1 AND cid = ?2")?
        .exists((account_id, cid))?)
}

// Reading.

/// The blob, whatever its state.
pub fn get(db: &Connection, account_id: i64, cid: &Cid) -> Result<Option<Blob>, StoreError> {
    let row = db
        .prepare_cached(
            "SELECT mime_type, size, temporary, takedown_ref FROM blob WHERE account_id = ?1 AND cid = ?2",
        )?
        .query_row((account_id, cid.to_string()), |row| blob_from(row, *cid))
        .optional()?;
    Ok(row)
}

fn blob_from(row: &Row<'_>, cid: Cid) -> rusqlite::Result<Blob> {
    Ok(Blob {
        cid,
        mime_type: row.get(0)?,
        size: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        temporary: row.get(2)?,
        takedown_ref: row.get(3)?,
    })
}

/// Distinct CIDs that records of the repo refer to, whether or not the bytes are here, in text order after `cursor`,
/// at most `limit`; with `since`, only those of records written after it (BL-16).
pub fn list_referenced(
    db: &Connection,
    repo_id: i64,
    since: Option<Tid>,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Vec<Cid>, StoreError> {
    let since = since.map_or(-1, Tid::to_i64);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let cids = db
        .prepare_cached(
            "SELECT DISTINCT cid FROM record_blob
             WHERE repo_id = ?1 AND cid > ?2 AND rev > ?3
             ORDER BY cid
             LIMIT ?4",
        )?
        .query_map((repo_id, cursor.unwrap_or(""), since, limit), |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    cids.iter().map(|text| parse_cid(text)).collect()
}

/// Blobs that records refer to and the account has not uploaded, with one of the paths that wait for each, in text
/// order of the CIDs after `cursor`, at most `limit` (MG-5).
pub fn list_missing(
    db: &Connection,
    account_id: i64,
    repo_id: i64,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Vec<(Cid, String)>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = db
        .prepare_cached(
            "SELECT cid, MIN(path) FROM record_blob
             WHERE repo_id = ?1 AND cid > ?2
               AND NOT EXISTS (SELECT 1 FROM blob WHERE account_id = ?3 AND cid = record_blob.cid)
             GROUP BY cid
             ORDER BY cid
             LIMIT ?4",
        )?
        .query_map((repo_id, cursor.unwrap_or(""), account_id, limit), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|(cid, path)| Ok((parse_cid(&cid)?, path))).collect()
}

/// How many distinct blobs the records of the repo refer to (`expectedBlobs`, MG-6).
pub fn count_expected(db: &Connection, repo_id: i64) -> Result<u64, StoreError> {
    count(db, "SELECT COUNT(DISTINCT cid) FROM record_blob WHERE repo_id = ?1", repo_id)
}

/// How many blobs the account holds, temporary ones included (`importedBlobs`, MG-6).
pub fn count_held(db: &Connection, account_id: i64) -> Result<u64, StoreError> {
    count(db, "SELECT COUNT(*) FROM blob WHERE account_id = ?1", account_id)
}

fn count(db: &Connection, sql: &str, id: i64) -> Result<u64, StoreError> {
    let n: i64 = db.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
    Ok(u64::try_from(n).unwrap_or(0))
}

fn parse_cid(text: &str) -> Result<Cid, StoreError> {
    cid::parse(text).map_err(|_| StoreError::Corrupt { table: "record_blob", column: "cid" })
}
