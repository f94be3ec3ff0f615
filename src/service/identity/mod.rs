//! Identities: what DIDs and handles lead to, for anyone, and what the DIDs of accounts here say.
//!
//! | question | file |
//! |---|---|
//! | the document of a DID | [`resolver`] |
//! | the did:plc directory | [`plc_client`] |
//! | making a DID name another signing key | [`signing_key`] |
//! | is an account's DID set up for this server | [`validity`] |
//! | did:web identities that live here | `hosted` |
//!
//! Not for: accounts (`service::account`), and the form of documents and operations (`atproto`).

mod hosted;
pub mod plc_client;
pub mod resolver;
pub mod signing_key;
pub mod validity;

use std::sync::Arc;

use atproto::{identity::DidDocument, syntax::Did};

pub use self::{
    plc_client::{PlcClient, PlcError},
    resolver::{DidResolver, Freshness, ResolveError},
    signing_key::PublishKeyError,
    validity::ValidityError,
};
use crate::{
    service::{keys::Keys, settings::Settings},
    store::{Store, StoreError, account::Account},
    time::Clock,
};

/// What [`Identities`] are built from.
pub struct IdentityParts {
    /// Checked settings.
    pub settings: Arc<Settings>,
    /// Where accounts are kept.
    pub store: Store,
    /// The server's rotation key and the accounts' signing keys.
    pub keys: Keys,
    /// The did:plc directory.
    pub plc: PlcClient,
    /// Resolves DIDs.
    pub dids: DidResolver,
    /// The time of day.
    pub clock: Clock,
}

/// The identities behind the accounts of this server, and everyone else's. Cheap to clone.
#[derive(Clone)]
pub struct Identities {
    inner: Arc<IdentityParts>,
}

impl Identities {
    /// Identities made from `parts`.
    pub fn new(parts: IdentityParts) -> Identities {
        Identities { inner: Arc::new(parts) }
    }

    /// The account whose did:web lives here, and its document; `None` when no account has this DID or it is a DID of
    /// another place. The account may have any status.
    pub async fn hosted(&self, did: &Did) -> Result<Option<(Account, DidDocument)>, StoreError> {
        hosted::find(&self.inner.settings, &self.inner.store, did).await
    }
}
