//! app.bsky.feed.getPostThread: the AppView's, with the caller's newest replies; and the threads of the caller's newest
//! posts, which the AppView does not know yet.

use atproto::syntax::AtUri;
use axum::{
    extract::State,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, de};

use crate::{
    app::App,
    service::{
        proxy::{ProxyError, Upstream},
        read_after_write::Method,
    },
    xrpc::{
        Caller, LooseParams, XrpcError,
        app_bsky::{ask, complete},
        proxy::{ProxyOrEncoding, pass_on},
    },
};

const NSID: &str = "app.bsky.feed.getPostThread";
/// Most levels of replies, and of parents.
const LEVELS_MAX: i64 = 1000;

pub(super) async fn get_post_thread(
    State(app): State<App>,
    LooseParams(params): LooseParams<GetPostThreadParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    let refusal = match ask(&app, &caller, &parts, NSID).await? {
        Ok(upstream) => return Ok(complete(&app, &caller, &Method::PostThread, upstream).await),
        Err(ProxyOrEncoding::Proxy(ProxyError::Upstream(refusal))) => refusal,
        Err(error) => return pass_on(Err::<Upstream, _>(error)),
    };
    let parent_height = params.parent_height.map(|levels| levels.0.to_string());
    let thread = app.read_after_write.missing_thread(
        &caller.account,
        params.uri.as_str(),
        parent_height.as_deref(),
        &refusal,
    );
    match thread.await {
        Some(thread) => Ok(thread.into_response()),
        None => Ok(refusal.into_response()),
    }
}

#[derive(Deserialize)]
pub(super) struct GetPostThreadParams {
    uri: AtUri,
    #[serde(rename = "depth")]
    _depth: Option<Levels>,
    #[serde(rename = "parentHeight")]
    parent_height: Option<Levels>,
}

/// 0 to [`LEVELS_MAX`].
struct Levels(i64);

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            levels @ 0..=LEVELS_MAX => Ok(Levels(levels)),
            levels => Err(de::Error::custom(format_args!("{levels} is not between 0 and {LEVELS_MAX}"))),
        }
    }
}
