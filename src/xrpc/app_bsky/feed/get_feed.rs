//! app.bsky.feed.getFeed: the AppView shows a feed that somebody else's generator makes. The token that goes with it is
//! for the generator, whom the AppView asks in the caller's name.

use atproto::syntax::AtUri;
use axum::{extract::State, http::request::Parts, response::Response};
use serde::Deserialize;
use serde_json::Value;

use super::FeedLimit;
use crate::{
    app::App,
    service::proxy::TargetError,
    xrpc::{
        Caller, Params, XrpcError,
        proxy::{Signature, pass_on, proxy_header, send_query},
    },
};

const NSID: &str = "app.bsky.feed.getFeed";
/// What the AppView calls of the generator.
const SKELETON_NSID: &str = "app.bsky.feed.getFeedSkeleton";

pub(super) async fn get_feed(
    State(app): State<App>,
    Params(params): Params<GetFeedParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    let generator = generator_did(&app, &params.feed).await?;
    let target = app.proxy.target(NSID, proxy_header(&parts.headers)?).await?;
    let signature = Signature { account: &caller.account, audience: &generator, nsid: SKELETON_NSID };
    pass_on(send_query(&app, &parts, &target, Some(signature)).await)
}

/// The `did` of the feed's record, as the AppView knows it.
async fn generator_did(app: &App, feed: &AtUri) -> Result<String, XrpcError> {
    let unknown = || XrpcError::bad_request("UnknownFeed", "could not resolve feed did");
    let (Some(collection), Some(rkey)) = (feed.collection(), feed.rkey()) else { return Err(unknown()) };
    let appview = app.proxy.appview().ok_or_else(|| TargetError::NotConfigured(NSID.to_owned()))?;
    let params = [("repo", feed.authority()), ("collection", collection), ("rkey", rkey)];
    let record = app.proxy.query(&appview, None, "com.atproto.repo.getRecord", &params).await?;
    record.pointer("/value/did").and_then(Value::as_str).map(str::to_owned).ok_or_else(unknown)
}

#[derive(Deserialize)]
pub(super) struct GetFeedParams {
    feed: AtUri,
    #[serde(default, rename = "limit")]
    _limit: FeedLimit,
}
