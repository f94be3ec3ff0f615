//! Reading records: one, a page of a collection, the names of the collections.
//!
//! Not for: blocks and proofs (`export`). Records that were taken down are as good as missing here (AC-7).

use atproto::{
    data::{Cid, Value, cbor},
    syntax::{Nsid, RecordKey, RepoPath},
};

use super::Repos;
pub use crate::store::record::Order;
use crate::store::{StoreError, record};

/// Most collections that one repository is said to have.
pub const COLLECTIONS_MAX: usize = 1_000;

/// A record as its readers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    /// Where it stands.
    pub path: RepoPath,
    /// Its CID.
    pub cid: Cid,
    /// What it says.
    pub value: Value,
}

/// A page of a collection to be read.
#[derive(Clone, Debug)]
pub struct Page {
    /// The collection.
    pub collection: Nsid,
    /// The record key to go on after; exclusive.
    pub cursor: Option<RecordKey>,
    /// From which end.
    pub order: Order,
    /// Most records to return.
    pub limit: u32,
}

impl Repos {
    /// The record at `path` of generation `repo_id`; with `cid`, only when it is that version. Older versions are
    /// not kept (RP-13).
    pub async fn get_record(
        &self,
        repo_id: i64,
        path: RepoPath,
        cid: Option<Cid>,
    ) -> Result<Option<RecordView>, StoreError> {
        self.inner
            .store
            .read(move |db| {
                record::get(db, repo_id, &path)?
                    .filter(|found| found.takedown_ref.is_none() && cid.is_none_or(|cid| cid == found.cid))
                    .map(view)
                    .transpose()
            })
            .await
    }

    /// A page of records of generation `repo_id`.
    pub async fn list_records(&self, repo_id: i64, page: Page) -> Result<Vec<RecordView>, StoreError> {
        self.inner
            .store
            .read(move |db| {
                let Page { collection, cursor, order, limit } = page;
                let found = record::list(db, repo_id, &collection, cursor.as_ref(), order, limit)?;
                found.into_iter().map(view).collect()
            })
            .await
    }

    /// The collections of generation `repo_id`, at most [`COLLECTIONS_MAX`].
    pub async fn list_collections(&self, repo_id: i64) -> Result<Vec<String>, StoreError> {
        self.inner.store.read(move |db| record::list_collections(db, repo_id, COLLECTIONS_MAX)).await
    }
}

fn view(found: record::Record) -> Result<RecordView, StoreError> {
    let value =
        cbor::decode(&found.body).map_err(|_| StoreError::Corrupt { table: "record", column: "body" })?;
    Ok(RecordView { path: found.path, cid: found.cid, value })
}
