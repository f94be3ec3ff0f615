//! com.atproto.server.requestEmailUpdate: mail the code that updateEmail asks for, if it asks for one.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    app::App,
    service::account::email_token::Purpose,
    xrpc::{Caller, NoInput, XrpcError, caller::FullAccess},
};

/// A code is needed, and mailed, when the address that the account has now is confirmed. An account without one is 400.
pub(super) async fn request_email_update(
    State(app): State<App>,
    caller: Caller<FullAccess>,
    _: NoInput,
) -> Result<Json<RequestEmailUpdateOutput>, XrpcError> {
    caller.require_not_takendown()?;
    let account = &caller.account;
    if account.email.is_none() {
        return Err(XrpcError::invalid_request("account does not have an email address"));
    }
    let token_required = account.email_confirmed_at.is_some();
    if token_required {
        app.email_tokens.request(account, Purpose::UpdateEmail).await?;
    }
    Ok(Json(RequestEmailUpdateOutput { token_required }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestEmailUpdateOutput {
    token_required: bool,
}
