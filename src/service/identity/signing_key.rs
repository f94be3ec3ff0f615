//! Making an account's DID name another signing key.
//!
//! Not for: the key itself, and the commits that it signs (`service::account::rotate`).

use atproto::{crypto::PublicKey, plc::Operation, syntax::Did};

use super::{Freshness, Identities, PlcError, ResolveError};
use crate::{service::keys::KeyError, store::StoreError};

/// Why the DID does not name the key.
#[derive(Debug, thiserror::Error)]
pub enum PublishKeyError {
    /// It is not known, or given up.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The DID does not list our rotation key, so we have no say in it.
    #[error(
        "this server's rotation key is not among those of {0}: have its owner name the new signing key in an \
         operation of their own, then call this again"
    )]
    NotOurs(Did),
    /// A document that someone else keeps has to be changed there.
    #[error(
        "the document of {did} does not name {did_key}: change it where it is kept, then call this again"
    )]
    Document {
        /// The DID.
        did: Did,
        /// The key that it should name.
        did_key: String,
    },
    /// The directory would not take it, or does not answer.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// Our rotation key could not be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identities {
    /// Sees to it that `did` names `key` as its signing key. Does nothing when it does already, so calling again
    /// after a failure goes on from there. The document of a did:web that lives here follows the account by itself.
    pub async fn publish_signing_key(&self, did: &Did, key: &PublicKey) -> Result<(), PublishKeyError> {
        let parts = &self.inner;
        let did_key = key.did_key();
        if did.method() != "plc" {
            if self.hosted(did).await?.is_some() {
                return Ok(());
            }
            let document = parts.dids.resolve(did, Freshness::Forced).await?;
            let named = document.signing_key().ok().flatten();
            return match named.is_some_and(|named| named.did_key() == did_key) {
                true => Ok(()),
                false => Err(PublishKeyError::Document { did: did.clone(), did_key }),
            };
        }
        let gone = || ResolveError::NotFound(did.clone());
        let last = parts.plc.last_operation(did).await?.ok_or_else(gone)?;
        let mut data = last.data().ok_or_else(gone)?;
        if data.verification_methods.get("atproto") != Some(&did_key) {
            let rotation_key = parts.keys.plc_rotation_key().await?;
            if !data.rotation_keys.contains(&rotation_key.public_key().did_key()) {
                return Err(PublishKeyError::NotOurs(did.clone()));
            }
            data.verification_methods.insert("atproto".to_owned(), did_key);
            let operation = Operation::sign(data, Some(&last.cid()), &rotation_key);
            parts.plc.submit_and_confirm(did, &operation).await?;
        }
        // Whoever resolves it here next should see the new key; the DID is right even if this fails.
        if let Err(error) = parts.dids.resolve(did, Freshness::Forced).await {
            tracing::warn!(%did, %error, "the document of a DID that was just changed cannot be resolved");
        }
        Ok(())
    }
}
