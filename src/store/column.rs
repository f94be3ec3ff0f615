//! Protocol types as columns: CIDs as bytes, revs as the number of their TID, paths as text.
//!
//! A stored value that does not read back as its type is an error of the statement that read it.

use atproto::{
    data::{Cid, cid},
    syntax::{RepoPath, Tid},
};
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

/// A CID in its binary form.
#[derive(Clone, Copy, Debug)]
pub struct CidColumn(pub Cid);

impl FromSql for CidColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        cid::from_bytes(bytes).map(CidColumn).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for CidColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_bytes()))
    }
}

/// A rev.
#[derive(Clone, Copy, Debug)]
pub struct RevColumn(pub Tid);

impl FromSql for RevColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        Tid::from_i64(number).map(RevColumn).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for RevColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.to_i64()))
    }
}

/// A repo path.
#[derive(Clone, Debug)]
pub struct PathColumn(pub RepoPath);

impl FromSql for PathColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        RepoPath::parse(text).map(PathColumn).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for PathColumn {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

/// The range of paths that belong to `collection`: from the first (inclusive) to the second (exclusive).
/// `0` is the byte after `/`.
pub(super) fn collection_range(collection: &str) -> (String, String) {
    (format!("{collection}/"), format!("{collection}0"))
}

/// A type of `atproto::syntax` in its text form.
#[derive(Clone, Debug)]
pub struct TextColumn<T>(pub T);

impl<T> FromSql for TextColumn<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(TextColumn).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}
