//! com.atproto.admin.updateAccountHandle: another handle for any account.

use atproto::syntax::{Did, Handle};
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    service::account::handle_policy::Asker,
    xrpc::{AdminOnly, Input, XrpcError},
};

/// As updateHandle, without the reserved names and the list of words. A handle elsewhere still has to lead to the DID.
pub(super) async fn update_account_handle(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<UpdateAccountHandleInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.change_handle(&input.did, &input.handle, Asker::Operator).await?)
}

#[derive(Deserialize)]
pub(super) struct UpdateAccountHandleInput {
    did: Did,
    handle: Handle,
}
