//! A whole server in this process: real listener, temporary directory, its own did:plc directory, a clock to turn.
//!
//! Every JSON answer of a method whose lexicon is embedded is checked against its output schema.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod dns;
pub mod firehose;
pub mod plc_gate;
pub mod upstream;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use atproto::{crypto::PublicKey, data::json, lexicon::Catalog, syntax::Did};
use reqwest::{
    RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderName},
};
use rookery::{
    app::{App, AppConfig, Settings},
    server::{self, Limits},
    service::{identity::Freshness, mail::OutboxMail},
    store::{StoreError, StoreOptions, account, room::FreeSpace},
    time::{Clock, Entropy, SECOND},
    web::plc_directory,
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

pub const ADMIN_PASSWORD: &str = "operator:secret";
/// How long a mail may take before a test fails.
const MAIL_PATIENCE: Duration = Duration::from_secs(60);
pub const PASSWORD: &str = "correct horse battery staple";

/// For servers that tests run beside the one under test.
pub fn limits(connections_max: usize) -> Limits {
    Limits {
        connections_max,
        idle_max: Duration::from_secs(90),
        patience: Duration::from_secs(60),
        trusted_proxies: Vec::new(),
    }
}

/// A running server; stops when dropped.
pub struct TestServer {
    pub app: App,
    pub url: String,
    pub plc_url: String,
    pub http: reqwest::Client,
    clock_offset: Arc<AtomicI64>,
    /// What the disk has free, in bytes; plenty at the start.
    free_bytes: Arc<AtomicU64>,
    accounts: AtomicU64,
    /// How many mails to each address have been read for their code.
    mails_read: Mutex<HashMap<String, usize>>,
    dir: Arc<TempDir>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.app.stopping.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap()
}

/// An account that signed up.
#[derive(Clone, Debug)]
pub struct TestAccount {
    pub did: String,
    pub handle: String,
    pub access_jwt: String,
    pub refresh_jwt: String,
}

impl TestServer {
    pub async fn start() -> TestServer {
        TestServer::start_with(|_| {}).await
    }

    /// Starts with settings that `change` has been over.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> TestServer {
        let dir = Arc::new(TempDir::new().unwrap());
        let (listener, plc_listener) = (listen("127.0.0.1:0").await, listen("127.0.0.1:0").await);
        let url = format!("http://{}", listener.local_addr().unwrap());
        let plc_url = format!("http://{}", plc_listener.local_addr().unwrap());
        let mut settings = Settings::sandbox(&url, Did::parse("did:web:localhost").unwrap(), &plc_url);
        change(&mut settings);
        TestServer::open(dir, settings, (listener, plc_listener), Arc::default()).await
    }

    /// Stops the server as an operator does, and starts it again: same directory, addresses and clock.
    pub async fn restart(self) -> TestServer {
        self.restart_with(|_| {}).await
    }

    /// [`TestServer::restart`] with settings that `change` has been over.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Settings)) -> TestServer {
        self.stop().await;
        let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
        let listeners = (listen(&address(&self.url)).await, listen(&address(&self.plc_url)).await);
        let mut settings = (*self.app.settings).clone();
        change(&mut settings);
        TestServer::open(self.dir.clone(), settings, listeners, self.clock_offset.clone()).await
    }

    /// Stops the server as an operator does: what is under way ends, then the database is closed.
    pub async fn stop(&mut self) {
        self.app.stopping.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.app.close().await;
    }

    async fn open(
        dir: Arc<TempDir>,
        settings: Settings,
        (listener, plc_listener): (TcpListener, TcpListener),
        clock_offset: Arc<AtomicI64>,
    ) -> TestServer {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let plc_url = format!("http://{}", plc_listener.local_addr().unwrap());
        let limits = Limits::of(&settings);
        let (offset, system) = (clock_offset.clone(), Clock::system());
        let free_bytes = Arc::new(AtomicU64::new(u64::MAX));
        let disk = free_bytes.clone();
        let free_space = FreeSpace::from_fn(move || Ok(disk.load(Ordering::Relaxed)));
        let app = App::build(AppConfig {
            settings,
            store: StoreOptions { free_space, ..StoreOptions::at(dir.path()) },
            master_key: Zeroizing::new([7; 32]),
            admin_password: Zeroizing::new(ADMIN_PASSWORD.into()),
            clock: Clock::from_fn(move || system.now() + offset.load(Ordering::Relaxed)),
            entropy: Entropy::system(),
        })
        .await
        .unwrap();
        app.sequence.start().await.unwrap();
        let directory = plc_directory::router(app.store.clone(), app.clock.clone());
        let stopping = || app.stopping.clone().cancelled_owned();
        let tasks = vec![
            tokio::spawn(server::serve(listener, app.router(), limits.clone(), stopping())),
            tokio::spawn(server::serve(plc_listener, directory, limits, stopping())),
        ];
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only(std::iter::empty())
            .build()
            .unwrap();
        TestServer {
            app,
            url,
            plc_url,
            http,
            clock_offset,
            free_bytes,
            accounts: AtomicU64::new(0),
            mails_read: Mutex::default(),
            dir,
            tasks,
        }
    }

    /// Where the server keeps its data.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Deactivates an account, as its owner would.
    pub async fn deactivate(&self, did: &str) {
        self.update_account(did, "deactivated_at = created_at").await;
    }

    /// Takes an account down, as the operator would.
    pub async fn take_down(&self, did: &str) {
        self.update_account(did, "takedown_ref = 'test'").await;
    }

    async fn update_account(&self, did: &str, change: &'static str) {
        let did = did.to_owned();
        let update = self.app.store.write(move |tx| {
            assert_eq!(tx.execute(&format!("UPDATE account SET {change} WHERE did = ?1"), (did,))?, 1);
            Ok::<_, StoreError>(())
        });
        update.await.unwrap();
    }

    /// The mail address of an account.
    pub async fn email(&self, account: &TestAccount) -> String {
        let did = Did::parse(&account.did).unwrap();
        let found = self.app.store.read(move |db| account::get_by_did(db, &did)).await;
        found.map_err(|error: StoreError| error).unwrap().unwrap().email.unwrap()
    }

    /// The newest mail to an account's address, later than the one whose code was read last. Waits for it.
    pub async fn mail_to(&self, account: &TestAccount) -> OutboxMail {
        let address = self.email(account).await;
        let read = self.mails_read.lock().unwrap().get(&address).copied().unwrap_or(0);
        self.wait_for_mail(&address, read).await.pop().unwrap()
    }

    /// The code in [`TestServer::mail_to`], each once.
    pub async fn mailed_code(&self, account: &TestAccount) -> String {
        let address = self.email(account).await;
        let read = self.mails_read.lock().unwrap().get(&address).copied().unwrap_or(0);
        let mails = self.wait_for_mail(&address, read).await;
        self.mails_read.lock().unwrap().insert(address, mails.len());
        let is_code = |line: &&str| line.len() == 11 && line.as_bytes()[5] == b'-';
        mails.last().unwrap().text.lines().map(str::trim).find(is_code).unwrap().to_owned()
    }

    /// All mails to an address, once there are more than `read`.
    async fn wait_for_mail(&self, address: &str, read: usize) -> Vec<OutboxMail> {
        let mut settled = self.app.mailer.settled();
        loop {
            settled.borrow_and_update();
            let mut mails = self.app.mailer.outbox().await.unwrap();
            mails.retain(|mail| mail.to == address);
            if mails.len() > read {
                return mails;
            }
            let more = tokio::time::timeout(MAIL_PATIENCE, settled.changed()).await;
            more.unwrap_or_else(|_| panic!("no mail came to {address}")).unwrap();
        }
    }

    /// The signing key in the DID document that the directory publishes.
    pub async fn published_key(&self, did: &str) -> PublicKey {
        let did = Did::parse(did).unwrap();
        let document = self.app.did_resolver.resolve(&did, Freshness::Cached).await.unwrap();
        document.signing_key().unwrap().unwrap()
    }

    /// Uploads a blob; returns the reference to put into records.
    pub async fn upload(
        &self,
        account: &TestAccount,
        content_type: &str,
        bytes: impl Into<reqwest::Body>,
    ) -> Json {
        let call = self.procedure("com.atproto.repo.uploadBlob").auth(account).body(content_type, bytes);
        call.send().await.ok()["blob"].clone()
    }

    /// Puts a record of a kind without a schema; returns the output of putRecord.
    pub async fn put_record(&self, account: &TestAccount, path: &str, mut record: Json) -> Json {
        let (collection, rkey) = path.split_once('/').unwrap();
        record["$type"] = json!(collection);
        let input = json!({ "repo": account.did, "collection": collection, "rkey": rkey, "record": record });
        self.procedure("com.atproto.repo.putRecord").auth(account).json(&input).send().await.ok()
    }

    /// Deletes a record.
    pub async fn delete_record(&self, account: &TestAccount, path: &str) -> Json {
        let (collection, rkey) = path.split_once('/').unwrap();
        let input = json!({ "repo": account.did, "collection": collection, "rkey": rkey });
        self.procedure("com.atproto.repo.deleteRecord").auth(account).json(&input).send().await.ok()
    }

    /// Turns the server's clock forward.
    pub fn advance_secs(&self, secs: i64) {
        self.clock_offset.fetch_add(secs * SECOND, Ordering::Relaxed);
    }

    /// From now on the disk has so much free space.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::Relaxed);
        // What is known of it is a second old at most.
        self.advance_secs(1);
    }

    /// Signs up `<name>.test` with [`PASSWORD`].
    pub async fn create_account(&self, name: &str) -> TestAccount {
        let answer =
            self.procedure("com.atproto.server.createAccount").json(&self.sign_up(name)).send().await;
        let output = answer.ok();
        let text = |field: &str| output[field].as_str().unwrap().to_owned();
        TestAccount {
            did: text("did"),
            handle: text("handle"),
            access_jwt: text("accessJwt"),
            refresh_jwt: text("refreshJwt"),
        }
    }

    /// Input of createAccount for `<name>.test`, with an address that no other call gave out.
    pub fn sign_up(&self, name: &str) -> Json {
        let number = self.accounts.fetch_add(1, Ordering::Relaxed);
        json!({ "handle": format!("{name}.test"), "email": format!("{name}.{number}@example.com"), "password": PASSWORD })
    }

    /// A GET of a method.
    pub fn query(&self, nsid: &str) -> Call<'_> {
        Call { nsid: nsid.to_owned(), request: self.http.get(self.xrpc(nsid)), server: self }
    }

    /// A POST of a method.
    pub fn procedure(&self, nsid: &str) -> Call<'_> {
        Call { nsid: nsid.to_owned(), request: self.http.post(self.xrpc(nsid)), server: self }
    }

    /// A GET of any path.
    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        Call { nsid: String::new(), request, server: self }.send().await
    }

    fn xrpc(&self, nsid: &str) -> String {
        format!("{}/xrpc/{nsid}", self.url)
    }
}

/// A request that is being put together.
pub struct Call<'a> {
    server: &'a TestServer,
    nsid: String,
    request: RequestBuilder,
}

impl Call<'_> {
    /// A query parameter; again for one more of the same name.
    pub fn param(mut self, name: &str, value: impl ToString) -> Self {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair(name, &value.to_string()).finish();
        self.request = with_query(self.request, &query);
        self
    }

    pub fn auth(self, account: &TestAccount) -> Self {
        self.bearer(&account.access_jwt)
    }

    /// The same request as HEAD.
    pub fn head(mut self) -> Self {
        let (client, request) = self.request.build_split();
        let mut request = request.unwrap();
        *request.method_mut() = reqwest::Method::HEAD;
        self.request = RequestBuilder::from_parts(client, request);
        self
    }

    pub fn bearer(mut self, token: &str) -> Self {
        self.request = self.request.bearer_auth(token);
        self
    }

    pub fn admin(mut self) -> Self {
        self.request = self.request.basic_auth("admin", Some(ADMIN_PASSWORD));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(mut self, body: &Json) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// A body as it is.
    pub fn body(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header("content-type", content_type).body(body);
        self
    }

    pub async fn send(self) -> Answer {
        let response = self.request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap().to_vec();
        let answer = Answer { nsid: self.nsid, status, headers, bytes };
        answer.check_schema();
        let _ = self.server;
        answer
    }
}

fn with_query(request: RequestBuilder, pair: &str) -> RequestBuilder {
    let (client, request) = request.build_split();
    let mut request = request.unwrap();
    let query = match request.url().query() {
        Some(query) => format!("{query}&{pair}"),
        None => pair.to_owned(),
    };
    request.url_mut().set_query(Some(&query));
    RequestBuilder::from_parts(client, request)
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    nsid: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The JSON of a 200.
    #[track_caller]
    pub fn ok(&self) -> Json {
        assert_eq!(self.status, 200, "{}: {}", self.nsid, self.text());
        self.json()
    }

    /// A 200 without a body.
    #[track_caller]
    pub fn empty(&self) {
        assert_eq!((self.status.as_u16(), self.text().as_str()), (200, ""), "{}", self.nsid);
    }

    /// The message of an error with this status and name.
    #[track_caller]
    pub fn error(&self, status: u16, name: &str) -> String {
        let body = self.json();
        assert_eq!(
            (self.status.as_u16(), body["error"].as_str()),
            (status, Some(name)),
            "{}: {body}",
            self.nsid
        );
        let keys: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "message"]);
        body["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name.parse::<HeaderName>().unwrap())?.to_str().ok()
    }

    fn check_schema(&self) {
        let is_json = self.header("content-type").is_some_and(|value| value.starts_with("application/json"));
        let is_known = Catalog::embedded().methods().any(|(nsid, _)| nsid == self.nsid);
        // Answers to HEAD have no body, and packed ones are for their tests to unpack.
        let is_plain = !self.bytes.is_empty() && self.header("content-encoding").is_none();
        if self.status == 200 && is_json && is_known && is_plain {
            let output = json::from_json(&self.json()).unwrap();
            if let Err(error) = Catalog::embedded().validate_output(&self.nsid, &output) {
                panic!("{} answers what its lexicon does not allow: {error}: {}", self.nsid, self.text());
            }
        }
    }
}
