//! Identities: what DIDs and handles lead to, for anyone, and what the DIDs of accounts here say.
//!
//! | question | file |
//! |---|---|
//! | the document of a DID | [`resolver`] |
//! | the DID of a handle | [`handle_resolver`] |
//! | the did:plc directory | [`plc_client`] |
//! | making a DID name another signing key | [`signing_key`] |
//! | handles, DIDs and identities as clients ask for them | [`lookup`] |
//! | did:plc operations of account owners | [`plc_operation`] |
//! | is an account's DID set up for this server | [`validity`] |
//! | did:web identities that live here | `hosted` |
//!
//! Not for: accounts (`service::account`), and the form of documents and operations (`atproto`).

pub mod handle_resolver;
mod hosted;
pub mod lookup;
pub mod plc_client;
pub mod plc_operation;
pub mod resolver;
pub mod signing_key;
pub mod validity;

use std::sync::Arc;

use atproto::{identity::DidDocument, syntax::Did};

pub use self::{
    handle_resolver::{HandleLookupError, HandleResolver},
    plc_client::{PlcClient, PlcError},
    resolver::{DidResolver, Freshness, ResolveError},
    signing_key::PublishKeyError,
    validity::ValidityError,
};
use crate::{
    service::{http::Http, keys::Keys, settings::Settings},
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
    /// Resolves handles that are not ours.
    pub handles: HandleResolver,
    /// The time of day.
    pub clock: Clock,
}

/// The identities behind the accounts of this server, and everyone else's. Cheap to clone.
#[derive(Clone)]
pub struct Identities {
    inner: Arc<IdentityParts>,
    appview: Option<Arc<Http>>,
}

impl Identities {
    /// Identities made from `parts`.
    pub fn new(parts: IdentityParts) -> Identities {
        let appview = parts.settings.appview.as_ref().map(|appview| Arc::new(Http::new(&appview.url)));
        Identities { inner: Arc::new(parts), appview }
    }

    /// The resolver of DIDs.
    pub fn dids(&self) -> &DidResolver {
        &self.inner.dids
    }

    /// The account whose did:web lives here, and its document; `None` when no account has this DID or it is a DID of
    /// another place. The account may have any status.
    pub async fn hosted(&self, did: &Did) -> Result<Option<(Account, DidDocument)>, StoreError> {
        hosted::find(&self.inner.settings, &self.inner.store, did).await
    }
}
