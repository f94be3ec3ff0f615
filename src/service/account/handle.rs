//! Another handle for an account: policy, directory, our own row, and the event, as one thing.
//!
//! The handle is held in `pending_identity` before the directory is asked, so that nobody else gets it meanwhile and a
//! crash in between is noticed. What the directory refuses changes nothing here; when our own row cannot be written
//! afterwards, the directory is told the old handle again, and failing that, the change is finished later
//! ([`super::pending`]).
//!
//! Not for: which handles there are ([`super::handle_policy`]).

use atproto::{
    event::{self, Frame},
    plc::Operation,
    syntax::{Did, Handle},
};

use super::{
    Accounts,
    create::is_a_did,
    handle_policy::{self, Asker, HandleError, Place},
};
use crate::{
    service::{
        identity::{Freshness, HandleLookupError, PlcError, ResolveError},
        keys::KeyError,
    },
    store::{
        StoreError, WriteTx,
        account::{self, Account, InsertError},
        did_cache,
        pending_identity::{self, Kind},
    },
    task,
};

/// Why the handle stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ChangeHandleError {
    /// Not a handle that is given out, or not theirs.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// Another account has it, or is about to.
    #[error("Handle already taken: {0}")]
    Taken(Handle),
    /// The account is gone.
    #[error("Account not found: {0}")]
    AccountMissing(Did),
    /// A DID that is not ours to change does not name the handle.
    #[error("DID is not properly configured for handle")]
    Document,
    /// One change at a time.
    #[error("another change of this account's identity is under way; try again when it has ended")]
    UnderWay,
    /// The DID is tombstoned, or was never registered.
    #[error("DID not found: {0}")]
    DidMissing(Did),
    /// The owner has taken the server's key out of the DID.
    #[error("this server's rotation key is not among those of {0}, so it cannot change the handle there")]
    RotationKey(Did),
    /// The directory refused or failed.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The document could not be had.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The server's key cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Checks that an account may go by `handle`: the policy, and for a handle that is not under a service domain, that
    /// it leads to `did`. Without a DID yet there is nothing that it could lead to.
    pub async fn check_handle(
        &self,
        handle: &Handle,
        did: Option<&Did>,
        asker: Asker,
    ) -> Result<(), HandleError> {
        let parts = &self.inner;
        let did = match (handle_policy::check(&parts.settings, handle, asker)?, did) {
            (Place::Ours, _) => return Ok(()),
            (Place::Elsewhere, None) => return Err(HandleError::UnsupportedDomain),
            (Place::Elsewhere, Some(did)) => did,
        };
        match parts.identities.resolve_elsewhere(handle).await {
            Ok(found) if found == *did => Ok(()),
            Ok(_) | Err(HandleLookupError::NotFound | HandleLookupError::Tld) => Err(HandleError::Unresolved),
            Err(HandleLookupError::Busy) => Err(HandleError::Busy),
        }
    }

    /// Gives an account another handle, and announces it; also when it has that handle already (HN-11).
    ///
    /// # Errors
    ///
    /// After any error, directory and account name the handle that they named before, unless the directory cannot be
    /// reached: then what it says is found out later, and the account follows it.
    pub async fn change_handle(
        &self,
        did: &Did,
        handle: &Handle,
        asker: Asker,
    ) -> Result<(), ChangeHandleError> {
        self.check_handle(handle, Some(did), asker).await?;
        let (accounts, did, handle) = (self.clone(), did.clone(), handle.clone());
        // A task of its own: a client that hangs up must not leave a handle half changed.
        task::spawn_to_the_end(async move { accounts.change_checked(did, handle).await })
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "changing a handle was cut off");
                Err(StoreError::NotCommitted("changing the handle was cut off".into()).into())
            })
    }

    async fn change_checked(&self, did: Did, handle: Handle) -> Result<(), ChangeHandleError> {
        let parts = &self.inner;
        let _claim = self.changing.claim(&did).ok_or(ChangeHandleError::UnderWay)?;
        let is_plc = did.method() == "plc";
        if !is_plc && parts.identities.hosted(&did).await?.is_none() {
            let document = parts.identities.dids().resolve(&did, Freshness::Forced).await?;
            if document.handle().as_ref() != Some(&handle) {
                return Err(ChangeHandleError::Document);
            }
        }
        let (wanted, held) = (did.clone(), handle.clone());
        let account = parts.store.write(move |tx| hold(tx, &wanted, &held, is_plc)).await?;
        let undo = match is_plc {
            true => match self.tell_directory(&did, &handle).await {
                Ok(undo) => undo,
                Err(error) => {
                    self.forget_unless_unknown(&did, &error).await;
                    return Err(error);
                }
            },
            false => None,
        };
        let id = account.id;
        let (named, given) = (did.clone(), handle.clone());
        let committed = parts.store.write(move |tx| give(tx, id, &named, &given)).await;
        if let Err(error) = committed {
            if let Some(undo) = undo {
                self.undo_at_directory(&did, &undo).await;
            }
            return Err(error);
        }
        if is_plc && let Err(error) = parts.identities.dids().resolve(&did, Freshness::Forced).await {
            tracing::debug!(%did, %error, "the document could not be read again after a change of handle");
        }
        Ok(())
    }

    /// Submits the change; returns the operation that would undo it, `None` when there was nothing to change.
    async fn tell_directory(
        &self,
        did: &Did,
        handle: &Handle,
    ) -> Result<Option<Operation>, ChangeHandleError> {
        let parts = &self.inner;
        let last = parts.plc.last_operation(did).await?;
        let (last, before) = last
            .and_then(|last| Some((last.cid(), last.data()?)))
            .ok_or_else(|| ChangeHandleError::DidMissing(did.clone()))?;
        let mut after = before.clone();
        if !after.set_handle(handle) {
            return Ok(None);
        }
        let key = parts.keys.plc_rotation_key().await?;
        if !before.rotation_keys.contains(&key.public_key().did_key()) {
            return Err(ChangeHandleError::RotationKey(did.clone()));
        }
        let operation = Operation::sign(after, Some(&last), &key);
        parts.plc.submit_and_confirm(did, &operation).await?;
        Ok(Some(Operation::sign(before, Some(&operation.cid()), &key)))
    }

    /// The handle is free again when it is certain that the directory did not take the change.
    async fn forget_unless_unknown(&self, did: &Did, error: &ChangeHandleError) {
        if matches!(error, ChangeHandleError::Plc(PlcError::Unavailable(_))) {
            return;
        }
        self.forget_pending(did).await;
    }

    async fn undo_at_directory(&self, did: &Did, undo: &Operation) {
        match self.inner.plc.submit_and_confirm(did, undo).await {
            Ok(()) => self.forget_pending(did).await,
            Err(error) => {
                tracing::warn!(%did, %error, "a change of handle could not be undone at the directory; it is finished later");
            }
        }
    }

    /// When this fails, [`super::pending`] looks again.
    pub(super) async fn forget_pending(&self, did: &Did) {
        let key = did.clone();
        let forgotten: Result<(), StoreError> =
            self.inner.store.write(move |tx| pending_identity::delete(tx, &key)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%did, %error, "a pending change of an identity could not be forgotten");
        }
    }
}

/// Sees that the handle is free, and holds it while the directory is asked.
fn hold(tx: &WriteTx<'_>, did: &Did, handle: &Handle, is_plc: bool) -> Result<Account, ChangeHandleError> {
    let account =
        account::get_by_did(tx, did)?.ok_or_else(|| ChangeHandleError::AccountMissing(did.clone()))?;
    let is_others = |holder: Option<Did>| holder.is_some_and(|holder| holder != *did);
    if is_others(account::get_by_handle(tx, handle)?.map(|holder| holder.did))
        || is_others(pending_identity::holder_of(tx, handle)?)
        || (did.as_str() != format!("did:web:{handle}") && is_a_did(tx, handle)?)
    {
        return Err(ChangeHandleError::Taken(handle.clone()));
    }
    if is_plc {
        pending_identity::put(tx, did, Kind::Handle, Some(handle), tx.now())?;
    }
    Ok(account)
}

/// The row, the event, and the end of the change.
pub(super) fn give(
    tx: &mut WriteTx<'_>,
    account_id: i64,
    did: &Did,
    handle: &Handle,
) -> Result<(), ChangeHandleError> {
    account::set_handle(tx, account_id, handle).map_err(|error| match error {
        InsertError::Store(error) => error.into(),
        _ => ChangeHandleError::Taken(handle.clone()),
    })?;
    pending_identity::delete(tx, did)?;
    announce(tx, did, Some(handle))?;
    Ok(())
}

/// `#identity`: whoever keeps something about the DID asks again. We do, too: should asking fail after this, nothing from
/// before is shown.
pub(super) fn announce(tx: &mut WriteTx<'_>, did: &Did, handle: Option<&Handle>) -> Result<(), StoreError> {
    did_cache::delete(tx, did.as_str())?;
    let (subject, handle) = (did.clone(), handle.cloned());
    let frame = |seq, time| Frame::Identity(event::Identity { seq, time, did: subject, handle });
    tx.append_event(did, frame).map(|_| ())
}
