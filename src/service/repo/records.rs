//! Reading records: one, a page of a collection, the names of the collections.
//!
//! Not for: blocks and proofs (`export`). Records that were taken down are as good as missing here (AC-7).

use atproto::{
    data::Cid,
    syntax::{AtIdentifier, Did, Nsid, RecordKey, RepoPath},
};

use super::Repos;
pub use crate::store::record::{Order, RowRecord};
use crate::store::{StoreError, account::Status, record};

/// Most collections that one repository is said to have.
pub const COLLECTIONS_MAX: usize = 1_000;

/// What [`Repos::find_record`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The account that was named.
    pub did: Did,
    /// The record; `None` when there is none, or another version of it.
    pub record: Option<FoundRecord>,
}

/// A record as its readers get it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRecord {
    /// Its CID.
    pub cid: Cid,
    /// What it says: canonical CBOR.
    pub body: Vec<u8>,
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
    /// The record at `path` of the account `repo`; with `cid`, only when it is that version. Older versions are not kept
    /// (RP-13). `None`: there is no such account, or it is not active.
    pub async fn find_record(
        &self,
        repo: &AtIdentifier,
        path: &RepoPath,
        cid: Option<Cid>,
    ) -> Result<Option<Found>, StoreError> {
        let sought = self.inner.store.look(|db| record::seek(db, repo, path)).await?;
        Ok(sought.filter(|sought| sought.status == Status::Active).map(|sought| Found {
            did: sought.did,
            record: sought
                .record
                .filter(|(found, _)| cid.is_none_or(|cid| cid == *found))
                .map(|(cid, body)| FoundRecord { cid, body }),
        }))
    }

    /// Reads a page of records of generation `repo_id`: starts with `list` and has `add` put each record into it, on a
    /// thread for such work.
    pub async fn list_records<T, F>(
        &self,
        repo_id: i64,
        page: Page,
        mut list: T,
        add: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut T, RowRecord<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        self.inner
            .store
            .read(move |db| {
                let Page { collection, cursor, order, limit } = page;
                record::list(db, repo_id, &collection, cursor.as_ref(), order, limit, |found| {
                    add(&mut list, found)
                })?;
                Ok(list)
            })
            .await
    }

    /// The collections of generation `repo_id`, at most [`COLLECTIONS_MAX`].
    pub async fn list_collections(&self, repo_id: i64) -> Result<Vec<String>, StoreError> {
        self.inner.store.read(move |db| record::list_collections(db, repo_id, COLLECTIONS_MAX)).await
    }
}
