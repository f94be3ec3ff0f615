//! com.atproto.server.deleteAccount: the end of an account, for its password and the code of requestAccountDelete.

use atproto::syntax::Did;
use axum::extract::State;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    service::account::leave::LeaveError,
    xrpc::{Input, XrpcError},
};

/// Needs no session. App passwords do not count.
pub(super) async fn delete_account(
    State(app): State<App>,
    Input(input): Input<DeleteAccountInput>,
) -> Result<(), XrpcError> {
    Ok(app.accounts.leave(&input.did, Zeroizing::new(input.password), &input.token).await?)
}

#[derive(Deserialize)]
pub(super) struct DeleteAccountInput {
    did: Did,
    password: String,
    token: String,
}

impl From<LeaveError> for XrpcError {
    fn from(error: LeaveError) -> XrpcError {
        match error {
            LeaveError::NoAccount => XrpcError::invalid_request(error),
            LeaveError::Password => XrpcError::authentication_required(error),
            LeaveError::Token(error) => error.into(),
            LeaveError::Hash(error) => error.into(),
            LeaveError::Store(error) => error.into(),
        }
    }
}
