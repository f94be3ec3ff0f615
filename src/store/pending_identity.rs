//! Table `pending_identity`: what a did:plc directory was asked for an account and our own rows do not say yet.

use atproto::syntax::{Did, Handle};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, column::TextColumn};
use crate::time::Micros;

/// What the directory was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To register a DID for a new account.
    Create,
    /// To give a DID another handle.
    Handle,
    /// To take an operation that the account's owner made.
    Operation,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Handle => "handle",
            Kind::Operation => "operation",
        }
    }

    fn parse(text: &str) -> Kind {
        match text {
            "create" => Kind::Create,
            "handle" => Kind::Handle,
            // The kind that does the least when it is settled.
            _ => Kind::Operation,
        }
    }
}

/// A row of `pending_identity`.
#[derive(Clone, Debug)]
pub struct PendingIdentity {
    /// The DID that is being changed.
    pub did: Did,
    /// What the directory was asked.
    pub kind: Kind,
    /// Held for the DID meanwhile.
    pub handle: Option<Handle>,
    /// When it was noted.
    pub started_at: Micros,
    /// It is being undone.
    pub abandoned: bool,
}

const COLUMNS: &str = "did, kind, handle, started_at, abandoned";

fn from_row(row: &Row<'_>) -> rusqlite::Result<PendingIdentity> {
    Ok(PendingIdentity {
        did: row.get::<_, TextColumn<Did>>(0)?.0,
        kind: Kind::parse(&row.get::<_, String>(1)?),
        handle: row.get::<_, Option<TextColumn<Handle>>>(2)?.map(|handle| handle.0),
        started_at: row.get(3)?,
        abandoned: row.get(4)?,
    })
}

/// Notes what is going to be asked, in the place of what was noted for the DID before. The handle must be free:
/// [`holder_of`].
pub fn put(
    db: &Connection,
    did: &Did,
    kind: Kind,
    handle: Option<&Handle>,
    now: Micros,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO pending_identity (did, kind, handle, started_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (did) DO UPDATE SET
             kind = excluded.kind, handle = excluded.handle, started_at = excluded.started_at, abandoned = 0",
    )?
    .execute((did.as_str(), kind.as_str(), handle.map(Handle::as_str), now))?;
    Ok(())
}

/// What is noted for a DID.
pub fn get(db: &Connection, did: &Did) -> Result<Option<PendingIdentity>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM pending_identity WHERE did = ?1");
    Ok(db.prepare_cached(&sql)?.query_row((did.as_str(),), from_row).optional()?)
}

/// The DID that a handle is held for.
pub fn holder_of(db: &Connection, handle: &Handle) -> Result<Option<Did>, StoreError> {
    Ok(db
        .prepare_cached("SELECT did FROM pending_identity WHERE handle = ?1")?
        .query_row((handle.as_str(),), |row| Ok(row.get::<_, TextColumn<Did>>(0)?.0))
        .optional()?)
}

/// What was noted up to `until`, the oldest first, at most `n_max`.
pub fn list(db: &Connection, until: Micros, n_max: u32) -> Result<Vec<PendingIdentity>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM pending_identity WHERE started_at <= ?1 ORDER BY started_at LIMIT ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((until, n_max), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Says that the change is being undone: whoever began it must not finish it any more. Its handle is free again.
pub fn abandon(db: &Connection, did: &Did) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE pending_identity SET abandoned = 1, handle = NULL WHERE did = ?1")?
        .execute((did.as_str(),))?;
    Ok(())
}

/// Forgets what was noted for a DID.
pub fn delete(db: &Connection, did: &Did) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM pending_identity WHERE did = ?1")?.execute((did.as_str(),))?;
    Ok(())
}
