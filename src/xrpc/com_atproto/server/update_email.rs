//! com.atproto.server.updateEmail: give the account another mail address.

use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError, caller::FullAccess},
};

/// The new address is not confirmed. `emailAuthFactor` is not read.
pub(super) async fn update_email(
    State(app): State<App>,
    caller: Caller<FullAccess>,
    Input(input): Input<UpdateEmailInput>,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    Ok(app.accounts.update_email(&caller.account.did, &input.email, input.token.as_deref()).await?)
}

#[derive(Deserialize)]
pub(super) struct UpdateEmailInput {
    email: String,
    token: Option<String>,
}
