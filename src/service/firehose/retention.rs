//! Letting go of events that have left the replay window (EV-12).

use std::{sync::atomic::Ordering, time::Duration};

use super::Firehose;
use crate::{
    store::{StoreError, repo_seq},
    time::{Micros, SECOND},
};

/// Events removed in one transaction, so that writes get their turn in between.
const STEP_ROWS_MAX: u32 = 200;
/// Left to other writes between two steps.
const STEP_PAUSE: Duration = Duration::from_millis(10);
/// How much longer than the window events stay, so that whoever is replaying from the window's edge gets there.
const SLACK: Micros = 3600 * SECOND;

impl Firehose {
    /// Removes events that left the window more than an hour ago; returns how many. The server runs this regularly;
    /// stopping in the middle is harmless. Numbers are never given out again (EV-7).
    ///
    /// A subscriber that still has to read one of them is cut with `ConsumerTooSlow`.
    pub async fn prune(&self) -> Result<usize, StoreError> {
        let shared = &*self.inner;
        let before = shared.window_start().saturating_sub(SLACK);
        let bound = shared
            .store
            .read(move |db| {
                Ok::<_, StoreError>(match repo_seq::first_since(db, before)? {
                    Some(first_kept) => first_kept,
                    None => repo_seq::last_seq(db)? + 1,
                })
            })
            .await?;
        // First the word, then the deed: a reader that still finds its frames is cut, none skips any.
        shared.pruned_below.fetch_max(bound, Ordering::SeqCst);
        let mut pruned = 0;
        loop {
            let deleted =
                shared.store.write(move |tx| repo_seq::delete_below(tx, bound, STEP_ROWS_MAX)).await?;
            if deleted == 0 {
                return Ok(pruned);
            }
            pruned += deleted;
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }
}
