//! app.bsky.feed.getActorLikes: the AppView's, with the caller's name and picture as they are now.

use atproto::syntax::AtIdentifier;
use axum::{extract::State, http::request::Parts, response::Response};
use serde::Deserialize;

use super::FeedLimit;
use crate::{
    app::App,
    service::read_after_write::Method,
    xrpc::{Caller, Params, XrpcError, app_bsky::read_after_write},
};

pub(super) async fn get_actor_likes(
    State(app): State<App>,
    Params(_): Params<GetActorLikesParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    read_after_write(&app, &caller, &parts, "app.bsky.feed.getActorLikes", &Method::ActorLikes).await
}

/// Checked here, read by the AppView.
#[derive(Deserialize)]
pub(super) struct GetActorLikesParams {
    #[serde(rename = "actor")]
    _actor: AtIdentifier,
    #[serde(default, rename = "limit")]
    _limit: FeedLimit,
}
