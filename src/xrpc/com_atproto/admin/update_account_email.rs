//! com.atproto.admin.updateAccountEmail: give an account another mail address, without any code.

use atproto::syntax::AtIdentifier;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{AdminOnly, Input, XrpcError},
};

/// The new address is not confirmed, and codes that were mailed are good no more.
pub(super) async fn update_account_email(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<UpdateAccountEmailInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.admin_update_email(input.account, &input.email).await?)
}

#[derive(Deserialize)]
pub(super) struct UpdateAccountEmailInput {
    account: AtIdentifier,
    email: String,
}
