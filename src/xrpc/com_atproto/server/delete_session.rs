//! com.atproto.server.deleteSession: sign out.

use axum::extract::State;

use super::refresh_token::Leaver;
use crate::{
    app::App,
    xrpc::{NoInput, XrpcError},
};

/// Ends the session of the refresh token; twice is fine, and so is an expired token.
pub(super) async fn delete_session(
    State(app): State<App>,
    Leaver(token): Leaver,
    _: NoInput,
) -> Result<(), XrpcError> {
    Ok(app.sessions.sign_out(&token).await?)
}
