//! app.bsky.feed.getTimeline: the AppView's, with the caller's newest posts.

use axum::{extract::State, http::request::Parts, response::Response};
use serde::Deserialize;

use super::FeedLimit;
use crate::{
    app::App,
    service::read_after_write::Method,
    xrpc::{Caller, LooseParams, XrpcError, app_bsky::read_after_write},
};

pub(super) async fn get_timeline(
    State(app): State<App>,
    LooseParams(params): LooseParams<GetTimelineParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    let method = Method::Timeline { is_later_page: params.cursor.is_some() };
    read_after_write(&app, &caller, &parts, "app.bsky.feed.getTimeline", &method).await
}

#[derive(Deserialize)]
pub(super) struct GetTimelineParams {
    #[serde(default, rename = "limit")]
    _limit: FeedLimit,
    cursor: Option<String>,
}
