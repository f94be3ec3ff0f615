//! com.atproto.admin.updateAccountPassword: give an account another password.

use atproto::syntax::Did;
use axum::extract::State;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    xrpc::{AdminOnly, Input, XrpcError},
};

/// Sessions and app passwords end with the old password. An unknown account is 400.
pub(super) async fn update_account_password(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<UpdateAccountPasswordInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.set_password(&input.did, Zeroizing::new(input.password)).await?)
}

#[derive(Deserialize)]
pub(super) struct UpdateAccountPasswordInput {
    did: Did,
    password: String,
}
