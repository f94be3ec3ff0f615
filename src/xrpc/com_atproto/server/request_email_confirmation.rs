//! com.atproto.server.requestEmailConfirmation: mail the code that confirmEmail asks for.

use axum::extract::State;

use crate::{
    app::App,
    service::account::email_token::Purpose,
    xrpc::{Caller, NoInput, XrpcError},
};

/// An account without a mail address is 400.
pub(super) async fn request_email_confirmation(
    State(app): State<App>,
    caller: Caller,
    _: NoInput,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    Ok(app.email_tokens.request(&caller.account, Purpose::ConfirmEmail).await?)
}
