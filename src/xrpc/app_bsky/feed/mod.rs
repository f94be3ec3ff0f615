//! app.bsky.feed.*: feeds and threads, completed; feeds that others generate.

mod get_actor_likes;
mod get_author_feed;
mod get_feed;
mod get_post_thread;
mod get_timeline;

use axum::Router;

use crate::{
    app::App,
    xrpc::{Limit, query},
};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/app.bsky.feed.getActorLikes", query(get_actor_likes::get_actor_likes))
        .route("/xrpc/app.bsky.feed.getAuthorFeed", query(get_author_feed::get_author_feed))
        .route("/xrpc/app.bsky.feed.getFeed", query(get_feed::get_feed))
        .route("/xrpc/app.bsky.feed.getPostThread", query(get_post_thread::get_post_thread))
        .route("/xrpc/app.bsky.feed.getTimeline", query(get_timeline::get_timeline))
}

/// Page size of all feeds.
type FeedLimit = Limit<100, 50>;
