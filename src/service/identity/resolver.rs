//! From a DID to its document, through a cache (DI-2 to DI-5).
//!
//! Fresh for an hour; for a day it is used and refreshed behind the caller's back. did:web comes with later work.

use std::sync::Arc;

use atproto::{identity::DidDocument, syntax::Did};
use tokio::sync::Semaphore;

use super::{
    hosted,
    plc_client::{PlcClient, PlcError},
};
use crate::{
    service::settings::Settings,
    store::{Store, StoreError, did_cache},
    time::{Clock, Micros, SECOND},
};

/// Younger documents are used as they are, in seconds.
const FRESH_SECS: i64 = 60 * 60;
/// Older documents are not used at all, in seconds.
const STALE_SECS_MAX: i64 = 24 * 60 * 60;
/// Refreshes behind callers' backs at a time; more are left to the next caller.
const REFRESHES_MAX: usize = 4;

/// Whether a cached document will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It will.
    Cached,
    /// Ask the source; the answer goes to the cache.
    Forced,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The source knows none.
    #[error("DID not found: {0}")]
    NotFound(Did),
    /// A DID method that is not resolved here.
    #[error("did:{0} is not resolved by this server")]
    Unsupported(String),
    /// The source failed.
    #[error("could not resolve {did}: {problem}")]
    Failed {
        /// The DID.
        did: Did,
        /// What went wrong.
        problem: String,
    },
}

/// Resolves DIDs. Cheap to clone.
#[derive(Clone)]
pub struct DidResolver {
    settings: Arc<Settings>,
    plc: PlcClient,
    store: Store,
    clock: Clock,
    refreshes: Arc<Semaphore>,
}

impl DidResolver {
    /// Resolves did:plc at `plc`; documents are cached in `store`.
    pub fn new(settings: Arc<Settings>, plc: PlcClient, store: Store, clock: Clock) -> DidResolver {
        DidResolver { settings, plc, store, clock, refreshes: Arc::new(Semaphore::new(REFRESHES_MAX)) }
    }

    /// The document of `did`. A cache that fails is as good as an empty one.
    pub async fn resolve(&self, did: &Did, freshness: Freshness) -> Result<DidDocument, ResolveError> {
        if hosted::host_of(&self.settings, did).is_some() {
            return self.hosted(did).await;
        }
        if freshness == Freshness::Cached
            && let Some((document, updated_at)) = self.cached(did).await
        {
            let age_secs = (self.clock.now() - updated_at) / SECOND;
            if age_secs < FRESH_SECS {
                return Ok(document);
            }
            if age_secs < STALE_SECS_MAX {
                self.refresh_later(did);
                return Ok(document);
            }
        }
        self.fetch(did).await
    }

    /// A DID that lives here is always at hand, and never in the cache.
    async fn hosted(&self, did: &Did) -> Result<DidDocument, ResolveError> {
        match hosted::find(&self.settings, &self.store, did).await {
            Ok(Some((_, document))) => Ok(document),
            Ok(None) => Err(ResolveError::NotFound(did.clone())),
            Err(error) => Err(ResolveError::Failed { did: did.clone(), problem: error.to_string() }),
        }
    }

    async fn cached(&self, did: &Did) -> Option<(DidDocument, Micros)> {
        let key = did.as_str().to_owned();
        let found: Result<_, StoreError> = self.store.read(move |db| did_cache::get(db, &key)).await;
        let (json, updated_at) = found.ok()??;
        let document = DidDocument::from_json(serde_json::from_str(&json).ok()?).ok()?;
        Some((document, updated_at))
    }

    fn refresh_later(&self, did: &Did) {
        let Ok(permit) = self.refreshes.clone().try_acquire_owned() else {
            return;
        };
        let (resolver, did) = (self.clone(), did.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = resolver.fetch(&did).await {
                tracing::debug!(%did, %error, "a cached DID document could not be refreshed");
            }
        });
    }

    async fn fetch(&self, did: &Did) -> Result<DidDocument, ResolveError> {
        if did.method() != "plc" {
            return Err(ResolveError::Unsupported(did.method().to_owned()));
        }
        let failed = |problem: String| ResolveError::Failed { did: did.clone(), problem };
        let Some(json) = self.plc.document(did).await.map_err(|error: PlcError| failed(error.to_string()))?
        else {
            self.forget(did).await;
            return Err(ResolveError::NotFound(did.clone()));
        };
        let document = DidDocument::from_json(json).map_err(|error| failed(error.to_string()))?;
        if document.id() != did {
            return Err(failed(format!("the document is about {}", document.id())));
        }
        let (key, text, now) = (did.as_str().to_owned(), document.json().to_string(), self.clock.now());
        let stored: Result<(), StoreError> =
            self.store.write(move |tx| did_cache::put(tx, &key, &text, now)).await;
        if let Err(error) = stored {
            tracing::warn!(%did, %error, "a DID document could not be cached");
        }
        Ok(document)
    }

    async fn forget(&self, did: &Did) {
        let key = did.as_str().to_owned();
        let forgotten: Result<(), StoreError> = self.store.write(move |tx| did_cache::delete(tx, &key)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%did, %error, "a cached DID document could not be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicI64, Ordering};

    use serde_json::json;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;
    use crate::store::StoreOptions;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    struct Setting {
        directory: MockServer,
        resolver: DidResolver,
        now: Arc<AtomicI64>,
        _dir: tempfile::TempDir,
    }

    async fn setting() -> Setting {
        let dir = tempfile::TempDir::new().unwrap();
        let now = Arc::new(AtomicI64::new(0));
        let told = now.clone();
        let clock = Clock::from_fn(move || told.load(Ordering::Relaxed));
        let store = Store::open(StoreOptions::at(dir.path()), clock.clone()).await.unwrap();
        let directory = MockServer::start().await;
        let settings = Settings::sandbox("http://localhost", "did:web:localhost".parse().unwrap(), "");
        let resolver = DidResolver::new(Arc::new(settings), PlcClient::new(&directory.uri()), store, clock);
        Setting { directory, resolver, now, _dir: dir }
    }

    impl Setting {
        async fn answers(&self, answer: ResponseTemplate) {
            self.directory.reset().await;
            Mock::given(method("GET")).respond_with(answer).mount(&self.directory).await;
        }

        async fn answers_document(&self, alias: &str) {
            let document = json!({ "id": DID, "alsoKnownAs": [alias] });
            self.answers(ResponseTemplate::new(200).set_body_json(document)).await;
        }

        async fn alias(&self, freshness: Freshness) -> Result<String, ResolveError> {
            let document = self.resolver.resolve(&DID.parse().unwrap(), freshness).await?;
            Ok(document.json()["alsoKnownAs"][0].as_str().unwrap().to_owned())
        }
    }

    #[tokio::test]
    async fn a_document_is_fresh_for_an_hour_and_gone_after_a_day() {
        let setting = setting().await;
        setting.answers_document("at://one.test").await;
        assert_eq!(setting.alias(Freshness::Cached).await.unwrap(), "at://one.test");
        setting.answers_document("at://two.test").await;
        setting.now.store((FRESH_SECS - 1) * SECOND, Ordering::Relaxed);
        assert_eq!(setting.alias(Freshness::Cached).await.unwrap(), "at://one.test");
        assert!(setting.directory.received_requests().await.unwrap().is_empty());
        assert_eq!(setting.alias(Freshness::Forced).await.unwrap(), "at://two.test");
        setting.answers_document("at://three.test").await;
        setting.now.store((FRESH_SECS + STALE_SECS_MAX) * SECOND, Ordering::Relaxed);
        assert_eq!(setting.alias(Freshness::Cached).await.unwrap(), "at://three.test");
    }

    /// DI-4
    #[tokio::test]
    async fn a_did_that_is_gone_is_not_found_and_forgotten() {
        let setting = setting().await;
        setting.answers_document("at://one.test").await;
        setting.alias(Freshness::Cached).await.unwrap();
        for status in [404, 410] {
            setting.answers(ResponseTemplate::new(status).set_body_json(json!({ "message": "gone" }))).await;
            assert!(
                matches!(setting.alias(Freshness::Forced).await, Err(ResolveError::NotFound(_))),
                "{status}"
            );
        }
        assert!(matches!(setting.alias(Freshness::Cached).await, Err(ResolveError::NotFound(_))));
    }

    /// DI-2, DI-5
    #[tokio::test]
    async fn documents_that_cannot_be_trusted_are_failures() {
        let setting = setting().await;
        for answer in [
            ResponseTemplate::new(500),
            ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"),
            ResponseTemplate::new(200).set_body_string("not json"),
            ResponseTemplate::new(200).set_body_json(json!({ "id": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" })),
            ResponseTemplate::new(200).set_body_bytes(vec![b' '; 600 * 1024]),
        ] {
            setting.answers(answer).await;
            assert!(matches!(setting.alias(Freshness::Cached).await, Err(ResolveError::Failed { .. })));
        }
        let web = setting.resolver.resolve(&"did:web:example.com".parse().unwrap(), Freshness::Cached).await;
        assert!(matches!(web, Err(ResolveError::Unsupported(_))));
    }
}
