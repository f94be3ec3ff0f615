//! com.atproto.admin.getAccountInfo: what is known of one account.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::Deserialize;

use super::defs::AccountView;
use crate::{
    app::App,
    xrpc::{Moderator, Params, XrpcError},
};

/// Whatever the account's status; 400 `NotFound` when it is not here.
pub(super) async fn get_account_info(
    State(app): State<App>,
    Params(params): Params<GetAccountInfoParams>,
    _: Moderator,
) -> Result<Json<AccountView>, XrpcError> {
    let found = app.accounts.infos(vec![params.did]).await?.pop();
    let info = found.ok_or_else(|| XrpcError::bad_request("NotFound", "Account not found"))?;
    Ok(Json(info.into()))
}

#[derive(Deserialize)]
pub(super) struct GetAccountInfoParams {
    did: Did,
}
