//! com.atproto.server.revokeAppPassword: a program may not sign in any more.

use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError},
};

/// Ends the sessions made with it too. Twice is fine.
pub(super) async fn revoke_app_password(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<RevokeAppPasswordInput>,
) -> Result<(), XrpcError> {
    Ok(app.app_passwords.revoke(caller.account.id, input.name).await?)
}

#[derive(Deserialize)]
pub(super) struct RevokeAppPasswordInput {
    name: String,
}
