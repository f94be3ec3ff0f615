//! com.atproto.server.requestAccountDelete: mail the code that deleteAccount asks for.

use axum::extract::State;

use crate::{
    app::App,
    service::account::email_token::Purpose,
    xrpc::{Caller, NoInput, XrpcError, caller::FullAccess},
};

/// An account without a mail address is 400.
pub(super) async fn request_account_delete(
    State(app): State<App>,
    caller: Caller<FullAccess>,
    _: NoInput,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    Ok(app.email_tokens.request(&caller.account, Purpose::DeleteAccount).await?)
}
