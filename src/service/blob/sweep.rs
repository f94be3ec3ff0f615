//! The collector: uploads that no record ever referred to (BL-9), and files whose rows have gone.

use super::{Blobs, Shared};
use crate::{
    store::{StoreError, blob, blob_file::PlacedBlob},
    time::{Micros, SECOND},
};

/// How long an upload stays at least, waiting for its record (BL-9 asks for more than one hour).
pub const TEMPORARY_HOURS_MIN: i64 = 6;
const TEMPORARY_MIN: Micros = TEMPORARY_HOURS_MIN * 3600 * SECOND;
/// Rows or files handled in one step, so that writes and uploads get their turn in between.
const STEP_MAX: u32 = 64;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that waited too long.
    pub collected: usize,
    /// Files removed.
    pub removed: usize,
}

impl Blobs {
    /// Removes what uploads of an earlier run left behind, and notes those of their files that may have no row. Call once,
    /// before the server listens.
    pub async fn clear_tmp(&self) -> Result<usize, StoreError> {
        let removed = self.inner.files.clear_tmp().await?;
        self.inner.note_unsettled().await?;
        Ok(removed)
    }

    /// Collects uploads older than [`TEMPORARY_HOURS_MIN`] that no record refers to, and removes files whose rows have
    /// gone. The server runs this every hour; running it more often, or twice at once, is harmless.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        self.inner.note_unsettled().await?;
        let before = self.inner.clock.now() - TEMPORARY_MIN;
        loop {
            let collected =
                self.inner.store.write(move |tx| blob::collect_temporary(tx, before, STEP_MAX)).await?;
            swept.collected += collected;
            if collected < STEP_MAX as usize {
                break;
            }
        }
        let mut after = (i64::MIN, String::new());
        loop {
            let from = after.clone();
            let noted = self.inner.store.read(move |db| blob::list_garbage(db, &from, STEP_MAX)).await?;
            let Some(last) = noted.last().cloned() else {
                break;
            };
            swept.removed += self.remove_files(noted).await?;
            after = last;
        }
        Ok(swept)
    }

    /// Hands the blobs of a deleted account to the next [`Blobs::sweep`].
    pub async fn release_all(&self, account_id: i64) -> Result<(), StoreError> {
        let store = &self.inner.store;
        while store.write(move |tx| blob::delete_of_account(tx, account_id, STEP_MAX)).await? > 0 {}
        Ok(())
    }

    /// Removes those of the `noted` files that have no row, and takes back the notes.
    pub(super) async fn remove_files(&self, noted: Vec<(i64, String)>) -> Result<usize, StoreError> {
        let shared = &*self.inner;
        // No upload is between its file and its row now, so what has no row in this reading is nobody's.
        let _placing = shared.placing.write().await;
        let rows = shared
            .store
            .read(move |db| {
                let with_rows = |(account_id, cid): (i64, String)| {
                    let has_row = blob::exists(db, account_id, &cid)?;
                    Ok((account_id, cid, has_row))
                };
                noted.into_iter().map(with_rows).collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        let (mut done, mut removed) = (Vec::with_capacity(rows.len()), 0);
        for (account_id, cid, has_row) in rows {
            if !has_row {
                if let Err(error) = shared.files.remove(account_id, &cid).await {
                    tracing::warn!(%error, "a blob file could not be removed; the next sweep tries again");
                    continue;
                }
                removed += 1;
            }
            done.push((account_id, cid));
        }
        shared
            .store
            .write(move |tx| {
                done.iter().try_for_each(|(account_id, cid)| blob::forget_garbage(tx, *account_id, cid))
            })
            .await?;
        Ok(removed)
    }
}

impl Shared {
    /// Notes the files of uploads that ended between their place and their row, and takes their temporary names away.
    pub(super) async fn note_unsettled(&self) -> Result<(), StoreError> {
        let mut unsettled = self.files.take_unsettled();
        while !unsettled.is_empty() {
            let step = unsettled.split_off(unsettled.len().saturating_sub(STEP_MAX as usize));
            // Those that are not noted are given out again.
            let noted = self.store.write(move |tx| {
                for blob in &step {
                    blob::note_garbage(tx, blob.account_id(), &blob.cid().to_string())?;
                }
                Ok::<_, StoreError>(step)
            });
            noted.await?.into_iter().for_each(PlacedBlob::settle);
        }
        Ok(())
    }
}
