//! Is an account's DID set up for this server? What activation insists on and `checkAccountStatus` reports (MG-9).
//!
//! did:plc is judged by the directory's state, not by a document from the cache; other methods by a document that is
//! resolved anew.
//!
//! Not for: changing what a DID says ([`super::plc_operation`]).

use atproto::{identity::PDS_SERVICE_TYPE, plc::PlcData};

use super::{DidResolver, Freshness, Identities, PlcError, ResolveError};
use crate::{
    service::keys::KeyError,
    store::{StoreError, account::Account, signing_key},
};

/// Why a DID does not lead to the account here.
#[derive(Debug, thiserror::Error)]
pub enum ValidityError {
    /// A did:plc that this server could not help with when its owner lost the other keys.
    #[error("Server rotation key not included in PLC DID data")]
    RotationKey,
    /// DI-9
    #[error("DID document atproto_pds service endpoint does not match PDS public url")]
    Endpoint,
    /// DI-7
    #[error("DID document verification method does not match expected signing key")]
    SigningKey,
    /// No document.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The directory does not answer.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// The account has no key here, or it cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ValidityError {
    /// True when the DID is at fault, and not this server or the directory.
    pub fn is_verdict(&self) -> bool {
        matches!(
            self,
            ValidityError::RotationKey
                | ValidityError::Endpoint
                | ValidityError::SigningKey
                | ValidityError::Resolve(
                    ResolveError::NotFound(_) | ResolveError::Unsupported(_) | ResolveError::Refused { .. }
                )
        )
    }
}

impl Identities {
    /// Checks that the account's DID names this server and the key that signs for the account here, whatever the
    /// account's status.
    ///
    /// # Errors
    ///
    /// The first of: rotation key (did:plc only), endpoint, signing key that is not ours; or why that is not known.
    pub async fn check_validity(&self, account: &Account) -> Result<(), ValidityError> {
        let parts = &self.inner;
        let (id, did) = (account.id, &account.did);
        let own_key = parts
            .store
            .read(move |db| signing_key::get_did_key(db, id))
            .await
            .map_err(|error: StoreError| ValidityError::from(error))?
            .ok_or_else(|| KeyError::Missing(did.clone()))?;
        if did.method() != "plc" {
            return check_document(&parts.dids, account, &own_key, &parts.settings.public_url).await;
        }
        let state = parts.plc.state(did).await?.ok_or_else(|| ResolveError::NotFound(did.clone()))?;
        let rotation_key = parts.keys.plc_rotation_key().await?.public_key().did_key();
        check_state(&state, &own_key, &rotation_key, &parts.settings.public_url)
    }
}

fn check_state(
    state: &PlcData,
    signing_key: &str,
    rotation_key: &str,
    public_url: &str,
) -> Result<(), ValidityError> {
    if !state.rotation_keys.iter().any(|key| key == rotation_key) {
        return Err(ValidityError::RotationKey);
    }
    let names_us = state
        .services
        .get("atproto_pds")
        .is_some_and(|service| service.service_type == PDS_SERVICE_TYPE && service.endpoint == public_url);
    if !names_us {
        return Err(ValidityError::Endpoint);
    }
    if state.verification_methods.get("atproto").map(String::as_str) != Some(signing_key) {
        return Err(ValidityError::SigningKey);
    }
    Ok(())
}

async fn check_document(
    dids: &DidResolver,
    account: &Account,
    signing_key: &str,
    public_url: &str,
) -> Result<(), ValidityError> {
    let document = dids.resolve(&account.did, Freshness::Forced).await?;
    if document.pds_endpoint().as_deref() != Some(public_url) {
        return Err(ValidityError::Endpoint);
    }
    // A key that cannot be read is not ours either.
    let key = document.signing_key().ok().flatten();
    if key.is_none_or(|key| key.did_key() != signing_key) {
        return Err(ValidityError::SigningKey);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use atproto::{
        crypto::{Curve, SigningKey},
        syntax::Handle,
    };

    use super::*;

    /// MG-9
    #[test]
    fn a_state_is_valid_when_endpoint_signing_key_and_rotation_key_are_ours() {
        let signing = SigningKey::from_bytes(Curve::K256, &[3; 32]).unwrap().public_key();
        let url = "https://pds.example";
        let state = || {
            let handle = Handle::parse("alice.example").unwrap();
            PlcData::for_account(vec!["did:key:theirs".into(), "did:key:ours".into()], &signing, &handle, url)
        };
        let check = |state: &PlcData| check_state(state, &signing.did_key(), "did:key:ours", url);
        check(&state()).unwrap();

        let mut other = state();
        other.rotation_keys.pop();
        assert!(matches!(check(&other), Err(ValidityError::RotationKey)));
        let mut other = state();
        other.verification_methods.clear();
        assert!(matches!(check(&other), Err(ValidityError::SigningKey)));
        let mut other = state();
        other.services.get_mut("atproto_pds").unwrap().endpoint.push('/');
        assert!(matches!(check(&other), Err(ValidityError::Endpoint)));
        let mut other = state();
        other.services.get_mut("atproto_pds").unwrap().service_type = "Other".into();
        assert!(matches!(check(&other), Err(ValidityError::Endpoint)));
    }
}
