//! com.atproto.server.deactivateAccount: put the account to rest, perhaps until it is deleted.

use atproto::syntax::Datetime;
use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{Caller, Input, XrpcError, caller::FullAccessOrTakendown},
};

/// Sessions stay. With `deleteAfter` the account is deleted at that time, unless it has been activated.
pub(super) async fn deactivate_account(
    State(app): State<App>,
    caller: Caller<FullAccessOrTakendown>,
    Input(input): Input<DeactivateAccountInput>,
) -> Result<(), XrpcError> {
    let delete_after = input.delete_after.as_ref().map(Datetime::to_micros);
    app.accounts.deactivate(&caller.account.did, delete_after).await?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeactivateAccountInput {
    delete_after: Option<Datetime>,
}
