//! app.bsky.actor.getProfile: the AppView's, with the caller's own profile as it is now.

use atproto::syntax::AtIdentifier;
use axum::{extract::State, http::request::Parts, response::Response};
use serde::Deserialize;

use crate::{
    app::App,
    service::read_after_write::Method,
    xrpc::{Caller, Params, XrpcError, app_bsky::read_after_write},
};

pub(super) async fn get_profile(
    State(app): State<App>,
    Params(_): Params<GetProfileParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    read_after_write(&app, &caller, &parts, "app.bsky.actor.getProfile", &Method::Profile).await
}

/// Checked here, read by the AppView.
#[derive(Deserialize)]
pub(super) struct GetProfileParams {
    #[serde(rename = "actor")]
    _actor: AtIdentifier,
}
