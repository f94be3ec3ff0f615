//! From a DID to its document, through a cache (DI-2 to DI-5).
//!
//! Fresh for an hour; for a day it is used and refreshed behind the caller's back. The document of a did:plc is at the
//! directory, that of a did:web on the host that it names; those that this server hosts come from its own accounts.

use std::{sync::Arc, time::Duration};

use atproto::{
    identity::DidDocument,
    syntax::{Did, Handle},
};
use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use super::{
    hosted,
    plc_client::{PlcClient, PlcError},
};
use crate::{
    service::{
        outbound::{Outbound, OutboundError},
        settings::Settings,
    },
    store::{Store, StoreError, did_cache},
    task,
    time::{Clock, Micros, SECOND},
};

/// Younger documents are used as they are, in seconds.
const FRESH_SECS: i64 = 60 * 60;
/// Older documents are not used at all, in seconds.
const STALE_SECS_MAX: i64 = 24 * 60 * 60;
/// For the web server of a did:web, in seconds.
const WEB_SECS_MAX: u64 = 3;
/// Documents that are fetched from web servers at a time; more are refused.
const WEB_FETCHES_MAX: usize = 64;
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
    /// A did:web that names no public host, or more than a host (DI-3).
    #[error("{did} is not resolved by this server: {problem}")]
    Refused {
        /// The DID.
        did: Did,
        /// What is wrong with it.
        problem: &'static str,
    },
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
    outbound: Outbound,
    store: Store,
    clock: Clock,
    web_fetches: Arc<Semaphore>,
    refreshes: Arc<Semaphore>,
}

impl DidResolver {
    /// Resolves did:plc at `plc` and did:web through `outbound`; documents are cached in `store`.
    pub fn new(
        settings: Arc<Settings>,
        plc: PlcClient,
        outbound: Outbound,
        store: Store,
        clock: Clock,
    ) -> DidResolver {
        let [web_fetches, refreshes] =
            [WEB_FETCHES_MAX, REFRESHES_MAX].map(|permits| Arc::new(Semaphore::new(permits)));
        DidResolver { settings, plc, outbound, store, clock, web_fetches, refreshes }
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
        task::spawn(async move {
            let _permit = permit;
            if let Err(error) = resolver.fetch(&did).await {
                tracing::debug!(%did, %error, "a cached DID document could not be refreshed");
            }
        });
    }

    async fn fetch(&self, did: &Did) -> Result<DidDocument, ResolveError> {
        let failed = |problem: String| ResolveError::Failed { did: did.clone(), problem };
        let json = match did.method() {
            "plc" => self.plc.document(did).await.map_err(|error: PlcError| failed(error.to_string()))?,
            "web" => self.fetch_web(did).await?,
            method => return Err(ResolveError::Unsupported(method.to_owned())),
        };
        let Some(json) = json else {
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

    /// DI-3. A server that says no has no document; one that fails may have one again.
    async fn fetch_web(&self, did: &Did) -> Result<Option<Json>, ResolveError> {
        let failed = |problem: String| ResolveError::Failed { did: did.clone(), problem };
        let refused = |problem| ResolveError::Refused { did: did.clone(), problem };
        let url = web_url(did, self.settings.dev).map_err(refused)?;
        let Ok(_permit) = self.web_fetches.try_acquire() else {
            return Err(failed("too many documents are being fetched; try again in a moment".into()));
        };
        let answer = self.outbound.get(&url, Duration::from_secs(WEB_SECS_MAX)).await;
        let answer = answer.map_err(|error| match error {
            OutboundError::Forbidden(_) => refused("its host is not a public one"),
            error => failed(error.to_string()),
        })?;
        if answer.status.is_client_error() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(failed(format!("its host answers {}", answer.status)));
        }
        serde_json::from_slice(&answer.body)
            .map(Some)
            .map_err(|error| failed(format!("its document is not JSON: {error}")))
    }

    async fn forget(&self, did: &Did) {
        let key = did.as_str().to_owned();
        let forgotten: Result<(), StoreError> = self.store.write(move |tx| did_cache::delete(tx, &key)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%did, %error, "a cached DID document could not be deleted");
        }
    }
}

/// Where the document of a did:web is: the host alone names it. A port is for `localhost` in a sandbox, which also
/// speaks plain HTTP (DI-3).
fn web_url(did: &Did, dev: bool) -> Result<Url, &'static str> {
    let id = did.as_str().strip_prefix("did:web:").unwrap_or_default();
    if id.contains(':') {
        return Err("it has a path, and only hosts have documents");
    }
    let (host, port) = match id.split_once("%3A").or_else(|| id.split_once("%3a")) {
        Some((host, port)) => (host, Some(port)),
        None => (id, None),
    };
    let unusable = "it does not name a host";
    if host == "localhost" && dev {
        let port = port.map(str::parse::<u16>).transpose().map_err(|_| unusable)?;
        let origin = port.map_or("http://localhost".into(), |port| format!("http://localhost:{port}"));
        return Url::parse(&format!("{origin}/.well-known/did.json")).map_err(|_| unusable);
    }
    if port.is_some() {
        return Err("it has a port, which only localhost in a sandbox may have");
    }
    // A host has the form of a handle, and what is no domain for handles is none for DIDs.
    let host = Handle::parse(host).map_err(|_| unusable)?;
    if host.has_disallowed_tld() {
        return Err("its host is not a public one");
    }
    Url::parse(&format!("https://{host}/.well-known/did.json")).map_err(|_| unusable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicI64, Ordering};

    use serde_json::json;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;
    use crate::{service::outbound::Reach, store::StoreOptions};

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
        let resolver = DidResolver::new(
            Arc::new(settings),
            PlcClient::new(&directory.uri()),
            Outbound::new(Reach::Anywhere),
            store,
            clock,
        );
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
        let other = setting.resolver.resolve(&"did:key:zQ3sh".parse().unwrap(), Freshness::Cached).await;
        assert!(matches!(other, Err(ResolveError::Unsupported(_))));
    }

    /// DI-3
    #[test]
    fn a_did_web_names_a_public_host_and_nothing_else() {
        let url = |did: &str, dev| web_url(&did.parse().unwrap(), dev).map(String::from);
        assert_eq!(url("did:web:example.com", false).unwrap(), "https://example.com/.well-known/did.json");
        assert_eq!(url("did:web:localhost", true).unwrap(), "http://localhost/.well-known/did.json");
        assert_eq!(
            url("did:web:localhost%3A2583", true).unwrap(),
            "http://localhost:2583/.well-known/did.json"
        );
        for (did, dev) in [
            ("did:web:example.com:user:alice", true),
            ("did:web:example.com%3A8443", true),
            ("did:web:localhost", false),
            ("did:web:localhost%3A2583", false),
            ("did:web:localhost%3A", true),
            ("did:web:localhost%3A99999", true),
            ("did:web:127.0.0.1", true),
            ("did:web:printer.local", true),
            ("did:web:example", true),
            ("did:web:a%2Fb.com", true),
            ("did:web:a%40b.com", true),
        ] {
            assert!(url(did, dev).is_err(), "{did}");
        }
    }

    #[tokio::test]
    async fn a_did_web_is_fetched_from_its_host_cached_and_forgotten_when_it_is_gone() {
        let setting = setting().await;
        let did: Did = format!("did:web:localhost%3A{}", setting.directory.address().port()).parse().unwrap();
        let resolve = |freshness| setting.resolver.resolve(&did, freshness);
        let document = |id: &str| ResponseTemplate::new(200).set_body_json(json!({ "id": id }));
        setting.answers(document(did.as_str())).await;
        assert_eq!(resolve(Freshness::Cached).await.unwrap().id(), &did);
        let asked = setting.directory.received_requests().await.unwrap();
        assert_eq!(asked[0].url.path(), "/.well-known/did.json");
        // DI-5: what somebody else's document says is not believed, and does not replace what was.
        setting.answers(document("did:web:localhost")).await;
        assert!(matches!(resolve(Freshness::Forced).await, Err(ResolveError::Failed { .. })));
        assert_eq!(resolve(Freshness::Cached).await.unwrap().id(), &did);
        setting.answers(ResponseTemplate::new(500)).await;
        assert!(matches!(resolve(Freshness::Forced).await, Err(ResolveError::Failed { .. })));
        assert_eq!(resolve(Freshness::Cached).await.unwrap().id(), &did);
        setting.answers(ResponseTemplate::new(404)).await;
        assert!(matches!(resolve(Freshness::Forced).await, Err(ResolveError::NotFound(_))));
        assert!(matches!(resolve(Freshness::Cached).await, Err(ResolveError::NotFound(_))));
    }

    /// PX-6
    #[tokio::test]
    async fn a_did_web_that_leads_into_the_local_network_is_not_fetched() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(StoreOptions::at(dir.path()), Clock::system()).await.unwrap();
        let mut settings = Settings::sandbox("http://localhost", "did:web:localhost".parse().unwrap(), "");
        settings.dev = false;
        let server = MockServer::start().await;
        let outbound = Outbound::with_lookup(Reach::Public, |_| {
            Box::pin(async { Ok(vec![std::net::IpAddr::from([127, 0, 0, 1])]) })
        });
        let plc = PlcClient::new(&server.uri());
        let resolver = DidResolver::new(Arc::new(settings), plc, outbound, store, Clock::system());
        for did in [&*format!("did:web:localhost%3A{}", server.address().port()), "did:web:printer.lan"] {
            let refused = resolver.resolve(&did.parse().unwrap(), Freshness::Cached).await;
            assert!(matches!(refused, Err(ResolveError::Refused { .. })), "{did}: {refused:?}");
        }
        let rebound = resolver.resolve(&"did:web:example.com".parse().unwrap(), Freshness::Cached).await;
        assert!(matches!(rebound, Err(ResolveError::Failed { .. })), "{rebound:?}");
        assert!(server.received_requests().await.unwrap().is_empty());
    }
}
