//! com.atproto.identity.updateHandle: another handle for the account that is signed in.

use atproto::syntax::Handle;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    service::account::handle_policy::Asker,
    xrpc::{Caller, Input, XrpcError},
};

/// Deactivated accounts may: they may be moving in. The handle that the account has already is announced again.
pub(super) async fn update_handle(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<UpdateHandleInput>,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    Ok(app.accounts.change_handle(&caller.account.did, &input.handle, Asker::Public).await?)
}

#[derive(Deserialize)]
pub(super) struct UpdateHandleInput {
    handle: Handle,
}
