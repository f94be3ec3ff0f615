//! Changes of identities that were cut short: a crash, or a directory that could not be reached, between its answer and
//! our own rows. They are finished or undone, at the start and now and then after it.
//!
//! | was asked | the directory took it | it did not |
//! |---|---|---|
//! | a new DID | it is tombstoned: nobody was given it | forgotten |
//! | another handle | the account gets it | forgotten |
//! | the owner's operation | announced | announced: consumers ask again and find nothing new |

use atproto::{plc::Operation, syntax::Did};

use super::{
    Accounts,
    handle::{self, ChangeHandleError},
};
use crate::{
    service::{identity::PlcError, keys::KeyError},
    store::{
        StoreError, account,
        pending_identity::{self, Kind, PendingIdentity},
    },
    time::{Micros, SECOND},
};

/// Changes settled in one round.
const ROUND_MAX: u32 = 100;
/// How long a change may be under way, in microseconds: longer than all its requests together may take. Only then does
/// an unknown DID mean that the directory will not take it any more.
pub const UNDER_WAY_MAX: Micros = 60 * SECOND;

/// Which changes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// At the start, when nothing can be under way: all.
    All,
    /// Those that have been under way for too long.
    Overdue,
}

/// Why a change was left for the next round.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error("the directory may still take it")]
    TooEarly,
    #[error(transparent)]
    Plc(#[from] PlcError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Handle(#[from] ChangeHandleError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Finishes or undoes changes that were cut short, a bounded number of them. What the directory does not answer to
    /// stays for the next time.
    pub async fn settle_identities(&self, which: Settle) -> Result<(), StoreError> {
        let now = self.inner.clock.now();
        let until = match which {
            Settle::All => now,
            Settle::Overdue => now - UNDER_WAY_MAX,
        };
        let found = self.inner.store.read(move |db| pending_identity::list(db, until, ROUND_MAX)).await;
        let found: Vec<PendingIdentity> = found.map_err(|error: StoreError| error)?;
        for pending in found {
            let Some(_claim) = self.changing.claim(&pending.did) else { continue };
            let did = pending.did.clone();
            match self.settle(pending, now).await {
                Ok(()) => tracing::info!(%did, "a change of an identity that was cut short is settled"),
                Err(error) => {
                    tracing::warn!(%did, %error, "a change of an identity that was cut short waits");
                }
            }
        }
        Ok(())
    }

    async fn settle(&self, pending: PendingIdentity, now: Micros) -> Result<(), SettleError> {
        let is_overdue = now - pending.started_at >= UNDER_WAY_MAX;
        match pending.kind {
            Kind::Create => self.give_up_did(&pending.did, is_overdue).await?,
            Kind::Handle => self.follow_directory(pending, is_overdue).await?,
            Kind::Operation => {
                let did = pending.did;
                let announced = self.inner.store.write(move |tx| {
                    pending_identity::delete(tx, &did)?;
                    match account::get_by_did(tx, &did)? {
                        Some(_) => handle::announce(tx, &did, None),
                        None => Ok(()),
                    }
                });
                announced.await.map_err(|error: StoreError| error)?;
            }
        }
        Ok(())
    }

    /// A DID that no account came of.
    async fn give_up_did(&self, did: &Did, is_overdue: bool) -> Result<(), SettleError> {
        let parts = &self.inner;
        let key = did.clone();
        // From here on the sign-up cannot be finished, should it be under way in another process.
        let abandoned = parts.store.write(move |tx| pending_identity::abandon(tx, &key)).await;
        abandoned.map_err(|error: StoreError| error)?;
        let log = parts.plc.audit_log(did).await?;
        match log.iter().rfind(|entry| !entry.nullified) {
            None if !is_overdue => return Err(SettleError::TooEarly),
            None | Some(atproto::plc::LogEntry { operation: Operation::Tombstone { .. }, .. }) => {}
            Some(last) => {
                let key = parts.keys.plc_rotation_key().await?;
                let tombstone = Operation::sign_tombstone(&last.cid, &key);
                match parts.plc.submit_and_confirm(did, &tombstone).await {
                    Ok(()) => {}
                    // Its owner has changed it since; it would be refused for ever.
                    Err(error @ PlcError::Refused(_)) => {
                        tracing::warn!(%did, %error, "a DID without an account stays");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // Until then the row tells a sign-up that is under way in another process, should there be one, to give up.
        if is_overdue {
            self.forget_pending(did).await;
        }
        Ok(())
    }

    /// The account goes by what the directory says.
    async fn follow_directory(&self, pending: PendingIdentity, is_overdue: bool) -> Result<(), SettleError> {
        let parts = &self.inner;
        let PendingIdentity { did, handle, .. } = pending;
        let state = parts.plc.state(&did).await?;
        let alias = state.and_then(|state| {
            state.also_known_as.into_iter().find_map(|alias| Some(alias.strip_prefix("at://")?.to_owned()))
        });
        let Some(handle) = handle.filter(|handle| alias.as_deref() == Some(handle.as_str())) else {
            if !is_overdue {
                return Err(SettleError::TooEarly);
            }
            self.forget_pending(&did).await;
            return Ok(());
        };
        let given = parts.store.write(move |tx| match account::get_by_did(tx, &did)? {
            Some(account) => handle::give(tx, account.id, &did, &handle),
            None => Ok(pending_identity::delete(tx, &did)?),
        });
        Ok(given.await?)
    }
}
