//! com.atproto.server.refreshSession: trade a refresh token for a new pair.

use axum::{Json, extract::State};

use super::{SessionView, refresh_token::Refresher};
use crate::{
    app::App,
    xrpc::{NoInput, XrpcError},
};

/// A token that was signed out, or used more than two hours ago, is 400 `ExpiredToken`.
pub(super) async fn refresh_session(
    State(app): State<App>,
    Refresher(token): Refresher,
    _: NoInput,
) -> Result<Json<SessionView>, XrpcError> {
    Ok(Json(app.sessions.refresh(&token).await?.into()))
}
