//! com.atproto.server.createInviteCodes: many codes of the operator's.

use atproto::syntax::Did;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    service::account::invite::{AccountCodes, OPERATOR},
    xrpc::{AdminOnly, Input, XrpcError},
};

/// `codeCount` for each of the accounts.
pub(super) async fn create_invite_codes(
    State(app): State<App>,
    _: AdminOnly,
    Input(input): Input<CreateInviteCodesInput>,
) -> Result<Json<CreateInviteCodesOutput>, XrpcError> {
    let accounts = match input.for_accounts {
        Some(dids) => dids.iter().map(Did::to_string).collect(),
        None => vec![OPERATOR.to_owned()],
    };
    let made = app.accounts.create_invites(accounts, input.code_count, input.use_count).await?;
    Ok(Json(CreateInviteCodesOutput { codes: made.into_iter().map(AccountCodesView::from).collect() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateInviteCodesInput {
    #[serde(default = "one")]
    code_count: i64,
    use_count: i64,
    for_accounts: Option<Vec<Did>>,
}

fn one() -> i64 {
    1
}

#[derive(Serialize)]
pub(super) struct CreateInviteCodesOutput {
    codes: Vec<AccountCodesView>,
}

#[derive(Serialize)]
struct AccountCodesView {
    account: String,
    codes: Vec<String>,
}

impl From<AccountCodes> for AccountCodesView {
    fn from(made: AccountCodes) -> AccountCodesView {
        AccountCodesView { account: made.account, codes: made.codes }
    }
}
