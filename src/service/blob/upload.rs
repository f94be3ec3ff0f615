//! `uploadBlob`: a stream becomes a file and a row, or nothing.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::timeout;

use super::{Blobs, Shared, mime};
use crate::store::{
    Store, StoreError,
    blob::{self, Blob, PutError},
    blob_file::{PartialBlob, Place, ReceivedBlob},
};

/// Uploads under way at once, half of them by one account; each costs a file and a few hundred KiB.
pub const UPLOADS_MAX: usize = 16;
/// How long an upload waits for one of those places, in seconds.
const PLACE_SECS_MAX: u64 = 30;
/// How long a client may send nothing.
pub const UPLOAD_IDLE_SECS_MAX: u64 = 30;
/// How long one upload may take.
const UPLOAD_SECS_MAX: u64 = 60 * 60;

/// Why an upload was refused. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Longer than the limit, by its `Content-Length` or by its bytes.
    #[error("the blob is larger than the {max} bytes that this server accepts")]
    TooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// The `Content-Type` is no MIME type.
    #[error("Content-Type {0:?} is not a MIME type such as image/png")]
    ContentType(String),
    /// Fewer or more bytes came than `Content-Length` said (BL-3).
    #[error("Content-Length says {declared} bytes, but {received} came")]
    Length {
        /// What the header said.
        declared: u64,
        /// What came.
        received: u64,
    },
    /// The client went away or broke the transfer off.
    #[error("the upload broke off: {0}")]
    Interrupted(String),
    /// The client sent nothing for a while, or took too long in all.
    #[error("the upload was too slow")]
    TooSlow,
    /// No place among the uploads under way.
    #[error("too many uploads are under way, try again in a minute")]
    Busy,
    /// The operator took this blob down (BL-12).
    #[error("Blob has been takendown, cannot re-upload")]
    Takendown,
    /// The account was deleted while the bytes came in.
    #[error("Account not found")]
    NoAccount,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PutError> for UploadError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Takendown => UploadError::Takendown,
            PutError::NoAccount => UploadError::NoAccount,
            PutError::Store(error) => UploadError::Store(error),
        }
    }
}

impl Blobs {
    /// Streams `body` to disk and enters it as a blob of the account. Returns the blob as it stands, which is
    /// temporary unless a record already refers to it (BL-4, BL-8).
    ///
    /// `content_type`, `content_length`: the headers. Cancelling is safe at any point.
    pub async fn upload<E: std::fmt::Display>(
        &self,
        account_id: i64,
        content_type: Option<&str>,
        content_length: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Blob, UploadError> {
        let shared = &*self.inner;
        let declared = mime::declared(content_type)
            .ok_or_else(|| UploadError::ContentType(content_type.unwrap_or_default().to_owned()))?;
        if content_length.is_some_and(|length| length > shared.bytes_max) {
            return Err(UploadError::TooLarge { max: shared.bytes_max });
        }
        shared.store.require_room(content_length.unwrap_or(0))?;
        let owner = account_id.to_string();
        let place = shared.uploads.take(Some(&owner), Duration::from_secs(PLACE_SECS_MAX)).await;
        let _place = place.map_err(|_| UploadError::Busy)?;
        let receiving = receive(&shared.store, shared.files.create(account_id), body, shared.bytes_max);
        let (received, head) = timeout(Duration::from_secs(UPLOAD_SECS_MAX), receiving)
            .await
            .map_err(|_| UploadError::TooSlow)??;
        if let Some(declared) = content_length.filter(|length| *length != received.size) {
            return Err(UploadError::Length { declared, received: received.size });
        }
        shared.place(account_id, received, mime::settle(declared, &head)).await
    }
}

/// Writes the body out; returns it with its first bytes.
async fn receive<E: std::fmt::Display>(
    store: &Store,
    mut partial: PartialBlob,
    body: impl Stream<Item = Result<Bytes, E>>,
    bytes_max: u64,
) -> Result<(ReceivedBlob, Vec<u8>), UploadError> {
    let mut head = Vec::new();
    let mut body = std::pin::pin!(body);
    loop {
        let chunk = timeout(Duration::from_secs(UPLOAD_IDLE_SECS_MAX), body.next())
            .await
            .map_err(|_| UploadError::TooSlow)?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| UploadError::Interrupted(error.to_string()))?;
        if partial.size() + chunk.len() as u64 > bytes_max {
            return Err(UploadError::TooLarge { max: bytes_max });
        }
        let head_missing = mime::HEAD_BYTES.saturating_sub(head.len());
        head.extend_from_slice(&chunk[..head_missing.min(chunk.len())]);
        // Others write beside it, and not every client says how much will come.
        store.require_room(0)?;
        partial.write(&chunk).await?;
    }
    Ok((partial.finish().await?, head))
}

impl Shared {
    /// Puts the file in place and enters the row, in that order.
    async fn place(
        &self,
        account_id: i64,
        received: ReceivedBlob,
        mime_type: String,
    ) -> Result<Blob, UploadError> {
        let placing = self.placing.clone().read_owned().await;
        let (cid, size) = (received.cid, received.size);
        if let Some(held) = self.store.look(|db| blob::get(db, account_id, &cid)).await? {
            if held.takedown_ref.is_some() {
                return Err(UploadError::Takendown);
            }
            // A permanent blob stays as it is (BL-8), unless its file has been lost: then this brings it back.
            if !held.temporary && self.files.open(account_id, &cid).await?.is_some() {
                return Ok(held);
            }
        }
        let placed = match self.files.place(received).await? {
            Place::Taken(placed) => placed,
            Place::NotTaken(received) => {
                let note = self.store.write(move |tx| blob::note_garbage(tx, account_id, &cid.to_string()));
                note.await.map_err(UploadError::Store)?;
                self.files.replace(received).await?
            }
        };
        // Both come back after the commit, also when nobody waits for it any more: until then the file may not be removed.
        let entered = self.store.write(move |tx| {
            let blob = blob::put(tx, account_id, &cid, &mime_type, size, tx.now())?;
            Ok::<_, PutError>((blob, placed, placing))
        });
        match entered.await {
            Ok((blob, placed, _placing)) => {
                placed.settle();
                Ok(blob)
            }
            Err(error) => {
                if let Err(error) = self.note_unsettled().await {
                    tracing::warn!(%error, "a blob file without a row could not be noted; the next sweep tries again");
                }
                Err(error.into())
            }
        }
    }
}
