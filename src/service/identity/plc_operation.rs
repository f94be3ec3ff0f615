//! did:plc operations that account owners make with this server's help (MG-7, MG-8, MG-13).
//!
//! Signing submits nothing, and submitting takes only what keeps the account working here: what leads away from this
//! server is submitted by the server that it leads to.
//!
//! Not for: the mailed code that signing asks for (`service::account`).

use std::collections::BTreeMap;

use atproto::{
    identity::PDS_SERVICE_TYPE,
    plc::{self, Operation, PlcData, Service},
    syntax::Did,
};

use super::{Identities, PlcError};
use crate::{
    service::keys::KeyError,
    store::{StoreError, account::Account, signing_key},
};

/// Why nothing was signed or submitted.
#[derive(Debug, thiserror::Error)]
pub enum PlcOperationError {
    /// Other methods have no directory.
    #[error("{0} is not a did:plc: its document is changed where it is published")]
    NotPlc(Did),
    /// Not registered.
    #[error("DID not found: {0}")]
    NotFound(Did),
    /// Nothing may follow a tombstone.
    #[error("Did is tombstoned")]
    Tombstoned,
    /// The signature would not count.
    #[error("this server's rotation key is not among those of {0}, so it cannot sign for it")]
    NotOurs(Did),
    /// What a directory would refuse.
    #[error(transparent)]
    Form(#[from] plc::Error),
    /// MG-8
    #[error("Rotation keys do not include server's rotation key")]
    RotationKey,
    /// MG-8
    #[error("Incorrect type on atproto_pds service")]
    ServiceType,
    /// MG-8
    #[error("Incorrect endpoint on atproto_pds service")]
    Endpoint,
    /// MG-8
    #[error("Incorrect signing key")]
    SigningKey,
    /// MG-8
    #[error("Incorrect handle in alsoKnownAs")]
    Handle,
    /// The directory refused or failed.
    #[error(transparent)]
    Plc(#[from] PlcError),
    /// A key cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a DID should say to live here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// did:key texts, highest authority first.
    pub rotation_keys: Vec<String>,
    /// `None` for an account without a handle.
    pub also_known_as: Option<Vec<String>>,
    /// Name to did:key.
    pub verification_methods: BTreeMap<String, String>,
    /// Name to service.
    pub services: BTreeMap<String, Service>,
}

/// Fields that replace those of the last operation, each as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// did:key texts, highest authority first.
    pub rotation_keys: Option<Vec<String>>,
    /// URIs.
    pub also_known_as: Option<Vec<String>>,
    /// Name to did:key.
    pub verification_methods: Option<BTreeMap<String, String>>,
    /// Name to service.
    pub services: Option<BTreeMap<String, Service>>,
}

impl Identities {
    /// What the account's DID should say to be valid here (MG-7), whatever it says now.
    pub async fn recommend(&self, account: &Account) -> Result<Recommendation, PlcOperationError> {
        let parts = &self.inner;
        let own_key = parts.keys.plc_rotation_key().await?.public_key().did_key();
        let mut rotation_keys: Vec<_> = parts.settings.recovery_did_key.iter().cloned().collect();
        // The directory takes no key twice (PL-8).
        if !rotation_keys.contains(&own_key) {
            rotation_keys.push(own_key);
        }
        let endpoint = parts.settings.public_url.clone();
        let service = Service { service_type: PDS_SERVICE_TYPE.to_owned(), endpoint };
        Ok(Recommendation {
            rotation_keys,
            also_known_as: account.handle.as_ref().map(|handle| vec![format!("at://{handle}")]),
            verification_methods: BTreeMap::from([("atproto".to_owned(), self.signing_key(account).await?)]),
            services: BTreeMap::from([("atproto_pds".to_owned(), service)]),
        })
    }

    /// An operation that makes `changes` to what the DID says now, signed with the server's rotation key and not
    /// submitted (MG-13).
    pub async fn sign_operation(
        &self,
        account: &Account,
        changes: Changes,
    ) -> Result<Operation, PlcOperationError> {
        let did = plc_did(account)?;
        let last = self.inner.plc.last_operation(did).await?;
        let last = last.ok_or_else(|| PlcOperationError::NotFound(did.clone()))?;
        let mut data = last.data().ok_or(PlcOperationError::Tombstoned)?;
        let key = self.inner.keys.plc_rotation_key().await?;
        if !data.rotation_keys.contains(&key.public_key().did_key()) {
            return Err(PlcOperationError::NotOurs(did.clone()));
        }
        let Changes { rotation_keys, also_known_as, verification_methods, services } = changes;
        data.rotation_keys = rotation_keys.unwrap_or(data.rotation_keys);
        data.also_known_as = also_known_as.unwrap_or(data.also_known_as);
        data.verification_methods = verification_methods.unwrap_or(data.verification_methods);
        data.services = services.unwrap_or(data.services);
        let operation = Operation::sign(data, Some(&last.cid()), &key);
        operation.check_writable()?;
        Ok(operation)
    }

    /// Everything that keeps an account from being cut off here by its own operation (MG-8).
    pub async fn check_operation(
        &self,
        account: &Account,
        operation: &Operation,
    ) -> Result<(), PlcOperationError> {
        plc_did(account)?;
        operation.check_writable()?;
        let Operation::Plc { data, .. } = operation else {
            return Err(PlcOperationError::RotationKey);
        };
        let rotation_key = self.inner.keys.plc_rotation_key().await?.public_key().did_key();
        let signing_key = self.signing_key(account).await?;
        check_data(data, account, &signing_key, &rotation_key, &self.inner.settings.public_url)
    }

    async fn signing_key(&self, account: &Account) -> Result<String, PlcOperationError> {
        let id = account.id;
        let found = self.inner.store.read(move |db| signing_key::get_did_key(db, id)).await;
        found
            .map_err(|error: StoreError| PlcOperationError::from(error))?
            .ok_or_else(|| KeyError::Missing(account.did.clone()).into())
    }
}

fn plc_did(account: &Account) -> Result<&Did, PlcOperationError> {
    match account.did.method() {
        "plc" => Ok(&account.did),
        _ => Err(PlcOperationError::NotPlc(account.did.clone())),
    }
}

fn check_data(
    data: &PlcData,
    account: &Account,
    signing_key: &str,
    rotation_key: &str,
    public_url: &str,
) -> Result<(), PlcOperationError> {
    if !data.rotation_keys.iter().any(|key| key == rotation_key) {
        return Err(PlcOperationError::RotationKey);
    }
    let service = data.services.get("atproto_pds");
    if service.is_none_or(|service| service.service_type != PDS_SERVICE_TYPE) {
        return Err(PlcOperationError::ServiceType);
    }
    if service.is_none_or(|service| service.endpoint != public_url) {
        return Err(PlcOperationError::Endpoint);
    }
    if data.verification_methods.get("atproto").map(String::as_str) != Some(signing_key) {
        return Err(PlcOperationError::SigningKey);
    }
    let alias = account.handle.as_ref().map(|handle| format!("at://{handle}"));
    if alias.is_some() && data.also_known_as.first() != alias.as_ref() {
        return Err(PlcOperationError::Handle);
    }
    Ok(())
}
