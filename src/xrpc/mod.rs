//! XRPC over HTTP: parse, authorise, call one service, answer. One file per lexicon method; path = NSID.
//!
//! What is not listed in any group is sent on to another service ([`proxy`]).
//!
//! A method's arguments are its checks, in their order: [`Params`], a caller of [`caller`], a body of [`input`]. Rate
//! limits come after them and before the method (`method`, [`rate_limit`]). A group lists its methods in its `routes`
//! with [`query`] and [`procedure`].

pub mod app_bsky;
pub mod cache;
pub mod caller;
pub mod com_atproto;
mod contract;
pub mod error;
pub mod input;
mod linger;
mod method;
mod pace;
pub mod params;
pub mod proxy;
pub mod rate_limit;
mod trace;
mod unpack;
mod websocket;

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, Method as Verb, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{MethodRouter, any, get, post},
};
use tower::{Service, ServiceBuilder};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use self::method::{Bodies, Erased, Method};
pub use self::{
    caller::{AdminOnly, Caller, Moderator, OptionalCaller, OptionalServiceCaller, ServiceCaller, Session},
    error::XrpcError,
    input::{Input, NoInput, Upload, WRITE_INPUT_BYTES_MAX},
    params::{Limit, LooseParams, Params},
    rate_limit::{Charges, Client},
};
use crate::app::App;

/// How long browsers may keep the answer to a preflight, in seconds.
const PREFLIGHT_TTL_SECS: u64 = 86_400;

/// Everything under `/xrpc/`.
///
/// The layers stand around the router, and not on it: a router copies each of its routes with all layers on it for every
/// request, and each layer once more what is below it.
pub fn service(
    app: App,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
{
    let mut methods = Router::new().merge(com_atproto::routes()).merge(app_bsky::routes());
    if app.settings.appview.is_some() {
        methods = methods.merge(app_bsky::routes_with_appview());
    }
    if app.settings.dev {
        methods = methods.route_layer(from_fn(contract::check));
    }
    let others = any(proxy::catch_all).layer(from_fn(rate_limit::charge_unknown)).with_state(app.clone());
    ServiceBuilder::new()
        .layer(from_fn(preflight))
        .layer(cors())
        .layer(from_fn(trace::trace))
        .layer(from_fn_with_state(app.clone(), rate_limit::account))
        .layer(from_fn(linger::linger))
        .layer(from_fn_with_state(app.clone(), pace::keep))
        .service(methods.fallback_service(others).with_state(app))
}

/// A query: GET and HEAD, no body (XR-1).
pub fn query<M, T>(method: M) -> MethodRouter<App>
where
    M: Method<T>,
    T: 'static,
{
    one_verb(get(Erased::new(method, Bodies::Refused)), "GET")
}

/// A procedure: POST (XR-1).
pub fn procedure<M, T>(method: M) -> MethodRouter<App>
where
    M: Method<T>,
    T: 'static,
{
    one_verb(post(Erased::new(method, Bodies::Taken)), "POST")
}

fn one_verb(method: MethodRouter<App>, expected: &'static str) -> MethodRouter<App> {
    method.fallback(move |verb: Verb| wrong_verb(verb, expected))
}

async fn wrong_verb(verb: Verb, expected: &'static str) -> XrpcError {
    XrpcError::invalid_request(format_args!("Incorrect HTTP method ({verb}) expected {expected}"))
}

/// A preflight's answer is in its headers, and says so.
async fn preflight(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Verb::OPTIONS;
    let mut response = next.run(request).await;
    if is_preflight && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

/// Any page of any origin may call (XR-9): the tokens are in headers that a page must hold itself.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Verb::GET, Verb::HEAD, Verb::PUT, Verb::PATCH, Verb::POST, Verb::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            HeaderName::from_static("dpop-nonce"),
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            header::ETAG,
            header::CONTENT_RANGE,
            HeaderName::from_static("ratelimit-limit"),
            HeaderName::from_static("ratelimit-remaining"),
            HeaderName::from_static("ratelimit-reset"),
            HeaderName::from_static("ratelimit-policy"),
        ])
        .max_age(Duration::from_secs(PREFLIGHT_TTL_SECS))
}
