//! com.atproto.admin.getAccountInfos: what is known of some accounts.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::defs::AccountView;
use crate::{
    app::App,
    xrpc::{Moderator, Params, XrpcError},
};

/// In the order asked for, each once; what is not here is left out.
pub(super) async fn get_account_infos(
    State(app): State<App>,
    Params(params): Params<GetAccountInfosParams>,
    _: Moderator,
) -> Result<Json<GetAccountInfosOutput>, XrpcError> {
    let infos = app.accounts.infos(params.dids).await?;
    Ok(Json(GetAccountInfosOutput { infos: infos.into_iter().map(AccountView::from).collect() }))
}

#[derive(Deserialize)]
pub(super) struct GetAccountInfosParams {
    dids: Vec<Did>,
}

#[derive(Serialize)]
pub(super) struct GetAccountInfosOutput {
    infos: Vec<AccountView>,
}
