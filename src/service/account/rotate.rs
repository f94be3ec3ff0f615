//! Giving an account another signing key.
//!
//! The key has to be one whose private half is here, or the account could never sign again: one that was reserved for
//! the DID. First the DID names it, then one transaction makes it the account's key, signs the repository anew and
//! announces both. A failure in between leaves the DID ahead of the account; the reservation still stands then, and
//! calling again finishes the work.
//!
//! Not for: what the DID says (`identity::signing_key`).

use atproto::{crypto::PublicKey, syntax::Did};

use super::{Accounts, handle, status::no_handle};
use crate::{
    service::{
        identity::PublishKeyError,
        keys::KeyError,
        repo::write::{announce_head, sign_anew},
    },
    store::{StoreError, account, reserved_signing_key, signing_key},
};

/// Why the account keeps its key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// It is not here.
    #[error("{0} has no account here")]
    NoAccount(Did),
    /// The private half of the key is somewhere else.
    #[error(
        "this server does not hold the private half of {did_key}, and could not sign with it: reserve a key for \
         {did} with com.atproto.server.reserveSigningKey, and give that one"
    )]
    NotHeld {
        /// The account.
        did: Did,
        /// The key asked for.
        did_key: String,
    },
    /// The DID cannot be made to name it.
    #[error(transparent)]
    Publish(#[from] PublishKeyError),
    /// A key could not be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Makes `key` the signing key of the account: in its DID, and for every commit from now on. When it is the
    /// account's key already, the DID is made to say so, and announced.
    pub async fn set_signing_key(&self, did: &Did, key: &PublicKey) -> Result<(), RotateError> {
        let parts = &self.inner;
        let account = self.find(did).await?.ok_or_else(|| RotateError::NoAccount(did.clone()))?;
        let (account_id, did_key) = (account.id, key.did_key());
        let current = parts.store.read(move |db| signing_key::get_did_key(db, account_id));
        let current = current.await.map_err(|error: StoreError| RotateError::from(error))?;
        let new = match current.as_ref() == Some(&did_key) {
            true => None,
            false => {
                let reserved = self.reserved_signing_key(did).await?;
                let held = reserved
                    .filter(|reserved| reserved.did_key == did_key)
                    .ok_or_else(|| RotateError::NotHeld { did: did.clone(), did_key: did_key.clone() })?;
                Some((parts.keys.open(&held.sealed)?, held))
            }
        };
        parts.identities.publish_signing_key(did, key).await?;
        let clock_id = u16::from_le_bytes(parts.entropy.bytes());
        let owner = did.clone();
        let changed = parts.store.write(move |tx| {
            let account =
                account::get_by_did(tx, &owner)?.ok_or_else(|| RotateError::NoAccount(owner.clone()))?;
            let mut head = None;
            if let Some((key, held)) = &new {
                signing_key::replace(tx, account.id, &held.did_key, &held.sealed)?;
                reserved_signing_key::delete(tx, &owner)?;
                if let Some(repo_id) = account.repo_id {
                    head = sign_anew(tx, repo_id, &owner, key, clock_id)?;
                }
            }
            let handle = account.handle.clone().or_else(no_handle);
            handle::announce(tx, &owner, handle.as_ref())?;
            if let Some(head) = head.filter(|_| account.is_active()) {
                announce_head(tx, &owner, &head)?;
            }
            Ok::<_, RotateError>(())
        });
        changed.await?;
        parts.keys.forget(did);
        Ok(())
    }
}
