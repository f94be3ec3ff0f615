//! Blobs: uploading, serving and collecting the media that records refer to (BL-1..BL-16).
//!
//! An upload is *temporary* until a record refers to it (`store::blob` draws the whole life). Its bytes are streamed
//! to a file, never held in memory but for a few hundred KiB, and are on disk before the row is.
//!
//! Not for: looking into media. MIME types are guessed from the first bytes; nothing is decoded (BL-13).

mod mime;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;

use atproto::data::Cid;
use tokio::{fs::File, sync::RwLock};

pub use self::{
    sweep::{Swept, TEMPORARY_HOURS_MIN},
    upload::{UPLOAD_IDLE_SECS_MAX, UPLOADS_MAX, UploadError},
};
use crate::{
    service::places::Places,
    store::{
        Store, StoreError,
        blob::{self, Blob},
        blob_file::BlobFiles,
    },
    time::Clock,
};

/// Largest blob unless configured otherwise, as in the reference (XR-21).
pub const BLOB_BYTES_MAX_DEFAULT: u64 = 5 * 1024 * 1024;

/// The blobs of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    inner: Arc<Shared>,
}

struct Shared {
    store: Store,
    files: BlobFiles,
    clock: Clock,
    bytes_max: u64,
    uploads: Places,
    /// Shared by uploads between putting a file in place and committing its row, exclusive for removing files: a file
    /// is removed only while no upload can be counting on it.
    placing: Arc<RwLock<()>>,
}

impl Blobs {
    /// `bytes_max`: largest blob accepted.
    pub fn new(store: Store, clock: Clock, bytes_max: u64) -> Blobs {
        Blobs {
            inner: Arc::new(Shared {
                files: BlobFiles::of(&store),
                store,
                clock,
                bytes_max,
                uploads: Places::new(UPLOADS_MAX),
                placing: Arc::default(),
            }),
        }
    }

    /// Largest blob accepted, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.inner.bytes_max
    }

    /// A blob that may be served: permanent and not taken down (BL-4, BL-12). The caller has checked that the account
    /// may be read (BL-11).
    pub async fn open(&self, account_id: i64, cid: Cid) -> Result<Option<(Blob, File)>, StoreError> {
        let row = self.inner.store.look(|db| blob::get(db, account_id, &cid)).await?;
        let Some(blob) = row.filter(|blob| !blob.temporary && blob.takedown_ref.is_none()) else {
            return Ok(None);
        };
        let Some(file) = self.inner.files.open(account_id, &cid).await? else {
            tracing::error!(account_id, %cid, "a blob has a row but no file; restore it from a backup");
            return Ok(None);
        };
        Ok(Some((blob, file)))
    }
}
