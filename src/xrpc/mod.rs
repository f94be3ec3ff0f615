//! XRPC over HTTP: parse, authorise, call one service, answer. One file per lexicon method; path = NSID.
//!
//! A method's arguments are its checks, in their order: [`Params`], a caller of [`caller`], a body of [`input`]. A
//! group lists its methods in its `routes` with [`query`] and [`procedure`].

pub mod caller;
pub mod com_atproto;
pub mod error;
pub mod input;
mod linger;
pub mod params;
mod trace;

use std::time::Duration;

use atproto::syntax::Nsid;
use axum::{
    Router,
    body::Body,
    extract::Request,
    handler::Handler,
    http::{HeaderName, Method, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

pub use self::{
    caller::{AdminOnly, Caller, Moderator, OptionalCaller, OptionalServiceCaller, ServiceCaller},
    error::XrpcError,
    input::{Input, NoInput, Upload, WRITE_INPUT_BYTES_MAX},
    params::{Limit, Params},
};
use crate::app::App;

/// How long browsers may keep the answer to a preflight, in seconds.
const PREFLIGHT_TTL_SECS: u64 = 86_400;

/// Everything under `/xrpc/`.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(com_atproto::routes())
        .fallback(unknown_method)
        .layer(from_fn(linger::linger))
        .layer(from_fn(trace::trace))
        .layer(cors())
        .with_state(app)
}

/// A query: GET and HEAD, no body (XR-1).
pub fn query<H, T>(handler: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    get(handler).layer(from_fn(refuse_body)).fallback(|method: Method| wrong_verb(method, "GET"))
}

/// A procedure: POST (XR-1).
pub fn procedure<H, T>(handler: H) -> MethodRouter<App>
where
    H: Handler<T, App>,
    T: 'static,
{
    post(handler).fallback(|method: Method| wrong_verb(method, "POST"))
}

async fn wrong_verb(method: Method, expected: &'static str) -> XrpcError {
    XrpcError::invalid_request(format_args!("Incorrect HTTP method ({method}) expected {expected}"))
}

async fn refuse_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match input::require_no_body(&parts.headers, body).await {
        Ok(()) => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(error) => error.into_response(),
    }
}

/// A path that no method has: 501 when it names one (XR-2), 400 when it does not.
async fn unknown_method(request: Request) -> XrpcError {
    let nsid = request.uri().path().strip_prefix("/xrpc/").unwrap_or_default();
    if Nsid::parse(nsid).is_ok() {
        XrpcError::method_not_implemented()
    } else {
        XrpcError::invalid_request("invalid xrpc path")
    }
}

/// Any page of any origin may call (XR-9): the tokens are in headers that a page must hold itself.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            HeaderName::from_static("dpop-nonce"),
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit-limit"),
            HeaderName::from_static("ratelimit-remaining"),
            HeaderName::from_static("ratelimit-reset"),
            HeaderName::from_static("ratelimit-policy"),
        ])
        .max_age(Duration::from_secs(PREFLIGHT_TTL_SECS))
}
