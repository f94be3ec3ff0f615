//! Another service on this machine: answers as a test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use atproto::syntax::Did;
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Method},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rookery::{
    service::settings::Service,
    store::{StoreError, did_cache},
};
use serde_json::{Value as Json, json};

use super::{TestAccount, TestServer};

pub const SERVICE_DID: &str = "did:web:service.example.com";

/// A request as the service saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path_and_query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The claims of the token that came with it.
    pub fn claims(&self) -> Json {
        let token = self.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let claims = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    }

    pub fn names(&self, nsid: &str) -> bool {
        self.path_and_query.split('?').next() == Some(&format!("/xrpc/{nsid}"))
    }
}

/// A service that is listening. Stops when dropped.
pub struct Upstream {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    pub async fn start(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Upstream {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let memory = seen.clone();
        let router = Router::new().fallback(move |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
            let path_and_query = parts.uri.path_and_query().unwrap().as_str().to_owned();
            let seen = Seen { method: parts.method, path_and_query, headers: parts.headers, body };
            memory.lock().unwrap().push(seen.clone());
            answer(&seen)
        });
        Upstream::serve(router, seen).await
    }

    /// A router of the test's own; nothing is remembered.
    pub async fn of(router: Router) -> Upstream {
        Upstream::serve(router, Arc::default()).await
    }

    async fn serve(router: Router, seen: Arc<Mutex<Vec<Seen>>>) -> Upstream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let never = std::future::pending::<()>();
        let task = tokio::spawn(rookery::server::serve(listener, router, super::limits(64), never));
        Upstream { url, seen, task }
    }

    /// As the operator writes it down.
    pub fn service(&self) -> Service {
        Service { url: self.url.clone(), did: Did::parse(SERVICE_DID).unwrap() }
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request of this method.
    #[track_caller]
    pub fn seen_once(&self, nsid: &str) -> Seen {
        let mut found: Vec<Seen> = self.seen().into_iter().filter(|seen| seen.names(nsid)).collect();
        assert_eq!(found.len(), 1, "{nsid}: {:?}", self.seen());
        found.remove(0)
    }
}

/// A server whose AppView is `upstream`.
pub async fn server_with_appview(upstream: &Upstream) -> TestServer {
    let service = upstream.service();
    TestServer::start_with(move |settings| settings.appview = Some(service)).await
}

/// 200 with this JSON.
pub fn ok(body: Json) -> Response {
    axum::Json(body).into_response()
}

/// 200 with this JSON, of an AppView that has read the asker's repository up to `rev`.
pub fn ok_at(rev: &str, body: Json) -> Response {
    ([("atproto-repo-rev", rev.to_owned())], axum::Json(body)).into_response()
}

/// An answer of any status.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

impl TestServer {
    /// Makes `did` resolve to a document that lists these services: id, type, endpoint.
    pub async fn publish_services(&self, did: &str, services: &[(&str, &str, &str)]) {
        let services: Vec<Json> = services
            .iter()
            .map(|(id, kind, url)| json!({ "id": id, "type": kind, "serviceEndpoint": url }))
            .collect();
        let document = json!({ "id": did, "service": services }).to_string();
        let (did, now) = (did.to_owned(), self.app.clock.now());
        let stored = self.app.store.write(move |tx| did_cache::put(tx, &did, &document, now));
        Result::<_, StoreError>::unwrap(stored.await);
    }

    /// Writes a record under any key; returns its URI, and the rev of the commit.
    pub async fn create_record(&self, account: &TestAccount, rkey: &str, record: Json) -> (String, String) {
        let input = json!({
            "repo": account.did, "collection": record["$type"], "rkey": rkey, "record": record, "validate": false,
        });
        let call = self.procedure("com.atproto.repo.putRecord").auth(account).json(&input);
        let output = call.send().await.ok();
        let text = |pointer: &str| output.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        (text("/uri"), text("/commit/rev"))
    }

    /// A token between services, signed by the account's key, for one method of this server.
    pub async fn service_token(&self, account: &TestAccount, nsid: &str) -> String {
        let did = Did::parse(&account.did).unwrap();
        let found = self.app.store.read(move |db| rookery::store::account::get_by_did(db, &did));
        let account = Result::<_, StoreError>::unwrap(found.await).unwrap();
        let audience = self.app.settings.service_did.as_str();
        self.app.service_tokens.issue(&account, audience, Some(nsid), None).await.unwrap()
    }

    /// A session token of this scope.
    pub fn token(&self, account: &TestAccount, scope: rookery::service::auth::Scope) -> String {
        self.app.tokens.issue_access(&Did::parse(&account.did).unwrap(), scope)
    }
}
