//! app.bsky.actor.getProfiles: the AppView's, with the caller's own profile as it is now.

use atproto::syntax::AtIdentifier;
use axum::{extract::State, http::request::Parts, response::Response};
use serde::Deserialize;

use crate::{
    app::App,
    service::read_after_write::Method,
    xrpc::{Caller, LooseParams, XrpcError, app_bsky::read_after_write},
};

/// Most profiles of one request.
const ACTORS_MAX: usize = 25;

pub(super) async fn get_profiles(
    State(app): State<App>,
    LooseParams(params): LooseParams<GetProfilesParams>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, XrpcError> {
    if params.actors.len() > ACTORS_MAX {
        return Err(XrpcError::invalid_request(format_args!(
            "parameter actors: has {} items; {ACTORS_MAX} is the most",
            params.actors.len()
        )));
    }
    read_after_write(&app, &caller, &parts, "app.bsky.actor.getProfiles", &Method::Profiles).await
}

#[derive(Deserialize)]
pub(super) struct GetProfilesParams {
    actors: Vec<AtIdentifier>,
}
