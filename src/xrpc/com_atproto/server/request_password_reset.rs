//! com.atproto.server.requestPasswordReset: mail a code for a new password.

use axum::extract::State;
use serde::Deserialize;

use crate::{
    app::App,
    xrpc::{Input, XrpcError},
};

/// The answer is the same, after the same time, whether or not an account has that address.
pub(super) async fn request_password_reset(
    State(app): State<App>,
    Input(input): Input<RequestPasswordResetInput>,
) -> Result<(), XrpcError> {
    app.accounts.request_password_reset(&input.email).map_err(XrpcError::busy)
}

#[derive(Deserialize)]
pub(super) struct RequestPasswordResetInput {
    email: String,
}
