//! com.atproto.server.confirmEmail: show that the account's mail address is read by its owner.

use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    service::account::email::EmailError,
    xrpc::{Caller, Input, XrpcError},
};

/// `email` has to be the account's address, in any case.
pub(super) async fn confirm_email(
    State(app): State<App>,
    caller: Caller,
    Input(input): Input<ConfirmEmailInput>,
) -> Result<(), XrpcError> {
    caller.require_not_takendown()?;
    Ok(app.accounts.confirm_email(&caller.account.did, &input.email, &input.token).await?)
}

#[derive(Deserialize)]
pub(super) struct ConfirmEmailInput {
    email: String,
    token: String,
}

impl From<EmailError> for XrpcError {
    fn from(error: EmailError) -> XrpcError {
        match error {
            EmailError::NoAccount => XrpcError::bad_request("AccountNotFound", error),
            EmailError::Other => XrpcError::bad_request("InvalidEmail", error),
            EmailError::TokenRequired => XrpcError::bad_request("TokenRequired", error),
            EmailError::Unknown(_) | EmailError::Unsupported | EmailError::Taken => {
                XrpcError::invalid_request(error)
            }
            EmailError::Token(error) => error.into(),
            EmailError::Store(error) => error.into(),
        }
    }
}
