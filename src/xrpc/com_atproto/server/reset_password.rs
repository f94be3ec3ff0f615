//! com.atproto.server.resetPassword: set a new password with the code of requestPasswordReset.

use axum::extract::State;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    service::account::password::ResetError,
    xrpc::{Input, XrpcError},
};

/// Sessions and app passwords end with the old password.
pub(super) async fn reset_password(
    State(app): State<App>,
    Input(input): Input<ResetPasswordInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.reset_password(&input.token, Zeroizing::new(input.password)).await?)
}

#[derive(Deserialize)]
pub(super) struct ResetPasswordInput {
    token: String,
    password: String,
}

impl From<ResetError> for XrpcError {
    fn from(error: ResetError) -> XrpcError {
        match error {
            ResetError::TooLong | ResetError::Unknown(_) => XrpcError::invalid_request(error),
            ResetError::Token(error) => error.into(),
            ResetError::Password(error) => error.into(),
            ResetError::Store(error) => error.into(),
        }
    }
}
