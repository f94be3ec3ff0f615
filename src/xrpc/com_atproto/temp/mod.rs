//! com.atproto.temp.*

mod check_signup_queue;

use axum::Router;

use crate::{app::App, xrpc::query};

/// The methods of this group.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/xrpc/com.atproto.temp.checkSignupQueue", query(check_signup_queue::check_signup_queue))
}
