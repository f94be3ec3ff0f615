//! An account's way through its states: active, deactivated, taken down, deleted (AC-1 to AC-12).
//!
//! Each change is one transaction with its events, in the order that the reference emits them:
//!
//! | change | events |
//! |---|---|
//! | deactivated | `#account` |
//! | activated | `#account`, `#identity`, `#sync` |
//! | taken down, or let up again | `#account` |
//! | deleted | `#account` with status `deleted`; every earlier event of the DID goes |
//!
//! Not for: who may ask for a change (`xrpc`), and what is large of a deleted account ([`super::purge`]).

use atproto::{
    event::{self, Frame},
    syntax::{Did, Handle, Tid},
};

use super::{Accounts, purge::STEP_EVENTS};
use crate::{
    service::{
        identity::ValidityError,
        keys::KeyError,
        repo::write::{announce_head, create_repo},
    },
    store::{
        StoreError, WriteTx,
        account::{self, Account, Status},
        refresh_token, repo,
    },
    time::Micros,
};

/// Dates of deletion that have come, looked at in one go.
const DUE_MAX: u32 = 50;

/// Why an account does not change its state.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// It is not here; or it is taken down, and only the operator can change that.
    #[error("user not found")]
    NoAccount,
    /// The world looks for it somewhere else.
    #[error(transparent)]
    Did(#[from] ValidityError),
    /// Its key could not be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Puts the account to rest (AC-4, AC-5): its repository is not served and not written to, sessions stay. When
    /// `delete_after` (AC-11) comes and it is still at rest it is deleted ([`Accounts::delete_due`]). An account at rest
    /// begins its rest anew, with this date or without one. A date sooner than `Settings::delete_grace` is put off
    /// until then.
    pub async fn deactivate(&self, did: &Did, delete_after: Option<Micros>) -> Result<Account, StatusError> {
        // Not before its owner had time to notice: a session is enough to deactivate, but not to delete.
        let grace = Micros::try_from(self.inner.settings.delete_grace.as_micros()).unwrap_or(Micros::MAX);
        self.change(did, move |tx, account| {
            let delete_after = delete_after.map(|date| date.max(tx.now().saturating_add(grace)));
            account::set_deactivated(tx, account.id, tx.now(), delete_after)?;
            announce_status(tx, &account.did)
        })
        .await
    }

    /// Wakes the account up (AC-10): its DID has to name this server and its key, whatever its state was. An
    /// account without a repository gets an empty one. Announces it again when it was active.
    pub async fn activate(&self, did: &Did) -> Result<Account, StatusError> {
        let account = self.find(did).await?.ok_or(StatusError::NoAccount)?;
        self.inner.identities.check_validity(&account).await?;
        let key = self.inner.keys.signing_key(&account.did).await?;
        let clock_id = u16::from_le_bytes(self.inner.entropy.bytes());
        self.change(did, move |tx, account| {
            if account.status() == Status::Takendown {
                return Err(StatusError::NoAccount);
            }
            if account.repo_id.is_none() {
                let rev = Tid::next(None, u64::try_from(tx.now()).unwrap_or(0), clock_id);
                create_repo(tx, account.id, &account.did, rev, &key)?;
            }
            account::set_activated(tx, account.id)?;
            let account = announce_status(tx, &account.did)?;
            let (did, handle) = (account.did.clone(), account.handle.clone().or_else(no_handle));
            tx.append_event(&account.did, |seq, time| {
                Frame::Identity(event::Identity { seq, time, did, handle })
            })?;
            let head = account.repo_id.map(|repo_id| repo::get_head(tx, repo_id)).transpose()?.flatten();
            if let Some(head) = head {
                announce_head(tx, &account.did, &head)?;
            }
            Ok(account)
        })
        .await
    }

    /// Takes the account down for the reason given, or lets it up again with `None` (AC-12). Either way all its
    /// sessions end with their access tokens.
    pub async fn set_takedown(
        &self,
        did: &Did,
        takedown_ref: Option<String>,
    ) -> Result<Account, StatusError> {
        self.change(did, move |tx, account| {
            account::set_takedown(tx, account.id, takedown_ref.as_deref())?;
            refresh_token::delete_all(tx, account.id)?;
            announce_status(tx, &account.did)
        })
        .await
    }

    /// Tells the world the account's state once more.
    pub async fn announce(&self, did: &Did) -> Result<Account, StatusError> {
        self.change(did, |tx, account| announce_status(tx, &account.did)).await
    }

    /// Deletes the account for good (AC-6): handle and address are free at once, the DID itself is not touched. What is
    /// large goes afterwards, in steps. The event is emitted for a DID that has no account here too, so that a relay
    /// that missed one can be told again.
    pub async fn delete(&self, did: &Did) -> Result<(), StoreError> {
        let owner = did.clone();
        let was_here = self.inner.store.write(move |tx| delete_in(tx, &owner)).await?;
        self.after_deletion(did, was_here);
        Ok(())
    }

    /// Deletes the accounts whose owners deactivated them with a date that has come; returns how many. What the operator
    /// took down stays. The server runs this every minute.
    pub async fn delete_due(&self) -> Result<usize, StoreError> {
        let (now, mut n_deleted) = (self.inner.clock.now(), 0);
        loop {
            let due = self.inner.store.read(move |db| account::list_due(db, now, DUE_MAX)).await?;
            let n_due = due.len();
            for did in due {
                let deleted = self.inner.store.write({
                    let did = did.clone();
                    // Its owner may have come back since it was listed.
                    move |tx| match account::get_by_did(tx, &did)? {
                        Some(account) if is_due(&account, now) => delete_in(tx, &did),
                        _ => Ok(false),
                    }
                });
                if deleted.await? {
                    tracing::info!(%did, "account deleted: the date that its owner set has come");
                    self.after_deletion(&did, true);
                    n_deleted += 1;
                }
            }
            if n_due < DUE_MAX as usize {
                return Ok(n_deleted);
            }
        }
    }

    /// The account with this DID, whatever its state.
    pub async fn find(&self, did: &Did) -> Result<Option<Account>, StoreError> {
        let did = did.clone();
        self.inner.store.read(move |db| account::get_by_did(db, &did)).await
    }

    /// What follows the commit of [`delete_in`] and its answer.
    pub(super) fn after_deletion(&self, did: &Did, was_here: bool) {
        if was_here {
            self.inner.keys.forget(did);
            self.deleted.notify_one();
        }
    }

    async fn change(
        &self,
        did: &Did,
        change: impl FnOnce(&mut WriteTx<'_>, &Account) -> Result<Account, StatusError> + Send + 'static,
    ) -> Result<Account, StatusError> {
        let did = did.clone();
        self.inner
            .store
            .write(move |tx| {
                let account = account::get_by_did(tx, &did)?.ok_or(StatusError::NoAccount)?;
                change(tx, &account)
            })
            .await
    }
}

/// What an `#identity` says of an account without a handle (HN-4).
pub(super) fn no_handle() -> Option<Handle> {
    Handle::parse("handle.invalid").ok()
}

/// Appends `#account` with what the account's row says now (AC-1); returns the row.
pub(super) fn announce_status(tx: &mut WriteTx<'_>, did: &Did) -> Result<Account, StatusError> {
    let account = account::get_by_did(tx, did)?.ok_or(StatusError::NoAccount)?;
    let status = account.status();
    append_account(tx, did, status == Status::Active, status.as_str())?;
    Ok(account)
}

fn append_account(
    tx: &mut WriteTx<'_>,
    did: &Did,
    active: bool,
    status: Option<&str>,
) -> Result<i64, StoreError> {
    let status = status.map(str::to_owned);
    tx.append_event(did, |seq, time| {
        Frame::Account(event::Account { seq, time, did: did.clone(), active, status })
    })
}

/// Announces the deletion, removes the events before it and the rows of the account; false when there is none. For use in a
/// transaction that checks whether it may be deleted; call [`Accounts::after_deletion`] when that is committed.
pub(super) fn delete_in(tx: &mut WriteTx<'_>, did: &Did) -> Result<bool, StoreError> {
    let seq = append_account(tx, did, false, Some("deleted"))?;
    // An ordinary account has no more events than these; the others go with what is large.
    tx.remove_events(did, seq, STEP_EVENTS)?;
    let Some(account) = account::get_by_did(tx, did)? else {
        return Ok(false);
    };
    account::delete_everything(tx, &account, seq, tx.now())?;
    Ok(true)
}

fn is_due(account: &Account, now: Micros) -> bool {
    account.status() == Status::Deactivated && account.delete_after.is_some_and(|date| date <= now)
}
