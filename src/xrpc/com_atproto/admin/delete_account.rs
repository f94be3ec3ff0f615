//! com.atproto.admin.deleteAccount: the end of an account, decided by the operator.

use atproto::syntax::Did;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{AdminOnly, Input, XrpcError},
};

/// A DID that has no account here is announced as deleted all the same.
pub(super) async fn delete_account(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<DeleteAccountInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.delete(&input.did).await?)
}

#[derive(Deserialize)]
pub(super) struct DeleteAccountInput {
    did: Did,
}
