//! What deleted accounts leave behind: older events, blobs, generations of their repository. Removed in small steps, so
//! that other writes get their turn; cut short, it goes on where it was.
//!
//! Not for: deciding that an account is deleted ([`super::status`]).

use std::time::Duration;

use super::Accounts;
use crate::store::{
    StoreError,
    deleted_account::{self, Leftover},
};

/// Events removed in one transaction.
pub(super) const STEP_EVENTS: u32 = 100;
/// Left to other writes between two of these.
const STEP_PAUSE: Duration = Duration::from_millis(5);

impl Accounts {
    /// Waits until an account has been deleted since the last call.
    pub async fn deleted(&self) {
        self.deleted.notified().await;
    }

    /// Removes what deleted accounts have left; returns of how many of them nothing is left now. The server runs this at
    /// its start, when an account has been deleted, and every hour; running it more often, or twice at once, is harmless.
    pub async fn purge_deleted(&self) -> Result<usize, StoreError> {
        let (mut after_id, mut n_done) = (0, 0);
        while let Some(left) =
            self.inner.store.read(move |db| deleted_account::next_left(db, after_id)).await?
        {
            after_id = left.account_id;
            n_done += usize::from(self.purge(left).await?);
        }
        if n_done > 0 {
            self.inner.blobs.sweep().await?;
        }
        Ok(n_done)
    }

    async fn purge(&self, left: Leftover) -> Result<bool, StoreError> {
        let parts = &self.inner;
        let Leftover { account_id, did, seq } = left;
        loop {
            let did = did.clone();
            let removed = parts.store.write(move |tx| tx.remove_events(&did, seq, STEP_EVENTS)).await?;
            if removed == 0 {
                break;
            }
            tokio::time::sleep(STEP_PAUSE).await;
        }
        parts.blobs.release_all(account_id).await?;
        // An import that is running fails at its end, and then removes what it made.
        if !parts.repos.remove_generations_of_deleted(account_id).await? {
            return Ok(false);
        }
        parts.store.write(move |tx| deleted_account::set_done(tx, account_id)).await
    }
}
