//! Stands between a server and its did:plc directory, and fails as a test tells it to.

use std::{
    future,
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// They go through.
    Open,
    /// Operations are refused, with a message.
    Refusing,
    /// Nothing goes through: 503.
    Shut,
    /// Operations go through, and their answers are lost: 500. Reads work.
    LosingAnswers,
    /// Operations go through; after them, nothing does, and their answers are lost.
    ShutBehind,
    /// Operations go through, and are never answered. Reads work.
    Hanging,
}

/// A gate on a port of its own; stops when dropped.
pub struct PlcGate {
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    directory: OnceLock<String>,
    gate: Mutex<Gate>,
    passed: Notify,
    http: reqwest::Client,
}

impl Drop for PlcGate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PlcGate {
    pub async fn start() -> PlcGate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only(std::iter::empty()).build().unwrap();
        let shared = Arc::new(Shared {
            directory: OnceLock::new(),
            gate: Mutex::new(Gate::Open),
            passed: Notify::new(),
            http,
        });
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move { axum_serve(listener, router).await });
        PlcGate { url, shared, task }
    }

    /// Where requests go that go through.
    pub fn lead_to(&self, directory: &str) {
        self.shared.directory.set(directory.to_owned()).unwrap();
    }

    pub fn set(&self, gate: Gate) {
        *self.shared.gate.lock().unwrap() = gate;
    }

    /// Waits until an operation has gone through since the last call.
    pub async fn passed(&self) {
        self.shared.passed.notified().await;
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    rookery::server::serve(listener, router, super::limits(100), future::pending()).await;
}

fn fail(status: u16, message: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(json!({ "message": message }))).into_response()
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let gate = *shared.gate.lock().unwrap();
    let is_operation = request.method() == Method::POST;
    match gate {
        Gate::Shut => return fail(503, "out of order"),
        Gate::Refusing if is_operation => return fail(400, "the directory does not like it"),
        _ => {}
    }
    let url = format!("{}{}", shared.directory.get().unwrap(), request.uri().path());
    let method = request.method().clone();
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let forwarded =
        shared.http.request(method, url).header("content-type", "application/json").body(body).send();
    let answer = forwarded.await.unwrap();
    let status = answer.status();
    let bytes = answer.bytes().await.unwrap();
    if !is_operation {
        return (status, bytes).into_response();
    }
    if gate == Gate::ShutBehind {
        *shared.gate.lock().unwrap() = Gate::Shut;
    }
    shared.passed.notify_one();
    match gate {
        Gate::Hanging => future::pending().await,
        Gate::LosingAnswers | Gate::ShutBehind => fail(500, "the answer is lost"),
        _ => (status, bytes).into_response(),
    }
}
