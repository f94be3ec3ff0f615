//! app.bsky.feed.getAuthorFeed: the AppView's, with the caller's newest posts when it is the caller's own.

use atproto::syntax::AtIdentifier;
use axum::{extract::State, http::request::Parts, response::Response};
use serde::Deserialize;

use super::FeedLimit;
use crate::{
    app::App,
    service::read_after_write::{AuthorFilter, Method},
    xrpc::{Caller, Params, XrpcError, app_bsky::read_after_write},
};

pub(super) async fn get_author_feed(
    State(app): State<App>,
    Params(params): Params<GetAuthorFeedParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    let method = Method::AuthorFeed {
        filter: AuthorFilter::parse(params.filter.as_deref().unwrap_or_default()),
        is_later_page: params.cursor.is_some(),
    };
    read_after_write(&app, &caller, &parts, "app.bsky.feed.getAuthorFeed", &method).await
}

#[derive(Deserialize)]
pub(super) struct GetAuthorFeedParams {
    #[serde(rename = "actor")]
    _actor: AtIdentifier,
    #[serde(default, rename = "limit")]
    _limit: FeedLimit,
    cursor: Option<String>,
    filter: Option<String>,
    #[serde(rename = "includePins")]
    _include_pins: Option<bool>,
}
