//! com.atproto.server.getAccountInviteCodes: the codes that an account can give away.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::defs::InviteCodeView;
use crate::{
    app::App,
    service::account::invite::Earning,
    xrpc::{Caller, Params, XrpcError, caller::FullAccess},
};

/// Makes what the account has earned in the meantime, unless asked not to. Disabled codes are not shown.
pub(super) async fn get_account_invite_codes(
    State(app): State<App>,
    Params(params): Params<GetAccountInviteCodesParams>,
    caller: Caller<FullAccess>,
) -> Result<Json<GetAccountInviteCodesOutput>, XrpcError> {
    caller.require_not_takendown()?;
    if !caller.account.is_active() {
        return Err(XrpcError::bad_request("NotFound", "Account not found"));
    }
    let earning = if params.create_available { Earning::Collected } else { Earning::LeftAlone };
    let codes = app.accounts.invites_of(&caller.account, earning).await?;
    let shown = codes
        .into_iter()
        .filter(|code| !code.disabled && (params.include_used || code.n_uses < code.available_uses))
        .map(InviteCodeView::from)
        .collect();
    Ok(Json(GetAccountInviteCodesOutput { codes: shown }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetAccountInviteCodesParams {
    #[serde(default = "yes")]
    include_used: bool,
    #[serde(default = "yes")]
    create_available: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize)]
pub(super) struct GetAccountInviteCodesOutput {
    codes: Vec<InviteCodeView>,
}
