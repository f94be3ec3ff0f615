//! Everything that is not XRPC: the front page, well-known files, health, and the directory of a sandbox.

mod front_page;
pub mod plc_directory;
mod well_known;

use std::{
    convert::Infallible,
    task::{Context, Poll, ready},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::Either;
use serde_json::json;
use tower::{Service, ServiceBuilder};
use tower_http::compression::{
    CompressionLayer,
    predicate::{Predicate, SizeAbove},
};

use crate::{
    app::App,
    store::{
        StoreError,
        failure::LogPace,
        lane::{Lane, in_lane, leave_public_lane},
    },
};

/// When whoever finds us busy should come back, in seconds.
const RETRY_SOON: [(HeaderName, &str); 1] = [(header::RETRY_AFTER, "30")];
/// Whoever watches asks often.
static LOG_PACE: LogPace = LogPace::new();
/// A page of ours among the paths of XRPC.
const HEALTH: &str = "/xrpc/_health";
/// Shorter answers are not compressed, in bytes.
const COMPRESSED_BYTES_MIN: u64 = 1024;

/// The pages, with `xrpc` under `/xrpc/`.
pub fn router<X>(app: App, xrpc: X) -> Router
where
    X: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let pages = Router::new()
        .route("/", get(front_page::front_page))
        .route("/robots.txt", get(robots_txt))
        .route(HEALTH, get(health))
        .route("/.well-known/atproto-did", get(well_known::atproto_did))
        .route("/.well-known/did.json", get(well_known::did_json))
        .layer(tower_http::cors::CorsLayer::permissive())
        .with_state(app);
    let site = ServiceBuilder::new()
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN).and(is_text)))
        .layer(from_fn(in_lane_of_verb))
        .service(Site { pages, xrpc });
    Router::new().fallback_service(site)
}

/// Chooses between the pages and XRPC by the path, without a router's search.
#[derive(Clone)]
struct Site<X> {
    pages: Router,
    xrpc: X,
}

impl<X> Service<Request> for Site<X>
where
    X: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<X::Future, <Router as Service<Request>>::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        ready!(self.xrpc.poll_ready(context))?;
        Service::<Request>::poll_ready(&mut self.pages, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let path = request.uri().path();
        if path.starts_with("/xrpc/") && path != HEALTH {
            Either::Left(self.xrpc.call(without_trailing_slash(request)))
        } else {
            Either::Right(self.pages.call(request))
        }
    }
}

/// Whoever only reads is one of the public until the credentials prove otherwise (`xrpc::caller`). What is posted either
/// needs them or has limits of its own, as signing in has.
async fn in_lane_of_verb(request: Request, next: Next) -> Response {
    let lane = if request.method().is_safe() { Lane::Public } else { Lane::Owner };
    in_lane(lane, next.run(request)).await
}

/// JSON, text and CARs shrink, by br, gzip or deflate, whichever the client likes best. What carries a strong entity tag
/// goes out byte for byte, with its length.
fn is_text(
    _status: StatusCode,
    _version: axum::http::Version,
    headers: &axum::http::HeaderMap,
    _extensions: &axum::http::Extensions,
) -> bool {
    let is_strong = |etag: &HeaderValue| etag.as_bytes().starts_with(b"\"");
    let content_type =
        headers.get(header::CONTENT_TYPE).filter(|_| !headers.get(header::ETAG).is_some_and(is_strong));
    content_type.and_then(|value| value.to_str().ok()).is_some_and(|content_type| {
        content_type.starts_with("application/json")
            || content_type.starts_with("text/")
            || content_type.starts_with("application/vnd.ipld.car")
    })
}

/// `/xrpc/<nsid>/` means `/xrpc/<nsid>`.
fn without_trailing_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let Some(path) = uri.path().strip_suffix('/') else {
        return request;
    };
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if let Ok(uri) = path.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

async fn robots_txt() -> &'static str {
    "# Everything here is public and may be crawled.\nUser-agent: *\nAllow: /\n"
}

/// The version; 503 when the database does not answer or takes no changes.
async fn health(State(app): State<App>, _request: Request) -> Response {
    // Who asks decides whether this process lives: that there is a crowd says nothing of its health.
    leave_public_lane();
    let version = env!("CARGO_PKG_VERSION");
    match app.store.ping().await {
        Ok(()) => match app.store.shortage() {
            None => Json(json!({ "version": version })).into_response(),
            // Restarting it would not help: whoever asks whether it lives is told that it does.
            Some(shortage) => {
                let warning = format!("little disk space: {shortage}; writes are refused");
                Json(json!({ "version": version, "warning": warning })).into_response()
            }
        },
        Err(error) => {
            if let Some(held_back) = LOG_PACE.pass() {
                tracing::error!(%error, held_back, "the database does not answer");
            }
            let body = Json(json!({ "version": version, "error": "Service Unavailable" }));
            (StatusCode::SERVICE_UNAVAILABLE, RETRY_SOON, body).into_response()
        }
    }
}

/// 503 without a body for programs to read.
fn unavailable(error: &StoreError) -> Response {
    if !matches!(error, StoreError::Busy)
        && let Some(held_back) = LOG_PACE.pass()
    {
        tracing::error!(%error, held_back, "a page cannot be answered");
    }
    (StatusCode::SERVICE_UNAVAILABLE, RETRY_SOON).into_response()
}
