//! com.atproto.server.activateAccount: wake the account up, once its DID names this server.

use axum::extract::State;

use crate::{
    app::App,
    xrpc::{Caller, NoInput, XrpcError, caller::FullAccess},
};

/// Records and blobs may be missing. An active account is announced once more.
pub(super) async fn activate_account(
    State(app): State<App>,
    caller: Caller<FullAccess>,
    _: NoInput,
) -> Result<(), XrpcError> {
    app.accounts.activate(&caller.account.did).await?;
    Ok(())
}
