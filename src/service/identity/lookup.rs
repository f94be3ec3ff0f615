//! What is asked of this server about identities: handles to DIDs, DIDs to documents, and both together.
//!
//! Not for: who may ask (`xrpc`).

use atproto::{
    identity::DidDocument,
    syntax::{AtIdentifier, Did, Handle},
};
use form_urlencoded::Serializer;
use serde_json::Value as Json;

use super::{Freshness, HandleLookupError, Identities, ResolveError};
use crate::{
    service::http,
    store::{StoreError, account},
};

/// What a handle is said to be that does not hold (HN-4).
pub const INVALID_HANDLE: &str = "handle.invalid";

/// Why a handle, a DID or an identity is not known.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// A handle of this server that no active account has.
    #[error("Unable to resolve handle")]
    NoSuchHandle,
    /// A handle elsewhere.
    #[error(transparent)]
    Handle(#[from] HandleLookupError),
    /// The DID existed, and was given up.
    #[error("DID is deactivated: {0}")]
    Deactivated(Did),
    /// No document.
    #[error(transparent)]
    Did(#[from] ResolveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A DID, its document, and the handle that both agree on.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The DID.
    pub did: Did,
    /// The one that the document claims, when it leads back to the DID (HN-9).
    pub handle: Option<Handle>,
    /// The document.
    pub document: DidDocument,
}

impl Identities {
    /// The DID behind a handle: of an active account here, or as the AppView or the handle itself says.
    pub async fn resolve_handle(&self, handle: &Handle) -> Result<Did, LookupError> {
        if let Some(did) = self.find_ours(handle).await? {
            return Ok(did);
        }
        match &self.inner.settings.appview {
            Some(_) => Ok(self.ask_appview(handle).await?),
            None => Ok(self.resolve_elsewhere(handle).await?),
        }
    }

    /// The DID that a handle elsewhere names, asked directly.
    pub async fn resolve_elsewhere(&self, handle: &Handle) -> Result<Did, HandleLookupError> {
        self.inner.handles.resolve(handle).await
    }

    /// The document of a DID.
    pub async fn resolve_did(&self, did: &Did, freshness: Freshness) -> Result<DidDocument, LookupError> {
        match self.inner.dids.resolve(did, freshness).await {
            // The directory does not tell the unknown from the ended (DI-4); its log does.
            Err(error @ ResolveError::NotFound(_)) if did.method() == "plc" => {
                match self.inner.plc.last_operation(did).await {
                    Ok(Some(last)) if last.data().is_none() => Err(LookupError::Deactivated(did.clone())),
                    _ => Err(error.into()),
                }
            }
            result => Ok(result?),
        }
    }

    /// The identity behind a handle or a DID. The handle in it is what the document claims and what leads back to the
    /// DID, not what was asked.
    pub async fn resolve_identity(
        &self,
        identifier: &AtIdentifier,
        freshness: Freshness,
    ) -> Result<Identity, LookupError> {
        let (did, asked) = match identifier {
            AtIdentifier::Did(did) => (did.clone(), None),
            AtIdentifier::Handle(handle) => (self.resolve_direct(handle).await?, Some(handle)),
        };
        let document = self.resolve_did(&did, freshness).await?;
        let claimed = document.handle();
        let leads_back = match &claimed {
            None => false,
            Some(claimed) if Some(claimed) == asked => true,
            Some(claimed) => match self.resolve_direct(claimed).await {
                Ok(found) => found == did,
                Err(error @ (LookupError::Store(_) | LookupError::Handle(HandleLookupError::Busy))) => {
                    return Err(error);
                }
                Err(_) => false,
            },
        };
        Ok(Identity { did, handle: claimed.filter(|_| leads_back), document })
    }

    /// As [`Identities::resolve_handle`], without asking an AppView what the handle itself can say.
    async fn resolve_direct(&self, handle: &Handle) -> Result<Did, LookupError> {
        match self.find_ours(handle).await? {
            Some(did) => Ok(did),
            None => Ok(self.resolve_elsewhere(handle).await?),
        }
    }

    /// The active account with this handle; an error for a handle that only this server could know.
    async fn find_ours(&self, handle: &Handle) -> Result<Option<Did>, LookupError> {
        let wanted = handle.clone();
        let found = self.inner.store.read(move |db| account::get_by_handle(db, &wanted)).await;
        let found = found.map_err(|error: StoreError| LookupError::from(error))?;
        match found.filter(|account| account.is_active()) {
            Some(account) => Ok(Some(account.did)),
            None if self.inner.settings.is_ours(handle.as_str()) => Err(LookupError::NoSuchHandle),
            None => Ok(None),
        }
    }

    /// Any failure of the AppView's means that the handle is not known.
    async fn ask_appview(&self, handle: &Handle) -> Result<Did, HandleLookupError> {
        let (Some(appview), Some(client)) = (&self.inner.settings.appview, &self.appview) else {
            return Err(HandleLookupError::NotFound);
        };
        let query = Serializer::new(String::new()).append_pair("handle", handle.as_str()).finish();
        let url = format!("{}/xrpc/com.atproto.identity.resolveHandle?{query}", appview.url);
        let asked = async {
            let answer = http::send(client.client()?.get(url)).await?;
            Ok::<_, http::HttpError>(answer.status.is_success().then_some(answer.body))
        };
        let body = match asked.await {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!(%handle, %error, "the AppView did not resolve a handle");
                None
            }
        };
        let did = body
            .and_then(|body| serde_json::from_slice::<Json>(&body).ok())
            .and_then(|output| Did::parse(output.get("did")?.as_str()?).ok());
        did.ok_or(HandleLookupError::NotFound)
    }
}
